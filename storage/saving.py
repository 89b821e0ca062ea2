"""Store exchanges, folding them into sessions."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, exc, insert, select, true, update

from proxy_addon.core import sessions as folding
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Verdict
from proxy_addon.core.routes import Operation
from proxy_addon.core.schemas import is_schema
from proxy_addon.core.sessions import RETRY_WINDOW, Membership, Session, membership, session_id_of
from proxy_addon.core.wording import visible
from storage import exchanges as exchange_rows
from storage import findings as finding_rows
from storage import schemas
from storage import sessions as session_rows
from storage.engine import Store
from storage.models import ExchangeRow, Recording, ServerRow, SessionRow
from storage.sessions import session_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RecordingRun:
    """One run of a recorder, under which its exchanges are stored.

    Attributes:
        id: Unique among all runs.
        name: What the user calls it; several runs may share a name.
        version: Version of sessiontape.
        checks: Whether it judges what it records; if not, its exchanges count as not judged.
        pseudonymised: Whether personal values in what it stores have been replaced by tokens.
        imported_from: Name of the file that is imported; None for a recorder.
        file_sha256: Hash of that file.
        has_holes: Whether the tool that made the file leaves out some requests.
    """

    id: str
    name: str | None
    started_at: datetime
    version: str
    checks: bool = True
    pseudonymised: bool = False
    imported_from: str | None = None
    file_sha256: str | None = None
    has_holes: bool = False

    @property
    def is_import(self) -> bool:
        """Whether it stores what a file holds, rather than what a recorder sees."""
        return self.imported_from is not None


@dataclass(frozen=True, slots=True)
class Judged:
    """An exchange and its own findings; None if it still has to be judged."""

    exchange: Exchange
    findings: Verdict = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A session that has changed, as it is now, and its exchanges in this batch, in order."""

    session: Session
    exchanges: list[Exchange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a batch has changed.

    Attributes:
        touched: All sessions that have changed, or were changed when the batch was saved before.
        unjudged: Ids of the exchanges that still have to be judged, in a session or not, in order.
        known: Ids of the exchanges that were stored before.
    """

    touched: Sequence[Touched] = ()
    unjudged: Sequence[str] = ()
    known: Collection[str] = ()


def save_batch(store: Store, recording: RecordingRun, judged: Sequence[Judged], *, findings_due: bool = False) -> Saved:
    """Store exchanges as `save` does, in a transaction of its own.

    If the database refuses a single exchange, its text is stored in ASCII instead: an exchange should not be lost for
    the names in a list. If it refuses several, the caller stores each by itself to find the one at fault.

    Raises:
        StorageUnavailable: The store cannot be reached or written.
        sqlalchemy.exc.DBAPIError: The database refuses a value.
        UnicodeError: Text has characters that no database takes.
    """
    try:
        with store.write() as db:
            return save(db, recording, judged, findings_due=findings_due)
    except (exc.DBAPIError, UnicodeError) as e:
        if len(judged) != 1:
            raise
        with store.write(in_ascii=True) as db:
            saved = save(db, recording, judged, findings_due=findings_due)
        path = judged[0].exchange.request.path
        logger.warning(
            f"stored with ? for non-ASCII characters: {visible(path)}: {visible(str(getattr(e, 'orig', e)))}"
        )
        return saved


def save(db: Connection, recording: RecordingRun, judged: Sequence[Judged], *, findings_due: bool = False) -> Saved:
    """Store exchanges with their findings and bring their sessions up to date.

    Call it in a transaction of `storage.engine.Store.write`: with one writer at a time, sessions stay right when
    several recorders see parts of one. Exchanges that are already stored are not stored again, but returned like new ones,
    so that a batch can be saved again if nobody knows whether its commit succeeded.

    Args:
        findings_due: Mark sessions and exchanges that still have to be judged; see `storage.findings`.
    """
    ids = [each.exchange.id for each in judged]
    query = select(ExchangeRow.id, ExchangeRow.session).where(ExchangeRow.id.in_(ids))
    known = {row.id: row.session for row in db.execute(query)}
    new = [each for each in judged if each.exchange.id not in known]
    saved = _save_new(db, recording, new, findings_due=findings_due) if new else Saved()
    return _with_known(db, saved, [each.exchange for each in judged], known) if known else saved


def _save_new(db: Connection, recording: RecordingRun, new: Sequence[Judged], *, findings_due: bool) -> Saved:
    fold = _Fold(db, recording)
    fold.load([each.exchange for each in new])
    rows, found = [], []
    for each in new:
        session = fold.add(each)
        rows.append(exchange_rows.to_row(each.exchange, recording_id=recording.id, session=session))
        found += [
            finding_rows.to_row(finding, session=session, exchange_id=each.exchange.id)
            for finding in each.findings or ()
        ]
        _keep_schema(db, each.exchange)
    begin(db, recording)
    keep_servers(db, [each.exchange for each in new])
    fold.write(findings_due=findings_due)
    db.execute(insert(ExchangeRow), rows)
    finding_rows.add(db, found)
    unjudged = [each.exchange.id for each in new if each.findings is None] if findings_due else []
    finding_rows.mark_unjudged(db, unjudged)
    return Saved(touched=fold.touched(), unjudged=unjudged)


def _with_known(db: Connection, saved: Saved, batch: Sequence[Exchange], known: Mapping[str, str | None]) -> Saved:
    """Add to what was saved those exchanges of the batch that were already stored, as if they had been saved now.

    Args:
        known: Ids of these exchanges, with our ids of their sessions.
    """
    touched = {each.session.id: each for each in saved.touched}
    others = {session for session in known.values() if session is not None and session not in touched}
    touched |= {each.id: Touched(session=each, exchanges=[]) for each in session_rows.get(db, sorted(others))}
    session_of = {exchange.id: each.session.id for each in saved.touched for exchange in each.exchanges} | dict(known)
    for each in touched.values():
        each.exchanges[:] = [exchange for exchange in batch if session_of.get(exchange.id) == each.session.id]
    waiting = {*saved.unjudged, *finding_rows.unjudged(db)}
    unjudged = [exchange.id for exchange in batch if exchange.id in waiting]
    return Saved(touched=list(touched.values()), unjudged=unjudged, known=known.keys())


def new_id() -> str:
    """Return a new id for a session, a recording or a run: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(slots=True)
class _Entry:
    """A session as the batch has changed it so far."""

    session: Session
    occurrence: int
    stored: bool
    exchanges: list[Exchange] = field(default_factory=list)


class _Fold:
    """The sessions that a batch changes: read once, folded in memory, written once."""

    def __init__(self, db: Connection, recording: RecordingRun) -> None:
        self._db = db
        self._recording = recording
        self._newest: dict[str, _Entry] = {}
        self._occurrences: dict[str, int] = {}
        self._touched: dict[str, _Entry] = {}

    def load(self, exchanges: Iterable[Exchange]) -> None:
        """Read the newest session of each back-end ID that the batch names."""
        keys = {session_key(exchange.upstream, session_id_of(exchange)) for exchange in exchanges} - {None}
        query = select(*session_rows.COLUMNS).where(SessionRow.session_key.in_(keys)).order_by(SessionRow.occurrence)
        for row in self._db.execute(query).mappings():
            self._occurrences[row["session_key"]] = row["occurrence"]
            if self._is_mine(row):
                self._newest[row["session_key"]] = _Entry(session_rows.from_row(row), row["occurrence"], stored=True)

    def _is_mine(self, row: RowMapping) -> bool:
        """Whether new exchanges may join a stored session: those of a file join no session that was not in it."""
        return not self._recording.is_import or row["recording_id"] == self._recording.id

    def _next_occurrence(self, key: str | None) -> int:
        if key is None:
            return 0
        self._occurrences[key] = self._occurrences.get(key, -1) + 1
        return self._occurrences[key]

    def add(self, judged: Judged) -> str | None:
        """Fold one exchange; return our id of its session, or None if it belongs to none."""
        exchange = judged.exchange
        match membership(exchange):
            case Membership.OPENS:
                entry = self._opened(exchange)
            case Membership.JOINS:
                entry = self._joined(exchange)
            case _:
                return None
        key = session_key(exchange.upstream, entry.session.session_id)
        if key is not None:
            self._newest[key] = entry
        is_new = entry.session.exchanges == 1
        entry.session = replace(
            entry.session,
            findings=entry.session.findings.plus(judged.findings or ()),
            # Not if another recorder stores parts of it as they are: then an export still has to replace them.
            pseudonymised=self._recording.pseudonymised and (is_new or entry.session.pseudonymised),
            has_holes=entry.session.has_holes or self._recording.has_holes,
        )
        entry.exchanges.append(exchange)
        self._touched[entry.session.id] = entry
        return entry.session.id

    def touched(self) -> list[Touched]:
        """Return all sessions that have changed."""
        return [Touched(session=entry.session, exchanges=entry.exchanges) for entry in self._touched.values()]

    def write(self, *, findings_due: bool) -> None:
        """Write all sessions that have changed."""
        due = {"findings_due": True} if findings_due else {}
        rows: dict[bool, list[dict[str, object]]] = {True: [], False: []}
        for entry in self._touched.values():
            rows[entry.stored].append({**session_rows.to_row(entry.session), **due, "occurrence": entry.occurrence})
        if rows[False]:
            self._db.execute(insert(SessionRow), [row | {"recording_id": self._recording.id} for row in rows[False]])
        if rows[True]:
            names = [name for name in rows[True][0] if name != "id"]
            table = SessionRow.__table__
            statement = update(table).where(table.c.id == bindparam("_id"))  # type: ignore[arg-type]
            statement = statement.values({name: bindparam(f"_{name}") for name in names})
            self._db.execute(statement, [{f"_{name}": value for name, value in row.items()} for row in rows[True]])

    def _opened(self, exchange: Exchange) -> _Entry:
        key = session_key(exchange.upstream, session_id_of(exchange))
        before = self._newest.get(key) if key else None
        if before is not None and not before.session.start_seen:
            # Its first events overtook the start or came through another recorder.
            before.session = folding.start_found(before.session, exchange, self._retry_of(exchange))
            return before
        session = folding.opened(
            exchange, id=new_id(), recording=self._recording.name, retry_of=self._retry_of(exchange)
        )
        return _Entry(session, self._next_occurrence(key), stored=False)

    def _joined(self, exchange: Exchange) -> _Entry:
        key = session_key(exchange.upstream, session_id_of(exchange))
        entry = self._newest.get(key or "")
        if entry is None:
            session = folding.begun_late(exchange, id=new_id(), recording=self._recording.name)
            return _Entry(session, self._next_occurrence(key), stored=False)
        entry.session = folding.joined(entry.session, exchange)
        return entry

    def _retry_of(self, exchange: Exchange) -> str | None:
        """Return our id of the first attempt to open the playback that this exchange opens again; None for none.

        An attempt that went on to report events did not fail; another device's start is another playback.
        """
        start_sha256 = folding.start_sha256(exchange)
        if start_sha256 is None:
            return None
        earliest = exchange.received_at - RETRY_WINDOW
        attempts = [
            (entry.session.started_at, entry.session.retry_of or entry.session.id)
            for entry in self._touched.values()
            if entry.session.start_sha256 == start_sha256
            and entry.session.upstream == exchange.upstream
            and earliest <= entry.session.started_at <= exchange.received_at
            and entry.session.events <= 1
            and entry.session.client_address == exchange.client_address
        ]
        query = (
            select(SessionRow.started_at, SessionRow.retry_of, SessionRow.id)
            .where(SessionRow.start_sha256 == start_sha256, SessionRow.upstream == exchange.upstream)
            .where(SessionRow.started_at.between(earliest, exchange.received_at))
            .where(SessionRow.events <= 1, SessionRow.client_address == exchange.client_address)
            .where(SessionRow.recording_id == self._recording.id if self._recording.is_import else true())
            .order_by(SessionRow.started_at.desc())
            .limit(1)
        )
        attempts += [(row.started_at, row.retry_of or row.id) for row in self._db.execute(query)]
        return max(attempts)[1] if attempts else None


def keep_servers(db: Connection, exchanges: Iterable[Exchange]) -> None:
    """Store the addresses that exchanges were sent to; nearly always they are stored already."""
    seen = {(e.upstream, *e.server_address) for e in exchanges if e.server_address is not None}
    for upstream, address, port in sorted(seen):
        same = (ServerRow.upstream == upstream, ServerRow.address == address, ServerRow.port == port)
        if db.execute(select(ServerRow.port).where(*same)).first() is None:
            db.execute(insert(ServerRow).values(upstream=upstream, address=address, port=port))


def _keep_schema(db: Connection, exchange: Exchange) -> None:
    """Store the schema in an answer of the schemas endpoint; a body that is no readable schema is not stored."""
    if exchange.route.operation is not Operation.SCHEMAS or not exchange.is_accepted or exchange.response is None:
        return
    event_type, body = exchange.route.event_type, exchange.response.body
    if exchange.response.status == 200 and event_type is not None and is_schema(body, event_type):
        schemas.keep(db, exchange.upstream, event_type, body, exchange.received_at)


def begin(db: Connection, recording: RecordingRun) -> None:
    """Add the recording's row with its first exchange; a recorder that saw nothing leaves no recording."""
    if db.execute(select(Recording.id).where(Recording.id == recording.id)).first() is None:
        db.execute(
            insert(Recording).values(
                id=recording.id,
                name=recording.name,
                started_at=recording.started_at,
                version=recording.version,
                checked=recording.checks,
                pseudonymised=recording.pseudonymised,
                imported_from=recording.imported_from,
                file_sha256=recording.file_sha256,
            )
        )
