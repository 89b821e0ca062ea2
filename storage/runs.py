"""Replay runs in the store: written while they run, listed, found and resumed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from itertools import batched, groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from proxy_addon.core.replays.runs import (
    CUT,
    CUT_BEGINNINGS,
    NOT_BEGUN,
    NOT_ENDED,
    Difference,
    Percentiles,
    ReplayRun,
    RunChange,
    RunOptions,
    RunSummary,
    Sent,
    SessionRun,
    Step,
    StepOutcome,
    Totals,
    Unsent,
    run_changes,
)
from proxy_addon.errors import NotFound
from storage.matching import LAST
from storage.models import RunChangeRow, RunRow, RunSessionRow, SessionRow, StepRow

_WRITTEN_AT_ONCE = 1000


class Stand(StrEnum):
    """How far a session of a run has got."""

    WAITING = "waiting"
    BEGUN = "begun"
    ENDED = "ended"


@dataclass(slots=True)
class LedgerEntries:
    """Progress of a run, to be written in one transaction. Sessions are named by their position in the run.

    Attributes:
        announced: How many steps of a session may be sent from now on; the first entry marks the session as begun.
        opened: The new back-end ID of a session.
        steps: Finished steps, each with the position of its session.
        ended: Sessions that ended, with the reason why they, or the rest of them, were not sent; None for no reason.
    """

    announced: dict[int, int] = field(default_factory=dict)
    opened: dict[int, str] = field(default_factory=dict)
    steps: list[tuple[int, Step]] = field(default_factory=list)
    ended: dict[int, str | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.announced or self.opened or self.steps or self.ended)


def begin(db: Connection, run: ReplayRun, options: RunOptions, changes: Iterable[RunChange] = ()) -> None:
    """Store a run that has just begun.

    Args:
        options: What a later resume needs to know.
        changes: What the run changes in requests.
    """
    row = {"id": run.id, "target": run.target, "started_at": run.started_at, "finished_at": run.finished_at}
    row |= {"speed": run.speed, "timestamps": run.timestamps, "settings": json.dumps(asdict(options))}
    db.execute(insert(RunRow).values(**row))
    add_changes(db, run.id, changes)


def add_changes(db: Connection, run_id: str, changes: Iterable[RunChange]) -> None:
    """Store the changes of a run that are not stored yet."""
    known = set(db.execute(select(RunChangeRow.number).where(RunChangeRow.run_id == run_id)).scalars())
    rows = [
        {
            "run_id": run_id,
            "number": each.number,
            "option": each.option,
            "change": json.dumps(dict(each.change)),
            "places": each.places or 0,
        }
        for each in changes
        if each.number not in known
    ]
    if rows:
        db.execute(insert(RunChangeRow), rows)


def choose(db: Connection, run_id: str, sessions: Iterable[tuple[str, str | None]]) -> int:
    """Store the sessions of a run in their order; return how many.

    Args:
        sessions: Our ids and the back end's; consumed in chunks.
    """
    position = 0
    for some in batched(sessions, _WRITTEN_AT_ONCE):
        rows = [
            {"run_id": run_id, "position": place, "source": id, "session_id": session_id, "state": Stand.WAITING.value}
            for place, (id, session_id) in enumerate(some, position)
        ]
        db.execute(insert(RunSessionRow), rows)
        position += len(rows)
    return position


def note(db: Connection, run_id: str, entries: LedgerEntries) -> None:
    """Store the progress of a run."""
    table: Any = RunSessionRow.__table__
    here = (table.c.run_id == run_id, table.c.position == bindparam("_position"))
    if entries.announced:
        announced = [{"_position": position, "_number": number} for position, number in entries.announced.items()]
        values = {"state": Stand.BEGUN.value, "announced": bindparam("_number")}
        db.execute(update(table).where(*here, table.c.state != Stand.ENDED.value).values(values), announced)
    if entries.opened:
        opened = [{"_position": position, "_new": new} for position, new in entries.opened.items()]
        db.execute(update(table).where(*here).values(new_session_id=bindparam("_new")), opened)
    if entries.steps:
        db.execute(insert(StepRow), [_step_row(run_id, position, step) for position, step in entries.steps])
        places: Counter[int] = Counter()
        for _, step in entries.steps:
            if step.sent is not None and step.sent.places:
                places.update(step.sent.places)
        if places:
            changes: Any = RunChangeRow.__table__
            found = update(changes).where(changes.c.run_id == run_id, changes.c.number == bindparam("_number"))
            more = [{"_number": number, "_more": count} for number, count in sorted(places.items())]
            db.execute(found.values(places=changes.c.places + bindparam("_more")), more)
    if entries.ended:
        ended = [{"_position": position, "_reason": reason} for position, reason in entries.ended.items()]
        values = {"state": Stand.ENDED.value, "reason": bindparam("_reason")}
        db.execute(update(table).where(*here).values(values), ended)


def finish(db: Connection, run_id: str, finished_at: datetime | None, *, keep: bool = False) -> None:
    """Store when a run ended. None means that it runs again, and clears its exit code.

    Args:
        keep: Keep a time that is already stored.
    """
    values: dict[str, Any] = {"finished_at": finished_at} | ({"exit_code": None} if finished_at is None else {})
    noted = update(RunRow).where(RunRow.id == run_id).values(values)
    db.execute(noted.where(RunRow.finished_at.is_(None)) if keep else noted)


def keep_exit_code(db: Connection, run_id: str, exit_code: int) -> None:
    """Store the exit code of the command that carried out a run."""
    db.execute(update(RunRow).where(RunRow.id == run_id).values(exit_code=exit_code))


def changes(db: Connection, run_id: str) -> tuple[RunChange, ...]:
    """Return the changes of a run in order; for a run of an older version, without the number of places."""
    query = select(RunChangeRow.__table__).where(RunChangeRow.run_id == run_id).order_by(RunChangeRow.number)
    found = tuple(
        RunChange(number=row.number, option=row.option, change=json.loads(row.change), places=row.places)
        for row in db.execute(query)
    )
    return found or tuple(replace(each, places=None) for each in run_changes(options(db, run_id).changes))


def options(db: Connection, run_id: str) -> RunOptions:
    """Return the options that `begin` stored; options that the run's version did not store have their defaults."""
    kept: dict[str, Any] = json.loads(db.execute(select(RunRow.settings).where(RunRow.id == run_id)).scalar_one())
    known = {each.name for each in fields(RunOptions)}  # a later version may have stored more
    lists: dict[str, Any] = {
        name: tuple(kept[name]) for name in ("ignore", "changes", "members", "headers") if name in kept
    }
    return RunOptions(**{name: value for name, value in {**kept, **lists}.items() if name in known})


