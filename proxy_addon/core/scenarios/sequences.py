"""Whether the events of a session contain a sequence of steps, and if not, where it breaks off.

Each step may be any event that fits, and what fits depends on the event that the step before took. Pairs are not tried one by
one: the events that may stand before another are a stretch of those that the step before reached, ends found by bisection, so
that n events take time in proportion to n log n for each step.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from proxy_addon.core.scenarios.played import Seen
from proxy_addon.core.scenarios.scenario import Step
from proxy_addon.core.scenarios.wanted import Bounds
from proxy_addon.core.wording import alternatives
from proxy_addon.core.wording import number as written


@dataclass(frozen=True, slots=True)
class Break:
    """Where a sequence breaks off.

    Attributes:
        message: What came instead of which step.
        number: Of the event to look at; None if there is none.
    """

    message: str
    number: int | None = None


def broken(steps: Sequence[Step], events: Sequence[Seen]) -> Break | None:
    """Return where a sequence breaks off; None if the events contain all of it, perhaps with others between them.

    A sequence holds if there is one way to take all its steps. If there is none, the step is told that no event can be, with the
    event that comes closest: one with the right values before one with others, then one without what must not come between,
    then the one that is nearest in time, then the one that is nearest by its playhead.

    Args:
        events: In order; by their times, except that some may stand before all others.
    """
    reached: list[int] | None = None  # the places that the step before may take; None before the first step
    for step in steps:
        ends = [place for place, event in enumerate(events) if event.is_of(step)]
        found, windows = {*ends} if reached is None else set(), []
        for run in _runs(reached or (), events):
            of_run = [*_windows(step, events, run, ends)]
            found.update(_moved(step.moved_s, events, run, of_run))
            windows += of_run
        if not found:
            return _break(step, events, reached, windows)
        reached = sorted(found)
    return None


@dataclass(frozen=True, slots=True)
class _Run:
    """Some of the places that a step may take: those at which the time does not go back."""

    places: list[int]
    times: list[float]


@dataclass(frozen=True, slots=True)
class _Window:
    """What of a run may stand before an event.

    Attributes:
        end: The place of the event.
        first: From here, nothing comes between that must not.
        last: Up to here, excluded, it comes before the event.
        low: Of these, from here the time between them is not too long.
        high: Up to here, excluded, it is not too short.
    """

    run: _Run
    end: int
    first: int
    last: int
    low: int
    high: int


def _runs(places: Iterable[int], events: Sequence[Seen]) -> list[_Run]:
    runs: list[_Run] = []
    for place in places:
        at_s = events[place].at_s
        if not runs or at_s < runs[-1].times[-1]:
            runs.append(_Run([], []))
        runs[-1].places.append(place)
        runs[-1].times.append(at_s)
    return runs


def _windows(step: Step, events: Sequence[Seen], run: _Run, ends: Iterable[int]) -> Iterator[_Window]:
    barriers = [place for place, event in enumerate(events) if event.type in step.without]
    for end in ends:
        passed = bisect_left(barriers, end)
        last = bisect_left(run.places, end)
        first = bisect_left(run.places, barriers[passed - 1], hi=last) if passed else 0
        yield _Window(run, end, first, last, *_behind(step.after_s, run.times, events[end].at_s, first, last))


def _behind(bounds: Bounds | None, values: Sequence[float], value: float, low: int, high: int) -> tuple[int, int]:
    """Return which stretch of ascending values is as far behind a value as it should be."""

    def ahead(each: float) -> float:
        return -_beyond(value, each)

    if bounds is not None and bounds.at_most is not None:
        low = bisect_left(values, -bounds.at_most, low, high, key=ahead)
    if bounds is not None and bounds.at_least is not None:
        high = bisect_right(values, -bounds.at_least, low, high, key=ahead)
    return low, high


def _beyond(value: float, before: float) -> float:
    return round(value - before, 3)


def _moved(bounds: Bounds | None, events: Sequence[Seen], run: _Run, windows: Iterable[_Window]) -> Iterator[int]:
    """Yield the ends of windows of a run in which the playhead of an event is right, too."""
    if bounds is None:
        yield from (each.end for each in windows if each.low < each.high)
        return
    playheads = [events[place].playhead_s for place in run.places]
    in_order = sorted({each for each in playheads if each is not None})
    rank = {playhead: number for number, playhead in enumerate(in_order)}
    latest, taken = _Latest(len(in_order)), 0
    for window in sorted(windows, key=lambda each: each.high):
        for place in range(taken, window.high):
            before = playheads[place]
            if before is not None:
                latest.put(rank[before], place)
        taken = max(taken, window.high)
        playhead = events[window.end].playhead_s
        if playhead is not None:
            wanted = _behind(bounds, in_order, playhead, 0, len(in_order))
            if latest.among(*wanted) >= window.low:
                yield window.end


class _Latest:
    """The latest place for each rank, and for each stretch of ranks: a tree of maxima."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tree = [-1] * (2 * size)

    def put(self, rank: int, place: int) -> None:
        """Set the place of a rank; places only grow."""
        node = rank + self._size
        while node:
            self._tree[node] = place
            node //= 2

    def among(self, low: int, high: int) -> int:
        """Return the latest place of the ranks from low up to high, excluded; -1 if there is none."""
        found = -1
        low, high = low + self._size, high + self._size
        while low < high:
            if low % 2:
                found = max(found, self._tree[low])
                low += 1
            if high % 2:
                high -= 1
                found = max(found, self._tree[high])
            low, high = low // 2, high // 2
        return found


