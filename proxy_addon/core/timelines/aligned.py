"""Two sessions beside each other: which events belong together, what differs, and what was not compared.

Sessions are matched as by `sessiontape diff` (`side_by_side`), as by a replay (`beside_replay`), or as by a test with an
expectation (`beside_expected`). Each of them returns an `Aligned`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from proxy_addon.core.exchange import Exchange, Outcome, Response
from proxy_addon.core.expectations import comparison as tracking
from proxy_addon.core.expectations.compare import Compare, Level
from proxy_addon.core.expectations.comparison import Comparison, Row
from proxy_addon.core.expectations.contents import passed_over
from proxy_addon.core.expectations.tracked import Tracked
from proxy_addon.core.replays.aligning import TOLERANCE_S, Entry, Kind, Pair
from proxy_addon.core.replays.runs import SessionRun, Step, StepOutcome
from proxy_addon.core.sessions import Session
from proxy_addon.core.timelines.marks import Mark
from proxy_addon.core.timelines.spans import Place

_KINDS = {tracking.Kind.MOVED: Kind.MOVED, tracking.Kind.ORDER: Kind.MOVED}
_SLIGHT_S = 0.05
"""Smaller shifts of the axis are not visible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """One place in which two events differ.

    Attributes:
        where: The place, such as ``/params/media.name`` or ``playhead``.
        a: The value in the first session as text; None for nothing.
        b: That in the second.
        message: The difference as a sentence; empty if place and values say it all.
    """

    where: str
    a: str | None = None
    b: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Two events that belong together, or one without a counterpart.

    Attributes:
        a: Where the event is in the first session; None if only the second has it.
        b: Likewise.
        counts: Whether it is a difference. An event that only one session has need not be one, because pings are compared
            as a rhythm; nor is what a replay run was told to change.
    """

    a: Place | None
    b: Place | None
    kind: Kind
    unlike: tuple[Unlike, ...] = ()
    counts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """What differs, or may differ, and does not count.

    Attributes:
        count: How often it occurs; None if that was not counted.
    """

    what: str
    why: str
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """Two sessions beside each other.

    Attributes:
        matches: Each event once, in the order of the first session, with those that only the second has in between.
        remarks: Sentences on what could not be compared.
    """

    matches: tuple[Match, ...]
    passed_over: tuple[PassedOver, ...] = ()
    remarks: tuple[str, ...] = ()

    def count(self, kind: Kind) -> int:
        """Return how many differences are of a kind."""
        return sum(match.counts and match.kind is kind for match in self.matches)

    @property
    def is_same(self) -> bool:
        """Whether nothing differs that counts."""
        return not any(match.counts for match in self.matches)


def side_by_side(pairs: Iterable[Pair], *, answers: bool = True) -> Aligned:
    """Return two sessions as ``diff`` compares them.

    Args:
        pairs: As of `aligning.align`.
        answers: Whether statuses were compared.
    """
    made = list(pairs)
    both = [(pair.a, pair.b) for pair in made if pair.a is not None and pair.b is not None]
    near = f"less than {TOLERANCE_S:g} s apart"
    found = [
        PassedOver(what="ts", why=near, count=sum(_is_near(a.at_s, b.at_s) for a, b in both)),
        PassedOver(what="playhead", why=near, count=sum(_is_near(a.playhead_s, b.playhead_s) for a, b in both)),
    ]
    if not answers:
        found.append(PassedOver(what="status", why="one of the two sessions has no answers", count=len(both)))
    found.append(PassedOver(what="headers and session IDs", why="only bodies and statuses are compared"))
    return Aligned(matches=tuple(map(_match_of, made)), passed_over=_counted(found))


def beside_replay(pairs: Iterable[Pair], run: SessionRun) -> Aligned:
    """Return a session beside what a replay run sent for it, as `sent_in` gives it.

    Args:
        pairs: As of `aligning.replayed`.
    """
    numbers = {seq: number for number, seq in enumerate(_seqs_sent(run), 1)}
    made = list(pairs)
    matches = [_match_of(pair) for pair in made]
    matches = [each if each.b is None else replace(each, b=(numbers[each.b[0]], each.b[1])) for each in matches]
    sent = sum(each.b is not None for each in matches)
    found = [
        PassedOver(
            what="changes in requests",
            why="the run was told to make them",
            count=sum(len(pair.differences) for pair in made if pair.is_wanted),
        ),
        PassedOver(what="ts", why="a replay may replace times with the time of sending", count=sent),
        PassedOver(what="session ID", why="the target gives a new one", count=sent),
        PassedOver(
            what="headers of answers",
            why="those about time, connection or infrastructure, and those that --ignore names",
        ),
    ]
    return Aligned(matches=tuple(matches), passed_over=_counted(found))


def beside_expected(made: Comparison, expected: Sequence[Mark], actual: Sequence[Mark]) -> Aligned:
    """Return a session beside what is expected of it.

    Args:
        expected: The events of the expectation, those that were not compared included.
        actual: Those of the session.
    """
    told: dict[int, list[Unlike]] = {}
    counting: dict[int, Kind] = {}
    for each in made.differences:
        message = "" if each.kind is tracking.Kind.VALUE else each.message  # place and values say it all
        unlike = Unlike(where=each.place, a=each.expected, b=each.actual, message=message)
        told.setdefault(each.row, []).append(unlike)
        counting.update(dict.fromkeys(_extent(made.rows, each), _KINDS.get(each.kind, Kind.CHANGED)))
    matches = tuple(
        _tracked(row, tuple(told.get(number, ())), counting.get(number)) for number, row in enumerate(made.rows)
    )
    seen = {match.a for match in matches}, {match.b for match in matches}
    left = [
        mark for marks, places in ((expected, seen[0]), (actual, seen[1])) for mark in marks if mark.place not in places
    ]
    found = [*_not_compared(left, made.compare), *_unequal(made.rows, counting, made.compare)]
    return Aligned(matches=matches, passed_over=_counted(found), remarks=made.remarks)


def sent_in(session: Session, exchanges: Iterable[Exchange], run: SessionRun) -> tuple[Session, list[Exchange]]:
    """Return a session as a replay run sent it, without the exchanges that it did not send.

    Times and statuses are those of the replay, bodies the recorded ones: what was changed in them is in the differences.
    """
    steps = {step.seq: step for step in run.steps}
    sent = {*_seqs_sent(run)}
    made = [_sent(exchange, steps[seq]) for seq, exchange in enumerate(exchanges, 1) if seq in sent]
    began, ended = (made[0], made[-1]) if made else (None, None)
    return (
        replace(
            session,
            session_id=run.new_session_id,
            started_at=session.started_at if began is None else began.received_at,
            last_event_at=session.last_event_at if ended is None else ended.received_at,
            exchanges=len(made),
            retry_of=None,
            lost=0,
        ),
        made,
    )


def drifts_ms(run: SessionRun) -> dict[int, float]:
    """Return how late a replay sent each request, in milliseconds, by the ``seq`` that it has in `sent_in`."""
    steps = {step.seq: step for step in run.steps}
    drifts = ((number, steps[seq].drift_ms) for number, seq in enumerate(_seqs_sent(run), 1))
    return {number: drift_ms for number, drift_ms in drifts if drift_ms is not None}


def shift_by_playhead_s(matches: Iterable[Match], a: Sequence[Mark], b: Sequence[Mark]) -> float | None:
    """Return by how many seconds to move the second session so that the same playheads meet.

    Both axes begin at the first event.

    Returns:
        None if too few events have playheads, or if nothing would move.
    """
    if not a or not b:
        return None
    ours, theirs = ({mark.place: mark for mark in marks} for marks in (a, b))
    shifts = []
    for match in matches:
        one, other = ours.get(match.a or (0, "")), theirs.get(match.b or (0, ""))
        if one is None or other is None or one.type == "sessionStart":
            continue
        if one.playhead_s is None or other.playhead_s is None:
            continue
        at_s = (one.device_ms - a[0].device_ms) / 1000, (other.device_ms - b[0].device_ms) / 1000
        shifts.append((at_s[0] - one.playhead_s) - (at_s[1] - other.playhead_s))
    if not shifts:
        return None
    shift_s = round(statistics.median(shifts), 3)
    return shift_s if abs(shift_s) >= _SLIGHT_S else None


def _match_of(pair: Pair) -> Match:
    return Match(
        a=_place_of(pair.a),
        b=_place_of(pair.b),
        kind=pair.kind,
        unlike=tuple(Unlike(where=each.where, a=_said(each.a), b=_said(each.b)) for each in pair.differences),
        counts=pair.kind is not Kind.SAME and not pair.is_wanted,
    )


def _place_of(entry: Entry | None) -> Place | None:
    return None if entry is None else (entry.seq, entry.pointer)


def _said(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _is_near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and 0 < abs(one - other) < TOLERANCE_S


def _seqs_sent(run: SessionRun) -> list[int]:
    return sorted(step.seq for step in run.steps if step.outcome is not StepOutcome.SKIPPED)


def _sent(exchange: Exchange, step: Step) -> Exchange:
    recorded = exchange.response
    answer = None
    if step.status is not None:
        headers = () if recorded is None else recorded.headers
        answer = Response(status=step.status, headers=headers, body=b"")
    return replace(
        exchange,
        received_at=step.sent_at or exchange.received_at,
        duration_us=None if step.latency_ms is None else round(step.latency_ms * 1000),
        outcome=Outcome.UPSTREAM_CLOSED if answer is None else Outcome.ANSWERED,
        response=answer,
        reason=step.reason,
    )


def _extent(rows: Sequence[Row], difference: tracking.Difference) -> Iterator[int]:
    """Yield the numbers of the rows that a difference is about."""
    begin, left = difference.row, difference.rows
    match difference.kind:
        case tracking.Kind.PINGS if len(rows[begin].events) == 1:
            for number in range(begin, len(rows)):
                if left and rows[number].is_ping and len(rows[number].events) == 1:
                    left -= 1
                    yield number
        case tracking.Kind.MISSING | tracking.Kind.EXTRA:
            yield from (number for number in range(begin, begin + left) if len(rows[number].events) == 1)
        case _:
            yield from (number for number in range(begin, begin + left) if len(rows[number].events) == 2)


def _tracked(row: Row, unlike: tuple[Unlike, ...], differs: Kind | None) -> Match:
    ours, theirs = (None if event is None else _where(event) for event in (row.expected, row.actual))
    if ours is None:
        kind = Kind.ONLY_B
    elif theirs is None:
        kind = Kind.ONLY_A
    else:
        kind = differs or Kind.SAME
    return Match(a=ours, b=theirs, kind=kind, unlike=unlike, counts=differs is not None)


def _where(event: Tracked) -> Place:
    return event.seq, "" if event.element is None else f"/{event.element}"


def _not_compared(left: Iterable[Mark], compare: Compare) -> Iterator[PassedOver]:
    """Yield why events stand in no row."""
    number = Counter(mark.type if compare.is_ignored(mark.type) else None for mark in left)
    for type, count in number.items():
        if type is None:
            yield PassedOver(what="events", why="not compared: sent again later, or not in the file", count=count)
        else:
            yield PassedOver(what=f"events {type}", why=compare.why(type, "*"), count=count)


def _unequal(rows: Sequence[Row], counting: Mapping[int, Kind], compare: Compare) -> Iterator[PassedOver]:
    """Yield what differs between events that belong together and does not count."""
    places: Counter[tuple[str, str]] = Counter()
    for number, row in enumerate(rows):
        ours, theirs = row.expected, row.actual
        if ours is None or theirs is None:
            if number not in counting:
                places["pings", "they are compared as a rhythm, not one by one"] += 1
            continue
        if not row.is_ping:
            places.update(passed_over(ours, theirs, compare))
        if ours.status != theirs.status and compare.level(ours.type, "status") is Level.IGNORED:
            places["status", compare.why(ours.type, "status")] += 1
        if number in counting:
            continue
        if _are_apart(ours.playhead_s, theirs.playhead_s):
            places["playhead", f"at most {compare.playhead_tolerance_s:g} s apart"] += 1
        if _are_apart(ours.at_s, theirs.at_s):
            most = f"{compare.distance_tolerance_s:g} s"
            places["time", f"the time since the event before differs by at most {most}"] += 1
    for (what, why), count in places.most_common():
        yield PassedOver(what=what, why=why, count=count)


def _are_apart(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one != other


def _counted(found: Iterable[PassedOver]) -> tuple[PassedOver, ...]:
    """Return what happened, or was not counted."""
    return tuple(each for each in found if each.count is None or each.count)
