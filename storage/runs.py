"""Replay runs in the store: written while they go on, listed, found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, Row, insert, select, update

from proxy_addon.core.runs import (
    Difference,
    Percentiles,
    ReplayRun,
    SessionRun,
    Step,
    StepOutcome,
    Totals,
    count,
    percentiles,
)
from proxy_addon.errors import NotFound
from storage.models import RunRow, RunSessionRow, StepRow

_READ_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run as listed: without its sessions, with what they came to."""

    run: ReplayRun
    totals: Totals
    drift_ms: Percentiles
    latency_ms: Percentiles


def begin(db: Connection, run: ReplayRun) -> None:
    """Write a run that has just begun; its sessions follow one by one."""
    db.execute(
        insert(RunRow).values(
            id=run.id,
            target=run.target,
            started_at=run.started_at,
            finished_at=run.finished_at,
            speed=run.speed,
            timestamps=run.timestamps,
        )
    )


def save_sessions(db: Connection, run_id: str, sessions: Mapping[int, SessionRun]) -> None:
    """Write sessions of a run that are over.

    Args:
        sessions: By place in the run, from 0.
    """
    rows = [
        {
            "run_id": run_id,
            "position": position,
            "source": session.source,
            "session_id": session.session_id,
            "new_session_id": session.new_session_id,
            "reason": session.reason,
        }
        for position, session in sessions.items()
    ]
    steps = [
        {
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
            "differences": json.dumps([asdict(difference) for difference in step.differences]),
        }
        for position, session in sessions.items()
        for step in session.steps
    ]
    if rows:
        db.execute(insert(RunSessionRow), rows)
    if steps:
        db.execute(insert(StepRow), steps)


def finish(db: Connection, run_id: str, finished_at: datetime) -> None:
    """Note when a run ended."""
    db.execute(update(RunRow).where(RunRow.id == run_id).values(finished_at=finished_at))


def newest(db: Connection, *, limit: int | None = None) -> Iterator[RunSummary]:
    """Yield runs, newest first."""
    query = select(RunRow.__table__).order_by(RunRow.started_at.desc(), RunRow.id).limit(limit)
    for row in db.execute(query).all():
        numbers = select(StepRow.seq, StepRow.outcome, StepRow.drift_ms, StepRow.latency_ms)
        numbers = numbers.where(StepRow.run_id == row.id).execution_options(yield_per=_READ_AT_ONCE)
        steps = [
            Step(
                seq=step.seq,
                event_type=None,
                outcome=StepOutcome(step.outcome),
                drift_ms=step.drift_ms,
                latency_ms=step.latency_ms,
            )
            for step in db.execute(numbers)
        ]
        yield RunSummary(
            run=_run(row),
            totals=count(steps),
            drift_ms=percentiles(step.drift_ms for step in steps),
            latency_ms=percentiles(step.latency_ms for step in steps),
        )


def find(db: Connection, name: str) -> ReplayRun:
    """Return the run of that id, or of an id that alone begins so, with its sessions and steps.

    Raises:
        NotFound: There is none, or more than one; the message lists those that come close.
    """
    found = _beginning_with(db, name) if name else []
    exact = [row for row in found if row.id == name] or found
    if len(exact) == 1:
        return _run(exact[0], _sessions(db, exact[0].id))
    if found:
        raise NotFound(f"several runs are called {name!r}", hint=f"name one of them:\n{_listed(found)}")
    close = _close_to(db, name)
    if not close:
        raise NotFound(f"no run is called {name!r}", hint="the store has no replay runs")
    raise NotFound(f"no run is called {name!r}", hint=f"close to it are:\n{_listed(close)}")


def _run(row: Row[tuple[object, ...]], sessions: tuple[SessionRun, ...] = ()) -> ReplayRun:
    return ReplayRun(
        id=row.id,
        target=row.target,
        started_at=row.started_at,
        finished_at=row.finished_at,
        speed=row.speed,
        timestamps=row.timestamps,
        sessions=sessions,
    )


def _sessions(db: Connection, run_id: str) -> tuple[SessionRun, ...]:
    query = select(StepRow.__table__).where(StepRow.run_id == run_id).order_by(StepRow.position, StepRow.seq)
    rows = db.execute(query.execution_options(yield_per=_READ_AT_ONCE))
    steps = {
        position: tuple(_step(row) for row in group) for position, group in groupby(rows, key=lambda row: row.position)
    }
    sessions = select(RunSessionRow.__table__).where(RunSessionRow.run_id == run_id).order_by(RunSessionRow.position)
    return tuple(
        SessionRun(
            source=row.source,
            session_id=row.session_id,
            new_session_id=row.new_session_id,
            steps=steps.get(row.position, ()),
            reason=row.reason,
        )
        for row in db.execute(sessions)
    )


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
        differences=tuple(Difference(**difference) for difference in json.loads(row.differences)),
    )


def _beginning_with(db: Connection, prefix: str, limit: int = 10) -> list[Row[tuple[object, ...]]]:
    # Ids are hexadecimal: whatever else is asked for has no run, and may hold what a database refuses.
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
    """Return runs whose id begins alike, as far as possible; the newest ones where none does."""
    for length in range(len(name) - 1, 2, -1):
        if found := _beginning_with(db, name[:length], limit=5):
            return found
    return list(db.execute(select(RunRow.__table__).order_by(RunRow.started_at.desc()).limit(5)).all())


def _listed(rows: list[Row[tuple[object, ...]]]) -> str:
    return "\n".join(f"    {row.id}  {row.started_at:%Y-%m-%d %H:%M:%S} UTC  {row.target}" for row in rows)
