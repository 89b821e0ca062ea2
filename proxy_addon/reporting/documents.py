"""The JSON documents that commands print; people script against them, so a name here is a promise."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Headers
from proxy_addon.core.findings import Finding
from proxy_addon.core.sessions import FindingCounts, Session

Document = dict[str, Any]


def print_json(document: object) -> None:
    """Print one document on stdout."""
    click.echo(json.dumps(document, indent=2))


def print_pieces(pieces: Iterable[str]) -> None:
    """Print a document that comes in pieces on stdout."""
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()


_HERE = "the list comes here"


def json_list(head: Document, name: str, items: Iterable[Document], tail: Document) -> Iterator[str]:
    """Yield a JSON document with a long list in it, piece by piece, indented as `print_json` does."""
    frame = json.dumps({**head, name: [_HERE], **tail}, indent=2)
    before, _, after = frame.partition(f"\n    {json.dumps(_HERE)}\n  ")
    yield before
    separator = "\n"
    for item in items:
        yield separator + textwrap.indent(json.dumps(item, indent=2), "    ")
        separator = ",\n"
    yield after if separator == "\n" else f"\n  {after}"


def iso(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def session_document(session: Session, now: datetime, unclosed: FindingCounts) -> Document:
    """Return a session as listed by ``sessions --json``.

    Args:
        unclosed: See `Session.finding_counts`.
    """
    counts = session.finding_counts(now, unclosed)
    return {
        "id": session.id,
        "session_id": session.session_id,
        "retry_of": session.retry_of,
        "upstream": session.upstream,
        "recording": session.recording,
        "started_at": iso(session.started_at),
        "last_event_at": iso(session.last_event_at),
        "state": session.state(now).value,
        "player_name": session.player_name,
        "media_id": session.media_id,
        "media_name": session.media_name,
        "content_type": session.content_type,
        "app_version": session.app_version,
        "library_version": session.library_version,
        "user_agent": session.user_agent,
        "client_address": session.client_address,
        "exchanges": session.exchanges,
        "events": session.events,
        "findings": {"error": counts.error, "warning": counts.warning, "info": counts.info},
    }


def exchange_documents(exchanges: Iterable[Exchange], findings: Mapping[str, Sequence[Finding]]) -> Iterable[Document]:
    """Return exchanges, numbered from 1 in the order given.

    Args:
        findings: Those of each exchange, by its id.
    """
    return (
        exchange_document(exchange, seq, findings.get(exchange.id, ())) for seq, exchange in enumerate(exchanges, 1)
    )


def finding_document(finding: Finding) -> Document:
    """Return a finding, as in ``show --json`` and ``check --json``."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "pointer": finding.pointer,
        "seq": finding.seq,
        "count": finding.count,
        "lowered_by": finding.lowered_by,
        "authority": finding.authority,
    }


def exchange_document(exchange: Exchange, seq: int, findings: Iterable[Finding]) -> Document:
    """Return one exchange, as in ``show --json``."""
    body = exchange.request.reading
    event = Event() if body.is_batch or not body.events else body.events[0]
    request, response = exchange.request, exchange.response
    return {
        "seq": seq,
        "operation": exchange.route.operation.value,
        "event_type": event.type,
        "playhead_s": event.playhead_s,
        "ts_ms": event.ts_ms,
        "batch": [_event_document(event) for event in body.events] if body.is_batch else None,
        "received_at": iso(exchange.received_at),
        "duration_ms": None if exchange.duration_us is None else exchange.duration_us / 1000,
        "outcome": exchange.outcome.value,
        "upstream": exchange.upstream,
        "request": {
            "method": request.method,
            "path": request.path,
            "http_version": request.http_version,
            "headers": _headers(request.headers),
            "body": body_document(request.body),
            "body_sha256": request.body_sha256,
            "complete": request.complete,
        },
        "response": None
        if response is None
        else {
            "status": response.status,
            "http_version": response.http_version,
            "headers": _headers(response.headers),
            "body": body_document(response.body),
            "body_sha256": response.body_sha256,
        },
        "findings": [finding_document(replace(finding, seq=seq)) for finding in findings],
    }


def body_document(body: bytes) -> Document:
    """Return a body as text where it survives the round trip, else as base64."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _event_document(event: Event) -> Document:
    return {"event_type": event.type, "playhead_s": event.playhead_s, "ts_ms": event.ts_ms}


def _headers(headers: Headers) -> list[list[str]]:
    return [[name, value] for name, value in headers]
