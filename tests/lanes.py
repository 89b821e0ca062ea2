"""mitmproxy's server with lanes, or with the hooks path's streams, in a thread of the test's process.

What lanes record is kept in a list. One such server can run in a process at a time, because mitmproxy has one context.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mitmproxy.addonmanager import Loader
from mitmproxy.addons.core import Core
from mitmproxy.addons.next_layer import NextLayer as ChoosesLayers
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.http import HTTPFlow
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.layer import NextLayer

from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.journal.entries import Dropped, Exchanged
from proxy_addon.recording import stream
from proxy_addon.recording.crowds import Crowds
from proxy_addon.recording.flows import address_to_upstream
from proxy_addon.recording.internals import hang_up, listen_for_many
from proxy_addon.recording.lane.actions import Kind
from proxy_addon.recording.lane.conversation import Settings
from proxy_addon.recording.lane.layer import Done, Lanes
from proxy_addon.recording.loops import Loops

SOON_S = 30


class Kept:
    """Takes what lanes record and tell. What has to wait for its commit waits until `release`, if ``holds``."""

    def __init__(self) -> None:
        self.entries: list[Exchanged] = []
        self.lost: list[Dropped] = []
        self.told: list[tuple[str, str]] = []
        self.arrived = 0
        self.gone = 0
        self.holds = False
        self.refusal: str | None = None
        self._held: list[Done] = []
        self._changed = threading.Condition()

    def arrive(self, at_us: int) -> tuple[str, int]:
        self.arrived += 1
        return f"{self.arrived:032x}", at_us + self.arrived

    def put(self, entry: Exchanged, done: Done | None) -> None:
        with self._changed:
            self.entries.append(entry)
            if done is not None and self.holds:
                self._held.append(done)
            elif done is not None:
                done(None)
            self._changed.notify_all()

    def ended(self) -> None:
        with self._changed:
            self.gone += 1
            self._changed.notify_all()

    def lose(self, dropped: Dropped) -> None:
        with self._changed:
            self.lost.append(dropped)
            self.gone += 1
            self._changed.notify_all()

    def judge(self, entry: Exchanged, judged: Callable[[str | None], object]) -> None:
        judged(self.refusal)

    def tell(self, kind: Kind, text: str, device: str | None, request: str = "") -> None:
        with self._changed:
            self.told.append((kind, text))
            self._changed.notify_all()

    def unreachable(self, reason: str) -> None:
        self.tell("upstream", f"unreachable: {reason}", None)

    def reachable(self) -> None:
        pass

    def wait(self, until: Callable[[], Any]) -> None:
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(until, SOON_S), (self.entries, self.told)

    def wait_for(self, count: int) -> list[Exchanged]:
        """Wait until so many exchanges were recorded, and return them."""
        self.wait(lambda: len(self.entries) >= count)
        return self.entries

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit what waits."""
        held, self._held = self._held, []
        for done in held:
            loop.call_soon_threadsafe(done, None)


class _Puts:
    """The addon that puts lanes or our streams on connections."""

    def __init__(self, lanes: Lanes | None, loops: Loops, upstream: ServerUrl) -> None:
        self._lanes = lanes
        self._loops = loops
        self._upstream = upstream

    def load(self, loader: Loader) -> None:
        loader.add_option("tape_upstream_timeout", str, "30", "as of the addon")

    def next_layer(self, layer: NextLayer) -> None:
        if layer.context.server.sni is None:
            layer.context.server.sni = self._upstream.host
        if self._lanes is None or not self._lanes.take(layer):
            stream.install(layer, self._loops)

    def requestheaders(self, flow: HTTPFlow) -> None:
        address_to_upstream(flow, self._upstream, keep_host=False)


class Serving:
    """A server that runs."""

    def __init__(
        self,
        upstream: str,
        engine: str,
        *,
        listen: str,
        modes: Sequence[str],
        files: int | None,
        settings: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        self.upstream = parse_server_url(upstream)
        self.kept = Kept()
        self.port = 0
        self.lanes: Lanes
        self.loop: asyncio.AbstractEventLoop
        self._engine = engine
        self._listen = listen
        self._modes = modes
        self._files = files
        self._settings = settings
        self._options = options
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(SOON_S)
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._master.shutdown)
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    def end(self, within_s: float) -> int:
        """End the lanes; return how many were interrupted."""
        return asyncio.run_coroutine_threadsafe(self.lanes.end(within_s), self.loop).result(SOON_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as e:  # noqa: BLE001  # the test sees it
            self._failed = e
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._master = Master(Options())
        server = Proxyserver()
        loops = Loops("the-run", server.listen_addrs)
        settings = Settings(
            authority=self.upstream.authority.encode(),
            arrive=self.kept.arrive,
            prefix=self.upstream.path.encode(),
            mark=loops.run.encode(),
        )
        self.lanes = Lanes(replace(settings, **self._settings), self.kept, self.kept, loops, server.connections)
        puts = _Puts(self.lanes if self._engine == "lane" else None, loops, self.upstream)
        crowds = Crowds(self._files, self.lanes.make_room)
        self._master.addons.add(Core(), server, ChoosesLayers(), TlsConfig(), puts, self.lanes, crowds, self)
        listen_for_many(share_port=False)
        self._master.options.update(
            connection_strategy="lazy",
            keep_host_header=True,
            mode=[f"reverse:{self.upstream.origin}@{self._listen}", *self._modes],
            **self._options,
        )
        self._server = server
        await self._master.run()

    def running(self) -> None:
        """Note that the server listens; a hook of mitmproxy."""
        self.port = next(iter(self._server.servers)).listen_addrs[0][1]  # that of the reverse proxy
        self._ready.set()

    async def done(self) -> None:
        """Listen no more, and close all connections; a hook of mitmproxy."""
        for each in self._server.servers:
            await each.stop()
        await self.lanes.end(0)
        for handler in list(self._server.connections.values()):
            hang_up(handler)
        while self._server.connections:  # noqa: ASYNC110  # there is nothing to wait for
            await asyncio.sleep(0)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(
    upstream: str,
    engine: str = "lane",
    *,
    listen: str = "127.0.0.1:0",
    modes: Sequence[str] = (),
    files: int | None = None,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Serving]:
    """Run a server; ``settings`` are those of conversations that differ from the usual ones.

    Args:
        modes: Of mitmproxy, beside the reverse proxy.
    """
    found = Serving(upstream, engine, listen=listen, modes=modes, files=files, settings=settings, options=options or {})
    found.start()
    try:
        yield found
    finally:
        found.stop()