def waiting(db: Connection, run_id: str, *, after: int = -1, limit: int) -> list[tuple[int, str]]:
    """Return the next sessions that a run has not begun: their positions and our ids.

    Args:
        after: Position to continue after; -1 for the beginning.
    """
    query = (
        select(RunSessionRow.position, RunSessionRow.source)
        .where(RunSessionRow.run_id == run_id, RunSessionRow.position > after)
        .where(RunSessionRow.state == Stand.WAITING.value)
        .order_by(RunSessionRow.position)
        .limit(limit)
    )
    return [(row.position, row.source) for row in db.execute(query)]


def attempts(db: Connection, run_id: str) -> list[str]:
    """Return our ids of the run's sessions that are attempts to open the same playback as another session."""
    retry = aliased(SessionRow)
    mine = (RunSessionRow.run_id == run_id, RunSessionRow.source == SessionRow.id)
    later = select(SessionRow.id).where(*mine, SessionRow.retry_of.is_not(None))
    first = select(SessionRow.id).where(*mine, exists().where(retry.retry_of == SessionRow.id))
    return sorted({*db.execute(later).scalars(), *db.execute(first).scalars()})


def size(db: Connection, run_id: str, *, waiting: bool = False) -> int:
    """Return how many sessions a run has, or how many of them are ``waiting``."""
    query = select(func.count()).select_from(RunSessionRow).where(RunSessionRow.run_id == run_id)
    if waiting:
        query = query.where(RunSessionRow.state == Stand.WAITING.value)
    return int(db.execute(query).scalar_one())


def recorded(db: Connection, run_id: str) -> int:
    """Return how many exchanges were recorded in the sessions that a run has not begun."""
    query = (
        select(func.coalesce(func.sum(SessionRow.exchanges), 0))
        .join(RunSessionRow, RunSessionRow.source == SessionRow.id)
        .where(RunSessionRow.run_id == run_id, RunSessionRow.state == Stand.WAITING.value)
    )
    return int(db.execute(query).scalar_one())


