"""Throw broken HTTP at the lane: ``python -m tests.fuzz_lane [--streams N] [--seed N] [--nginx-every N]``.

Streams of bytes are made as a device or an upstream could send them: requests and answers whose framing is odd, doubled,
contradictory or broken, with bytes flipped, cut out, doubled and moved. Each goes through a conversation twice, in one
piece and in odd ones, and then

* nothing crashes, nothing waits for ever, and each recorded request is recorded once;
* so it is if devices, upstream, commits and time-outs come in any order;
* both ways give the same bytes, and the same records;
* h11 and llhttp find the same requests in what went to upstream, with the same bodies, and nothing else, and mitmproxy's
  checks pass it. So does nginx, through a real socket, for every so many streams: a canary follows, and is answered where
  it belongs;
* h11 finds the same answers in what the device got.

The seed is printed; the same seed makes the same streams. `ALLOWED` lists in what h11 and nginx may differ, and why that
does no harm.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h11
import httptools
from mitmproxy.net.http.http1 import read_request_head
from mitmproxy.net.http.validate import validate_headers

from proxy_addon.core.routes import parse_route
from proxy_addon.journal.entries import Exchanged
from proxy_addon.recording.lane.conversation import Settings
from tests.conversations import Lane, Upstream, settings

STREAMS = 1_000_000
NGINX_EVERY = 50

ALLOWED = {
    "h11 refuses bytes above 0x7f in a target": """
        Players do send them; nginx and llhttp take them as they are, and no parser reads a target's end in them. So h11 gets an
        ASCII letter for each such byte here (`SEVEN_BITS`), in bodies too.""",
    "llhttp refuses methods that are not in its list, and leaves a connection to another protocol that a request asks for": """
        It reads nothing behind them, so nothing is read differently. The lane reads on, because upstream may refuse.""",
    "nginx ends a connection after 'close' anywhere in Connection, after HTTP/1.0, and after what it refuses": """
        It then answers fewer requests than the lane forwarded, never more or others: the lane gets an answer with
        `Connection: close`, and opens a new connection for the next request (`_check_shorter`).""",
    "nginx refuses heads that the lane and h11 take: methods in lower case, TRACE, paths above the root, %00, odd hosts": """
        A refusal smuggles nothing; that it refuses this head, and not something that it found in a body, is checked by sending
        the head alone (`_check_shorter`).""",
}
"""In what another parser may differ from the lane, and why that does no harm. In everything else, none may."""
SEVEN_BITS = bytes(range(128)) + b"z" * 128

_METHODS = (
    [b"POST", b"POST", b"POST", b"GET", b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"M-SEARCH"],
    [b"post", b"head", b"PO ST", b"", b"CONNECT", b"G\x00T", b"TRACE", b"PRI"],
)
"""What passes, and what does not or is odd; so with all others."""
_TARGETS = (
    [
        b"/api/v1/sessions",
        b"/api/v1/sessions/a/events",
        b"/api/v1/sessions/a/events",
        b"/",
        b"http://evil/api/v1/x",
        b"//x/api/v1/y",
    ],
    [
        b"*",
        b"/a b",
        b"http://evil",
        b"/api/v1/\xff\xc3",
        b"/\t",
        b"/?q=\x7f",
        b"x",
        b"",
        b"/#f",
        b"https://u@h/",
        b"/%00",
        b"/%zz/../..",
    ],
)
_VERSIONS = (
    [b"HTTP/1.1"] * 9 + [b"HTTP/1.0"],
    [b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"", b"HTTP/1.10", b"HTTP/0.9"],
)
_HOSTS = (
    [b"Host: a", b"host:a", b"HOST:\ta:80 "],
    [b"", b"Host: a\r\nHost: b", b"Host:", b"Host: a b", b"Host : a", b"Host: a\x00"],
)
_LINES = (
    [
        b"X: \xe4\xff",
        b"X:",
        b"X: \t ",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Content_Length: 5",
        b"Upgrade: h2c\r\nConnection: upgrade",
        b"X-Long: " + b"x" * 3000,
        b"Cookie: a=b; c=d",
        b"TE: trailers",
        b"Trailer: X",
        b"Sessiontape-Recorder: z",
        b"Keep-Alive: timeout=0",
        b"Connection: disclosed",
        b"Content-Lengthy: 9",
        b"X-Transfer-Encoding: chunked",
    ],
    [
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"content-length:5",
        b"Content-Length: +5",
        b"Content-Length: 05",
        b"Content-Length: 5, 5",
        b"Content-Length : 5",
        b"Content-Length: 5 ",
        b"Content-Length:\x0b5",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 5\x0c",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:CHUNKED",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: chunked ",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:\r\n chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\nContent-Length: 9",
        b" X: y",
        b"\tX: y",
        b"X y",
        b": y",
        b"X: a\x00b",
        b"Connection: Content-Length",
        b"Connection: x, transfer-encoding",
        b"\x00",
        b"\r",
        b"",
        b"X: y\r",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Transfer-Encoding: \xe3\x85chunked",
        b"X\x85: y",
    ],
)
_CHUNKS = (
    [
        b"5\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"A\r\n0123456789\r\n",
        b"5;a=b\r\nhello\r\n",
        b'5;a="b\\"c";d\r\nhello\r\n',
        b"1\r\n\n\r\n",
    ],
    [
        b"5 \r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhelloX\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"5\rhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"\r\n",
        b"5\r\nhell",
        b"1;GET / HTTP/1.1\r\nx\r\n",
        b"5;a b\r\nhello\r\n",
    ],
)
_LASTS = (
    [b"0\r\n\r\n", b"0\r\n\r\n", b"000\r\n\r\n", b"0;x\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nX: y\r\nZ:\r\n\r\n"],
    [
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\n\n",
        b"0\n\n",
        b"0\r\n\r",
        b"0\r\nX : y\r\n\r\n",
        b"",
        b"0\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
    ],
)
_SMUGGLED = b"GET /api/v1/smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
_DICTIONARY = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b" ", b"\t", b"\x0b", b"\x0c", b":", b";", b",", b"0", b"5", b"\xff", b"\x85", b"HTTP/1.1", b"chunked",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"\r\n ", _SMUGGLED, b"0\r\n\r\n", b"Host: b\r\n", b"close", b"100-continue",
]  # fmt: skip
_STATUSES = (
    [
        b"200 OK",
        b"200 OK",
        b"200 OK",
        b"204 No",
        b"204 No",
        b"304 Not",
        b"100 Continue",
        b"103 Hints",
        b"404",
        b"404 ",
        b"500 \xe4",
    ],
    [b"101 Switch", b"99 x", b"1000 x", b"200\tOK", b" 200 OK", b""],
)
_ANSWER_VERSIONS = ([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"], [b"HTTP/2.0", b"ICY", b""])

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

REQUESTS = [
    b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /api/v1/schemas/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /api/v1/sessions HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /player.js HTTP/1.1\r\nHost: a\r\n\r\n",
]
"""Requests that devices send while upstream's answers are broken."""


