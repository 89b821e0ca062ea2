"""The list of sessions: one page of it, and its updates while browsers watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.reporting.pages.sessions import SessionsPage, row_of, sessions_page
from proxy_addon.ui.asking import Asked
from proxy_addon.ui.topics import Look, News
from storage import losses, sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection

PAGE = 200
"""How many sessions a page has."""
MOST = 1000
"""How many of the newest can be watched."""


def listed(db: Connection, asked: Asked, as_of: AsOf, *, store: str, before: Session | None = None) -> SessionsPage:
    """Return a page of the list.

    Args:
        store: As of `SessionsPage.store`.
        before: The last session of the page before it; None for the first one.
    """
    filters = asked.filters(as_of)
    place = None if before is None else (before.started_at, before.id)
    found = list(sessions.newest(db, filters, now=as_of.now, limit=PAGE + 1, before=place))
    shown = found[:PAGE]
    return sessions_page(
        [_row(db, session, as_of) for session in shown],
        as_of,
        store=store,
        filters=asked.pairs,
        older=shown[-1].id if len(found) > PAGE else None,
    )


def _row(db: Connection, session: Session, as_of: AsOf) -> dict[str, Any]:
    return row_of(session, as_of, losses.of_session(db, session.id) if session.lost else ())


class Listing:
    """The newest sessions that pass some filters.

    The news are ``sessions``: ``rows`` that are new or have changed, newest first, and ``gone``, the ids of those that were
    deleted or no longer pass. If they are ``whole``, these are all rows.
    """

    def __init__(self, asked: Asked, size: int) -> None:
        """Watch a list.

        Args:
            size: How many sessions are watched.
        """
        self._asked = asked
        self._size = size
        self._sessions: dict[str, Session] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._is_read = False

    def look(self, look: Look) -> Callable[[], News] | None:
        """Read the list again; None if nothing in it has changed."""
        filters = self._asked.filters(look.as_of)
        newest = sessions.newest(look.db, filters, now=look.as_of.now, limit=self._size)
        found = {session.id: session for session in islice(newest, self._size)}
        rows: dict[str, dict[str, Any]] = {}
        changed: list[dict[str, Any]] = []
        for id, session in found.items():
            before = self._rows.get(id)
            # Most rows are as they were: their documents are not made again, unless time alone may have changed them.
            is_same = before is not None and self._sessions[id] == session
            row = before if before is not None and is_same and not look.is_due else _row(look.db, session, look.as_of)
            rows[id] = row
            if row != before:
                changed.append(row)
        gone = [id for id in self._rows if id not in rows and not self._is_pushed_out(id, list(found.values()))]
        is_first, self._is_read = not self._is_read, True
        self._sessions, self._rows = found, rows
        if not changed and not gone and not is_first:
            return None
        whole = {"whole": True, "rows": [*rows.values()], "gone": []}
        news = News("sessions", whole=whole, change={"whole": False, "rows": changed, "gone": gone})
        return lambda: news

    def _is_pushed_out(self, id: str, found: Sequence[Session]) -> bool:
        """Whether a session is no longer among those watched only because there are so many newer ones."""
        if len(found) < self._size:
            return False
        session, last = self._sessions[id], found[-1]
        return (session.started_at, session.id) < (last.started_at, last.id)
