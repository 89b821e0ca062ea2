"""Sessions in the store: list, find, delete; and how one becomes a row and back."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import batched
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, or_, select, update

from proxy_addon.core.sessions import (
    BESIDE_WINDOW,
    IDLE_TIMEOUT,
    PLAYHEAD_TIMEOUT,
    FindingCounts,
    Session,
    SessionState,
)
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound
from storage.matching import LAST, holding, values_like
from storage.models import PREFIX_LENGTH, ExchangeRow, ServerRow, SessionRow

_SAME = [field.name for field in fields(Session) if field.name != "findings"]
"""Fields that have a column of their own name."""

COLUMNS = tuple(SessionRow.__table__.columns)
"""What `from_row` reads."""
_READ_AT_ONCE = 200
_IDS_IN_A_STATEMENT = 500


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which sessions a command is about; what is None does not matter.

    Attributes:
        name: Name of the recording, exactly.
        since: Started at this time or later.
        until: Started before this time.
        states: One of these; empty for all.
        player: Player name; see `storage.matching` for what matches.
        media: Media ID or media name.
        user_agent: ``User-Agent``.
        with_findings: Only those that have findings.
        idle_timeout: So long without an event makes an open session an expired one.
        unclosed_is_found: That a session has run out, as nobody closed it, is a finding.
    """

    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: frozenset[SessionState] = frozenset()
    player: str | None = None
    media: str | None = None
    user_agent: str | None = None
    with_findings: bool = False
    idle_timeout: timedelta = IDLE_TIMEOUT
    unclosed_is_found: bool = True

    @property
    def concern_sessions_alone(self) -> bool:
        """Whether they ask for something that only sessions have, so that no exchange outside of one fits."""
        return bool(self.states or self.player or self.media)

    def only(self, names: Sequence[str]) -> Filters:
        """Return the filters without those that are asked for and not named."""
        return replace(self, **{name: getattr(_NO_FILTERS, name) for name in self.asked if name not in names})

    @property
    def asked(self) -> list[str]:
        """The names of those that leave something out, in the order in which people read them."""
        return [name for name in _NARROWING if getattr(self, name) != getattr(_NO_FILTERS, name)]


_NARROWING = ("name", "since", "until", "states", "player", "media", "user_agent", "with_findings")
_NO_FILTERS = Filters()


def session_key(upstream: str, session_id: str | None) -> str | None:
    """Return what a back-end ID is looked up by: short, of fixed length, distinct for each upstream."""
    if session_id is None:
        return None
    return hashlib.sha256(f"{upstream}\0{session_id}".encode("utf-8", "surrogatepass")).hexdigest()


def to_row(session: Session) -> dict[str, Any]:
    """Return the columns that follow from a session."""
    counts = session.findings
    return {
        **{name: getattr(session, name) for name in _SAME},
        "session_prefix": None if session.session_id is None else _searchable(session.session_id[:PREFIX_LENGTH]),
        "session_key": session_key(session.upstream, session.session_id),
        "state": session.lasting_state.value,
        "errors": counts.error,
        "warnings": counts.warning,
        "infos": counts.info,
        "has_findings": bool(counts.error or counts.warning or counts.info),
    }


def from_row(row: RowMapping) -> Session:
    """Return the session in a row."""
    return Session(
        **{name: row[name] for name in _SAME},
        findings=FindingCounts(error=row["errors"], warning=row["warnings"], info=row["infos"]),
    )


def newest(
    db: Connection, filters: Filters, *, now: datetime, limit: int | None = None, oldest_first: bool = False
) -> Iterator[Session]:
    """Yield the sessions that pass the filters, newest first; read as they are consumed.

    Args:
        now: What open sessions are measured against, to tell the expired ones.
        oldest_first: The other way round.
    """
    conditions = _conditions(db, filters, now)
    if conditions is None:
        return
    order = (SessionRow.started_at, SessionRow.id)
    query = (
        select(*COLUMNS)
        .where(*conditions)
        .order_by(*(order if oldest_first else [column.desc() for column in order]))
        .limit(limit)
        .execution_options(yield_per=_READ_AT_ONCE)
    )
    with db.execute(query) as rows:  # closed also where the reader has seen enough
        for row in rows.mappings():
            yield from_row(row)


@dataclass(frozen=True, kw_only=True)
class Emptied:
    """Why no session passes the filters.

    Attributes:
        by: The filter that leaves none, as it is called in `Filters`; None where the store has no sessions.
        before: The filters that had been applied before it; empty where it alone leaves none.
        left: How many sessions those left.
    """

    by: str | None
    before: tuple[str, ...] = ()
    left: int = 0


