"""The state before an event that depends on clocks: one for the order of arrival, one for gaps.

`advance` changes both. Source: Media Collection API, session rules, method.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.rule import When
from proxy_addon.core.rules.session_view import SessionEvent


def passed_s(earlier_s: float, later_s: float) -> float:
    """Return the time between two moments, rounded to microseconds: Unix seconds as floats are not more precise."""
    return round(later_s - earlier_s, 6)


@dataclass(slots=True, kw_only=True)
class Silence:
    """The state before an event, in the order of the clock that measures gaps.

    Attributes:
        last_s: Time of the latest event so far; None before the first event.
    """

    limits: Limits
    is_batch: bool = False
    by_arrival: bool = True
    last_s: float | None = None
    is_over: bool = False
    _measured: tuple[SessionEvent, float | None] | None = field(default=None, init=False)

    def clock_s(self, event: SessionEvent) -> float | None:
        """Return the time of an event: its arrival if it was recorded live, else its ``ts``."""
        if self.by_arrival:
            return event.arrived_s
        return None if event.ts_ms is None else event.ts_ms / 1000

    def gap_s(self, event: SessionEvent) -> float | None:
        """Return the silence before an event, in seconds; None if it cannot be measured or does not count."""
        if self._measured is None or self._measured[0] is not event:  # each rule for gaps asks for the same
            self._measured = event, self._gap_s(event)
        return self._measured[1]

    def moments(self, event: SessionEvent) -> int:
        """Return the sum of the moments that an event comes at: whether it ends a silence."""
        gap_s = self.gap_s(event)
        return When.SILENT if gap_s is not None and gap_s >= self.limits.shortest_gap_s else 0

    def _gap_s(self, event: SessionEvent) -> float | None:
        now = self.clock_s(event)
        if self.is_batch or self.is_over or self.last_s is None or now is None:
            return None
        return passed_s(self.last_s, now)

    def advance(self, event: SessionEvent) -> None:
        """Take an event into account."""
        self._measured = None
        now = self.clock_s(event)
        if now is not None and (self.last_s is None or now > self.last_s):
            self.last_s = now  # the start comes first, even if later events are older
        self.is_over = self.is_over or event.type == "sessionEnd"


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """The state before an event, in the order of arrival.

    Attributes:
        has_clock: Whether the arrival is a time of day that ``ts`` can be compared with.
        start_missing: Whether the start was not recorded.
        start_ms: ``ts`` of the ``sessionStart``; None before it, except if a late start is already known.
        has_started: Whether a ``sessionStart`` has arrived.
        is_first: Whether no event has arrived yet.
        highest_ms: The highest ``ts`` so far; None before the first one.
        times: All ``ts`` so far.
    """

    limits: Limits
    is_batch: bool = False
    has_clock: bool = True
    start_missing: bool = False
    start_ms: int | None = None
    has_started: bool = False
    is_first: bool = True
    highest_ms: int | None = None
    times: set[int] = field(default_factory=set)

    def advance(self, event: SessionEvent) -> None:
        """Take an event into account."""
        self.is_first = False
        if event.type == "sessionStart" and not self.has_started:
            self.has_started = True
            self.start_ms = event.ts_ms if self.start_ms is None else self.start_ms
        if event.ts_ms is not None:
            self.times.add(event.ts_ms)
            if self.highest_ms is None or event.ts_ms > self.highest_ms:
                self.highest_ms = event.ts_ms

    def moments(self, event: SessionEvent) -> int:
        """Return the sum of the moments that an event comes at."""
        is_newest = event.ts_ms is not None and (self.highest_ms is None or event.ts_ms > self.highest_ms)
        return (0 if is_newest else When.NOT_NEWEST) | (When.FIRST if self.is_first else 0)

    def is_older_than_start(self, event: SessionEvent) -> bool:
        """Whether an event is older than its ``sessionStart``; the order rules skip it, as other rules report it."""
        return self.start_ms is not None and event.ts_ms is not None and event.ts_ms < self.start_ms
