"""Read and write mitmproxy's flow files, those of ``mitmdump -w`` and ``:export``.

A file is a sequence of netstrings, a flow in each, with the number of its format. mitmproxy converts older formats itself.
What its flows have no place for, such as how an exchange ended, is in their metadata, so that our own come back exactly.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import chain
from typing import Any, BinaryIO

from mitmproxy.connection import Client, Server
from mitmproxy.flow import Error, Flow
from mitmproxy.http import Headers as FlowHeaders
from mitmproxy.http import HTTPFlow
from mitmproxy.http import Request as FlowRequest
from mitmproxy.http import Response as FlowResponse
from mitmproxy.io import compat, tnetstring
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.version import FLOW_FORMAT_VERSION

from proxy_addon.core.exchange import BodyState, Exchange, Headers, Outcome, Request, header
from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.fixtures.members import Members
from proxy_addon.core.jsonforms import whole_members
from proxy_addon.core.jsonstream import CutOff
from proxy_addon.core.routes import parse_route
from proxy_addon.core.sessions import Session
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import ProtocolError, SettingsError
from proxy_addon.recording.arrivals import Arrivals
from proxy_addon.recording.flows import arrival_of, began_us, exchange_of, headers_of, upstream_url

_LARGE_FLOW = 1024**2
"""Of what is larger, such as a picture, nothing is decoded unless it may be of the API, in bytes."""
_FOREIGN = "not the API"
LARGEST_FLOW = 256 * 1024**2
"""A larger flow is not read, in bytes."""
_META = "sessiontape"
_CHUNK = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """One netstring: where it begins in the file, and what is in it or why that cannot be read; neither if it is foreign."""

    number: int
    offset: int
    state: dict[Any, Any] | None = None
    problem: str | CutOff = ""

    @property
    def where(self) -> str:
        return f"flow {self.number}, at byte {self.offset}"


def capture(file: BinaryIO, name: str) -> Capture:
    """Return the exchanges in a flow file; it is closed when they are consumed.

    Args:
        name: Name of the file, for messages.

    Raises:
        SettingsError: mitmproxy as it is installed here is too old for the file.
    """
    frames = _frames(file)
    first = next(frames, None)
    if first is None or first.state is None:
        number: object = None
    else:
        number = first.state.get("version")
    if isinstance(number, int) and number > FLOW_FORMAT_VERSION:
        file.close()
        raise SettingsError(
            f"{name} has flows of format {number}, and mitmproxy {version('mitmproxy')} reads formats up to "
            f"{FLOW_FORMAT_VERSION}",
            hint="install the mitmproxy that wrote the file, or a newer one: pip install --upgrade mitmproxy",
        )
    tally = Tally()
    meta = _meta_of(first)
    recording, pseudonymised = meta.get("recording"), meta.get("pseudonymised") is True
    frames = chain([] if first is None else [first], frames)
    return Capture(
        form="a mitmproxy flow file" if number is None else f"a mitmproxy flow file of format {number}",
        exchanges=_exchanges(file, _all_pseudonymised(frames) if pseudonymised else frames, tally),
        tally=tally,
        is_ours=bool(meta),
        lacks_failures=meta.get("has_holes") is True,
        pseudonymised=pseudonymised,
        recording=recording if isinstance(recording, str) else None,
    )


def _all_pseudonymised(frames: Iterable[_Frame]) -> Iterator[_Frame]:
    """Yield frames; those that may have personal values as broken, because an export would take them to have none."""
    for frame in frames:
        if frame.state is not None and _meta_of(frame).get("pseudonymised") is not True:
            problem = "has personal values, unlike the first flow: import it from a file of its own"
            yield replace(frame, state=None, problem=problem)
        else:
            yield frame


def _exchanges(file: BinaryIO, frames: Iterable[_Frame], tally: Tally) -> Iterator[Exchange]:
    """Yield the exchanges by time of arrival; flows are in the order in which they ended."""
    found: list[Exchange] = []
    with closing(file):
        for frame in frames:
            if frame.state is None:
                if frame.problem:
                    tally.refuse(frame.where, frame.problem)
                else:
                    tally.skip(_FOREIGN)
                continue
            try:
                flow = Flow.from_state(compat.migrate_flow(frame.state))
                exchange = _exchange(flow, tally)
            except Exception as e:  # noqa: BLE001  # a damaged flow fails in mitmproxy's code in any way
                tally.refuse(frame.where, str(e) or type(e).__name__)
                continue
            if exchange is not None:
                found.append(exchange)
    found.sort(key=lambda exchange: exchange.received_at)
    for number, exchange in enumerate(found, 1):
        yield tally.keep(replace(exchange, id=str(number)))


def _frames(file: BinaryIO) -> Iterator[_Frame]:
    """Yield the netstrings of a file; what follows a broken one can only be read if its length is right."""
    offset, number = 0, 0
    while True:
        try:
            size = _size(file)
            if size is None:
                return
            data = _read(file, size[0])
        except ProtocolError as e:
            yield _Frame(number=number, offset=offset, problem=e if isinstance(e, CutOff) else str(e))
            return
        begin, offset = offset, offset + size[1] + size[0]
        if data is None:
            yield _Frame(number=number, offset=begin, problem=f"larger than {LARGEST_FLOW // 1024**2} MiB")
        elif len(data) > _LARGE_FLOW and b"/api/v" not in data:
            yield _Frame(number=number, offset=begin)
        else:
            yield _decoded(data, number, begin)
        data = None
        number += 1


def _decoded(data: bytearray, number: int, offset: int) -> _Frame:
    try:
        state = tnetstring.parse(data[-1], memoryview(data)[:-1])
    except (ValueError, TypeError, IndexError, RecursionError) as e:
        return _Frame(number=number, offset=offset, problem=f"not a flow: {e}"[:200])
    if not isinstance(state, dict):
        return _Frame(number=number, offset=offset, problem="not a flow")
    return _Frame(number=number, offset=offset, state=state)


def _size(file: BinaryIO) -> tuple[int, int] | None:
    """Return the length of the next netstring with its type, and that of the length itself; None at the end."""
    digits = b""
    while (byte := file.read(1)).isdigit() and len(digits) < 12:
        digits += byte
    if not digits and not byte:
        return None
    if byte != b":" or not digits:
        if not byte:
            raise CutOff("the file is cut off")
        raise ProtocolError("no flow begins here; the rest of the file is not read")
    return int(digits) + 1, len(digits) + 1


def _read(file: BinaryIO, size: int) -> bytearray | None:
    """Return the next bytes; None if they are too many, which are then passed over."""
    found = bytearray()
    left = size
    while left:
        piece = file.read(min(left, _CHUNK))
        if not piece:
            raise CutOff(f"the file is cut off: {left} bytes of this flow are missing")
        left -= len(piece)
        if size <= LARGEST_FLOW:
            found += piece
    return found if size <= LARGEST_FLOW else None


def _exchange(flow: Flow, tally: Tally) -> Exchange | None:
    """Return what a flow holds; None if it is not the API."""
    if not isinstance(flow, HTTPFlow):
        tally.skip(flow.type.upper())
        return None
    request = flow.request
    method, path = request.data.method.decode("latin-1"), request.data.path.decode("latin-1")
    if method == "CONNECT" or flow.websocket is not None:
        tally.skip("CONNECT" if method == "CONNECT" else "WebSocket")
        return None
    if parse_route(method, path) is None:
        tally.skip(_FOREIGN)
        return None
    meta = _meta(flow.metadata)
    if meta:
        return _own(flow, Members(meta, f"metadata {_META}"))
    outcome, reason = _outcome(flow)
    arrival = arrival_of(flow, upstream_url(flow, None), Arrivals().arrive(began_us(flow)))
    exchange = exchange_of(flow, arrival, outcome)
    if request.raw_content is None and _had_body(exchange.request):
        exchange = replace(exchange, request=replace(exchange.request, body_state=BodyState.MISSING))
    return replace(exchange, reason=reason)


def _had_body(request: Request) -> bool:
    return header(request.headers, "content-length") not in (None, "0") or request.method == "POST"


_CLIENT = ("client disconnected", "reset by client", "client closed", "closed by client")
_TIMEOUT = ("timeout", "timed out")
_UNREACHABLE = ("connect", "refused", "unreachable", "errno", "resolve", "name or service", "tls", "certificate")


def _outcome(flow: HTTPFlow) -> tuple[Outcome, str | None]:
    if flow.response is not None and flow.response.timestamp_end is not None:
        return Outcome.ANSWERED, None
    if flow.error is None:
        return Outcome.UPSTREAM_CLOSED, "the flow was saved before it was answered"
    told = flow.error.msg.lower()
    if any(each in told for each in _CLIENT):
        return Outcome.CLIENT_GONE, flow.error.msg
    if any(each in told for each in _TIMEOUT):
        return Outcome.UPSTREAM_TIMEOUT, flow.error.msg
    if flow.server_conn.timestamp_tcp_setup is None and any(each in told for each in _UNREACHABLE):
        return Outcome.UPSTREAM_UNREACHABLE, flow.error.msg
    return Outcome.UPSTREAM_CLOSED, flow.error.msg


def _meta_of(frame: _Frame | None) -> dict[str, Any]:
    found = frame.state.get("metadata") if frame is not None and frame.state is not None else None
    return _meta(found) if isinstance(found, dict) else {}


def _meta(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what we have written into a flow's metadata; empty if it is not ours."""
    with suppress(ValueError, TypeError, KeyError):
        value = json.loads(metadata[_META])
        if isinstance(value, dict):
            return value
    return {}