def cut_short(db: Connection, run_id: str) -> Iterator[tuple[int, str, set[int], int | None]]:
    """Yield the sessions that a run had begun but not ended when it was killed.

    Yields:
        Position, our id, the ``seq`` of each stored step, and how many steps were announced (None if unknown).
    """
    query = select(RunSessionRow.position, RunSessionRow.source, RunSessionRow.announced).where(
        RunSessionRow.run_id == run_id, RunSessionRow.state == Stand.BEGUN.value
    )
    for row in db.execute(query).all():
        steps = select(StepRow.seq).where(StepRow.run_id == run_id, StepRow.position == row.position)
        yield row.position, row.source, set(db.execute(steps).scalars()), row.announced


def wait_again(db: Connection, run_id: str) -> int:
    """Set sessions back to waiting if the run ended before anything of them was sent; return how many."""
    positions = list(db.execute(_all_unsent(run_id)).scalars())
    for some in batched(positions, _WRITTEN_AT_ONCE):
        db.execute(delete(StepRow).where(StepRow.run_id == run_id, StepRow.position.in_(some)))
        again = update(RunSessionRow).where(RunSessionRow.run_id == run_id, RunSessionRow.position.in_(some))
        db.execute(again.values(state=Stand.WAITING.value, reason=None))
    return len(positions)


def left(db: Connection, run_id: str) -> int:
    """Return how many sessions are left to send: those waiting, and those that `wait_again` would set back."""
    again = select(func.count()).select_from(_all_unsent(run_id).subquery())
    return size(db, run_id, waiting=True) + int(db.execute(again).scalar_one())


def unsent(db: Connection, run_id: str) -> Iterator[Unsent]:
    """Yield, in order, the begun sessions with steps that were not sent because the run ended."""
    first, last, number = func.min(StepRow.seq), func.max(StepRow.seq), func.count()
    query = (
        select(RunSessionRow.source, first.label("first"), last.label("last"), number.label("number"))
        .join(StepRow, (StepRow.run_id == RunSessionRow.run_id) & (StepRow.position == RunSessionRow.position))
        .where(RunSessionRow.run_id == run_id, RunSessionRow.position.not_in(_all_unsent(run_id)))
        .where(StepRow.outcome == StepOutcome.SKIPPED.value, _is_cut(StepRow.reason))
        .group_by(RunSessionRow.position, RunSessionRow.source)
        .order_by(RunSessionRow.position)
    )
    for row in db.execute(query):
        yield Unsent(source=row.source, first=row.first, last=row.last, number=row.number)


def never_sent(db: Connection, run_id: str) -> Iterator[Unsent]:
    """Yield, in order, the steps that were not sent for any reason, by session and reason."""
    here = (StepRow.run_id == RunSessionRow.run_id) & (StepRow.position == RunSessionRow.position)
    first, last, number = func.min(StepRow.seq), func.max(StepRow.seq), func.count(StepRow.seq)
    reason = func.coalesce(StepRow.reason, RunSessionRow.reason)
    stepped = select(StepRow.position).where(StepRow.run_id == run_id)
    query = (
        select(
            RunSessionRow.source, first.label("first"), last.label("last"), number.label("number"), reason.label("why")
        )
        .join(StepRow, here & (StepRow.outcome == StepOutcome.SKIPPED.value), isouter=True)
        .where(RunSessionRow.run_id == run_id)
        .where(
            or_(StepRow.seq.is_not(None), RunSessionRow.reason.is_not(None) & RunSessionRow.position.not_in(stepped))
        )
        .group_by(RunSessionRow.position, RunSessionRow.source, reason)
        .order_by(RunSessionRow.position, first)
    )
    for row in db.execute(query):
        yield Unsent(source=row.source, first=row.first or 0, last=row.last or 0, number=row.number, reason=row.why)


