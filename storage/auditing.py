"""Audit a store in pieces: each is a range of sessions, which any process that reaches the store can work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, func, select

from proxy_addon.core.audits.auditing import MOST_GROUPS, Auditor, By, Grouping
from proxy_addon.core.audits.totals import Apart, ByGroup
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from storage import sessions
from storage.filters import Filters, conditions
from storage.judging import Judging
from storage.models import SessionRow
from storage.opening import reading
from storage.streaming import rows_of

_SESSIONS_IN_A_PIECE = 2_000
_EXCHANGES_IN_A_PIECE = 50_000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A range of the sessions of a store, in the order of their beginning and id.

    Attributes:
        first: When its first session began, and the session's id.
        last: The same of its last session.
        sessions: How many sessions it has, as its progress is told.
        exchanges: How many exchanges these have.
    """

    first: tuple[datetime, str]
    last: tuple[datetime, str]
    sessions: int
    exchanges: int


@dataclass(frozen=True, kw_only=True)
class StoreAudit:
    """How the sessions of a store are audited; it can be sent to another process.

    Attributes:
        now: The time by which unfinished sessions may have run into a timeout.
        closed: Whether unfinished sessions count as over.
    """

    store_url: str = field(repr=False)  # may have a password, and engines log what they work on
    filters: Filters
    policy: Policy
    now: datetime
    grouping: Grouping
    closed: bool = False

    def __call__(self, piece: Piece) -> ByGroup:
        """Audit a piece.

        Raises:
            StorageError: The store cannot be read.
        """
        auditor = Auditor(self.grouping, as_of(self.now, self.policy))
        with reading(self.store_url) as db:
            judging = Judging(db, self.policy, self.now, closed=self.closed)
            found = sessions.newest(db, self.filters, now=self.now, oldest_first=True, within=(piece.first, piece.last))
            for session, watch, exchanges in judging.each(found):
                audit = auditor.session(session, closed=self.closed)
                for _ in audit.watching(exchanges):
                    pass
                audit.add(watch.judgement())
        return auditor.groups


def grouping(db: Connection, by: By | None, filters: Filters, now: datetime) -> Grouping:
    """Return how sessions are put into groups: if there are very many, those with the fewest sessions are put together."""
    wanted = conditions(db, filters, now)
    if by is None or wanted is None:
        return Grouping(by=by)
    column = getattr(SessionRow, by.field)
    query = select(column).where(*wanted).group_by(column).order_by(func.count().desc(), column).limit(MOST_GROUPS + 1)
    names = list(db.execute(query).scalars())
    if len(names) <= MOST_GROUPS:
        return Grouping(by=by)
    told_apart = frozenset(names[:MOST_GROUPS])
    return Grouping(by=by, names=told_apart | {Apart.UNSEEN} if None in told_apart else told_apart)


def pieces(db: Connection, filters: Filters, now: datetime) -> Iterator[Piece]:
    """Yield all sessions that pass the filters, in pieces of similar size."""
    wanted = conditions(db, filters, now)
    if wanted is None:
        return
    columns = (SessionRow.started_at, SessionRow.id, SessionRow.exchanges)
    query = select(*columns).where(*wanted).order_by(*columns[:2]).execution_options(yield_per=1_000)
    first: tuple[datetime, str] | None = None
    number = of_exchanges = 0
    with rows_of(db, query) as rows:
        for row in rows:
            at, id, exchanges = cast("tuple[datetime, str, int]", row)
            last = at, id
            first = first or last
            number += 1
            of_exchanges += exchanges
            if number == _SESSIONS_IN_A_PIECE or of_exchanges >= _EXCHANGES_IN_A_PIECE:
                yield Piece(first=first, last=last, sessions=number, exchanges=of_exchanges)
                first, number, of_exchanges = None, 0, 0
    if first is not None:
        yield Piece(first=first, last=last, sessions=number, exchanges=of_exchanges)
