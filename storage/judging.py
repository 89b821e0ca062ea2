"""Sessions in the store, judged: what every command that judges them begins with."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from datetime import datetime

from sqlalchemy import Connection

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.sessions import Session
from storage import exchanges, schemas, sessions


class Judging:
    """Judges sessions of a store, one at a time, so that memory grows with the largest and not with their number."""

    def __init__(self, db: Connection, policy: Policy, now: datetime, *, closed: bool = False) -> None:
        """Judge sessions of a store.

        Args:
            now: The time by which unfinished sessions may have run into a timeout.
            closed: Judge unfinished sessions as over.
        """
        self._db = db
        self._policy = policy
        self._now = now
        self._closed = closed
        self._vocabularies: dict[str, Vocabulary] = {}

    def watch(self, session: Session, *, bodies: bool = True) -> SessionWatch:
        """Return what judges a session while its exchanges stream by.

        Args:
            bodies: Whether to judge each exchange by itself, too.
        """
        return SessionWatch(
            session,
            self._now,
            self._policy,
            self._vocabulary(session.upstream) if bodies else None,
            closed=self._closed,
            opened_beside=sessions.opened_beside(self._db, session),
        )

    def each(self, found: Iterable[Session]) -> Generator[tuple[Session, SessionWatch, Iterator[Exchange]]]:
        """Yield sessions, each with what judges it and with its exchanges, by time of arrival.

        The exchanges are judged as they are consumed; that has to be before the next session is asked for.
        """
        for session in found:
            watch = self.watch(session)
            with closing(exchanges.of_session(self._db, session.id)) as recorded:
                yield session, watch, watch.judging(recorded)

    def _vocabulary(self, upstream: str) -> Vocabulary:
        if upstream not in self._vocabularies:
            self._vocabularies[upstream] = schemas.vocabulary(self._db, upstream, self._policy.params)
        return self._vocabularies[upstream]
