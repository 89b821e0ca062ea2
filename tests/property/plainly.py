"""Storing exchanges in the plainest way there is, to compare the quick one with: each by itself, through SQLAlchemy.

It is slow and says what the rows have to be. Nothing here is shared with `storage.folding` or `storage.bulk`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from proxy_addon.core import sessions as core
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.routes import Operation
from proxy_addon.core.schemas import is_schema
from storage import exchanges, findings, sessions
from storage.models import ExchangeRow, FindingRow, LossRow, Recording, SchemaRow, ServerRow, SessionRow, UnjudgedRow
from storage.saving import Judged, RecordingRun

SESSIONS: Table = SessionRow.__table__  # type: ignore[assignment]


def save(
    db: Connection, run: RecordingRun, judged: Sequence[Judged], new_id: Callable[[], str], *, findings_due: bool
) -> None:
    for each in judged:
        if db.execute(select(ExchangeRow.id).where(ExchangeRow.id == each.exchange.id)).first() is None:
            _save(db, run, each, new_id, findings_due=findings_due)


def _save(db: Connection, run: RecordingRun, judged: Judged, new_id: Callable[[], str], *, findings_due: bool) -> None:
    exchange, found = judged.exchange, judged.findings or ()
    _keep_what_is_beside(db, run, exchange)
    session = _fold(db, run, judged, new_id, findings_due=findings_due)
    db.execute(insert(ExchangeRow).values(exchanges.to_row(exchange, recording_id=run.id, session=session)))
    for finding in found:
        db.execute(insert(FindingRow).values(findings.to_row(finding, session=session, exchange_id=exchange.id)))
    if findings_due and judged.findings is None:
        db.execute(insert(UnjudgedRow).values(exchange_id=exchange.id))


def _fold(
    db: Connection, run: RecordingRun, judged: Judged, new_id: Callable[[], str], *, findings_due: bool
) -> str | None:
    exchange = judged.exchange
    place = core.membership(exchange)
    if place is core.Membership.NONE:
        return None
    key = sessions.session_key(exchange.upstream, core.session_id_of(exchange))
    rows = db.execute(select(SESSIONS).where(SESSIONS.c.session_key == key).order_by(SESSIONS.c.occurrence.desc()))
    all_of_them = rows.mappings().all() if key is not None else []
    newest = all_of_them[0] if all_of_them else None
    # An import goes on with its own session, whatever another one has stored of the same ID in between.
    mine = next((row for row in all_of_them if not run.is_import or row["recording_id"] == run.id), None)
    before = sessions.from_row(mine) if mine is not None else None
    if place is core.Membership.OPENS and (before is None or before.start_seen):
        before = None
        session = core.opened(exchange, id=new_id(), recording=run.name, retry_of=_retry_of(db, run, exchange))
    elif place is core.Membership.OPENS:
        assert before is not None
        session = core.start_found(before, exchange, _retry_of(db, run, exchange))
    elif before is None:
        session = core.begun_late(exchange, id=new_id(), recording=run.name)
    else:
        session = core.joined(before, exchange)
    session = replace(
        session,
        findings=session.findings.plus(judged.findings or ()),
        pseudonymised=run.pseudonymised and (session.exchanges == 1 or session.pseudonymised),
        has_holes=session.has_holes or run.has_holes,
    )
    due = {"findings_due": True} if findings_due else {}
    if before is not None:
        db.execute(update(SESSIONS).where(SESSIONS.c.id == session.id).values(_changing(session) | due))
        return session.id
    waiting = (LossRow.session_key == key, LossRow.session.is_(None))
    lost = 0 if run.is_import else db.execute(select(func.count()).where(*waiting)).scalar_one()
    if lost:
        session = replace(session, lost=lost, has_holes=True)
    occurrence = 0 if newest is None else newest["occurrence"] + 1
    own = {"recording_id": run.id, "occurrence": occurrence}
    db.execute(insert(SESSIONS).values(sessions.to_row(session) | due | own))
    if lost:
        db.execute(update(LossRow).where(*waiting).values(session=session.id))
    return session.id


def _changing(session: core.Session) -> dict[str, Any]:
    """Return the columns of a session that is stored, but for its names: their text may have been cut when it was."""
    names = {"recording", "upstream", "session_id", "session_prefix", "session_key"}
    return {name: value for name, value in sessions.to_row(session).items() if name not in names}


def _retry_of(db: Connection, run: RecordingRun, exchange: Exchange) -> str | None:
    sha256 = core.start_sha256(exchange)
    if sha256 is None:
        return None
    began = SESSIONS.c.started_at.between(exchange.received_at - timedelta(seconds=65), exchange.received_at)
    query = select(SESSIONS.c.retry_of, SESSIONS.c.id).where(SESSIONS.c.start_sha256 == sha256, began)
    query = query.where(SESSIONS.c.upstream == exchange.upstream, SESSIONS.c.events <= 1)
    query = query.where(SESSIONS.c.client_address == exchange.client_address)  # None becomes IS NULL
    if run.is_import:
        query = query.where(SESSIONS.c.recording_id == run.id)
    row = db.execute(query.order_by(SESSIONS.c.started_at.desc(), SESSIONS.c.id.desc())).first()
    return None if row is None else row.retry_of or row.id


def _keep_what_is_beside(db: Connection, run: RecordingRun, exchange: Exchange) -> None:
    if db.execute(select(Recording.id).where(Recording.id == run.id)).first() is None:
        db.execute(
            insert(Recording).values(
                id=run.id,
                name=run.name,
                started_at=run.started_at,
                version=run.version,
                checked=run.checks,
                pseudonymised=run.pseudonymised,
                imported_from=run.imported_from,
                file_sha256=run.file_sha256,
            )
        )
    if exchange.server_address is not None:
        address, port = exchange.server_address
        server = {"upstream": exchange.upstream, "address": address, "port": port}
        if db.execute(select(ServerRow.port).filter_by(**server)).first() is None:
            db.execute(insert(ServerRow).values(server))
    route, response = exchange.route, exchange.response
    if route.operation is Operation.SCHEMAS and exchange.is_accepted and response is not None:
        assert route.event_type is not None
        if response.status == 200 and response.whole is None and is_schema(response.body, route.event_type):
            same = {"upstream": exchange.upstream, "event_type": route.event_type, "sha256": response.body_sha256}
            seen = db.execute(select(SchemaRow.last_seen_at).filter_by(**same)).scalar()
            at = exchange.received_at
            if seen is None:
                row = {**same, "body": response.body, "first_seen_at": at, "last_seen_at": at}
                db.execute(insert(SchemaRow).values(row))
            elif at > seen:
                db.execute(update(SchemaRow).filter_by(**same).values(last_seen_at=at))
