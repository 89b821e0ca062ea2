"""Pings as a rhythm: whether as many come as often as expected, although each may be early or late.

The events of playback and ads that both sessions have cut the pings into stretches. In a stretch, each ping is expected
about where the other session has one, counted from the event at its begin, and later the more the timer was late until
then. So a timer that drifts is no difference, a ping that is missing or too many is one, and a ping that was due close to
the end of a stretch may be on either side of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

from proxy_addon.core.expectations.beats import Beat, Off, Pace, Rhythm, Stretch
from proxy_addon.core.nearest import in_pairs

DEFAULT_INTERVAL_S = 10.0
"""Source: Media Collection API, pings, gaps and timeouts."""
_SHORTEST_S = 0.1
"""No timer is faster, whatever a broken player sends."""
_PACE = 1.15
"""Timers that are so much slower have another interval: those of the SDKs take 10.0 to 11.5 s."""
_INTERVALS = 3
"""How many intervals a pace needs."""
_REGULAR = 0.25
"""By which share of an interval a timer is off, at most."""
_EXACT = 0.1
"""The same for one that is not off at all."""
_MANY = 8
"""How many intervals show that a timer is regular."""
_DRIFT = 0.15
"""By which share the number of pings may differ if they come so fast that only their number counts."""
_SLACK = 0.1
"""Which part of a tolerance is for what is not known exactly, such as the interval."""
_GAP = 1.5
_CLOSE = 0.65
"""Intervals in which a ping is missing, and those in which one is too many, as shares of the usual one."""


def compared(stretches: Sequence[Stretch], tolerance_s: float) -> Rhythm:
    """Compare the pings of two sessions."""
    found = Rhythm()
    intervals: dict[bool, float] = {}
    named: dict[bool, float] = {}
    for in_ad in (False, True):
        ours = _intervals(stretch.expected for stretch in stretches if stretch.in_ad is in_ad)
        theirs = _intervals(stretch.actual for stretch in stretches if stretch.in_ad is in_ad)
        if not _is_same_pace(ours, theirs, tolerance_s):
            first = next(each.actual[0].place for each in stretches if each.in_ad is in_ad and each.actual)
            found.paces.append(Pace(expected_s=median(ours), actual_s=median(theirs), in_ad=in_ad, first=first))
        known = [median(each) for each in (ours, theirs) if each and (len(each) >= _INTERVALS or not in_ad)]
        interval_s = sum(known) / len(known) if known else intervals.get(False, DEFAULT_INTERVAL_S)
        intervals[in_ad] = max(interval_s, _SHORTEST_S)
        if known:
            named[in_ad] = known[0]
    odd = {pace.in_ad for pace in found.paces}
    slips = _Slips(restarts=_restarts(stretches, intervals))
    for stretch in stretches:
        if stretch.in_ad not in odd:
            _in_stretch(stretch, intervals[stretch.in_ad], tolerance_s, slips, found)
    if not slips.restarts:
        beats = [beat for stretch in stretches for beat in stretch.actual]
        found.offs = [off for off in found.offs if _is_seen(off, beats)]
    found.offs = [replace(off, interval_s=named.get(off.in_ad, off.interval_s)) for off in _joined(found.offs)]
    return found


def _joined(offs: Iterable[Off]) -> Iterator[Off]:
    """Yield what is off, with pings of a stretch that were only counted together: missing neighbours, or some of many."""
    last: Off | None = None
    for off in offs:
        if last is not None and not last.is_timed and not off.is_timed and _are_one(last, off):
            last = replace(last, missing=(*last.missing, *off.missing), extra=(*last.extra, *off.extra))
            continue
        if last is not None:
            yield last
        last = off
    if last is not None:
        yield last


def _are_one(one: Off, other: Off) -> bool:
    if one.among is not None or other.among is not None:
        return one.among == other.among and bool(one.missing) == bool(other.missing)
    return bool(one.missing and other.missing) and one.missing[-1] + 1 == other.missing[0]


def _is_seen(off: Off, beats: Sequence[Beat]) -> bool:
    """Whether a ping on a fixed grid is off by the distances to the others too, whatever the timer's drift."""
    if off.missing:
        after = bisect_right(beats, off.after, key=lambda beat: beat.place)
        around = beats[max(after - 1, 0) : after + 1]
        return len(around) < 2 or around[1].since_start_s - around[0].since_start_s > _GAP * off.interval_s
    first = bisect_left(beats, off.extra[0], key=lambda beat: beat.place)
    around = beats[max(first - 1, 0) : first + 2]
    return len(around) < 2 or any(
        after.since_start_s - beat.since_start_s < _CLOSE * off.interval_s for beat, after in pairwise(around)
    )