class Maker:
    """Makes streams, always the same for the same source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def requests(self) -> bytes:
        """Return what a device sends."""
        stream = self._chance.choice([b""] * 8 + [b"\r\n", b"\r\n\r\n"]) if self._chance.random() < 0.95 else b"\n"
        for _ in range(self._chance.randint(1, 3)):
            line = b" ".join((self._one(_METHODS), self._one(_TARGETS), self._one(_VERSIONS)))
            stream += self._message(line, self._one(_HOSTS))
        return self._broken(stream)

    def answers(self) -> bytes:
        """Return what upstream sends."""
        stream = b""
        for _ in range(self._chance.randint(1, 4)):
            stream += self._message(self._one(_ANSWER_VERSIONS) + b" " + self._one(_STATUSES), b"")
        return self._broken(stream)

    def _one(self, of: tuple[list[bytes], list[bytes]], odd: float = 0.05) -> bytes:
        """Return what passes, mostly."""
        return self._chance.choice(of[self._chance.random() < odd])

    def cuts(self, length: int) -> list[int]:
        """Return where a stream is cut."""
        if self._chance.random() < 0.1:
            return list(range(length))
        return [self._chance.randint(0, length) for _ in range(self._chance.randint(0, 8))]

    def some(self, of: Sequence[bytes]) -> list[bytes]:
        """Return some of several."""
        return [self._chance.choice(of) for _ in range(self._chance.randint(1, 4))]

    def _message(self, line: bytes, first: bytes) -> bytes:
        chance = self._chance
        lines = [
            line,
            *([first] if first else []),
            *(self._one(_LINES, 0.15) for _ in range(chance.choice((0, 0, 1, 1, 2, 3)))),
        ]
        kind = chance.random()
        body = b""
        if kind < 0.3:
            body = chance.choice((b"{}", b"", b"x" * 300, _SMUGGLED))
            lines.append(b"Content-Length: %d" % max(0, len(body) + chance.choice((0,) * 12 + (1, -1))))
        elif kind < 0.6:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"".join(self._one(_CHUNKS) for _ in range(chance.randint(0, 3)))
            body += self._one(_LASTS)
        elif kind < 0.7:
            body = chance.choice((b"hello", _SMUGGLED, b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n" + _SMUGGLED))
        if chance.random() < 0.3:
            chance.shuffle(lines)
            lines.remove(line)
            lines.insert(0, line)
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _broken(self, stream: bytes) -> bytes:
        chance = self._chance
        if chance.random() < 0.6:
            return stream
        for _ in range(chance.randint(1, 3)):
            at, to = sorted((chance.randint(0, len(stream)), chance.randint(0, len(stream))))
            way = chance.randrange(5)
            if way == 0:
                stream = stream[:at] + bytes([chance.randrange(256)]) + stream[at + 1 :]
            elif way == 1:
                stream = stream[:at] + chance.choice(_DICTIONARY) + stream[at:]
            elif way == 2:
                stream = stream[:at] + stream[min(to, at + 9) :]
            elif way == 3:
                stream = stream[:to] + stream[at : at + 40] + stream[to:]
            else:
                old, new = chance.sample((b"\r\n", b"\n", b"\r", b": ", b":", b" :", b"5", b"6"), 2)
                stream = stream[:at] + stream[at:].replace(old, new, 1)
        return stream


# What h11 makes of it ---------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """A request as h11 reads it."""

    method: bytes
    target: bytes
    body: bytes = b""
    is_whole: bool = False


@dataclass
class Reader:
    """An upstream that h11 reads requests for; it answers each that is whole."""

    answers: Sequence[bytes]
    seen: list[Seen] = field(default_factory=list)
    cuts: Sequence[int] = ()

    def __post_init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)

    def take(self, lane: Lane, data: bytes) -> None:
        """Read what comes, and answer what is whole."""
        self._h11.receive_data(data.translate(SEVEN_BITS))
        try:
            while self._step(lane):
                pass
        except h11.RemoteProtocolError as e:
            raise AssertionError(f"h11 refuses what was forwarded: {e}") from e

    def _step(self, lane: Lane) -> bool:
        event = self._h11.next_event()
        match event:
            case h11.Request():
                self.seen.append(Seen(event.method, event.target))
            case h11.Data():
                self.seen[-1].body += event.data
            case h11.EndOfMessage():
                self.seen[-1].is_whole = True
                answer = self.answers[len(self.seen) % len(self.answers)]
                if self.seen[-1].method == b"HEAD":
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
                self._h11.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                self._h11.send(h11.EndOfMessage())
                if self._h11.our_state is not h11.DONE:
                    lane.answers(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").hangs_up()
                    return False
                self._h11.start_next_cycle()
                lane.answers(answer, self.cuts)
            case _:
                return False
        return True


ANSWERS = (
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
)


def record(entry: Exchanged) -> tuple[object, ...]:
    """Return what of an entry does not depend on the time."""
    return (
        *(entry.id, entry.outcome, entry.request, entry.request_body, entry.is_complete, entry.reason),
        *(entry.response, entry.response_body, entry.request_length, entry.request_sha256),
    )


def converse(stream: bytes, cuts: Sequence[int], made: Settings) -> tuple[Lane, list[Reader]]:
    """Send a stream as a device, to an upstream that h11 reads for; return what came of it before the device left."""
    readers: dict[int, Reader] = {}

    def answering(lane: Lane, upstream: Upstream, data: bytes) -> None:
        readers.setdefault(id(upstream), Reader(ANSWERS, cuts=cuts)).take(lane, data)

    lane = Lane(made, answering)
    lane.sends(stream, cuts)
    lane.leaves()
    if not lane.is_closed and not lane.is_blind:
        raise AssertionError("a request is whole for the lane, and not for h11")
    lane.end()
    return lane, list(readers.values())


def check_requests(stream: bytes, cuts: Sequence[int], **changes: object) -> tuple[Lane, list[Reader]]:
    """Hold what becomes of a device's bytes to all that is promised.

    Raises:
        AssertionError: It is not so.
    """
    lane, readers = converse(stream, (), settings(**changes))
    other, _ = converse(stream, cuts, settings(**changes))
    # Whoever judges answers an expectation itself, and only where the body did not come with the head.
    assert other.device.replace(_CONTINUE, b"") == lane.device.replace(_CONTINUE, b"")
    assert [record(entry) for entry in other.recorded] == [record(entry) for entry in lane.recorded]
    longer, shorter = sorted((lane.upstream, other.upstream), key=len, reverse=True)
    is_broken = any(each.kind == "malformed" for each in lane.told)
    # What is broken in the middle of a body may have been sent up to there, if it came in pieces.
    assert longer.startswith(shorter) if is_broken else longer == shorter, "other bytes for upstream"
    for run in (lane, other):
        assert not any("answer no request" in each.text for each in run.told), "h11 read more requests than the lane"
    seen = [each for reader in readers for each in reader.seen if parse_route("", each.target.decode())]
    forwarded = [entry for entry in lane.recorded if entry.server is not None]
    assert len(seen) == len(forwarded)
    for each, entry in zip(seen, forwarded, strict=True):
        body = entry.request_body.translate(SEVEN_BITS)
        assert entry.request.startswith(each.method + b" ")
        if entry.outcome == "rejected":  # in the middle of its body, of which not all was sent
            assert not each.is_whole
            assert body.startswith(each.body)
        else:
            assert (each.is_whole, each.body) == (entry.is_complete, body), "h11 reads another body"
    for reader, upstream in zip(readers, lane.upstreams, strict=True):
        check_llhttp(bytes(upstream.got), reader.seen)
    return lane, readers


class _Counting:
    """What llhttp says of requests."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def on_url(self, url: bytes) -> None:
        self.seen.append(Seen(b"", url))

    def on_body(self, body: bytes) -> None:
        self.seen[-1].body += body

    def on_message_complete(self) -> None:
        self.seen[-1].is_whole = True


