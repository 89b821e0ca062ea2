"""Values for tests. Everything has a default, times count from `BEGIN`, nothing is random."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy_addon.core.exchange import Exchange, Headers, Outcome, Request, Response
from proxy_addon.core.sessions import FindingCounts, Session
from storage.saving import Judged

BEGIN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEGIN_MS = 1_772_366_400_000
UPSTREAM = "https://upstream.example"
SESSION_ID = "bfcca2ca597a3c71bc03b4ce357833ad02b3570d262ecd0c595fcf8f2ae4df58"
OTHER_SESSION_ID = "0f" * 32
JSON_HEADERS: Headers = (("Content-Type", "application/json"), ("User-Agent", "TestPlayer/1.0"))

START_PARAMS: Mapping[str, Any] = {
    "analytics.trackingServer": "example.data.adobedc.net",
    "analytics.reportSuite": "example-rsid",
    "visitor.marketingCloudOrgId": "0123456789ABCDEF01234567@AdobeOrg",
    "media.id": "video-123",
    "media.name": "A film",
    "media.length": 3600,
    "media.contentType": "vod",
    "media.streamType": "video",
    "media.playerName": "HTML5 Player",
    "media.channel": "Sports",
    "media.sdkVersion": "app-1.2",
    "media.libraryVersion": "js-3.1.0",
}
"""All that a ``sessionStart`` must have, and what a session takes from it."""


def at(after_s: float = 0) -> datetime:
    """Return the time a number of seconds after `BEGIN`."""
    return BEGIN + timedelta(seconds=after_s)


def event_dict(
    event_type: str | None = "play",
    *,
    playhead: float | None = 0,
    ts: int | None = BEGIN_MS,
    params: Mapping[str, Any] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """Return a decoded event; what is None is left out, except that a ``sessionStart`` gets `START_PARAMS`."""
    if params is None and event_type == "sessionStart":
        params = START_PARAMS
    time = {"playhead": playhead, "ts": ts}
    event: dict[str, Any] = {
        "eventType": event_type,
        "playerTime": {key: value for key, value in time.items() if value is not None},
        "params": None if params is None else dict(params),
        **members,
    }
    return {key: value for key, value in event.items() if value is not None}


def body(value: object) -> bytes:
    """Return a value as the JSON text a device would send."""
    return json.dumps(value, separators=(",", ":")).encode()


def request(
    method: str = "POST",
    path: str = "/api/v1/sessions",
    *,
    headers: Headers = JSON_HEADERS,
    body: bytes = b"",
    http_version: str = "HTTP/1.1",
    complete: bool = True,
) -> Request:
    """Return what a device sent."""
    return Request(method=method, path=path, headers=headers, body=body, http_version=http_version, complete=complete)


def response(
    status: int = 204,
    *,
    location: str | None = None,
    headers: Headers = (),
    body: bytes = b"",
) -> Response:
    """Return what upstream answered; a ``location`` goes in front of the headers."""
    if location is not None:
        headers = (("Location", location), *headers)
    return Response(status=status, headers=headers, body=body)


_NO_CONTENT = Response(status=204)


def exchange(
    method: str = "POST",
    path: str = "/api/v1/sessions",
    *,
    id: str = "x1",
    after_s: float = 0,
    upstream: str = UPSTREAM,
    headers: Headers = JSON_HEADERS,
    body: bytes = b"",
    complete: bool = True,
    response: Response | None = _NO_CONTENT,
    outcome: Outcome = Outcome.ANSWERED,
    duration_us: int | None = 12_000,
    client_address: str | None = "192.0.2.7",
    server_address: tuple[str, int] | None = None,
) -> Exchange:
    """Return a round trip that began some seconds after `BEGIN`; answered with 204 unless told otherwise."""
    return Exchange(
        id=id,
        upstream=upstream,
        received_at=at(after_s),
        request=request(method, path, headers=headers, body=body, complete=complete),
        duration_us=duration_us if response is not None else None,
        client_address=client_address,
        server_address=server_address,
        outcome=outcome,
        response=response,
    )


def start(
    *,
    session_id: str | None = SESSION_ID,
    playhead: float | None = 0,
    ts: int | None = None,
    params: Mapping[str, Any] | None = None,
    after_s: float = 0,
    body: bytes | None = None,
    response: Response | None = None,
    path: str = "/api/v1/sessions",
    **overrides: Any,
) -> Exchange:
    """Return the start of a session, answered with 201 and a ``Location``.

    Args:
        session_id: The ID upstream gives; None for an answer without ``Location``.
        ts: By default that of its arrival.
        body: In place of the ``sessionStart``.
        response: In place of the 201; to have none, give another ``outcome``.
        **overrides: Further arguments of `exchange`.
    """
    if response is None and overrides.get("outcome", Outcome.ANSWERED) is Outcome.ANSWERED:
        location = None if session_id is None else f"/api/v1/sessions/{session_id}"
        response = _created(location)
    if body is None:
        body = _body_of(event_dict("sessionStart", playhead=playhead, ts=_ts(ts, after_s), params=params))
    return exchange("POST", path, after_s=after_s, body=body, response=response, **overrides)


def event(
    event_type: str | None = "play",
    *,
    session_id: str = SESSION_ID,
    playhead: float | None = 0,
    ts: int | None = None,
    params: Mapping[str, Any] | None = None,
    after_s: float = 1,
    body: bytes | None = None,
    **overrides: Any,
) -> Exchange:
    """Return one event of a session, answered with 204; arguments as for `start`."""
    if body is None:
        body = _body_of(event_dict(event_type, playhead=playhead, ts=_ts(ts, after_s), params=params))
    return exchange("POST", f"/api/v1/sessions/{session_id}/events", after_s=after_s, body=body, **overrides)


def batch(
    events: Iterable[Mapping[str, Any]], *, path: str = "/api/v1/downloaded", status: int = 201, **overrides: Any
) -> Exchange:
    """Return a downloaded playback, answered without a ``Location``."""
    return exchange("POST", path, body=_body_of(list(events)), response=response(status), **overrides)


def preflight(*, session_id: str | None = SESSION_ID, **overrides: Any) -> Exchange:
    """Return a browser's OPTIONS before an event, or before a start where there is no ID."""
    path = "/api/v1/sessions" if session_id is None else f"/api/v1/sessions/{session_id}/events"
    return exchange("OPTIONS", path, response=response(200), **overrides)


def session(**overrides: Any) -> Session:
    """Return an open session with a start and nothing after it."""
    values: dict[str, Any] = {
        "id": "s1",
        "upstream": UPSTREAM,
        "session_id": SESSION_ID,
        "started_at": BEGIN,
        "last_event_at": BEGIN,
        "playhead_moved_at": BEGIN,
        "playhead_s": 0.0,
        "start_seen": True,
        "player_name": "HTML5 Player",
        "media_id": "video-123",
        "media_name": "A film",
        "content_type": "vod",
        "app_version": "app-1.2",
        "library_version": "js-3.1.0",
        "user_agent": "TestPlayer/1.0",
        "client_address": "192.0.2.7",
        "exchanges": 1,
        "events": 1,
        "findings": FindingCounts(),
    }
    return Session(**(values | overrides))


_body_of = body  # the name that arguments called `body` hide


def _created(location: str | None) -> Response:
    return response(201, location=location)


def _ts(ts: int | None, after_s: float) -> int:
    return BEGIN_MS + round(after_s * 1000) if ts is None else ts


def unjudged(exchanges: Iterable[Exchange]) -> list[Judged]:
    """Return exchanges as they are stored before they are judged."""
    return [Judged(exchange) for exchange in exchanges]
