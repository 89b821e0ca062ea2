"""Compare what a player reported with what it is expected to report.

Events are matched by type and order, then compared: members and values, playheads, and the time since the event before.
A difference is reported once, where it begins; what follows from it, such as all later playheads, is only counted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf

from proxy_addon.core.expectations import rhythm
from proxy_addon.core.expectations.beats import Rhythm
from proxy_addon.core.expectations.blocks import Block, Step, blocks, unit
from proxy_addon.core.expectations.compare import PLAYHEAD_TOLERANCE_S, START_TOLERANCE_S, Compare, Level
from proxy_addon.core.expectations.comparison import (
    Comparison,
    Difference,
    Kind,
    Laid,
    Row,
    difference,
    laid_out,
    seconds,
    value,
    value_message,
)
from proxy_addon.core.expectations.contents import PLAYHEADS, differing, told
from proxy_addon.core.expectations.matching import LINE, NEAR_S, matched, strand
from proxy_addon.core.expectations.pings import ENDS, content_differences, rhythm_differences, stretches
from proxy_addon.core.expectations.tracked import Tracked, Tracking, is_live, tracking
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.tokens import OneToken
from proxy_addon.core.wording import visible

_HOLE_S = 15.0
"""How near, in seconds, an event must be to a hole to count as what is missing there."""
_LISTED = 4
_CROSSED = 50
"""How many events before and after a moved one are searched for the one that it has passed."""
_WAITS = frozenset({"sessionStart", "bufferStart"})
"""Events after which a player waits for the network."""
_DEFAULT = Compare()


def compare_tracking(actual: HeldSession, expected: HeldSession, compare: Compare = _DEFAULT) -> Comparison:
    """Compare what a player reported with what is expected of it. Never fails, whatever the sessions hold."""
    live = is_live(expected)
    # Where only one of both has tokens for personal values, only what is beside them can be compared.
    is_mixed = actual.session.pseudonymised != expected.session.pseudonymised
    mask = Pseudonymiser(b"", compare.personal, tokens=OneToken()) if is_mixed else None
    ours, theirs = (_counting(tracking(held, live=live, mask=mask), compare) for held in (expected, actual))
    in_order, moved = matched(ours.events, theirs.events)
    beats = rhythm.compared(stretches(ours.events, theirs.events, in_order), compare.ping_tolerance_s)
    rows = list(laid_out(ours.events, theirs.events, in_order | beats.matches, moved))
    rows, remarks = _without_holes(rows, ours, theirs)
    laid = Laid(rows)
    comparing = _Comparing(ours, theirs, compare, laid, in_order, moved, beats)
    return Comparison(
        expected=expected,
        actual=actual,
        compare=compare,
        rows=tuple(rows),
        differences=tuple(sorted(comparing.differences(), key=lambda each: each.row)),
        remarks=tuple(remarks),
    )


def _counting(tracking: Tracking, compare: Compare) -> Tracking:
    return replace(tracking, events=tuple(each for each in tracking.events if not compare.is_ignored(each.type)))


def _without_holes(rows: list[Row], ours: Tracking, theirs: Tracking) -> tuple[list[Row], list[str]]:
    """Take events without a counterpart beside a hole for what is missing there; return the other rows, and remarks."""
    remarks = []
    for whose, events in (("expected", ours.events), ("recorded", theirs.events)):
        holes = [event for event in events if event.is_hole]
        if not holes:
            continue
        alone = [
            (event.at_s, number)
            for number, row in enumerate(rows)
            for event in [row.actual if whose == "expected" else row.expected]
            if event is not None and len(row.events) == 1 and not event.is_hole
        ]
        alone.sort()
        filled: set[int] = set()
        for hole in holes:
            near = alone[
                bisect_left(alone, (hole.at_s - _HOLE_S, 0)) : bisect_right(alone, (hole.at_s + _HOLE_S, len(rows)))
            ]
            free = [(abs(at_s - hole.at_s), number) for at_s, number in near[:_CROSSED] if number not in filled]
            if free:
                filled.add(min(free)[1])
        rows = [row for number, row in enumerate(rows) if number not in filled]
        numbers = ", ".join(hole.number for hole in holes[:_LISTED]) + (", …" if len(holes) > _LISTED else "")
        bodies = "body is" if len(holes) == 1 else "bodies are"
        remarks.append(f"{len(holes)} {whose} {bodies} not in the file, so nothing is compared there: {numbers}")
    return rows, remarks


@dataclass(slots=True)
class _Offset:
    """A difference in playheads that lasts."""

    by_s: float
    found: Difference
    last: int
    """Number of the last row."""
    events: int = 1

    def told(self) -> Difference:
        """Return the difference with how long it lasts."""
        if self.events == 1:
            return self.found
        later = "the event after it" if self.events == 2 else f"the {self.events - 1} events after it"
        return replace(self.found, message=f"{self.found.message}; so in {later}")


@dataclass
class _Comparing:
    ours: Tracking
    theirs: Tracking
    compare: Compare
    laid: Laid
    in_order: Mapping[int, int]
    moved: Mapping[int, int]
    beats: Rhythm
    with_moves: list[Difference] = field(default_factory=list)
    """What is told together with an event that moved."""

    @cached_property
    def places(self) -> Mapping[int, int]:
        """The place of each expected event, by the event's ``id()``."""
        return {id(event): place for place, event in enumerate(self.ours.events)}

    def differences(self) -> Iterator[Difference]:
        expected, actual = self.ours.events, self.theirs.events
        yield from self._in_both()
        alone = list(self._alone())
        yield from alone
        yield from self._beyond_the_end()
        yield from self._moves()
        if self._counts("ping", "rhythm"):
            for found in rhythm_differences(expected, actual, self.beats, self.laid):
                if not any(self._is_part(found, each) for each in alone):
                    yield found
        yield from content_differences(expected, actual, self.compare, self.laid)

    def _counts(self, event_type: str | None, place: str) -> bool:
        return self.compare.level(event_type, place) is not Level.IGNORED

    def _in_both(self) -> Iterator[Difference]:
        """Compare events that both have. What follows from an event's having moved is told with it."""
        contents, offsets = list(self._contents()), list(self._playheads())
        contents = [each for each in contents if not self._has_moved_with_event(each)]
        shifts_s = {each.row: shift_s for each in contents if (shift_s := _shift_s(each)) is not None}
        shifts_s |= {offset.found.row: offset.by_s for offset in offsets}
        found = [(run, list(blocks(run, shifts_s, self.compare.distance_tolerance_s))) for run in self._runs_of_steps()]
        block_of = {row: block for _, each in found for block in each for row in block.rows}
        clauses: dict[int, list[Difference]] = {}
        for whole, short, last, shift_s in (
            *((each, each, each.row, _shift_s(each)) for each in contents),
            *((offset.told(), offset.found, offset.last, offset.by_s) for offset in offsets),
        ):
            block = block_of.get(whole.row)
            if (
                block is None
                or last not in block.rows
                or shift_s is None
                or abs(shift_s - block.first.by_s) > PLAYHEAD_TOLERANCE_S
            ):
                yield whole
            else:
                clauses.setdefault(block.first.row, []).append(short)
        for run, moved in found:
            yield from (_moved_block(block, clauses.get(block.first.row, [])) for block in moved)
            followed = {row for block in moved for row in range(block.first.row, block.back.row + 1)}
            yield from (_distance(step) for step in run if step.is_off and step.row not in followed)

    def _contents(self) -> Iterator[Difference]:
        bases = (self.ours.live_base_s, self.theirs.live_base_s)
        for number, row in enumerate(self.laid.rows):
            ours, theirs = row.expected, row.actual
            if ours is None or theirs is None or row.is_ping:
                continue
            about = ours.type
            if ours.type != theirs.type:
                values = told(ours.type), told(theirs.type)
                message = f"{theirs.name}: eventType is {value(values[1])}, expected {value(values[0])}"
                yield difference(Kind.VALUE, number, (about, "eventType"), message, values)
            places = [
                (place, told(one), told(other)) for place, one, other in differing(ours, theirs, self.compare, bases)
            ]
            if (
                None not in (ours.status, theirs.status)
                and ours.status != theirs.status
                and self._counts(about, "status")
            ):
                places.append(("status", str(ours.status), str(theirs.status)))
            for place, one, other in places:
                if place != "eventType":
                    message = value_message(theirs.name, place, one, other)
                    yield difference(Kind.VALUE, number, (about, place), message, (one, other))

    def _playheads(self) -> Iterator[_Offset]:
        """Compare playheads. One that is off by as much as the one before is not reported again."""
        tolerance_s = self.compare.playhead_tolerance_s
        offset: _Offset | None = None
        for number, row in enumerate(self.laid.rows):
            ours, theirs = row.expected, row.actual
            if ours is None or theirs is None or ours.playhead_s is None or theirs.playhead_s is None:
                continue
            if not self._counts(ours.type, "playhead") or self.places[id(ours)] in self.moved:
                continue
            low_s, high_s = -tolerance_s, tolerance_s
            if row.is_ping:  # one that comes later is further on, unless the playhead stands still
                shift_s = self.beats.shifts_s.get(self.places[id(ours)], 0.0)
                low_s, high_s = 2 * low_s + min(shift_s, 0.0), 2 * high_s + max(shift_s, 0.0)
            by_s = theirs.playhead_s - ours.playhead_s
            if low_s <= round(by_s, 6) <= high_s:
                if offset is not None and not row.is_ping:
                    yield offset
                    offset = None
            elif offset is not None and low_s <= round(by_s - offset.by_s, 6) <= high_s:
                offset.events += 1
                offset.last = number
            else:
                if offset is not None:
                    yield offset
                offset = _Offset(by_s, self._playhead(number, ours, theirs), number)
        if offset is not None:
            yield offset

    def _playhead(self, number: int, ours: Tracked, theirs: Tracked) -> Difference:
        assert ours.playhead_s is not None
        assert theirs.playhead_s is not None
        by_s = theirs.playhead_s - ours.playhead_s
        by = f"{abs(by_s):.10g} s {'ahead' if by_s > 0 else 'behind'}"
        values = f"{ours.playhead_s:.10g}", f"{theirs.playhead_s:.10g}"
        if self.ours.live_base_s is None:
            message = f"{theirs.name}: playhead is {values[1]}, expected {values[0]} ({by})"
        else:
            message = f"{theirs.name}: playhead is {by} of the live clock"
        return difference(Kind.PLAYHEAD, number, (ours.type, "playhead"), message, values)

    def _runs_of_steps(self) -> Iterator[list[Step]]:
        """Yield the steps from each event to the next, pings aside, as far as nothing else is wrong in between."""
        before: tuple[Tracked, Tracked] | None = None
        run: list[Step] = []
        for number, row in enumerate(self.laid.rows):
            if row.is_ping or any(event.is_hole for event in row.events):
                continue
            ours, theirs = row.expected, row.actual
            if ours is None or theirs is None or self.places[id(ours)] in self.moved:
                before = None
                yield run
                run = []
                continue
            if before is not None:
                tolerance_s = self.compare.distance_tolerance_s if self._counts(ours.type, "distance") else inf
                if before[0].type in _WAITS:
                    tolerance_s = max(tolerance_s, START_TOLERANCE_S)
                run.append(Step(row=number, before=before, expected=ours, actual=theirs, tolerance_s=tolerance_s))
            before = ours, theirs
        yield run

    def _alone(self) -> Iterator[Difference]:
        """Report events that have no counterpart, neighbours together."""
        run: list[int] = []
        before: list[Tracked | None] = [None, None]
        before_run: list[Tracked | None] = [None, None]
        for number, row in enumerate(self.laid.rows):
            if row.is_ping or any(event.is_hole for event in row.events):
                continue
            if run and (len(row.events) == 2 or (row.expected is None) != (self.laid.rows[run[0]].expected is None)):
                yield self._told_alone(run, before_run)
                run = []
            if len(row.events) == 1:
                if not run:
                    before_run = list(before)
                run.append(number)
            before = [row.expected or before[0], row.actual or before[1]]
        if run:
            yield self._told_alone(run, before_run)

    def _is_part(self, pings: Difference, events: Difference) -> bool:
        """Whether pings are missing with the events around them, or too many with them."""
        is_missing = self.laid.rows[pings.row].actual is None
        is_inside = events.row < pings.row and pings.row + pings.rows <= events.row + events.rows
        return is_inside and is_missing == (events.kind is Kind.MISSING)

    def _told_alone(self, run: Sequence[int], before: Sequence[Tracked | None]) -> Difference:
        is_missing = self.laid.rows[run[0]].expected is not None
        events = [event for number in run for event in self.laid.rows[number].events]
        first, last = events[0], before[0 if is_missing else 1]
        after = "" if last is None else f", {_apart(first.at_s - last.at_s)} {last.name}"
        if is_missing:
            message = f"{first.type or '(no event type)'} is missing: expected as {first.number}{after}"
        else:
            message = f"{first.name} is not expected{after}"
        others = [event.type or "(no event type)" for event in events[1:]]
        if others:
            listed = ", ".join(others[:_LISTED]) + (f" and {len(others) - _LISTED} more" * (len(others) > _LISTED))
            message += f"; so {'is' if len(others) == 1 else 'are'} {listed} after it"
        kind = Kind.MISSING if is_missing else Kind.EXTRA
        return difference(kind, run[0], (first.type, "event"), message, rows=run[-1] - run[0] + 1)

    def _beyond_the_end(self) -> Iterator[Difference]:
        """Report events that come after the end of the session, whatever strand they are in."""
        expected, actual = self.ours.events, self.theirs.events
        ends = [(one, other) for one, other in sorted(self.in_order.items()) if expected[one].type in ENDS]
        firsts: list[int] = []  # the first of the ends from each on, as the player reported them
        for _, other in reversed(ends):
            firsts.append(min(other, firsts[-1]) if firsts else other)
        firsts.reverse()
        for one, other in sorted(self.in_order.items()):
            place = bisect_right(ends, (one, len(actual)))
            if strand(expected[one]) == LINE or place == len(ends) or not self._counts(expected[one].type, "order"):
                continue
            end = actual[firsts[place]]
            if firsts[place] < other and end.at_s < actual[other].at_s:
                message = f"{actual[other].name} comes after {end.name}, expected before it"
                row = self.laid.of_actual[id(actual[other])]
                yield difference(Kind.ORDER, row, (expected[one].type, "order"), message)

    def _moves(self) -> Iterator[Difference]:
        """Tell of events that are elsewhere, those that moved together in one message."""
        expected, actual = self.ours.events, self.theirs.events
        run: list[int] = []
        run_by_s = 0.0
        for one, other in sorted(self.moved.items()):
            ours, theirs = expected[one], actual[other]
            if (
                ours.type != theirs.type
                or not self._counts(ours.type, "order")
                or id(ours) not in self.laid.of_expected
            ):
                continue
            by_s = theirs.at_s - ours.at_s
            if run and not (abs(by_s - run_by_s) <= NEAR_S and self._are_neighbours(run[-1], one)):
                yield self._moved(run)
                run = []
            if abs(by_s) > NEAR_S:
                run_by_s = run_by_s if run else by_s
                run.append(one)
            elif (crossed := self._crossed(one, other)) is not None:
                is_before = other < self.in_order[crossed]
                words = ("before", "after") if is_before else ("after", "before")
                other_name = actual[self.in_order[crossed]].name
                message = f"{theirs.name} comes {words[0]} {other_name}, expected {words[1]} it"
                yield difference(Kind.ORDER, self.laid.of_expected[id(ours)], (ours.type, "order"), message)
        if run:
            yield self._moved(run)

    def _moved_s(self, one: int) -> float | None:
        """Return how much later an expected event comes elsewhere; None if that is not told."""
        ours = self.ours.events[one]
        if one not in self.moved or id(ours) not in self.laid.of_expected or not self._counts(ours.type, "order"):
            return None
        theirs = self.theirs.events[self.moved[one]]
        by_s = theirs.at_s - ours.at_s
        return by_s if ours.type == theirs.type and abs(by_s) > NEAR_S else None

    def _has_moved_with_event(self, found: Difference) -> bool:
        """Whether a param is off because its event has moved, so that it is told with that."""
        ours, shift_s = self.laid.rows[found.row].expected, _shift_s(found)
        if ours is None or shift_s is None:
            return False
        moved_s = self._moved_s(self.places[id(ours)])
        if moved_s is None or abs(moved_s - shift_s) > PLAYHEAD_TOLERANCE_S:
            return False
        self.with_moves.append(found)
        return True

    def _are_neighbours(self, one: int, other: int) -> bool:
        """Whether nothing of the same strand stands between two expected events, but what is missing there."""
        own = strand(self.ours.events[one])
        return strand(self.ours.events[other]) == own and not any(
            place in self.in_order and strand(self.ours.events[place]) == own for place in range(one + 1, other)
        )

    def _moved(self, run: Sequence[int]) -> Difference:
        pairs = [(self.ours.events[one], self.theirs.events[self.moved[one]]) for one in run]
        ours, theirs = pairs[0]
        by_s = theirs.at_s - ours.at_s
        by = f"{seconds(abs(by_s))} {'later' if by_s > 0 else 'earlier'}"
        values = seconds(ours.at_s), seconds(theirs.at_s)
        message = f"{theirs.name} moved, {by}: {values[1]} after the start, expected {values[0]}{_together(pairs)}"
        rows = [self.laid.of_expected[id(each)] for each, _ in pairs]
        message += _clauses(theirs, [each for each in self.with_moves if each.row in rows])
        about = (ours.type, "order")
        return difference(Kind.MOVED, rows[0], about, message, values, rows=rows[-1] - rows[0] + 1)

    def _crossed(self, one: int, other: int) -> int | None:
        """Return the nearest event of the same strand that an event has changed places with; None if there is none."""
        expected = self.ours.events
        around = range(max(0, one - _CROSSED), min(len(expected), one + _CROSSED))
        crossed = [
            place
            for place in around
            if place in self.in_order
            and strand(expected[place]) == strand(expected[one])
            and (place < one) != (self.in_order[place] < other)
        ]
        return min(crossed, key=lambda place: abs(place - one), default=None)


