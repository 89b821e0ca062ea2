"""Sessions in the store: listed, found, deleted, and their conversion to rows and back."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from difflib import get_close_matches
from itertools import batched
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, delete, distinct, func, or_, select, update

from proxy_addon.core.sessions import BESIDE_WINDOW, AsOf, FindingCounts, Session, SessionState
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound
from storage import bulk
from storage.filters import Filters, conditions, unclosed_at
from storage.matching import LAST, begins_with, holding, searchable, values_like
from storage.models import PREFIX_LENGTH, ExchangeRow, FindingRow, ServerRow, SessionRow
from storage.streaming import rows_of

_SAME = [field.name for field in fields(Session) if field.name != "findings"]
"""Fields with a column of the same name."""

_TABLE: Table = SessionRow.__table__  # type: ignore[assignment]

COLUMNS = tuple(SessionRow.__table__.columns)
"""What `from_row` reads."""
_READ_AT_ONCE = 200
_IDS_IN_A_STATEMENT = 500
_FOUND_LATELY = 20_000
"""How many findings of a rule are looked at for the sessions in which it found something; that takes some 20 ms."""
_NEIGHBOURHOOD = 500
"""How many sessions with the same ``User-Agent`` are searched for one of the same device."""


def session_key(upstream: str, session_id: str | None) -> str | None:
    """Return the key by which a back-end ID is looked up: short, of fixed length, distinct for each upstream."""
    if session_id is None:
        return None
    return hashlib.sha256(f"{upstream}\0{session_id}".encode("utf-8", "surrogatepass")).hexdigest()


def to_row(session: Session) -> dict[str, Any]:
    """Return the columns that a session determines."""
    counts = session.findings
    return {
        **{name: value for name, value in vars(session).items() if name != "findings"},
        "session_prefix": None if session.session_id is None else searchable(session.session_id[:PREFIX_LENGTH]),
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
    db: Connection,
    filters: Filters,
    *,
    now: datetime,
    limit: int | None = None,
    oldest_first: bool = False,
    before: tuple[datetime, str] | None = None,
    within: tuple[tuple[datetime, str], tuple[datetime, str]] | None = None,
) -> Iterator[Session]:
    """Yield the sessions that pass the filters, newest first, reading rows as they are consumed.

    Args:
        now: The time at which open sessions are tested for having expired.
        oldest_first: Reverse the order.
        before: Only sessions older than the one that started at this time and has this id of ours.
        within: Only sessions from one such session to another, both included.
    """
    wanted = conditions(db, filters, now)
    if wanted is None:
        return
    if before is not None:
        at, id = before
        wanted += [SessionRow.started_at <= at, or_(SessionRow.started_at < at, SessionRow.id < id)]
    if within is not None:
        (at, id), (until, last) = within
        wanted += [SessionRow.started_at >= at, or_(SessionRow.started_at > at, SessionRow.id >= id)]
        wanted += [SessionRow.started_at <= until, or_(SessionRow.started_at < until, SessionRow.id <= last)]
    order = (SessionRow.started_at, SessionRow.id)
    query = (
        select(*COLUMNS)
        .where(*wanted)
        .order_by(*(order if oldest_first else [column.desc() for column in order]))
        .limit(limit)
        .execution_options(yield_per=_READ_AT_ONCE)
    )
    with rows_of(db, query) as rows:
        for row in rows.mappings():
            yield from_row(row)


def find(db: Connection, name: str) -> Session:
    """Return the session with a name: its id, its back-end ID, a unique prefix of either, or ``last`` for the newest.

    Raises:
        NotFound: No session or several sessions match; the hint lists candidates.
    """
    if name == LAST:
        newest = _named(db, SessionRow.id.is_not(None), limit=1)
        if not newest:
            raise NotFound("the store has no sessions, so there is no last one")
        return newest[0]
    name = name.encode("utf-8", "replace").decode()  # a shell may pass bytes that no database takes
    begins_alike = SessionRow.session_prefix == searchable(name[:PREFIX_LENGTH])  # lets the query use the index
    whole = _named(db, or_(SessionRow.id == searchable(name), and_(begins_alike, SessionRow.session_id == name)))
    found = whole or (_named(db, begins_with(name)) if name else [])
    found = [session for session in found if session.id.startswith(name) or (session.session_id or "").startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"several sessions match {name!r}", hint=f"name one of them:\n{_listed(found)}")
    hints = [
        f"to list the sessions with this {what}: sessiontape sessions {option} {shlex.quote(name)}"
        for what, option in _filters_for(db, name)
    ]
    if close := _close_to(db, name):
        hints.append(f"similar ones are:\n{_listed(close)}")
    elif not hints and _named(db, SessionRow.id.is_not(None), limit=1):
        hints.append("'sessiontape sessions' lists all sessions")
    raise NotFound(f"no session matches {name!r}", hint="\n  ".join(hints) or "the store has no sessions")


def get(db: Connection, ids: Sequence[str]) -> list[Session]:
    """Return the sessions with these ids of ours, in the order of the ids; missing ones are left out."""
    found = {session.id: session for session in _named(db, SessionRow.id.in_(ids), limit=len(ids))}
    return [found[name] for name in ids if name in found]


def number_stored_twice(db: Connection, ids: Sequence[str]) -> int:
    """Return how many of these sessions another recording has, too: with the same upstream and back-end ID."""
    mine, other = SessionRow.__table__.alias("mine"), SessionRow.__table__.alias("other")
    same = and_(other.c.session_key == mine.c.session_key, other.c.recording_id != mine.c.recording_id)
    query = select(func.count(distinct(mine.c.id))).join_from(mine, other, same).where(mine.c.id.in_(ids))
    return int(db.execute(query).scalar_one())


def opened_beside(db: Connection, session: Session) -> str | None:
    """Return our id of another session that the device opened for the same content at the same time.

    None if there is none, if this session has events beyond its start, or if either was refused. The rule is
    `session-opened-twice`.
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


