"""The internals of mitmproxy that we use although they may change. They are checked when this module is imported.

If a version lacks one of these names, this is reported at once rather than by a failure at the first request.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dis import get_instructions
from importlib.metadata import version
from types import coroutine as coroutine_of_generator
from typing import Any

from proxy_addon.errors import RecorderError

_HINT = "install the version of mitmproxy that this version of sessiontape was tested with: see pyproject.toml"


def _changed(what: str) -> RecorderError:
    return RecorderError(
        f"mitmproxy {version('mitmproxy')} has changed in what the recorder builds on: {what}", hint=_HINT
    )


try:
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.connection import Connection, ConnectionState
    from mitmproxy.optmanager import OptManager
    from mitmproxy.proxy.commands import OpenConnection
    from mitmproxy.proxy.events import Event, OpenConnectionCompleted
    from mitmproxy.proxy.layer import Layer, NextLayer
    from mitmproxy.proxy.layers.http import GetHttpConnection, HttpLayer, HttpStream, SendHttp
    from mitmproxy.proxy.layers.http._base import ReceiveHttp
    from mitmproxy.proxy.layers.http._events import (
        ErrorCode,
        RequestHeaders,
        RequestProtocolError,
        ResponseData,
        ResponseEndOfMessage,
        ResponseHeaders,
        ResponseProtocolError,
    )
    from mitmproxy.proxy.layers.http._http1 import Http1Server
    from mitmproxy.proxy.mode_servers import ReverseInstance
    from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
except ImportError as e:  # pragma: no cover  # every version that can be installed has them
    raise _changed(str(e)) from e

TOUCHED: Mapping[type, tuple[str, ...]] = {
    Layer: ("_paused", "_paused_event_queue", "handle_event"),
    NextLayer: ("layer",),
    HttpLayer: ("_handle_event", "event_to_child", "make_stream", "command_sources", "connections", "streams"),
    HttpStream: (
        "_handle_event", "check_body_size", "check_killed", "client_state", "context", "flow", "flow_done", "handle_protocol_error",
        "make_server_connection", "request_body_buf", "server_state", "state_done", "state_errored",
        "state_stream_response_body", "stream_id",
    ),
    Http1Server: ("_handle_event", "read_headers", "state"),
    ErrorCode: ("CANCEL", "CONNECT_FAILED", "GENERIC_CLIENT_ERROR", "GENERIC_SERVER_ERROR", "http_status_code"),
    Proxyserver: ("connections", "is_running", "servers"),
    ConnectionHandler: ("client", "open_connection", "server_event", "transports"),
    ConnectionIO: ("handler", "reader", "writer"),
    ReverseInstance: ("handle_stream", "listen"),
    OptManager: ("deferred", "process_deferred"),
}  # fmt: skip
"""Names that must exist, by class."""


def missing(touched: Mapping[type, Iterable[str]]) -> Iterator[str]:
    """Yield the names that classes lack: those neither members, nor annotated, nor set in a method."""
    for of, names in touched.items():
        known = {name for base in of.__mro__ for name in (*vars(base), *getattr(base, "__annotations__", ()))}
        unknown = [name for name in names if name not in known]
        set_somewhere = _set_in_methods(of) if unknown else set()
        yield from (f"{of.__name__}.{name}" for name in unknown if name not in set_somewhere)


def _set_in_methods(of: type) -> set[str]:
    codes = (getattr(member, "__code__", None) for base in of.__mro__ for member in vars(base).values())
    return {
        each.argval
        for code in codes
        if code is not None
        for each in get_instructions(code)
        if each.opname == "STORE_ATTR"
    }


if gone := ", ".join(missing(TOUCHED)):
    raise _changed(f"it has no {gone}")


def deliver(handler: ConnectionHandler, event: Event) -> None:
    """Let the layers of a connection handle an event: at once, or after the events that are being handled or wait."""
    coroutine = handler.server_event(event)
    try:
        awaited = coroutine.send(None)  # without a task, which would cost more than all the rest
    except StopIteration:
        return
    task = asyncio.ensure_future(_go_on(coroutine, awaited))
    _delivering.add(task)
    task.add_done_callback(_delivering.discard)


@coroutine_of_generator
def _go_on(coroutine: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was begun outside a task, and waits for its turn."""
    yield awaited
    yield from coroutine


