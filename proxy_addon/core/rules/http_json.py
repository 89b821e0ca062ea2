"""Rules over HTTP and JSON, and over what upstream said. Source: Media Collection API, body rules, HTTP and JSON."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.jsontext import repeated_members
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, body_rule, event_rule, exchange_rule
from proxy_addon.core.rules.views import BodyView, EventView
from proxy_addon.core.rules.wording import close_to, meant, quoted, shown

_LONGEST_ANSWER = 300
"""How much of what upstream says is told."""
TRACKING = (Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED)


@exchange_rule("http-method", ERROR)
def http_method(exchange: Exchange) -> Iterable[Problem]:
    """The method is not the one of the endpoint."""
    route = exchange.route
    if route.operation is Operation.OTHER and route.endpoint is not None:
        wanted = "GET" if route.endpoint is Operation.SCHEMAS else "POST"
        yield Problem(f"{quoted(exchange.request.method)} on {route.endpoint.value}; expected {wanted}")


@exchange_rule("http-path-unknown", WARNING)
def http_path_unknown(exchange: Exchange) -> Iterable[Problem]:
    """The path is none of the protocol's."""
    route = exchange.route
    if route.operation is Operation.OTHER and route.endpoint is None:
        yield Problem(
            f"path {quoted(exchange.request.path)} is none of /api/v1/sessions, /api/v1/sessions/{{sid}}/events, "
            "/api/v1/downloaded, /api/v1/schemas/{eventType}"
        )


@exchange_rule("content-type-not-json", INFO)
def content_type_not_json(exchange: Exchange) -> Iterable[Problem]:
    """The content type is not `application/json`."""
    if exchange.route.operation in TRACKING:
        value = header(exchange.request.headers, "content-type")
        if value is None:
            yield Problem("no Content-Type; expected application/json")
        elif value.partition(";")[0].strip().lower() != "application/json":
            yield Problem(f"Content-Type is {quoted(value)}; expected application/json")


@body_rule("body-empty", ERROR)
def body_empty(body: BodyView) -> Iterable[Problem]:
    """There is no body, or white space only."""
    if not body.raw.strip(b" \t\r\n"):
        yield Problem(f"the body is empty ({len(body.raw)} bytes); expected a JSON object", "")


@body_rule("body-not-json", ERROR)
def body_not_json(body: BodyView) -> Iterable[Problem]:
    """The body is not one well-formed JSON text."""
    if body.reading.problem is not None and body.raw.strip(b" \t\r\n"):
        encoded = f" (Content-Encoding is {quoted(body.encoding)})" if body.encoding else ""
        yield Problem(f"{body.reading.problem}{encoded}", "")


@body_rule("json-duplicate-key", WARNING)
def json_duplicate_key(body: BodyView) -> Iterable[Problem]:
    """An object names a member twice."""
    for pointer, name in repeated_members(body.value):
        yield Problem(f"member {quoted(name)} is named more than once; parsers differ in which one counts", pointer)


@body_rule("body-not-object", ERROR)
def body_not_object(body: BodyView) -> Iterable[Problem]:
    """The body, or an element of a batch, is not an object."""
    if body.reading.problem is not None:
        return
    if isinstance(body.value, list) and body.endpoint is not Operation.EVENTS:
        for index, element in enumerate(body.value):
            if not isinstance(element, dict):
                yield Problem(f"element {index} is {shown(element)}; expected an object", f"/{index}")
    elif not isinstance(body.value, dict) and body.endpoint is not Operation.DOWNLOADED:
        yield Problem(f"the body is {shown(body.value)}; expected an object", "")


@event_rule("body-unknown-member", ERROR)
def body_unknown_member(event: EventView) -> Iterable[Problem]:
    """The event has a member that is none of the five."""
    for name in event.value:
        if name not in protocol.MEMBERS:
            suggestion = meant(close_to(name, protocol.MEMBERS))
            yield Problem(f"member {quoted(name)} is not allowed{suggestion}", event.at(name))


@exchange_rule("upstream-refused", WARNING)
def upstream_refused(exchange: Exchange) -> Iterable[Problem]:
    """Upstream answered 400."""
    if exchange.response is not None and exchange.response.status == 400 and exchange.route.operation in TRACKING:
        yield Problem(f"upstream answered 400{_said(exchange.response.body)}")


@exchange_rule("upstream-session-lost", WARNING)
def upstream_session_lost(exchange: Exchange) -> Iterable[Problem]:
    """Upstream does not know the session, or has closed it."""
    if exchange.response is not None and exchange.route.operation in TRACKING:
        status = exchange.response.status
        if status == 404:
            yield Problem("upstream answered 404: it does not know the session ID; open a new session")
        elif status == 410:
            yield Problem("upstream answered 410: the session is closed; open a new one")


@exchange_rule("upstream-failed", INFO)
def upstream_failed(exchange: Exchange) -> Iterable[Problem]:
    """Upstream failed, or could not be reached."""
    said = _FAILED.get(exchange.outcome)
    if said is not None:
        yield Problem(said)
    elif exchange.response is not None and exchange.response.status >= 500:
        yield Problem(f"upstream answered {exchange.response.status}{_said(exchange.response.body)}")


@exchange_rule("accepted-by-upstream", INFO)
def accepted_by_upstream(_: Exchange) -> Iterable[Problem]:
    """Upstream took what our own tables would refuse."""
    return ()  # it has no findings of its own: `core.judging` lowers those it contradicts


_FAILED = {
    Outcome.UPSTREAM_TIMEOUT: "upstream gave no answer in time",
    Outcome.UPSTREAM_UNREACHABLE: "no connection to upstream could be made",
    Outcome.UPSTREAM_CLOSED: "upstream took the request and closed the connection without a complete answer",
}


def _said(body: bytes) -> str:
    """Return what an error's body says, as the end of a message."""
    value = read_body(body).value
    message = value.get("message") if isinstance(value, dict) else None
    return f": {quoted(message, _LONGEST_ANSWER)}" if isinstance(message, str) else ""
