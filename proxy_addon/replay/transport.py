"""Send requests over HTTP/1.1, exactly as recorded and exactly once.

A thin client of our own: httptools parses answers, and asyncio or uvloop transfers bytes. Headers are sent as recorded,
byte for byte. The client does nothing that was not asked for: it follows no redirects, keeps no cookies, uses no
proxies or credentials from the environment, looks up no names, and decompresses nothing.

Connections are reused. To avoid sending on one that the server has closed, idle connections are kept only briefly, and
the socket is checked before each request. If a server still closes a connection at the moment of sending, nobody can
tell whether it took the request. Then the request has failed; no request is ever repeated.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import socket
import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httptools

from proxy_addon.core.exchange import Headers, Request, Response
from proxy_addon.errors import SettingsError
from proxy_addon.replay.connecting import Proxy, connect
from proxy_addon.replay.engine import Failure, TransportError
from proxy_addon.replay.resolving import CheckedTarget

_LONGEST_HEAD = 64 * 1024
"""Longest head of an answer, in bytes; HTTP stacks of devices accept about as much."""
_LARGEST_BODY = 64 * 2**20
"""Largest body of an answer, in bytes; several must fit into memory."""
_IDLE_S = 4.0
"""How long an idle connection is kept; common servers close it after five seconds."""
_GOODBYE_S = 1.0
"""How long the server may take to close TLS."""
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose requests need no ``Content-Length`` if they have no body (RFC 9110, 8.6)."""
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"(?:/[^\x00-\x20\x7f]*|\*)\Z")
"""What may follow the method; not a whole URL, which a proxy would obey instead of the target's address."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z\x80-\xff-]+\Z")
_KEPT_S = re.compile(r"timeout\s*=\s*(?P<seconds>[0-9]{1,6})", re.IGNORECASE)


def tls_context(*, insecure: bool = False, ca: Path | None = None) -> ssl.SSLContext:
    """Return a context that says how the target's certificate is checked.

    Args:
        insecure: Accept any certificate.
        ca: A PEM file of authorities to trust instead of the system's.

    Raises:
        SettingsError: The file cannot be read, or contains no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as e:
        raise SettingsError(f"cannot use the CA file {ca}: {e}", hint="the file has to hold certificates as PEM") from e
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpTransport:
    """Sends requests to one checked target; an async context manager."""

    def __init__(
        self,
        target: CheckedTarget,
        *,
        timeout_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Make a transport without connecting.

        Args:
            timeout_s: Longest time from the beginning of connecting to the last byte of the answer.
            tls: As `tls_context` returns it; by default, with the system's authorities.
            proxy: The proxy to connect through; None for none.
        """
        self._target = target
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._tls = None if target.url.scheme != "https" else tls or tls_context()
        self._has_connected = False
        self._idle: list[_Connection] = []  # the most recently used is at the end
        self._open: set[_Connection] = set()
        authority, self._name = _names(target)
        self._host: Headers = (("Host", authority),)
        self._base = quote(target.url.path, safe="/%:@!$&'()*+,;=~")

    @property
    def has_connected(self) -> bool:
        """Whether a connection to the target has ever succeeded, TLS included."""
        return self._has_connected

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        gone = [connection.gone for connection in self._open]
        for connection in list(self._open):
            connection.close()
        if gone:
            await asyncio.wait(gone, timeout=_GOODBYE_S)
        for connection in list(self._open):
            connection.abort()  # the server did not close TLS

    async def send(self, request: Request) -> Response:
        """Send a request, its path appended to the target's, and return the answer.

        Raises:
            TransportError: There is no complete answer.
        """
        try:
            head = self._head_of(request)
        except ValueError as e:
            raise TransportError(Failure.INVALID, f"cannot be sent: {e}") from e
        until_s = asyncio.get_running_loop().time() + self._timeout_s
        connection = self._kept() or await self._new(until_s)
        try:
            response = await connection.ask(head + request.body, is_head=request.method == "HEAD", until_s=until_s)
        except TimeoutError as e:
            raise TransportError(Failure.TIMEOUT, f"no complete answer within {self._timeout_s:g} s") from e
        except asyncio.CancelledError:
            connection.abort()
            raise
        if connection.kept_until_s is not None:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def framed(self, request: Request) -> Request:
        """Return a request as it is sent: the target's path in front, ``Host`` first, ``Content-Length`` last."""
        headers = (*self._host_for(request), *request.headers, *_length(request))
        return replace(request, path=self._base + request.path, headers=headers)

    def _kept(self) -> _Connection | None:
        """Return an open idle connection, or None; close those that have been idle for too long."""
        now_s = asyncio.get_running_loop().time()
        while self._idle and self._idle[0].is_over(now_s):
            self._idle.pop(0).close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(now_s):
                return connection
            connection.close()
        return None

    async def _new(self, until_s: float) -> _Connection:
        try:
            async with asyncio.timeout_at(until_s):
                return await self._connect(until_s)
        except TimeoutError as e:
            raise TransportError(Failure.UNREACHABLE, f"no connection within {self._timeout_s:g} s") from e
        except OSError as e:
            raise TransportError(Failure.UNREACHABLE, _unreachable(e)) from e

    async def _connect(self, until_s: float) -> _Connection:
        """Connect to the first checked address that accepts; the remaining time is shared among the addresses."""
        failure: OSError | None = None
        addresses = self._target.addresses
        for place, number in enumerate(addresses):
            left_s = until_s - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(left_s / (len(addresses) - place)):
                    return await self._connect_to(number)
            except ssl.SSLError:
                raise  # the server is there, and another address would lead to the same one
            except OSError as e:
                failure = failure or e
        raise failure or OSError("it has no address")

    async def _connect_to(self, number: str) -> _Connection:
        sock = await connect(number, self._target.url.port, self._proxy)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(sock, self._open),
                sock=sock,
                ssl=self._tls,
                server_hostname=self._name if self._tls is not None else None,
            )
        except BaseException:
            sock.close()
            raise
        self._has_connected = True
        return connection

    def _head_of(self, request: Request) -> bytes:
        """Return the request line and headers as they are sent.

        Raises:
            ValueError: They would not be valid HTTP, or would mean something else than what was recorded.
        """
        path = self._base + request.path
        if not _TOKEN.match(request.method):
            raise ValueError(f"{request.method!r} is not a method")
        if not _TARGET.match(request.path):
            raise ValueError(f"{request.path!r} is not a path")
        lines = f"{_lines(self._host_for(request))}{_lines(request.headers)}{_lines(_length(request))}"
        return f"{request.method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _host_for(self, request: Request) -> Headers:
        """Return the ``Host`` to add: the target's, or none if the request begins with its own."""
        own = request.headers[:1]
        return () if own and own[0][0].lower() == "host" else self._host


