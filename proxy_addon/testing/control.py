"""The control API of `sessiontape run`: what a test in any language asks for and orders over HTTP.

`Control` answers requests without knowing how they arrive. `proxy_addon.testing.openapi` describes the API.

Any page that a browser on this machine shows can send requests to 127.0.0.1. So a request is refused if its ``Host`` is
not a name of this machine, as after DNS rebinding, or if its ``Origin`` is a page from elsewhere. Pages served from this
machine may use the API, because tests run in such pages.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from proxy_addon.core import jsontext
from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Headers, Request, Response, header
from proxy_addon.core.findings import Severity
from proxy_addon.core.folding import in_order
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import FindingCounts, SessionState
from proxy_addon.core.wording import counted, quoted, suggestion, visible
from proxy_addon.errors import ProtocolError, SessiontapeError
from proxy_addon.process import logs
from proxy_addon.reporting.documents import exchange_document, finding_document, session_document
from proxy_addon.testing.openapi import document
from proxy_addon.testing.verdicts import Judged

LONGEST_WAIT_S = 600.0
_WAIT_S = 10.0
"""How long a request waits if it does not say how long."""
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_JSON = "application/json"
_CLOSED = (SessionState.ENDED, SessionState.COMPLETED)
_log = logs.logger(__name__)

Recorded = Callable[[datetime], Sequence[Judged]]
"""Returns the sessions that began at or after a time, oldest first, judged as of now. May block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What orders faults from a collector, and makes it forget them."""

    order: Callable[[str], None]
    forgive: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Case:
    name: str | None
    began_at: datetime

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "began_at": iso(self.began_at)}


class _Refused(Exception):  # an answer, and no error of ours
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, hint: str | None = None, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint
        self.headers = headers


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose route is known: the query, the decoded body, and what the path names."""

    query: Mapping[str, str]
    body: Mapping[str, Any]
    name: str = ""


type _Answering = Callable[[_Call], Awaitable[Response]]


