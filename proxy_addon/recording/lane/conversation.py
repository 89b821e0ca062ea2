"""What a recorder does with the bytes of one device and its upstream: HTTP/1.1 from both sides, exchange after exchange.

A `Conversation` is told what happened and returns, as a list of actions, what to do about it, in order. It has no socket,
no clock and no chance: whoever drives it reads and writes, hands over the time and calls back.

What the driver owes it:

* Every action is carried out, in its order, before the next event is told.
* Events of an upstream connection are told only while it is the one that the latest `Connect` opened, and not after
  `CloseUpstream`.
* `connected` or `unconnected` follows each `Connect`, unless `CloseUpstream` came first.
* `committed` follows each `Record` whose ``waits`` is true, and `judged` each `Judge`, once.
* `timed_out` is called when `Conversation.deadline_us` has come; it may be called too early, which does nothing.
* After `Blind`, nothing is told any more: what comes from either side goes to the other as it is.
* After `CloseDevice`, only `committed` and `judged` are; they return nothing that matters.

`Settings.arrive` is called once for each exchange that is recorded, and exactly one `Record` follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from secrets import token_hex

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.protocol import CORS
from proxy_addon.core.wording import visible
from proxy_addon.journal.entries import Dropped, Exchanged
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
from proxy_addon.recording.lane.framing import (
    LONGEST_HEAD,
    UNTIL_CLOSE,
    AnswerHead,
    Body,
    Kept,
    Malformed,
    RequestHead,
    Target,
    answer_head,
    body_of,
    end_of_head,
    request_head,
    request_line,
)
from proxy_addon.recording.loops import MARK, ROUND


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all conversations of a recorder have in common.

    Attributes:
        authority: ``Host`` of what goes to upstream.
        arrive: Called with the time of a recorded request's first byte, in Unix microseconds, once its head is whole.
            Returns the exchange's ID and the time to note, which no other exchange of the recorder has.
        prefix: Path of the upstream's URL, which is put before each path.
        waits: Whether an answer goes to the device only once its exchange is committed.
        judges: Whether recorded requests are judged before upstream sees them.
        upstream: `Exchanged.upstream`; None if all exchanges of the journal have the same.
        mark: Value of `proxy_addon.recording.loops.MARK` by which this recorder knows its own requests.
        max_body: Bytes of the longest body that is recorded whole.
        upstream_timeout_us: From the request's last byte to that of its answer; connecting is part of it. Of an answer that is
            too long to be held back, between two pieces: how long all of it takes is up to the device that reads it.
        idle_timeout_us: From an answer to the next request's first byte, and from the connection to the first.
        head_timeout_us: From a request's first byte to the end of its head.
        silence_timeout_us: Between two pieces of a request's body.
        body_timeout_us: From a request's first byte to its last, and from there to the end of a long answer.
    """

    authority: bytes
    arrive: Callable[[int], tuple[str, int]]
    prefix: bytes = b""
    waits: bool = True
    judges: bool = False
    upstream: str | None = None
    mark: bytes = b""
    max_body: int = 10 * 1024 * 1024
    upstream_timeout_us: int = 30_000_000
    idle_timeout_us: int = 75_000_000
    head_timeout_us: int = 60_000_000
    silence_timeout_us: int = 60_000_000
    body_timeout_us: int = 600_000_000

    @cached_property
    def target(self) -> Target:
        """Where requests go."""
        return Target(self.authority, self.prefix)


_HELD_MOST = 256 * 1024
"""Bytes of an answer that are held back until its exchange is committed; of a longer one, only the last piece."""
_AHEAD_MOST = 1024 * 1024
"""Bytes that a device may send ahead of answers, beside a body of the greatest length that is recorded whole."""
_PIECE = 2 * LONGEST_HEAD
"""How much of what was sent ahead is looked at for the next request: copying all of it each time would take too long."""
_UNSENT_MOST = 64 * 1024 * 1024
"""Bytes of a request that may wait for the connection to upstream."""
_BLANK_MOST = 8
"""Empty lines that may stand before a request."""
_LINGER_US = 1_000_000
"""How long a device may go on sending after an answer that ends the connection."""
_LINGER_MOST = 16 * 1024 * 1024
_EARLY_US = 2_000_000
"""How long an answer that is there before its request is whole waits for the rest, if it is recorded."""
_REUSED_US = 50_000_000
"""How long a connection to upstream may be unused, if upstream says nothing about that, and still be used."""
_UNRECORDED_SILENCE_US = 600_000_000
"""Between two pieces of an answer that is not recorded; downloads and streams of events may take as long as they like."""
_S = 1_000_000
_SHOWN = 200
"""Characters of a path that are shown."""