def _is_cut(reason: InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    """Return `core.replays.runs.is_cut` as a condition on a column."""
    return or_(reason.in_(sorted(CUT)), *(reason.startswith(begin, autoescape=True) for begin in CUT_BEGINNINGS))


def _all_unsent(run_id: str) -> Select[int]:
    """Select the positions of the sessions of which nothing was sent because the run ended."""
    sent = select(StepRow.position).where(StepRow.run_id == run_id, StepRow.outcome != StepOutcome.SKIPPED.value)
    return select(RunSessionRow.position).where(
        RunSessionRow.run_id == run_id, _is_cut(RunSessionRow.reason), RunSessionRow.position.not_in(sent)
    )


_NEWEST_FIRST = select(RunRow.__table__).order_by(RunRow.started_at.desc(), RunRow.id)


def newest(db: Connection, *, limit: int | None = None) -> Iterator[RunSummary]:
    """Yield runs, newest first."""
    for row in db.execute(_NEWEST_FIRST.limit(limit)).all():
        yield summary(db, _run(row))


def summary(db: Connection, run: ReplayRun) -> RunSummary:
    """Return the totals of a run, counted by the database, so that a run of any size fits in memory."""
    counts = select(StepRow.outcome, func.count()).where(StepRow.run_id == run.id).group_by(StepRow.outcome)
    by = {StepOutcome(outcome): int(number) for outcome, number in db.execute(counts)}
    recorded, skipped = sum(by.values()), by.get(StepOutcome.SKIPPED, 0)
    return RunSummary(
        run=run,
        totals=Totals(
            recorded=recorded,
            sent=recorded - skipped,
            same=by.get(StepOutcome.SAME, 0),
            different=by.get(StepOutcome.DIFFERENT, 0),
            failed=by.get(StepOutcome.FAILED, 0),
            skipped=skipped,
        ),
        drift_ms=_percentiles(db, run.id, StepRow.drift_ms),
        latency_ms=_percentiles(db, run.id, StepRow.latency_ms),
        sessions=size(db, run.id),
        cut=_number_cut(db, run.id),
        changes=changes(db, run.id),
    )


def _number_cut(db: Connection, run_id: str) -> int:
    cut = or_(RunSessionRow.state != Stand.ENDED.value, _is_cut(RunSessionRow.reason))
    query = select(func.count()).select_from(RunSessionRow).where(RunSessionRow.run_id == run_id, cut)
    return int(db.execute(query).scalar_one())


def _percentiles(db: Connection, run_id: str, column: InstrumentedAttribute[float | None]) -> Percentiles:
    """Return `core.replays.runs.percentiles` of a column."""
    mine = (StepRow.run_id == run_id, column.is_not(None))
    number = int(db.execute(select(func.count()).select_from(StepRow).where(*mine)).scalar_one())
    if not number:
        return Percentiles()

    def rank(share: float) -> float | None:
        place = max(0, math.ceil(share * number) - 1)
        return db.execute(select(column).where(*mine).order_by(column).offset(place).limit(1)).scalar()

    return Percentiles(p50=rank(0.50), p95=rank(0.95), max=rank(1.0))


def newest_of(db: Connection, session: str, *, limit: int) -> list[str]:
    """Return the ids of the runs that replayed a session, newest first."""
    query = select(RunRow.id).join(RunSessionRow, RunSessionRow.run_id == RunRow.id)
    query = query.where(RunSessionRow.source == session).order_by(RunRow.started_at.desc(), RunRow.id)
    return list(db.execute(query.distinct().add_columns(RunRow.started_at).limit(limit)).scalars())


def find(db: Connection, name: str) -> ReplayRun:
    """Return the run with an id or a unique prefix of one, or the newest run for ``last``.

    Raises:
        NotFound: No run or several runs match; the hint lists candidates.
    """
    if name == LAST:
        last = db.execute(_NEWEST_FIRST.limit(1)).first()
        if last is None:
            raise NotFound("the store has no replay runs, so there is no last one")
        return _run(last)
    found = _beginning_with(db, name) if name else []
    exact = [row for row in found if row.id == name] or found
    if len(exact) == 1:
        return _run(exact[0])
    if found:
        raise NotFound(f"several runs match {name!r}", hint=f"name one of them:\n{_listed(found)}")
    if close := _close_to(db, name):
        hint = f"similar ones are:\n{_listed(close)}"
    elif db.execute(_NEWEST_FIRST.limit(1)).first():
        hint = "'sessiontape runs' lists all runs"
    else:
        hint = "the store has no replay runs"
    raise NotFound(f"no run matches {name!r}", hint=hint)


def sessions(db: Connection, run_id: str) -> Iterator[SessionRun]:
    """Yield the sessions of a run with their steps, in order, reading rows as they are consumed."""
    query = select(RunSessionRow.__table__).where(RunSessionRow.run_id == run_id).order_by(RunSessionRow.position)
    # Read in pages, because not every driver supports two open cursors on one connection.
    after = -1
    while rows := db.execute(query.where(RunSessionRow.position > after).limit(_SESSIONS_AT_ONCE)).all():
        first, after = rows[0].position, rows[-1].position
        of_these = (StepRow.run_id == run_id, StepRow.position.between(first, after))
        found = db.execute(select(StepRow.__table__).where(*of_these).order_by(StepRow.position, StepRow.seq))
        steps = {
            position: tuple(_step(row) for row in group)
            for position, group in groupby(found, key=lambda row: row.position)
        }
        for row in rows:
            yield SessionRun(
                source=row.source,
                session_id=row.session_id,
                new_session_id=row.new_session_id,
                steps=steps.get(row.position, ()),
                reason=_UNENDED.get(row.state, row.reason),
            )


_SESSIONS_AT_ONCE = 50
_UNENDED = {Stand.WAITING.value: NOT_BEGUN, Stand.BEGUN.value: NOT_ENDED}


def _run(row: Row[tuple[object, ...]]) -> ReplayRun:
    return ReplayRun(
        id=row.id,
        target=row.target,
        started_at=row.started_at,
        finished_at=row.finished_at,
        speed=row.speed,
        timestamps=row.timestamps,
        exit_code=row.exit_code,
    )


def _step_row(run_id: str, position: int, step: Step) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "position": position,
        "seq": step.seq,
        "event_type": step.event_type,
        "outcome": step.outcome.value,
        "reason": step.reason,
        "recorded_status": step.recorded_status,
        "status": step.status,
        "sent_at": step.sent_at,
        "drift_ms": step.drift_ms,
        "latency_ms": step.latency_ms,
        "differences": json.dumps([_difference(each) for each in step.differences]) if step.differences else "[]",
        "body_sha256": None if step.sent is None else step.sent.body_sha256,
        "changed": None if step.sent is None else _changed(step.sent),
    }


