"""The order in which the back end takes the events of a session, and which ones it drops.

Documented: events wait in a window of 5 seconds or at most 10 events and are sorted by ``ts``; ``sessionStart`` goes
through at once; what follows ``sessionEnd`` is dropped; a session closes after 10 minutes without an event, and after
30 minutes without playhead movement. Everything else here is chosen, because no source says it: there is one window at
a time per session, it opens with its first event, and events with equal ``ts`` stay in the order of arrival.

Sources: Adobe's docs, `mc-api-ctrl-order.md`, `mc-api-timeout.md`, `session-start.md`, `session-end.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, pairwise
from operator import itemgetter

from proxy_addon.core.audits.arrivals import Arrival
from proxy_addon.core.protocol import rank_of
from proxy_addon.core.sessions import IDLE_TIMEOUT, PLAYHEAD_TIMEOUT

WINDOW_US = 5_000_000
WINDOW_EVENTS = 10
CLOCK_SET_BACK_MS = 60_000
"""If an event is older than the one before it by more than this, it is not late: the device's clock was set back."""
LATE_END_US = 60_000_000
"""SDKs send ``sessionEnd`` when the playhead has stood still for 30 minutes, which is a second too late."""


class Lost(StrEnum):
    """Why an event was dropped."""

    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_PLAYHEAD = "timeout_playhead"
    AFTER_SESSION_END = "after_session_end"


@dataclass(slots=True, kw_only=True)  # many are made, and frozen ones take three times as long
class Taken:
    """An event as the back end takes it.

    Attributes:
        passed_ms: How far the event moves the clock on; the clock begins with the first event after ``sessionStart``.
        is_late: Whether it is older than an event before it; its playhead is not used.
    """

    event: Arrival
    passed_ms: int = 0
    is_late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The events of a session as the back end takes them.

    Attributes:
        taken: In order.
        dropped: In the order in which they were dropped, with the reason.
        windows: What each window handed on, in order.
        silence_us: For a session that was closed because the playhead stood still, the time from the last event taken
            to that moment; else None.
    """

    taken: tuple[Taken, ...]
    dropped: tuple[tuple[Arrival, Lost], ...] = ()
    windows: tuple[tuple[Arrival, ...], ...] = ()
    silence_us: int | None = None

    @property
    def late(self) -> list[Arrival]:
        """The events that were taken late."""
        return [each.event for each in self.taken if each.is_late]

    def lost(self, reason: Lost) -> bool:
        """Whether an event was dropped for a reason."""
        return any(why is reason for _, why in self.dropped)


def ordered(arrivals: Sequence[Arrival], *, is_batch: bool = False, by_rank: bool = False) -> Order:
    """Return the events of a session as the back end takes them.

    Args:
        arrivals: In the order of arrival; a time of arrival that is below the one before it counts as that one.
        is_batch: Whether they are downloaded playback, which is taken as it is listed and knows no timeouts.
        by_rank: Whether events with equal ``ts`` are taken in the order that SDKs intend, instead of the order of arrival.
    """
    arrivals = list(_forward(arrivals))
    alive = len(arrivals) if is_batch else _until_silence(arrivals)
    start = next((event for event in arrivals[:alive] if event.start is not None), None)
    events = [event for event in arrivals[:alive] if event.start is None]  # a further start is ignored
    windows = (tuple(events),) if is_batch else tuple(_windows(events, by_rank=by_rank))
    in_order = chain(() if start is None else (start,), chain.from_iterable(windows))
    order = _taken(in_order, windows, is_batch=is_batch)
    silent = ((event, Lost.TIMEOUT_IDLE) for event in arrivals[alive:])
    return replace(order, dropped=(*order.dropped, *silent))


_IDLE_US = round(IDLE_TIMEOUT.total_seconds() * 1_000_000)
_PLAYHEAD_US = round(PLAYHEAD_TIMEOUT.total_seconds() * 1_000_000)


def _until_silence(arrivals: Sequence[Arrival]) -> int:
    """Return how many events arrive before the first silence that closes the session."""
    gaps = enumerate(pairwise(arrivals), 1)
    return next((place for place, (a, b) in gaps if b.arrived_us - a.arrived_us >= _IDLE_US), len(arrivals))


def _forward(arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """Yield the events with times of arrival that never go back."""
    arrived_us: int | None = None
    for event in arrivals:
        arrived_us = event.arrived_us if arrived_us is None else max(arrived_us, event.arrived_us)
        yield event if arrived_us == event.arrived_us else replace(event, arrived_us=arrived_us)


def _windows(events: Iterable[Arrival], *, by_rank: bool) -> Iterator[tuple[Arrival, ...]]:
    window: list[tuple[float, int, Arrival]] = []
    highest_ms = -math.inf
    for event in events:
        if window and (len(window) == WINDOW_EVENTS or event.arrived_us - window[0][-1].arrived_us >= WINDOW_US):
            yield _sorted(window)
            window = []
        if event.ts_ms is not None:
            highest_ms = max(highest_ms, event.ts_ms)
        # Without a ts, an event stays where it arrived.
        time_ms = highest_ms if event.ts_ms is None else event.ts_ms
        window.append((time_ms, rank_of(event.type) if by_rank else 0, event))
    if window:
        yield _sorted(window)


def _sorted(window: list[tuple[float, int, Arrival]]) -> tuple[Arrival, ...]:
    return tuple(event for _, _, event in sorted(window, key=itemgetter(0, 1)))


def _taken(events: Iterable[Arrival], windows: tuple[tuple[Arrival, ...], ...], *, is_batch: bool) -> Order:
    """Take events in their order until the session closes."""
    taken: list[Taken] = []
    dropped: list[tuple[Arrival, Lost]] = []
    clock_ms: int | None = None
    playhead_s: float | None = None
    moved_us: int | None = None
    lost: Lost | None = None
    for event in events:
        if lost is None and not is_batch and moved_us is not None and _comes_too_late(event, moved_us):
            lost = Lost.TIMEOUT_PLAYHEAD
        if lost is not None:
            dropped.append((event, lost))
            continue
        behind_ms = 0 if clock_ms is None or event.ts_ms is None else clock_ms - event.ts_ms
        is_late = 0 < behind_ms <= CLOCK_SET_BACK_MS
        if event.start is None and event.ts_ms is not None and not is_late:
            clock_ms = event.ts_ms
        taken.append(Taken(event=event, passed_ms=max(0, -behind_ms), is_late=is_late))
        if event.playhead_s is not None and not is_late and event.playhead_s != playhead_s:
            playhead_s, moved_us = event.playhead_s, event.arrived_us
        if event.type == "sessionEnd":
            lost = Lost.AFTER_SESSION_END
    silence_us = None
    if lost is Lost.TIMEOUT_PLAYHEAD and moved_us is not None:
        silence_us = max(0, moved_us + _PLAYHEAD_US - taken[-1].event.arrived_us)
    return Order(taken=tuple(taken), dropped=tuple(dropped), windows=windows, silence_us=silence_us)


def _comes_too_late(event: Arrival, moved_us: int) -> bool:
    grace_us = LATE_END_US if event.type == "sessionEnd" else 0
    return event.arrived_us - moved_us > _PLAYHEAD_US + grace_us
