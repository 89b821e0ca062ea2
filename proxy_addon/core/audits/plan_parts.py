"""What a tracking plan says: of keys and their values, of events, and of how often players ping.

A `Part` is what it says of all sessions, or of some. `proxy_addon.core.audits.deviations` holds a session against one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.patterns import Pattern, Work
from proxy_addon.core.audits.sketches import kind_of
from proxy_addon.core.audits.walking import State
from proxy_addon.core.wording import number, quoted

ALL = "all"
"""Stands for all types of events."""
TYPES = ("string", "integer", "number", "boolean", "null", "object", "array")
"""The JSON types; a ``number`` may be an ``integer``."""

type Scalar = str | int | float | bool | None

UNCHECKED = "not checked: too much work for one request"
"""What is said of values for which too little work is left to match them with the pattern of the plan."""


class Presence(StrEnum):
    """Whether events have a key."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """What a plan says of one key on events of one type.

    Attributes:
        types: The JSON types that values may have; empty for any.
        pattern: What strings match as a whole.
        values: All values that are allowed; empty for any.
        lowest: The lowest number that is allowed.
        highest: The highest one.
    """

    presence: Presence
    types: frozenset[str] = frozenset()
    pattern: Pattern | None = None
    values: tuple[Scalar, ...] = ()
    lowest: float | None = None
    highest: float | None = None

    def is_type(self, value: Any) -> bool:
        """Whether a decoded value has an allowed type."""
        if not self.types:
            return True
        kind = kind_of(value)
        return kind in self.types or (kind == "integer" and "number" in self.types)

    def unlike(self, value: Any, work: Work) -> str | None:
        """Return what the plan says of values, if a decoded value of an allowed type is not so, or `UNCHECKED`.

        Args:
            work: What may still be done for patterns in the body that it is in.
        """
        if self.values and _comparable(value) not in self._allowed:
            shown = [quoted(each) if isinstance(each, str) else _as_json(each) for each in self.values]
            return "one of " + ", ".join(shown[:_VALUES_TOLD]) + (", …" if len(shown) > _VALUES_TOLD else "")
        if self.pattern is not None and isinstance(value, str):
            is_like = self.pattern.matches(value, work)
            if not is_like:
                return UNCHECKED if is_like is None else f"a text like {self.pattern.text}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.lowest is not None and value < self.lowest:
                return f"at least {number(self.lowest)}"
            if self.highest is not None and value > self.highest:
                return f"at most {number(self.highest)}"
        return None

    @cached_property
    def _allowed(self) -> frozenset[tuple[str, Any]]:
        return frozenset(_comparable(each) for each in self.values)

    @property
    def types_told(self) -> str:
        """The allowed types, as messages name them."""
        names = [_TYPES_TOLD[name] for name in TYPES if name in self.types]
        return " or ".join(names)


_VALUES_TOLD = 8
_TYPES_TOLD = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "object": "an object",
    "array": "an array",
}


def _comparable(value: Any) -> tuple[str, Any]:
    kind = kind_of(value)
    if kind in ("object", "array"):
        return kind, None
    return ("number", value) if kind == "integer" else (kind, value)


def _as_json(value: Scalar) -> str:
    return jsontext.text_of(value).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionPlan:
    """What a plan says of ``params``, ``qoeData`` or ``customMetadata`` of events of one type.

    Attributes:
        further_keys: Whether keys are allowed of which it says nothing; None if that is said elsewhere.
    """

    keys: Mapping[str, KeyPlan] = field(default_factory=dict)
    further_keys: bool | None = None

    def with_more(self, more: SectionPlan) -> SectionPlan:
        """Return this with what another one says; that one wins."""
        return SectionPlan(
            keys={**self.keys, **more.keys},
            further_keys=self.further_keys if more.further_keys is None else more.further_keys,
        )


type EventPlan = Mapping[Section, SectionPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often players ping: every so many seconds, plus or minus some."""

    every_s: float
    plus_minus_s: float

    def allows(self, ms: int) -> bool:
        """Whether so much time may pass between two pings."""
        return abs(ms - self.every_s * 1_000) <= self.plus_minus_s * 1_000

    def __str__(self) -> str:
        """Return it as messages have it."""
        return f"every {number(self.every_s)} ± {number(self.plus_minus_s)} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurs:
    """How many events of a type a session has.

    Attributes:
        least: The lowest number that is allowed.
        most: The highest one; None for any, 0 if the plan forbids the event.
    """

    least: int = 0
    most: int | None = None

    def __str__(self) -> str:
        """Return it as messages have it."""
        if self.most is None:
            return f"at least {self.least:,} in a session"
        if self.least == self.most:
            return f"{self.least:,} in a session"
        return (
            f"at most {self.most:,} in a session" if not self.least else f"{self.least:,} to {self.most:,} in a session"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a plan says: of all sessions, or of some.

    Attributes:
        events: By type; what it says under `ALL` holds for all types.
        further_events: Whether types of events are allowed of which it says nothing; None if that is said elsewhere.
        further_keys: The same of keys, on events of which it says something.
        pings: How often players ping in a state of playback; None if they may ping as they like.
        occurs: How many events of a type a session has; None if it may have as many as it likes.
    """

    events: Mapping[str, EventPlan] = field(default_factory=dict)
    further_events: bool | None = None
    further_keys: bool | None = None
    pings: Mapping[State, Rate | None] = field(default_factory=dict)
    occurs: Mapping[str, Occurs | None] = field(default_factory=dict)

    def with_more(self, more: Part) -> Part:
        """Return this with what another one says; that one wins, key by key."""
        events = dict(self.events)
        for type, sections in more.events.items():
            events[type] = sections_with_more(events.get(type, {}), sections)
        return Part(
            events=events,
            further_events=self.further_events if more.further_events is None else more.further_events,
            further_keys=self.further_keys if more.further_keys is None else more.further_keys,
            pings={**self.pings, **more.pings},
            occurs={**self.occurs, **more.occurs},
        )


def sections_with_more(sections: EventPlan, more: EventPlan) -> EventPlan:
    """Return what is said of events of a type, with what is said elsewhere; that wins, key by key."""
    merged = dict(sections)
    for section, plan in more.items():
        before = merged.get(section)
        merged[section] = plan if before is None else before.with_more(plan)
    return merged