_CORS = b"".join(f"{name}: {value}\r\n".encode() for name, value in CORS)
_REASONS = {status: HTTPStatus(status).phrase.encode() for status in (400, 405, 408, 431, 501, 502, 503, 504, 505, 508)}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_USELESS_END = b"0\r\n\r\n"


def own_answer(status: int, message: str, *, closes: bool, to_head: bool = False) -> bytes:
    """Return an answer in upstream's place, which says so, and which a page in a browser may read."""
    body = json.dumps({"message": f"sessiontape: {message}"}).encode()
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        status,
        _REASONS[status],
        len(body),
        _CORS,
        b"Connection: close\r\n" if closes else b"",
        b"" if to_head else body,
    )


_CONNECT = Connect()
_CLOSE_DEVICE = CloseDevice()
_HALF_CLOSE_DEVICE = HalfCloseDevice()
_CLOSE_UPSTREAM = CloseUpstream()
_BLIND = Blind()
_KINDS: dict[int, Kind] = {405: "connect", 408: "slow", 431: "too-long"}

_NONE, _CONNECTING, _OPEN = range(3)  # of the connection to upstream


class _Exchange:
    """A request that is under way, and its answer."""

    __slots__ = (
        "answer", "answer_body", "answer_reader", "began_us", "body", "body_reader", "bytes_held", "bytes_unsent", "ends", "has_body", "has_continued", "head",
        "held", "id", "is_answer_whole", "is_begun", "is_cleared", "is_forwarded", "is_gone", "is_whole", "token", "unread",
        "unsent", "whole_us",
    )  # fmt: skip

    def __init__(self, head: RequestHead, began_us: int) -> None:
        self.head = head
        self.began_us = began_us
        self.id = ""  # none if it is not recorded
        self.body = b""
        self.body_reader: Body | None = None  # if the body has not come at once
        self.is_whole = False
        self.whole_us = 0
        self.is_forwarded = False
        self.is_gone = False  # the device, before the answer was whole
        self.unsent: list[bytes] = []  # what upstream has to get once it is connected
        self.bytes_unsent = 0
        self.is_cleared = False  # to go to upstream, after it was judged
        self.has_body = False  # whether some of it has come
        self.has_continued = False  # by an answer 100 of our own
        self.unread = b""  # of the answer
        self.answer: AnswerHead | None = None
        self.answer_body = b""
        self.answer_reader: Body | None = None
        self.is_answer_whole = False
        self.is_begun = False  # whether the device has got some of the final answer
        self.held: list[bytes] = []
        self.bytes_held = 0
        self.ends = False  # whether the device's connection ends with it
        self.token = 0  # of a commit or judgement that is awaited