def check_llhttp(got: bytes, wanted: Sequence[Seen]) -> None:
    """Let llhttp, and mitmproxy's checks, read what went to upstream on a connection.

    Raises:
        AssertionError: llhttp reads other requests than h11, or mitmproxy would refuse one.
    """
    counting = _Counting()
    parser = httptools.HttpRequestParser(counting)
    try:
        parser.feed_data(got.translate(SEVEN_BITS))
    except (httptools.HttpParserInvalidMethodError, httptools.HttpParserUpgrade):
        return  # see `ALLOWED`
    seen = counting.seen[: len(wanted)]
    assert len(counting.seen) == len(wanted), f"llhttp reads {counting.seen}"
    for each, want in zip(seen, wanted, strict=True):
        assert (each.target, each.body, each.is_whole) == (want.target, want.body, want.is_whole), (
            f"llhttp reads {each}"
        )
    validate_headers(read_request_head(got.partition(b"\r\n\r\n")[0].split(b"\r\n")))


def check_answers(requests: Sequence[bytes], stream: bytes, cuts: Sequence[int]) -> Lane:
    """Hold what becomes of an upstream's bytes to all that is promised.

    Raises:
        AssertionError: It is not so.
    """
    runs = []
    for each in ((), cuts):
        lane = Lane()
        lane.sends(b"".join(requests))
        if lane.upstreams:
            lane.answers(stream, each).hangs_up()
        lane.end()
        runs.append(lane)
    lane, other = runs
    if len(requests) == 1 and b" /player" not in requests[0]:
        # Of several, an answer that comes in pieces may come before or after the next request was sent; and what is not
        # recorded may be on its way already when it turns out to be broken.
        assert other.device == lane.device
        assert [record(entry) for entry in other.recorded] == [record(entry) for entry in lane.recorded]
    _read_by_device(requests, other)
    _read_by_device(requests, lane)
    return lane


