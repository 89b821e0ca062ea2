"""Store exchanges, folding them into sessions."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exc, insert, select

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Verdict
from proxy_addon.core.routes import Operation
from proxy_addon.core.schemas import is_schema
from proxy_addon.core.wording import visible
from storage import bulk, schemas
from storage import exchanges as exchange_rows
from storage import findings as finding_rows
from storage import sessions as session_rows
from storage.engine import Store
from storage.folding import Fold, Into, Touched, new_id
from storage.models import Recording, ServerRow
from storage.rows import Row

__all__ = ["Judged", "RecordingRun", "Saved", "Touched", "begin", "keep_servers", "new_id", "save", "save_batch"]

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

    @property
    def into(self) -> Into:
        """What folding has to know of it."""
        return Into(
            id=self.id,
            name=self.name,
            is_import=self.is_import,
            pseudonymised=self.pseudonymised,
            has_holes=self.has_holes,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """An exchange and its own findings; None if it still has to be judged."""

    exchange: Exchange
    findings: Verdict = None


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
    known = bulk.of(db).sessions_of([each.exchange.id for each in judged])
    new = [each for each in judged if each.exchange.id not in known]
    saved = _save_new(db, recording, new, findings_due=findings_due) if new else Saved()
    return _with_known(db, saved, [each.exchange for each in judged], known) if known else saved


def _save_new(db: Connection, recording: RecordingRun, new: Sequence[Judged], *, findings_due: bool) -> Saved:
    fold = Fold(db, recording.into, [each.exchange for each in new])
    rows: list[Row] = []
    found: list[Row] = []
    for exchange, findings in ((each.exchange, each.findings or ()) for each in new):
        session = fold.add(exchange, findings)
        rows.append(exchange_rows.to_row(exchange, recording_id=recording.id, session=session))
        if findings:
            found += [finding_rows.to_row(each, session=session, exchange_id=exchange.id) for each in findings]
        if exchange.route.operation is Operation.SCHEMAS:
            _keep_schema(db, exchange)
    begin(db, recording)
    keep_servers(db, [each.exchange for each in new])
    fold.write(findings_due=findings_due)
    exchange_rows.add(db, rows)
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
        each.exchanges.clear()
    for exchange in batch:
        session = session_of.get(exchange.id)
        if session is not None:
            touched[session].exchanges.append(exchange)
    waiting = {*saved.unjudged, *finding_rows.unjudged(db)}
    unjudged = [exchange.id for exchange in batch if exchange.id in waiting]
    return Saved(touched=list(touched.values()), unjudged=unjudged, known=known.keys())


def keep_servers(db: Connection, exchanges: Iterable[Exchange]) -> None:
    """Store the addresses that exchanges were sent to; nearly always they are stored already."""
    seen = {(e.upstream, *e.server_address) for e in exchanges if e.server_address is not None}
    for upstream, address, port in sorted(seen):
        same = (ServerRow.upstream == upstream, ServerRow.address == address, ServerRow.port == port)
        if db.execute(select(ServerRow.port).where(*same)).first() is None:
            db.execute(insert(ServerRow).values(upstream=upstream, address=address, port=port))


def _keep_schema(db: Connection, exchange: Exchange) -> None:
    """Store the schema in an answer of the schemas endpoint; a body that is no readable schema is not stored."""
    event_type, response = exchange.route.event_type, exchange.response
    if event_type is None or response is None or response.status != 200 or not exchange.is_accepted:
        return
    if response.whole is not None:  # only its beginning is stored
        return
    if is_schema(response.body, event_type):
        schemas.keep(db, exchange.upstream, event_type, response.body, exchange.received_at)


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
