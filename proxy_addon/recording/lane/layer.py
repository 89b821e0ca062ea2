"""The lane inside mitmproxy: our own HTTP/1.1 on top of mitmproxy's sockets and TLS.

`Lanes` is what a process has of it, and an addon of mitmproxy; its `take` puts a `Lane` in the place of mitmproxy's HTTP
layer. A lane tells a `Conversation` what happens on a device's connection, and does what it says. Where the device
negotiates HTTP/2, a lane puts mitmproxy's own layer in its place.

mitmproxy's layers stop while a command of theirs is carried out. A lane never stops: a device may leave, and time may run
out, while a connection to upstream is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from itertools import islice
from typing import Any, Protocol

from mitmproxy.connection import Client, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import ServerTLSLayer
from mitmproxy.proxy.mode_specs import ReverseMode

from proxy_addon.journal.entries import Dropped, Exchanged
from proxy_addon.process import logs
from proxy_addon.process.sockets import why_unconnected
from proxy_addon.recording import stream
from proxy_addon.recording.internals import (
    ConnectionHandler,
    HttpLayer,
    deliver,
    give_up_on_deaf,
    hang_up,
    outlive_device,
    tell_of_resets,
)
from proxy_addon.recording.lane.actions import (
    Action,
    Blind,
    CloseDevice,
    CloseUpstream,
    Connect,
    HalfCloseDevice,
    Judge,
    Kind,
    Record,
    Tell,
    ToDevice,
    ToUpstream,
)
from proxy_addon.recording.lane.conversation import Conversation, Settings
from proxy_addon.recording.loops import ITSELF, Loops, is_refused_as_loop

logger = logs.logger(__name__)

Done = Callable[[BaseException | None], object]
Commands = Generator[commands.Command, Any, None]

SILENT_S = 60.0
"""How long a connection may stand without a byte, or with a TLS handshake that does not end."""
DEAF_S = 60.0
"""How long the other side of a connection that was closed may read nothing of what was still to be sent."""
_BEGINNINGS_OF_TLS = (b"\x16", b"\x16\x03")
_SHED = 16
"""How many connections are closed at a time to make room."""


class Recording(Protocol):
    """What takes the exchanges of lanes."""

    def put(self, entry: Exchanged, done: Done | None) -> object:
        """Take an exchange, and call ``done`` in the event loop once it is safe; None if nobody waits for that."""

    def ended(self) -> object:
        """An exchange that `Settings.arrive` has announced was put, and its answer is on its way."""

    def lose(self, dropped: Dropped) -> object:
        """An exchange that `Settings.arrive` has announced is lost, and will not be put; it is named as the device named it."""

    def judge(self, entry: Exchanged, judged: Callable[[str | None], object]) -> object:
        """Call ``judged`` in the event loop, now or later, with what the device is told; None if the request may pass."""


class Told(Protocol):
    """What tells people of problems, sparing with lines."""

    def tell(self, kind: Kind, text: str, device: str | None, request: str = "") -> object:
        """Tell what a conversation says, as of `proxy_addon.recording.lane.actions.Tell`."""

    def unreachable(self, reason: str) -> object:
        """A request could not reach upstream."""

    def reachable(self) -> object:
        """A connection to upstream was made."""


class Lanes:
    """The lanes of a process; an addon of mitmproxy, for its hooks on connections.

    Attributes:
        settings: What all conversations have in common.
    """

    def __init__(
        self,
        settings: Settings,
        recording: Recording,
        told: Told,
        loops: Loops,
        handlers: Mapping[Any, ConnectionHandler],
    ) -> None:
        """Begin without a connection.

        Args:
            handlers: mitmproxy's handlers of connections, by IDs of clients.
        """
        self.settings = settings
        self.recording = recording
        self.told = told
        self.loops = loops
        self._handlers = handlers
        self._lanes: dict[str, Lane] = {}
        self._silent: dict[str, asyncio.TimerHandle] = {}
        self._emptied = asyncio.Event()

    def take(self, layer: NextLayer) -> bool:
        """Put a lane in the place of the HTTP layer that a connection was just given; return False if there is none.

        The layers of TLS stay, and decide later whether the device speaks HTTP/2.
        """
        client, layers = layer.context.client, layer.context.layers
        last = layers[-1] if layers else None
        handler = self._handlers.get(client.id)
        if not (isinstance(client.proxy_mode, ReverseMode) and isinstance(last, HttpLayer) and handler is not None):
            return False
        if layer.data_client() in _BEGINNINGS_OF_TLS:
            del layers[1:]  # all but that of the mode
            layer.layer = None  # mitmproxy asks again when there is more, and has taken it for HTTP
            return True
        layers.pop()
        lane = Lane(layer.context, self, handler)
        if layer.layer is last:
            layer.layer = lane
        else:
            layers[-2].child_layer = lane  # type: ignore[attr-defined]  # the layer of TLS
        return True

    async def end(self, within_s: float) -> int:
        """Let requests in flight finish, and interrupt the rest; return how many were interrupted.

        Connections without a request are closed at once, the others after their answer. New ones must not come any more.
        """
        for lane in list(self._lanes.values()):
            lane.deliver(_Drain())
        if self._lanes:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), within_s)
        left = [lane for lane in self._lanes.values() if not lane.is_idle]
        for lane in left:
            lane.deliver(_Stop())
        return len(left)

    def make_room(self) -> int:
        """Close some connections without a request, those first that never had one; return how many."""
        if closed := sum([self._hang_up(client) for client in list(islice(self._silent, _SHED))]):
            return closed
        idle = nsmallest(
            _SHED, (lane for lane in self._lanes.values() if lane.is_idle), key=lambda lane: lane.active_us
        )
        for lane in idle:
            lane.deliver(_Drain())
        return len(idle)

    # Called by lanes

    def begin(self, lane: Lane) -> None:
        """Note that a device speaks HTTP/1.1."""
        self._speaks(lane.client.id)
        self._lanes[lane.client.id] = lane
        self._emptied.clear()

    def leave(self, client: Client) -> None:
        """Note that mitmproxy's own layer has a connection."""
        self._speaks(client.id)

    def over(self, lane: Lane) -> None:
        """Note that a conversation is over."""
        self._lanes.pop(lane.client.id, None)
        if not self._lanes:
            self._emptied.set()

    # Hooks

    def client_connected(self, client: Client) -> None:
        """Give a device time to speak; in a mode that has no lanes, none would note that it does."""
        if isinstance(client.proxy_mode, ReverseMode):
            loop = asyncio.get_running_loop()
            self._silent[client.id] = loop.call_later(SILENT_S, self._hang_up, client.id)

    def client_disconnected(self, client: Client) -> None:
        """Forget a device."""
        self._speaks(client.id)
        lane = self._lanes.get(client.id)
        if lane is not None:
            lane.gone()

    def _speaks(self, client: str) -> None:
        timer = self._silent.pop(client, None)
        if timer is not None:
            timer.cancel()

    def _hang_up(self, client: str) -> bool:
        if client not in self._handlers or not hang_up(self._handlers[client]):
            return False
        self._speaks(client)
        return True


