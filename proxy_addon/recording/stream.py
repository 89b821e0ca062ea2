"""mitmproxy's HTTP stream, extended by what a recorder of the Media Collection API needs.

* A time-out for upstream: mitmproxy has none, and a device would wait for ever.
* Answers in upstream's place (502, 504) that a browser may read, with CORS headers and a JSON message.
* The time of a request's first byte.
* How a stream ended, so that the error hook can tell who left: see `outcome`.
* No request goes round: see `recording.loops`.

`install` replaces mitmproxy's own stream on connections that speak HTTP. This uses internal names of mitmproxy, all of
which are in `recording.internals`.
"""

from __future__ import annotations

import errno
import functools
import json
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context

from proxy_addon.core.durations import parse_seconds
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.protocol import CORS
from proxy_addon.core.routes import parse_route
from proxy_addon.process.sockets import why_unconnected
from proxy_addon.recording.internals import (
    ConnectionHandler,
    ErrorCode,
    GetHttpConnection,
    Http1Server,
    HttpLayer,
    HttpStream,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
    deliver,
)
from proxy_addon.recording.loops import ITSELF, MARK, ROUND, Loops, is_refused_as_loop

_OUTCOME = "sessiontape.outcome"
_ASKED = "sessiontape.asked"
_LOOP = "sessiontape.loop"

_CORS = [(name.encode(), value.encode()) for name, value in CORS]

Commands = Generator[commands.Command, Any, None]


def outcome(flow: http.HTTPFlow) -> Outcome:
    """Return how a flow ended; call it in or after its error hook."""
    if _OUTCOME in flow.metadata:
        return Outcome(flow.metadata[_OUTCOME])
    # mitmproxy itself refused the request (bad framing, too large), or upstream's answer.
    return Outcome.REJECTED if flow.response is None else Outcome.UPSTREAM_CLOSED


def went_upstream(flow: http.HTTPFlow) -> bool:
    """Whether a flow's answer came from upstream rather than from the proxy or another addon."""
    return bool(flow.metadata.get(_ASKED))


def leads_back(flow: http.HTTPFlow) -> bool:
    """Whether a flow was refused because it would have gone round."""
    return bool(flow.metadata.get(_LOOP))


def was_reset(error: str) -> bool:
    """Whether a connection that could not be made had been accepted, and was reset before that was noticed."""
    return f"[Errno {errno.ECONNRESET}]" in error


def own_answer(status: int, message: str) -> http.Response:
    """Return an answer that the proxy gives in upstream's place, and that says so."""
    body = json.dumps({"message": f"sessiontape: {message}"}).encode()
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body)), *_CORS]
    return http.Response.make(status, body, http.Headers(headers))


STOPPED = "the recorder was stopped"
"""Why an exchange was interrupted."""


def interrupt(flow: http.HTTPFlow, handlers: Mapping[Any, ConnectionHandler]) -> None:
    """Answer a flow that waits for upstream with 503; its error hook follows. Do nothing if it does not wait.

    Args:
        handlers: mitmproxy's handlers of connections, by IDs of clients.
    """
    waiting, handler = _waiting.get(flow), handlers.get(flow.client_conn.id)
    if waiting is not None and waiting.alarm is not None and handler is not None:
        flow.metadata[_OUTCOME] = Outcome.INTERRUPTED.value
        deliver(handler, events.Wakeup(waiting.alarm))


def install(next_layer: layer.NextLayer, loops: Loops | None = None) -> None:
    """Make the HTTP layers that were just put on a connection use our streams."""
    for each in next_layer.context.layers:
        if isinstance(each, HttpLayer) and "make_stream" not in each.__dict__:
            extend(each, loops)


def extend(layer: HttpLayer, loops: Loops | None) -> None:
    """Make a HTTP layer use our streams."""
    layer.make_stream = functools.partial(_make_stream, layer, loops)  # type: ignore[method-assign]
    layer._handle_event = functools.partial(_begin, layer, layer._handle_event)  # type: ignore[method-assign]


def _begin(parent: HttpLayer, handle: Callable[[events.Event], Commands], event: events.Event) -> Commands:
    """Handle an event; when a connection starts, and its version of HTTP is known, choose the class that reads it."""
    client = parent.context.client
    if isinstance(event, events.Start) and (client.alpn is None or client.alpn.startswith(b"http/1")):
        parent.connections.setdefault(client, TapeHttp1Server(parent.context.fork()))
    yield from handle(event)