@dataclass(slots=True)
class _News:
    """Wakes those who wait for the recording to change."""

    number: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Control:
    """Answers the requests of a test."""

    def __init__(
        self,
        recorded: Recorded,
        faults: Faults | None,
        *,
        policy: Policy = DEFAULT,
        threshold: int | None = Severity.ERROR.weight,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a control that has no requests yet. Its first case has no name.

        Args:
            recorded: Reads the recording; called in a thread.
            faults: None if the upstream is a real one, from which nothing can be ordered.
            policy: How sessions were judged.
            threshold: The weight from which a finding makes a verdict a failure; None if none does.
            now: The time.
        """
        self._recorded = recorded
        self._faults = faults
        self._policy = policy
        self._threshold = threshold
        self._now = now
        self._cases = [_Case(None, now())]
        self._news: _News | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._routes: list[tuple[str, re.Pattern[str], _Answering, tuple[str, ...]]] = [
            ("GET", re.compile(r"/sessions"), self._sessions, ("wait", "count", "timeout", "media")),
            ("GET", re.compile(r"/sessions/(?P<name>[^/]+)"), self._session, ()),
            ("GET", re.compile(r"/events"), self._events, ("type", "session", "media", "wait", "timeout")),
            ("POST", re.compile(r"/faults"), self._order, ()),
            ("DELETE", re.compile(r"/faults"), self._forgive, ()),
            ("POST", re.compile(r"/cases"), self._begin, ()),
            ("GET", re.compile(r"/verdict"), self._verdict, ()),
            ("GET", re.compile(r"/openapi\.json"), self._document, ()),
        ]

    @property
    def _case(self) -> _Case:
        return self._cases[-1]

    def case_of(self, began_at: datetime) -> int:
        """Return the number of the case in which a session began."""
        return sum(case.began_at <= began_at for case in self._cases[1:])

    def changed(self) -> None:
        """Note that something was stored. May be called from any thread, before and after requests, too."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._wake(), loop)

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        self._loop = asyncio.get_running_loop()
        origin = header(request.headers, "origin")
        try:
            _check_sender(request, origin)
            answer = await self._answer(request)
        except _Refused as e:
            answer = refusal(e.status, str(e), e.hint, e.headers)
        except SessiontapeError as e:
            answer = refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(e), e.hint or None)
        except Exception as e:  # noqa: BLE001  # a test is to hear of it in the form that it understands
            _log.error(f"the control API cannot answer {request.method} {request.path}", exc_info=e)
            answer = refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"the control API failed: {type(e).__name__}",
                "stderr of sessiontape run says more",
            )
        if origin is not None and _is_local(_page_host(origin)):
            answer = replace(answer, headers=(*answer.headers, *_allowing(origin)))
        return answer

    async def _answer(self, request: Request) -> Response:
        path, _, query = request.path.partition("?")
        methods: list[str] = []
        for method, pattern, respond, names in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            methods.append(method)
            if method == request.method:
                body = _body(request.body) if method == "POST" else {}
                return await respond(_Call(_query(query, names), body, **match.groupdict()))
        if methods and request.method == "OPTIONS":
            return Response(status=204, headers=(("Access-Control-Allow-Methods", ", ".join(methods)),))
        if methods:
            raise _Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{path} takes {' and '.join(methods)}",
                headers=(("Allow", ", ".join(methods)),),
            )
        raise _Refused(HTTPStatus.NOT_FOUND, f"there is no {path}", hint="GET /openapi.json lists what there is")

    # What a test asks for --------------------------------------------------------------------------------------------

    async def _sessions(self, call: _Call) -> Response:
        wanted = call.query.get("wait")
        if wanted not in (None, "started", "ended"):
            raise _Refused(HTTPStatus.BAD_REQUEST, f"wait is {quoted(wanted)}; expected started or ended")
        number = _whole(call.query, "count", 1)

        def is_there(found: Sequence[Judged]) -> bool:
            if wanted == "ended":
                closed = sum(each.state in _CLOSED for each in found)
                return closed >= number and not any(each.state is SessionState.OPEN for each in found)
            return wanted is None or len(found) >= number

        found = await self._wait(call, is_there, lambda found: f"{_told(number, wanted)}: {_told_states(found)}")
        return _answer(
            200, {"case": self._case.document(), "sessions": [self._session_document(each) for each in found]}
        )

    async def _session(self, call: _Call) -> Response:
        found = await self._found({})
        matching = [each for each in found if call.name in (each.session.id, each.session.session_id)]
        if call.name == "last":
            matching = list(found[-1:])
        if not matching:
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                f"the case has no session {call.name}",
                hint="GET /sessions lists them; a session is named by its id, its session_id, or last",
            )
        one = matching[-1]
        documents = [exchange_document(each, seq, one.verdicts[each.id]) for seq, each in enumerate(one.exchanges, 1)]
        of_session = [finding_document(each) for each in one.judgement.of_session]
        return _answer(200, {"session": self._session_document(one), "exchanges": documents, "findings": of_session})

    async def _events(self, call: _Call) -> Response:
        type, number = call.query.get("type"), _whole(call.query, "wait", 0)
        session = call.query.get("session")

        def events(found: Sequence[Judged]) -> list[dict[str, Any]]:
            return [each for each in _events_of(found, session) if type in (None, each["event_type"])]

        def instead(found: Sequence[Judged]) -> str:
            came = Counter(str(each["event_type"]) for each in _events_of(found, session))
            told = ", ".join(f"{count} {name}" for name, count in came.items())
            wanted = "events" if type is None else f"events of type {quoted(type)}"
            return f"{len(events(found))} of {number} {wanted}; received: {visible(told) or 'nothing'}"

        found = await self._wait(call, lambda found: len(events(found)) >= number, instead)
        return _answer(200, {"case": self._case.document(), "events": events(found)})

    async def _verdict(self, call: _Call) -> Response:
        found = await self._found(call.query)
        findings = [finding for each in found for finding in each.judgement.findings]
        counts = Counter(finding.severity for finding in findings)
        fails = self._threshold is not None and any(f.severity.weight >= self._threshold for f in findings)
        return _answer(
            200,
            {
                "case": self._case.document(),
                "ok": not fails,
                "counts": {severity.value: counts[severity] for severity in Severity},
                "sessions": [
                    {
                        "id": each.session.id,
                        "session_id": each.session.session_id,
                        "state": each.state.value,
                        "findings": [finding_document(finding) for finding in in_order(each.judgement.findings)],
                    }
                    for each in found
                ],
            },
        )

    async def _document(self, _: _Call) -> Response:
        return _answer(200, document())

    # What a test orders ----------------------------------------------------------------------------------------------

    async def _order(self, call: _Call) -> Response:
        fault = _text(call.body, "fault", ("fault",))
        if fault is None:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the fault is missing", hint='send {"fault": "events:status=500"}')
        try:
            self._collector().order(fault)
        except SessiontapeError as e:
            raise _Refused(HTTPStatus.BAD_REQUEST, str(e), hint=e.hint or None) from e
        return _answer(HTTPStatus.CREATED, {"fault": fault})

    async def _forgive(self, _: _Call) -> Response:
        self._collector().forgive()
        return Response(status=204)

    async def _begin(self, call: _Call) -> Response:
        self._cases.append(_Case(_text(call.body, "name", ("name",)), self._now()))
        if self._faults is not None:
            self._faults.forgive()
        return _answer(HTTPStatus.CREATED, {"case": self._case.document()})

    def _collector(self) -> Faults:
        if self._faults is None:
            raise _Refused(
                HTTPStatus.CONFLICT,
                "faults can be ordered only from the collector, and this run records a real upstream",
                hint="leave out --upstream to let a collector answer",
            )
        return self._faults

    # Waiting ---------------------------------------------------------------------------------------------------------

    async def _wait(
        self,
        call: _Call,
        is_there: Callable[[Sequence[Judged]], bool],
        instead: Callable[[Sequence[Judged]], str],
    ) -> Sequence[Judged]:
        """Return the sessions once what the request waits for is there; if it does not wait, at once."""
        news = self._told()
        timeout_s = _seconds(call.query, "timeout", _WAIT_S)
        until_s = time.monotonic() + timeout_s
        while True:
            seen = news.number
            found = await self._found(call.query)
            if is_there(found):
                return found
            try:
                async with asyncio.timeout(until_s - time.monotonic()), news.changed:
                    await news.changed.wait_for(lambda seen=seen: news.number != seen)  # type: ignore[misc]
            except TimeoutError:
                raise _Refused(
                    HTTPStatus.GATEWAY_TIMEOUT, f"after {timeout_s:g} s: {instead(found)}", hint=None
                ) from None

    def _told(self) -> _News:
        if self._news is None:
            self._news = _News()
        return self._news

    async def _wake(self) -> None:
        news = self._told()
        async with news.changed:
            news.number += 1
            news.changed.notify_all()

    async def _found(self, query: Mapping[str, str]) -> Sequence[Judged]:
        found = await asyncio.to_thread(self._recorded, self._case.began_at)
        media = query.get("media")
        return [each for each in found if media in (None, each.session.media_id)]

    def _session_document(self, judged: Judged) -> dict[str, Any]:
        # The counts are of a judgement that has all findings already, those of a timeout included.
        return session_document(judged.session, replace(as_of(self._now(), self._policy), unclosed=FindingCounts()))


