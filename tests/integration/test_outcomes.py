"""Upstreams and devices that misbehave: each leaves an exchange, and the proxy goes on."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.builders import body, event_dict
from tests.processes import Answer, Server

START = body(event_dict("sessionStart"))
SOON_S = 30
GIVES_UP_AFTER_S = 2
"""How long a recorder waits that is to give up: an upstream that answers well needs less, even on a busy machine."""
GIVES_UP = ("--upstream-timeout", str(GIVES_UP_AFTER_S))
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /api/v1/sessions/4a0f\r\nContent-Length: 0\r\n\r\n"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "OPTIONS,POST,PUT",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Expose-Headers": "Location",
}


class Upstream:
    """A server whose every connection is handled by a function; the second and later ones are answered well."""

    def __init__(self, misbehave: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._misbehave = misbehave
        self.over = threading.Event()
        self.asked = threading.Event()
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(SOON_S)

    def is_idle(self) -> bool:
        """Whether there were connections, and all are over."""
        return bool(self._threads) and not any(thread.is_alive() for thread in self._threads)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            handle = self._misbehave if self.connections == 1 else answer_well
            thread = threading.Thread(target=self._handle, args=(connection, handle), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _handle(self, connection: socket.socket, handle: Callable[[socket.socket], None]) -> None:
        with closing(connection), suppress(ConnectionError):  # it was closed before it had sent a request
            connection.settimeout(SOON_S)
            handle(connection)


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += read_some(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"ength:" in line), 0)
    while len(rest) < length:
        rest += read_some(connection)
    return head + b"\r\n\r\n" + rest


def read_some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


def test_a_connection_without_a_request_keeps_no_thread_of_the_tests_busy():
    with upstream(answer_well) as server:
        port = int(server.url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
        until_s = time.monotonic() + SOON_S
        while not server.is_idle():
            assert time.monotonic() < until_s
            time.sleep(0.01)


def answer_well(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(CREATED)


def dies_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dies_after_the_request(connection: socket.socket) -> None:
    read_request(connection)


def dies_in_its_head(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 201 Crea")


def dies_in_its_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def speaks_no_http(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")


@contextmanager
def upstream(misbehave: Callable[[socket.socket], None]) -> Iterator[Upstream]:
    server = Upstream(misbehave)
    try:
        yield server
    finally:
        server.close()


def stored(store_url: str, expected: int = 2) -> list[dict[str, Any]]:
    """All exchanges of all sessions, oldest first; waits until there are as many as expected."""
    deadline = time.monotonic() + SOON_S
    while True:
        sessions = processes.printed("sessions", "--store", store_url)
        shown = [processes.printed("show", s["id"], "--store", store_url) for s in reversed(sessions)]
        exchanges = [exchange for each in shown for exchange in each["exchanges"]]
        if len(exchanges) >= expected or time.monotonic() > deadline:
            assert len(exchanges) == expected
            return exchanges


def assert_readable_by_a_page(answer: Answer) -> None:
    assert {name: answer.header(name) for name in CORS} == CORS
    assert answer.header("Content-Type") == "application/json"
    assert json.loads(answer.body)["message"].startswith("sessiontape: ")


def start(proxy: Server) -> Answer:
    return proxy.ask("POST", "/api/v1/sessions", START)


@pytest.mark.parametrize(
    ("misbehave", "outcome"),
    [
        (dies_at_once, "upstream-closed"),
        (dies_after_the_request, "upstream-closed"),
        (dies_in_its_head, "upstream-closed"),
        (dies_in_its_body, "upstream-closed"),
        (speaks_no_http, "upstream-closed"),
    ],
)
@pytest.mark.every_version
def test_an_upstream_that_dies_is_a_502_and_stored(misbehave, outcome, sqlite_url, tmp_path):
    with upstream(misbehave) as server, processes.recorder(tmp_path, server.url, sqlite_url) as proxy:
        answer = start(proxy)
        assert answer.status == 502
        assert_readable_by_a_page(answer)
        assert start(proxy).status == 201
    failed, good = stored(sqlite_url)
    assert (failed["outcome"], failed["response"], failed["duration_ms"]) == (outcome, None, None)
    assert failed["request"]["body"] == {"text": START.decode()}
    assert (good["outcome"], good["response"]["status"]) == ("answered", 201)


def test_an_upstream_that_refuses_is_a_502_and_stored(sqlite_url, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with processes.recorder(tmp_path, url, sqlite_url) as proxy:
        for _ in range(2):
            answer = start(proxy)
            assert answer.status == 502
            assert_readable_by_a_page(answer)
            assert json.loads(answer.body)["message"] == "sessiontape: connection refused"
    assert [each["outcome"] for each in stored(sqlite_url)] == ["upstream-unreachable"] * 2


def test_an_upstream_that_never_answers_is_a_504_and_stored(sqlite_url, tmp_path):
    def never_answers(connection: socket.socket) -> None:
        read_request(connection)
        server.over.wait(SOON_S)

    with (
        upstream(never_answers) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, *GIVES_UP) as proxy,
    ):
        began = time.monotonic()
        answer = start(proxy)
        assert GIVES_UP_AFTER_S <= time.monotonic() - began < SOON_S
        assert answer.status == 504
        assert_readable_by_a_page(answer)
        assert start(proxy).status == 201
    late, good = stored(sqlite_url)
    assert (late["outcome"], late["response"]) == ("upstream-timeout", None)
    assert good["outcome"] == "answered"


def test_an_upstream_that_stalls_in_its_body_is_a_504(sqlite_url, tmp_path):
    def stalls(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        server.over.wait(SOON_S)

    with (
        upstream(stalls) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, *GIVES_UP) as proxy,
    ):
        assert start(proxy).status == 504
        assert start(proxy).status == 201
    assert [each["outcome"] for each in stored(sqlite_url)] == ["upstream-timeout", "answered"]


def test_a_connection_that_cannot_be_made_in_time_is_a_504(sqlite_url, tmp_path):
    """A listener whose queue is full answers no SYN."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = []
        for _ in range(4):
            each = socket.socket()
            each.settimeout(0)
            each.connect_ex(address)
            waiting.append(each)
        with processes.recorder(
            tmp_path, f"http://127.0.0.1:{address[1]}", sqlite_url, "--upstream-timeout", "0.4"
        ) as proxy:
            assert start(proxy).status == 504
        for each in waiting:
            each.close()
    assert [each["outcome"] for each in stored(sqlite_url, 1)] == ["upstream-timeout"]


