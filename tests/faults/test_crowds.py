"""Many connections at once: a player beside them does not notice, and nothing of them stays behind."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.faults import raw
from tests.faults.servers import Recorder
from tests.faults.stage import Stage

SLOW = 200
CALM = 6
"""How often memory is looked at, a tenth of a second apart, until it is taken for what it stays."""
BYTE_EVERY_S = 0.5
NO_FILES = "no files are left for further connections"


@contextmanager
def connected(proxy: Recorder, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections open."""
    with ExitStack() as all_of_them:
        yield [
            all_of_them.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=raw.WITHIN_S))
            for _ in range(count)
        ]


@contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """Send a request on each connection, a byte at a time."""
    over = threading.Event()
    content = raw.post()

    def drip() -> None:
        for at in range(len(content)):
            for each in connections:
                with suppress(OSError):
                    each.sendall(content[at : at + 1])
            if over.wait(BYTE_EVERY_S):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def resident_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def grown_mib(pid: int) -> int:
    """Return what a process holds once it takes no more."""
    held = [-1]
    while held[-1] > held[0] or len(held) < CALM:
        time.sleep(0.1)
        held = [*held, resident_mib(pid)][-CALM:]
    return held[-1]


def is_open(connection: socket.socket) -> bool:
    """Whether the recorder has not closed a connection on which it has nothing to say."""
    connection.settimeout(0)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_idle_and_slow_connections_do_not_disturb_a_player(stage: Stage, sqlite_url: str) -> None:
    with (
        stage.recorder(
            sqlite_url, files=(200, 8192)
        ) as proxy,  # fewer than there are connections, but for the hard limit
        connected(proxy, stage.scale.idle) as idle,
        connected(proxy, SLOW) as slow,
    ):
        with raw.device(proxy.port) as last:  # when it is served, all the others are
            last.send(raw.post())
            last.message()
        with dripping(slow), stage.playing(proxy, rate=50) as notes:
            time.sleep(stage.scale.outage_s)
        assert all(is_open(each) for each in idle)
        assert proxy.stop() < 10
    print(f"slowest {notes.slowest_s() * 1000:.0f} ms, machine {notes.machine_s() * 1000:.0f} ms")
    assert notes.slowest_s() < max(0.25, stage.scale.slow_s) + notes.machine_s()
    assert not notes.unsure
    stage.assert_kept(notes, sqlite_url)


def test_connections_that_cannot_be_accepted_are_told_in_a_few_lines(stage: Stage, sqlite_url: str) -> None:
    with stage.recorder(sqlite_url) as proxy:
        pid = proxy.process.popen.pid
        few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 30
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
        with connected(proxy, 100):
            proxy.process.wait_for(NO_FILES)
        with stage.playing(proxy, rate=50) as notes:
            deadline = time.monotonic() + raw.WITHIN_S
            while len(notes.answered) < 20 and time.monotonic() < deadline:
                time.sleep(0.1)
        proxy.stop()
    assert len(notes.answered) >= 20
    stage.assert_kept(notes, sqlite_url)
    told = [line for line in proxy.output.splitlines() if NO_FILES in line]
    assert 0 < len(told) < 10, proxy.output  # again if there was room meanwhile
    assert "Traceback" not in proxy.output


def test_idle_connections_make_room_for_a_player_and_that_is_told_once(stage: Stage, sqlite_url: str) -> None:
    with stage.recorder(sqlite_url, files=(256, 256)) as proxy, connected(proxy, 300) as idle:
        with stage.playing(proxy, rate=50) as notes:
            deadline = time.monotonic() + raw.WITHIN_S
            while len(notes.answered) < 20 and time.monotonic() < deadline:
                time.sleep(0.1)
        left = sum(is_open(each) for each in idle)
        proxy.process.wait_for(NO_FILES)
        told = [line for line in proxy.output.splitlines() if NO_FILES in line]
        proxy.stop()
    assert len(notes.answered) >= 20
    assert not notes.unsure
    stage.assert_kept(notes, sqlite_url)
    assert 0 < left < 256
    assert len(told) == 1, proxy.output
    assert "Traceback" not in proxy.output


def test_memory_falls_back_after_a_flood(stage: Stage, sqlite_url: str) -> None:
    lines = [b"X-%d: %s" % (number, b"x" * 1000) for number in range(50)]
    with stage.recorder(sqlite_url) as proxy:
        with raw.device(proxy.port) as device:
            device.send(raw.post())
            device.message()
        before_mib = resident_mib(proxy.process.popen.pid)
        with connected(proxy, stage.scale.idle) as flood:
            for each in flood:
                each.sendall(raw.post("/api/v1/sessions", raw.START, *lines)[:50_000])
            during_mib = grown_mib(proxy.process.popen.pid)
        deadline = time.monotonic() + raw.WITHIN_S
        most_mib = before_mib + min(20, (during_mib - before_mib) // 2)
        while (after_mib := resident_mib(proxy.process.popen.pid)) > most_mib and time.monotonic() < deadline:
            time.sleep(0.1)
        proxy.stop()
    print(f"{before_mib} MiB before, {during_mib} MiB meanwhile, {after_mib} MiB after")
    assert after_mib <= most_mib
