"""Compare what a player reported with what it is expected to report.

Events are matched by type and order, then compared: members and values, playheads, and the time since the event before.
A difference is told once, where it begins. What follows from it (all later playheads, for example) only is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from proxy_addon.core.expectations import rhythm
from proxy_addon.core.expectations.compare import START_TOLERANCE_S, Compare, Level
from proxy_addon.core.expectations.contents import differing, kind, leaves, told
from proxy_addon.core.expectations.matching import LINE, matched, strand
from proxy_addon.core.expectations.tracked import Tracked, Tracking, is_live, tracking
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import visible

_NEAR_S = 2.0
_HOLE_S = 15.0
"""How far an event may be from a hole in a session to be what is missing there."""
_ALWAYS = 5
"""So many pings have to have a member before its absence from one means anything."""
_SHOWN = 60
_WAITS = frozenset({"sessionStart", "bufferStart"})
"""Events after which a player waits for the network."""
_RESTARTS = frozenset({"play", "pauseStart", "bufferStart"})
"""Events that restart the timer for pings in SDKs. Source: Media Collection API, pings, gaps and timeouts."""
_ENDS = frozenset({"sessionComplete", "sessionEnd"})


class Kind(StrEnum):
    """In what a difference consists."""

    VALUE = "value"
    """A member is missing, too many, or has another value or type."""
    MISSING = "missing"
    """An event is missing."""
    EXTRA = "extra"
    """An event is too many."""
    MOVED = "moved"
    """An event is at another time, beyond other events."""
    ORDER = "order"
    """Events that depend on each other come in another order."""
    PLAYHEAD = "playhead"
    DISTANCE = "distance"
    """An event comes sooner or later after the one before."""
    PINGS = "pings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which the tracking differs.

    Attributes:
        event_type: Of the first event that it is about, as expected if it is expected.
        place: Where in the event: a member such as ``params/media.ad.id``, or ``playhead``, ``distance``, ``rhythm``,
            ``event`` or ``order``. Rules name it.
        expected: The expected value as text; None for nothing.
        actual: The value there is.
        message: One line that says it all, without characters that would act on a display.
        row: Number of the row that it is about, from 0.
        rows: How many rows it is about.
    """

    kind: Kind
    event_type: str | None
    place: str
    expected: str | None = None
    actual: str | None = None
    message: str
    row: int
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An expected event beside the actual one; None where there is none."""

    expected: Tracked | None
    actual: Tracked | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of comparing two sessions.

    Attributes:
        rows: All events of both, in order.
        differences: In the order of the rows; empty if the tracking is the same.
        remarks: Sentences on what could not be compared.
    """

    expected: HeldSession
    actual: HeldSession
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the player reported what was expected."""
        return not self.differences


_DEFAULT = Compare()


def compare_tracking(actual: HeldSession, expected: HeldSession, compare: Compare = _DEFAULT) -> Comparison:
    """Compare what a player reported with what is expected of it. Never fails, whatever the sessions hold."""
    live = is_live(expected)
    ours, theirs = (_counting(tracking(held, live), compare) for held in (expected, actual))
    made = _Comparing(ours, theirs, compare)
    made.run()
    return Comparison(
        expected=expected,
        actual=actual,
        rows=tuple(made.rows),
        differences=tuple(sorted(made.found, key=lambda each: each.row)),
        remarks=tuple(made.remarks),
    )


def _counting(tracking: Tracking, compare: Compare) -> Tracking:
    return replace(tracking, events=tuple(each for each in tracking.events if not compare.is_ignored(each.type)))


@dataclass(slots=True)
class _Drift:
    """A difference in playheads that lasts: by how much, where it was told, and how many events it was seen in."""

    by_s: float
    told_at: int
    events: int = 1


@dataclass
class _Comparing:
    ours: Tracking
    theirs: Tracking
    compare: Compare
    rows: list[Row] = field(default_factory=list)
    found: list[Difference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def run(self) -> None:
        expected, actual = self.ours.events, self.theirs.events
        self.in_order, self.moved = matched(expected, actual)
        self.beats = rhythm.compared(list(self._stretches()), self.compare.ping_tolerance_s)
        together = self.in_order | self.moved | self.beats.matches
        self.rows = list(_laid_out(expected, actual, together, set(self.moved)))
        self.row_of_expected = {id(row.expected): n for n, row in enumerate(self.rows) if row.expected is not None}
        self.row_of_actual = {id(row.actual): n for n, row in enumerate(self.rows) if row.actual is not None}
        self._fill_holes()
        self._events()
        self._moves()
        self._pings()
        self._ping_contents()

    # pings

    def _stretches(self) -> Iterator[rhythm.Stretch]:
        expected, actual = self.ours.events, self.theirs.events
        bounds = []
        last = -1
        for one, other in sorted(self.in_order.items()):
            if strand(expected[one]) == LINE and other > last:
                bounds.append((one, other))
                last = other
        in_ad = False
        beats = [[n for n, event in enumerate(events) if event.type == "ping"] for events in (expected, actual)]
        taken = [0, 0]
        if not bounds:
            bounds = [(0, 0)] if expected and actual else []
        else:
            bounds[0:0] = [(-1, -1)] if 0 not in {bounds[0][0], bounds[0][1]} else []
        for number, (one, other) in enumerate(bounds):
            following = bounds[number + 1] if number + 1 < len(bounds) else (len(expected), len(actual))
            begin = (expected[max(one, 0)], actual[max(other, 0)])
            is_last = number + 1 == len(bounds)
            inf = float("inf")
            lengths = (
                (inf, inf)
                if is_last
                else (
                    expected[following[0]].at_s - begin[0].at_s,
                    actual[following[1]].at_s - begin[1].at_s,
                )
            )
            in_ad = begin[0].type == "adStart" or (in_ad and begin[0].type not in _AD_ENDS)
            stretch = rhythm.Stretch(
                begins=(max(one, 0), max(other, 0)),
                lengths_s=lengths,
                in_ad=in_ad,
                restarts=begin[0].type in _RESTARTS,
                is_open=is_last and begin[0].type not in _ENDS,
                is_over=begin[0].type in _ENDS,
            )
            for side, places in enumerate((stretch.expected, stretch.actual)):
                events = (expected, actual)[side]
                while taken[side] < len(beats[side]) and beats[side][taken[side]] < following[side]:
                    place = beats[side][taken[side]]
                    at_s = events[place].at_s
                    places.append(rhythm.Beat(place=place, at_s=at_s - begin[side].at_s, since_start_s=at_s))
                    taken[side] += 1
            yield stretch

    def _pings(self) -> None:
        if self.compare.level("ping", "rhythm") is Level.IGNORED:
            return
        expected, actual = self.ours.events, self.theirs.events
        for pace in self.beats.paces:
            where = " in ads" if pace.in_ad else ""
            self._add(
                Kind.PINGS,
                self.row_of_actual[id(actual[pace.after])],
                ("ping", "rhythm"),
                f"ping every {_s(pace.actual_s)}{where} (from {actual[pace.after].number} on), expected every "
                f"{_s(pace.expected_s)}",
                (_s(pace.expected_s), _s(pace.actual_s)),
            )
        for off in self.beats.offs:
            before = actual[off.after]
            every = f"ping every {_s(off.interval_s)}"
            if off.missing:
                row = self.row_of_expected[id(expected[off.missing[0]])]
                after = next(
                    (each for each in actual[off.after + 1 :] if each.type == "ping" or strand(each) == LINE), None
                )
                number = len(off.missing)
                lacks = "1 ping is missing" if number == 1 else f"{number} pings are missing"
                if after is None:
                    message = f"{every}: none after {before.name}, {lacks}"
                else:
                    gap = f"a gap of {_s(after.at_s - before.at_s)} after {_short(before)}"
                    message = f"{every}: {gap}, {lacks}"
                self._add(Kind.PINGS, row, ("ping", "rhythm"), message, (_s(off.interval_s), None), rows=number)
            else:
                row = self.row_of_actual[id(actual[off.extra[0]])]
                number = len(off.extra)
                first = actual[off.extra[0]]
                many = "is one too many" if number == 1 else f"and the {number - 1} after it are too many"
                message = f"{every}: {first.number} {many}, {_s(first.at_s - before.at_s)} after {_short(before)}"
                self._add(Kind.PINGS, row, ("ping", "rhythm"), message, (None, _s(off.interval_s)), rows=number)

    def _ping_contents(self) -> None:
        """Compare what pings contain, all together: quality data may come with any of them."""
        sides = [
            [event for event in events if event.type == "ping"] for events in (self.ours.events, self.theirs.events)
        ]
        if not all(sides):
            return
        inside = [[leaves(event.value) for event in pings] for pings in sides]
        counts = [Counter(place for each in pings for place in each) for pings in inside]
        everywhere = {place for event in self.ours.events for place in leaves(event.value)}
        for place in {**counts[0], **counts[1]}:
            level = self.compare.level("ping", place)
            if level is Level.IGNORED:
                continue
            ours, theirs = (count[place] for count in counts)
            always = [count[place] == len(pings) >= _ALWAYS for count, pings in zip(counts, sides, strict=True)]
            is_new = theirs and not ours and (not place.startswith("qoeData/") or place not in everywhere)
            is_gone = ours and not theirs and not place.startswith("qoeData/")
            if is_new or is_gone or always[0] > (theirs == len(sides[1])) or (always[1] and ours < len(sides[0])):
                if theirs == len(sides[1]) or (is_new and theirs):
                    event = next(e for e, each in zip(sides[1], inside[1], strict=True) if place in each)
                    value = told(leaves(event.value)[place])
                    self._add(
                        Kind.VALUE,
                        self.row_of_actual[id(event)],
                        ("ping", place),
                        f"{event.name}: {place} is {_cut(value)}, expected nothing there",
                        (None, value),
                    )
                else:
                    event = next(e for e, each in zip(sides[1], inside[1], strict=True) if place not in each)
                    value = next(told(each[place]) for each in inside[0] if place in each)
                    self._add(
                        Kind.VALUE,
                        self.row_of_actual[id(event)],
                        ("ping", place),
                        f"{event.name}: {place} is missing, expected {_cut(value)}",
                        (value, None),
                    )
                continue
            shape = kind if level is Level.ANY_VALUE else told
            known = {shape(each[place]) for each in inside[0] if place in each}
            if len(known) != 1:
                continue
            for event, each in zip(sides[1], inside[1], strict=True):
                if place in each and shape(each[place]) not in known:
                    before = next(told(one[place]) for one in inside[0] if place in one)
                    self._value(self.row_of_actual[id(event)], event, place, before, told(each[place]))
                    break

    # events

    def _events(self) -> None:
        """Compare the events that belong together, and tell of those that have no counterpart."""
        places = {id(event): n for n, event in enumerate(self.ours.events)}
        moved = {id(self.ours.events[one]) for one in self.moved}
        before: Row | None = None
        drift: _Drift | None = None
        for number, row in enumerate(self.rows):
            ours, theirs = row.expected, row.actual
            if ours is not None and theirs is not None and ours.type == "ping" and theirs.type == "ping":
                shift_s = self.beats.shifts_s.get(places[id(ours)], 0.0)
                drift = self._playhead(number, ours, theirs, drift, shift_s)
                continue
            if "ping" in {event.type for event in (ours, theirs) if event is not None}:
                continue
            if ours is None or theirs is None:
                if not any(event is not None and event.is_hole for event in (ours, theirs)):
                    before = None
                continue
            self._contents(number, ours, theirs)
            if id(ours) in moved:
                before = None
                continue
            drift = self._playhead(number, ours, theirs, drift)
            if before is not None:
                self._distance(number, before, row)
            before = row
        self._without_counterpart()
        self._beyond_the_end()

    def _contents(self, number: int, ours: Tracked, theirs: Tracked) -> None:
        bases = (self.ours.live_base_s, self.theirs.live_base_s)
        for place, one, other in differing(ours, theirs, self.compare, bases):
            if place != "eventType":
                self._value(number, theirs, place, told(one), told(other), is_type=kind(one) != kind(other))
        if ours.type != theirs.type:
            self._add(
                Kind.VALUE,
                number,
                (ours.type, "eventType"),
                f"{theirs.name}: eventType is {_cut(told(theirs.type))}, expected {_cut(told(ours.type))}",
                (ours.type, theirs.type),
            )
        if ours.status != theirs.status and self.compare.level(ours.type, "status") is not Level.IGNORED:
            if ours.status is not None and theirs.status is not None:
                self._value(number, theirs, "status", str(ours.status), str(theirs.status))

    def _value(
        self, number: int, event: Tracked, place: str, one: str | None, other: str | None, *, is_type: bool = False
    ) -> None:
        if other is None:
            message = f"{event.name}: {place} is missing, expected {_cut(one)}"
        elif one is None:
            message = f"{event.name}: {place} is {_cut(other)}, expected nothing there"
        else:
            message = f"{event.name}: {place} is {_cut(other)}, expected {_cut(one)}"
        del is_type
        self._add(Kind.VALUE, number, (event.type, place), message, (one, other))

    def _playhead(
        self, number: int, ours: Tracked, theirs: Tracked, drift: _Drift | None, shift_s: float | None = None
    ) -> _Drift | None:
        """Compare playheads; return the drift from here on."""
        if ours.playhead_s is None or theirs.playhead_s is None:
            return drift
        if self.compare.level(ours.type, "playhead") is Level.IGNORED:
            return drift
        by_s = theirs.playhead_s - ours.playhead_s
        tolerance_s = self.compare.playhead_tolerance_s
        low = high = 0.0
        if shift_s is not None:  # a ping that comes later reports a playhead that is further on, unless it stands still
            low, high = min(0.0, shift_s) - tolerance_s, max(0.0, shift_s) + tolerance_s
        if low - tolerance_s <= round(by_s, 6) <= high + tolerance_s:
            return drift if shift_s is not None else None
        if drift is not None and low - tolerance_s <= round(by_s - drift.by_s, 6) <= high + tolerance_s:
            drift.events += 1
            told = self.found[drift.told_at]
            base = told.message.split("; so in the ")[0]
            later = f"{drift.events - 1} events after it" if drift.events > 2 else "event after it"
            self.found[drift.told_at] = replace(told, message=f"{base}; so in the {later}")
            return drift
        is_live = self.ours.live_base_s is not None
        since = " s since the start" if is_live else ""
        more = f"{abs(by_s):.15g} s {'more' if by_s > 0 else 'less'}" if not is_live else f"{by_s:+.15g} s"
        self._add(
            Kind.PLAYHEAD,
            number,
            (ours.type, "playhead"),
            f"{theirs.name}: playhead {_number(theirs.playhead_s)}{since}, expected {_number(ours.playhead_s)} ({more})",
            (_number(ours.playhead_s), _number(theirs.playhead_s)),
        )
        return _Drift(by_s, len(self.found) - 1)

    def _distance(self, number: int, before: Row, row: Row) -> None:
        ours, theirs = row.expected, row.actual
        assert ours is not None
        assert theirs is not None
        assert before.expected is not None
        assert before.actual is not None
        if self.compare.level(ours.type, "distance") is Level.IGNORED:
            return
        one_s, other_s = ours.at_s - before.expected.at_s, theirs.at_s - before.actual.at_s
        tolerance_s = self.compare.distance_tolerance_s
        if before.expected.type in _WAITS:
            tolerance_s = max(tolerance_s, START_TOLERANCE_S)
        if round(abs(other_s - one_s), 6) <= tolerance_s:
            return
        word = "late" if other_s > one_s else "early"
        self._add(
            Kind.DISTANCE,
            number,
            (ours.type, "distance"),
            f"{theirs.name} comes {_s(abs(other_s - one_s))} {word}: {_s(other_s)} after {before.actual.name}, "
            f"expected {_s(one_s)}",
            (_s(one_s), _s(other_s)),
        )

    def _without_counterpart(self) -> None:
        run: list[int] = []
        for number, row in enumerate([*self.rows, None]):
            events = [] if row is None else [each for each in (row.expected, row.actual) if each is not None]
            if row is not None and any(each.type == "ping" or each.is_hole for each in events):
                continue
            alone = row is not None and len(events) == 1
            side = row is not None and row.expected is None
            if run and (not alone or (self.rows[run[0]].expected is None) != side):
                self._alone(run)
                run = []
            if alone:
                run.append(number)

    def _alone(self, run: Sequence[int]) -> None:
        row = self.rows[run[0]]
        is_missing = row.expected is not None
        events = [e for n in run for e in (self.rows[n].expected, self.rows[n].actual) if e is not None]
        first = events[0]
        before = self._before(run[0], is_missing=is_missing)
        after = "" if before is None else f", {_s(first.at_s - before.at_s)} after {before.name}"
        others = [each.type or "(no event type)" for each in events[1:]]
        if is_missing:
            what = f"{first.type or '(no event type)'} is missing: expected {first.number}{after}"
        else:
            what = f"{first.name} is not expected{after}"
        if others:
            listed = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
            what += f"; so {'are' if len(others) > 1 else 'is'} {listed} after it"
        self._add(
            Kind.MISSING if is_missing else Kind.EXTRA,
            run[0],
            (first.type, "event"),
            what,
            (first.number if is_missing else None, None if is_missing else first.number),
            rows=len(run),
        )

    def _before(self, number: int, *, is_missing: bool) -> Tracked | None:
        for row in reversed(self.rows[:number]):
            event = row.expected if is_missing else row.actual
            if event is not None and event.type != "ping":
                return event
        return None

    def _beyond_the_end(self) -> None:
        """Tell of events that fall behind the end of the session, whatever strand they are in."""
        expected, actual = self.ours.events, self.theirs.events
        for one, other in self.in_order.items():
            if expected[one].type not in _ENDS:
                continue
            for mine, others in self.in_order.items():
                is_after = actual[others].at_s > actual[other].at_s and others > other
                if strand(expected[mine]) != LINE and mine < one and is_after:
                    self._add(
                        Kind.ORDER,
                        self.row_of_actual[id(actual[others])],
                        (expected[mine].type, "order"),
                        f"{actual[others].name} comes after {actual[other].name}, expected before it",
                    )

    def _moves(self) -> None:
        """Tell of events that are elsewhere."""
        expected, actual = self.ours.events, self.theirs.events
        for one, other in sorted(self.moved.items()):
            ours, theirs = expected[one], actual[other]
            if ours.type != theirs.type or self.compare.level(ours.type, "order") is Level.IGNORED:
                continue
            row = self.row_of_expected[id(ours)]
            by_s = theirs.at_s - ours.at_s
            if abs(by_s) > _NEAR_S:
                word = "later" if by_s > 0 else "earlier"
                message = f"{theirs.name} moved: {_s(theirs.at_s)} after the start, expected {_s(ours.at_s)} ({_s(abs(by_s))} {word})"
                self._add(Kind.MOVED, row, (ours.type, "order"), message, (_s(ours.at_s), _s(theirs.at_s)))
            elif strand(ours) == strand(theirs):
                crossed = next(
                    (
                        n
                        for n, m in self.in_order.items()
                        if (n < one) != (m < other) and strand(expected[n]) == strand(ours)
                    ),
                    None,
                )
                if crossed is None:
                    continue
                is_before = other < self.in_order[crossed]
                word, expected_word = ("before", "after") if is_before else ("after", "before")
                message = (
                    f"{theirs.name} comes {word} {actual[self.in_order[crossed]].name}, expected {expected_word} it"
                )
                self._add(Kind.ORDER, row, (ours.type, "order"), message)

    def _fill_holes(self) -> None:
        """Take events without a counterpart beside a hole for what is missing there."""
        for side, events in (("expected", self.ours.events), ("actual", self.theirs.events)):
            holes = [event for event in events if event.is_hole]
            if not holes:
                continue
            filled: set[int] = set()
            for hole in holes:
                candidates = [
                    (abs(event.at_s - hole.at_s), n)
                    for n, row in enumerate(self.rows)
                    for event in [row.actual if side == "expected" else row.expected]
                    if event is not None
                    and (row.expected is None or row.actual is None)
                    and n not in filled
                    and not event.is_hole
                    and abs(event.at_s - hole.at_s) <= _HOLE_S
                ]
                if candidates:
                    filled.add(min(candidates)[1])
            whose = "expected" if side == "expected" else "recorded"
            bodies = "body is" if len(holes) == 1 else "bodies are"
            self.remarks.append(
                f"{len(holes)} {whose} {bodies} not in the file ({', '.join(h.number for h in holes[:5])}"
                f"{' …' if len(holes) > 5 else ''}), so what was reported there is not compared"
            )
            kept = [row for n, row in enumerate(self.rows) if n not in filled]
            gone = {id(event) for n in filled for event in (self.rows[n].expected, self.rows[n].actual) if event}
            self.rows = kept
            self.row_of_expected = {id(row.expected): n for n, row in enumerate(kept) if row.expected is not None}
            self.row_of_actual = {id(row.actual): n for n, row in enumerate(kept) if row.actual is not None}
            self.beats.offs = [
                off
                for off in self.beats.offs
                if not any(id(self.ours.events[n]) in gone for n in off.missing)
                and not any(id(self.theirs.events[n]) in gone for n in off.extra)
            ]

    def _add(
        self,
        kind: Kind,
        row: int,
        about: tuple[str | None, str],
        message: str,
        values: tuple[str | None, str | None] = (None, None),
        *,
        rows: int = 1,
    ) -> None:
        self.found.append(
            Difference(
                kind=kind,
                row=row,
                rows=rows,
                event_type=about[0],
                place=about[1],
                expected=values[0],
                actual=values[1],
                message=visible(message),
            )
        )


_AD_ENDS = frozenset({"adComplete", "adSkip", "adBreakComplete", "adBreakStart", "sessionEnd", "sessionComplete"})


def _laid_out(
    expected: Sequence[Tracked], actual: Sequence[Tracked], partner: dict[int, int], moved: Iterable[int]
) -> Iterator[Row]:
    """Yield each event once: in the expected order, with those that only the actual session has in between."""
    taken = set(partner.values())
    apart = set(moved)
    shown = 0
    for place, event in enumerate(expected):
        other = partner.get(place)
        if other is not None and place not in apart:
            for n in range(shown, other):
                if n not in taken:
                    yield Row(expected=None, actual=actual[n])
            shown = max(shown, other)
        yield Row(expected=event, actual=None if other is None else actual[other])
    for n in range(shown, len(actual)):
        if n not in taken:
            yield Row(expected=None, actual=actual[n])


def _short(event: Tracked) -> str:
    """Return how messages about pings name an event: pings by number alone."""
    return event.number if event.type == "ping" else event.name


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s" if abs(seconds) < 1e9 else f"{seconds:.3g} s"


def _number(value: float) -> str:
    return f"{value:.15g}"


def _cut(text: str | None) -> str:
    text = "nothing" if text is None else text
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