def _read_by_device(requests: Sequence[bytes], lane: Lane) -> None:
    """Let h11 read what a device got."""
    device = h11.Connection(h11.CLIENT, max_incomplete_event_size=200_000)
    device.receive_data(lane.device)
    entries = iter(lane.recorded)
    for request in requests:
        method, target, _ = request.split(b" ", 2)
        body = request.partition(b"\r\n\r\n")[2]
        try:
            device.send(
                h11.Request(method=method, target=target, headers=[("Host", "a"), ("Content-Length", str(len(body)))])
            )
            device.send(h11.Data(data=body))
            device.send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            break
        status, got = 0, b""
        while True:
            try:
                event = device.next_event()
                if event is h11.NEED_DATA:
                    device.receive_data(b"")
                    event = device.next_event()
            except h11.RemoteProtocolError as e:
                # The end in the middle of an answer, which the device is meant to notice.
                if not re.search("peer |closed|ConnectionClosed", str(e)):
                    raise AssertionError(f"h11 does not understand what the device got: {e}") from e
                return
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                got += event.data
            elif isinstance(event, h11.InformationalResponse):
                continue
            else:
                break
        if isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.EndOfMessage):
            break
        if b"/api/v" in target:
            entry = next(entries)
            if entry.response is not None:
                assert (int(entry.response[9:12]), entry.response_body) == (status, got), "h11 reads another answer"
            else:
                assert status in {502, 504}
        if device.our_state is not h11.DONE or device.their_state is not h11.DONE:
            break
        device.start_next_cycle()


