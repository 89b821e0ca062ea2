"""The sessions that a batch of exchanges changes: read once, folded in memory, written once.

What is written does not depend on how exchanges are cut into batches: an exchange finds the sessions as those before it
have left them, whether these are stored or in the same batch.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Table, select

from proxy_addon.core import sessions as core
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.frozen import changed
from proxy_addon.core.sessions import RETRY_WINDOW, Membership, Session, membership, session_id_of
from storage import bulk, losses
from storage import sessions as session_rows
from storage.models import SessionRow
from storage.sessions import session_key

_TABLE: Table = SessionRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A session that has changed, as it is now, and its exchanges in this batch, in order."""

    session: Session
    exchanges: list[Exchange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Into:
    """The recording that new exchanges are stored in, as far as it matters to their sessions.

    Attributes:
        is_import: Whether it stores what a file holds: then new exchanges join no session that was not in the file.
    """

    id: str
    name: str | None
    is_import: bool
    pseudonymised: bool
    has_holes: bool


@dataclass(slots=True)
class _Entry:
    """A session as the batch has changed it so far.

    Attributes:
        before: The session as it is stored; None for a new one.
    """

    session: Session
    occurrence: int
    before: Session | None = None
    exchanges: list[Exchange] = field(default_factory=list)


class _Placed(NamedTuple):
    """What an exchange does to sessions, worked out once: its hash if it is a start, and the key of its session."""

    membership: Membership
    start_sha256: str | None
    key: str | None


class Fold:
    """The sessions that the exchanges of a batch change."""

    def __init__(self, db: Connection, into: Into, exchanges: Sequence[Exchange]) -> None:
        """Read what the exchanges may change: the newest session of each back-end ID, and earlier attempts at starts.

        Args:
            exchanges: All that will be added, none of which is stored.
        """
        self._db = db
        self._bulk = bulk.of(db)
        self._into = into
        self._placed = {exchange.id: _placed(exchange) for exchange in exchanges}
        self._newest: dict[str, _Entry] = {}
        self._occurrences: dict[str, int] = {}
        self._touched: dict[str, _Entry] = {}
        self._attempts_of: dict[str, list[_Entry]] = {}
        keys = {placed.key for placed in self._placed.values() if placed.key is not None}
        self._read_sessions(keys)
        self._lost = {} if into.is_import else losses.waiting(db, [key for key in keys if key not in self._newest])
        self._stored_attempts = self._read_attempts(exchanges)

    def add(self, exchange: Exchange, findings: Sequence[Finding]) -> str | None:
        """Fold one exchange; return our id of its session, or None if it belongs to none."""
        placed = self._placed[exchange.id]
        match placed.membership:
            case Membership.OPENS:
                entry = self._opened(exchange, placed)
            case Membership.JOINS:
                entry = self._joined(exchange, placed.key)
            case _:
                return None
        if placed.key is not None:
            self._newest[placed.key] = entry
        session = entry.session
        now: dict[str, Any] = {}
        if findings:
            now["findings"] = session.findings.plus(findings)
        # Not if another recorder stores parts of it as they are: then an export still has to replace them.
        pseudonymised = self._into.pseudonymised and (session.exchanges == 1 or session.pseudonymised)
        if pseudonymised != session.pseudonymised:
            now["pseudonymised"] = pseudonymised
        if self._into.has_holes and not session.has_holes:
            now["has_holes"] = True
        if now:
            entry.session = changed(session, **now)
        is_known = session.id in self._touched
        entry.exchanges.append(exchange)
        self._touched[session.id] = entry
        if session.start_sha256 is not None and (placed.membership is Membership.OPENS or not is_known):
            self._attempts_of.setdefault(session.start_sha256, []).append(entry)
        return session.id

    def touched(self) -> list[Touched]:
        """Return all sessions that have changed."""
        return [Touched(session=entry.session, exchanges=entry.exchanges) for entry in self._touched.values()]

    def write(self, *, findings_due: bool) -> None:
        """Write all sessions that have changed.

        Args:
            findings_due: Mark them; otherwise those that are marked stay marked.
        """
        due = {"findings_due": True} if findings_due else {}
        new: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        altered: list[dict[str, Any]] = []
        for entry in self._touched.values():
            row = {**session_rows.to_row(entry.session), **due}
            if entry.before is None:
                new.append(row | {"recording_id": self._into.id, "occurrence": entry.occurrence})
            else:
                (moved if _has_only_moved(entry.before, entry.session) else altered).append(row)
        self._bulk.insert(_TABLE, new)
        self._bulk.update(_TABLE, moved, (*_MOVING, *due))
        self._bulk.update(_TABLE, altered, (*_CHANGING, *due))
        losses.adopt(self._db, {row["session_key"]: row["id"] for row in new if row["lost"]})

    def _read_sessions(self, keys: Iterable[str]) -> None:
        query = select(*session_rows.COLUMNS).where(SessionRow.session_key.in_(keys)).order_by(SessionRow.occurrence)
        for row in self._db.execute(query).mappings():
            self._occurrences[row["session_key"]] = row["occurrence"]
            if self._is_mine(row):
                session = session_rows.from_row(row)
                self._newest[row["session_key"]] = _Entry(session, row["occurrence"], before=session)

    def _is_mine(self, row: RowMapping) -> bool:
        """Whether new exchanges may join a stored session: those of a file join no session that was not in it."""
        return not self._into.is_import or row["recording_id"] == self._into.id

    def _read_attempts(self, exchanges: Sequence[Exchange]) -> dict[str, bulk.Attempt | None]:
        """Return the stored attempts at the starts among the exchanges, by the ids of these."""
        starts = {
            exchange.id: self._start(exchange, sha256)
            for exchange in exchanges
            if (sha256 := self._placed[exchange.id].start_sha256) is not None
        }
        return dict(zip(starts, self._bulk.attempts([*starts.values()]), strict=True)) if starts else {}

    def _start(self, exchange: Exchange, sha256: str) -> bulk.Start:
        return bulk.Start(
            start_sha256=sha256,
            upstream=exchange.upstream,
            client_address=exchange.client_address,
            earliest=exchange.received_at - RETRY_WINDOW,
            latest=exchange.received_at,
            before=_AFTER_ALL,
            recording_id=self._into.id if self._into.is_import else None,
        )

    def _next_occurrence(self, key: str | None) -> int:
        if key is None:
            return 0
        self._occurrences[key] = self._occurrences.get(key, -1) + 1
        return self._occurrences[key]

    def _opened(self, exchange: Exchange, placed: _Placed) -> _Entry:
        before = self._newest.get(placed.key) if placed.key is not None else None
        if before is not None and not before.session.start_seen:
            # Its first events overtook the start or came through another recorder.
            before.session = core.start_found(before.session, exchange, self._retry_of(exchange))
            return before
        session = core.opened(exchange, id=new_id(), recording=self._into.name, retry_of=self._retry_of(exchange))
        return self._new(session, placed.key)

    def _joined(self, exchange: Exchange, key: str | None) -> _Entry:
        entry = self._newest.get(key) if key is not None else None
        if entry is None:
            return self._new(core.begun_late(exchange, id=new_id(), recording=self._into.name), key)
        entry.session = core.joined(entry.session, exchange)
        return entry

    def _new(self, session: Session, key: str | None) -> _Entry:
        lost = self._lost.pop(key, 0) if key is not None else 0
        if lost:
            session = changed(session, lost=lost, has_holes=True)
        return _Entry(session, self._next_occurrence(key))

    def _retry_of(self, exchange: Exchange) -> str | None:
        """Return our id of the first attempt to open the playback that this exchange opens again; None for none.

        An attempt that went on to report events did not fail; another device's start is another playback.
        """
        sha256 = self._placed[exchange.id].start_sha256
        if sha256 is None:
            return None
        earliest = exchange.received_at - RETRY_WINDOW
        attempts = [
            bulk.Attempt(entry.session.started_at, entry.session.id, entry.session.retry_of or entry.session.id)
            for entry in self._attempts_of.get(sha256, ())
            if entry.session.events <= 1
            and earliest <= entry.session.started_at <= exchange.received_at
            and entry.session.upstream == exchange.upstream
            and entry.session.client_address == exchange.client_address
        ]
        stored = self._stored_attempt(exchange, sha256)
        if stored is not None:
            attempts.append(stored)
        return max(attempts).first if attempts else None

    def _stored_attempt(self, exchange: Exchange, sha256: str) -> bulk.Attempt | None:
        """Return the newest stored attempt that the batch has not changed since it was read."""
        start = self._start(exchange, sha256)
        found = self._stored_attempts[exchange.id]
        while found is not None and found.id in self._touched:
            (found,) = self._bulk.attempts([start._replace(latest=found.started_at, before=found.id)])
        return found


def new_id() -> str:
    """Return a new id for a session, a recording or a run: 16 hexadecimal digits."""
    return secrets.token_hex(8)


def _placed(exchange: Exchange) -> _Placed:
    place = membership(exchange)
    if place is Membership.NONE:
        return _Placed(place, None, None)
    sha256 = core.start_sha256(exchange) if place is Membership.OPENS else None
    return _Placed(place, sha256, session_key(exchange.upstream, session_id_of(exchange)))


_AFTER_ALL = "~"
"""Sorts after all our ids."""
_MOVING = (
    "last_event_at",
    "playhead_s",
    "playhead_moved_at",
    "ended",
    "completed",
    "client_address",
    "exchanges",
    "events",
    "not_accepted",
    "has_holes",
    "pseudonymised",
    "errors",
    "warnings",
    "infos",
)
"""Columns that nearly every event changes. To set a column costs a change of each index that has it, even to the value
that it has, so the others are left out where they stay the same."""
_FIXED = {"id", "recording_id", "recording", "upstream", "session_id", "session_prefix", "session_key", "occurrence"}
_WRITTEN_ELSEWHERE = {"findings_due", "strip"}
_CHANGING = tuple(column.name for column in session_rows.COLUMNS if column.name not in _FIXED | _WRITTEN_ELSEWHERE)
"""Columns that an exchange may change."""


def _has_only_moved(before: Session, now: Session) -> bool:
    """Whether a session differs from what is stored in no other columns than `_MOVING`."""
    return (
        before.start_seen == now.start_seen
        and before.start_sha256 == now.start_sha256
        and before.started_at == now.started_at
        and before.user_agent == now.user_agent
        and before.lasting_state is now.lasting_state
        and bool(before.findings) == bool(now.findings)
    )