_delivering: set[asyncio.Future[None]] = set()


def outlive_device(handler: ConnectionHandler) -> None:
    """Let a connection to upstream live on when nothing can be sent to the device any more.

    mitmproxy would close all connections of a device then, and lose the rest of an answer that is worth recording. That
    the device has left is noticed by reading from it.
    """
    transport = handler.transports.get(handler.client)
    writer = transport.writer if transport is not None else None
    if not isinstance(writer, asyncio.StreamWriter):
        return
    drain = writer.drain

    async def draining() -> None:
        with suppress(OSError):
            await drain()

    writer.drain = draining  # type: ignore[method-assign]


def tell_of_resets(handler: ConnectionHandler) -> None:
    """Have the layers told of a connection to upstream that was taken back before anybody could ask whose it is.

    mitmproxy fails if a connection has no address any more, and tells nobody: the layers would wait for it until they give up.
    """
    opening = handler.open_connection

    async def open_connection(command: OpenConnection) -> None:
        server = command.connection
        try:
            await opening(command)
        except AssertionError:
            if server.peername:
                raise
            io = handler.transports.pop(server, None)
            if io is not None and io.writer is not None:
                io.writer.close()
            server.state = ConnectionState.CLOSED
            await handler.server_event(OpenConnectionCompleted(command, _RESET))

    handler.open_connection = open_connection  # type: ignore[method-assign]


_RESET = str(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))


def hang_up(handler: ConnectionHandler) -> bool:
    """Close a device's connection; return False if it is too new for that, or closed already."""
    transport = handler.transports.get(handler.client)
    return transport is not None and transport.handler is not None and transport.handler.cancel("closed by sessiontape")


def give_up_on_deaf(handler: ConnectionHandler, connection: Connection, patience_s: float) -> None:
    """See to it that a connection that is about to be closed does end, although its other side may read nothing any more.

    Python closes a socket only once all that was written is sent, and would keep it, with its bytes, for as long as the other
    side likes. One that goes on reading, however slowly, gets everything.

    Args:
        patience_s: How long it may take nothing.
    """
    io = handler.transports.get(connection)
    if io is not None and isinstance(io.writer, asyncio.StreamWriter):
        _look_again(io.writer.transport, patience_s)


def _look_again(transport: asyncio.WriteTransport, patience_s: float) -> None:
    left = transport.get_write_buffer_size()
    if left:
        asyncio.get_running_loop().call_later(patience_s, _give_up_if_deaf, transport, left, patience_s)


def _give_up_if_deaf(transport: asyncio.WriteTransport, left: int, patience_s: float) -> None:
    if transport.get_write_buffer_size() >= left:
        transport.abort()
    else:
        _look_again(transport, patience_s)


_BACKLOG = 4096
"""How many connections the system accepts before we do. Where more than asyncio's 100 come at once, they wait a second."""
_AT_ONCE = 16
"""How many of them we take in one go, before those that are there have their turn."""


def listen_for_many(*, share_port: bool) -> None:
    """Change how reverse mode listens in this process.

    mitmproxy has no options for it. HTTP/3, for which it would listen too, is not recorded.

    Args:
        share_port: Whether several processes listen on the port, and the system deals out connections to them.
    """

    async def listen(self: ReverseInstance, host: str, port: int) -> list[asyncio.Server]:
        # What asyncio calls backlog is also how many it accepts in one go.
        server = await asyncio.start_server(
            self.handle_stream, host, port, backlog=_AT_ONCE, reuse_port=share_port or None
        )
        for each in server.sockets:
            with each.dup() as listener:
                listener.listen(_BACKLOG)
        return [server]

    ReverseInstance.listen = listen  # type: ignore[assignment,method-assign]


__all__ = [
    "ConnectionHandler",
    "ErrorCode",
    "GetHttpConnection",
    "Http1Server",
    "HttpLayer",
    "HttpStream",
    "Proxyserver",
    "ReceiveHttp",
    "RequestHeaders",
    "RequestProtocolError",
    "ResponseData",
    "ResponseEndOfMessage",
    "ResponseHeaders",
    "ResponseProtocolError",
    "SendHttp",
    "deliver",
    "give_up_on_deaf",
    "hang_up",
    "listen_for_many",
    "outlive_device",
    "tell_of_resets",
]