def _changed(sent: Sent) -> str | None:
    if not sent.places and not sent.differences:
        return None
    return json.dumps({"places": sent.places, "differences": [_difference(each) for each in sent.differences]})


def _sent(body_sha256: str | None, changed: str | None) -> Sent | None:
    if body_sha256 is None:
        return None
    document = {"places": {}, "differences": []} if changed is None else json.loads(changed)
    return Sent(
        body_sha256=body_sha256,
        places={int(number): count for number, count in document["places"].items()},
        differences=tuple(_read_difference(each) for each in document["differences"]),
    )


def _difference(each: Difference) -> dict[str, Any]:
    return {"where": each.where, "recorded": each.a, "replayed": each.b}


def _read_difference(document: Mapping[str, Any]) -> Difference:
    return Difference(where=document["where"], a=document["recorded"], b=document["replayed"])


def _step(row: Row[tuple[object, ...]]) -> Step:
    return Step(
        seq=row.seq,
        event_type=row.event_type,
        outcome=StepOutcome(row.outcome),
        reason=row.reason,
        recorded_status=row.recorded_status,
        status=row.status,
        sent_at=row.sent_at,
        drift_ms=row.drift_ms,
        latency_ms=row.latency_ms,
        differences=tuple(_read_difference(each) for each in json.loads(row.differences)),
        sent=_sent(row.body_sha256, row.changed),
    )


def _beginning_with(db: Connection, prefix: str, limit: int = 10) -> list[Row[tuple[object, ...]]]:
    # Ids are hexadecimal: no run has any other name, and a database may refuse its characters.
    if not prefix.isalnum() or not prefix.isascii():
        return []
    query = (
        select(RunRow.__table__)
        .where(RunRow.id >= prefix, RunRow.id < f"{prefix}~")
        .order_by(RunRow.started_at.desc(), RunRow.id)
        .limit(limit)
    )
    return list(db.execute(query).all())


def _close_to(db: Connection, name: str) -> list[Row[tuple[object, ...]]]:
    """Return the runs that share the longest beginning with a name, of three characters or more."""
    for length in range(min(len(name), _LONGEST) - 1, 2, -1):
        if found := _beginning_with(db, name[:length], limit=_SUGGESTED):
            return found
    return []


_SUGGESTED = 5
_LONGEST = 32
"""More than the characters of an id."""


def _listed(rows: list[Row[tuple[object, ...]]]) -> str:
    return "\n".join(f"    {row.id}  {row.started_at:%Y-%m-%d %H:%M:%S} UTC  {row.target}" for row in rows)
