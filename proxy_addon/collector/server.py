"""The HTTP server: it reads whole requests, asks a handler or a collector for the answer, and sends it.

Compressed bodies are not decompressed, so that logs and hashes contain what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11

from proxy_addon.collector.answers import error
from proxy_addon.collector.backend import Arrival, Decision
from proxy_addon.collector.recorded import Ending
from proxy_addon.core.exchange import Headers, Request, Response
from proxy_addon.core.routes import Operation, Route, parse_route
from proxy_addon.errors import SessiontapeError, SettingsError
from proxy_addon.process import signals
from proxy_addon.process.sockets import cannot_listen, in_url

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A larger body is answered 413. The protocol documents no limit, and batches may be long."""

_MAX_HEAD_BYTES = 64 * 1024
"""Longest request line and longest header."""
_SHUTDOWN_S = 0.5
"""How long a request in progress may continue after the collector was told to stop."""
_ACCEPTING_TAKES = 3
"""Rounds of the event loop from accepting a connection until the manager, which closes it, knows of it; at most."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen.

    Attributes:
        host: A name or an address; IPv6 without brackets.
        port: 0 for any free port.
        certificate: A PEM file with a certificate and its private key, for https; None for http.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    certificate: Path | None = None

    def url(self, port: int) -> str:
        """Return the URL that clients use, with the port that is listened on."""
        return f"{'http' if self.certificate is None else 'https'}://{in_url(self.host)}:{port}"


type Handler = Callable[[Request], Awaitable[Response]]
"""Answers a whole request. It is cancelled when the client leaves or the server stops."""
type Refusal = Callable[[int, str], Response]
"""Makes the answer with a status and a message to what never gets as far as a handler, or makes it fail."""


@asynccontextmanager
async def serving(handler: Handler, address: Address, refuse: Refusal = error) -> AsyncIterator[str]:
    """Let a handler answer requests until the block ends; yield the URL, with the port that was taken.

    Raises:
        SettingsError: The address cannot be listened on, or the certificate cannot be used.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        read = bytearray()
        try:
            await _read_body(request, read)
        except _UNREADABLE as e:
            return _last(_refusal(e, refuse))
        return _to_aiohttp(await handler(replace(_head_of(request), body=bytes(read))))

    async with _listening(handle, address, refuse) as url:
        yield url


@asynccontextmanager
async def collecting(collector: Collector, address: Address) -> AsyncIterator[str]:
    """Let a collector answer requests until the block ends; yield the URL, with the port that was taken.

    Raises:
        SettingsError: The address cannot be listened on, or the certificate cannot be used.
    """
    async with _listening(collector.handle, address, error) as url:
        try:
            yield url
        finally:
            collector.stopping.set()


def serve(collector: Callable[[], Collector], address: Address, *, ready: Callable[[str], None]) -> None:
    """Answer requests until a signal ends the process, or the collector fails.

    Args:
        collector: Makes the collector; called in the event loop.
        address: Where to listen.
        ready: Called with the URL once connections are accepted.

    Raises:
        SettingsError: The address cannot be listened on, the certificate cannot be used, or the log cannot be written.
    """
    asyncio.run(_serve(collector, address, ready))


async def _serve(make: Callable[[], Collector], address: Address, ready: Callable[[str], None]) -> None:
    collector = make()
    with signals.calling_on_signals(collector.stopping.set):
        async with collecting(collector, address) as url:
            ready(url)
            await collector.stopping.wait()
    if collector.failure is not None:
        raise collector.failure


@asynccontextmanager
async def _listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], address: Address, refuse: Refusal
) -> AsyncIterator[str]:
    context = None if address.certificate is None else _tls_context(address.certificate)
    loop = asyncio.get_running_loop()
    manager = web.Server(handle, handler_cancellation=True)
    try:
        server = await loop.create_server(
            lambda: _Connection(
                manager,
                refuse,
                loop=loop,
                auto_decompress=False,
                max_line_size=_MAX_HEAD_BYTES,
                max_field_size=_MAX_HEAD_BYTES,
            ),
            address.host,
            address.port,
            ssl=context,
            backlog=512,
        )
    except OSError as e:
        raise cannot_listen(address.host, address.port, e) from e
    try:
        yield address.url(server.sockets[0].getsockname()[1])
    finally:
        await _stop_accepting(server)
        server.close()
        manager.pre_shutdown()
        await manager.shutdown(_SHUTDOWN_S)
        # A client that does not read keeps its connection open; do not wait for it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_S):
                await server.wait_closed()


