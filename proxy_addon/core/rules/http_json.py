"""Rules for HTTP, JSON and the upstream's answers. Source: Media Collection API, body rules, HTTP and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.jsontext import repeated_members
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.rules.body_views import BodyView, EventView
from proxy_addon.core.rules.rule import ERROR, INFO, TOLD, WARNING, Problem, When, body_rule, event_rule, exchange_rule
from proxy_addon.core.wording import quoted, shown, suggestion

_LONGEST_ANSWER = 300
"""Longest upstream message to quote. It is often the only clue, so it is cut later than other values."""


@exchange_rule("http-method", ERROR, when=When.UNROUTED)
def http_method(exchange: Exchange) -> Iterable[Problem]:
    """The request uses the wrong HTTP method for its endpoint.

    What it checks: Requests to `sessions`, `events` and `downloaded` must use POST, and requests to `schemas` must use
    GET. The OPTIONS request of a browser is accepted on all four.

    Why it matters: The server does nothing with other methods. No session is opened and no event is counted, although
    the player may believe otherwise.

    Source: Adobe's docs, `mc-api-overview.md`; Adobe's Swagger file. Confidence: high.

    Example: `PUT /api/v1/sessions/bfcca2ca597a3c71/events`

    How to fix: Send POST. The server's CORS headers also list PUT, but no call that uses it is documented.

    Known limits: Methods are case-sensitive, so `post` is reported. HEAD on `schemas` is reported, although servers
    often treat it like GET. The body of a request with a wrong method is not checked at all.
    """
    route = exchange.route
    if route.operation is Operation.OTHER and route.endpoint is not None:
        wanted = "GET" if route.endpoint is Operation.SCHEMAS else "POST"
        yield Problem(f"{quoted(exchange.request.method)} on {route.endpoint.value}; expected {wanted}")


@exchange_rule("http-path-unknown", WARNING, when=When.UNROUTED)
def http_path_unknown(exchange: Exchange) -> Iterable[Problem]:
    """The path is not one of the protocol's four paths.

    What it checks: Without its prefix and query string, the path must be `/api/v1/sessions`,
    `/api/v1/sessions/{sid}/events`, `/api/v1/downloaded` or `/api/v1/schemas/{eventType}`.

    Why it matters: The server cannot do anything with an unknown path, so the data in the body never reaches the
    reports. At best, the server answers with an error.

    Source: Adobe's docs, Adobe's developer site and Adobe's Swagger file, each of which names some or all of these
    paths. Confidence: high.

    Example: `POST /api/v1/bfcca2ca597a3c71/events`, which lacks `sessions/`

    How to fix: Take the session ID from `Location` and insert it into `/api/v1/sessions/{sid}/events`. Look for a
    trailing slash, a double slash, or wrong upper or lower case.

    Known limits: `/api/v1/downloads` is accepted as `/api/v1/downloaded`, although no document mentions it. Any prefix
    before `/api/` is assumed to be part of the device's configuration. Requests whose path does not contain
    `/api/v<number>/` are not recorded in the first place.
    """
    route = exchange.route
    if route.operation is Operation.OTHER and route.endpoint is None:
        yield Problem(
            f"path {quoted(exchange.request.path)} is none of /api/v1/sessions, /api/v1/sessions/{{sid}}/events, "
            "/api/v1/downloaded, /api/v1/schemas/{eventType}"
        )


@exchange_rule("content-type-not-json", INFO)
def content_type_not_json(exchange: Exchange) -> Iterable[Problem]:
    """The content type is not `application/json`.

    What it checks: A POST to `sessions`, `events` or `downloaded` must have the `Content-Type` `application/json`.
    Upper and lower case and parameters such as `charset=utf-8` do not matter.

    Why it matters: So far the server has read bodies of any content type, so nothing is lost today. A stricter server,
    or a proxy on the way, might refuse them.

    Source: Adobe's docs, `mc-api-set-http-req.md`, and Adobe's Swagger file require it. The JavaScript SDKs 3.0.0 and
    3.0.1 and the curl samples of the docs work without it. Confidence: high.

    Example: `Content-Type: text/plain;charset=UTF-8`, which browsers set by default when the body is a string

    How to fix: Set the header `Content-Type: application/json`. Browsers then send a preflight request for each new
    URL, which the server answers.

    Known limits: If there are several such headers, only the first one is read. Types that end in `+json` are reported.
    A request without any header comes from a file of a tool that did not keep headers, and is not reported. Other rules
    check whether the body is JSON.
    """
    if exchange.route.operation in TRACKING and exchange.request.headers:
        value = header(exchange.request.headers, "content-type")
        if value is None:
            yield Problem("no Content-Type; expected application/json")
        elif value.partition(";")[0].strip().lower() != "application/json":
            yield Problem(f"Content-Type is {quoted(value)}; expected application/json")


@body_rule("body-empty", ERROR)
def body_empty(body: BodyView) -> Iterable[Problem]:
    """The body is empty or contains only white space.

    What it checks: The body of a POST to `sessions`, `events` or `downloaded` must contain something other than blanks,
    tabs and line breaks.

    Why it matters: Without a JSON object there is no event. The server refuses the request, and if it was a
    `sessionStart`, the session is never opened.

    Source: Adobe's docs, Adobe's developer site and Adobe's Swagger file, which all require a JSON body. Confidence:
    high.

    Example: `POST /api/v1/sessions` with `Content-Length: 0`

    How to fix: Serialise the event before you make the request, and check that no redirect or retry drops the body.

    Known limits: A body that arrived only in part because the device disconnected is not checked. A body that contains
    only a byte order mark is reported by `body-not-json`.
    """
    if not body.raw.strip(b" \t\r\n"):
        yield Problem(f"the body is empty ({len(body.raw)} bytes); expected a JSON object", "")


@body_rule("body-not-json", ERROR)
def body_not_json(body: BodyView) -> Iterable[Problem]:
    """The body is not a well-formed JSON text.

    What it checks: The body must be exactly one JSON text in UTF-8. It must not be truncated, and must not contain
    trailing commas, comments, single quotes, `NaN`, `Infinity` or a second JSON text.

    Why it matters: The server cannot parse the body and refuses it. The event is lost; in a batch, the whole playback
    is lost.

    Source: Adobe's docs and developer site require JSON (RFC 8259). Confidence: high.

    Example: `{"playerTime": {"playhead": NaN, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Let a JSON library write the body, and replace `NaN` and infinite numbers first. The message says where
    parsing stopped.

    Known limits: Escaped lone surrogates, `U+0000` and numbers of any length are well-formed and accepted. A byte order
    mark is not, and nesting deeper than 1,000 levels may be reported. Bodies are not decompressed: a compressed body is
    reported together with its `Content-Encoding`, because no document says whether the server accepts compressed
    bodies.
    """
    if body.reading.problem is not None and body.raw.strip(b" \t\r\n"):
        encoded = f" (Content-Encoding is {quoted(body.encoding)})" if body.encoding else ""
        yield Problem(f"{body.reading.problem}{encoded}", "")


@body_rule("json-duplicate-key", WARNING)
def json_duplicate_key(body: BodyView) -> Iterable[Problem]:
    """A JSON object contains the same member name twice.

    What it checks: No object in the body, at any depth, may contain two members with the same name. Names are compared
    after their escapes are resolved.

    Why it matters: Parsers differ in which of the two values they keep, so the server may report a different value than
    the one you meant.

    Source: RFC 8259 leaves this open, and the server's behaviour is unknown. Confidence: medium.

    Example: `"params": {"media.id": "video-123", "media.id": "video-124"}`

    How to fix: Build the object as a map instead of concatenating text, and merge defaults and overrides before you
    serialise it.

    Known limits: The other rules look only at the last of the duplicate members, and this rule does not look for
    duplicates inside the values that the last one replaces. A name that occurs three times is reported once.
    """
    for pointer, name in repeated_members(body.value, TOLD):
        yield Problem(f"member {quoted(name)} is named more than once; parsers differ in which one counts", pointer)


@body_rule("body-not-object", ERROR)
def body_not_object(body: BodyView) -> Iterable[Problem]:
    """The body, or an element of a batch, is not an object.

    What it checks: The body of a request to `events` must be an object. The body of a request to `sessions` must be an
    object or an array. Each element of an array on `sessions` or `downloaded` must be an object.

    Why it matters: Every event is an object, and the server refuses anything else. In a batch, a single such element
    discards the whole playback.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file. Confidence: high.

    Example: `[{"playerTime": {"playhead": 10, "ts": 1772366410000}, "eventType": "ping"}]` posted to `events`

    How to fix: Send one event per request to `events`. Use an array for downloaded playback only, and post it to
    `/api/v1/downloaded`.

    Known limits: If an array is posted to `events`, its elements are not checked further. A body on `downloaded` that
    is not an array is reported by `downloads-not-array`.
    """
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
    """The event has a top-level member that the protocol does not define.

    What it checks: The only top-level members of an event are `playerTime`, `eventType`, `params`, `customMetadata` and
    `qoeData`. Names are case-sensitive.

    Why it matters: The schema allows no other members, so the server refuses the request and the event is missing from
    the reports.

    Source: Adobe's 2018 docs (the schema). Confidence: high for `sessionStart`; medium for other events, whose schemas
    are not published.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play", "sessionId":
    "bfcca2ca597a3c71"}`

    How to fix: Remove the member or move it: standard values belong in `params`, your own values in `customMetadata`,
    and quality data in `qoeData`. The session ID belongs in the path.

    Known limits: Only the top level is checked. The finding remains an error even if the upstream accepted the request.
    """
    for name in event.value:
        if name not in protocol.MEMBERS:
            suggest = partial(suggestion, name, protocol.MEMBERS)
            yield Problem(f"member {quoted(name)} is not allowed", event.at(name), suggest)


@exchange_rule("upstream-refused", WARNING, when=When.NOT_ACCEPTED)
def upstream_refused(exchange: Exchange) -> Iterable[Problem]:
    """The upstream refused the request with status 400.

    What it checks: Reports each request to `sessions`, `events` or `downloaded` that the upstream answered with 400,
    and quotes the message in the answer.

    Why it matters: The refused data does not count: the session is not opened, the event is dropped, or the whole batch
    is discarded. SDKs carry on or give up without a sign.

    Source: Adobe's docs, `mc-api-sessions-req.md` and `mc-api-events-req.md`; Adobe's Swagger file. Confidence: high.

    Example: `HTTP/1.1 400 Bad Request` with `{"message": "Request had improper format."}`

    How to fix: First fix the errors that are reported for the same request. If there are none, the upstream checks
    something that sessiontape's tables do not know; its message should say what. Sending the same body again does not
    help.

    Known limits: The message is found only in an uncompressed JSON object with the member `message`. It is cut after
    300 characters. Other refusals, such as 401 or 403, are not documented and not reported.
    """
    if exchange.response is not None and exchange.response.status == 400 and exchange.route.operation in TRACKING:
        yield Problem(f"upstream answered 400{_said(exchange.response.body)}")


@exchange_rule("upstream-session-lost", WARNING, when=When.NOT_ACCEPTED)
def upstream_session_lost(exchange: Exchange) -> Iterable[Problem]:
    """The upstream does not know the session or has closed it.

    What it checks: Reports each request to `sessions`, `events` or `downloaded` that the upstream answered with 404 or
    410.

    Why it matters: All further events with this session ID are lost, and no SDK notices. If the viewer continues
    watching, the rest of the playback is not measured.

    Source: Adobe's docs, `mc-api-events-req.md`; Adobe's developer site, `events.md`; Adobe's Swagger file. Confidence:
    high.

    Example: `HTTP/1.1 410 Gone` for `POST /api/v1/sessions/bfcca2ca597a3c71/events`

    How to fix: Open a new session with `media.resume` set to true and the current playhead, and send all further events
    to it. After a 404, also check that the player uses the ID from `Location` unchanged, and sends events to the host
    that opened the session.

    Known limits: No document says whether the server answers 410, 404 or 204 to events after `sessionEnd` or after a
    timeout. On `sessions` and `downloaded`, both statuses are undocumented. They are reported there with a different
    message, because they usually mean a wrong host or prefix.
    """
    if exchange.response is not None and exchange.route.operation in TRACKING:
        status = exchange.response.status
        if status in (404, 410) and exchange.route.operation is not Operation.EVENTS:
            yield Problem(f"upstream answered {status} to a request that names no session; check its host and path")
        elif status == 404:
            yield Problem("upstream answered 404: it does not know the session ID; open a new session")
        elif status == 410:
            yield Problem("upstream answered 410: the session is closed; open a new one")


@exchange_rule("upstream-failed", INFO, when=When.NOT_ACCEPTED)
def upstream_failed(exchange: Exchange) -> Iterable[Problem]:
    """The upstream answered with a server error, or no complete answer was seen.

    What it checks: Reports each request that the upstream answered with a status of 500 or more, did not answer
    completely in time, or ended by closing the connection. It also reports failed attempts to connect to the upstream,
    and requests without an answer in a file that does not say why.

    Why it matters: The request may be lost, since SDKs repeat only session starts and batches. If the upstream accepted
    the failed attempt after all, an orphan session remains.

    Source: Adobe's Swagger file for status 500; the JavaScript, Chromecast, Android and iOS SDKs for what clients do.
    Confidence: high.

    Example: `HTTP/1.1 503 Service Unavailable`

    How to fix: Change nothing in the player unless this happens all the time. In that case check the address of the
    upstream, and that it answers within 5 seconds; after that SDKs give up.

    Known limits: For a 502 or 504, it is not known whether the upstream or a proxy in front of it failed. If the device
    disconnected before the answer, nothing is reported, unless a file does not say so. Statuses below 500, such as 429,
    are not checked.
    """
    said = _FAILED.get(exchange.outcome)
    if said is not None:
        yield Problem(said)
    elif exchange.response is not None and exchange.response.status >= 500:
        yield Problem(f"upstream answered {exchange.response.status}{_said(exchange.response.body)}")


@exchange_rule("accepted-by-upstream", INFO, when=When.NOT_ACCEPTED)
def accepted_by_upstream(_: Exchange) -> Iterable[Problem]:
    """The upstream accepted what the built-in tables would refuse.

    What it checks: When the upstream answers 2xx to a request with errors from rules that rely on a schema or a JSON
    type, those errors are lowered to info and refer to this rule. This rule has no findings of its own.

    Why it matters: Such a request appears in the reports, whatever the built-in tables say, and should not be counted
    as invalid.

    Source: Adobe's docs, `mc-api-validate-reqs.md`: the server validates each request with its schema, and that schema
    is authoritative. Confidence: high.

    Example: `"params": {"media.newKey": "x"}` on a `play` that was answered with 204: the error of `param-unknown` is
    lowered

    How to fix: Change nothing in the player. Add the param to the settings, or record the upstream's schemas, which
    take precedence over the built-in tables.

    Known limits: Any 2xx answer lowers errors, even from a server that validates nothing, such as a mock or a login
    page. The only exception is sessiontape's own collector, which is recognised by `Server: sessiontape`. Rules about
    ruined data, such as `ts-not-milliseconds`, are never lowered.
    """
    return ()  # `core.judging.exchanges` lowers the findings that the upstream's answer contradicts


_FAILED = {
    Outcome.UPSTREAM_TIMEOUT: "upstream gave no answer in time",
    Outcome.UPSTREAM_UNREACHABLE: "no connection to upstream could be made",
    Outcome.UPSTREAM_CLOSED: "no complete answer from upstream was recorded",
}


def _said(body: bytes) -> str:
    """Return the message in the body of an error, as the end of our message; empty if there is none."""
    value = read_body(body).value
    message = value.get("message") if isinstance(value, dict) else None
    return f": {quoted(message, _LONGEST_ANSWER)}" if isinstance(message, str) else ""
