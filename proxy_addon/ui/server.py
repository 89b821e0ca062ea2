"""The server of the live pages, from its address to its end."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy_addon.core.judging.policy import Policy
from proxy_addon.process import signals
from proxy_addon.process.sockets import in_url, listener
from proxy_addon.ui.guarding import Access, Guard, is_loopback
from proxy_addon.ui.pages import app
from proxy_addon.ui.reading import Reading
from proxy_addon.ui.threads import Threads
from proxy_addon.ui.watching import Watching

END_S = 2
"""How long unfinished answers may take when the server stops."""
HEAD_S = 10.0
"""How long a browser may take to ask for something once it is connected."""
_CONNECTIONS = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the pages show, and where.

    Attributes:
        store_url: The store.
        listen: Host and port; port 0 takes a free one.
        policy: How strictly to judge.
        option: The option with the address, for messages.
        token: What readers have to know if other machines reach the address; None for a new one.
    """

    store_url: str
    listen: tuple[str, int]
    policy: Policy
    option: str = "--listen"
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Where the pages are.

    Attributes:
        url: The address to open, with the token if one is needed.
        port: Its port.
        is_public: Whether other machines reach it.
    """

    url: str
    port: int
    is_public: bool


def run(options: Options, ready: Callable[[Opened], None], *, ends_with: BinaryIO | None = None) -> None:
    """Serve the pages until a signal comes.

    Args:
        ready: Called once connections are accepted.
        ends_with: The server also stops when this stream ends.

    Raises:
        SettingsError: The address cannot be listened on.
        StorageError: The store cannot be read, or its schema is not that of this version.
    """
    with ExitStack() as stack:
        reading = stack.enter_context(closing(Reading(options.store_url)))
        with reading.open():
            pass  # it is there, and of this version
        listening = stack.enter_context(closing(listener(*options.listen, options.option)))
        asyncio.run(_serve(options, reading, listening, ready, ends_with))


async def _serve(
    options: Options,
    reading: Reading,
    listening: socket.socket,
    ready: Callable[[Opened], None],
    ends_with: BinaryIO | None,
) -> None:
    address, port = listening.getsockname()[:2]
    is_public = not is_loopback(address)
    token = options.token or secrets.token_urlsafe(24)
    access = Access(host=options.listen[0], port=port, token=token if is_public else None)
    with closing(Reading(options.store_url)) as watched:
        watching, threads = Watching(watched, options.policy), Threads()
        server = _Server(
            uvicorn.Config(
                Guard(app(reading, watching, options.policy, threads), access),
                http=_Connection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody else says who asks
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=END_S,
            ),
            lambda: ready(Opened(url=_url(access, address), port=port, is_public=is_public)),
        )

        def end() -> None:
            server.should_exit = True
            watching.end()
            threads.end()

        with signals.calling_on_signals(end), _ending_with(ends_with, end):
            async with _running(watching):
                await server.serve(sockets=[listening])


class _Connection(H11Protocol):
    """Is closed if it asks for nothing, or never ends asking: there is room for so many, with or without the token."""

    _asks: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._asks is not None:
            self._asks.cancel()

    def _await_request(self) -> None:
        if self._asks is not None:
            self._asks.cancel()
        self._asks = self.loop.call_later(HEAD_S, self._let_go)

    def _let_go(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """Leaves signals to us, and calls a function when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


@asynccontextmanager
async def _running(watching: Watching) -> AsyncIterator[None]:
    task = asyncio.create_task(watching.run(), name="sessiontape-watching")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _ending_with(stream: BinaryIO | None, end: Callable[[], None]) -> Iterator[None]:
    """Call a function in the running loop when a stream ends."""
    if stream is not None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            while stream.read(1024):
                pass
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(end)

        threading.Thread(target=wait, name="sessiontape-parent", daemon=True).start()
    yield


def _url(access: Access, address: str) -> str:
    """Return the address to open; for one that stands for all addresses, it has the name of this machine."""
    host = access.host
    if address in {"0.0.0.0", "::"}:  # noqa: S104  # the user asked for it
        host = socket.gethostname()
        try:
            socket.getaddrinfo(host, access.port)
        except OSError:
            host = "127.0.0.1"
    query = "" if access.token is None else f"?token={access.token}"
    return f"http://{in_url(host)}:{access.port}/{query}"
