"""What the back end answers: a request in, a response out.

Source: Media Collection API, endpoints. Where it contradicts itself or says nothing, we chose:

- a closed session answers 204 to a repeated ``sessionEnd`` and 410 to everything else;
- the answer to a batch has no ``Location``, on either path: none is documented, and no SDK reads one;
- the schema of an unknown event type is answered 404, and a wrong method on a path of the protocol 405;
- a preflight is answered 204.

A body in which the body rules find an error is answered 400.

>>> sessions = Sessions()
>>> body = b'{"playerTime": {"playhead": 0, "ts": 1731672000000}, "eventType": "play"}'
>>> answer(Request(method="POST", path="/tv/api/v1/sessions", body=body), sessions, new_id=str).response.status
400
>>> answer(Request(method="POST", path="/api/v1/sessions/9/events", body=b"{}"), sessions, new_id=str).response.body
b'{"message": "session 9 is unknown"}'
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import COLLECTOR, Headers, Request, Response
from proxy_addon.core.judging.exchanges import judge_body, refusal
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import CORS
from proxy_addon.core.routes import Operation, Route, parse_route
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.schemas import schema_of

SERVER: Headers = (("Server", COLLECTOR),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, and the session that it concerns.

    Attributes:
        session_id: The session ID in the path, or the one given to a start; None if there is neither.
    """

    response: Response
    session_id: str | None = None


class _State(Enum):
    OPEN = auto()
    CLOSED = auto()
    GONE = auto()


class Sessions:
    """The sessions a collector knows, for as long as it runs."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def open(self, session_id: str) -> None:
        """Let a session accept events."""
        self._states[session_id] = _State.OPEN

    def close(self, session_id: str) -> None:
        """Close a session at its end: it accepts no further events but another end."""
        self._states[session_id] = _State.CLOSED

    def expire(self, session_id: str) -> None:
        """Close a session for good: it accepts nothing."""
        self._states[session_id] = _State.GONE

    def forget(self, session_id: str) -> None:
        """Do not know a session any more."""
        self._states.pop(session_id, None)

    def is_known(self, session_id: str) -> bool:
        """Whether a session was ever opened, and not forgotten."""
        return session_id in self._states

    def is_open(self, session_id: str) -> bool:
        """Whether a session accepts events."""
        return self._states.get(session_id) is _State.OPEN

    def is_gone(self, session_id: str) -> bool:
        """Whether a session accepts nothing, not even another end."""
        return self._states.get(session_id) is _State.GONE


type Refuse = Callable[[Request, Operation], str | None]
"""Returns why the body of a request to an endpoint is refused; None if it is accepted."""


def refusing(policy: Policy) -> Refuse:
    """Return what refuses a body for the first error that the body rules find in it."""
    vocabulary = Vocabulary(policy.params)
    return lambda request, endpoint: refusal(
        judge_body(request.body, endpoint, policy, vocabulary, reading=request.reading)
    )


_REFUSE = refusing(DEFAULT)


def answer(request: Request, sessions: Sessions, new_id: Callable[[], str], refuse: Refuse = _REFUSE) -> Answer:
    """Answer a request as the back end does.

    Args:
        request: The request with its whole body.
        sessions: The sessions opened so far; an accepted start or ``sessionEnd`` changes them.
        new_id: Returns an unused session ID; called for an accepted start.
        refuse: Decides which bodies are answered with 400.
    """
    route = parse_route(request.method, request.path)
    if route is None or route.endpoint is None:
        return Answer(response=error(HTTPStatus.NOT_FOUND, f"there is nothing at {request.path.partition('?')[0]}"))
    if route.operation is Operation.PREFLIGHT:
        return Answer(response=empty(HTTPStatus.NO_CONTENT), session_id=route.session_id)
    if route.endpoint is Operation.SCHEMAS and request.method in ("GET", "HEAD"):
        return _answer_schema(route)
    if route.operation is Operation.OTHER:
        return Answer(response=_wrong_method(request.method, route.endpoint), session_id=route.session_id)
    if route.endpoint is Operation.EVENTS:
        assert route.session_id is not None
        return Answer(response=_take_event(request, route.session_id, sessions, refuse), session_id=route.session_id)
    return _take_start(request, route.endpoint, sessions, new_id, refuse)


def empty(status: int, headers: Headers = ()) -> Response:
    """Return an answer without a body."""
    return Response(status=int(status), headers=(*SERVER, *headers, *CORS))


def error(status: int, message: str, headers: Headers = ()) -> Response:
    """Return an answer that says what is wrong, in the documented shape."""
    return _json(status, {"message": message}, headers)


def _json(status: int, document: object, headers: Headers = ()) -> Response:
    # Escaped to ASCII, because a message may quote a lone surrogate from the body.
    body = json.dumps(document).encode()
    return Response(
        status=int(status), headers=(*SERVER, *headers, ("Content-Type", "application/json"), *CORS), body=body
    )


def _answer_schema(route: Route) -> Answer:
    name = route.event_type or ""
    if name not in protocol.EVENTS:
        return Answer(response=error(HTTPStatus.NOT_FOUND, f"there is no event type {name!r}"))
    return Answer(response=_json(HTTPStatus.OK, schema_of(name)))


def _wrong_method(method: str, endpoint: Operation) -> Response:
    allowed = "GET, HEAD, OPTIONS" if endpoint is Operation.SCHEMAS else "POST, OPTIONS"
    message = f"method {method} is not allowed here, only {allowed}"
    return error(HTTPStatus.METHOD_NOT_ALLOWED, message, (("Allow", allowed),))


def _take_event(request: Request, session_id: str, sessions: Sessions, refuse: Refuse) -> Response:
    if not sessions.is_known(session_id):
        return error(HTTPStatus.NOT_FOUND, f"session {session_id} is unknown")
    problem = refuse(request, Operation.EVENTS)
    ends = problem is None and is_session_end(request.body)
    if sessions.is_gone(session_id) or (not sessions.is_open(session_id) and not ends):
        return error(HTTPStatus.GONE, f"session {session_id} is closed")
    if problem is not None:
        return error(HTTPStatus.BAD_REQUEST, problem)
    if ends:
        sessions.close(session_id)
    return empty(HTTPStatus.NO_CONTENT)


def is_session_end(body: bytes) -> bool:
    """Whether a body is the event that closes a session."""
    events = read_body(body)
    return not events.is_batch and any(event.type == "sessionEnd" for event in events.events)


def _take_start(
    request: Request, endpoint: Operation, sessions: Sessions, new_id: Callable[[], str], refuse: Refuse
) -> Answer:
    problem = refuse(request, endpoint)
    if problem is not None:
        return Answer(response=error(HTTPStatus.BAD_REQUEST, problem))
    if request.reading.is_batch:
        return Answer(response=_created())
    session_id = new_id()
    sessions.open(session_id)
    # Root-relative and without the prefix of the request; SDKs cannot find the ID in any other form.
    return Answer(response=_created((("Location", f"/api/v1/sessions/{session_id}"),)), session_id=session_id)


def _created(headers: Headers = ()) -> Response:
    return empty(HTTPStatus.CREATED, (("Content-Type", "application/octet-stream"), ("Content-Length", "0"), *headers))