def attempts(db: Connection, session: Session) -> list[Session]:
    """Return all attempts to start the same playback, by time; the session is one of them, perhaps the only one."""
    first = session.retry_of or session.id
    query = select(*COLUMNS).where(or_(SessionRow.id == first, SessionRow.retry_of == first))
    rows = db.execute(query.order_by(SessionRow.started_at, SessionRow.id)).mappings()
    return [from_row(row) for row in rows]


def neighbours(db: Connection, session: Session) -> tuple[str | None, str | None]:
    """Return our ids of the sessions that the same device had before and after this one; None where there is none.

    A device is known by its address and ``User-Agent``. Where very many sessions have that ``User-Agent``, only those
    closest in time are looked at.
    """
    if session.client_address is None or session.user_agent is None:
        return None, None
    at, id = session.started_at, session.id
    order = (SessionRow.started_at, SessionRow.id)
    earlier = (SessionRow.started_at <= at, or_(SessionRow.started_at < at, SessionRow.id < id))
    later = (SessionRow.started_at >= at, or_(SessionRow.started_at > at, SessionRow.id > id))
    found: list[str | None] = []
    for wanted, ordering in ((earlier, [column.desc() for column in order]), (later, [*order])):
        near = (
            select(SessionRow.id, SessionRow.client_address, SessionRow.upstream, SessionRow.started_at)
            .where(SessionRow.user_agent == session.user_agent, *wanted)
            .order_by(*ordering)
            .limit(_NEIGHBOURHOOD)
            .subquery()
        )
        same = (near.c.client_address == session.client_address, near.c.upstream == session.upstream)
        by_time = (near.c.started_at, near.c.id)
        nearest = [column.desc() for column in by_time] if wanted is earlier else [*by_time]
        found.append(db.execute(select(near.c.id).where(*same).order_by(*nearest).limit(1)).scalar())
    return found[0], found[1]


def breaking(db: Connection, rule: str, as_of: AsOf, *, limit: int, unclosed: bool = False) -> list[Session]:
    """Return the sessions in which a rule found something last, newest first.

    Many findings may be of one session: if that is so of the newest `_FOUND_LATELY`, there are fewer than ``limit``.

    Args:
        as_of: The time at which open sessions are tested for having expired.
        unclosed: Add those that expired without being closed, of which no finding is stored.
    """
    lately = (
        select(FindingRow.id, FindingRow.session)
        .where(FindingRow.rule == rule, FindingRow.session.is_not(None))
        .order_by(FindingRow.id.desc())
        .limit(_FOUND_LATELY)
        .subquery()
    )
    newest = select(lately.c.session).group_by(lately.c.session).order_by(func.max(lately.c.id).desc()).limit(limit)
    found = {session.id: session for session in get(db, list(db.execute(newest).scalars()))}
    if unclosed:
        for state in (SessionState.OPEN, SessionState.PARTIAL):  # each has an index in the order of the list
            wanted = (SessionRow.state == state.value, unclosed_at(as_of.now, as_of.idle_timeout))
            found |= {session.id: session for session in _named(db, and_(*wanted), limit=limit)}
    return sorted(found.values(), key=lambda each: (each.started_at, each.id), reverse=True)[:limit]