def _own(flow: HTTPFlow, meta: Members) -> Exchange:
    """Return an exchange that `pieces` has written."""
    upstream = meta.text("upstream")
    arrival = arrival_of(flow, upstream, Arrivals().arrive(meta.whole("received_us")))
    found = exchange_of(flow, arrival, Outcome.ANSWERED)
    request = replace(
        found.request,
        path=found.request.path.removeprefix(_server(upstream).path),
        http_version=meta.text("request_version"),
        headers=headers_of(flow.request.headers),
        complete=meta.flag("complete"),
        body_state=meta.body_state("body_state"),
        whole=meta.whole_body("request_body"),
    )
    response = found.response
    if response is not None:
        version, whole = meta.text("response_version"), meta.whole_body("response_body")
        response = replace(response, http_version=version, whole=whole)
    return replace(
        found,
        duration_us=meta.whole("duration_us") if meta.has("duration_us") else None,
        client_address=meta.optional_text("client_address"),
        outcome=meta.outcome("outcome"),
        reason=meta.optional_text("reason"),
        note=meta.optional_text("note"),
        request=request,
        response=response,
    )


def pieces(session: Session, exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """Yield a session as a flow file in pieces, the same for the same session. Several may stand behind each other."""
    name = (
        f"{session.upstream} {session.session_id} {session.started_at.isoformat()}"  # not our id: imports get a new one
    )
    for number, exchange in enumerate(exchanges, 1):
        yield tnetstring.dumps(_flow(exchange, session, name, number).get_state())


def _flow(exchange: Exchange, session: Session, name: str, number: int) -> HTTPFlow:
    url = _server(exchange.upstream)
    begin = (exchange.received_at - _EPOCH) / timedelta(seconds=1)
    end = begin + (exchange.duration_us or 0) / 1_000_000
    flow = HTTPFlow(
        Client(
            id=_id(f"{name} {exchange.client_address}"),
            peername=(exchange.client_address or "", 0),
            sockname=("", 0),
            timestamp_start=begin,
            proxy_mode=ProxyMode.parse(f"reverse:{url.origin}"),
        ),
        Server(
            id=_id(f"{name} {exchange.upstream}"),
            address=(url.host, url.port),
            peername=exchange.server_address,
            tls=url.scheme == "https",
        ),
    )
    flow.id, flow.timestamp_created = _id(f"{name} {number}"), begin
    flow.request = _request(exchange.request, url, begin)
    answer = exchange.response
    if answer is not None:
        flow.response = FlowResponse(
            http_version=_version(answer.http_version),
            status_code=answer.status,
            reason=_latin(answer.reason),
            headers=_fields(answer.headers),
            content=answer.body,
            trailers=None,
            timestamp_start=end,
            timestamp_end=end,
        )
    if exchange.outcome is not Outcome.ANSWERED:
        flow.error = Error(exchange.reason or exchange.outcome.value, timestamp=end)
    flow.metadata[_META] = json.dumps(_told(exchange, session))
    return flow


def _request(request: Request, url: ServerUrl, at: float) -> FlowRequest:
    is_http2 = request.http_version.startswith("HTTP/2")
    return FlowRequest(
        host=url.host,
        port=url.port,
        method=_latin(request.method),
        scheme=url.scheme.encode(),
        authority=_latin(header(request.headers, "host") or "") if is_http2 else b"",
        path=url.path.encode() + _latin(request.path),
        http_version=_version(request.http_version),
        headers=_fields(request.headers),
        content=None if request.body_state is BodyState.MISSING and not request.body else request.body,
        trailers=None,
        timestamp_start=at,
        timestamp_end=at if request.complete else None,
    )


def _told(exchange: Exchange, session: Session) -> dict[str, object]:
    """Return what a flow has no place for."""
    return {
        "upstream": exchange.upstream,
        "received_us": (exchange.received_at - _EPOCH) // _MICROSECOND,
        "duration_us": exchange.duration_us,
        "client_address": exchange.client_address,
        "outcome": exchange.outcome.value,
        "reason": exchange.reason,
        "note": exchange.note,
        "complete": exchange.request.complete,
        "body_state": exchange.request.body_state.value,
        "request_version": exchange.request.http_version,
        "request_body": whole_members(exchange.request.whole) or None,
        "response_version": None if exchange.response is None else exchange.response.http_version,
        "response_body": None if exchange.response is None else whole_members(exchange.response.whole) or None,
        "recording": session.recording,
        "pseudonymised": session.pseudonymised,
        "has_holes": session.has_holes,
    }


def _server(upstream: str) -> ServerUrl:
    try:
        return parse_server_url(upstream)
    except SettingsError:
        return ServerUrl("http", "unknown.invalid", 80)


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _version(version: str) -> bytes:
    return b"HTTP/2.0" if version == "HTTP/2" else _latin(version)


def _fields(headers: Headers) -> FlowHeaders:
    return FlowHeaders([(_latin(name), _latin(value)) for name, value in headers])


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")
