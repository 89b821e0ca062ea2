"""What differs between the pings of two sessions: their rhythm, and what they contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf

from proxy_addon.core.expectations.beats import Beat, Off, Rhythm, Stretch
from proxy_addon.core.expectations.compare import Compare, Level
from proxy_addon.core.expectations.comparison import Difference, Kind, Laid, difference, seconds, value_message
from proxy_addon.core.expectations.contents import kind, leaves, told
from proxy_addon.core.expectations.matching import LINE, strand
from proxy_addon.core.expectations.tracked import Tracked

_ALWAYS = 5
"""How many pings must have a member before its absence from another one is a difference."""
_RESTARTS = frozenset({"play", "pauseStart", "bufferStart"})
"""Events that restart the timer of SDKs. Source: Media Collection API, pings, gaps and timeouts."""
_AD_ENDS = frozenset({"adComplete", "adSkip", "adBreakStart", "adBreakComplete", "sessionComplete", "sessionEnd"})
ENDS = frozenset({"sessionComplete", "sessionEnd"})
"""Events after which nothing is reported any more."""


def stretches(expected: Sequence[Tracked], actual: Sequence[Tracked], in_order: Mapping[int, int]) -> list[Stretch]:
    """Return the pings of both sessions, cut at the events of playback and ads that both have.

    Args:
        in_order: Which events belong together: each actual place by expected place.
    """
    if not expected or not actual:
        return []
    bounds = [(0, 0)]
    for one, other in sorted(in_order.items()):
        if strand(expected[one]) == LINE and one > bounds[-1][0] and other > bounds[-1][1]:
            bounds.append((one, other))
    found: list[Stretch] = []
    in_ad = False
    for number, (one, other) in enumerate(bounds):
        is_last = number + 1 == len(bounds)
        ends = (len(expected), len(actual)) if is_last else bounds[number + 1]
        type = expected[one].type
        in_ad = type == "adStart" or (in_ad and type not in _AD_ENDS)
        found.append(
            Stretch(
                begins=(one, other),
                begins_s=(expected[one].at_s, actual[other].at_s),
                lengths_s=(inf, inf)
                if is_last
                else (expected[ends[0]].at_s - expected[one].at_s, actual[ends[1]].at_s - actual[other].at_s),
                in_ad=in_ad,
                restarts=type in _RESTARTS,
                is_open=is_last and type not in ENDS,
                is_over=is_last and type in ENDS,
                expected=_beats(expected, one, ends[0]),
                actual=_beats(actual, other, ends[1]),
            )
        )
    return found


def _beats(events: Sequence[Tracked], begin: int, end: int) -> list[Beat]:
    begin_s = events[begin].at_s
    return [
        Beat(place=place, at_s=events[place].at_s - begin_s, since_start_s=events[place].at_s)
        for place in range(begin, end)
        if events[place].type == "ping"
    ]


def rhythm_differences(
    expected: Sequence[Tracked], actual: Sequence[Tracked], found: Rhythm, laid: Laid
) -> Iterator[Difference]:
    """Yield what came of comparing the rhythm."""
    for pace in found.paces:
        where = " in ads" if pace.in_ad else ""
        first = actual[pace.first]
        message = (
            f"pings{where} come every {seconds(pace.actual_s)} from {first.name} on, "
            f"expected every {seconds(pace.expected_s)}"
        )
        values = (seconds(pace.expected_s), seconds(pace.actual_s))
        yield difference(Kind.PINGS, laid.of_actual[id(first)], ("ping", "rhythm"), message, values)
    for off in found.offs:
        if off.missing:
            row = laid.of_expected.get(id(expected[off.missing[0]]))
            message = _gap(actual, off) if off.is_timed else _lack(expected, actual, off)
        else:
            row = laid.of_actual.get(id(actual[off.extra[0]]))
            message = _excess(actual, off)
        if row is not None:
            rows = len(off.missing or off.extra)
            yield difference(Kind.PINGS, row, ("ping", "rhythm"), message, rows=rows)


def _gap(actual: Sequence[Tracked], off: Off) -> str:
    before = actual[off.after]
    after = next((n for n in range(off.after + 1, len(actual)) if _sets_beat(actual[n])), None)
    gap = "none" if after is None else f"none for {seconds(actual[after].at_s - before.at_s)}"
    return f"{_lacking(len(off.missing))}: {gap} after {before.name}, expected every {seconds(off.interval_s)}"


def _lacking(number: int) -> str:
    return "ping is missing" if number == 1 else f"{number} pings are missing"


def _lack(expected: Sequence[Tracked], actual: Sequence[Tracked], off: Off) -> str:
    """Return the message on pings that are not part of a rhythm."""
    number, place = len(off.missing), off.missing[0]
    if off.among is not None:
        return f"{_lacking(number)}: {_of(expected, off.among, number)}, expected after {actual[off.after].name}"
    first, before = expected[place], expected[place - 1]
    places = f"as {first.number}" if number == 1 else f"from {first.number} to {expected[off.missing[-1]].number}"
    return f"{_lacking(number)}: expected {places}, {seconds(first.at_s - before.at_s)} after {before.name}"


def _of(events: Sequence[Tracked], among: tuple[int, int], number: int) -> str:
    """Return which pings some are of: ``one of #11-13``."""
    first, last = (events[place] for place in among)
    return f"{'one' if number == 1 else number} of {first.number}-{last.number.removeprefix('#')}"