def interleave(chance: random.Random) -> Lane:
    """Let everything happen in any order, and hold the conversation to what it owes its driver; see `Lane`."""
    maker = Maker(chance)
    made = settings(
        judges=chance.random() < 0.3, waits=chance.random() < 0.8, max_body=chance.choice((5, 10_000)), mark=b"z"
    )
    lane = Lane(made, commits=False, connects=False)
    lane.refusal = chance.choice((None, None, "no event"))
    device = maker.requests() if chance.random() < 0.3 else b"".join(maker.some(REQUESTS))
    for _ in range(30):
        if lane.is_closed or lane.is_blind:
            break
        is_open = bool(lane.upstreams) and lane.upstreams[-1].is_open
        match chance.choice(
            ("device", "device", "connect", "answer", "answer", "commit", "judge", "commit", "wait", "rare")
        ):
            case "device" if not lane.has_left:
                size = chance.choice((1, 20, 1000))
                lane.sends(device[:size])
                device = device[size:]
            case "connect" if lane.is_connecting:
                if chance.random() < 0.8:
                    lane.connect(is_recorder=chance.random() < 0.1)
                else:
                    lane.unconnected()
            case "answer" if is_open:
                answer = chance.choice((*ANSWERS, *ANSWERS, maker.answers()))
                lane.answers(answer, maker.cuts(len(answer)))
            case "commit":
                lane.commit()
            case "judge":
                lane.judge()
            case "wait" if lane.conversation.deadline_us is not None and chance.random() < 0.2:
                lane.waits()
            case "rare":
                match chance.randrange(12):
                    case 0:
                        lane.drain()
                    case 1:
                        lane.stop()
                    case 2 | 3:
                        lane.leaves()
                    case 4 | 5 if is_open:
                        lane.hangs_up()
                    case _:
                        lane.waits(chance.random() * 40)
    return lane.end()


# What nginx makes of it -------------------------------------------------------------------------------------------

_CONF = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path body; keepalive_requests 100000; merge_slashes off;
  proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  large_client_header_buffers 4 64k; client_max_body_size 0; lingering_close off;
  server {
    listen unix:nginx.sock; server_name _;
    location / { return 200 "$request_method $request_uri\\n"; }
  }
}
"""
_CANARY = b"GET /canary HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n"


class Nginx:
    """An nginx that answers each request with its method and target."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "nginx.sock"

    def lines(self, stream: bytes) -> list[bytes]:
        """Return the first lines of its answers' bodies to a stream, or their statuses where it refuses."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self._socket))
            connection.sendall(stream)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    got += piece
        lines = []
        while got:
            head, _, got = got.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: ([0-9]+)", head)
            size = int(length[1]) if length else 0
            if head.startswith(b"HTTP/1.1 200"):
                is_head = got[:9] == b"HTTP/1.1 " or not got
                lines.append(b"HEAD" if is_head else got[:size].strip())
                got = got if is_head else got[size:]
            elif not head.startswith(b"HTTP/1.1 100"):
                lines.append(head[9:12])
                got = got[size:]
        return lines


@contextlib.contextmanager
def nginx() -> Iterator[Nginx | None]:
    """Run an nginx, or give None where there is none."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="nginx") as name:
        folder = Path(name)
        (folder / "nginx.conf").write_text(_CONF.replace("unix:", f"unix:{folder}/"))
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        process = subprocess.Popen([program, "-p", name, "-c", f"{name}/nginx.conf", "-e", "stderr", *user])
        try:
            until_s = time.monotonic() + 10
            while not (folder / "nginx.sock").exists():
                assert process.poll() is None, "nginx has ended"
                assert time.monotonic() < until_s, "nginx does not listen"
                time.sleep(0.01)
            yield Nginx(folder)
        finally:
            process.terminate()
            process.wait()


