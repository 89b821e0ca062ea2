"""Stores that are away, hang or are locked: no device notices, and all is stored in the end."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.recording.ingesting import SILENT_S
from tests import processes
from tests.faults import books
from tests.faults.servers import Cluster, free_port
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
    assert len(notes.answered) > lasts_s * stage.scale.rate / 5
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


def test_an_ingest_that_hangs_is_told_of(stage: Stage, sqlite_url: str) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    with stage.recorder(sqlite_url, "--metrics", metrics) as proxy:
        with stage.playing(proxy) as notes:
            time.sleep(CALM_S)
        until(lambda: last_run(sqlite_url)["filed"] >= len(notes.answered))
        ingest = proxy.ingest()
        assert ingest is not None
        processes.hang(ingest)
        with stage.playing(proxy) as more:
            time.sleep(CALM_S)
        until(lambda: not health(metrics)["ok"])
        (trouble,) = health(metrics)["troubles"]
        assert "the process that files what is in the journal has told nothing for" in trouble
        until(lambda: "what files the recording has told nothing for" in proxy.output)
        assert proxy.stop(2) < 10
        assert "because what files them does not answer; " in proxy.process.output
        assert proxy.output.count("has told nothing for") == 1
        found = last_run(sqlite_url)
        assert (found["state"], found["balanced"], found["in_flight"]) == ("ended", True, 0)
        answered = len(notes.answered) + len(more.answered)
        assert (found["seen"], found["filed"] + found["waiting"]) == (answered, answered)
        assert found["waiting"] >= len(more.answered)
    books.drain(sqlite_url)
    assert books.assert_balanced(sqlite_url).filed == answered


def last_run(store_url: str) -> dict[str, Any]:
    found: dict[str, Any] = processes.printed("ledger", "last", "--store", store_url)
    return found


def health(address: str) -> dict[str, Any]:
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("GET", "/healthz")
        found: dict[str, Any] = json.load(connection.getresponse())
        return found


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SILENT_S + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
