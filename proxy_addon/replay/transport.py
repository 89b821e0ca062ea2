"""Send requests with aiohttp, exactly as recorded and exactly once.

What aiohttp would do by itself is switched off: redirects, cookies, proxies and credentials from the environment,
decompression. The head of a request is ours, byte for byte; aiohttp would merge headers whose names differ in case,
add some of its own, quote paths and write UTF-8.

Each request has a connection of its own: on a kept one a server may hang up at the moment of sending, and then nobody
can tell whether it took the request; none is ever repeated.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from proxy_addon.core.exchange import Request, Response
from proxy_addon.errors import SettingsError
from proxy_addon.replay.engine import Failure, TransportError
from proxy_addon.replay.resolving import CheckedTarget

_LONGEST_LINE = 65536
"""Of an answer's status line or header; devices' stacks are as patient."""
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose requests need no ``Content-Length`` where they have no body (RFC 9110, 8.6)."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"[^\x00-\x20\x7f]+\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z\x80-\xff-]+\Z")
_LINE = re.compile(r"[^\r\n\x00]*\Z")
_head: ContextVar[bytes] = ContextVar("_head")
"""The head of the request that the current task sends."""


def tls_context(*, insecure: bool = False, ca: Path | None = None) -> ssl.SSLContext:
    """Return how the target's certificate is judged.

    Args:
        insecure: Any certificate will do.
        ca: A PEM file of authorities to trust in place of the system's.

    Raises:
        SettingsError: The file cannot be read, or has no certificate in it.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as e:
        raise SettingsError(f"cannot use the CA file {ca}: {e}", hint="it should have certificates as PEM") from e
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpTransport:
    """Sends requests to one checked target; an async context manager."""

    def __init__(self, target: CheckedTarget, *, timeout_s: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        """Prepare sending; nothing is opened yet.

        Args:
            timeout_s: From the beginning of connecting to the last byte of the answer.
            tls: As from `tls_context`; the system's authorities by default.
        """
        self._target = target
        self._timeout_s = timeout_s
        self._tls = tls
        self._has_connected = False
        self._http: aiohttp.ClientSession | None = None
        self._authority, self._url_host = _names(target)

    @property
    def has_connected(self) -> bool:
        """Whether a connection to the target has ever succeeded, TLS included."""
        return self._has_connected

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(self._connecting)
        trace.on_connection_create_end.append(self._connected)
        connector = aiohttp.TCPConnector(
            force_close=True,
            limit=0,
            resolver=_Pinned(self._target.addresses),
            socket_factory=self._socket,
            ssl=True if self._tls is None else self._tls,
            use_dns_cache=False,
        )
        self._http = aiohttp.ClientSession(
            auto_decompress=False,
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=_LONGEST_LINE,
            max_line_size=_LONGEST_LINE,
            request_class=_Request,
            # One time limit for all, set where it can be told apart from others.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[trace],
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, request: Request) -> Response:
        """Send a request, its path behind the target's.

        Raises:
            TransportError: There is no complete answer.
        """
        assert self._http is not None, "used outside its context"
        try:
            _head.set(self._head_of(request))
        except ValueError as e:
            raise TransportError(Failure.INVALID, f"cannot be sent: {e}") from e
        url = URL.build(scheme=self._target.url.scheme, host=self._url_host, port=self._target.url.port, path="/")
        state = SimpleNamespace(connections=0, connected=False)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.request(
                    # Whether the answer has a body depends on it; what goes out is in the head.
                    "HEAD" if request.method == "HEAD" else "POST",
                    url,
                    allow_redirects=False,
                    data=request.body or None,
                    trace_request_ctx=state,
                ) as answer,
            ):
                return Response(
                    status=answer.status,
                    reason=answer.reason or "",
                    http_version="HTTP/1.1" if answer.version is None else "HTTP/{}.{}".format(*answer.version),
                    headers=tuple(
                        (name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers
                    ),
                    body=await answer.read(),
                )
        except TimeoutError as e:
            what = "no complete answer" if state.connected else "no connection"
            kind = Failure.TIMEOUT if state.connected else Failure.UNREACHABLE
            raise TransportError(kind, f"{what} within {self._timeout_s:g} s") from e
        except (aiohttp.ClientError, OSError) as e:
            if state.connected:
                raise TransportError(Failure.CLOSED, _closed(e)) from e
            raise TransportError(Failure.UNREACHABLE, _unreachable(e)) from e

    def _head_of(self, request: Request) -> bytes:
        """Return request line and headers as they go out.

        Raises:
            ValueError: They would not be HTTP, or something else than was recorded.
        """
        headers = [("Host", self._authority), *request.headers]
        if request.body or request.method not in _WITHOUT_BODY:
            headers.append(("Content-Length", str(len(request.body))))
        path = quote(self._target.url.path, safe="/%:@!$&'()*+,;=~") + request.path
        if not _TOKEN.match(request.method):
            raise ValueError(f"{request.method!r} is no method")
        if not _TARGET.match(path):
            raise ValueError(f"{path!r} is no path")
        for name, value in headers:
            if not _NAME.match(name):
                raise ValueError(f"{name!r} is no header name")
            if not _LINE.match(value):
                raise ValueError(f"the header {name} has a line end or NUL in it")
        lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    async def _connecting(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        state = context.trace_request_ctx
        state.connections += 1
        if state.connections > 1:
            # aiohttp repeats what it takes for harmless (HEAD) when a connection dies; we never do.
            raise aiohttp.ServerDisconnectedError

    async def _connected(self, _: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.connected = True
        self._has_connected = True

    def _socket(self, address: Any) -> socket.socket:
        """Make a socket for a checked address: the last look before a connection, whatever was resolved above."""
        family, kind, protocol, _, sockaddr = address
        if ip_address(str(sockaddr[0]).partition("%")[0]) not in {
            ip_address(number.partition("%")[0]) for number in self._target.addresses
        }:
            raise OSError(f"{sockaddr[0]} is not the address that was checked")
        return socket.socket(family, kind, protocol)


class _Pinned(AbstractResolver):
    """Knows nothing but the addresses that were checked."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


class _Request(aiohttp.ClientRequest):
    """A request whose head is ours."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        conn.protocol.transport = _WithHead(conn.protocol.transport, _head.get())
        return await super().send(conn)


class _WithHead:
    """A transport that puts a head in the place of the one that is written, up to the first empty line."""

    def __init__(self, transport: Any, head: bytes) -> None:
        self._transport = transport
        self._head: bytes | None = head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head is not None:
            # aiohttp writes its head in one piece, alone or with the beginning of the body.
            _, end, body = bytes(data).partition(b"\r\n\r\n")
            assert end, "a head in several pieces"
            data, self._head = self._head + body, None
        self._transport.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))


def _names(target: CheckedTarget) -> tuple[str, str]:
    """Return what ``Host`` says, and the host aiohttp is to connect to."""
    host = target.url.host
    try:
        ip_address(host)
    except ValueError:
        if not host.isascii():
            encoded = host.encode("idna").decode()
            return target.url.authority.replace(host, encoded), encoded
        if host.replace(".", "").isdigit():
            # '127.1' is an address to the system and to aiohttp, which would not ask our resolver for it.
            host = target.addresses[0]
    return target.url.authority, f"[{host}]" if ":" in host else host


def _unreachable(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return f"cannot connect: there is no TLS that we understand ({cause.reason or cause}); is it http?"
    number = getattr(cause, "errno", None)
    return f"cannot connect: {os.strerror(number) if number and number > 0 else cause}"


def _closed(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended before the answer was complete"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is no HTTP: {' '.join(error.message.split())}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    return f"the connection was closed without an answer: {error}"
