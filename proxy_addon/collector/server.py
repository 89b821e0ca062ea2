"""The collector's HTTP server: it reads requests, carries out faults, sends answers and writes the log.

Compressed bodies are not decompressed, so that the log and its hashes contain what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11

from proxy_addon.collector.answers import error
from proxy_addon.collector.backend import Backend, Decision
from proxy_addon.collector.faults import Action
from proxy_addon.collector.journal import Journal, entry
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


def serve(backend: Backend, address: Address, *, journal: Journal | None, ready: Callable[[str], None]) -> None:
    """Answer requests until a signal ends the process.

    Args:
        backend: Decides the answers.
        address: Where to listen.
        journal: Gets an entry for each request; None for no log.
        ready: Called with the URL once connections are accepted.

    Raises:
        SettingsError: The address cannot be listened on, the certificate cannot be used, or the log cannot be written.
    """
    asyncio.run(_serve(backend, address, journal, ready))


async def _serve(backend: Backend, address: Address, journal: Journal | None, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    collector = _Collector(backend, journal, stop)
    with signals.calling_on_signals(stop.set):
        async with listening(collector, address) as url:
            ready(url)
            await stop.wait()
    if collector.failure is not None:
        raise collector.failure


@asynccontextmanager
async def listening(collector: _Collector, address: Address) -> AsyncIterator[str]:
    """Accept connections until the block ends; yield the URL.

    Raises:
        SettingsError: The address cannot be listened on, or the certificate cannot be used.
    """
    context = None if address.certificate is None else _tls_context(address.certificate)
    loop = asyncio.get_running_loop()
    manager = web.Server(collector.handle, handler_cancellation=True)
    try:
        server = await loop.create_server(
            lambda: _Connection(
                manager,
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
        server.close()
        collector.stopping.set()
        manager.pre_shutdown()
        await manager.shutdown(_SHUTDOWN_S)
        # A client that does not read keeps its connection open; do not wait for it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_S):
                await server.wait_closed()


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


class _Collector:
    """Carries out what the back end decides.

    Attributes:
        stopping: Set when the collector has to stop; it sets this itself when it cannot go on.
        failure: Why the collector cannot go on; None as long as it can.
    """

    def __init__(self, backend: Backend, journal: Journal | None, stopping: asyncio.Event) -> None:
        self._backend = backend
        self._journal = journal
        self.stopping = stopping
        self.failure: SessiontapeError | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request whose head has arrived."""
        received_at, monotonic_s = datetime.now(UTC), time.monotonic()
        head = _head_of(request)
        read = bytearray()

        def note(value: Request, decision: Decision) -> None:
            if self._journal is not None:
                self._write(entry(value, decision, received_at=received_at, monotonic_s=monotonic_s))

        try:
            await _read_body(request, read)
        except (asyncio.CancelledError, ConnectionError):
            note(replace(head, body=bytes(read), complete=False), _broken_off(head, None))
            raise
        except (web.RequestPayloadError, HttpProcessingError, _TooLarge) as e:
            refused = _refusal(e)
            if isinstance(e, _TooLarge):
                read.clear()  # keeps bodies that are refused as too large out of the log
            note(replace(head, body=bytes(read), complete=False), _broken_off(head, refused))
            response = _to_aiohttp(refused)
            response.force_close()
            return response
        value = replace(head, body=bytes(read))
        decision = self._backend.decide(value)
        note(value, decision)
        return await self._carry_out(request, decision)

    async def _carry_out(self, request: web.BaseRequest, decision: Decision) -> web.StreamResponse:
        match decision.fault.action if decision.fault else None:
            case Action.HANG:
                await self.stopping.wait()
                return _closed(request)
            case Action.DROP:
                return _closed(request)
            case Action.DELAY:
                assert decision.fault is not None
                if await self._stops_within(decision.fault.number):
                    return _closed(request)
        assert decision.response is not None
        if decision.fault and decision.fault.action is Action.CUT:
            return await _send_half(request, decision.response)
        return _to_aiohttp(decision.response)

    async def _stops_within(self, delay_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self.stopping.wait()
        return self.stopping.is_set()

    def _write(self, document: dict[str, Any]) -> None:
        assert self._journal is not None
        try:
            self._journal.write(document)
        except SettingsError as e:
            # A log with missing lines would mislead its readers, so stop.
            self.failure = e
            self.stopping.set()


class _TooLarge(Exception):
    """A body is larger than `MAX_BODY_BYTES`."""


class _Connection(web.RequestHandler):
    """A connection that answers invalid HTTP with 400 without logging it as an error of the collector."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, HttpProcessingError):
            response = _to_aiohttp(_refusal(exc))
            response.force_close()
            return response
        return super().handle_error(request, status, exc, message)

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


def _refusal(e: Exception) -> Response:
    if isinstance(e, _TooLarge):
        return error(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    first_line = str(getattr(e, "message", "") or e).strip().partition("\n")[0].rstrip(":")
    return error(400, f"this is not HTTP: {first_line or type(e).__name__}")


def _to_aiohttp(response: Response) -> web.Response:
    return web.Response(
        status=response.status,
        reason=response.reason or None,
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
