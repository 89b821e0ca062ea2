"""The arguments of the body and event rules, prepared once for all of them.

`Vocabulary` says what an event may contain: either the built-in table with the extra params of the settings, or the
schema of an upstream. `BodyView` and `EventView` add to a body and an event what several rules need.
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
    """What an event of one type may contain.

    Attributes:
        params: All known keys of ``params``, by name.
        listed: The known keys that belong on this type of event.
        required: The keys that the event must have.
        quality: All known keys of ``qoeData``, by name.
        authority: Where this comes from: ``built-in``, or the schema of an upstream by version.
        needs_params: Whether the event must have ``params`` at all.
        is_open, is_quality_open: Whether unknown keys of ``params``, or of ``qoeData``, are allowed.
        patterns, quality_patterns: Unknown keys of ``params``, or of ``qoeData``, are allowed if they match one of
            these.
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
        """Whether an unknown key of ``params`` is allowed."""
        return self.is_open or _matches(self.patterns, name)

    def allows_quality(self, name: str) -> bool:
        """Whether an unknown key of ``qoeData`` is allowed."""
        return self.is_quality_open or _matches(self.quality_patterns, name)

    @cached_property
    def by_lower_case(self) -> Mapping[str, str]:
        """The known keys of ``params`` by their names in lower case."""
        return {name.lower(): name for name in self.params}


_LONGEST_MATCHED = 100
"""Longer keys match no pattern, so that a device cannot make matching slow."""


def _matches(patterns: tuple[re.Pattern[str], ...], name: str) -> bool:
    return bool(patterns) and len(name) <= _LONGEST_MATCHED and any(pattern.search(name) for pattern in patterns)


_MOST_SHAPES = 2_000


class Vocabulary:
    """What events may contain, by event type."""

    def __init__(self, extra: tuple[Key, ...] = (), schemas: Mapping[str, Expectation] | None = None) -> None:
        """Make a vocabulary.

        Args:
            extra: Params that are allowed in addition to the built-in ones: on their events, or on all events if they
                name none.
            schemas: What the schemas of an upstream say, by event type; they take precedence over the built-in table.
        """
        # For a known key, only the event types are extended; the rest of its definition stays.
        self._extra = tuple(
            replace(known, events=known.events | key.events) if (known := protocol.PARAMS.get(key.name)) else key
            for key in extra
        )
        self._params = {**protocol.PARAMS, **{key.name: key for key in self._extra}}
        self._schemas = schemas or {}
        self._made: dict[str | None, Expectation] = {}
        self._clean: set[tuple[Operation, bytes]] = set()

    def is_clean(self, endpoint: Operation, shape: bytes) -> bool:
        """Whether a body of this shape, posted to this endpoint, is known to break no rule."""
        return (endpoint, shape) in self._clean

    def remember_clean(self, endpoint: Operation, shape: bytes) -> None:
        """Remember that bodies of a shape break no rule; the memory is bounded, whatever devices send."""
        if len(self._clean) >= _MOST_SHAPES:
            self._clean.clear()
        self._clean.add((endpoint, shape))

    def of(self, event_type: str | None) -> Expectation:
        """Return what an event of one type may contain; for an unknown type, what any event may contain."""
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
        raw: Its bytes.
        reading: The decoded body.
        endpoint: The endpoint it was posted to.
        encoding: ``Content-Encoding``; None if there is none. Only told of a body that is not JSON.
    """

    raw: bytes
    reading: Body
    endpoint: Operation
    encoding: str | None = None

    @property
    def value(self) -> Any:
        """The decoded JSON value."""
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
    """One event that is a JSON object.

    Attributes:
        value: The decoded event.
        pointer: JSON Pointer to the event in the body: empty, or for instance ``/3`` in a batch.
        in_batch: Whether it is an element of a batch.
        endpoint: The endpoint it was posted to.
        type: Its ``eventType``; None if that is not a string.
        expected: What it may contain.
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
        """Return the JSON Pointer to a member of the event."""
        return "/".join([self.pointer, *map(escaped, names)])

    @cached_property
    def odd_params(self) -> list[tuple[str, Any, Key | None]]:
        """Params that some rule may object to, as name, value and definition of the key (None if the key is unknown).

        Params that are on the right event and have a proper value are left out.
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
        """Members of ``qoeData`` that some rule may object to, in the same form as `odd_params`."""
        known = self.expected.quality
        return [
            (name, value, key)
            for name, value in (self.quality or {}).items()
            if (key := known.get(name)) is None or not _fits(key, value)
        ]


def has_type(value: Any, type: str) -> bool:
    """Whether a value has a JSON type; whole numbers count as integers, however they are written."""
    if type == "any":
        return True
    if isinstance(value, bool):
        return type == "boolean"
    if isinstance(value, Number) and type == "integer":
        return value.is_whole
    return isinstance(value, _JSON_TYPES[type])


def _fits(key: Key, value: Any) -> bool:
    """Whether no rule can object to the value: its type, spelling and range are as usual."""
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
"""The only param whose value must match a pattern."""


def _object(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    member = value.get(name)
    return member if isinstance(member, dict) else None
