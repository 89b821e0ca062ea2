"""Conversations that are legal and rare, or neither: devices and upstream understand each other as without us."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from storage.engine import Store
from storage.models import ExchangeRow
from tests.builders import body, event_dict
from tests.faults import raw
from tests.faults.books import drain
from tests.faults.raw import CREATED, START, Peer, post
from tests.faults.servers import Recorder
from tests.faults.stage import Stage

MIB = 1 << 20
END = body(event_dict("sessionEnd"))
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EVENTS = "/api/v1/sessions/4a0f/events"


@dataclass(frozen=True)
class Middle:
    """A recorder between devices and an upstream that does what the test says."""

    upstream: raw.Upstream
    proxy: Recorder
    store_url: str

    def device(self, *, tls: bool = False) -> AbstractContextManager[Peer]:
        return raw.device(self.proxy.port, tls=tls)

    def answer_with(self, data: bytes) -> None:
        """Let upstream answer each request with these bytes."""
        self.upstream.answer = lambda peer, _: peer.send(data)

    def stored(self) -> list[Any]:
        """Return the rows of all exchanges, in order of arrival."""
        drain(self.store_url)
        with closing(Store(self.store_url)) as store, store.read() as db:
            return list(db.execute(select(ExchangeRow.__table__).order_by(ExchangeRow.received_at, ExchangeRow.id)))


@contextmanager
def between(folder: Path, store_url: str, *options: str) -> Iterator[Middle]:
    with raw.upstream() as upstream:
        proxy = Recorder(folder, upstream.url, store_url, "--set", f"confdir={folder}", *options)
        try:
            proxy.start()
            yield Middle(upstream, proxy, store_url)
            assert proxy.stop() < 10
        finally:
            proxy.end()
    assert "Traceback" not in proxy.output


@pytest.fixture
def middle(tmp_path: Path, sqlite_url: str) -> Iterator[Middle]:
    with between(tmp_path, sqlite_url) as found:
        yield found


def test_an_interim_answer_comes_at_once_and_the_final_one_counts(middle: Middle) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.js>; rel=preload\r\n\r\n"
    has_hints = threading.Event()

    def answer(peer: Peer, _: bytes) -> None:
        peer.send(hints)
        assert has_hints.wait(raw.WITHIN_S)
        peer.send(CREATED)

    middle.upstream.answer = answer
    with middle.device() as device:
        device.send(post())
        assert device.message() == hints
        has_hints.set()
        assert device.message() == CREATED
    assert [row.status for row in middle.stored()] == [201]


def test_trailers_pass_in_both_directions(middle: Middle) -> None:
    chunks = b"%x\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(START), START)
    answered = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
    middle.answer_with(answered)
    with middle.device() as device:
        for _ in range(2):  # the connection is good for the next request
            device.send(post("/api/v1/sessions", b"", b"Transfer-Encoding: chunked", framed=False) + chunks)
            assert device.message() == answered
    assert [request.endswith(chunks) for request in middle.upstream.received] == [True, True]
    assert [(row.request_body, row.response_body) for row in middle.stored()] == [(START, b"ok")] * 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_last_request_of_a_page_that_unloads_arrives(tls: bool, stage: Stage, middle: Middle) -> None:
    times = stage.scale.farewells
    middle.answer_with(NO_CONTENT)
    for _ in range(times):
        with middle.device(tls=tls) as device:
            device.send(post(EVENTS, END))
    deadline = time.monotonic() + raw.WITHIN_S
    while len(middle.upstream.received) < times and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(middle.upstream.received) == times
    assert middle.proxy.stop() < 10
    found = middle.stored()
    assert [(row.status, row.request_body) for row in found] == [(204, END)] * times
    assert {row.outcome for row in found} <= {"client-gone", "answered"}


def test_a_204_with_a_useless_transfer_encoding_is_a_204(middle: Middle) -> None:
    middle.answer_with(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
    with middle.device() as device:
        for _ in range(2):
            device.send(post(EVENTS, END))
            assert device.message() == NO_CONTENT  # without the line, for which some devices would wait for chunks
    assert [row.status for row in middle.stored()] == [204, 204]


def test_an_empty_line_in_front_of_a_request_does_no_harm(middle: Middle) -> None:
    with middle.device() as device:
        for _ in range(2):
            device.send(b"\r\n" + post())
            assert device.message() == CREATED
    assert [row.status for row in middle.stored()] == [201, 201]


BROKEN = {
    "bare CR": b"X-A: a\rb",
    "NUL": b"X-A: a\0b",
    "obs-fold": b"X-A: a\r\n b",
    "two lengths": b"Content-Length: 3",
    "length and chunks": b"Transfer-Encoding: chunked",
    "space before the colon": b"X-A : a",
}


def assert_is_ours(answer: bytes, status: int, name: str) -> None:
    """Fail unless the recorder itself gave an answer, which a page can read."""
    assert answer[9:12] == b"%d" % status, (name, answer)
    assert b"Access-Control-Allow-Origin: *" in answer, name
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"], name


def test_what_two_parsers_would_read_differently_does_not_get_to_upstream(middle: Middle) -> None:
    for name, line in BROKEN.items():
        with middle.device() as device:
            device.send(post("/api/v1/sessions", START, line))
            assert_is_ours(device.rest(), 400, name)
    assert middle.upstream.received == []


def test_what_two_parsers_would_read_differently_does_not_get_to_the_device(middle: Middle) -> None:
    for name, line in BROKEN.items():
        middle.answer_with(b"HTTP/1.1 201 Created\r\n%s\r\nContent-Length: 0\r\n\r\n" % line)
        with middle.device() as device:
            device.send(post(close=True))
            assert_is_ours(device.rest(), 502, name)
    rows = middle.stored()
    assert len(rows) == len(BROKEN)
    assert all(row.why for row in rows)
    assert middle.proxy.stop() < 10
    told = [line for line in middle.proxy.output.splitlines() if "upstream's answer is broken" in line]
    assert "broken: bare CR" in told[0], "the first is told at once"
    assert told[0].endswith(", after POST /api/v1/sessions")


def test_a_head_of_a_mebibyte_is_refused(middle: Middle) -> None:
    with middle.device() as device:
        with suppress(ConnectionError):
            device.send(post("/api/v1/sessions", START, *(b"X-%d: %s" % (n, b"a" * 1000) for n in range(1024))))
        assert_is_ours(device.rest(), 431, "a long head")
    assert middle.upstream.received == []


def test_a_long_body_passes_and_its_beginning_is_stored(stage: Stage, middle: Middle) -> None:
    piece = bytes(range(256)) * 4096
    pieces = stage.scale.body_mib
    sent, arrived = hashlib.sha256(), hashlib.sha256()
    for _ in range(pieces):
        sent.update(piece)

    def swallow(peer: Peer) -> None:
        peer.head()
        for data in peer.pieces(pieces * MIB):
            arrived.update(data)
        peer.send(CREATED)

    middle.upstream.handle = swallow
    with middle.device() as device:
        device.send(post("/api/v1/downloaded", b"", b"Content-Length: %d" % (pieces * MIB), framed=False))
        for _ in range(pieces):
            device.send(piece)
        assert device.message() == CREATED
    assert arrived.hexdigest() == sent.hexdigest()
    (row,) = middle.stored()
    assert (row.body_state, row.request_length, row.request_sha256) == ("truncated", pieces * MIB, sent.hexdigest())
    assert row.request_body == piece[: len(row.request_body)] != b""
    assert row.outcome == "answered"


CHUNK = b"10\r\n" + b"x" * 16 + b"\r\n"


def dripped(peer: Peer, every_s: float) -> bytes:
    """Send chunks until the other end closes, and return what it has sent meanwhile."""
    over = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not over.wait(every_s):
                peer.send(CHUNK)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        return peer.rest()
    finally:
        over.set()
        thread.join()


def test_an_answer_without_end_is_ended(tmp_path: Path, sqlite_url: str) -> None:
    def answer(peer: Peer, _: bytes) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        dripped(peer, 0.02)

    with between(tmp_path, sqlite_url, "--upstream-timeout", "1") as middle:
        middle.upstream.answer = answer
        with middle.device() as device:
            began_s = time.monotonic()
            device.send(post())
            assert device.message()[9:12] == b"504"
            took_s = time.monotonic() - began_s
        (row,) = middle.stored()
    assert 1 <= took_s < 10
    assert row.outcome == "upstream-timeout"


@pytest.mark.all_rounds
def test_a_request_without_end_is_ended(middle: Middle) -> None:
    with middle.device() as device:
        began_s = time.monotonic()
        device.send(post("/api/v1/sessions", b"", b"Transfer-Encoding: chunked", framed=False))
        device.connection.settimeout(700)
        answer = dripped(device, 1)
        took_s = time.monotonic() - began_s
    print(f"ended after {took_s:.0f} s")
    assert_is_ours(answer, 408, "a request without end")
    assert 600 <= took_s < 620
    assert not [request for request in middle.upstream.received if request.endswith(b"0\r\n\r\n")]  # none is whole
    (row,) = middle.stored()
    assert row.why == "the request was not complete within 600 s"


TLS = 0x16
MALFORMED: list[Callable[[int], bytes]] = [
    lambda n: b"NONSENSE\r\n\r\n",
    lambda n: post("/api/v1/sessions", START, b"Content-Length: %d" % n),
    lambda n: post("/api/v1/sessions", START, b"X-A: \0"),
    lambda n: post("/api/v1/sessions", b"zz\r\n", b"Transfer-Encoding: chunked", framed=False),
    lambda n: bytes((n * 7 + k) % 256 for k in range(200)) + b"\r\n\r\n",
    lambda n: bytes([TLS]) + b"\x03\x01" + b"\xff" * 100,
    lambda n: b"POST / HTTP/9.9\r\n\r\n",
]


def test_malformed_requests_do_not_disturb_a_player(stage: Stage, sqlite_url: str) -> None:
    with stage.recorder(sqlite_url) as proxy:
        with stage.playing(proxy, rate=50) as notes:
            for number in range(stage.scale.malformed):
                with raw.device(proxy.port) as device:
                    malformed = MALFORMED[number % len(MALFORMED)](number)
                    device.send(malformed)
                    if malformed[0] != TLS:  # the rest of a handshake is waited for
                        assert device.rest()[9:12] in {b"400", b"505"}
        proxy.stop()
    print(f"slowest {notes.slowest_s() * 1000:.0f} ms, machine {notes.machine_s() * 1000:.0f} ms")
    assert notes.slowest_s() < max(0.25, stage.scale.slow_s) + notes.machine_s()
    assert not notes.unsure
    stage.assert_kept(notes, sqlite_url)
    assert len(proxy.output.splitlines()) < 100
