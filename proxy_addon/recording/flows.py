"""From mitmproxy's live objects to values: what the device sent, where it goes, and in the end the exchange.

What the device sent is taken down when its headers arrive, before anything is rewritten for upstream.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mitmproxy.http import Headers as FlowHeaders
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.mode_specs import RegularMode, ReverseMode

from proxy_addon.core.exchange import Exchange, Headers, Outcome, Request, Response
from proxy_addon.core.urls import ServerUrl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BACKWARDS = timedelta(seconds=1)
"""A clock that went back further than this was set; keeping up with the old time would falsify all that follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request whose headers are there.

    Attributes:
        request: As the device sent it, still without its body.
    """

    id: str
    upstream: str
    received_at: datetime
    client_address: str | None
    request: Request


class Arrivals:
    """Takes down requests as they arrive; no two of one recorder arrive at the same microsecond."""

    def __init__(self) -> None:
        self._latest = _EPOCH

    def take_down(self, flow: HTTPFlow, upstream: str) -> Arrival:
        """Return what the device sent, to be called before the flow is changed."""
        at = _EPOCH + timedelta(seconds=flow.request.timestamp_start)
        if self._latest - _BACKWARDS < at <= self._latest:
            at = self._latest + timedelta(microseconds=1)
        self._latest = at
        request = flow.request
        headers = _headers(request.headers)
        if request.authority and not any(name.lower() == "host" for name, _ in headers):
            headers = (("host", request.authority), *headers)  # HTTP/2 has it as :authority
        peer = flow.client_conn.peername
        return Arrival(
            # Sorts by time, so that rows come to lie in the store in the order in which they are read.
            id=f"{(at - _EPOCH) // timedelta(microseconds=1):016x}{secrets.token_hex(8)}",
            upstream=upstream,
            received_at=at,
            client_address=peer[0] if peer else None,
            request=Request(
                method=request.data.method.decode("latin-1"),
                path=request.data.path.decode("latin-1"),
                http_version=_version(request.http_version),
                headers=headers,
            ),
        )


def upstream_url(flow: HTTPFlow, named: ServerUrl | None) -> str:
    """Return the upstream a flow goes to: as the user named it, else scheme, host and port.

    Args:
        named: What the user gave as upstream of the reverse proxy.
    """
    mode = flow.client_conn.proxy_mode
    if isinstance(mode, ReverseMode):
        return str(_named_for(mode, named))
    request = flow.request
    # A device that was told of a proxy says where to connect; its Host header may say anything. Of one that was
    # brought here without knowing, only an address is known beside that.
    host = request.host if isinstance(mode, RegularMode) else request.pretty_host
    return f"{request.scheme}://{f'[{host}]' if ':' in host else host}:{request.port}"


def address_to_upstream(flow: HTTPFlow, named: ServerUrl | None, *, keep_host: bool) -> None:
    """Make a request of a reverse proxy one for upstream: its ``Host``, its path in front, no foreign authority."""
    mode = flow.client_conn.proxy_mode
    if not isinstance(mode, ReverseMode):
        return
    url = _named_for(mode, named)
    request = flow.request
    if not (request.is_http2 or request.is_http3):
        # A request in absolute form would go to upstream as it came, naming another server.
        request.authority = ""
    if not keep_host:
        request.host_header = url.authority
    if url.path:
        request.data.path = url.path.encode("ascii") + request.data.path


def exchange_of(flow: HTTPFlow, arrival: Arrival, outcome: Outcome) -> Exchange:
    """Return the exchange that a flow has become."""
    request = replace(
        arrival.request,
        body=flow.request.raw_content or b"",
        complete=flow.request.timestamp_end is not None,
    )
    response = None
    duration_us = None
    if outcome is Outcome.ANSWERED and flow.response is not None:
        response = Response(
            status=flow.response.status_code,
            reason=flow.response.data.reason.decode("latin-1"),
            http_version=_version(flow.response.http_version),
            headers=_headers(flow.response.headers),
            body=flow.response.raw_content or b"",
        )
        if flow.response.timestamp_end is not None:
            duration_us = max(0, round((flow.response.timestamp_end - flow.request.timestamp_start) * 1_000_000))
    return Exchange(
        id=arrival.id,
        upstream=arrival.upstream,
        received_at=arrival.received_at,
        duration_us=duration_us,
        client_address=arrival.client_address,
        server_address=_server_address(flow),
        outcome=outcome,
        request=request,
        response=response,
    )


def _server_address(flow: HTTPFlow) -> tuple[str, int] | None:
    peer = flow.server_conn.peername if flow.server_conn is not None else None
    return (peer[0], peer[1]) if peer else None


def _named_for(mode: ReverseMode, named: ServerUrl | None) -> ServerUrl:
    """Return the upstream of a reverse proxy: as the user named it, if that is the server it connects to."""
    connected = _reverse_url(mode)
    return named if named is not None and named.origin == connected.origin else connected


def _reverse_url(mode: ReverseMode) -> ServerUrl:
    host, port = mode.address
    return ServerUrl("http" if mode.scheme == "http" else "https", host, port)


def _headers(headers: FlowHeaders) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields)


def _version(version: str) -> str:
    return "HTTP/2" if version.startswith("HTTP/2") else version
