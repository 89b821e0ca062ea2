"""Real SDK traffic through the recorder to an upstream: what was sent, what is stored and what arrived are the same."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import pty
import socket
import struct
import subprocess
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.processes import Answer
from tests.sdk_traffic import SdkRequest, load

Recorder = Callable[[Path, str, str], AbstractContextManager[processes.Server]]


@dataclass
class Sent:
    """One request as it went out, and the answer the device got."""

    request: SdkRequest
    answer: Answer


def send(connection: http.client.HTTPConnection, request: SdkRequest) -> Answer:
    """Send exactly the headers of a request, in their order and case."""
    connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
    for name, value in request.headers:
        connection.putheader(name, value)
    connection.endheaders(request.body)
    answer = connection.getresponse()
    return Answer(answer.status, answer.getheaders(), answer.read())


def play(port: int) -> list[Sent]:
    """Send all requests of the SDK in order, each on the connection it had, under the IDs that this server gives."""
    connections: dict[int, http.client.HTTPConnection] = {}
    ids: dict[int, str] = {}
    sent = []
    try:
        for recorded in load():
            request = recorded.with_session_id(ids.get(recorded.playback, ""))
            connection = connections.setdefault(
                recorded.connection, http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            )
            answer = send(connection, request)
            if request.opens:
                ids[request.playback] = (answer.header("Location") or "").rpartition("/")[2]
            sent.append(Sent(request, answer))
    finally:
        for connection in connections.values():
            connection.close()
    return sent


@contextmanager
def mitmweb(cwd: Path, upstream: str, store_url: str) -> Iterator[processes.Server]:
    with inside("mitmweb", cwd, upstream, store_url, "--no-web-open-browser", "--web-port", str(free_port())) as server:
        yield server


@contextmanager
def mitmproxy(cwd: Path, upstream: str, store_url: str) -> Iterator[processes.Server]:
    """The console program, which insists on a terminal."""
    port = free_port()
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [*command_of("mitmproxy", cwd, upstream, store_url, port), "--set", "console_mouse=false"]
    process = subprocess.Popen(
        command, cwd=cwd, stdin=inner, stdout=inner, stderr=inner, env={**os.environ, "TERM": "xterm"}
    )
    os.close(inner)
    drain = threading.Thread(target=drained, args=(terminal,), daemon=True)  # a full terminal would stop it
    drain.start()
    try:
        wait_for_port(port)
        yield processes.Server(None, port, "")  # type: ignore[arg-type]  # there is no line to read from it
    finally:
        process.terminate()
        try:
            process.wait(processes.STOPS_WITHIN_S)
        finally:
            process.kill()
            process.wait()
            drain.join()
            os.close(terminal)


def drained(terminal: int) -> None:
    """Read what a program draws until it ends."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass


@contextmanager
def inside(program: str, cwd: Path, upstream: str, store_url: str, *options: str) -> Iterator[processes.Server]:
    command = [*command_of(program, cwd, upstream, store_url, 0), *options]
    with processes.serving(command, cwd, ready="listening at") as server:
        yield server


def command_of(program: str, cwd: Path, upstream: str, store_url: str, port: int) -> list[str]:
    path = processes.run("addon-path").stdout.strip()
    mode = f"reverse:{upstream}@127.0.0.1:{port}"
    options = ["--mode", mode, "--set", f"tape_store={store_url}", "--set", f"confdir={cwd}"]
    return [str(processes.BIN / program), "-s", path, *options]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + processes.READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nothing listens")


def shown(store_url: str) -> list[dict[str, Any]]:
    """All sessions with their exchanges, oldest first."""
    sessions = processes.printed("sessions", "--store", store_url)
    return [processes.printed("show", session["id"], "--store", store_url) for session in reversed(sessions)]