def _length(request: Request) -> Headers:
    if request.body or request.method not in _WITHOUT_BODY:
        return (("Content-Length", str(len(request.body))),)
    return ()


@functools.lru_cache(maxsize=1024)
def _lines(headers: Headers) -> str:
    """Return headers as they are sent; cached because those of a session are mostly the same.

    Raises:
        ValueError: They would not be valid HTTP.
    """
    for name, value in headers:
        if not {"\r", "\n", "\0"}.isdisjoint(name + value):
            raise ValueError(f"the header {name!r} has a line end or NUL in it")
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is not a header name")
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


class _Connection(asyncio.Protocol):
    """One connection, which carries one request after the other.

    Attributes:
        kept_until_s: Until when, by the loop's clock, it may be reused; None if it may not.
        gone: A future that is done once the connection is closed.
    """

    def __init__(self, sock: socket.socket, among: set[_Connection]) -> None:
        self._socket = sock
        self._among = among
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._is_head = False
        self._has_begun = False
        self._begin_answer()
        self.kept_until_s: float | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._until_s = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def _begin_answer(self) -> None:
        self._reason = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._until_end = False

    async def ask(self, request: bytes, *, is_head: bool, until_s: float) -> Response:
        """Send a request and return the answer.

        Args:
            until_s: When to give up, by the loop's clock.

        Raises:
            TimeoutError: The answer was not complete in time; the connection can no longer be used.
            TransportError: The connection ended before the answer was complete, or the answer is not HTTP.
        """
        assert self._transport is not None
        self._is_head, self._has_begun, self.kept_until_s = is_head, False, None
        self._begin_answer()
        self._answer = self._loop.create_future()
        if self.gone.done():
            raise TransportError(Failure.CLOSED, "the connection was closed before anything was sent")
        self._until_s = until_s
        if self._alarm is None:
            self._alarm = self._loop.call_at(until_s, self._ring)
        self._transport.write(request)
        return await self._answer

    def _ring(self) -> None:
        """Give up on a late answer. One timer serves all requests; it is set again when it fires too early."""
        self._alarm = None
        if self._answer is None or self._answer.done():
            return
        if self._loop.time() < self._until_s:
            self._alarm = self._loop.call_at(self._until_s, self._ring)
            return
        self._answer.set_exception(TimeoutError())
        self.abort()

    def is_over(self, now_s: float) -> bool:
        """Whether it has been idle for too long."""
        return self.kept_until_s is None or now_s >= self.kept_until_s

    def is_usable(self, now_s: float) -> bool:
        """Whether it is open with nothing to read. Asks the socket, because the loop may not have noticed its end."""
        if self.is_over(now_s) or self._transport is None or self._transport.is_closing():
            return False
        try:
            self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # the connection has ended, or has data that no request asked for

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of the event loop ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is a Transport without declaring it
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.kept_until_s = None  # data without a request
            self.abort()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._answered(may_go_on=False)
        except httptools.HttpParserError as e:
            said = " ".join(str(e.__context__ or e).split())
            self._fail(f"the answer is not HTTP: {said}")

    def eof_received(self) -> None:
        """Let the connection close; `connection_lost` comes next."""

    def connection_lost(self, error: Exception | None) -> None:
        self._among.discard(self)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self.gone.done():
            self.gone.set_result(None)
        if self._answer is None or self._answer.done():
            return
        if self._until_end and error is None:
            self._answered(may_go_on=False)
        elif self._has_begun:
            self._fail("the connection ended before the answer was complete")
        else:
            self._fail("the connection was closed without an answer" + (f": {error}" if error else ""))

    # Callbacks of the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is not None and self._answer.done():
            self.kept_until_s = None  # a second answer to one request
            self.abort()
        self._begin_answer()

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value), _LONGEST_HEAD)
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._size = 0
        status = self._parser.get_status_code()
        if self._is_head and status >= 200:
            self._answered(may_go_on=False)  # the parser would wait for a body that does not come
            return
        names = {name.lower() for name, _ in self._headers}
        self._until_end = status >= 200 and status not in (204, 304) and names.isdisjoint(_SAYS_LENGTH)

    def on_body(self, piece: bytes) -> None:
        self._grow(len(piece), _LARGEST_BODY)
        self._body.append(piece)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return  # an interim answer; the final one follows
        self._answered(may_go_on=self._parser.should_keep_alive())

    def _grow(self, by: int, most: int) -> None:
        self._size += by
        if self._size > most:
            self._fail(f"the answer is larger than {most} bytes")

    def _answered(self, *, may_go_on: bool) -> None:
        if self._answer is None or self._answer.done():
            return
        response = Response(
            status=self._parser.get_status_code(),
            reason=self._reason.decode("latin-1"),
            http_version=f"HTTP/{self._parser.get_http_version()}",
            headers=tuple(self._headers),
            body=b"".join(self._body),
        )
        self.kept_until_s = self._loop.time() + self._kept_for_s() if may_go_on else None
        self._answer.set_result(response)

    def _kept_for_s(self) -> float:
        for name, value in self._headers:
            if name.lower() == "keep-alive" and (said := _KEPT_S.search(value)):
                return min(_IDLE_S, int(said["seconds"]) * 0.8)
        return _IDLE_S

    def _fail(self, reason: str) -> None:
        self.kept_until_s = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TransportError(Failure.CLOSED, reason))
        self.abort()


_SAYS_LENGTH = frozenset({"content-length", "transfer-encoding"})


def _names(target: CheckedTarget) -> tuple[str, str]:
    """Return the value of ``Host``, and the name for which the certificate has to be valid."""
    host = target.url.host
    try:
        ip_address(host)
    except ValueError:
        if not host.isascii():
            encoded = host.encode("idna").decode()
            return target.url.authority.replace(host, encoded), encoded
        if host.replace(".", "").isdigit() and target.addresses:
            # The system takes '127.1' for an address, but certificates contain the full form.
            return target.url.authority, target.addresses[0]
    return target.url.authority, host


def _unreachable(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"cannot connect: the TLS handshake failed ({error.reason or error}); is it http?"
    return f"cannot connect: {os.strerror(error.errno) if error.errno and error.errno > 0 else error}"