def _break(step: Step, events: Sequence[Seen], reached: Sequence[int] | None, windows: Sequence[_Window]) -> Break:
    """Return what is wrong with the event that comes closest to being the step."""
    wanted = alternatives(step.event)
    rest = range(len(events)) if reached is None else range(reached[0] + 1, len(events))
    of_type = [events[place] for place in rest if events[place].type in step.event]
    if not of_type:
        if reached is None:
            return Break(f"there is no {wanted}")
        return Break(f"no {wanted} comes after {events[reached[0]]}", events[reached[0]].number)
    following = [each for each in windows if each.last]
    if not following:
        near = min(of_type, key=lambda event: event.distance(step))
        return Break(f"{near}: {near.lacks(step)}", near.number)
    apart = [each for each in following if each.first < each.last]
    if not apart:
        first = min(following, key=lambda each: each.end)
        prior = max(each.run.places[each.last - 1] for each in following if each.end == first.end)
        between = next(each for each in events[prior + 1 : first.end] if each.type in step.without)
        return Break(f"{between} comes between {events[prior]} and {events[first.end]}", between.number)
    timely = [each for each in apart if each.low < each.high]
    if not timely:
        return min((_ill_timed(step, events, each) for each in apart), key=lambda each: each[0])[1]
    return min((_ill_placed(step, events, each) for each in timely), key=lambda each: each[0])[1]


def _ill_timed(step: Step, events: Sequence[Seen], window: _Window) -> tuple[float, Break]:
    """Return by how many seconds the one that is nearest in time misses, and what is told of it."""
    assert step.after_s is not None
    event, found = events[window.end], []
    for place in range(max(window.first, window.low - 1), min(window.last, window.high + 1)):
        before = events[window.run.places[place]]
        passed_s = _beyond(event.at_s, before.at_s)
        told = f"{event} comes {written(passed_s)} s after {before}, expected {step.after_s.said('s')}"
        found.append((step.after_s.distance(passed_s), Break(told, event.number)))
    return min(found, key=lambda each: each[0])


def _ill_placed(step: Step, events: Sequence[Seen], window: _Window) -> tuple[float, Break]:
    """Return by how many seconds of content the last one that fits in time misses, and what is told of it."""
    assert step.moved_s is not None
    event, before = events[window.end], events[window.run.places[window.high - 1]]
    if event.playhead_s is None or before.playhead_s is None:
        return math.inf, Break(f"{event} or {before} has no playhead", event.number)
    moved_s = _beyond(event.playhead_s, before.playhead_s)
    told = (
        f"{event} is at playhead {written(event.playhead_s)}, {_ahead(moved_s)}{' of' if moved_s >= 0 else ''} "
        f"{before}, expected {_ways(step.moved_s)}"
    )
    return step.moved_s.distance(moved_s), Break(told, event.number)


def _ahead(seconds: float) -> str:
    """Return where a playhead is, seen from another.

    >>> _ahead(30), _ahead(-2.5)
    ('30 s ahead', '2.5 s behind')
    """
    return f"{written(abs(seconds))} s {'ahead' if seconds >= 0 else 'behind'}"


def _ways(bounds: Bounds) -> str:
    """Return where a playhead should be, seen from another.

    >>> _ways(Bounds(at_most=-60)), _ways(Bounds(at_least=-1)), _ways(Bounds(at_least=-2, at_most=2))
    ('at least 60 s behind', 'at most 1 s behind', 'between 2 s behind and 2 s ahead')
    """
    low, high = bounds.at_least, bounds.at_most
    if low is not None and high is not None:
        return f"between {_ahead(low)} and {_ahead(high)}"
    if low is not None:
        return f"at {'least' if low >= 0 else 'most'} {_ahead(low)}"
    assert high is not None
    return f"at {'most' if high >= 0 else 'least'} {_ahead(high)}"