class _Committed(events.Event):
    def __init__(self, token: int) -> None:
        self.token = token


class _Judged(events.Event):
    def __init__(self, token: int, refusal: str | None) -> None:
        self.token = token
        self.refusal = refusal


class _TimedOut(events.Event):
    pass


class _Drain(events.Event):
    pass


class _Stop(events.Event):
    pass


class _ThroughTls(events.Event):
    """A command for a connection to upstream, on its way through the layer of TLS."""

    def __init__(self, command: commands.Command) -> None:
        self.command = command


class _Above(Layer):
    """What stands on the TLS of a connection to upstream: passes commands down, and keeps events until they are fetched."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.events: list[events.Event] = []

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, _ThroughTls):
            event.command.blocking = self
            yield event.command
        else:
            self.events.append(event)


class Lane(Layer):
    """A device's connection, and those to upstream that serve it.

    Attributes:
        active_us: When something happened last, in Unix microseconds.
    """

    def __init__(self, context: Context, lanes: Lanes, handler: ConnectionHandler) -> None:
        super().__init__(context)
        self.client = context.client
        self.active_us = 0
        self._lanes = lanes
        self._handler = handler
        self._server: Server | None = None
        self._tls: ServerTLSLayer | None = None
        self._above: _Above | None = None
        self._is_blind = False
        self._is_over = False
        self._recorded = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_us = 0
        self._conversation: Conversation = None  # type: ignore[assignment]  # made when the device speaks

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not self._is_blind and self._conversation.is_idle

    def handle_event(self, event: events.Event) -> Commands:
        """Tell the conversation what has happened, and yield what mitmproxy has to do about it."""
        return self._handle_event(event)  # mitmproxy's own method waits for commands to be carried out

    def _handle_event(self, event: events.Event) -> Commands:
        self.active_us = now_us = time.time_ns() // 1000
        if isinstance(event, _Committed):
            self._lanes.recording.ended()
        if self._is_over:
            return
        try:
            if isinstance(event, events.DataReceived):
                if event.connection is self.client:
                    if self._is_blind:
                        yield from self._to_upstream(event.data)
                    else:
                        yield from self._do(self._conversation.device_sent(event.data, now_us), now_us)
                elif event.connection is self._server:
                    yield from self._of_upstream(event, now_us)
            elif isinstance(event, _Committed):
                yield from self._do(self._conversation.committed(event.token, now_us), now_us)
            else:
                yield from self._seldom(event, now_us)
        except Exception:  # a fault of ours ends this connection, and no other
            logger.exception("a connection was closed because of an error in sessiontape")
            self._lose(now_us)
            yield from self._close()
        self._set_timer(now_us)

    def deliver(self, event: events.Event) -> None:
        """Handle an event that does not come from a socket."""
        deliver(self._handler, event)

    def gone(self) -> None:
        """Note that mitmproxy has closed the device's connection, and will close that to upstream."""
        self._forget()

    # Events ------------------------------------------------------------------------------------------------------

    def _seldom(self, event: events.Event, now_us: int) -> Commands:
        match event:
            case events.Start():
                yield from self._start(event, now_us)
            case events.ConnectionClosed(connection=connection) if connection is self.client:
                yield from self._device_closed(now_us)
            case events.ConnectionClosed(connection=connection) if connection is self._server:
                yield from self._of_upstream(event, now_us)
            case events.CommandCompleted():
                yield from self._of_upstream(event, now_us)
            case _Drain() | _Stop() if self._is_blind:
                yield from self._close()
            case _TimedOut():
                yield from self._do(self._conversation.timed_out(now_us), now_us)
            case _Judged():
                yield from self._do(self._conversation.judged(event.token, event.refusal, now_us), now_us)
            case _Drain():
                yield from self._do(self._conversation.drain(now_us), now_us)
            case _Stop():
                yield from self._do(self._conversation.stop(now_us), now_us)
            case _:
                pass  # of a connection to upstream that was given up

    def _start(self, event: events.Start, now_us: int) -> Commands:
        if self.client.alpn == b"h2":
            self._lanes.leave(self.client)
            self.context.layers.remove(self)
            child = HttpLayer(self.context, HTTPMode.transparent)
            stream.extend(child, self._lanes.loops)
            self.handle_event = child.handle_event  # type: ignore[method-assign]
            yield from child.handle_event(event)
            return
        address = self.client.peername
        self._conversation = Conversation(self._lanes.settings, address[0] if address else None, now_us)
        self._lanes.begin(self)
        outlive_device(self._handler)
        tell_of_resets(self._handler)

    def _device_closed(self, now_us: int) -> Commands:
        if self._is_blind:
            if self._server is not None:
                yield from self._below(commands.CloseTcpConnection(self._server, half_close=True))
        else:
            yield from self._do(self._conversation.device_closed(now_us), now_us)

    def _of_upstream(self, event: events.Event, now_us: int) -> Commands:
        """Handle an event of the connection to upstream, which may have to go through the layer of TLS first."""
        if self._tls is None or self._above is None:
            yield from self._upstream(event, now_us)
            return
        above = self._above
        yield from self._tls.handle_event(event)
        while above.events:
            yield from self._upstream(above.events.pop(0), now_us)

    def _upstream(self, event: events.Event, now_us: int) -> Commands:
        if isinstance(event, events.DataReceived):
            if self._is_blind:
                yield commands.SendData(self.client, event.data)
            elif event.connection is self._server:
                yield from self._do(self._conversation.upstream_sent(event.data, now_us), now_us)
        elif isinstance(event, events.ConnectionClosed):
            if self._is_blind:
                yield from self._close()
            elif event.connection is self._server:
                yield from self._do(self._conversation.upstream_closed(now_us), now_us)
        elif isinstance(event, events.OpenConnectionCompleted) and event.command.connection is self._server:
            yield from self._opened(event.reply, now_us)

    def _opened(self, error: str | None, now_us: int) -> Commands:
        server, loops, told = self._server, self._lanes.loops, self._lanes.told
        assert server is not None  # for mypy
        if error is None and server.peername and not loops.leads_back(server.peername):
            told.reachable()
            peer = (server.peername[0], server.peername[1])
            is_recorder = loops.is_recorder(peer)
            yield from self._do(self._conversation.connected(peer, now_us, is_recorder=is_recorder), now_us)
            return
        yield from self._drop_upstream()
        if error is None or is_refused_as_loop(error):
            told.tell("loop", ITSELF, None)
            yield from self._do(self._conversation.unconnected(ITSELF, now_us, status=508), now_us)
        else:
            reason = why_unconnected(server.address[0] if server.address else "upstream", error)
            told.unreachable(reason)
            is_reset = stream.was_reset(error)
            yield from self._do(self._conversation.unconnected(reason, now_us, is_reset=is_reset), now_us)

    # Actions -----------------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action], now_us: int) -> Commands:
        for action in actions:
            kind = type(action)
            if kind is ToDevice:
                yield commands.SendData(self.client, action.data)  # type: ignore[union-attr]
            elif kind is ToUpstream:
                if self._tls is None and self._server is not None:
                    yield commands.SendData(self._server, action.data)  # type: ignore[union-attr]
                else:
                    yield from self._to_upstream(action.data)  # type: ignore[union-attr]
            elif kind is Record:
                self._record(action)  # type: ignore[arg-type]
            else:
                yield from self._do_seldom(action)

    def _do_seldom(self, action: Action) -> Commands:
        match action:
            case Connect():
                yield from self._connect()
            case CloseUpstream():
                yield from self._drop_upstream()
            case HalfCloseDevice():
                yield commands.CloseTcpConnection(self.client, half_close=True)
            case CloseDevice():
                yield from self._close()
            case Judge():
                self._lanes.recording.judge(action.exchange, partial(self._judged, action.token))
            case Tell():
                device = self.client.peername[0] if self.client.peername else None
                self._lanes.told.tell(action.kind, action.text, device, action.request)
            case Blind():
                self._is_blind = True
            case _:
                raise AssertionError(action)

    def _record(self, action: Record) -> None:
        recording = self._lanes.recording
        recording.put(action.exchange, partial(self._committed, action.token) if action.waits else None)
        self._recorded += 1
        if not action.waits:
            recording.ended()

    def _lose(self, now_us: int) -> None:
        """Have what has arrived and was not put counted as lost."""
        if self._conversation is not None:
            for dropped in self._conversation.lost(self._recorded, now_us):
                self._lanes.recording.lose(dropped)

    def _committed(self, token: int, _: BaseException | None) -> None:
        self.deliver(_Committed(token))

    def _judged(self, token: int, refusal: str | None) -> None:
        self.deliver(_Judged(token, refusal))

    def _connect(self) -> Commands:
        """Open a connection; each has a `Server` of its own, because mitmproxy's layers of TLS cannot be used again."""
        reverse = self.client.proxy_mode
        assert isinstance(reverse, ReverseMode)  # see `Lanes.take`
        server = self._server = Server(address=self.context.server.address)
        if reverse.scheme == "https":
            server.sni = self.context.server.sni
            server.alpn_offers = (b"http/1.1",)
            below = self.context.fork()
            below.server = server
            self._tls = ServerTLSLayer(below, server)
            self._tls.child_layer = self._above = _Above(below)
        yield from self._below(commands.OpenConnection(server))

    def _to_upstream(self, data: bytes) -> Commands:
        if self._server is not None:
            yield from self._below(commands.SendData(self._server, data))

    def _below(self, command: commands.ConnectionCommand) -> Commands:
        if self._tls is None:
            if command.blocking:
                command.blocking = self  # so that no layer below waits for it
            yield command
        else:
            yield from self._tls.handle_event(_ThroughTls(command))

    def _drop_upstream(self) -> Commands:
        server, self._server, self._tls, self._above = self._server, None, None, None
        if server is not None:
            give_up_on_deaf(self._handler, server, DEAF_S)
            yield commands.CloseConnection(server)

    def _close(self) -> Commands:
        yield from self._drop_upstream()
        give_up_on_deaf(self._handler, self.client, DEAF_S)
        yield commands.CloseConnection(self.client)
        self._is_over = True
        self._forget()

    def _forget(self) -> None:
        self._lanes.over(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Time --------------------------------------------------------------------------------------------------------

    def _set_timer(self, now_us: int) -> None:
        """Wake up when time may run out. A timer that is early is left as it is, because most deadlines move on."""
        if self._is_over or self._conversation is None:
            return
        deadline_us = self._conversation.deadline_us
        if deadline_us is None or (self._timer is not None and self._wakes_us <= deadline_us):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_us = deadline_us
        after_s = max(0.0, (deadline_us - now_us) / 1_000_000)
        self._timer = asyncio.get_running_loop().call_later(after_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.deliver(_TimedOut())
