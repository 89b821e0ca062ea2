"""What the checks of bodies look at, prepared once for all of them.

`Vocabulary` says what an event may hold: the built-in table, with the extra params of the settings, or what the schema
of an upstream says. `BodyView` and `EventView` are a body and an event with what several rules ask for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from proxy_addon.core import protocol
from proxy_addon.core.events import Body
from proxy_addon.core.findings import BUILT_IN
from proxy_addon.core.jsontext import Number, escaped
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What an event of one type may hold.

    Attributes:
        params: All keys that are known, by name.
        listed: Those of them that belong on this type of event.
        required: Those it must have.
        quality: All keys of ``qoeData``.
        authority: What says so.
        needs_params: Whether it must have ``params`` at all.
        is_open: Whether keys of ``params`` that are not known are none of our business; `is_quality_open` the same of
            ``qoeData``.
        patterns: Keys of ``params`` that match one are allowed, too; `quality_patterns` the same of ``qoeData``.
    """

    params: Mapping[str, Key]
    listed: frozenset[str]
    required: tuple[str, ...]
    quality: Mapping[str, Key] = field(default_factory=lambda: protocol.QUALITY)
    authority: str = BUILT_IN
    needs_params: bool = False
    is_open: bool = False
    is_quality_open: bool = False
    patterns: tuple[re.Pattern[str], ...] = ()
    quality_patterns: tuple[re.Pattern[str], ...] = ()

    def allows(self, name: str) -> bool:
        """Whether a key of ``params`` that is not known is allowed."""
        return self.is_open or _matches(self.patterns, name)

    def allows_quality(self, name: str) -> bool:
        """Whether a key of ``qoeData`` that is not known is allowed."""
        return self.is_quality_open or _matches(self.quality_patterns, name)

    @cached_property
    def by_lower_case(self) -> Mapping[str, str]:
        """The known keys of ``params`` by their names in lower case."""
        return {name.lower(): name for name in self.params}


_LONGEST_MATCHED = 100
"""A key of more characters matches no pattern: how long matching takes must not be for devices to say."""


def _matches(patterns: tuple[re.Pattern[str], ...], name: str) -> bool:
    return len(name) <= _LONGEST_MATCHED and any(pattern.search(name) for pattern in patterns)


class Vocabulary:
    """What events may hold, by type."""

    def __init__(self, extra: tuple[Key, ...] = (), schemas: Mapping[str, Expectation] | None = None) -> None:
        """Make a vocabulary.

        Args:
            extra: Params that are allowed beside the built-in ones, of their events or, without any, of all.
            schemas: What schemas of an upstream say, by event type; they are preferred.
        """
        # A key that is known gets events beside its own; what the protocol says of it stays.
        self._extra = tuple(
            replace(known, events=known.events | key.events) if (known := protocol.PARAMS.get(key.name)) else key
            for key in extra
        )
        self._params = {**protocol.PARAMS, **{key.name: key for key in self._extra}}
        self._schemas = schemas or {}
        self._made: dict[str | None, Expectation] = {}

    def of(self, event_type: str | None) -> Expectation:
        """Return what an event of a type may hold; of one that is not known, what any may."""
        if event_type not in protocol.EVENTS:
            event_type = None
        found = self._made.get(event_type)
        if found is None:
            found = self._made[event_type] = self._make(event_type)
        return found

    def _make(self, event_type: str | None) -> Expectation:
        schema = self._schemas.get(event_type or "")
        if schema is not None and event_type is not None:
            mine = {key.name: key for key in self._extra if not key.events or event_type in key.events}
            return replace(schema, params={**schema.params, **mine}, listed=schema.listed | mine.keys())
        extra = {key.name for key in self._extra if not key.events}
        listed = {name for name, key in self._params.items() if event_type in key.events} | extra
        required = tuple(name for name, key in self._params.items() if event_type in key.required)
        needs_params = event_type is not None and protocol.EVENTS[event_type].needs_params
        return Expectation(params=self._params, listed=frozenset(listed), required=required, needs_params=needs_params)


@dataclass(frozen=True, kw_only=True)
class BodyView:
    """A request's body.

    Attributes:
        reading: The body, decoded.
        endpoint: What it was posted to.
        raw: Its bytes.
        encoding: ``Content-Encoding``; None where it has none.
    """

    raw: bytes
    reading: Body
    endpoint: Operation
    encoding: str | None = None

    @property
    def value(self) -> Any:
        """The decoded body."""
        return self.reading.value


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, Number),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class EventView:
    """One event, an object.

    Attributes:
        value: The decoded event.
        pointer: Where it stands in the body: empty, or ``/3`` in a batch.
        in_batch: Whether it is an element of a batch.
        endpoint: What it was posted to.
        type: Its ``eventType``, where that is a string.
        expected: What it may hold.
    """

    def __init__(
        self,
        value: dict[str, Any],
        vocabulary: Vocabulary,
        endpoint: Operation,
        pointer: str = "",
        *,
        in_batch: bool = False,
    ) -> None:
        self.value = value
        self.pointer = pointer
        self.in_batch = in_batch
        self.endpoint = endpoint
        event_type = value.get("eventType")
        self.type: str | None = event_type if isinstance(event_type, str) else None
        self.expected = vocabulary.of(self.type)
        self.player_time: dict[str, Any] | None = _object(value, "playerTime")
        self.params: dict[str, Any] | None = _object(value, "params")
        self.quality: dict[str, Any] | None = _object(value, "qoeData")
        self.metadata: dict[str, Any] | None = _object(value, "customMetadata")

    def at(self, *names: str) -> str:
        """Return the pointer of a member."""
        return "/".join([self.pointer, *(escaped(name) for name in names)])

    @cached_property
    def odd_params(self) -> list[tuple[str, Any, Key | None]]:
        """Params that some rule may object to: all but those that are on the right event and fit.

        The third is what is known of the key; None for one that is unknown.
        """
        expected = self.expected
        known, listed = expected.params, expected.listed
        return [
            (name, value, key)
            for name, value in (self.params or {}).items()
            if (key := known.get(name)) is None or name not in listed or not _fits(key, value)
        ]

    @cached_property
    def odd_quality(self) -> list[tuple[str, Any, Key | None]]:
        """Members of ``qoeData`` that some rule may object to, in the same form."""
        known = self.expected.quality
        return [
            (name, value, key)
            for name, value in (self.quality or {}).items()
            if (key := known.get(name)) is None or not _fits(key, value)
        ]


def has_type(value: Any, type: str) -> bool:
    """Whether a value has a JSON type; whole numbers count as integers however they are written."""
    if type == "any":
        return True
    if isinstance(value, bool):
        return type == "boolean"
    if isinstance(value, Number) and type == "integer":
        return value.is_whole
    return isinstance(value, _JSON_TYPES[type])


def _fits(key: Key, value: Any) -> bool:
    """Whether a value is of the type, in its usual spelling, and nothing else is to be said about it."""
    if type(value) is str and key.type == "string":
        return (
            not key.legacy and not key.values and not (key.not_empty and not value.strip()) and key.name != STATE_NAME
        )
    if type(value) is bool:
        return key.type == "boolean" and not key.legacy
    if type(value) is int or type(value) is Number:
        if key.legacy or (key.type != "number" and (key.type != "integer" or type(value) is Number)):
            return False
        return key.minimum is None or value >= key.minimum
    return False


STATE_NAME = "media.state.name"
"""The one param whose value has to match a pattern."""


def _object(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    member = value.get(name)
    return member if isinstance(member, dict) else None
