"""The JSON documents that commands print. People's scripts read them, so names here must not change."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy_addon.core.books import Loss
from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Headers
from proxy_addon.core.findings import Finding, Holes, Verdict
from proxy_addon.core.jsonforms import body_document, iso
from proxy_addon.core.replays.aligning import Pair
from proxy_addon.core.replays.altered import told
from proxy_addon.core.replays.runs import Difference, Percentiles, RunChange, RunSummary, Sent, SessionRun, Step
from proxy_addon.core.rules import Rule
from proxy_addon.core.schemas import StoredSchema
from proxy_addon.core.sessions import AsOf, Session

Document = dict[str, Any]
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


_HERE = "the list comes here"


def json_list(head: Document, name: str, items: Iterable[Document], tail: Document) -> Iterator[str]:
    """Yield, in pieces, a JSON document with a long list between ``head`` and ``tail``, indented by two."""
    frame = json.dumps({**head, name: [_HERE], **tail}, indent=2)
    before, _, after = frame.partition(f"\n    {json.dumps(_HERE)}\n  ")
    yield before
    separator = "\n"
    for item in items:
        yield separator + textwrap.indent(json.dumps(item, indent=2), "    ")
        separator = ",\n"
    yield after if separator == "\n" else f"\n  {after}"


def lasted_s(session: Session) -> float:
    """Return the seconds from a session's first to its last event, by the recorder's clock."""
    return round((session.last_event_at - session.started_at).total_seconds(), 3)


def session_document(session: Session, as_of: AsOf) -> Document:
    """Return what is known of a session by itself."""
    counts = session.finding_counts(as_of)
    return {
        "id": session.id,
        "session_id": session.session_id,
        "retry_of": session.retry_of,
        "upstream": session.upstream,
        "recording": session.recording,
        "started_at": iso(session.started_at),
        "last_event_at": iso(session.last_event_at),
        "state": session.state(as_of).value,
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
        "has_holes": session.has_holes,
        "pseudonymised": session.pseudonymised,
        "lost": session.lost,
        "not_accepted": session.not_accepted,
        "findings": {"error": counts.error, "warning": counts.warning, "info": counts.info},
    }


def listed_document(session: Session, as_of: AsOf, gaps: Iterable[Loss]) -> Document:
    """Return a session as listed by ``sessions --json``.

    Args:
        gaps: What was lost of it, by time of arrival.
    """
    lost = [
        {"received_at": iso(loss.received_at), "method": loss.method, "path": loss.path, "reason": loss.reason}
        for loss in gaps
    ]
    return {**session_document(session, as_of), "gaps": lost}


def exchange_documents(exchanges: Iterable[Exchange], verdicts: Mapping[str, Verdict]) -> Iterable[Document]:
    """Return exchanges, numbered from 1 in the order given.

    Args:
        verdicts: The findings of exchanges, by exchange id.
    """
    return (
        exchange_document(exchange, seq, verdicts.get(exchange.id, ())) for seq, exchange in enumerate(exchanges, 1)
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
        "places": [{"seq": place.seq, "pointer": place.pointer} for place in finding.places],
        "until_seq": finding.until_seq,
        "lowered_by": finding.lowered_by,
        "authority": finding.authority,
    }


def holes_document(holes: Holes | None) -> Document | None:
    """Return what could not be judged, as in ``show --json`` and ``check --json``; None if everything was."""
    if holes is None:
        return None
    return {
        "missing_bodies": holes.bodies,
        "truncated_bodies": holes.truncated,
        "lost_requests": holes.lost,
        "requests": holes.requests,
        "rules_not_applied": list(holes.rules),
    }


def exchange_document(exchange: Exchange, seq: int, verdict: Verdict) -> Document:
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
        "received_us": (exchange.received_at - _EPOCH) // _MICROSECOND,
        "duration_ms": None if exchange.duration_us is None else exchange.duration_us / 1000,
        "outcome": exchange.outcome.value,
        "reason": exchange.reason,
        "note": exchange.note,
        "upstream": exchange.upstream,
        "client_address": exchange.client_address,
        "request": {
            "method": request.method,
            "path": request.path,
            "http_version": request.http_version,
            "headers": _headers(request.headers),
            "body": body_document(request.body, request.whole),
            "body_sha256": request.body_sha256,
            "complete": request.complete,
            "body_state": request.body_state.value,
        },
        "response": None
        if response is None
        else {
            "status": response.status,
            "reason_phrase": response.reason,
            "http_version": response.http_version,
            "headers": _headers(response.headers),
            "body": body_document(response.body, response.whole),
            "body_sha256": response.body_sha256,
        },
        "findings": [finding_document(replace(finding, seq=seq)) for finding in verdict or ()],
        "findings_due": verdict is None,
    }


def _event_document(event: Event) -> Document:
    return {"event_type": event.type, "playhead_s": event.playhead_s, "ts_ms": event.ts_ms}


def _headers(headers: Headers) -> list[list[str]]:
    return [[name, value] for name, value in headers]


def run_text(of: RunSummary, sessions: Iterable[SessionRun]) -> Iterator[str]:
    """Yield a run as printed by ``replay --json`` and ``runs RUN --json``, in pieces because it may be large."""
    head, totals, drift_ms, latency_ms = _run_parts(of)
    return json_list(head, "sessions", map(_session_run, sessions), {**totals, **drift_ms, **latency_ms})


def summary_document(of: RunSummary) -> Document:
    """Return a run as listed by ``runs --json``: the document of a run without its sessions."""
    head, *rest = _run_parts(of)
    for part in rest:
        head |= part
    return head


def _run_parts(of: RunSummary) -> tuple[Document, Document, Document, Document]:
    run = of.run
    head = {
        "id": run.id,
        "target": run.target,
        "started_at": iso(run.started_at),
        "finished_at": None if run.finished_at is None else iso(run.finished_at),
        "speed": _speed(run.speed),
        "timestamps": run.timestamps,
        "verdict": of.verdict.value,
        "exit_code": run.exit_code,
        "changes": [change_document(each) for each in of.changes],
    }
    return (
        head,
        {"totals": asdict(of.totals)},
        {"drift_ms": _percentiles(of.drift_ms)},
        {"latency_ms": _percentiles(of.latency_ms)},
    )


def change_document(change: RunChange) -> Document:
    """Return a change of a run; members that its kind does not have are null."""
    made = told(change.change)
    names = ("do", "path", "name", "value", "only")
    return {"option": change.option, **{name: made.get(name) for name in names}, "places": change.places}


def _speed(speed: str) -> str | int | float:
    if speed == "max":
        return speed
    return int(speed) if speed.isdigit() else float(speed)


def _percentiles(values: Percentiles) -> Document:
    return {name: _rounded(value) for name, value in asdict(values).items()}


def _session_run(session: SessionRun) -> Document:
    return {
        "source": session.source,
        "session_id": session.session_id,
        "new_session_id": session.new_session_id,
        "verdict": session.verdict.value,
        "reason": session.reason,
        "steps": [_step_document(step) for step in session.steps],
    }


def _step_document(step: Step) -> Document:
    return {
        "seq": step.seq,
        "event_type": step.event_type,
        "outcome": step.outcome.value,
        "reason": step.reason,
        "recorded_status": step.recorded_status,
        "status": step.status,
        "sent_at": None if step.sent_at is None else iso(step.sent_at),
        "drift_ms": _rounded(step.drift_ms),
        "latency_ms": _rounded(step.latency_ms),
        "differences": [difference_document(each, "recorded", "replayed") for each in step.differences],
        "sent": None if step.sent is None else _sent(step.sent),
    }


def _sent(sent: Sent) -> Document:
    return {
        "body_sha256": sent.body_sha256,
        "differences": [difference_document(each, "recorded", "sent") for each in sent.differences],
    }


def _rounded(value_ms: float | None) -> float | None:
    """Return milliseconds rounded to microseconds; more digits are noise."""
    return None if value_ms is None else round(value_ms, 3)


def difference_document(difference: Difference, a: str, b: str) -> Document:
    """Return a difference, with its two sides under the given names."""
    return {"where": difference.where, a: difference.a, b: difference.b}


def pair_document(pair: Pair) -> Document:
    """Return a pair of events, as in ``diff --json``."""
    either = pair.a or pair.b
    return {
        "a": None if pair.a is None else pair.a.seq,
        "b": None if pair.b is None else pair.b.seq,
        "pointer_a": None if pair.a is None else pair.a.pointer,
        "pointer_b": None if pair.b is None else pair.b.pointer,
        "kind": pair.kind.value,
        "event_type": None if either is None else either.event_type,
        "differences": [difference_document(each, "a", "b") for each in pair.differences],
    }


def rule_document(rule: Rule) -> Document:
    """Return a rule as listed by ``rules --json``."""
    return {"rule": rule.id, "severity": rule.severity.value, "summary": rule.summary}


def schema_document(schema: StoredSchema) -> Document:
    """Return a version of a schema as listed by ``schemas list --json``."""
    return {
        "upstream": schema.upstream,
        "event_type": schema.event_type,
        "version": schema.sha256,
        "bytes": len(schema.body),
        "first_seen_at": iso(schema.first_seen_at),
        "last_seen_at": iso(schema.last_seen_at),
    }