class Conversation:
    """A device's connection, and the connections to upstream that serve it, one at a time.

    Attributes:
        deadline_us: When to call `timed_out`, in Unix microseconds; None for never. It changes with each event: a timer
            that finds it moved is set again.
    """

    __slots__ = (
        "_ahead", "_arrived", "_began_us", "_blank", "_client", "_exchange", "_is_draining", "_is_gone", "_is_lingering", "_is_over",
        "_latest_us", "_lingered", "_marks", "_reuse_until_us", "_server", "_settings", "_target", "_token", "_trail",
        "_upstream", "deadline_us",
    )  # fmt: skip

    def __init__(self, settings: Settings, client: str | None, now_us: int) -> None:
        """Begin one, when the device has connected.

        Args:
            client: The device's address.
        """
        self._settings = settings
        self._target = settings.target
        self._client = client
        self._exchange: _Exchange | None = None
        self._ahead = bytearray()  # what the device has sent and nobody has read
        self._blank = 0
        self._began_us = now_us  # of what is in `_ahead`
        self._latest_us = now_us
        self._is_gone = False
        self._is_draining = False
        self._is_lingering = False
        self._lingered = 0
        self._is_over = False
        self._upstream = _NONE
        self._server: tuple[str, int] | None = None
        self._marks = False
        self._trail = b""  # what may still come of a body that cannot be
        self._reuse_until_us = 0
        self._token = 0
        self._arrived = 0
        self.deadline_us: int | None = now_us + settings.idle_timeout_us

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: none has begun to arrive, and the answers are out."""
        return self._exchange is None and not self._ahead and not self._is_lingering

    # What happens -----------------------------------------------------------------------------------------------

    def device_sent(self, data: bytes, now_us: int) -> list[Action]:
        """Take bytes of the device."""
        actions: list[Action] = []
        if self._is_over:
            return actions
        if self._is_lingering:
            self._lingered += len(data)
            if self._lingered > _LINGER_MOST:
                self._close(actions)
            return actions
        self._latest_us = now_us
        exchange = self._exchange
        if exchange is None:
            if not self._ahead:
                self._began_us = now_us
                self._take_request(data, 0, now_us, actions)
            else:
                known = len(self._ahead)
                self._ahead += data
                self._take_request(bytes(self._ahead), known, now_us, actions)
        elif exchange.is_whole or exchange.token:
            if not self._ahead:
                self._began_us = now_us
            self._ahead += data
            if len(self._ahead) > self._settings.max_body + _AHEAD_MOST:
                self._is_draining = True  # so much ahead of its answers is no device; it gets the one under way
                self._ahead = self._ahead[:1]
        else:
            self._take_body(exchange, data, now_us, actions)
        return actions

    def device_closed(self, now_us: int) -> list[Action]:
        """Note that the device sends nothing more; whether it still reads cannot be known.

        Requests that are complete are still forwarded, and their answers recorded and sent.
        """
        actions: list[Action] = []
        if self._is_over or self._is_gone:
            return actions
        self._is_gone = True
        exchange = self._exchange
        if exchange is None or self._is_lingering:
            self._close(actions)
        elif exchange.is_whole or exchange.token:
            if not exchange.is_answer_whole:
                exchange.is_gone = True
        elif exchange.is_answer_whole:
            self._record_answer(exchange, now_us, actions)
        else:
            self._break_off(exchange, now_us, actions)
        return actions

    def connected(self, server: tuple[str, int], now_us: int, *, is_recorder: bool = False) -> list[Action]:
        """Note that upstream is connected.

        Args:
            server: Its address and port.
            is_recorder: Whether this is another recorder, which has to get our mark.
        """
        actions: list[Action] = []
        self._upstream = _OPEN
        self._server = server
        self._marks = is_recorder
        self._trail = b""
        self._reuse_until_us = now_us + _REUSED_US
        exchange = self._exchange
        if exchange is not None and exchange.unsent and not exchange.token:
            self._forward(exchange, b"", now_us, actions)
        return actions

    def unconnected(self, reason: str, now_us: int, *, status: int = 502, is_reset: bool = False) -> list[Action]:
        """Note that upstream could not be connected.

        Args:
            reason: Why, as an answer and the log say it after "sessiontape: ".
            status: Of the answer.
            is_reset: Whether upstream had accepted the connection, and took it back before that was noticed.
        """
        actions: list[Action] = []
        self._upstream = _NONE
        self._server = None
        exchange = self._exchange
        if exchange is not None and not exchange.is_answer_whole:
            outcome = Outcome.UPSTREAM_CLOSED if is_reset else Outcome.UPSTREAM_UNREACHABLE
            self._fail(exchange, outcome, status, reason, now_us, actions)
        return actions

    def upstream_sent(self, data: bytes, now_us: int) -> list[Action]:
        """Take bytes of upstream."""
        actions: list[Action] = []
        exchange = self._exchange
        if exchange is None or exchange.is_answer_whole or not exchange.is_forwarded:
            if self._is_over or self._upstream != _OPEN:
                return actions
            self._take_stray(data, exchange, actions)
            return actions
        if exchange.unread:
            data = exchange.unread + data
        try:
            self._take_answer(exchange, data, now_us, actions)
        except Malformed as e:
            reason = f"upstream's answer is broken: {e}"
            actions.append(Tell("upstream", reason, _name(exchange)))
            self._fail(exchange, Outcome.UPSTREAM_CLOSED, 502, reason, now_us, actions)
        return actions

    def upstream_closed(self, now_us: int) -> list[Action]:
        """Note that upstream has closed its connection, or its sending half."""
        actions: list[Action] = []
        if self._upstream != _OPEN:
            return actions
        self._close_upstream(actions)
        exchange = self._exchange
        if exchange is None or exchange.is_answer_whole or not exchange.is_forwarded:
            return actions
        if exchange.answer is not None and exchange.answer.length == UNTIL_CLOSE:
            self._answer_is_whole(exchange, now_us, actions)
            return actions
        began = exchange.answer is not None or exchange.unread
        where = "in the middle of its answer" if began else "without an answer"
        reason = f"upstream closed the connection {where}"
        if began:
            actions.append(Tell("upstream", reason, _name(exchange)))
        self._fail(exchange, Outcome.UPSTREAM_CLOSED, 502, reason, now_us, actions)
        return actions

    def committed(self, token: int, now_us: int) -> list[Action]:
        """Note that a `Record` is in the journal, or never will be; the answer goes out either way."""
        actions: list[Action] = []
        exchange = self._exchange
        if exchange is not None and exchange.token == token and not self._is_over:
            self._finish(exchange, now_us, actions)
        return actions

    def judged(self, token: int, refusal: str | None, now_us: int) -> list[Action]:
        """Note what has come of a `Judge`.

        Args:
            refusal: What the device is told, with 400; None if the request goes on.
        """
        actions: list[Action] = []
        exchange = self._exchange
        if exchange is None or exchange.token != token or self._is_over:
            return actions
        if refusal is None:
            self._clear(exchange, now_us, actions)
        else:
            self._fail(exchange, Outcome.REJECTED, 400, refusal, now_us, actions)
        return actions

    def timed_out(self, now_us: int) -> list[Action]:
        """Do what has to be done if `deadline_us` has come; nothing if it has not."""
        actions: list[Action] = []
        if self._is_over or self.deadline_us is None or now_us < self.deadline_us:
            return actions
        exchange = self._exchange
        settings = self._settings
        if self._is_lingering:
            self._close(actions)
        elif exchange is None:
            if self._ahead:
                late = Malformed(f"no complete head within {settings.head_timeout_us / _S:g} s", 408)
                self._refuse(late, b"", now_us, actions)
            else:
                self._close(actions)
        elif exchange.is_whole:
            if exchange.is_begun and exchange.head.is_recorded and exchange.answer is not None:
                is_silent = now_us < exchange.whole_us + settings.body_timeout_us
                waited_us = settings.upstream_timeout_us if is_silent else settings.body_timeout_us
                reason = "no more of the answer came for" if is_silent else "the answer was not complete within"
                reason += f" {waited_us / _S:g} s"
            elif exchange.head.is_recorded or exchange.answer is None:
                reason = f"upstream gave no complete answer within {settings.upstream_timeout_us / _S:g} s"
            else:
                reason = f"upstream was silent for {_UNRECORDED_SILENCE_US // _S} s in the middle of its answer"
            actions.append(Tell("upstream", reason, _name(exchange)))
            self._fail(exchange, Outcome.UPSTREAM_TIMEOUT, 504, reason, now_us, actions)
        elif exchange.is_answer_whole:
            self._record_answer(exchange, now_us, actions)
        elif self._upstream == _CONNECTING:  # the device may well have waited for upstream to say that it may go on
            reason = f"no connection to upstream within {settings.silence_timeout_us / _S:g} s"
            actions.append(Tell("upstream", reason, _name(exchange)))
            self._fail(exchange, Outcome.UPSTREAM_TIMEOUT, 504, reason, now_us, actions)
        else:
            is_silent = now_us < exchange.began_us + settings.body_timeout_us
            waited_us = settings.silence_timeout_us if is_silent else settings.body_timeout_us
            reason = f"the request was not complete {'after' if is_silent else 'within'} {waited_us / _S:g} s"
            reason += " of silence" if is_silent else ""
            actions.append(Tell("slow", reason, _name(exchange)))
            self._fail(exchange, Outcome.REJECTED, 408, reason, now_us, actions)
        return actions

    def drain(self, now_us: int) -> list[Action]:
        """End after the request that is under way; at once if none is."""
        actions: list[Action] = []
        self._is_draining = True
        if self._exchange is None and not self._is_lingering:
            self._close(actions)
        return actions

    def stop(self, now_us: int) -> list[Action]:
        """End now: what is in flight is interrupted, and the device told 503. Answers that wait for a commit still go out."""
        actions: list[Action] = []
        self._is_draining = True
        exchange = self._exchange
        if exchange is None:
            self._close(actions)
        elif exchange.is_answer_whole:
            if not exchange.token:
                self._record_answer(exchange, now_us, actions)
        else:
            self._fail(exchange, Outcome.INTERRUPTED, 503, "the recorder was stopped", now_us, actions, waits=False)
            self._close(actions)
        return actions

    def lost(self, recorded: int, now_us: int) -> list[Dropped]:
        """Return what has arrived and will never be recorded, as a fault of ours has ended the conversation.

        Args:
            recorded: How many `Record` were carried out.
        """
        exchange = self._exchange
        line = exchange.head.line if exchange is not None and exchange.id else None
        name = ("?", "?") if line is None else (line.method.decode(), line.path.decode("latin-1"))
        at_us = now_us if exchange is None else exchange.began_us
        return [
            Dropped(
                id=exchange.id if exchange is not None and line is not None and not number else token_hex(8),
                received_us=at_us,
                method=name[0],
                path=name[1],
                reason="an error in sessiontape",
                upstream=self._settings.upstream,
            )
            for number in range(self._arrived - recorded)
        ]

    # The request ------------------------------------------------------------------------------------------------

    def _take_request(
        self, data: bytes, known: int, now_us: int, actions: list[Action], *, is_ahead: bool = False
    ) -> None:
        """Read a request from its first byte on.

        Args:
            known: How many bytes of it have been looked at before.
            is_ahead: Whether this is the beginning of what the device has sent ahead, with more than a head in it, or all.
        """
        settings = self._settings
        whole_head = b""
        blank = 0
        try:
            while data.startswith(b"\r\n"):
                self._blank += 1
                if self._blank > _BLANK_MOST:
                    raise Malformed(f"more than {_BLANK_MOST} empty lines before a request")  # noqa: TRY301
                data, known, blank = data[2:], 0, blank + 2
            end = end_of_head(data, known)
            if end < 0:
                self._ahead = bytearray(data)
                self.deadline_us = self._began_us + (settings.head_timeout_us if data else settings.idle_timeout_us)
                if self._is_gone:
                    self._close(actions)
                return
            whole_head = data[:end]
            head = request_head(whole_head, self._target)
        except Malformed as e:
            self._refuse(e, whole_head if e.at is None else _before(data, e.at), now_us, actions)
            return
        self._blank = 0
        exchange = self._exchange = _Exchange(head, self._began_us)
        if head.is_recorded:
            self._arrived += 1
            exchange.id, exchange.began_us = settings.arrive(self._began_us)
        else:
            actions.append(Tell("passes-by", _name(exchange)))
        exchange.is_gone = self._is_gone
        if head.marks and self._is_loop(exchange, now_us, actions):
            return
        length = head.length
        whole = end + length
        if length >= 0 and len(data) >= whole and length <= settings.max_body:
            exchange.body = data[end:whole]
            exchange.is_whole = True
            exchange.whole_us = now_us
            if is_ahead:
                del self._ahead[: blank + whole]
            elif len(data) > whole:
                self._ahead = bytearray(data[whole:])
            elif self._ahead:
                self._ahead = bytearray()
            self._began_us = self._latest_us
            self._deliver(exchange, exchange.body, now_us, actions)
            return
        body = bytes(self._ahead[blank + end :]) if is_ahead else data[end:]
        self._ahead = bytearray()
        exchange.body_reader = body_of(length, Kept(settings.max_body) if head.is_recorded else None)
        self._take_body(exchange, body, now_us, actions)

    def _take_body(self, exchange: _Exchange, data: bytes, now_us: int, actions: list[Action]) -> None:
        reader = exchange.body_reader
        assert reader is not None
        if self._ahead:
            data = bytes(self._ahead) + data
            self._ahead = bytearray()
        if data:
            exchange.has_body = True
        try:
            end = reader.feed(data)
        except Malformed as e:
            actions.append(Tell("malformed", str(e), _name(exchange)))
            self._fail(exchange, Outcome.REJECTED, e.status, str(e), now_us, actions)
            return
        if end < len(data):
            self._ahead = bytearray(data[end:])
            data = data[:end]
        if reader.is_done:
            exchange.is_whole = True
            exchange.whole_us = now_us
            self._began_us = self._latest_us
        elif self._is_gone:  # it was ahead of an answer, and nothing follows
            self._break_off(exchange, now_us, actions)
            return
        else:
            settings = self._settings
            within_us = exchange.began_us + settings.body_timeout_us
            if not exchange.is_answer_whole or not exchange.id:
                self.deadline_us = min(now_us + settings.silence_timeout_us, within_us)
        self._deliver(exchange, data, now_us, actions)
        if reader.is_done and exchange.is_answer_whole and not exchange.token:
            self._record_answer(exchange, now_us, actions)

    def _break_off(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> None:
        """Record a request in whose middle the device has left, and end."""
        exchange.is_gone = True
        if exchange.id:
            reason = "the device closed the connection in the middle of its request"
            self._put(exchange, Outcome.CLIENT_GONE, reason, now_us, actions, waits=False)
        self._exchange = None
        self._close(actions)

    def _deliver(self, exchange: _Exchange, data: bytes, now_us: int, actions: list[Action]) -> None:
        """Send the next bytes of a request to upstream, after its head and judgement if these have yet to come."""
        if not (self._settings.judges and exchange.id) or exchange.is_forwarded or exchange.is_cleared:
            self._forward(exchange, data, now_us, actions)
            return
        exchange.unsent.append(data)
        if exchange.is_whole:
            self._token += 1
            exchange.token = self._token
            self.deadline_us = None
            actions.append(Judge(self._entry(exchange, Outcome.REJECTED, None, now_us), self._token))
        elif exchange.body_reader is not None and exchange.body_reader.kept and exchange.body_reader.kept.is_cut:
            self._clear(exchange, now_us, actions)  # it cannot be kept, so it cannot be judged
        elif exchange.head.expects and not exchange.has_continued:
            exchange.has_continued = True
            actions.append(ToDevice(_CONTINUE))

    def _clear(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> None:
        exchange.is_cleared = True
        exchange.token = 0
        self._forward(exchange, b"", now_us, actions)

    def _forward(self, exchange: _Exchange, data: bytes, now_us: int, actions: list[Action]) -> None:
        if exchange.is_whole and not exchange.is_answer_whole:
            self.deadline_us = exchange.whole_us + self._settings.upstream_timeout_us
        if exchange.is_forwarded:
            if data and self._upstream == _OPEN:
                actions.append(ToUpstream(data))
            return
        if self._upstream == _OPEN and now_us > self._reuse_until_us:
            self._close_upstream(actions)
        if self._upstream == _OPEN:
            head = self._head_for_upstream(exchange)
            if exchange.unsent:
                head += b"".join(exchange.unsent)
                exchange.unsent = []
            exchange.is_forwarded = True
            actions.append(ToUpstream(head + data))
            return
        exchange.unsent.append(data)
        exchange.bytes_unsent += len(data)
        if self._upstream == _NONE:
            self._upstream = _CONNECTING
            self._server = None
            actions.append(_CONNECT)
        elif exchange.bytes_unsent > _UNSENT_MOST:
            reason = "the request's body came faster than upstream could be connected"
            self._fail(exchange, Outcome.REJECTED, 503, reason, now_us, actions)

    def _head_for_upstream(self, exchange: _Exchange) -> bytes:
        head = exchange.head
        if not self._marks:
            return head.upstream
        line, _, rest = head.upstream.partition(b"\r\n")
        return b"%b\r\n%b%b: %b\r\n%b" % (line, head.marks, MARK, self._settings.mark, rest)

    def _is_loop(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> bool:
        marks = [line.partition(b":")[2].strip() for line in exchange.head.marks.splitlines()]
        if self._settings.mark not in marks:
            return False
        actions.append(Tell("loop", ROUND, _name(exchange)))
        self._fail(exchange, Outcome.REJECTED, 508, ROUND, now_us, actions)
        return True

    # The answer -------------------------------------------------------------------------------------------------

    def _take_stray(self, data: bytes, exchange: _Exchange | None, actions: list[Action]) -> None:
        """Take bytes of upstream that answer no request."""
        if self._trail:
            if self._trail.startswith(data):
                self._trail = self._trail[len(data) :]
                return
            data = data.removeprefix(self._trail)
        name = _name(exchange) if exchange is not None else ""
        actions.append(Tell("upstream", f"upstream sent {len(data)} bytes that answer no request", name))
        self._close_upstream(actions)

    def _take_answer(self, exchange: _Exchange, data: bytes, now_us: int, actions: list[Action]) -> None:
        """Read an answer.

        Args:
            data: What of it has come and was not read before.

        Raises:
            Malformed: It is not HTTP, or not safe to pass on.
        """
        answer = exchange.answer
        if answer is not None:
            reader = exchange.answer_reader
            assert reader is not None
            end = reader.feed(data)
            exchange.unread = data[end:]
            self._pass(exchange, data if end == len(data) else data[:end], actions)
            if reader.is_done:
                self._answer_is_whole(exchange, now_us, actions)
            elif not exchange.id:
                self.deadline_us = now_us + _UNRECORDED_SILENCE_US
            elif exchange.is_begun and exchange.is_whole:
                settings = self._settings
                self.deadline_us = min(
                    now_us + settings.upstream_timeout_us, exchange.whole_us + settings.body_timeout_us
                )
            return
        known = len(exchange.unread)
        while True:
            if self._trail:
                if self._trail.startswith(data):
                    self._trail = self._trail[len(data) :]
                    return
                data, known = data.removeprefix(self._trail), 0
                self._trail = b""
            end = end_of_head(data, known)
            if end < 0:
                exchange.unread = data
                return
            answer = answer_head(data if end == len(data) else data[:end], to_head=exchange.head.line.method == b"HEAD")
            if answer.status >= 200:
                break
            data, known = data[end:], 0
            exchange.unread = b""
            if answer.status == 101:
                self._switch(exchange, answer, data, now_us, actions)
                return
            if not exchange.head.line.is_http10 and not (answer.status == 100 and exchange.has_continued):
                actions.append(ToDevice(answer.sent))
            if not data:
                return
        exchange.answer = answer
        length = answer.length
        whole = end + length
        if length >= 0 and len(data) >= whole and length <= self._settings.max_body:
            if len(data) > whole:
                exchange.unread = data[whole:]
                data = data[:whole]
            else:
                exchange.unread = b""
            exchange.answer_body = data[end:]
            self._pass(exchange, data if answer.device is answer.sent else answer.device + data[end:], actions)
            self._answer_is_whole(exchange, now_us, actions)
            return
        exchange.answer_reader = reader = body_of(length, Kept(self._settings.max_body) if exchange.id else None)
        body = data[end:]
        taken = reader.feed(body)
        exchange.unread = body[taken:]
        self._pass(exchange, answer.device + body[:taken], actions)
        if reader.is_done:
            self._answer_is_whole(exchange, now_us, actions)
        elif not exchange.id and exchange.is_whole:
            self.deadline_us = now_us + _UNRECORDED_SILENCE_US

    @staticmethod
    def _pass(exchange: _Exchange, data: bytes, actions: list[Action]) -> None:
        """Send a part of an answer to the device, or hold it back until its exchange is committed."""
        if not data:
            return
        if not exchange.id:
            exchange.is_begun = True
            actions.append(ToDevice(data))
            return
        held = exchange.held
        held.append(data)
        exchange.bytes_held += len(data)
        if exchange.bytes_held > _HELD_MOST and len(held) > 1:
            exchange.is_begun = True
            exchange.held = [held.pop()]
            exchange.bytes_held = len(data)
            actions.append(ToDevice(b"".join(held)))

    def _switch(
        self, exchange: _Exchange, answer: AnswerHead, behind: bytes, now_us: int, actions: list[Action]
    ) -> None:
        """Leave the connection to the protocol that device and upstream have agreed on."""
        if not exchange.head.upgrades or not exchange.is_whole:
            raise Malformed("101 although nobody asked for another protocol")
        exchange.answer = answer
        exchange.is_answer_whole = True
        if exchange.id:
            self._put(exchange, Outcome.ANSWERED, None, now_us, actions, waits=False)
        actions += [Tell("upgrade", _name(exchange)), ToDevice(answer.sent + behind), _BLIND]
        if self._ahead:
            actions.append(ToUpstream(bytes(self._ahead)))
        self._exchange = None
        self._is_over = True
        self.deadline_us = None

    def _answer_is_whole(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> None:
        answer = exchange.answer
        assert answer is not None
        exchange.is_answer_whole = True
        head = exchange.head
        if head.closes or answer.closes or answer.length < 0:
            until_close = answer.length == UNTIL_CLOSE
            exchange.ends = head.closes or answer.closes or until_close or head.line.is_http10
        if self._upstream == _OPEN:
            self._trail = _USELESS_END if answer.may_trail else b""
            if exchange.unread:
                self._take_stray(exchange.unread, exchange, actions)
            if exchange.ends:
                self._close_upstream(actions)
            else:
                idle_us = _REUSED_US if answer.idle_s is None else (answer.idle_s - 1) * _S
                self._reuse_until_us = now_us + min(idle_us, _REUSED_US)
        if exchange.is_whole or (head.expects and not exchange.has_body):
            self._record_answer(exchange, now_us, actions)
        elif exchange.id:
            self.deadline_us = now_us + _EARLY_US

    # The end ----------------------------------------------------------------------------------------------------

    def _record_answer(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> None:
        """Record an exchange that upstream has answered, and give the device the answer, or what of it was held back."""
        if exchange.id:
            outcome = Outcome.CLIENT_GONE if exchange.is_gone else Outcome.ANSWERED
            waits = self._settings.waits
            self._put(exchange, outcome, None, now_us, actions, waits=waits)
            if waits:
                return
        self._finish(exchange, now_us, actions)

    def _fail(  # noqa: PLR0917  # all of it is what happened
        self,
        exchange: _Exchange,
        outcome: Outcome,
        status: int,
        reason: str,
        now_us: int,
        actions: list[Action],
        *,
        waits: bool | None = None,
    ) -> None:
        """Record an exchange that upstream has not answered, and tell the device."""
        self._close_upstream(actions)
        exchange.answer = None
        exchange.is_answer_whole = True
        exchange.ends = exchange.head.closes or exchange.is_begun or not exchange.is_whole
        exchange.held = []
        if not exchange.is_begun:
            exchange.held.append(
                own_answer(
                    status,
                    reason,
                    closes=exchange.ends or self._is_draining,
                    to_head=exchange.head.line.method == b"HEAD",
                )
            )
        if exchange.id:
            if exchange.is_gone and outcome not in {Outcome.INTERRUPTED, Outcome.REJECTED}:
                outcome = Outcome.CLIENT_GONE
            waits = self._settings.waits if waits is None else waits
            self._put(exchange, outcome, reason, now_us, actions, waits=waits)
            if waits:
                return
        self._finish(exchange, now_us, actions)

    def _put(
        self,
        exchange: _Exchange,
        outcome: Outcome,
        reason: str | None,
        now_us: int,
        actions: list[Action],
        *,
        waits: bool,
    ) -> None:
        self._token += 1
        exchange.token = self._token
        self.deadline_us = None
        actions.append(Record(self._entry(exchange, outcome, reason, now_us), self._token, waits))

    def _entry(self, exchange: _Exchange, outcome: Outcome, reason: str | None, now_us: int) -> Exchanged:
        body, length, sha256 = _kept(exchange.body_reader, exchange.body)
        answer = exchange.answer
        response, duration_us, answer_body, answer_length, answer_sha256 = None, None, b"", None, None
        if answer is not None:
            response, duration_us = answer.sent, max(0, now_us - exchange.began_us)
            answer_body, answer_length, answer_sha256 = _kept(exchange.answer_reader, exchange.answer_body)
        return Exchanged(
            id=exchange.id,
            received_us=exchange.began_us,
            outcome=outcome,
            request=exchange.head.sent,
            request_body=body,
            is_complete=exchange.is_whole,
            response=response,
            response_body=answer_body,
            duration_us=duration_us,
            client=self._client,
            server=self._server if exchange.is_forwarded else None,
            upstream=self._settings.upstream,
            reason=reason,
            request_length=length,
            request_sha256=sha256,
            response_length=answer_length,
            response_sha256=answer_sha256,
        )

    def _finish(self, exchange: _Exchange, now_us: int, actions: list[Action]) -> None:
        """Give the device what was held back, and go on to its next request."""
        held = exchange.held
        if held:
            actions.append(ToDevice(held[0] if len(held) == 1 else b"".join(held)))
        self._exchange = None
        if exchange.ends or self._is_draining or not exchange.is_whole:
            if self._ahead or not exchange.is_whole:
                self._linger(now_us, actions)
            else:
                self._close(actions)
        elif self._ahead:
            self._take_request(bytes(self._ahead[:_PIECE]), 0, now_us, actions, is_ahead=True)
        elif self._is_gone:
            self._close(actions)
        else:
            self.deadline_us = now_us + self._settings.idle_timeout_us

    def _refuse(self, error: Malformed, head: bytes, now_us: int, actions: list[Action]) -> None:
        """Refuse what is no request that can be passed on; it is recorded if it can at least be told what it was to be."""
        try:
            line = request_line(head.partition(b"\r\n")[0], b"") if head else None
        except Malformed:
            line = None
        kind = _KINDS.get(error.status, "malformed")
        name = f"{line.method.decode()} {_path(line.path)}" if line is not None else ""
        actions.append(Tell(kind, _path(head.split(b" ", 2)[1]) if kind == "connect" else str(error), name))
        if line is not None and line.is_recorded:
            self._arrived += 1
            id, at_us = self._settings.arrive(self._began_us)
            entry = Exchanged(
                id=id,
                received_us=at_us,
                outcome=Outcome.REJECTED,
                request=head,
                is_complete=False,
                client=self._client,
                upstream=self._settings.upstream,
                reason=str(error),
            )
            self._token += 1
            actions.append(Record(entry, self._token, waits=False))
        actions.append(ToDevice(own_answer(error.status, str(error), closes=True)))
        self._linger(now_us, actions)

    def _linger(self, now_us: int, actions: list[Action]) -> None:
        """End, but let the device go on sending for a moment: closing now would make its system drop our answer."""
        if self._is_gone:
            self._close(actions)
            return
        self._close_upstream(actions)
        self._is_lingering = True
        self._ahead = bytearray()
        self.deadline_us = now_us + _LINGER_US
        actions.append(_HALF_CLOSE_DEVICE)

    def _close_upstream(self, actions: list[Action]) -> None:
        if self._upstream != _NONE:
            self._upstream = _NONE
            self._trail = b""
            actions.append(_CLOSE_UPSTREAM)

    def _close(self, actions: list[Action]) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.deadline_us = None
        self._close_upstream(actions)
        actions.append(_CLOSE_DEVICE)


def _kept(reader: Body | None, body: bytes) -> tuple[bytes, int | None, str | None]:
    """Return what is recorded of a body, and, if that is its beginning alone, length and hash of the whole."""
    if reader is None:
        return body, None, None
    kept = reader.kept
    if kept is None:
        return b"", None, None
    return kept.body(), kept.length if kept.is_cut else None, kept.sha256


def _before(data: bytes, at: int) -> bytes:
    """Return the head that the whole lines before a place make; empty if there are none."""
    end = data.rfind(b"\r\n", 0, at)
    return data[: end + 2] + b"\r\n" if end > 0 else b""


def _name(exchange: _Exchange) -> str:
    line = exchange.head.line
    return f"{line.method.decode()} {_path(line.path)}"


def _path(path: bytes) -> str:
    text = path.decode("latin-1")
    return visible(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
