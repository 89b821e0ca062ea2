"""Match the events of two sessions, pings aside.

Order matters within a strand: playback and ads are one, chapters another, each player state one of its own. Events of
different strands do not depend on each other, so that only their times count.

In a strand, the same events at about the same times are matched from both ends. What is left in the middle is matched
so that as few events as possible are missing or too many, and those in the most similar places. This takes time in
proportion to the number of events, and to the square of what is left, up to a limit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

from proxy_addon.core.expectations.contents import PLAYHEADS
from proxy_addon.core.expectations.tracked import Tracked
from proxy_addon.core.protocol import EVENTS

_MOST_CELLS = 40_000
"""How many pairs of events are compared at a time; longer strands are cut into pieces."""
_PIECE = 200
NEAR_S = 2.0
"""Two events of the same kind that are at most this far apart, in seconds, are in the same place."""
_FAR_S = 30.0
_BESIDE_S = 0.05
"""How far the events of one call are apart at most, in seconds."""
_BESIDE = 8
"""How many events around one are looked at."""

_LINE = frozenset(
    {
        *("sessionStart", "play", "pauseStart", "bufferStart", "sessionComplete", "sessionEnd"),
        *("adBreakStart", "adStart", "adComplete", "adSkip", "adBreakComplete"),
    }
)
"""Event types whose order decides what counts as content, as ad, and as not playing."""
_CHAPTERS = frozenset({"chapterStart", "chapterComplete", "chapterSkip"})
_IDENTITY = {
    "adBreakStart": ("media.ad.podIndex",),
    "adStart": ("media.ad.id", "media.ad.podPosition"),
    "chapterStart": ("media.chapter.index",),
}
"""Params that tell events of a type apart."""
_INTERCHANGEABLE = frozenset({"play", "pauseStart", "bufferStart"})
LINE = "line"
"""The strand of playback and ads."""


def strand(event: Tracked) -> Hashable:
    """Return what has to be equal for the order of two events to matter."""
    if event.type in _LINE:
        return LINE
    if event.type in _CHAPTERS:
        return "chapters"
    if event.type in ("stateStart", "stateEnd"):
        return "state", repr(event.params.get("media.state.name"))
    return "type", event.type


def matched(expected: Sequence[Tracked], actual: Sequence[Tracked]) -> tuple[dict[int, int], dict[int, int]]:
    """Return which events belong together: those in order, and those that moved; each actual place by expected place.

    Pings are left out.
    """
    ours, theirs = _strands(expected), _strands(actual)
    in_order: dict[int, int] = {}
    for key, places in ours.items():
        others = theirs.get(key, [])
        for one, other in _aligned([expected[n] for n in places], [actual[n] for n in others]):
            in_order[places[one]] = others[other]
    missing = [n for places in ours.values() for n in places if n not in in_order]
    taken = set(in_order.values())
    extra = [n for places in theirs.values() for n in places if n not in taken]
    # Where an actual event would be in the expected session, going by the last one before that both have.
    pairs = sorted(in_order.items())
    late = sorted((actual[other].at_s, actual[other].at_s - expected[one].at_s) for one, other in pairs)
    expected_at_s = {}
    for other in extra:
        before = bisect_right(late, (actual[other].at_s, inf)) - 1
        expected_at_s[other] = actual[other].at_s - (late[before][1] if before >= 0 else 0.0)
    moved = _elsewhere(expected, actual, missing, expected_at_s)
    for one, other in list(moved.items()):
        is_near = abs(expected[one].at_s - expected_at_s[other]) <= NEAR_S
        if is_near and _is_in_place(expected, actual, (one, other), in_order):
            in_order[one] = moved.pop(one)
    _follow(expected, actual, (ours, theirs), in_order, moved)
    return in_order, moved


def _follow(
    expected: Sequence[Tracked],
    actual: Sequence[Tracked],
    strands: tuple[Mapping[Hashable, Sequence[int]], Mapping[Hashable, Sequence[int]]],
    in_order: Mapping[int, int],
    moved: dict[int, int],
) -> None:
    """Add the events without a counterpart that come right after one that moved, and moved with it, such as its play."""
    taken = {*in_order.values(), *moved.values()}
    next_of = {before: after for places in strands[1].values() for before, after in pairwise(places)}
    for before, one in (pair for places in strands[0].values() for pair in pairwise(places)):
        other = next_of.get(moved[before]) if before in moved else None
        if one in in_order or one in moved or other is None or other in taken:
            continue
        shift_s, before_s = (
            actual[there].at_s - expected[here].at_s for here, there in ((one, other), (before, moved[before]))
        )
        has_moved = abs(shift_s) > NEAR_S and abs(shift_s - before_s) <= NEAR_S
        if expected[one].type == actual[other].type and has_moved:
            moved[one] = other
            taken.add(other)


def _strands(events: Sequence[Tracked]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for place, event in enumerate(events):
        if event.type != "ping" and not event.is_hole:
            found[strand(event)].append(place)
    return found


def _aligned(expected: Sequence[Tracked], actual: Sequence[Tracked]) -> Iterator[tuple[int, int]]:
    """Yield matches within a strand; on both sides, their places rise."""
    shorter = min(len(expected), len(actual))
    head = 0
    while head < shorter and _are_near(expected[head], actual[head], 0.0):
        yield head, head
        head += 1
    tail = 0
    apart_s = actual[-1].at_s - expected[-1].at_s if shorter else 0.0
    while tail < shorter - head and _are_near(expected[-1 - tail], actual[-1 - tail], apart_s):
        tail += 1
    end_one, end_other = len(expected) - tail, len(actual) - tail
    for one, other in _weighed(expected[head:end_one], actual[head:end_other]):
        yield head + one, head + other
    for n in range(tail):
        yield end_one + n, end_other + n


def _are_near(one: Tracked, other: Tracked, apart_s: float) -> bool:
    if one.type != other.type or _identity(one) != _identity(other) or abs(other.at_s - one.at_s - apart_s) > NEAR_S:
        return False
    if one.playhead_s is None or other.playhead_s is None:
        return one.playhead_s is other.playhead_s
    return abs(one.playhead_s - other.playhead_s) <= NEAR_S


def _identity(event: Tracked) -> list[str]:
    return [repr(event.params.get(name)) for name in _IDENTITY.get(event.type or "", ())]


def _weighed(expected: Sequence[Tracked], actual: Sequence[Tracked]) -> Iterator[tuple[int, int]]:
    """Yield the matches that leave the fewest events without a match, and are in the most similar places."""
    if not expected or not actual:
        return
    if len(expected) * len(actual) <= _MOST_CELLS:
        yield from _best(expected, actual)
        return
    # Too many to weigh all: pieces of the same part of each strand, cut where an event is near in both.
    begin_one = begin_other = 0
    while begin_one < len(expected) and begin_other < len(actual):
        end_one = min(begin_one + _PIECE, len(expected))
        end_other = min(begin_other + _PIECE, len(actual))
        best = list(_best(expected[begin_one:end_one], actual[begin_other:end_other]))
        if end_one < len(expected) and end_other < len(actual):
            best = best[: max(len(best) * 3 // 4, 1)]  # what lies at the end of a piece may belong to the next
        for one, other in best:
            yield begin_one + one, begin_other + other
        if best:
            begin_one, begin_other = begin_one + best[-1][0] + 1, begin_other + best[-1][1] + 1
        else:
            begin_one, begin_other = end_one, end_other


def _best(expected: Sequence[Tracked], actual: Sequence[Tracked]) -> Iterator[tuple[int, int]]:
    width = len(actual) + 1
    costs = [[float(n) for n in range(width)]]
    kinds = [(event.type, _identity(event)) for event in expected]
    others = [(event.type, _identity(event)) for event in actual]
    for one, event in enumerate(expected):
        above = costs[-1]
        row = [above[0] + 1.0]
        for other, candidate in enumerate(actual):
            best = min(above[other + 1], row[other]) + 1.0
            if kinds[one][0] == others[other][0]:
                cost = above[other] + _unlikeness(event, candidate) + 0.4 * (kinds[one][1] != others[other][1])
                best = min(best, cost)
            row.append(best)
        costs.append(row)
    found = []
    one, other = len(expected), len(actual)
    while one and other:
        here = costs[one][other]
        if here == costs[one - 1][other] + 1.0:
            one -= 1
        elif here == costs[one][other - 1] + 1.0:
            other -= 1
        else:
            one, other = one - 1, other - 1
            found.append((one, other))
    yield from reversed(found)


def _unlikeness(one: Tracked, other: Tracked) -> float:
    """Return how unlikely it is that two events of a type are the same one, from 0 to 1.2."""
    apart_s = min(abs(one.at_s - other.at_s), _FAR_S)
    if one.playhead_s is None or other.playhead_s is None:
        return 0.6 * apart_s / _FAR_S + 0.6 * (one.playhead_s is not other.playhead_s)
    return 0.6 * apart_s / _FAR_S + 0.6 * min(abs(one.playhead_s - other.playhead_s), _FAR_S) / _FAR_S


def _elsewhere(
    expected: Sequence[Tracked], actual: Sequence[Tracked], missing: Iterable[int], expected_at_s: Mapping[int, float]
) -> dict[int, int]:
    """Return which missing events are somewhere else: the same kind of event first, then others at the same time.

    Args:
        expected_at_s: The events that are too many, with their times in the expected session.
    """
    found: dict[int, int] = {}
    by_kind: dict[Hashable, list[int]] = defaultdict(list)
    for other in sorted(expected_at_s):
        by_kind[_kind(actual[other])].append(other)
    left = set(expected_at_s)
    missing = sorted(missing)
    for one in missing:
        # A play elsewhere is another play: nothing tells that it is the same one.
        if expected[one].type not in _INTERCHANGEABLE and (others := by_kind.get(_kind(expected[one]))):
            found[one] = others.pop(0)
            left.discard(found[one])
    by_time = sorted((expected_at_s[other], other) for other in left)
    for is_same in (_is_same_type, _is_mistaken):
        for one in missing:
            if one in found:
                continue
            at_s = expected[one].at_s
            first = bisect_left(by_time, (at_s - NEAR_S, -1))
            for other_at_s, other in by_time[first : first + _BESIDE]:
                if other_at_s > at_s + NEAR_S:
                    break
                if other in left and is_same(expected[one], actual[other]):
                    found[one] = other
                    left.discard(other)
                    break
    return found


def _kind(event: Tracked) -> Hashable:
    inside = sorted((name, value) for name, value in event.params.items() if f"params/{name}" not in PLAYHEADS)
    return event.type, strand(event), repr(inside)


def _is_same_type(one: Tracked, other: Tracked) -> bool:
    return one.type == other.type


def _is_mistaken(one: Tracked, other: Tracked) -> bool:
    """Whether another type of event is reported for what happened; one of both is probably misspelled or mistaken."""
    related = one.type not in EVENTS or other.type not in EVENTS or strand(one) == strand(other)
    return related and one.params == other.params


def _is_in_place(
    expected: Sequence[Tracked], actual: Sequence[Tracked], match: tuple[int, int], in_order: Mapping[int, int]
) -> bool:
    """Whether an event only stands elsewhere because its ts is another's, so that the order of arrival has to tell."""
    one, other = match
    if expected[one].type != actual[other].type:
        return False
    for n in range(max(0, one - _BESIDE), min(len(expected), one + _BESIDE)):
        if n not in in_order or strand(expected[n]) != strand(expected[one]) or (n < one) == (in_order[n] < other):
            continue
        sides = ((expected[n], expected[one]), (actual[in_order[n]], actual[other]))
        apart = [abs(first.at_s - second.at_s) for first, second in sides]
        arrived = [first.arrival < second.arrival for first, second in sides]
        if min(apart) > 0 or max(apart) > _BESIDE_S or arrived[0] != arrived[1]:
            return False
    return True