async def _stop_accepting(server: asyncio.Server) -> None:
    """Accept no more connections, and finish accepting those that are begun.

    asyncio loses a connection that is half accepted when its server is closed: nobody closes it then.
    """
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # on Windows, whose loop accepts in another way
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(_ACCEPTING_TAKES):
        await asyncio.sleep(0)


def _tls_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Given a password, OpenSSL does not ask for one on the terminal.
        context.load_cert_chain(certificate, password="")
    except (OSError, ValueError) as e:
        raise SettingsError(
            f"cannot use the certificate {certificate}: {e.strerror if isinstance(e, OSError) else e}",
            hint="--cert takes a PEM file with a certificate and its private key, without a password",
        ) from e
    return context


class Observer(Protocol):
    """Hears of each request that a collector receives, in the event loop, in the order in which they are decided."""

    def received(self, arrival: Arrival, decision: Decision) -> None:
        """Take a request whose answer has been decided but not sent.

        Raises:
            SettingsError: It cannot be taken, and the collector has to stop.
        """

    def ended(self, arrival: Arrival, *, answered: bool) -> None:
        """Take it that a whole answer was sent, or that the client left before.

        Not called for a request that is to get no whole answer, nor if the collector stops.
        """


class Collector:
    """Carries out what a back end decides. Make it in the event loop in which it is used.

    Attributes:
        stopping: Set when the collector has to stop; it sets this itself when it cannot go on.
        failure: Why the collector cannot go on; None as long as it can.
    """

    def __init__(self, decide: Callable[[Request], Decision], observer: Observer | None = None) -> None:
        """Make a collector.

        Args:
            decide: Decides on a whole request; called in the order in which their last bytes arrive.
            observer: Hears of each request; None for nobody.
        """
        self._decide = decide
        self._observer = observer
        self.stopping = asyncio.Event()
        self.failure: SessiontapeError | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request whose head has arrived."""
        head = _head_of(request)
        arrival = Arrival(
            request=head,
            received_at=datetime.now(UTC),
            monotonic_s=time.monotonic(),
            client_address=request.remote,
        )
        read = bytearray()
        try:
            await _read_body(request, read)
        except (asyncio.CancelledError, ConnectionError):
            broken = replace(head, body=bytes(read), complete=False)
            self._note(replace(arrival, request=broken), _broken_off(head, None))
            raise
        except _UNREADABLE as e:
            refused = _refusal(e, error)
            # A body that is too large is kept out of the log.
            broken = replace(head, body=b"" if isinstance(e, _TooLarge) else bytes(read), complete=False)
            self._note(replace(arrival, request=broken), _broken_off(head, refused))
            return _last(refused)
        arrival = replace(arrival, request=replace(head, body=bytes(read)))
        decision = self._decide(arrival.request)
        self._note(arrival, decision)
        try:
            answer = await self._carry_out(request, arrival, decision)
            if answer is None:
                return _closed(request)
            await answer.prepare(request)
            await answer.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            if self._observer is not None and decision.ending in _AWAITED and not self.stopping.is_set():
                self._observer.ended(arrival, answered=False)
            raise
        if self._observer is not None and decision.ending is Ending.ANSWER:
            self._observer.ended(arrival, answered=True)
        return answer

    async def _carry_out(
        self, request: web.BaseRequest, arrival: Arrival, decision: Decision
    ) -> web.StreamResponse | None:
        """Return the answer when it is due; None if the connection is to be closed without one."""
        elapsed_s = time.monotonic() - arrival.monotonic_s
        wait_s = max(0.0, decision.duration_s - elapsed_s) + decision.delay_s
        if wait_s and await self._stops_within(wait_s):
            return None
        if decision.ending is Ending.HANG:
            await self.stopping.wait()
        if decision.response is None:
            return None
        if decision.ending is Ending.CUT:
            return await _send_half(request, decision.response)
        return _to_aiohttp(decision.response)

    async def _stops_within(self, delay_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self.stopping.wait()
        return self.stopping.is_set()

    def _note(self, arrival: Arrival, decision: Decision) -> None:
        if self._observer is None:
            return
        try:
            self._observer.received(arrival, decision)
        except SettingsError as e:
            # A log with missing lines would mislead its readers, so stop.
            self.failure = e
            self.stopping.set()


class _TooLarge(Exception):
    """A body is larger than `MAX_BODY_BYTES`."""


_UNREADABLE = (web.RequestPayloadError, HttpProcessingError, _TooLarge)
"""What is raised when a body cannot be read to its end although the client is there."""


_AWAITED = (Ending.ANSWER, Ending.HANG)
"""Endings before which a client can leave."""


class _Connection(web.RequestHandler):
    """A connection that answers invalid HTTP with 400 without logging it as an error of ours."""

    __slots__ = ("_refuse",)

    def __init__(self, manager: web.Server, refuse: Refusal, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._refuse = refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, HttpProcessingError):
            return _last(_refusal(exc, self._refuse))
        super().handle_error(request, status, exc, message)  # logs it
        return _last(self._refuse(status, "this request made the server fail; its log says why"))

    def log_exception(self, *args: Any, exc_info: Any = None, **kwargs: Any) -> None:
        if isinstance(exc_info, web.RequestPayloadError | HttpProcessingError | ConnectionError):
            return
        _log.error(*args, exc_info=exc_info, **kwargs)


async def _read_body(request: web.BaseRequest, into: bytearray) -> None:
    """Read a body to its end; if that fails, ``into`` has what arrived."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _TooLarge
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # aiohttp would take any output for the beginning of the answer
    async for chunk in request.content.iter_any():
        into += chunk
        if len(into) > MAX_BODY_BYTES:
            raise _TooLarge


