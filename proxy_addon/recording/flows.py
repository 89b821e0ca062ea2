"""From mitmproxy's live objects to values: what the device sent, where it goes, and finally the exchange.

What the device sent is copied when its headers arrive, before anything is rewritten for upstream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mitmproxy.http import Headers as FlowHeaders
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.mode_specs import RegularMode, ReverseMode

from proxy_addon.core.exchange import Exchange, Headers, Outcome, Request, Response
from proxy_addon.core.urls import ServerUrl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request whose headers have arrived.

    Attributes:
        request: The request as the device sent it, still without its body.
    """

    id: str
    upstream: str
    received_at: datetime
    client_address: str | None
    request: Request


def began_us(flow: HTTPFlow) -> int:
    """Return when the first byte of a flow's request arrived, in Unix microseconds."""
    return round(flow.request.timestamp_start * 1_000_000)


def arrival_of(flow: HTTPFlow, upstream: str, arrived: tuple[str, int]) -> Arrival:
    """Return what the device sent, without its body. Call it before the flow is changed.

    Args:
        arrived: ID and time of arrival, from `proxy_addon.recording.arrivals.Arrivals`.
    """
    request = flow.request
    headers = headers_of(request.headers)
    if request.authority and not any(name.lower() == "host" for name, _ in headers):
        headers = (("host", request.authority), *headers)  # HTTP/2 has it as :authority
    peer = flow.client_conn.peername
    id, at_us = arrived
    return Arrival(
        id=id,
        upstream=upstream,
        received_at=_EPOCH + timedelta(microseconds=at_us),
        client_address=peer[0] if peer else None,
        request=Request(
            method=request.data.method.decode("latin-1"),
            path=request.data.path.decode("latin-1"),
            http_version=_version(request.http_version),
            headers=headers,
        ),
    )


def upstream_url(flow: HTTPFlow, named: ServerUrl | None) -> str:
    """Return the upstream that a flow goes to: as the user named it, or scheme, host and port.

    Args:
        named: The upstream of the reverse proxy as the user named it.
    """
    mode = flow.client_conn.proxy_mode
    if isinstance(mode, ReverseMode):
        return str(_named_for(mode, named))
    request = flow.request
    # A device that is configured to use the proxy says where to connect, and its Host header may say anything. For a
    # device that was redirected here without knowing, we only have an address and the Host header.
    host = request.host if isinstance(mode, RegularMode) else request.pretty_host
    return f"{request.scheme}://{f'[{host}]' if ':' in host else host}:{request.port}"


def address_to_upstream(flow: HTTPFlow, named: ServerUrl | None, *, keep_host: bool) -> None:
    """Rewrite a reverse proxy's request for upstream: set its ``Host``, prepend its path, drop a foreign authority."""
    mode = flow.client_conn.proxy_mode
    if not isinstance(mode, ReverseMode):
        return
    url = _named_for(mode, named)
    request = flow.request
    if not (request.is_http2 or request.is_http3):
        # A request in absolute form would be forwarded as it is and name another server.
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
            headers=headers_of(flow.response.headers),
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
        reason=None if flow.error is None or outcome is Outcome.ANSWERED else flow.error.msg,
    )


def _server_address(flow: HTTPFlow) -> tuple[str, int] | None:
    peer = flow.server_conn.peername if flow.server_conn is not None else None
    return (peer[0], peer[1]) if peer else None


def _named_for(mode: ReverseMode, named: ServerUrl | None) -> ServerUrl:
    """Return the upstream of a reverse proxy: as the user named it, if that is the server to which it connects."""
    connected = _reverse_url(mode)
    return named if named is not None and named.origin == connected.origin else connected


def _reverse_url(mode: ReverseMode) -> ServerUrl:
    host, port = mode.address
    return ServerUrl("http" if mode.scheme == "http" else "https", host, port)


def headers_of(headers: FlowHeaders) -> Headers:
    """Return mitmproxy's headers as ours."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields)


def _version(version: str) -> str:
    return "HTTP/2" if version.startswith("HTTP/2") else version