def _make_stream(parent: HttpLayer, loops: Loops | None, stream_id: int) -> Commands:
    parent.streams[stream_id] = TapeStream(parent.context.fork(), stream_id, loops)
    yield from parent.event_to_child(parent.streams[stream_id], events.Start())


class TapeHttp1Server(Http1Server):
    """Sets the time of a request to that of its first byte; mitmproxy uses the time when its head is complete."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._began_s: float | None = None

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived) and self._began_s is None and self.state == self.read_headers:
            self._began_s = time.time()
        for command in super()._handle_event(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestHeaders):
                if self._began_s is not None:
                    command.event.request.timestamp_start = self._began_s
                self._began_s = None
            yield command


class _Buffering:
    """mitmproxy's options, but bodies are never streamed, because a streamed body cannot be recorded."""

    stream_large_bodies = None

    def __init__(self, options: Options) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)


class _Nobody:
    """Receives the wake-up of a finished stream, so that the stream need not be kept for it."""

    def handle_event(self, _: events.Event) -> Commands:
        yield from ()


class TapeStream(HttpStream):
    """One request and its answer."""

    def __init__(self, context: Context, stream_id: int, loops: Loops | None = None) -> None:
        super().__init__(context, stream_id)
        self._loops = loops
        self._marks: list[str] = []
        self.alarm: commands.RequestWakeup | None = None
        self._refused = False

    @property
    def _timeout_s(self) -> float:
        return parse_seconds(self.context.options.tape_upstream_timeout)

    @functools.cached_property
    def _recorded(self) -> bool:
        return parse_route(self.flow.request.method, self.flow.request.path) is not None

    def handle_event(self, event: events.Event) -> Commands:
        """Deliver the time-out even to a stream that is waiting for a connection to upstream."""
        paused = self._paused
        if isinstance(event, events.Wakeup) and paused and isinstance(paused.command, GetHttpConnection):
            # A later reply to the command finds the stream in an error state and is ignored.
            paused.generator.close()
            self._paused = None
        yield from super().handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, RequestHeaders):
            headers = event.request.headers
            self._marks = headers.get_all(MARK)
            headers.set_all(MARK, [])  # before any hook sees it
        running = self._time_out() if isinstance(event, events.Wakeup) else super()._handle_event(event)
        reply = None
        while True:
            try:
                command = running.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(command, SendHttp) and isinstance(command.event, ResponseProtocolError):
                yield from self._refuse(command, command.event)
            else:
                reply = yield command

    def make_server_connection(self) -> Generator[commands.Command, Any, bool]:
        """Get a connection to upstream, and start the time-out for its answer."""
        self.alarm = commands.RequestWakeup(self._timeout_s)
        _waiting[self.flow] = self
        yield self.alarm
        if self._came_back():
            self.flow.metadata[_OUTCOME] = Outcome.REJECTED.value
            yield from self._refuse_loop(ROUND)
            return False
        connected = yield from super().make_server_connection()
        if connected and self._loops is not None and (peer := self.context.server.peername):
            if self._loops.leads_back(peer):
                yield from self._refuse_loop(ITSELF)
                return False
            if self._loops.is_recorder(peer):
                self.flow.request.headers.set_all(MARK, [*self._marks, self._loops.run])
        if connected:
            self.flow.metadata[_ASKED] = True
        return bool(connected)

    def _came_back(self) -> bool:
        return self._loops is not None and self._loops.has_come_round(self._marks)

    def _refuse_loop(self, reason: str) -> Commands:
        self.flow.metadata[_LOOP] = True
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, reason, ErrorCode.CONNECT_FAILED))

    def flow_done(self) -> Commands:
        """Cancel the time-out."""
        self._disarm()
        yield from super().flow_done()

    def check_body_size(self, request: bool) -> Generator[commands.Command, Any, bool]:
        """Check as usual, but never stream a body that is recorded."""
        options: Any = self.context.options
        if self._recorded and not isinstance(options, _Buffering):
            options = _Buffering(options)
            self.context.options = options
        return (yield from super().check_body_size(request))

    def check_killed(self, emit_error_hook: bool) -> Generator[commands.Command, Any, bool]:
        """Note the outcome if the device left while a hook was running."""
        for event in self._paused_event_queue:
            if isinstance(event, RequestProtocolError):
                self.flow.metadata.setdefault(_OUTCOME, self._ended_by(event).value)
        return (yield from super().check_killed(emit_error_hook))

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """Note the outcome before the error hook asks for it, and say in plain words what went wrong upstream."""
        self._disarm()
        self.flow.metadata.setdefault(_OUTCOME, self._ended_by(event).value)
        if isinstance(event, ResponseProtocolError) and is_refused_as_loop(event.message):
            self.flow.metadata[_LOOP] = True
            event.message = ITSELF
        elif isinstance(event, ResponseProtocolError):
            event.message = why_unconnected(self.flow.request.host, event.message)
        if self.request_body_buf:
            # The device left in the middle of its body; keep what has arrived.
            self.flow.request.data.content = bytes(self.request_body_buf)
        yield from super().handle_protocol_error(event)

    def _ended_by(self, event: RequestProtocolError | ResponseProtocolError) -> Outcome:
        if isinstance(event, RequestProtocolError):
            generic = event.code is ErrorCode.GENERIC_CLIENT_ERROR and not self.flow.request.is_http2
            # h11 also reports the end of a connection in the middle of a body as a protocol violation.
            malformed = generic and "closed connection" not in event.message
            # After a violation, mitmproxy itself closes the connection, so the first event counts.
            return Outcome.REJECTED if malformed else Outcome.CLIENT_GONE
        failed = event.code is ErrorCode.CONNECT_FAILED and not was_reset(event.message)
        return Outcome.UPSTREAM_UNREACHABLE if failed else Outcome.UPSTREAM_CLOSED

    def _time_out(self) -> Commands:
        over = (self.state_done, self.state_errored)
        if self.server_state in over or self.client_state == self.state_errored:
            return
        if self.flow.response is not None and not self._recorded:
            return  # a long download that is not recorded
        if self.flow.metadata.get(_OUTCOME) == Outcome.INTERRUPTED.value:
            message = STOPPED
            self._ignore_alarm()  # it has yet to go off
        else:
            message = f"upstream gave no complete answer within {self._timeout_s:g} s"
            self.flow.metadata[_OUTCOME] = Outcome.UPSTREAM_TIMEOUT.value
        if self.flow.metadata.get(_ASKED):
            yield SendHttp(RequestProtocolError(self.stream_id, message, ErrorCode.CANCEL), self.context.server)
        yield from self.handle_protocol_error(
            ResponseProtocolError(self.stream_id, message, ErrorCode.GENERIC_SERVER_ERROR)
        )

    def _refuse(self, command: SendHttp, error: ResponseProtocolError) -> Commands:
        """Tell the device, once, what went wrong upstream, in an answer that a browser's page may read."""
        if self._refused:
            return
        status = error.code.http_status_code()
        answering = self.server_state in (self.state_stream_response_body, self.state_done)
        if status is None or status < 500 or self.client_state != self.state_done or answering:
            yield command
            return
        if leads_back(self.flow):
            status = 508
        status = _STATUS.get(self.flow.metadata.get(_OUTCOME, ""), status)
        self._refused = True
        answer = own_answer(status, error.message)
        body = b"" if self.flow.request.method == "HEAD" else answer.raw_content or b""
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, answer, end_stream=not body), client)
        if body:
            yield SendHttp(ResponseData(self.stream_id, body), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)

    def _disarm(self) -> None:
        parent = self.context.layers[self.context.layers.index(self) - 1]
        if isinstance(parent, HttpLayer) and self.alarm in parent.command_sources:
            self._ignore_alarm()

    def _ignore_alarm(self) -> None:
        parent = self.context.layers[self.context.layers.index(self) - 1]
        if self.alarm is not None and isinstance(parent, HttpLayer):
            parent.command_sources[self.alarm] = _Nobody()  # type: ignore[assignment]


_STATUS = {Outcome.UPSTREAM_TIMEOUT.value: 504, Outcome.INTERRUPTED.value: 503}
_waiting: WeakKeyDictionary[http.HTTPFlow, TapeStream] = WeakKeyDictionary()


__all__ = [
    "TapeStream",
    "extend",
    "install",
    "interrupt",
    "leads_back",
    "outcome",
    "own_answer",
    "was_reset",
    "went_upstream",
]
