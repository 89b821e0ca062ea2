"""Stores that are away, hang or are locked: no device notices, and all is stored in the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.faults import books
from tests.faults.servers import Cluster
from tests.faults.stage import Stage

CALM_S = 0.3
LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another process keep everybody from writing to a SQLite file."""
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.stdin.close()


@contextmanager
def stopped(cluster: Cluster) -> Iterator[None]:
    cluster.stop()
    try:
        yield
    finally:
        cluster.start()


@contextmanager
def hung(cluster: Cluster) -> Iterator[None]:
    cluster.pause()
    try:
        yield
    finally:
        cluster.resume()


def go_through(outage: AbstractContextManager[None], lasts_s: float, stage: Stage, store_url: str) -> None:
    """Take the store away for a while from a recorder at work; kill it, and stop it, before the store is back."""
    with stage.recorder(store_url) as proxy:
        with stage.playing(proxy) as notes:
            time.sleep(CALM_S)
            with outage:
                began_s = time.monotonic()
                time.sleep(lasts_s)
                ended_s = time.monotonic()
                proxy.kill()
                proxy.start()
                time.sleep(CALM_S)
                assert proxy.stop(2) < 10
                assert "sessiontape db drain" in proxy.process.output
                proxy.start()
                time.sleep(CALM_S)
            time.sleep(CALM_S)
        books.drain(store_url)
        proxy.stop()
    slowest_s, machine_s = notes.slowest_s(began_s, ended_s), notes.machine_s()
    print(f"{len(notes.answered)} answered, slowest {slowest_s * 1000:.0f} ms, machine {machine_s * 1000:.0f} ms")
    assert stage.assert_kept(notes, store_url).dropped == 0
    assert len(notes.answered) > lasts_s * stage.scale.rate / 2
    assert slowest_s < stage.scale.slow_s + machine_s
    assert "Traceback" not in proxy.output


def test_nobody_notices_that_sqlite_is_locked(stage: Stage, sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    go_through(locked(path), stage.scale.locked_s, stage, sqlite_url)


@pytest.mark.parametrize("outage", [stopped, hung])
def test_nobody_notices_that_postgresql_is(
    outage: Callable[[Cluster], AbstractContextManager[None]],
    stage: Stage,
    own_postgres: Cluster,
    own_postgres_url: str,
) -> None:
    go_through(outage(own_postgres), stage.scale.outage_s, stage, own_postgres_url)
