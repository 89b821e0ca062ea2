"""Exchanges in the store: those of a session, those without one, and their conversion to rows and back."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, func, select

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import BodyState, Exchange, Outcome, Request, Response, Whole, header
from proxy_addon.core.frozen import made
from storage import bulk
from storage.filters import Filters
from storage.matching import holding
from storage.models import ExchangeRow, FindingRow, Recording
from storage.streaming import rows_of

_TABLE: Table = ExchangeRow.__table__  # type: ignore[assignment]
_READ_AT_ONCE = 200


def to_row(exchange: Exchange, *, recording_id: str, session: str | None) -> dict[str, Any]:
    """Return the row of an exchange.

    Args:
        session: Our id of its session; None if it belongs to none.
    """
    request, response = exchange.request, exchange.response
    body = request.reading
    event = Event() if body.is_batch or not body.events else body.events[0]
    return {
        "id": exchange.id,
        "recording_id": recording_id,
        "session": session,
        "upstream": exchange.upstream,
        "operation": exchange.route.operation.value,
        "outcome": exchange.outcome.value,
        "received_at": exchange.received_at,
        "duration_us": exchange.duration_us,
        "client_address": exchange.client_address,
        "user_agent": header(request.headers, "user-agent"),
        "event_type": event.type,
        "playhead_s": event.playhead_s,
        "ts_ms": event.ts_ms,
        "method": request.method,
        "path": request.path,
        "request_version": request.http_version,
        "request_headers": request.headers,
        "request_body": request.body,
        "request_sha256": request.body_sha256,
        "request_complete": request.complete,
        "body_state": request.body_state.value,
        "request_length": request.whole and request.whole.length,
        "status": response and response.status,
        "reason": response and response.reason,
        "response_version": response and response.http_version,
        "response_headers": response and response.headers,
        "response_body": response and response.body,
        "response_sha256": response and response.body_sha256,
        "response_length": response and response.whole and response.whole.length,
        "why": exchange.reason,
        "note": exchange.note,
    }


def add(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store rows that `to_row` made."""
    bulk.of(db).insert(_TABLE, rows)


def count_of_recording(db: Connection, recording_id: str) -> int:
    """Return how many exchanges one run of a recorder has stored."""
    query = select(func.count()).where(ExchangeRow.recording_id == recording_id)
    return int(db.execute(query).scalar_one())


_TOLD = ("id", "upstream", "received_at", "duration_us", "client_address", "outcome", "why", "note")
_ASKED = ("method", "path", "request_version", "request_headers", "request_body", "request_complete", "body_state",
          "request_length", "request_sha256")  # fmt: skip
_ANSWERED = (
    "status",
    "reason",
    "response_version",
    "response_headers",
    "response_body",
    "response_length",
    "response_sha256",
)
COLUMNS = tuple(ExchangeRow.__table__.c[name] for name in (*_TOLD, *_ASKED, *_ANSWERED))
"""What `from_row` needs of a row, in its order."""


_OUTCOMES: dict[str, Outcome] = {each.value: each for each in Outcome}
_BODY_STATES: dict[str, BodyState] = {each.value: each for each in BodyState}


def from_row(row: Row[Any]) -> Exchange:
    """Return the exchange in a row of `COLUMNS`."""
    values: Sequence[Any] = row  # by position, which is faster than by name: thousands of rows are read per second
    (id, upstream, received_at, duration_us, client_address, outcome, why, note,
     method, path, request_version, request_headers, request_body, complete, body_state, request_length, request_sha256,
     status, reason, response_version, response_headers, response_body, response_length, response_sha256,
    ) = values  # fmt: skip
    return made(
        Exchange,
        id=id,
        upstream=upstream,
        received_at=received_at,
        duration_us=duration_us,
        client_address=client_address,
        server_address=None,
        outcome=_OUTCOMES[outcome],
        reason=why,
        note=note,
        request=made(
            Request,
            method=method,
            path=path,
            http_version=request_version,
            headers=request_headers,
            body=request_body,
            complete=complete,
            body_state=_BODY_STATES[body_state],
            whole=None if request_length is None else Whole(request_length, request_sha256),
        ),
        response=None
        if status is None
        else made(
            Response,
            status=status,
            reason=reason,
            http_version=response_version,
            headers=response_headers,
            body=response_body,
            whole=None if response_length is None else Whole(response_length, response_sha256),
        ),
    )


