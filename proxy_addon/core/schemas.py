"""JSON schemas of event types: read one from an upstream, or make one from the built-in table.

A schema is not used to validate bodies. Only its keys, types and required keys of ``params`` and ``qoeData`` are read,
and they replace the built-in table. Reading expects the shape of the published sample (Source: Media Collection API,
the schemas endpoint), so the sample's known mistakes do no harm: a definition is found by its name even if it is in the
wrong place, an empty ``required`` is ignored, and so are members next to a ``$ref``. A key that is listed among the
properties belongs on the event; a key that only matches a pattern is allowed, but does not belong there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from proxy_addon.core import jsontext, protocol
from proxy_addon.core.protocol import Key
from proxy_addon.core.rules.body_views import Expectation
from proxy_addon.errors import ProtocolError

_TYPES = ("string", "number", "integer", "boolean", "object", "array")
_REPEATS = re.compile(r"[*+{]")
_MOST_REPEATS = 3
_COSTLY = re.compile(r"\)[*+?{]|\(\?[^:]|\\[1-9]")
"""Repeated groups, lookarounds and backreferences, which can make matching take forever."""
_DEPTH = 10
"""How many references are followed in a row."""


@dataclass(frozen=True, kw_only=True)
class StoredSchema:
    """One version of an upstream's schema for an event type.

    Attributes:
        sha256: Hash of its bytes, which identifies the version.
        body: Its bytes, as received.
    """

    upstream: str
    event_type: str
    sha256: str
    body: bytes
    first_seen_at: datetime
    last_seen_at: datetime


def read_schema(body: bytes, event_type: str, authority: str) -> Expectation:
    """Return what an event of a type may contain according to a schema.

    Args:
        authority: The name of the schema in findings.

    Raises:
        ProtocolError: It is not JSON, or has no definition of the event type with its params.
    """
    document = jsontext.loads(body)
    if not isinstance(document, dict):
        raise ProtocolError("the schema is not a JSON object")
    definition = _definition(document, event_type)
    properties = _object(definition.get("properties"))
    params = _resolved(document, properties.get("params"))
    listed = _keys(document, params, event_type)
    quality = _resolved(document, properties.get("qoeData"))
    patterns, has_all = _patterns(params)
    quality_patterns, has_all_of_quality = _patterns(quality)
    let_pass = {
        name: replace(key, type=_type(document, value))
        for name, key in protocol.PARAMS.items()
        for pattern, value in patterns.items()
        if name not in listed and pattern.search(name)
    }
    quality_keys = _keys(document, quality, "")
    return Expectation(
        params=let_pass | listed,
        listed=frozenset(listed),
        required=_required(params),
        quality={**protocol.QUALITY, **quality_keys} if _is_open(quality) else quality_keys,
        authority=authority,
        needs_params="params" in _required(definition),
        is_open=_is_open(params) or not has_all,
        is_quality_open=_is_open(quality) or not has_all_of_quality,
        patterns=tuple(patterns),
        quality_patterns=tuple(quality_patterns),
    )


def is_schema(body: bytes, event_type: str) -> bool:
    """Whether a body is a readable schema of an event type."""
    try:
        read_schema(body, event_type, "")
    except ProtocolError:
        return False
    return True


def _required(of: Mapping[str, Any]) -> tuple[str, ...]:
    required = of.get("required")
    return tuple(name for name in required if isinstance(name, str)) if isinstance(required, list) else ()


def _patterns(of: Mapping[str, Any]) -> tuple[dict[re.Pattern[str], Any], bool]:
    """Return the patterns of keys with their schemas, and whether that is all of them: costly patterns are skipped."""
    found = {}
    patterns = _object(of.get("patternProperties"))
    for text, value in patterns.items():
        if len(_REPEATS.findall(text)) > _MOST_REPEATS or _COSTLY.search(text):
            continue
        with suppress(re.error):
            found[re.compile(text)] = value
    return found, len(found) == len(patterns)


def _definition(document: Mapping[str, Any], event_type: str) -> Mapping[str, Any]:
    definitions = _object(document.get("definitions"))
    found = _object(definitions.get(event_type)) or (document if "properties" in document else {})
    if "properties" not in found:
        raise ProtocolError(f"the schema has no definition of {event_type}")
    return found


def _resolved(document: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    for _ in range(_DEPTH):
        found = _object(value)
        reference = found.get("$ref")
        if not isinstance(reference, str):
            return found
        if not reference.startswith("#/"):
            raise ProtocolError(
                f"the schema refers to another document, {reference[:100]!r}; other documents are not fetched"
            )
        value = document
        for step in reference[2:].split("/"):
            value = _object(value).get(step.replace("~1", "/").replace("~0", "~"))
    raise ProtocolError("references in the schema form a circle")


def _keys(document: Mapping[str, Any], of: Mapping[str, Any], event_type: str) -> dict[str, Key]:
    keys = {}
    for name, value in _object(of.get("properties")).items():
        type = _type(document, value)
        known = protocol.PARAMS.get(name) or protocol.QUALITY.get(name)
        keys[name] = Key(
            name=name,
            type=type,
            events=frozenset({event_type} if event_type else ()),
            # Limits that are in the documents but in no schema still apply; they lead only to warnings.
            not_empty=known.not_empty if known else False,
            minimum=known.minimum if known and type in ("number", "integer") else None,
            values=known.values if known and type == "string" else (),
            legacy=known.legacy if known else False,
        )
    return keys


def _type(document: Mapping[str, Any], value: Any) -> str:
    said = _resolved(document, value).get("type")
    return said if isinstance(said, str) and said in _TYPES else "any"


def _is_open(of: Mapping[str, Any]) -> bool:
    """Whether keys other than those listed are allowed, which is the default in JSON Schema."""
    return of.get("additionalProperties", True) is not False


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def schema_of(event_type: str) -> dict[str, Any]:
    """Return the draft-04 schema of an event type, in the shape of the published sample, from the built-in table.

    It refuses what the body rules report as an error, as far as a schema can express it. It corrects two mistakes of
    the sample: the definition has a ``type``, and there is no empty ``required``.
    """
    event = protocol.EVENTS[event_type]
    required = [key.name for key in protocol.PARAMS.values() if event_type in key.required]
    elsewhere: dict[str, list[Key]] = {}
    for key in protocol.PARAMS.values():
        if event_type not in key.events:
            elsewhere.setdefault(json.dumps(_schema_of_key(key)), []).append(key)
    params: dict[str, Any] = {
        "type": "object",
        "properties": {key.name: _schema_of_key(key) for key in protocol.PARAMS.values() if event_type in key.events},
        # Known keys on the wrong event, and quality keys in params, are warnings, not errors.
        "patternProperties": {r"^media\.qoe\.": {}}
        | {f"^({'|'.join(re.escape(key.name) for key in keys)})$": json.loads(of) for of, keys in elsewhere.items()},
        "additionalProperties": False,
    }
    if required:
        params["required"] = required
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": {
            "playerTime": {
                "type": "object",
                "properties": {
                    "playhead": {"type": "number", "minimum": 0},
                    "ts": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
                },
                "required": list(protocol.PLAYER_TIME_MEMBERS),
                "additionalProperties": False,
            },
            "eventType": {"type": "string", "enum": list(protocol.EVENTS)},
            "qoeData": {
                "type": "object",
                "properties": {
                    key.name: {} if key.type == "any" else {"type": key.type} for key in protocol.QUALITY.values()
                },
                "additionalProperties": False,
            },
            "customMetadata": {
                "type": "object",
                "patternProperties": {f"^{protocol.METADATA_KEY.pattern}$": {"type": "string"}},
                "additionalProperties": False,
            },
            event_type: {
                "type": "object",
                "properties": {
                    "eventType": {"type": "string", "enum": [event_type]},
                    "playerTime": {"$ref": "#/definitions/playerTime"},
                    "params": params,
                    "customMetadata": {"$ref": "#/definitions/customMetadata"},
                    "qoeData": {"$ref": "#/definitions/qoeData"},
                },
                "required": ["eventType", "playerTime", *(["params"] if event.needs_params else [])],
                "additionalProperties": False,
            },
        },
        "type": "object",
        "$ref": f"#/definitions/{event_type}",
    }


def _schema_of_key(key: Key) -> dict[str, Any]:
    if key.name == "visitor.customerIDs":
        member = {
            "type": "object",
            "properties": {"id": {"type": "string"}, "authState": {"type": "integer", "enum": [0, 1, 2]}},
            "required": ["id", "authState"],
            "additionalProperties": False,
        }
        return {"type": "object", "additionalProperties": member}
    if key.type == "array":
        item = {
            "type": "object",
            "properties": {"media.state.name": {"type": "string"}},
            "required": ["media.state.name"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": item}
    return {"type": key.type}
