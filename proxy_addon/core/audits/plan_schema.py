"""The JSON Schema of tracking plans, for editors; ``docs/plan.schema.json`` is this."""

from __future__ import annotations

from typing import Any

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.patterns import LONGEST
from proxy_addon.core.audits.plan_parts import ALL, TYPES
from proxy_addon.core.audits.walking import State
from proxy_addon.core.findings import Severity
from proxy_addon.core.fixtures.pretty import pretty
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.rules.planned import KNOWN

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT, "uniqueItems": True}
_EVENT_TYPES = [ALL, *EVENTS]


def _object(about: str, **properties: Any) -> dict[str, Any]:
    return {"description": about, "type": "object", "properties": properties, "additionalProperties": False}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "uniqueItems": True}]}


_TYPE = {
    "description": "The JSON types that values may have; a number may be an integer.",
    "anyOf": [
        {"enum": list(TYPES)},
        {"type": "array", "items": {"enum": list(TYPES)}, "minItems": 1, "uniqueItems": True},
    ],
}
_KEY = {
    "anyOf": [
        {"type": "null"},
        _TYPE,
        _object(
            "What values are like.",
            type=_TYPE,
            values={
                "description": "All values that are allowed.",
                "type": "array",
                "items": {"type": ["string", "number", "boolean", "null"]},
                "minItems": 1,
            },
            pattern={
                "description": "A regular expression that matches the whole value.",
                "type": "string",
                "maxLength": LONGEST,
            },
            min={"description": "The lowest number that is allowed.", "type": "number"},
            max={"description": "The highest number that is allowed.", "type": "number"},
        ),
    ]
}
_KEYS = {"anyOf": [{"type": "null"}, _TEXTS, {"type": "object", "additionalProperties": {"$ref": "#/$defs/key"}}]}
_FURTHER_KEYS = {"description": "Whether keys are fine of which the plan says nothing.", "type": "boolean"}
_SECTION = _or_null(
    _object(
        "What the events have in this member.",
        required={"description": "Keys that they must have.", **_KEYS},
        optional={"description": "Keys that they may have.", **_KEYS},
        forbidden={"description": "Keys that they must not have.", **_or_null(_TEXTS)},
        further_keys=_FURTHER_KEYS,
    )
)
_OF_EVENT = {
    "extends": {"description": "Event types whose keys are the same.", **_one_or_more({"enum": _EVENT_TYPES})},
    **{section.value: {"$ref": "#/$defs/section"} for section in Section},
}
_NUMBER = {"type": "integer", "minimum": 0}
_OCCURS = {
    "description": "How many events of this type a session has: always for at least one, null for any number.",
    "anyOf": [
        {"enum": ["always", "never", None]},
        {
            **_object(
                "At least and at most so many.",
                min={"description": "The lowest number that is allowed.", **_NUMBER},
                max={"description": "The highest number that is allowed.", **_NUMBER},
            ),
            "minProperties": 1,
        },
    ],
}
_EVENT = _or_null(_object("What events of this type have.", occurs=_OCCURS, **_OF_EVENT))
_ALL = _or_null(_object("What events of all types have.", **_OF_EVENT))
_RATE = _or_null(
    {
        **_object(
            "How often players ping.",
            every_s={"description": "Seconds from one ping to the next.", "type": "number", "exclusiveMinimum": 0},
            plus_minus_s={"description": "How many seconds more or less are fine.", "type": "number", "minimum": 0},
        ),
        "required": ["every_s", "plus_minus_s"],
    }
)
_PART: dict[str, Any] = {
    "further_events": {
        "description": "Whether types of events are fine of which the plan says nothing.",
        "type": "boolean",
    },
    "further_keys": _FURTHER_KEYS,
    "events": _object(
        "By type; all for all types.",
        **{type: {"$ref": "#/$defs/all" if type == ALL else "#/$defs/event"} for type in _EVENT_TYPES},
    ),
    "pings": _object(
        "By the state of playback.",
        **{state.value: {"$ref": "#/$defs/rate"} for state in State if state is not State.OVER},
    ),
}
_NAME = {"type": ["string", "null"]}
_GROUP = {
    **_object(
        "A part that holds only for some sessions.",
        where={
            **_object(
                "What these sessions have. A name may have stars for anything; null for sessions that do not say it.",
                **{by.value: {"anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}]} for by in By},
            ),
            "minProperties": 1,
        },
        **_PART,
    ),
    "required": ["where"],
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A tracking plan of sessiontape: what players of the Media Collection API should send",
    **_object(
        "Every key may be left out.",
        extends={
            "description": "Plans that this one builds on: files, relative to this one. What is said here wins, key by key.",
            **_one_or_more(_TEXT),
        },
        rules=_object(
            "Rules with another severity, or off.",
            **{rule: {"enum": [*(each.value for each in Severity), "off"]} for rule in KNOWN},
        ),
        **_PART,
        groups={"type": "array", "items": {"$ref": "#/$defs/group"}},
    ),
    "$defs": {"all": _ALL, "event": _EVENT, "section": _SECTION, "key": _KEY, "rate": _RATE, "group": _GROUP},
}


if __name__ == "__main__":
    print(pretty(SCHEMA), end="")  # noqa: T201  # for 'make docs'