def of_session(db: Connection, id: str) -> Generator[Exchange]:
    """Yield the exchanges of a session by time of arrival, reading rows as they are consumed.

    Args:
        id: Our id of the session.
    """
    with rows_of(db, _OF_SESSION, {"session": id}) as rows:
        for row in rows:
            yield from_row(row)


_OF_SESSION = (
    select(*COLUMNS)
    .where(ExchangeRow.session == bindparam("session"))
    .order_by(ExchangeRow.received_at, ExchangeRow.id)
    .execution_options(yield_per=_READ_AT_ONCE)
)
"""Made once, because making it takes longer than reading a short session with it."""


def keys_of_session(db: Connection, id: str) -> list[tuple[datetime, str]]:
    """Return the time of arrival and the id of each exchange of a session, sorted by both.

    Args:
        id: Our id of the session.
    """
    columns = (ExchangeRow.received_at, ExchangeRow.id)
    return [
        (row.received_at, row.id)
        for row in db.execute(select(*columns).where(ExchangeRow.session == id).order_by(*columns))
    ]


def get(db: Connection, ids: Sequence[str]) -> Generator[Exchange]:
    """Yield the exchanges that have one of these ids, in the order of the ids; those that are not stored are passed over."""
    for some in batched(ids, _READ_AT_ONCE):
        rows = {row.id: row for row in db.execute(select(*COLUMNS).where(ExchangeRow.id.in_(some)))}
        yield from (from_row(rows[id]) for id in some if id in rows)


def of_none(db: Connection, filters: Filters, *, limit: int | None = None) -> list[Exchange]:
    """Return the exchanges that belong to no session, by time of arrival; with a limit, the newest ones."""
    wanted = _outside(db, filters)
    if wanted is None:
        return []
    newest_first = (ExchangeRow.received_at.desc(), ExchangeRow.id.desc())
    query = select(*COLUMNS).where(*wanted).order_by(*newest_first).limit(limit)
    return [from_row(row) for row in reversed(db.execute(query).all())]


def number_found_outside(db: Connection, filters: Filters, rules: Collection[str]) -> int:
    """Return how many exchanges that belong to no session have a stored finding of one of these rules."""
    wanted = _outside(db, filters)
    if wanted is None:
        return 0
    found = select(FindingRow.exchange_id).where(FindingRow.session.is_(None), FindingRow.rule.in_(rules))
    query = select(func.count()).select_from(ExchangeRow).where(*wanted, ExchangeRow.id.in_(found))
    return int(db.execute(query).scalar_one())


def _outside(db: Connection, filters: Filters) -> list[ColumnElement[bool]] | None:
    """Return the conditions that the row of an exchange without a session has to meet; None if no row can."""
    if filters.concern_sessions_alone:
        return None
    wanted: list[ColumnElement[bool]] = [ExchangeRow.session.is_(None)]
    if filters.name is not None:
        wanted.append(ExchangeRow.recording_id.in_(select(Recording.id).where(Recording.name == filters.name)))
    if filters.since is not None:
        wanted.append(ExchangeRow.received_at >= filters.since)
    if filters.until is not None:
        wanted.append(ExchangeRow.received_at < filters.until)
    if filters.with_findings:
        wanted.append(ExchangeRow.id.in_(select(FindingRow.exchange_id).where(FindingRow.session.is_(None))))
    if filters.user_agent is not None:
        matching = holding(db, filters.user_agent, (ExchangeRow.user_agent,))
        if not matching:
            return None
        wanted += matching
    return wanted