def _restarts(stretches: Sequence[Stretch], intervals: Mapping[bool, float]) -> bool:
    """Whether playback events restart the timer, as in SDKs; else pings come on a fixed grid, as Adobe's docs have it."""
    firsts = [
        (beats[0].at_s, intervals[stretch.in_ad])
        for stretch in stretches
        for beats, length_s in zip((stretch.expected, stretch.actual), stretch.lengths_s, strict=True)
        if stretch.restarts and beats and length_s > _PACE * intervals[stretch.in_ad]
    ]
    return 2 * sum(first_s > interval_s * (1 - _REGULAR) for first_s, interval_s in firsts) >= len(firsts)


def _is_same_pace(ours: Sequence[float], theirs: Sequence[float], tolerance_s: float) -> bool:
    """Whether two timers may be the same. The more intervals there are, the less tolerances matter."""
    fewer = min(len(ours), len(theirs))
    if fewer < _INTERVALS:
        return True
    low_s, high_s = sorted((median(ours), median(theirs)))
    return high_s - low_s <= max(low_s * (_PACE - 1) + 4 * tolerance_s / fewer, tolerance_s / 2)


def _intervals(stretches: Iterable[Sequence[Beat]]) -> list[float]:
    return [after.at_s - beat.at_s for beats in stretches for beat, after in pairwise(beats)]


@dataclass(slots=True)
class _Slips:
    """Pings that were due so close to an event that they may have come on its other side.

    Attributes:
        restarts: Whether the timer begins anew with the event, so that such a ping may as well not come at all.
        missing: Expected pings that may have slipped out of the stretches before.
        extra: Actual ones.
        free: Further pings on each side that may have.
        drift_s: How late the timer was at the end of the stretch before.
        begun_s: When the timers began to run, in seconds since the start.
    """

    restarts: bool
    missing: list[Off] = field(default_factory=list)
    extra: list[Off] = field(default_factory=list)
    free: list[int] = field(default_factory=lambda: [0, 0])
    drift_s: float = 0.0
    begun_s: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def takes(self, side: int) -> bool:
        """Take an actual ping (0) or an expected one (1) for one that slipped out; return whether there was one."""
        slipped = (self.missing, self.extra)[side]
        if slipped:
            slipped.pop(0)
        elif self.free[side]:
            self.free[side] -= 1
        else:
            return False
        return True

    def settle(self, found: Rhythm, *, is_over: bool = False) -> None:
        """Report what slipped out of the stretches before and came nowhere, unless the timer explains that."""
        ends = self.restarts or is_over
        found.offs += [off for off in (*self.missing, *self.extra) if not (ends and off.is_timed)]
        self.missing, self.extra = [], []


def _in_stretch(stretch: Stretch, interval_s: float, tolerance_s: float, slips: _Slips, found: Rhythm) -> None:
    begun_s = list(stretch.begins_s) if stretch.restarts else slips.begun_s
    slips.begun_s = [
        beats[-1].since_start_s if beats else begin_s
        for beats, begin_s in zip((stretch.expected, stretch.actual), begun_s, strict=True)
    ]
    interval_s = _usual(stretch, interval_s)
    margin_s = 2 * tolerance_s  # both sessions have tolerances
    if interval_s < 2 * margin_s and not _is_regular(stretch, interval_s):
        _counted(stretch, interval_s, margin_s, slips, found)
        return
    _matched(_Matching(stretch, interval_s, min(margin_s, 0.5 * interval_s), begun_s, slips.drift_s), slips, found)