def emptied(db: Connection, filters: Filters, *, now: datetime) -> Emptied | None:
    """Return why no session passes the filters; None where one does."""
    if _count(db, filters, now, limit=1):
        return None
    everything = _count(db, _NO_FILTERS, now)
    asked = filters.asked
    if not everything or not asked:
        return Emptied(by=None)
    for name in asked:
        if not _count(db, filters.only([name]), now, limit=1):
            return Emptied(by=name, left=everything)
    left = everything
    for place, name in enumerate(asked):
        count = _count(db, filters.only(asked[: place + 1]), now)
        if not count:
            return Emptied(by=name, before=tuple(asked[:place]), left=left)
        left = count
    return None  # a recorder has stored one meanwhile


def _count(db: Connection, filters: Filters, now: datetime, *, limit: int | None = None) -> int:
    conditions = _conditions(db, filters, now)
    if conditions is None:
        return 0
    some = select(SessionRow.id).where(*conditions).limit(limit).subquery()
    return db.execute(select(func.count()).select_from(some)).scalar_one()


def find(db: Connection, name: str) -> Session:
    """Return the session of that name: its id, its back-end ID, a prefix of either that only one has, or ``last``.

    ``last`` is the newest.

    Raises:
        NotFound: There is none, or more than one; the message lists those that come close.
    """
    if name == LAST:
        newest = _named(db, SessionRow.id.is_not(None), limit=1)
        if not newest:
            raise NotFound("the store has no sessions, so there is no last one")
        return newest[0]
    name = name.encode("utf-8", "replace").decode()  # a shell may hand over what no database takes
    begins_alike = SessionRow.session_prefix == _searchable(name[:PREFIX_LENGTH])  # which is what the index has
    whole = _named(db, or_(SessionRow.id == _searchable(name), and_(begins_alike, SessionRow.session_id == name)))
    found = whole or (_named(db, _begins_with(name)) if name else [])
    found = [session for session in found if session.id.startswith(name) or (session.session_id or "").startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"several sessions are called {name!r}", hint=f"name one of them:\n{_listed(found)}")
    if close := _close_to(db, name):
        hint = f"close to it are:\n{_listed(close)}"
    elif _named(db, SessionRow.id.is_not(None), limit=1):
        hint = "'sessiontape sessions' lists those that there are"
    else:
        hint = "the store has no sessions"
    raise NotFound(f"no session is called {name!r}", hint=hint)


def get(db: Connection, ids: Sequence[str]) -> list[Session]:
    """Return the sessions with these ids of ours that there still are, in the order of the ids."""
    found = {session.id: session for session in _named(db, SessionRow.id.in_(ids), limit=len(ids))}
    return [found[name] for name in ids if name in found]


def opened_beside(db: Connection, session: Session) -> str | None:
    """Return our id of another session that the device opened for the same content at the same time.

    None where there is none, where this one got events, and where either was refused. Source: Media Collection API,
    session rules, `session-opened-twice`.
    """
    if session.events > 1 or session.failed or None in (session.start_sha256, session.media_id, session.client_address):
        return None
    began, window = session.started_at, BESIDE_WINDOW
    query = (
        select(SessionRow.id)
        .where(SessionRow.media_id == session.media_id, SessionRow.started_at.between(began - window, began + window))
        .where(SessionRow.client_address == session.client_address, SessionRow.user_agent == session.user_agent)
        .where(SessionRow.upstream == session.upstream, SessionRow.start_sha256 != session.start_sha256)
        .where(SessionRow.id != session.id, SessionRow.failed.is_(False))
        .order_by(SessionRow.started_at, SessionRow.id)
        .limit(1)
    )
    return db.execute(query).scalar()


def findings_due(db: Connection) -> list[str]:
    """Return our ids of the sessions that a recorder had not judged to the end when it was last seen."""
    query = select(SessionRow.id).where(SessionRow.findings_due.is_(True)).order_by(SessionRow.last_event_at)
    return list(db.execute(query).scalars())


def remove(db: Connection, ids: Sequence[str]) -> int:
    """Remove sessions with their exchanges and findings; replay runs stay, and keep naming what they sent.

    Returns:
        How many there were.
    """
    removed = 0
    _hand_on_retries(db, ids)
    for some in batched(ids, _IDS_IN_A_STATEMENT):
        removed += db.execute(delete(SessionRow).where(SessionRow.id.in_(some))).rowcount
    return removed


def _hand_on_retries(db: Connection, ids: Sequence[str]) -> None:
    """Let the oldest attempt that stays be the first one, where the first one goes: they still are one playback."""
    going = set(ids)
    left: dict[str, str] = {}
    for some in batched(ids, _IDS_IN_A_STATEMENT):
        query = select(SessionRow.id, SessionRow.retry_of).where(SessionRow.retry_of.in_(some))
        for id, first in db.execute(query.order_by(SessionRow.started_at, SessionRow.id)):
            if id not in going and first is not None:
                heir = left.setdefault(first, id)
                new_first = None if heir == id else heir
                db.execute(update(SessionRow).where(SessionRow.id == id).values(retry_of=new_first))