def _head_of(request: web.BaseRequest) -> Request:
    # aiohttp decoded the path as UTF-8 with surrogateescape, which can be undone to get the bytes back.
    path = request.raw_path.encode("utf-8", "surrogateescape").decode("latin-1")
    version = request.version
    return Request(
        method=request.method,
        path=path,
        http_version=f"HTTP/{version.major}.{version.minor}",
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers),
    )


def _broken_off(head: Request, response: Response | None) -> Decision:
    route = parse_route(head.method, head.path) or Route(operation=Operation.OTHER)
    return Decision(operation=route.operation, session_id=route.session_id, response=response)


def _refusal(e: Exception, refuse: Refusal) -> Response:
    if isinstance(e, _TooLarge):
        return refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    first_line = str(getattr(e, "message", "") or e).strip().partition("\n")[0].rstrip(":")
    return refuse(400, f"this is not HTTP: {first_line or type(e).__name__}")


def _last(response: Response) -> web.Response:
    """Return an answer after which the connection is closed."""
    answer = _to_aiohttp(response)
    answer.force_close()
    return answer


class _Answer(web.Response):
    """A response with the headers that it was given, and otherwise only those about its connection and its ``Date``."""

    async def _prepare_headers(self) -> None:
        added = {"Server", "Content-Type"} - {name.title() for name in self.headers}
        await super()._prepare_headers()
        for name in added:
            self.headers.popall(name, None)


def _to_aiohttp(response: Response) -> web.Response:
    return _Answer(
        status=response.status,
        reason=_wire_value(response.reason) or None,
        headers=_wire_headers(response.headers),
        body=response.body,
    )


def _wire_headers(headers: Headers) -> list[tuple[str, str]]:
    return [(name, _wire_value(value)) for name, value in headers]


def _wire_value(value: str) -> str:
    """Return a header's value such that aiohttp, which encodes it as UTF-8, writes the recorded bytes."""
    value = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", " ", value)
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value  # not UTF-8: aiohttp cannot write these bytes


def _closed(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection of a request; return an answer only because aiohttp wants one, for it will not be sent."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def _send_half(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Send the head of an answer and half of the body that it announces, then close the connection."""
    headers = [pair for pair in _wire_headers(response.headers) if pair[0].lower() != "content-length"]
    stream = web.StreamResponse(status=response.status, reason=response.reason or None, headers=headers)
    stream.content_length = len(response.body)
    await stream.prepare(request)
    await stream.write(response.body[: len(response.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return stream