def check_nginx(server: Nginx, lane: Lane, readers: Sequence[Reader]) -> int:
    """Let nginx read what went to upstream, a canary behind it; return how many requests it read.

    Raises:
        AssertionError: It reads other requests than h11 and the lane.
    """
    count = 0
    for upstream, reader in zip(lane.upstreams, readers, strict=True):
        whole = [each for each in reader.seen if each.is_whole]
        if len(whole) < len(reader.seen) or not whole:
            continue
        got = bytes(upstream.got).translate(SEVEN_BITS)
        lines = server.lines(got + _CANARY)
        wanted = [each.method + b" " + each.target for each in whole] + [b"GET /canary"]
        count += len(wanted)
        for line, want in zip(lines, wanted, strict=False):
            if line.isdigit():
                break
            assert line in {want, want.partition(b" ")[0]}, f"nginx reads {line!r} instead of {want!r}"
        assert len(lines) <= len(wanted), f"nginx reads {lines} instead of {wanted}"
        if len(lines) < len(wanted) or lines[-1].isdigit():
            _check_shorter(server, got, lines, wanted)
    return count


def _check_shorter(server: Nginx, got: bytes, lines: Sequence[bytes], wanted: Sequence[bytes]) -> None:
    """Look whether nginx had reason to end the connection; see `ALLOWED`."""
    if lines and lines[-1].isdigit():
        # It must refuse the head of that very request, and not something that it found in a body.
        place = len(lines) - 1
        assert place < len(wanted) - 1, f"nginx refuses the canary: {lines}"
        method, _, target = wanted[place].partition(b" ")
        heads = re.findall(re.escape(method + b" " + target) + rb" HTTP/1.*?\r\n\r\n", got, re.DOTALL)
        assert any(
            server.lines(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))[:1] == [lines[-1]]
            for head in heads
        ), f"nginx answers {lines[-1]!r} to request {place} of {wanted}"
    else:
        assert re.search(rb"close| HTTP/1\.0\r\n", got, re.IGNORECASE), f"nginx ends after {lines} of {wanted}"


# The run ----------------------------------------------------------------------------------------------------------


def fuzz(streams: int, seed: int, *, nginx_every: int = NGINX_EVERY, told: bool = False) -> dict[str, int]:
    """Send broken streams; return counts.

    Raises:
        AssertionError: One broke a promise; the message has the stream and the seed.
    """
    counts = {"streams": 0, "forwarded": 0, "refused": 0, "answers": 0, "orders": 0, "by nginx": 0}
    chance = random.Random(seed)
    maker = Maker(chance)
    began_s = time.monotonic()
    with nginx() if nginx_every else contextlib.nullcontext() as server:
        for number in range(streams):
            of_device = number % 3 != 2
            stream = maker.requests() if of_device else maker.answers()
            cuts = maker.cuts(len(stream))
            requests = [] if of_device else maker.some(REQUESTS)
            judges = number % 12 == 0
            try:
                if number % 7 == 3:
                    counts["orders"] += len(interleave(random.Random(f"{seed} {number}")).recorded)
                elif of_device:
                    lane, readers = check_requests(stream, cuts, judges=judges)
                    counts["forwarded"] += sum(len(reader.seen) for reader in readers)
                    counts["refused"] += any(each.kind in {"malformed", "connect", "too-long"} for each in lane.told)
                    if server is not None and number % nginx_every == 0:
                        counts["by nginx"] += check_nginx(server, lane, readers)
                else:
                    counts["answers"] += len(check_answers(requests, stream, cuts).recorded)
            except Exception as e:
                raise AssertionError(
                    f"stream {number} of seed {seed}: {e!r}\n{stream!r}\n{requests!r}, cut at {cuts}"
                ) from e
            counts["streams"] += 1
            if told and counts["streams"] % 50_000 == 0:
                print(f"{counts} after {time.monotonic() - began_s:.0f} s", flush=True)
    return counts


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument(
        "--nginx-every", type=int, default=NGINX_EVERY, help="let nginx read every so manieth stream; 0 for none"
    )
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.nginx_every and not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")):
        print("nginx is not installed, so h11 alone reads what is forwarded")
    began_s = time.monotonic()
    counts = fuzz(options.streams, options.seed, nginx_every=options.nginx_every, told=True)
    print(f"{counts}, no promise broken, in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
