"""How regularly devices report, how far their clocks are off, and how long they wait for answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy_addon.core.audits.arrivals import Arrival
from proxy_addon.core.audits.ordering import Taken
from proxy_addon.core.audits.sketches import Drawn, Histogram, Lot, PerSession
from proxy_addon.core.audits.walking import State, Stretch

SLOW_MS = 5_000
"""SDKs give up on an answer after this long, and drop the event."""
_SHORTEST_MS = 1_000
"""The speed of a playhead over less than this says little, because players update it once a second."""
_FASTEST = 1_000
"""A playhead that moves this many times as fast as time has jumped."""


class Gap(NamedTuple):
    """The time between two pings during which playback stays in one state.

    Attributes:
        ms: By the device's clock.
        ping: The ping that ends it.
    """

    ms: int
    state: State
    ping: Arrival


def ping_gaps(taken: Sequence[Taken], stretches: Sequence[Stretch]) -> Iterator[Gap]:
    """Yield the gaps between pings of a session; see `Rhythm.add_course` for the arguments."""
    since_ping_ms: int | None = None
    state: State | None = None
    for each, stretch in zip(taken, stretches, strict=True):
        if stretch.ms and stretch.state is not state:
            since_ping_ms, state = None, stretch.state
        if since_ping_ms is not None:
            since_ping_ms += stretch.ms
        if each.event.type == "ping" and not each.is_late:
            if since_ping_ms is not None and state is not None:
                yield Gap(since_ping_ms, state, each.event)
            since_ping_ms = 0


@dataclass(slots=True)
class Rhythm:
    """What was measured of a set of sessions.

    Attributes:
        gaps: Milliseconds from one ping to the next by the device's clock, by the state of playback that lasts between.
        speed: Thousandths of a second of content per second, while content plays; from one playhead to the next.
        skew: Milliseconds from the ``ts`` of an event to its arrival; negative if the device's clock is fast.
        latency: Milliseconds from the arrival of a request's first byte to the last byte of the answer.
        slow: How many answers took longer than `SLOW_MS`.
        slow_sessions: The sessions that have such an answer.
        medians: The median of each session that has any, by what was measured: ``ping_gaps_ms.`` and a state,
            ``playhead_speed``, ``clock_skew_ms``, ``latency_ms``. Numbers of one session depend on each other; these do not.
        batches: How many events a batch has.
    """

    gaps: dict[str, Histogram] = field(default_factory=dict)
    speed: Histogram = field(default_factory=Histogram)
    skew: Histogram = field(default_factory=Histogram)
    latency: Histogram = field(default_factory=Histogram)
    slow: int = 0
    slow_sessions: Drawn = field(default_factory=Drawn)
    batches: Histogram = field(default_factory=Histogram)
    medians: dict[str, PerSession] = field(default_factory=dict)

    def add_answers(self, durations_us: Iterable[int], lot: Lot) -> None:
        """Count the answers of a session."""
        found = [duration_us // 1_000 for duration_us in durations_us]
        self.latency.add_all(found)
        slow = sum(duration_ms > SLOW_MS for duration_ms in found)
        self.slow += slow
        if slow:
            self.slow_sessions.add(lot)
        self._add_median("latency_ms", found, lot)

    def add_arrivals(self, arrivals: Sequence[Arrival], lot: Lot) -> None:
        """Compare the device's clock with the times of arrival, in a session."""
        found = [event.arrived_us // 1_000 - event.ts_ms for event in arrivals if event.ts_ms is not None]
        self.skew.add_all(found)
        self._add_median("clock_skew_ms", found, lot)

    def add_course(self, taken: Sequence[Taken], stretches: Sequence[Stretch], lot: Lot) -> None:
        """Measure pings and playheads of a session.

        Args:
            taken: The events in the order in which the back end takes them.
            stretches: The stretch before each of them.
        """
        gaps: dict[str, list[int]] = {}
        for gap in ping_gaps(taken, stretches):
            gaps.setdefault(gap.state.value, []).append(gap.ms)
        for name, gaps_ms in gaps.items():
            self.gaps.setdefault(name, Histogram()).add_all(gaps_ms)
            self._add_median(f"ping_gaps_ms.{name}", gaps_ms, lot)
        speeds: list[int] = []
        state: State | None = None
        playhead_s: float | None = None
        since_playhead_ms = 0
        for each, stretch in zip(taken, stretches, strict=True):
            event = each.event
            if stretch.ms and stretch.state is not state:
                playhead_s, state = None, stretch.state
            since_playhead_ms += stretch.ms
            if each.is_late:
                continue
            if event.playhead_s is not None and (playhead_s is None or since_playhead_ms >= _SHORTEST_MS):
                if playhead_s is not None and state is State.CONTENT:
                    moved_s = event.playhead_s - playhead_s
                    if 0 <= moved_s * 1_000 <= _FASTEST * since_playhead_ms:
                        speeds.append(round(moved_s * 1_000_000 / since_playhead_ms))
                playhead_s, since_playhead_ms = event.playhead_s, 0
        self.speed.add_all(speeds)
        self._add_median("playhead_speed", speeds, lot)

    def _add_median(self, name: str, numbers: list[int], lot: Lot) -> None:
        if numbers:
            middle = sorted(numbers)[(len(numbers) - 1) // 2]
            self.medians.setdefault(name, PerSession()).add(middle, lot)

    def merge(self, more: Rhythm) -> None:
        """Add what another one has measured, of other sessions."""
        for state, gaps in more.gaps.items():
            self.gaps.setdefault(state, Histogram()).merge(gaps)
        self.speed.merge(more.speed)
        self.skew.merge(more.skew)
        self.latency.merge(more.latency)
        self.batches.merge(more.batches)
        self.slow += more.slow
        self.slow_sessions.merge(more.slow_sessions)
        for name, medians in more.medians.items():
            self.medians.setdefault(name, PerSession()).merge(medians)
