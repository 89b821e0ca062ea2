"""One session: its page, its traffic, and its updates while browsers watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.core.timelines.pictures import marking, picture_of
from proxy_addon.reporting.pages.session import SessionPage, session_page, traffic
from proxy_addon.ui.topics import Look, News
from storage import changes, exchanges, findings, losses, runs, sessions
from storage.judging import Judging

if TYPE_CHECKING:
    from sqlalchemy import Connection
_RUNS = 3
"""How many replay runs of a session its page links to."""


class Following:
    """A session that is watched.

    The news are ``session``. The whole state is the page's ``value``, or null once the session was deleted. A change has the
    members to ``set`` in the value, and for each column of ``events`` that differs, the first position that does and all values
    from there. Exchanges never change, so each is read once.
    """

    def __init__(self, id: str, policy: Policy) -> None:
        """Follow a session.

        Args:
            id: Our id of it.
        """
        self._id = id
        self._policy = policy
        self._known: dict[str, Exchange] = {}
        self._watch: SessionWatch | None = None
        self._judged: list[str] = []
        self._mark: tuple[Any, ...] | None = None
        self._links: list[tuple[str, str]] = []
        self._may_run_out = False
        self._value: dict[str, Any] | None = None
        self._is_read = False

    def look(self, look: Look) -> Callable[[], News] | None:
        """Read what is new of it; None if nothing has changed."""
        mark = changes.mark_of_session(look.db, self._id)
        is_same = self._is_read and mark == self._mark
        if is_same and not look.is_due:
            return None
        found = sessions.get(look.db, [self._id])
        links = [link for session in found for link in links_of(look.db, session)]  # others come, and go
        if is_same and not self._may_run_out and links == self._links:
            return None
        drawn = [self.page(look.db, session, look.as_of, links) for session in found]

        def tell() -> News:
            before, value = self._value, None
            for draw in drawn:
                value = draw().document()
            # Only now: what could not be read or drawn is read by the next look.
            self._mark, self._links, self._value, self._is_read = mark, links, value, True
            self._may_run_out = any(not session.failed and not session.is_over(look.as_of) for session in found)
            change = None if before is None or value is None else difference(before, value)
            return News("session", whole={"whole": True, "value": value}, change=change)

        return tell

    def page(
        self, db: Connection, session: Session, as_of: AsOf, links: Iterable[tuple[str, str]]
    ) -> Callable[[], SessionPage]:
        """Read what its page draws; return a function that makes the page without the store.

        Args:
            links: As of `SessionPage.links`.
        """
        recorded = self._exchanges(db)
        watch, judged = self._watching(db, session, recorded, as_of)
        verdicts = findings.of_exchanges(db, session.id)
        gaps = losses.of_session(db, session.id) if session.lost else ()

        def draw() -> SessionPage:
            for _ in watch.judging(recorded[judged:]):
                pass
            self._watch, self._judged = watch, [exchange.id for exchange in recorded]
            return session_page(picture_of(session, recorded, verdicts, watch.judgement(), as_of, gaps), links)

        return draw

    def _watching(
        self, db: Connection, session: Session, recorded: list[Exchange], as_of: AsOf
    ) -> tuple[SessionWatch, int]:
        """Return what judges the session as a whole, and how many exchanges it knows from the last time.

        None if something came in between, or if it was left half-way.
        """
        watch, judged = self._watch, len(self._judged)
        self._watch = None
        follows = watch is not None and self._judged == [exchange.id for exchange in recorded[:judged]]
        opened_beside = sessions.opened_beside(db, session)
        if watch is None or not follows or not watch.go_on(session, as_of.now, opened_beside=opened_beside):
            return Judging(db, marking(self._policy), as_of.now).watch(session, bodies=False), 0
        return watch, judged

    def _exchanges(self, db: Connection) -> list[Exchange]:
        keys = exchanges.keys_of_session(db, self._id)
        missing = [id for _, id in keys if id not in self._known]
        self._known.update((exchange.id, exchange) for exchange in exchanges.get(db, missing))
        return [self._known[id] for _, id in keys]


def difference(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the change that turns the value of a page into a newer one.

    >>> old = {"end_s": 1, "live": False, "events": {"n": [1, 2], "a": [0.1, 0.2]}}
    >>> new = {"end_s": 2, "live": False, "events": {"n": [1, 2, 3], "a": [0.1, 0.2, 0.3]}}
    >>> difference(old, new)
    {'whole': False, 'set': {'end_s': 2}, 'events': {'n': [2, [3]], 'a': [2, [0.3]]}}
    """
    columns: dict[str, Any] = {}
    for name, column in now["events"].items():
        old = before["events"].get(name, [])
        if old != column:
            begin = next((at for at, (a, b) in enumerate(zip(old, column, strict=False)) if a != b), len(old))
            begin = min(begin, len(column))
            columns[name] = [begin, column[begin:]]
    members = {name: value for name, value in now.items() if name != "events" and before.get(name) != value}
    return {"whole": False, "set": members, "events": columns}


def links_of(db: Connection, session: Session) -> Iterator[tuple[str, str]]:
    """Yield the links of a session, as of `SessionPage.links`."""
    previous, following = sessions.neighbours(db, session)
    if previous is not None:
        yield "previous", previous
    if following is not None:
        yield "next", following
    if session.retry_of is not None:
        yield "retry_of", session.retry_of
    tried = [each.id for each in sessions.attempts(db, session)]
    if session.id in tried[:-1]:
        yield "retried_by", tried[tried.index(session.id) + 1]
    for run in runs.newest_of(db, session.id, limit=_RUNS):
        yield "run", run


def traffic_of(db: Connection, id: str, *, after: int = 0, only: int | None = None) -> dict[str, Any]:
    """Return requests and answers of a session in full, as of `proxy_addon.reporting.pages.session.traffic`.

    Args:
        id: Our id of it.
        after: Leave out exchanges up to this position.
        only: Return only the exchange at this position.
    """
    keys = [key for _, key in exchanges.keys_of_session(db, id)]
    wanted = [seq for seq in range(1, len(keys) + 1) if seq > after and only in {None, seq}]
    found = {exchange.id: exchange for exchange in exchanges.get(db, [keys[seq - 1] for seq in wanted])}
    return traffic([found[keys[seq - 1]] for seq in wanted], wanted)
