"""Follows the playback of a session event by event, for a list of many sessions in which each has a strip.

`Tracing` gives the same stretches of playback as `proxy_addon.core.timelines.spans`, which walks through all events again
whenever one has come: for a session that is watched while it grows, that would be the square of its events. Here an event
costs the same however many came before it. For that, a few events are remembered: those of the window in which the back end
sorts them, and of the one before it. What comes later than that is not sorted in, and `Tracing.is_behind` says so.
"""

from __future__ import annotations

import math
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from proxy_addon.core.audits.ordering import (
    CLOCK_SET_BACK_MS,
    LATE_END_US,
    WINDOW_EVENTS,
    WINDOW_US,
)
from proxy_addon.core.audits.viewing import STALL_EVENTS, STALL_MS
from proxy_addon.core.audits.walking import TURNS, Playing, State
from proxy_addon.core.sessions import IDLE_TIMEOUT, PLAYHEAD_TIMEOUT
from proxy_addon.core.timelines.spans import STALLED

Stretch = tuple[int, int, str]
"""From and to, in Unix milliseconds by the device's clock, and what playback did."""

_IDLE_US = round(IDLE_TIMEOUT.total_seconds() * 1_000_000)
_PLAYHEAD_US = round(PLAYHEAD_TIMEOUT.total_seconds() * 1_000_000)
_CONTENT = State.CONTENT.value


class Traced(NamedTuple):
    """What is needed of an event.

    Attributes:
        order: By which events are in the order of arrival; distinct for each.
        arrived_us: When it arrived, in microseconds since any moment.
        playhead_s: None without a usable one.
    """

    order: tuple[datetime | int, str, int]
    arrived_us: int
    type: str | None
    ts_ms: int | None
    playhead_s: float | None


type _Members = tuple[
    bool,
    bool,
    Playing,
    str,
    bool,
    int | None,
    int | None,
    float | None,
    int | None,
    float | None,
    bool,
    int,
    tuple[int, int],
    tuple[int, int],
    int,
    int,
]


class _Place(NamedTuple):
    """A moment to go back to: what `Tracing` knew then.

    Attributes:
        kept: How many stretches cannot change any more.
        open: Those behind them, as they were.
        members: What else it knew, in the order of `Tracing._place`.
    """

    kept: int
    open: tuple[Stretch, ...]
    members: _Members
    arrived_us: int | None
    highest_ms: float


