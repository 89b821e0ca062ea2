"""Tell from its method and path what a request is about.

The grammar of a recorded path (Source: Media Collection API, endpoints and path prefix)::

    [prefix] "/api/v" digits "/" rest [ "?" query ]

where ``rest`` of version 1 is ``sessions``, ``sessions/{sid}/events``, ``downloaded`` (alias ``downloads``) or
``schemas/{eventType}``. Anything before ``/api/`` is a prefix from the device's configuration.

>>> parse_route("POST", "/api/v1/sessions").operation
<Operation.SESSIONS: 'sessions'>
>>> parse_route("POST", "/tv/eu//api/v1/sessions/4a0f/events").session_id
'4a0f'
>>> parse_route("OPTIONS", "/api/v1/sessions/4a0f/events").operation
<Operation.PREFLIGHT: 'preflight'>
>>> parse_route("GET", "/favicon.ico") is None
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Operation(StrEnum):
    """What a recorded request does."""

    SESSIONS = "sessions"
    """Opens a session, or delivers a batch on the deprecated path."""
    EVENTS = "events"
    """Reports one event of an open session."""
    DOWNLOADED = "downloaded"
    """Delivers one downloaded playback as a batch."""
    SCHEMAS = "schemas"
    """Asks for the JSON schema of an event type."""
    PREFLIGHT = "preflight"
    """A browser's OPTIONS before one of the others."""
    OTHER = "other"
    """A path below ``/api/v<n>/``, or a method, that the protocol does not define."""


TRACKING = frozenset({Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED})
"""Operations whose bodies hold events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a recorded request is about.

    Attributes:
        operation: What the request does; depends on path and method.
        endpoint: The endpoint of its path, whatever the method; None if the protocol does not define the path.
        session_id: The back end's session ID in the path, as written there; None if the path has none.
        event_type: The event type whose schema is requested.
        prefix: Everything before ``/api/``; usually empty.
    """

    operation: Operation
    endpoint: Operation | None = None
    session_id: str | None = None
    event_type: str | None = None
    prefix: str = ""


_API = re.compile(r"/api/v[0-9]+/")
_NAMED = re.compile(
    r"""^(?P<prefix>.*)/api/v1/
        (?: (?P<sessions>sessions)
          | sessions/(?P<session_id>[^/]+)/events
          | (?P<downloaded>downloaded|downloads)
          | schemas/(?P<event_type>[^/]+)
        )\Z""",
    re.VERBOSE | re.DOTALL,
)


def parse_route(method: str, path: str) -> Route | None:
    """Return what a request is about; None if it is not recorded at all.

    Args:
        method: As on the wire; methods are case-sensitive (RFC 9110, 9.1).
        path: The request's path as on the wire, query included.
    """
    path = path.partition("?")[0]
    return _route(method, path) if len(path) <= _SHORT else _route.__wrapped__(method, path)


_SHORT = 512
"""Up to how many characters the route of a path is cached, so that the cache stays small whatever devices send."""


@lru_cache(maxsize=1024)
def _route(method: str, path: str) -> Route | None:
    """Return the route of a path without a query; cached because the requests of a session have the same path."""
    if not _API.search(path):
        return None
    match = _NAMED.match(path)
    if match is None:
        return Route(operation=Operation.OTHER)
    if match["sessions"]:
        endpoint = Operation.SESSIONS
    elif match["downloaded"]:
        endpoint = Operation.DOWNLOADED
    elif match["event_type"]:
        endpoint = Operation.SCHEMAS
    else:
        endpoint = Operation.EVENTS
    if method == "OPTIONS":
        operation = Operation.PREFLIGHT
    elif method == ("GET" if endpoint is Operation.SCHEMAS else "POST"):
        operation = endpoint
    else:
        operation = Operation.OTHER
    return Route(
        operation=operation,
        endpoint=endpoint,
        session_id=match["session_id"],
        event_type=match["event_type"],
        prefix=match["prefix"],
    )


def events_path(path: str, session_id: str, new_session_id: str) -> str:
    """Return an events path with another session ID; the rest, including prefix and query, stays the same."""
    head, query_mark, query = path.partition("?")
    before, _, _ = head.rpartition(f"/{session_id}/events")
    return f"{before}/{new_session_id}/events{query_mark}{query}"