def _others(number: int) -> str:
    return "is the ping" if number == 1 else f"are the {number} pings"


def _sets_beat(event: Tracked) -> bool:
    return event.type == "ping" or strand(event) == LINE


def _excess(actual: Sequence[Tracked], off: Off) -> str:
    before, first = actual[off.after], actual[off.extra[0]]
    number = len(off.extra)
    every = f"expected every {seconds(off.interval_s)}"
    if off.among is not None:
        too_many = "ping is one too many" if number == 1 else f"{number} pings are too many"
        return f"{too_many}: {_of(actual, off.among, number)}, after {before.name}, {every}"
    too_many = "is one too many" if number == 1 else f"is too many, and so {_others(number - 1)} after it"
    return f"{first.name} {too_many}: {seconds(first.at_s - before.at_s)} after {before.name}, {every}"


def content_differences(
    expected: Sequence[Tracked], actual: Sequence[Tracked], compare: Compare, laid: Laid
) -> Iterator[Difference]:
    """Compare what pings contain, all pings of a session together.

    What all pings have, each has to have, and a value that is the same in all stays so. Quality data may come with any
    event, because SDKs send it when it has changed, with whatever comes next.
    """
    ours, theirs = ([event for event in events if event.type == "ping"] for events in (expected, actual))
    if not ours or not theirs:
        return
    inside_ours, inside_theirs = ([leaves(event.value) for event in pings] for pings in (ours, theirs))
    count_ours, count_theirs = (
        Counter(name for each in pings for name in each) for pings in (inside_ours, inside_theirs)
    )
    known = {place for event in expected for place in leaves(event.value)}

    def told_of(place: str, event: Tracked, one: str | None, other: str | None) -> Difference:
        message = value_message(event.name, place, one, other)
        return difference(Kind.VALUE, laid.of_actual[id(event)], ("ping", place), message, (one, other))

    for place in {**count_ours, **count_theirs}:
        level = compare.level("ping", place)
        if level is Level.IGNORED:
            continue
        in_ours, in_theirs = count_ours[place], count_theirs[place]
        may_wander = place.startswith("qoeData/")
        always_ours, always_theirs = in_ours == len(ours) >= _ALWAYS, in_theirs == len(theirs) >= _ALWAYS
        is_new = (not in_ours and not (may_wander and place in known)) or (always_theirs and in_ours < len(ours))
        is_gone = (not in_theirs and not may_wander) or (always_ours and in_theirs < len(theirs))
        first = next((each[place] for each in inside_ours if place in each), None)
        if is_gone and in_ours:
            event = next(event for event, each in zip(theirs, inside_theirs, strict=True) if place not in each)
            yield told_of(place, event, told(first), None)
        elif is_new and in_theirs:
            event, other = next(
                (e, each[place]) for e, each in zip(theirs, inside_theirs, strict=True) if place in each
            )
            yield told_of(place, event, None, told(other))
        else:
            shape = kind if level is Level.ANY_VALUE else told
            usual = {
                shape(event.masked.get(place, each[place]))
                for event, each in zip(ours, inside_ours, strict=True)
                if place in each
            }
            odd = (
                (event, each[place])
                for event, each in zip(theirs, inside_theirs, strict=True)
                if place in each and shape(event.masked.get(place, each[place])) not in usual
            )
            if len(usual) == 1 and (event_and_value := next(odd, None)):
                yield told_of(place, event_and_value[0], told(first), told(event_and_value[1]))
