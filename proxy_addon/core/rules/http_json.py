"""Rules over HTTP and JSON, and over what upstream said. Source: Media Collection API, body rules, HTTP and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.jsontext import repeated_members
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.rules.body_views import BodyView, EventView
from proxy_addon.core.rules.rule import ERROR, INFO, TOLD, WARNING, Problem, body_rule, event_rule, exchange_rule
from proxy_addon.core.wording import quoted, shown, suggestion

_LONGEST_ANSWER = 300
"""What upstream says is often all there is to go by, so it is cut later than values are."""


@exchange_rule("http-method", ERROR)
def http_method(exchange: Exchange) -> Iterable[Problem]:
    """The method is not the one of the endpoint.

    What it checks: Whether a request to sessions, events or downloaded is a POST and one to schemas a GET. A browser's
    OPTIONS is fine on all of them.

    Why it matters: The server has nothing to do for other methods: no session is opened and no event is counted,
    although the player may believe so.

    Source: `mc-api-overview.md`, Swagger; high.

    Example: `PUT /api/v1/sessions/bfcca2ca597a3c71/events`

    How to fix: Send POST. The CORS headers also name PUT, but no call with it is documented.

    Known limits: Methods are case-sensitive, so `post` is reported too. HEAD on schemas is reported, though servers
    often answer it as they do GET; the body of a request with a wrong method is not judged at all.
    """
    route = exchange.route
    if route.operation is Operation.OTHER and route.endpoint is not None:
        wanted = "GET" if route.endpoint is Operation.SCHEMAS else "POST"
        yield Problem(f"{quoted(exchange.request.method)} on {route.endpoint.value}; expected {wanted}")


@exchange_rule("http-path-unknown", WARNING)
def http_path_unknown(exchange: Exchange) -> Iterable[Problem]:
    """The path is none of the protocol's.

    What it checks: Whether the path, without prefix and query, is `/api/v1/sessions`, `/api/v1/sessions/{sid}/events`,
    `/api/v1/downloaded` or `/api/v1/schemas/{eventType}`.

    Why it matters: A server that does not know a path answers with an error at best, and what the body reports never
    gets into the reports.

    Source: docs, dev site, Swagger (each names these four paths or some of them); high.

    Example: `POST /api/v1/bfcca2ca597a3c71/events`, where `sessions/` is missing

    How to fix: Take the session ID out of `Location` and put it into `/api/v1/sessions/{sid}/events`. Look for a
    trailing slash, a doubled one and wrong upper or lower case.

    Known limits: `/api/v1/downloads` counts as `/api/v1/downloaded`, although no document has it. Any prefix before
    `/api/` is taken as the device's setting, and paths without `/api/v<number>/` are not recorded in the first place.
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

    What it checks: Whether a POST to sessions, events or downloaded has a `Content-Type` of `application/json`. Upper
    and lower case, and parameters such as `charset=utf-8`, do not matter.

    Why it matters: The server has so far read bodies of any content type, so nothing is lost today; a stricter server
    or something in between may refuse them.

    Source: `mc-api-set-http-req.md` and Swagger call it a must, but JS 3.0.0 and 3.0.1 and the curl samples of the docs
    got along without; high.

    Example: `Content-Type: text/plain;charset=UTF-8`, a browser's default for a body that is a string

    How to fix: Set the header `Content-Type: application/json`. In browsers this causes a preflight for each new URL,
    which the server answers.

    Known limits: Of several such headers only the first one is read. Types that end in `+json` are reported; whether
    the body is JSON is for other rules to say.
    """
    if exchange.route.operation in TRACKING:
        value = header(exchange.request.headers, "content-type")
        if value is None:
            yield Problem("no Content-Type; expected application/json")
        elif value.partition(";")[0].strip().lower() != "application/json":
            yield Problem(f"Content-Type is {quoted(value)}; expected application/json")


@body_rule("body-empty", ERROR)
def body_empty(body: BodyView) -> Iterable[Problem]:
    """There is no body, or white space only.

    What it checks: Whether a POST to sessions, events or downloaded has anything in its body besides blanks, tabs and
    line breaks.

    Why it matters: Without an object there is no event: the server refuses the request, and a session whose start was
    empty is never opened.

    Source: docs, dev site, Swagger (all ask for a JSON body); high.

    Example: `POST /api/v1/sessions` with `Content-Length: 0`

    How to fix: Serialise the event before the request is made, and check that no redirect or retry drops the body on
    the way.

    Known limits: A body of which only a part arrived, because the device left, is not judged. A lone byte order mark is
    `body-not-json`.
    """
    if not body.raw.strip(b" \t\r\n"):
        yield Problem(f"the body is empty ({len(body.raw)} bytes); expected a JSON object", "")


@body_rule("body-not-json", ERROR)
def body_not_json(body: BodyView) -> Iterable[Problem]:
    """The body is not one well-formed JSON text.

    What it checks: Whether the body is exactly one JSON text in UTF-8: nothing cut off, no trailing comma, comment,
    single quotes, `NaN` or `Infinity`, and no second text behind it.

    Why it matters: The server cannot read it and refuses it. The event is lost, or with a batch the whole playback.

    Source: docs and dev site ask for JSON (RFC 8259); high.

    Example: `{"playerTime": {"playhead": NaN, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Let a JSON library write the body, and replace numbers that are not finite before it does. The message
    says where reading stopped.

    Known limits: Escaped halves of surrogate pairs, `U+0000`, and numbers of any length are well-formed and pass; a
    byte order mark is not, and nesting beyond 1,000 levels may be reported. Bodies are not decompressed, so a
    compressed one is reported together with its `Content-Encoding`; whether the server takes such bodies is not
    documented.
    """
    if body.reading.problem is not None and body.raw.strip(b" \t\r\n"):
        encoded = f" (Content-Encoding is {quoted(body.encoding)})" if body.encoding else ""
        yield Problem(f"{body.reading.problem}{encoded}", "")


@body_rule("json-duplicate-key", WARNING)
def json_duplicate_key(body: BodyView) -> Iterable[Problem]:
    """An object names a member twice.

    What it checks: Whether any object in the body, however deep, has two members of the same name. Names are compared
    after their escapes are resolved.

    Why it matters: Parsers differ in which of the two they keep, so the server may report another value than the one
    that was meant.

    Source: RFC 8259 leaves it open, and what the server does is unknown; medium.

    Example: `"params": {"media.id": "video-123", "media.id": "video-124"}`

    How to fix: Build the object as a map instead of joining text, and see that defaults and overrides are merged before
    they are written.

    Known limits: The other rules look at the last one only, and inside of those that it replaces nothing is looked for.
    A name that stands there three times is told once.
    """
    for pointer, name in repeated_members(body.value, TOLD):
        yield Problem(f"member {quoted(name)} is named more than once; parsers differ in which one counts", pointer)


@body_rule("body-not-object", ERROR)
def body_not_object(body: BodyView) -> Iterable[Problem]:
    """The body, or an element of a batch, is not an object.

    What it checks: Whether the body of a request to events is an object, that to sessions an object or an array, and
    each element of an array on sessions or downloaded an object.

    Why it matters: An event is an object; anything else is refused. In a batch one such element discards the whole
    playback.

    Source: 2018 docs (the schema), Swagger; high.

    Example: `[{"playerTime": {"playhead": 10, "ts": 1772366410000}, "eventType": "ping"}]` posted to events

    How to fix: Send one event per request to events. An array is for downloaded playback alone, and goes to
    `/api/v1/downloaded`.

    Known limits: The elements of an array on events are not judged further. A body for downloaded that is no array is
    `downloads-not-array`.
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
    """The event has a member that is none of the five.

    What it checks: Whether the event's own members are all among `playerTime`, `eventType`, `params`, `customMetadata`
    and `qoeData`. Upper and lower case count.

    Why it matters: The schema allows no others, so the request is refused and the event is missing in the reports.

    Source: 2018 docs (the schema); high for `sessionStart`, medium for other events, whose schemas are not published.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play", "sessionId":
    "bfcca2ca597a3c71"}`

    How to fix: Leave the member out, or move it: standard values belong into `params`, your own into `customMetadata`,
    quality into `qoeData`. The session ID belongs into the path.

    Known limits: Only the top level is looked at. It stays an error also where upstream took the request.
    """
    for name in event.value:
        if name not in protocol.MEMBERS:
            suggest = partial(suggestion, name, protocol.MEMBERS)
            yield Problem(f"member {quoted(name)} is not allowed", event.at(name), suggest)


@exchange_rule("upstream-refused", WARNING)
def upstream_refused(exchange: Exchange) -> Iterable[Problem]:
    """Upstream refused the request with 400.

    What it checks: Whether upstream answered 400 to a request to sessions, events or downloaded. The message of its
    answer is quoted.

    Why it matters: What was sent does not count: a session is not opened, an event is dropped, a whole batch is
    discarded. SDKs go on or give up silently.

    Source: `mc-api-sessions-req.md`, `mc-api-events-req.md`, Swagger; high.

    Example: `HTTP/1.1 400 Bad Request` with `{"message": "Request had improper format."}`

    How to fix: Look at the errors of the same request first; if there are none, the tables of this product lack what
    the message speaks of. Sending the same body again does not help.

    Known limits: A message is only found in a JSON object with the member `message`, uncompressed, and is cut after 300
    characters. Other refusals, such as 401 or 403, are not documented and not reported.
    """
    if exchange.response is not None and exchange.response.status == 400 and exchange.route.operation in TRACKING:
        yield Problem(f"upstream answered 400{_said(exchange.response.body)}")


@exchange_rule("upstream-session-lost", WARNING)
def upstream_session_lost(exchange: Exchange) -> Iterable[Problem]:
    """Upstream does not know the session, or has closed it.

    What it checks: Whether upstream answered 404 or 410 to a request to sessions, events or downloaded.

    Why it matters: All events that go to this session ID from here on are lost, and no SDK notices. A viewer who goes
    on watching is no longer measured.

    Source: `mc-api-events-req.md`, dev site `events.md`, Swagger; high.

    Example: `HTTP/1.1 410 Gone` for `POST /api/v1/sessions/bfcca2ca597a3c71/events`

    How to fix: Open a new session, with `media.resume` true and the present playhead, and report there. After 404 check
    that the ID is the one of `Location`, untouched, and that it was asked for at the same host.

    Known limits: Whether events after `sessionEnd` and after a timeout are answered with 410, with 404 or with 204 is
    not documented. For sessions and downloaded both statuses are undocumented; they are reported too, in other words,
    and rather mean a wrong host or prefix.
    """
    if exchange.response is not None and exchange.route.operation in TRACKING:
        status = exchange.response.status
        if status in (404, 410) and exchange.route.operation is not Operation.EVENTS:
            yield Problem(f"upstream answered {status} to a request that names no session; check its host and path")
        elif status == 404:
            yield Problem("upstream answered 404: it does not know the session ID; open a new session")
        elif status == 410:
            yield Problem("upstream answered 410: the session is closed; open a new one")


@exchange_rule("upstream-failed", INFO)
def upstream_failed(exchange: Exchange) -> Iterable[Problem]:
    """Upstream failed, or could not be reached.

    What it checks: Whether upstream answered with a status of 500 or more, gave no complete answer in time, closed the
    connection, or could not be connected to.

    Why it matters: The request may be lost; SDKs repeat only session starts and batches, and an attempt that upstream
    had taken all the same leaves an orphan session behind.

    Source: Swagger (500), JS, CC, Android, iOS for what clients do; high.

    Example: `HTTP/1.1 503 Service Unavailable`

    How to fix: Nothing in the player, unless it happens all the time: then check the upstream's address, and that it
    answers within the 5 seconds after which SDKs give up.

    Known limits: Who caused a 502 or 504, upstream or something before it, cannot be told. Nothing is said when the
    device left before the answer, and 429 or other statuses below 500 are not looked at.
    """
    said = _FAILED.get(exchange.outcome)
    if said is not None:
        yield Problem(said)
    elif exchange.response is not None and exchange.response.status >= 500:
        yield Problem(f"upstream answered {exchange.response.status}{_said(exchange.response.body)}")


@exchange_rule("accepted-by-upstream", INFO)
def accepted_by_upstream(_: Exchange) -> Iterable[Problem]:
    """Upstream took what our own tables would refuse.

    What it checks: Whether upstream answered 2xx to a request in which rules that rest on a schema or a JSON type see
    errors. It has no findings of its own; those errors become info and name it.

    Why it matters: Such a request is in the reports whatever the tables of this product say, and should not be counted
    as invalid.

    Source: docs (`mc-api-validate-reqs.md`: the server checks each request with its schema, and that is the authority);
    high.

    Example: `"params": {"media.newKey": "x"}` on a `play` that was answered with 204: `param-unknown` is lowered

    How to fix: Nothing in the player. Add the param to the settings, or record the upstream's schemas, which are
    preferred to the tables.

    Known limits: A 2xx of anything that does not check, such as a mock or a login page, lowers errors as well; only our
    own collector, known by `Server: sessiontape`, does not count. Rules about what ruins the data, such as
    `ts-not-milliseconds`, are never lowered.
    """
    return ()  # it has no findings of its own: `core.judging.exchanges` lowers those it contradicts


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