class _Matching:
    """The pings of a stretch, as far as they belong together."""

    def __init__(
        self, stretch: Stretch, interval_s: float, margin_s: float, begun_s: Sequence[float], drift_s: float
    ) -> None:
        self.stretch = stretch
        self.interval_s = interval_s
        self.margin_s = margin_s
        self._begun_s = begun_s
        self._drift_s = drift_s
        self.beats = (stretch.expected, stretch.actual)
        pairs = list(_walked(stretch, interval_s, drift_s))
        self.matched = ([one for one, _ in pairs], [other for _, other in pairs])
        self.drifts = [stretch.actual[other].at_s - stretch.expected[one].at_s for one, other in pairs]

    @property
    def pairs(self) -> Iterator[tuple[Beat, Beat]]:
        """Expected and actual pings that belong together."""
        for one, other in zip(*self.matched, strict=True):
            yield self.stretch.expected[one], self.stretch.actual[other]

    def left(self, side: int) -> list[int]:
        """Return the pings of a side, 0 for the expected, that have no counterpart."""
        matched = set(self.matched[side])
        return [number for number in range(len(self.beats[side])) if number not in matched]

    def due_s(self, side: int, number: int) -> tuple[float, float]:
        """Return between when and when the other session would have a ping."""
        drift_s = _before(self.matched[side], self.drifts, number, self._drift_s)
        at_s = self.beats[side][number].at_s
        other_at_s = at_s - drift_s if side else at_s + drift_s
        return min(at_s, other_at_s), max(at_s, other_at_s)

    def may_have_slipped(self, side: int, number: int) -> bool:
        """Whether the other session may have a ping in the next stretch."""
        last = self.matched[side][-1] if self.matched[side] else -1
        latest_s = self.due_s(side, number)[1] + self._lateness_s(side, number)
        return number > last and latest_s > self.stretch.lengths_s[1 - side]

    def _lateness_s(self, side: int, number: int) -> float:
        """Return how much later than a ping its counterpart may be: more if the ping was early, less if it was late."""
        beats, begun_s = self.beats[side], self._begun_s[side]
        at_s = beats[number].since_start_s
        before_s = beats[number - 1].since_start_s if number else begun_s
        early_s = max(before_s + self.interval_s - at_s, begun_s + (number + 1) * self.interval_s - at_s)
        return min(max(_SLACK + 0.5 + early_s / self.margin_s, _SLACK), 1.0) * self.margin_s if self.margin_s else 0.0

    def off(self, side: int, numbers: Sequence[int]) -> Off:
        """Return pings that are missing (0) or too many (1)."""
        beats, first = self.beats[side], numbers[0]
        begin_s = beats[first - 1].since_start_s if first else self._begun_s[side]
        before = first - 1 if side else _before(*self.matched, first, -1)
        places = tuple(beats[number].place for number in numbers)
        return Off(
            missing=() if side else places,
            extra=places if side else (),
            after=self.stretch.actual[before].place if before >= 0 else self.stretch.begins[1],
            interval_s=self.interval_s,
            in_ad=self.stretch.in_ad,
            is_timed=beats[first].since_start_s - begin_s >= self.interval_s * (1 - _REGULAR),
        )

    def next_is_due_at_the_end(self, side: int) -> bool:
        """Whether the next ping would be due just before the end of the stretch, or just after it."""
        beats = self.beats[side]
        next_s = (beats[-1].at_s if beats else 0.0) + self.interval_s
        return abs(next_s - self.stretch.lengths_s[side]) <= 2 * self.margin_s


def _matched(matching: _Matching, slips: _Slips, found: Rhythm) -> None:
    stretch = matching.stretch
    for expected, actual in matching.pairs:
        found.matches[expected.place] = actual.place
        found.shifts_s[expected.place] = actual.at_s - expected.at_s
    slipped: list[list[Off]] = [[], []]
    for side in (0, 1):
        certain = []
        for number in matching.left(side):
            if matching.due_s(side, number)[0] <= matching.margin_s and slips.takes(1 - side):
                continue
            if matching.may_have_slipped(side, number):
                slipped[side].append(matching.off(side, [number]))
            else:
                certain.append(number)
        if stretch.is_open and certain and certain[-1] == len(matching.beats[side]) - 1:
            del certain[
                -1
            ]  # nothing says when an unclosed session ends, so one ping more or less at its end means nothing
        found.offs += [matching.off(side, run) for run in _runs(certain)]
    if stretch.is_over:
        slips.settle(found, is_over=True)
        return
    is_short = max(stretch.lengths_s) <= matching.margin_s
    if not is_short:
        slips.settle(found)
        slips.free = [0, 0]
    slips.missing += slipped[0]
    slips.extra += slipped[1]
    if slips.restarts:
        slips.free = [max(free, matching.next_is_due_at_the_end(side)) for side, free in enumerate(slips.free)]
    if not is_short or matching.drifts:
        slips.drift_s = matching.drifts[-1] if matching.drifts else 0.0


def _walked(stretch: Stretch, interval_s: float, drift_s: float) -> Iterator[tuple[int, int]]:
    """Yield which pings of a stretch belong together."""
    ours, theirs = stretch.expected, stretch.actual
    reach_s = interval_s / 2
    if ours and theirs and abs(theirs[0].at_s - ours[0].at_s) <= abs(theirs[0].at_s - ours[0].at_s - drift_s):
        drift_s = 0.0  # the event began the rhythm anew
    one = other = 0
    while one < len(ours) and other < len(theirs):
        off_s = theirs[other].at_s - ours[one].at_s - drift_s
        # The nearer one, if two are in reach.
        nearer_other = other + 1 < len(theirs) and abs(off_s + theirs[other + 1].at_s - theirs[other].at_s) < abs(off_s)
        nearer_one = one + 1 < len(ours) and abs(off_s - ours[one + 1].at_s + ours[one].at_s) < abs(off_s)
        if off_s > reach_s or nearer_one:
            one += 1
        elif off_s < -reach_s or nearer_other:
            other += 1
        else:
            yield one, other
            drift_s += off_s / 2
            one, other = one + 1, other + 1