def draw(db: Connection, strips: Mapping[str, str]) -> None:
    """Store the strips of sessions, by our ids.

    Call it in a transaction of `storage.engine.Store.write`.
    """
    bulk.of(db).update(_TABLE, [{"id": id, "strip": strip} for id, strip in strips.items()], ("strip",))


def note_holes(db: Connection, ids: Sequence[str]) -> None:
    """Store that exchanges of sessions, or bodies of such, are not known, by our ids.

    Call it in a transaction of `storage.engine.Store.write`.
    """
    bulk.of(db).update(_TABLE, [{"id": id, "has_holes": True} for id in ids], ("has_holes",))


def findings_due(db: Connection) -> list[str]:
    """Return our ids of the sessions whose recorder has not judged them completely, oldest last event first."""
    query = select(SessionRow.id).where(SessionRow.findings_due.is_(True)).order_by(SessionRow.last_event_at)
    return list(db.execute(query).scalars())


def remove(db: Connection, ids: Sequence[str]) -> int:
    """Delete sessions with their exchanges and findings; replay runs stay and keep the ids of what they sent.

    Returns:
        How many sessions were deleted.
    """
    removed = 0
    _hand_on_retries(db, ids)
    for some in batched(ids, _IDS_IN_A_STATEMENT):
        removed += db.execute(delete(SessionRow).where(SessionRow.id.in_(some))).rowcount
    return removed


def _hand_on_retries(db: Connection, ids: Sequence[str]) -> None:
    """If the first of several attempts is deleted, make the oldest remaining one the first: they are still linked."""
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
    """Return the addresses to which the recorder connected: upstream, address, port."""
    return [(row.upstream, row.address, row.port) for row in db.execute(select(ServerRow.__table__))]


def upstreams(db: Connection) -> list[str]:
    """Return the upstreams of all exchanges in the store."""
    sessions = values_like(db, SessionRow.upstream)
    outside = select(ExchangeRow.upstream).where(ExchangeRow.session.is_(None)).distinct()
    return sorted({*sessions, *db.execute(outside).scalars()})


def _named(db: Connection, condition: ColumnElement[bool], limit: int = 10) -> list[Session]:
    query = select(*COLUMNS).where(condition).order_by(SessionRow.started_at.desc(), SessionRow.id.desc()).limit(limit)
    return [from_row(row) for row in db.execute(query).mappings()]


def _close_to(db: Connection, name: str) -> list[Session]:
    """Return sessions that a name may have meant, the closest first, among those that begin alike and the newest ones.

    The name is compared with the beginnings of ids, because people rarely type whole ids.
    """
    name = name[:_LONGEST]
    if len(name) < _ALIKE:
        return []
    begin = name[: max(_ALIKE, min(len(name) // 2, PREFIX_LENGTH))]
    candidates = [*_named(db, begins_with(begin), limit=_COMPARED), *_named(db, SessionRow.id.is_not(None), _COMPARED)]
    called: dict[str, dict[str, Session]] = {}
    for session in candidates:
        for id in filter(None, (session.id, session.session_id)):
            called.setdefault(id[: len(name)].casefold(), {})[session.id] = session
    close: dict[str, Session] = {}
    for text in get_close_matches(name.casefold(), called, n=_SUGGESTED, cutoff=_CLOSE):
        close |= called[text]
    return list(close.values())[:_SUGGESTED]


def _filters_for(db: Connection, name: str) -> Iterator[tuple[str, str]]:
    """Yield what else than an id a name may be, and the filter that finds sessions by it."""
    if len(name) >= _ALIKE:
        for what, option, columns in (
            ("media", "--media", (SessionRow.media_id, SessionRow.media_name)),
            ("player", "--player", (SessionRow.player_name,)),
        ):
            if holding(db, name, columns):
                yield what, option
    if name and _named(db, SessionRow.recording == searchable(name), limit=1):
        yield "recording", "--name"


_LONGEST = 128
_ALIKE = 3
_COMPARED = 500
_SUGGESTED = 5
_CLOSE = 0.75
"""How similar two names have to be, as `difflib` measures it, from 0 to 1."""


def _listed(sessions: Sequence[Session]) -> str:
    return "\n".join(
        f"    {session.id}  {visible(session.session_id or '(no back-end ID)')}"
        f"  {visible(session.media_name or session.media_id or '')}"
        for session in sessions
    )