def assert_recorded(sent: list[Sent], received: list[dict[str, Any]], store_url: str) -> None:
    """Check that what was sent, stored and received are the same, request by request."""
    documents = shown(store_url)
    outside = processes.printed("exchanges", "--store", store_url)
    stored = sorted([e for d in documents for e in d["exchanges"]] + outside, key=lambda e: e["received_at"])
    assert [(d["session"]["events"], d["session"]["state"]) for d in documents] == [(9, "completed"), (19, "completed")]
    assert Counter(exchange["operation"] for exchange in stored) == {"sessions": 2, "events": 26, "preflight": 13}
    assert [exchange["operation"] for exchange in outside] == ["preflight", "preflight"]
    assert {exchange["outcome"] for exchange in stored} == {"answered"}

    # Nothing is overtaken here, so arrival order is sending order everywhere.
    hashes = [sha256(each.request.body) for each in sent]
    assert [exchange["request"]["body_sha256"] for exchange in stored] == hashes
    assert [each["body_sha256"] for each in received] == hashes
    for each, exchange, entry in zip(sent, stored, received, strict=True):
        request, response = exchange["request"], exchange["response"]
        assert (request["method"], request["path"]) == (each.request.method, each.request.path)
        assert [tuple(header) for header in request["headers"]] == list(each.request.headers)
        assert response["status"] == each.answer.status == entry["status"]
        assert [tuple(header) for header in response["headers"]] == each.answer.headers
        # Upstream got the device's headers as they were, but for Host, which is its own.
        changed = [name for name, value in each.request.headers if [name, value] not in entry["headers"]]
        assert changed == ["Host"]
    for document in documents:
        ids = {exchange["request"]["path"].split("/")[4] for exchange in document["exchanges"][1:]}
        assert ids == {document["session"]["session_id"]}
        assert [exchange["seq"] for exchange in document["exchanges"]] == list(
            range(1, document["session"]["exchanges"] + 1)
        )


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def recorded_by(recorder: Recorder, store_url: str, folder: Path) -> None:
    with processes.collector(folder) as upstream:
        with recorder(folder, upstream.url, store_url) as proxy:
            sent = play(proxy.port)
        received = upstream.received()
    assert_recorded(sent, received, store_url)


@pytest.mark.every_version
def test_record_keeps_the_sdks_traffic_byte_for_byte(store_url, tmp_path):
    recorded_by(processes.recorder, store_url, tmp_path)


@pytest.mark.parametrize(
    "program",
    [pytest.param(processes.mitmdump, marks=pytest.mark.every_version), mitmweb, mitmproxy],
    ids=lambda program: program.__name__,
)
def test_mitmproxys_own_programs_record_the_same(program, sqlite_url, tmp_path):
    recorded_by(program, sqlite_url, tmp_path)


def test_mitmdump_records_the_same_into_postgresql(postgres_url, tmp_path):
    recorded_by(processes.mitmdump, postgres_url, tmp_path)


def test_what_is_not_below_api_passes_through_unrecorded(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        assert proxy.ask("GET", "/favicon.ico").status == 404
        assert proxy.ask("GET", "/api/v2/anything").status == 404
        assert [each["path"] for each in upstream.received()] == ["/favicon.ico", "/api/v2/anything"]
    found = processes.printed("exchanges", "--store", sqlite_url)
    assert [(each["operation"], each["request"]["path"]) for each in found] == [("other", "/api/v2/anything")]


def read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def test_the_device_gets_the_very_bytes_that_upstream_sent(sqlite_url, tmp_path):
    answer = (
        b"HTTP/1.1 201 Created\r\nSERVER: nginx/1.13.5\r\nlocation:  /api/v1/sessions/4a0f\r\n"
        b"X-Odd: a\xe9\r\nX-Odd: b\r\nAccess-Control-Expose-Headers: Location\r\nContent-Length: 0\r\n\r\n"
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            processes.recorder(tmp_path, url, sqlite_url) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as device,
        ):
            device.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: tv.example\r\nContent-Length: 2\r\n\r\n{}")
            with listener.accept()[0] as upstream:
                received = read_until(upstream, b"{}")
                upstream.sendall(answer)
                got = read_until(device, b"\r\n\r\n")
    assert got == answer
    assert received.startswith(b"POST /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:")