def _before[T, U](places: list[int], values: list[T], place: int, otherwise: U) -> T | U:
    """Return the value of the last of some rising places before one; ``otherwise`` if there is none."""
    index = bisect_left(places, place)
    return values[index - 1] if index else otherwise


def _usual(stretch: Stretch, interval_s: float) -> float:
    """Return how far the pings of a stretch are apart if that is much less than usual, as in ads."""
    gaps = _intervals([stretch.expected, stretch.actual])
    return max(median(gaps), _SHORTEST_S) if len(gaps) > 1 and median(gaps) < interval_s / 2 else interval_s


def _is_regular(stretch: Stretch, interval_s: float) -> bool:
    """Whether the intervals on both sides are so equal that even pings that come fast can be told apart.

    One or two may differ, those around a ping that is missing or too many.
    """
    sides = [_intervals([beats]) for beats in (stretch.expected, stretch.actual)]
    if max(map(len, sides)) < _INTERVALS:
        return False
    for gaps in sides:
        off = sorted(abs(gap - interval_s) for gap in gaps)
        is_exact = len(off) >= _INTERVALS and off[-2] <= _EXACT * interval_s
        # A few are equal enough only if all of them are, but for one in which a ping is missing. As many pings as expected
        # need not be told apart.
        longer = [gap for gap in gaps if gap > _GAP * interval_s]
        alike = [gap for gap in gaps if gap not in longer] + [gap / 2 for gap in longer]
        is_exact |= (
            len(sides[0]) != len(sides[1])
            and len(off) > 1 >= len(longer)
            and all(abs(gap - interval_s) <= _REGULAR * interval_s for gap in alike)
        )
        if not is_exact and (len(off) < _MANY or off[-3] > _REGULAR * interval_s):
            return False
    return True


def _counted(stretch: Stretch, interval_s: float, margin_s: float, slips: _Slips, found: Rhythm) -> None:
    """Compare only the number of pings that come so fast that they cannot be told apart."""
    sides = stretch.expected, stretch.actual
    pairs = in_pairs(*([beat.at_s for beat in beats] for beats in sides))
    for one, other in pairs:
        found.matches[stretch.expected[one].place] = stretch.actual[other].place
    matched = [set(numbers) for numbers in zip(*pairs, strict=True)] if pairs else [set(), set()]
    missing, extra = (
        [number for number in range(len(beats)) if number not in matched[side]] for side, beats in enumerate(sides)
    )
    while missing and slips.takes(1):
        missing.pop(0)
    while extra and slips.takes(0):
        extra.pop(0)
    slips.settle(found)
    drifted = round(_DRIFT * max(map(len, sides)))
    slips.free = [drifted, drifted]
    is_known = not drifted and _is_together(stretch, pairs, interval_s)

    def off(side: int, numbers: Sequence[int]) -> Off:
        beats = sides[side]
        before = numbers[0] - 1 if side else _before([one for one, _ in pairs], [n for _, n in pairs], numbers[0], -1)
        places = tuple(beats[number].place for number in numbers)
        return Off(
            missing=() if side else places,
            extra=places if side else (),
            among=None if is_known else (beats[0].place, beats[-1].place),
            after=stretch.actual[before].place if is_known and before >= 0 else stretch.begins[1],
            interval_s=interval_s,
            in_ad=stretch.in_ad,
            is_timed=False,
        )

    # Those that may have slipped out at the end have to turn up in the next stretch.
    slipping = round(margin_s / interval_s)
    for side, left in enumerate((missing[drifted:], extra[drifted:])):
        is_slip = len(left) <= slipping
        found.offs += [] if is_slip else [off(side, left)]
        slipped = [off(side, [number]) for number in left] if is_slip else []
        if side:
            slips.extra = slipped
        else:
            slips.missing = slipped


def _is_together(stretch: Stretch, pairs: Sequence[tuple[int, int]], interval_s: float) -> bool:
    """Whether the pings of a stretch belong together as they are paired, and not otherwise."""
    late_s = (stretch.actual[other].at_s - stretch.expected[one].at_s for one, other in pairs)
    return all(abs(each_s) <= _REGULAR * interval_s for each_s in late_s)


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    """Yield consecutive numbers together."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run
