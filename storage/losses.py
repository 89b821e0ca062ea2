"""Losses in the store: exchanges that were seen and are not stored, by name, and the gaps that they leave in sessions.

A loss belongs to the session whose id is in its path, to the newest one if upstream gave the id twice. If that session is
stored later, it gets the losses that were noted before it. A session that has a loss has holes: its `lost` says how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, or_, select, update

from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import BodyState
from proxy_addon.core.routes import Operation, parse_route
from storage.models import ExchangeRow, LossRow, Recording, SessionRow
from storage.sessions import session_key


@dataclass(frozen=True, slots=True)
class Noted:
    """What noting losses has changed.

    Attributes:
        new: How many of them were not known before.
        sessions: Our ids of the sessions that have lost more than before; their findings may have changed.
    """

    new: int
    sessions: tuple[str, ...] = ()


def note(db: Connection, losses: Sequence[Loss]) -> Noted:
    """Store losses, and count them in the sessions that they belong to.

    A loss that is known is passed over, and so is one whose exchange is stored after all.

    Call it in a transaction of `storage.engine.Store.write`.
    """
    named = {loss.id: loss for loss in losses}
    known: set[str] = set()
    for column in (LossRow.id, ExchangeRow.id):
        known.update(db.execute(select(column).where(column.in_(named))).scalars())
    new = [loss for loss in named.values() if loss.id not in known]
    if not new:
        return Noted(0)
    keys = {loss.id: _key(loss) for loss in new}
    wanted = {key for key in keys.values() if key is not None}
    newest = select(SessionRow.session_key, SessionRow.id).where(SessionRow.session_key.in_(wanted))
    session_of = {row.session_key: row.id for row in db.execute(newest.order_by(SessionRow.occurrence))}
    db.execute(insert(LossRow), [_row(loss, keys[loss.id], session_of.get(keys[loss.id])) for loss in new])
    touched = dict.fromkeys(session_of[key] for key in keys.values() if key in session_of)
    for id in touched:
        _count(db, id)
    return Noted(len(new), tuple(touched))


def take_back(db: Connection, ids: Sequence[str]) -> set[str]:
    """Forget that exchanges were refused, as they are stored after all; return those of the ids that were.

    Call it in the transaction that stores them, before they are.
    """
    mine = (LossRow.id.in_(ids), LossRow.is_refused)
    found = db.execute(select(LossRow.id, LossRow.session).where(*mine)).all()
    if found:
        db.execute(delete(LossRow).where(*mine))
    for session in {row.session for row in found} - {None}:
        _count(db, session)
        unknown = ExchangeRow.body_state.in_([state.value for state in BodyState if not state.is_known])
        of_file = Recording.imported_from.is_not(None)
        others = select(ExchangeRow.id).join(Recording).where(ExchangeRow.session == session, or_(unknown, of_file))
        is_whole = (SessionRow.id == session, SessionRow.lost == 0, ~exists(others))
        db.execute(update(SessionRow).where(*is_whole).values(has_holes=False))
    return {row.id for row in found}


def of_session(db: Connection, session: str) -> list[Loss]:
    """Return the losses of a session, by time of arrival.

    Args:
        session: Our id of the session.
    """
    return _read(db, LossRow.session == session)


def of_recorder(db: Connection, recorder: str, limit: int | None = None) -> list[Loss]:
    """Return what a recorder run has lost, by time of arrival.

    Args:
        recorder: Id of the run.
        limit: How many to return at most.
    """
    return _read(db, LossRow.recorder_id == recorder, limit)


def _count(db: Connection, session: str) -> None:
    """Set what a session has lost to the number of its losses."""
    number = select(func.count()).where(LossRow.session == session).scalar_subquery()
    db.execute(update(SessionRow).where(SessionRow.id == session).values(lost=number, has_holes=True))


def _read(db: Connection, condition: ColumnElement[bool], limit: int | None = None) -> list[Loss]:
    query = select(LossRow.__table__).where(condition).order_by(LossRow.received_at, LossRow.id).limit(limit)
    return [
        Loss(
            id=row["id"],
            recorder=row["recorder_id"],
            upstream=row["upstream"],
            received_at=row["received_at"],
            method=row["method"],
            path=row["path"],
            is_refused=row["is_refused"],
            reason=row["reason"],
        )
        for row in db.execute(query).mappings()
    ]


def _key(loss: Loss) -> str | None:
    """Return the key of the session that a lost exchange would have joined; None if its path names none."""
    route = parse_route(loss.method, loss.path)
    if route is None or route.operation not in (Operation.EVENTS, Operation.PREFLIGHT):
        return None
    return session_key(loss.upstream, route.session_id)


def _row(loss: Loss, key: str | None, session: str | None) -> dict[str, object]:
    return {
        "id": loss.id,
        "recorder_id": loss.recorder,
        "session_key": key,
        "session": session,
        "upstream": loss.upstream,
        "received_at": loss.received_at,
        "method": loss.method,
        "path": loss.path,
        "is_refused": loss.is_refused,
        "reason": loss.reason,
    }


def waiting(db: Connection, keys: Sequence[str]) -> dict[str, int]:
    """Return how many losses wait for a session to be stored that they belong to, by its key; keys without are left out."""
    if not keys:
        return {}
    mine = (LossRow.session_key.in_(keys), LossRow.session.is_(None))
    query = select(LossRow.session_key, func.count()).where(*mine).group_by(LossRow.session_key)
    return {key: number for key, number in db.execute(query) if key is not None}


def adopt(db: Connection, sessions: Mapping[str, str]) -> None:
    """Give sessions the losses that have waited for them, and that they count already.

    Call it in the transaction that has stored them.

    Args:
        sessions: Our ids, by key.
    """
    for key, id in sessions.items():
        mine = (LossRow.session_key == key, LossRow.session.is_(None))
        db.execute(update(LossRow).where(*mine).values(session=id))
