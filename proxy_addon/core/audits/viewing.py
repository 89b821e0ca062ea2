"""Which parts of the content were viewed, and where playback stalled.

Adobe documents only that unique time is the union of what was viewed, and that a stall is content that plays while at
least three events in a row have the same playhead. We chose all limits here. Sources: Adobe's docs,
`unique-time-played.md`, `stall-events.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proxy_addon.core.audits.ordering import Taken
from proxy_addon.core.audits.walking import Stretch

STALL_EVENTS = 3
STALL_MS = 2_000
"""Playheads in whole seconds stand still for this long in healthy playback."""
DAY_S = 86_400
_FASTEST = 2
"""Players play at most this many times as fast as usual."""

Interval = tuple[float, float]
"""A part of the content: from and to, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewed:
    """What was viewed.

    Attributes:
        stalls: How often playback stalled.
        stalled: Places of the stretches in which it did.
        intervals: Parts of the content that were viewed, sorted and without overlaps.
    """

    stalls: int
    stalled: frozenset[int]
    intervals: tuple[Interval, ...]

    @property
    def seconds(self) -> float:
        """How much of the content was viewed."""
        return sum(b - a for a, b in self.intervals)

    def holds(self, playhead_s: float) -> bool:
        """Whether a position was viewed."""
        return any(a <= playhead_s <= b for a, b in self.intervals)


@dataclass(slots=True, kw_only=True)  # many are made, and frozen ones take three times as long
class _Step:
    """From one known playhead to the next, in content that plays.

    Attributes:
        first: Place of the first stretch.
        end: Place after the last stretch.
    """

    a: float
    b: float
    ms: int
    first: int
    end: int


def viewed(taken: Sequence[Taken], stretches: Sequence[Stretch], *, length_s: float | None, is_live: bool) -> Viewed:
    """Return what was viewed.

    Args:
        taken: The events, late ones included; their playheads do not count.
        stretches: The stretch before each event.
        length_s: The length of the content; None if it is not known.
    """
    intervals: list[Interval] = []
    stalled: set[int] = set()
    stalls = 0
    for run in _runs(_steps(taken, stretches)):
        if run[0].a == run[0].b and len(run) + 1 >= STALL_EVENTS and sum(step.ms for step in run) >= STALL_MS:
            stalls += 1
            stalled.update(range(run[0].first, run[-1].end))
            continue
        for step in run:
            intervals += _intervals(step, length_s=length_s, is_live=is_live)
    return Viewed(stalls=stalls, stalled=frozenset(stalled), intervals=tuple(_union(intervals)))


def _steps(taken: Sequence[Taken], stretches: Sequence[Stretch]) -> Iterator[_Step]:
    known = [place for place, each in enumerate(taken) if each.event.playhead_s is not None and not each.is_late]
    for before, after in pairwise(known):
        if after == before + 1 and not stretches[after].is_content:
            continue
        between = stretches[before + 1 : after + 1]
        if all(stretch.is_content for stretch in between):
            a, b = taken[before].event.playhead_s, taken[after].event.playhead_s
            assert a is not None
            assert b is not None
            yield _Step(a=a, b=b, ms=sum(stretch.ms for stretch in between), first=before + 1, end=after + 1)


def _runs(steps: Iterable[_Step]) -> Iterator[list[_Step]]:
    """Yield neighbouring steps in which the playhead stands still together, and each other step by itself."""
    run: list[_Step] = []
    for step in steps:
        stands = step.a == step.b
        if run and not (stands and run[0].a == run[0].b and run[-1].end == step.first):
            yield run
            run = []
        run.append(step)
    if run:
        yield run


def _intervals(step: _Step, *, length_s: float | None, is_live: bool) -> Iterator[Interval]:
    a, b, passed_s = step.a, step.b, step.ms / 1000
    moved_s = b - a
    if is_live and moved_s < -DAY_S / 2:
        moved_s += DAY_S  # past midnight
    if 0 <= moved_s <= _FASTEST * passed_s + 1:
        if b >= a:
            yield a, b
        else:
            yield a, max(a, DAY_S)
            yield min(0.0, b), b
    elif not -1 <= moved_s < 0:
        # A jump without a pause: the event behind it usually comes right after it.
        until = a + passed_s
        if length_s is not None and not is_live:
            until = min(until, length_s)
        if until >= a:
            yield a, until


def _union(intervals: Iterable[Interval]) -> Iterator[Interval]:
    merged: Interval | None = None
    for a, b in sorted(intervals):
        if merged is None:
            merged = a, b
        elif a <= merged[1]:
            merged = merged[0], max(merged[1], b)
        else:
            yield merged
            merged = a, b
    if merged is not None:
        yield merged
