"""Many connections at a time: a player among them is served as ever, and what is wrong with them is told once."""

from __future__ import annotations

import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from proxy_addon.recording.crowds import RESERVED_FILES, raise_open_files
from tests.integration.test_lane import END, NO_CONTENT, answering
from tests.lanes import serving
from tests.scripted import Peer, device, eventually, upstream

FULL = "no files are left for further connections"
CROWD = """
import os, socket, sys
port = int(sys.argv[1])
for number in range(600):
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.sendall([
            b"GET / HTTP/1.1\\r\\nBad Name: x\\r\\n\\r\\n",
            b"\\0\\1\\2\\3\\r\\n\\r\\n",
            b"POST /api/v1/sessions HTTP/1.1\\r\\nContent-Length: 1\\r\\nContent-Length: 2\\r\\n\\r\\n",
            b"\\x16\\x03\\x01\\x00\\x10" + os.urandom(40),
        ][number % 4])
        try:
            one.recv(4096)
        except OSError:
            pass
"""


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_open_files()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def asked(player: Peer) -> float:
    """Send a ping, and return how many seconds its answer took."""
    began_s = time.perf_counter()
    player.send(END)
    assert player.until(b"\r\n\r\n") == NO_CONTENT
    return time.perf_counter() - began_s


def lines(caplog: pytest.LogCaptureFixture, of: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if of in record.getMessage()]


def test_a_player_is_not_disturbed_by_a_crowd(many_files):
    """1,000 connections that say nothing, 200 that say a byte at a time, and 600 that talk nonsense."""
    patience_us = 600_000_000  # a busy machine may take longer than a recorder waits for the end of a head
    with (
        upstream(answering) as server,
        serving(server.url, head_timeout_us=patience_us) as recorder,
        ExitStack() as crowd,
    ):
        began_s = time.perf_counter()
        for _ in range(1000):
            crowd.enter_context(device(recorder.port))
        assert time.perf_counter() - began_s < 30, "whom the system does not queue tries again after a second"
        slow = [crowd.enter_context(device(recorder.port)) for _ in range(200)]
        player = crowd.enter_context(device(recorder.port))
        with subprocess.Popen([sys.executable, "-c", CROWD, str(recorder.port)]) as nonsense:
            took_s = []
            while nonsense.poll() is None:
                for each in slow:
                    each.send(b"x")
                took_s.append(asked(player))
                time.sleep(0.01)
        assert nonsense.returncode == 0

    took_s.sort()
    assert took_s[len(took_s) * 9 // 10] < 1, took_s[-20:]
    assert {kind for kind, _ in recorder.kept.told} == {"malformed"}
    assert {each.outcome for each in recorder.kept.entries} == {"answered", "rejected"}


def test_idle_connections_make_room_for_new_ones(caplog, many_files):
    """Those that never said anything go first, and whoever is served stays."""
    most = 60
    with (
        caplog.at_level(logging.WARNING),
        upstream(answering) as server,
        serving(server.url, files=RESERVED_FILES + most) as recorder,
        ExitStack() as crowd,
    ):
        player = crowd.enter_context(device(recorder.port))
        asked(player)
        silent = [crowd.enter_context(device(recorder.port)) for _ in range(150)]
        asked(player)
        asked(crowd.enter_context(device(recorder.port)))
        assert silent[0].to_end() == b""
        assert len(lines(caplog, FULL)) == 1
        for each in silent:
            each.socket.close()
        eventually(lambda: lines(caplog, "there is room for connections again; 0 were refused"), caplog.text)
        asked(player)


def test_without_room_a_new_connection_is_refused_and_told_once(caplog, many_files):
    with (
        caplog.at_level(logging.WARNING),
        upstream(lambda peer: peer.to_end()) as server,
        serving(server.url, files=RESERVED_FILES + 20) as recorder,
        ExitStack() as crowd,
    ):
        busy = []
        for _ in range(10):  # each with a connection to upstream
            busy.append(crowd.enter_context(device(recorder.port)))
            busy[-1].send(END)
        eventually(lambda: len(server.peers) == 10)
        for _ in range(3):
            assert crowd.enter_context(device(recorder.port)).to_end() == b""
        assert len(lines(caplog, FULL)) == 1
        for each in busy:
            each.reset()
        for each in server.peers:
            each.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: lines(caplog, "room for connections again; 3 were refused"), caplog.text)


@contextmanager
def no_more_files(left: int) -> Iterator[None]:
    """Let this process open only so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest.fileno() + left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_that_cannot_be_accepted_are_told_once_and_served_later(caplog):
    with caplog.at_level(logging.WARNING), upstream(answering) as server, serving(server.url) as recorder:
        waiting = [socket.socket() for _ in range(30)]
        with no_more_files(left=5):
            for each in waiting:
                each.connect(("127.0.0.1", recorder.port))
            eventually(lambda: lines(caplog, FULL), caplog.text)
        served = 0
        for each in waiting:
            each.settimeout(30)
            with suppress(AssertionError, ConnectionError), each:  # closed to make room, as it has said nothing
                asked(Peer(each))
                served += 1
    assert served >= len(waiting) - 16, caplog.text
    assert len(lines(caplog, FULL)) == 1, caplog.text


def test_a_process_may_open_as_many_files_as_the_system_lets_it():
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512));"
        "from proxy_addon.recording.crowds import raise_open_files as r; print(r(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["512", "512"]