class Tracing:
    """Follows the playback of one session.

    Attributes:
        is_behind: Whether an event came so late, or so much out of order, that the stretches are not those of all events.
    """

    def __init__(self, *, is_batch: bool = False) -> None:
        """Begin with a session that has no event.

        Args:
            is_batch: Whether it is downloaded playback, which is taken as it is listed and knows no timeouts.
        """
        self.is_behind = False
        self._is_batch = is_batch
        # By arrival
        self._last: Traced | None = None
        self._arrived_us: int | None = None
        self._highest_ms = -math.inf
        self._has_start = self._is_silent = False
        self._window: list[tuple[float, Traced]] = []
        self._opened_us = 0
        # In the order in which the back end takes events
        self._stretches: list[Stretch] = []
        self._playing, self._state = Playing(), State.STARTING.value
        self._is_closed = False
        self._clock_ms: int | None = None
        self._at_ms: int | None = None
        self._playhead_s: float | None = None
        self._moved_us: int | None = None
        # Whether the playhead stands still: see `proxy_addon.core.audits.viewing`
        self._known_s: float | None = None
        self._is_content = True
        self._passed_ms = 0
        self._known_at = (0, 0)
        self._stands_from = (0, 0)
        self._stands_for = self._stood_ms = 0
        self._here = self._before = self._place()
        self._recent: list[Traced] = []
        self._of_before = 0

    @property
    def stretches(self) -> list[Stretch]:
        """What playback did, by time of the device; not to be changed."""
        return self._stretches

    def add(self, event: Traced) -> None:
        """Add an event; those that arrived shortly before may come after it."""
        if self.is_behind:
            return
        if self._last is not None and event.order < self._last.order:
            self._sort_in(event)
        else:
            self._arrive(event)

    def _sort_in(self, event: Traced) -> None:
        recent = self._recent
        if not recent or event.order < recent[0].order:
            self.is_behind = True
            return
        events = sorted([*recent, event], key=itemgetter(0))
        self._here = self._before
        self._go_back(self._here)
        self._arrived_us, self._highest_ms = self._here.arrived_us, self._here.highest_ms
        self._window, self._recent, self._of_before = [], [], 0
        for each in events:
            self._arrive(each)

    def _arrive(self, event: Traced) -> None:
        self._last = event
        self._recent.append(event)
        arrived_us = event.arrived_us
        if self._is_batch:
            self._take_unless_again(event)
            return
        if self._arrived_us is not None:
            if arrived_us < self._arrived_us:
                arrived_us = self._arrived_us
                event = event._replace(arrived_us=arrived_us)
            elif arrived_us - self._arrived_us >= _IDLE_US:
                self._is_silent = True  # the back end has closed the session
        if self._is_silent:
            return
        self._arrived_us = arrived_us
        if event.type == "sessionStart":
            # It goes through at once, a further one is ignored.
            self._take_unless_again(event)
            return
        window = self._window
        if not window or len(window) == WINDOW_EVENTS or arrived_us - self._opened_us >= WINDOW_US:
            self._begin_window()
            window, self._opened_us = self._window, arrived_us
        if event.ts_ms is not None and event.ts_ms > self._highest_ms:
            self._highest_ms = event.ts_ms
        time_ms = self._highest_ms if event.ts_ms is None else event.ts_ms
        is_sorted = not window or time_ms >= window[-1][0]
        window.append((time_ms, event))
        if is_sorted:
            self._take(event)
            return
        window.sort(key=itemgetter(0))
        self._go_back(self._here)
        for _, each in window:
            self._take(each)

    def _take_unless_again(self, event: Traced) -> None:
        if event.type == "sessionStart":
            if self._has_start:
                return
            self._has_start = True
            self.is_behind = self._at_ms is not None or self._known_s is not None or bool(self._window)
        self._take(event)

    def _begin_window(self) -> None:
        recent = self._recent
        if self._window:
            self._before = self._here
            del recent[: self._of_before]
        self._window = []
        self._of_before = len(recent) - 1  # all but the event that begins it
        self._here = self._place()

    def _take(self, event: Traced) -> None:
        if self._is_closed:
            return
        _, arrived_us, type, ts_ms, playhead_s = event
        if not self._is_batch and self._moved_us is not None and arrived_us - self._moved_us > _PLAYHEAD_US:
            grace_us = LATE_END_US if type == "sessionEnd" else 0
            if arrived_us - self._moved_us > _PLAYHEAD_US + grace_us:
                self._is_closed = True
                return
        behind_ms = 0 if self._clock_ms is None or ts_ms is None else self._clock_ms - ts_ms
        is_late = 0 < behind_ms <= CLOCK_SET_BACK_MS
        if ts_ms is not None and not is_late:
            if type != "sessionStart":
                self._clock_ms = ts_ms
            if behind_ms < 0 and self._at_ms is not None:
                self._passed_ms -= behind_ms
                self._append((self._at_ms, ts_ms, self._state))
            self._at_ms = ts_ms
        if self._state != _CONTENT:
            self._is_content = False
        if playhead_s is not None and not is_late:
            if playhead_s != self._playhead_s:
                self._playhead_s, self._moved_us = playhead_s, arrived_us
            self._see(playhead_s)
        if type in TURNS:
            self._playing = self._playing.after(type)
            self._state = self._playing.state.value
        elif type == "sessionEnd":
            self._is_closed = True

    def _see(self, playhead_s: float) -> None:
        """Find out whether the playhead stands still."""
        if self._known_s == playhead_s and self._is_content:
            if not self._stands_for:
                self._stands_from, self._stood_ms = self._known_at, 0
            self._stands_for += 1
            self._stood_ms += self._passed_ms
            if self._stands_for + 1 >= STALL_EVENTS and self._stood_ms >= STALL_MS:
                self._stall()
        else:
            self._stands_for = 0
        stretches = self._stretches
        self._known_s, self._is_content, self._passed_ms = playhead_s, True, 0
        self._known_at = (len(stretches), stretches[-1][1]) if stretches else (0, 0)

    def _stall(self) -> None:
        """Make what played since the playhead stands still a stall."""
        number, end_ms = self._stands_from
        first = max(0, number - 1)
        since, self._stretches[first:] = self._stretches[first:], []
        if number:
            (begin_ms, until_ms, name), *since = since
            self._append((begin_ms, end_ms, name))
            if until_ms > end_ms:
                self._append((end_ms, until_ms, STALLED))
        for begin_ms, until_ms, _ in since:
            self._append((begin_ms, until_ms, STALLED))
        stretches = self._stretches
        self._stands_from = (len(stretches), stretches[-1][1]) if stretches else (0, 0)

    def _append(self, stretch: Stretch) -> None:
        stretches = self._stretches
        if stretches:
            begin_ms, end_ms, name = stretches[-1]
            if name == stretch[2] and end_ms == stretch[0]:
                stretches[-1] = begin_ms, stretch[1], name
                return
        stretches.append(stretch)

    def _place(self) -> _Place:
        number = self._known_at[0]
        if self._stands_for and self._stands_from[0] < number:
            number = self._stands_from[0]
        kept = max(0, number - 1)
        return _Place(
            kept,
            tuple(self._stretches[kept:]),
            (
                self._has_start,
                self._is_silent,
                self._playing,
                self._state,
                self._is_closed,
                self._clock_ms,
                self._at_ms,
                self._playhead_s,
                self._moved_us,
                self._known_s,
                self._is_content,
                self._passed_ms,
                self._known_at,
                self._stands_from,
                self._stands_for,
                self._stood_ms,
            ),
            self._arrived_us,
            self._highest_ms,
        )

    def _go_back(self, place: _Place) -> None:
        self._stretches[place.kept :] = place.open
        (
            self._has_start,
            self._is_silent,
            self._playing,
            self._state,
            self._is_closed,
            self._clock_ms,
            self._at_ms,
            self._playhead_s,
            self._moved_us,
            self._known_s,
            self._is_content,
            self._passed_ms,
            self._known_at,
            self._stands_from,
            self._stands_for,
            self._stood_ms,
        ) = place.members