def _shift_s(found: Difference) -> float | None:
    """Return how far a param that is a playhead is off; None for other differences."""
    if found.place not in PLAYHEADS or found.expected is None or found.actual is None:
        return None
    try:
        return float(found.actual) - float(found.expected)
    except ValueError:
        return None


def _apart(by_s: float) -> str:
    """Return how long after another event one comes; the other can be later, if it is told of in another row.

    >>> _apart(2.04), _apart(-2.06), _apart(-0.01)
    ('2.0 s after', '2.1 s before', '0.0 s after')
    """
    length = seconds(abs(by_s))
    return f"{length} before" if by_s < 0 and length != seconds(0) else f"{length} after"


def _distance(step: Step) -> Difference:
    by = f"{seconds(abs(step.by_s))} {'late' if step.by_s > 0 else 'early'}"
    one, other = map(seconds, step.lengths_s)
    message = f"{step.actual.name} comes {by}: {other} after {step.before[1].name}, expected {one}"
    return difference(Kind.DISTANCE, step.row, (step.expected.type, "distance"), message, (one, other))


def _moved_block(block: Block, clauses: Sequence[Difference]) -> Difference:
    """Return the difference that tells of a block.

    Args:
        clauses: What else differs in it because it has moved.
    """
    found = _distance(block.first)
    message = found.message + _together([(step.expected, step.actual) for step in block.steps])
    first = next((each for each in clauses if each.kind is Kind.PLAYHEAD), None)
    told = [each for each in clauses if each.kind is not Kind.PLAYHEAD or each is first]
    message += _clauses(block.first.actual, told)
    return replace(found, message=visible(message), rows=block.steps[-1].row - block.first.row + 1)


def _together(pairs: Sequence[tuple[Tracked, Tracked]]) -> str:
    """Return the end of a message on the first of some events that is about all of them."""
    last = pairs[-1][1].name
    others = len(pairs) - 1
    if not others:
        return ""
    if (name := unit([expected for expected, _ in pairs])) is not None:
        return f"; the {name} moved as a whole, up to {last}"
    after = "does the event" if others == 1 else f"do the {others} events"
    return f"; so {after} after it, up to {last}"


def _clauses(event: Tracked, found: Sequence[Difference]) -> str:
    """Return the end of a message on an event that tells what else differs."""
    name = visible(f"{event.name}: ")
    return "".join(f"; {each.message.removeprefix(name)}" for each in found)