def _events_of(found: Iterable[Judged], session: str | None) -> list[dict[str, Any]]:
    """Return the events of sessions by time of arrival; with an id, those of one session."""
    told = [
        (exchange.received_at, _event_document(each, exchange, seq, event, body))
        for each in found
        if session in (None, each.session.id, each.session.session_id)
        for seq, exchange in enumerate(each.exchanges, 1)
        for event, body in zip(exchange.request.reading.events, _values(exchange), strict=False)
    ]
    return [document for _, document in sorted(told, key=lambda pair: pair[0])]


def _values(exchange: Exchange) -> list[Any]:
    reading = exchange.request.reading
    return list(reading.value) if reading.is_batch else [reading.value]


def _event_document(judged: Judged, exchange: Exchange, seq: int, event: Event, body: Any) -> dict[str, Any]:
    return {
        "session": judged.session.id,
        "session_id": judged.session.session_id,
        "seq": seq,
        "event_type": event.type,
        "playhead_s": event.playhead_s,
        "ts_ms": event.ts_ms,
        "received_at": iso(exchange.received_at),
        "status": None if exchange.response is None else exchange.response.status,
        "outcome": exchange.outcome.value,
        "body": _in_json(body),
    }


def _in_json(body: Any) -> Any:
    """Return a decoded event, or null for one that no JSON can hold: with a number like 1e999, or nested too deep."""
    try:
        json.dumps({"events": [{"body": body}]}, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return body


def _told(number: int, wanted: str | None) -> str:
    return f"waited for {counted(number, 'session')} that {'has' if number == 1 else 'have'} {wanted}"


def _told_states(found: Sequence[Judged]) -> str:
    states = Counter(each.state.value for each in found)
    return ", ".join(f"{count} {state}" for state, count in states.items()) or "none was recorded"


def _check_sender(request: Request, origin: str | None) -> None:
    host = header(request.headers, "host")
    if not _is_local(_hostname(host or "")):
        raise _Refused(
            HTTPStatus.FORBIDDEN,
            f"the Host {host!r} is not this machine",
            hint="use the address in SESSIONTAPE_CONTROL as it is",
        )
    if origin is not None and not _is_local(_page_host(origin)):
        raise _Refused(
            HTTPStatus.FORBIDDEN,
            f"a page from {origin} may not use this",
            hint="pages served from localhost or 127.0.0.1 may",
        )


def _hostname(authority: str) -> str | None:
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


def _page_host(origin: str) -> str | None:
    scheme, _, authority = origin.partition("://")
    return _hostname(authority) if scheme in ("http", "https") else None


def _is_local(hostname: str | None) -> bool:
    return hostname in _LOCAL


def _allowing(origin: str) -> Headers:
    """Return the headers that let a page read the answer."""
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Vary", "Origin"),
    )


