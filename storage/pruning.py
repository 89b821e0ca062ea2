"""Delete what is old, little by little, so that nobody else who writes to the store waits long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, tuple_

from storage import sessions
from storage.engine import Store
from storage.models import ExchangeRow, LossRow, RecorderRow, Recording, SessionRow

AT_ONCE = 1000
"""How many exchanges one transaction deletes, more or less: a session goes as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How much was deleted."""

    sessions: int = 0
    exchanges: int = 0

    def __add__(self, more: Pruned) -> Pruned:
        return Pruned(sessions=self.sessions + more.sessions, exchanges=self.exchanges + more.exchanges)


def prune(store: Store, before: datetime, *, keep_going: Callable[[], bool] = lambda: True) -> Iterator[Pruned]:
    """Delete what was recorded before a time, and yield how much was deleted so far, after each transaction.

    These go: sessions whose last event is older, with all that hangs on them; exchanges and losses of that age that belong
    to no session; the books of recorders without a sign of life since; recordings of which nothing is left. Replay runs
    stay.

    Args:
        keep_going: Asked before each transaction whether to go on.

    Raises:
        StorageUnavailable: The store cannot be reached or written; what was deleted so far is deleted.
    """
    done = Pruned()
    for part in (_Sessions(), _outside, _losses, _books):
        more: Pruned | None = done
        while more is not None and keep_going():
            with store.write(is_large=True) as db:
                more = part(db, before)
            if more is not None:
                done += more
                yield done


def count(db: Connection, before: datetime) -> Pruned:
    """Return how much `prune` would delete."""
    whole = select(func.count(), func.coalesce(func.sum(SessionRow.exchanges), 0))
    number, in_them = db.execute(whole.where(SessionRow.started_at < before, SessionRow.last_event_at < before)).one()
    outside = db.execute(select(func.count()).select_from(ExchangeRow).where(*_is_outside(before))).scalar_one()
    return Pruned(sessions=number, exchanges=in_them + outside)


class _Sessions:
    """Deletes sessions in the order in which they began, and passes over those that went on."""

    def __init__(self) -> None:
        self._after: tuple[datetime, str] | None = None

    def __call__(self, db: Connection, before: datetime) -> Pruned | None:
        """Delete some; return None if there are no more."""
        order = (SessionRow.started_at, SessionRow.id)
        query = select(*order, SessionRow.last_event_at, SessionRow.exchanges).where(SessionRow.started_at < before)
        if self._after is not None:
            query = query.where(tuple_(*order) > self._after)
        found = db.execute(query.order_by(*order).limit(AT_ONCE)).all()
        if not found:
            return None
        ids: list[str] = []
        exchanges = 0
        for row in found:
            self._after = (row.started_at, row.id)
            if row.last_event_at < before:
                ids.append(row.id)
                exchanges += row.exchanges
                if exchanges >= AT_ONCE:
                    break
        return Pruned(sessions=sessions.remove(db, ids), exchanges=exchanges)


def _outside(db: Connection, before: datetime) -> Pruned | None:
    old = select(ExchangeRow.id).where(*_is_outside(before)).limit(AT_ONCE)
    gone = db.execute(delete(ExchangeRow).where(ExchangeRow.id.in_(old))).rowcount
    return Pruned(exchanges=gone) if gone else None


def _is_outside(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return ExchangeRow.session.is_(None), ExchangeRow.received_at < before


def _losses(db: Connection, before: datetime) -> Pruned | None:
    old = select(LossRow.id).where(LossRow.session.is_(None), LossRow.received_at < before).limit(AT_ONCE)
    return Pruned() if db.execute(delete(LossRow).where(LossRow.id.in_(old))).rowcount else None


def _books(db: Connection, before: datetime) -> Pruned | None:
    """Delete books, and recordings of which nothing is left; return None, because all of them go at once."""
    db.execute(delete(RecorderRow).where(RecorderRow.seen_at < before))
    left = select(Recording.id).where(
        Recording.started_at < before,
        ~exists().where(ExchangeRow.recording_id == Recording.id),
        ~exists().where(RecorderRow.id == Recording.id),
    )
    if empty := set(db.execute(left).scalars()):
        # A session keeps the recording that it began in, whatever is left of it. There is no index for that.
        kept = select(SessionRow.recording_id).where(SessionRow.recording_id.in_(empty)).distinct()
        empty -= set(db.execute(kept).scalars())
        db.execute(delete(Recording).where(Recording.id.in_(empty)))
    return None