@pytest.mark.every_version
@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_a_device_that_leaves_before_the_answer_is_stored(engine, sqlite_url, tmp_path):
    has_left = threading.Event()

    def waits(connection: socket.socket) -> None:
        read_request(connection)
        server.asked.set()
        has_left.wait(SOON_S)
        with suppress(ConnectionError):  # mitmproxy's engine has hung up
            connection.sendall(CREATED)

    with (
        upstream(waits) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, "--engine", engine) as proxy,
    ):
        with socket.create_connection(("127.0.0.1", proxy.port)) as device:
            head = f"POST /api/v1/sessions HTTP/1.1\r\nHost: tv\r\nContent-Length: {len(START)}\r\n\r\n"
            device.sendall(head.encode() + START)
            assert server.asked.wait(SOON_S)
        has_left.set()
        assert [each["outcome"] for each in stored(sqlite_url, 1)] == ["client-gone"]
        assert start(proxy).status == 201
    gone, _ = stored(sqlite_url)
    assert gone["request"]["complete"] is True
    assert gone["request"]["body"] == {"text": START.decode()}
    assert (gone["response"] or {}).get("status") == (201 if engine == "lane" else None)


@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_a_device_that_leaves_in_its_own_body_is_stored_as_far_as_it_got(engine, sqlite_url, tmp_path):
    with (
        upstream(answer_well) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, "--engine", engine) as proxy,
    ):
        with socket.create_connection(("127.0.0.1", proxy.port)) as device:
            device.sendall(b'POST /api/v1/sessions HTTP/1.1\r\nHost: tv\r\nContent-Length: 1000\r\n\r\n{"eventType":')
        (gone,) = stored(sqlite_url, 1)
        assert server.connections == (1 if engine == "lane" else 0), "the lane passes on the head at once"
        assert start(proxy).status == 201
    assert gone["outcome"] == "client-gone"
    assert gone["request"]["complete"] is False
    assert gone["request"]["body"] == {"text": '{"eventType":'}


def test_a_request_that_is_framed_in_two_ways_is_refused_and_stored(sqlite_url, tmp_path):
    with upstream(answer_well) as server, processes.recorder(tmp_path, server.url, sqlite_url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON_S) as device:
            device.sendall(
                b"POST /api/v1/sessions HTTP/1.1\r\nHost: tv\r\nContent-Length: 4\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            )
            assert device.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert start(proxy).status == 201
        assert server.connections == 1
    refused, _ = stored(sqlite_url)
    assert refused["outcome"] == "rejected"


def test_a_body_over_the_limit_is_refused_and_stored(sqlite_url, tmp_path):
    with (
        upstream(answer_well) as server,
        processes.recorder(
            tmp_path, server.url, sqlite_url, "--engine", "hooks", "--set", "body_size_limit=1k"
        ) as proxy,
    ):
        assert proxy.ask("POST", "/api/v1/sessions", b"x" * 5000).status == 413
        assert start(proxy).status == 201
    assert [each["outcome"] for each in stored(sqlite_url)] == ["rejected", "answered"]


def test_what_is_in_flight_at_the_end_is_still_answered_and_stored(sqlite_url, tmp_path):
    def takes_its_time(connection: socket.socket) -> None:
        read_request(connection)
        server.asked.set()
        proxy.process.popen.terminate()
        may_answer.wait(SOON_S)
        connection.sendall(CREATED)

    may_answer = threading.Event()
    answers: list[Answer] = []
    with upstream(takes_its_time) as server, processes.recorder(tmp_path, server.url, sqlite_url) as proxy:
        device = threading.Thread(target=lambda: answers.append(start(proxy)))
        device.start()
        assert server.asked.wait(SOON_S)
        wait_until_refused(proxy.port)
        may_answer.set()
        device.join(SOON_S)
        assert proxy.process.wait() == 0
    assert [answer.status for answer in answers] == [201]
    assert [each["outcome"] for each in stored(sqlite_url, 1)] == ["answered"]


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it was still waiting to be accepted when the listener was closed
    pytest.fail("the proxy still takes connections")


def test_a_device_has_its_answer_only_when_the_exchange_is_stored(store_url, tmp_path):
    def answer_all(connection: socket.socket) -> None:
        answer_well(connection)

    with upstream(answer_all) as server, processes.recorder(tmp_path, server.url, store_url) as proxy:
        assert start(proxy).status == 201
        assert len(processes.printed("sessions", "--store", store_url)) == 1


def test_a_store_that_is_locked_does_not_keep_answers_and_gets_everything_later(sqlite_url, tmp_path: Path):
    import sqlite3

    with upstream(answer_well) as server, processes.recorder(tmp_path, server.url, sqlite_url) as proxy:
        db = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            assert start(proxy).status == 201  # the lock is there until they are
        db.execute("ROLLBACK")
        db.close()
        assert [each["outcome"] for each in stored(sqlite_url, 3)] == ["answered"] * 3