def servers(db: Connection) -> list[tuple[str, str, int]]:
    """Return the addresses that were connected to while recording: upstream, address, port."""
    return [(row.upstream, row.address, row.port) for row in db.execute(select(ServerRow.__table__))]


def upstreams(db: Connection) -> list[str]:
    """Return the upstreams of all exchanges in the store."""
    sessions = values_like(db, SessionRow.upstream)
    outside = select(ExchangeRow.upstream).where(ExchangeRow.session.is_(None)).distinct()
    return sorted({*sessions, *db.execute(outside).scalars()})


def _conditions(db: Connection, filters: Filters, now: datetime) -> list[ColumnElement[bool]] | None:
    """Return what a row has to fulfil; None where no row can."""
    conditions: list[ColumnElement[bool]] = []
    timed_out = or_(
        SessionRow.last_event_at <= now - filters.idle_timeout, SessionRow.playhead_moved_at <= now - PLAYHEAD_TIMEOUT
    )
    if filters.name is not None:
        conditions.append(SessionRow.recording == filters.name)
    if filters.since is not None:
        conditions.append(SessionRow.started_at >= filters.since)
    if filters.until is not None:
        conditions.append(SessionRow.started_at < filters.until)
    if filters.states:
        conditions.append(or_(*(_in_state(state, timed_out) for state in sorted(filters.states))))
    if filters.with_findings:
        has_findings = SessionRow.has_findings.is_(True)
        conditions.append(or_(has_findings, _has_run_out(timed_out)) if filters.unclosed_is_found else has_findings)
    for wanted, columns in (
        (filters.player, (SessionRow.player_name,)),
        (filters.media, (SessionRow.media_id, SessionRow.media_name)),
        (filters.user_agent, (SessionRow.user_agent,)),
    ):
        if wanted is not None:
            matching = holding(db, wanted, columns)
            if not matching:
                return None
            conditions.append(or_(*matching))
    return conditions


def _has_run_out(timed_out: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return `Session.has_run_out`, of sessions with events, as a condition."""
    never_closed = and_(SessionRow.ended.is_(False), SessionRow.completed.is_(False), SessionRow.failed.is_(False))
    return and_(never_closed, SessionRow.events > 0, timed_out)


def _in_state(state: SessionState, timed_out: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return `Session.state` as a condition."""
    match state:
        case SessionState.OPEN:
            return and_(SessionRow.state == SessionState.OPEN.value, ~timed_out)
        case SessionState.EXPIRED:
            return and_(SessionRow.state == SessionState.OPEN.value, timed_out)
        case lasting:
            return SessionRow.state == lasting.value


def _named(db: Connection, condition: ColumnElement[bool], limit: int = 10) -> list[Session]:
    query = select(*COLUMNS).where(condition).order_by(SessionRow.started_at.desc(), SessionRow.id.desc()).limit(limit)
    return [from_row(row) for row in db.execute(query).mappings()]


def _begins_with(prefix: str) -> ColumnElement[bool]:
    prefix = _searchable(prefix)
    short = prefix[:PREFIX_LENGTH]
    return or_(
        and_(SessionRow.id >= prefix, SessionRow.id < _after(prefix)),
        and_(SessionRow.session_prefix >= short, SessionRow.session_prefix < _after(short)),
    )


def _after(prefix: str) -> str:
    """Return the first text, by code point, behind all that begin with the prefix."""
    last = ord(prefix[-1]) + 1
    if last > sys.maxunicode:
        return prefix + chr(sys.maxunicode)  # nothing that is stored goes on like that
    return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def _searchable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _close_to(db: Connection, name: str) -> list[Session]:
    """Return sessions whose name may have been meant, the closest first: those that begin alike, and the newest ones.

    A name is compared with the beginnings of ids, as people type no more than that.
    """
    name = name[:_LONGEST]
    if len(name) < _ALIKE:
        return []
    begin = name[: max(_ALIKE, min(len(name) // 2, PREFIX_LENGTH))]
    candidates = [*_named(db, _begins_with(begin), limit=_COMPARED), *_named(db, SessionRow.id.is_not(None), _COMPARED)]
    called: dict[str, dict[str, Session]] = {}
    for session in candidates:
        for id in filter(None, (session.id, session.session_id)):
            called.setdefault(id[: len(name)].casefold(), {})[session.id] = session
    close: dict[str, Session] = {}
    for text in get_close_matches(name.casefold(), called, n=_SUGGESTED, cutoff=_CLOSE):
        close |= called[text]
    return list(close.values())[:_SUGGESTED]


_LONGEST = 128
_ALIKE = 3
_COMPARED = 500
_SUGGESTED = 5
_CLOSE = 0.75
"""How much of two names has to be the same, in the same order."""


def _listed(sessions: Sequence[Session]) -> str:
    return "\n".join(
        f"    {session.id}  {visible(session.session_id or '(no back-end ID)')}"
        f"  {visible(session.media_name or session.media_id or '')}"
        for session in sessions
    )