def _query(text: str, names: Sequence[str]) -> dict[str, str]:
    found = dict(parse_qsl(text, keep_blank_values=True))
    for name in found:
        if name not in names:
            raise _Refused(
                HTTPStatus.BAD_REQUEST,
                f"unknown parameter {name!r}{suggestion(name, names)}",
                hint=f"known are {', '.join(names)}" if names else "this takes no parameters",
            )
    return found


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name)
    if text is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} is {quoted(text)}; write a whole number")
    return int(text)


def _seconds(query: Mapping[str, str], name: str, otherwise: float) -> float:
    text = query.get(name, str(otherwise))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} is {quoted(text)}; write seconds from 0 to {LONGEST_WAIT_S:g}")
    return seconds


def _body(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        value = jsontext.loads(raw)
    except ProtocolError as e:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"the body is {e}") from e
    if not isinstance(value, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return value


def _text(body: Mapping[str, Any], name: str, names: Sequence[str]) -> str | None:
    for each in body:
        if each not in names:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"unknown member {each!r}", hint=f"known are {', '.join(names)}")
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} is not a string")
    if value is not None and not _is_text(value):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} has a lone surrogate, which is no character: {quoted(value)}")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def refusal(status: int, message: str, hint: str | None = None, headers: Headers = ()) -> Response:
    """Return the answer to a request that is refused, as all errors look."""
    return _answer(status, {"error": {"message": message, "hint": hint}}, headers)


def _answer(status: int, document: Any, headers: Headers = ()) -> Response:
    body = json.dumps(document).encode()
    return Response(
        status=int(status), headers=(("Content-Type", _JSON), ("Cache-Control", "no-store"), *headers), body=body
    )
