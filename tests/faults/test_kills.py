"""Processes that are killed under load: no answered exchange is missing, none is stored twice, and the books balance."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults import books
from tests.faults.servers import Cluster, Recorder
from tests.faults.stage import Stage

RATE = 400


def kill_recorder(proxy: Recorder) -> None:
    proxy.kill()
    proxy.start()


def kill_ingest(proxy: Recorder) -> None:
    proxy.kill_ingest()


def kill_both(proxy: Recorder) -> None:
    pid = proxy.ingest()
    proxy.process.popen.kill()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    kill_recorder(proxy)


KILLS = {"recorder": kill_recorder, "ingest": kill_ingest, "both": kill_both}


def survive(stage: Stage, store_url: str, kill: Callable[[Recorder], object]) -> None:
    """Kill again and again while players play; then hold their notes against upstream, store and books."""
    with stage.recorder(store_url) as proxy:
        with stage.playing(proxy, rate=RATE) as notes:
            for _ in range(stage.scale.rounds):
                time.sleep(stage.chance.uniform(0.05, stage.scale.kill_within_s))  # whatever it is doing then
                kill(proxy)
            time.sleep(0.2)
        proxy.stop(0, 2)  # 2 if ingest was about to start again
    books.drain(store_url)
    print(f"{len(notes.answered)} answered, {len(notes.unsure)} unsure")
    stage.assert_kept(notes, store_url)
    assert "Traceback" not in proxy.output


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_what_was_answered_is_stored_once_whoever_is_killed(
    kill: Callable[[Recorder], None], stage: Stage, sqlite_url: str
) -> None:
    survive(stage, sqlite_url, kill)


@pytest.mark.all_rounds
def test_what_was_answered_is_stored_once_in_postgresql_when_both_are_killed(
    stage: Stage, own_postgres_url: str
) -> None:
    survive(stage, own_postgres_url, kill_both)


def test_what_was_answered_is_stored_once_when_postgresql_is_killed(
    stage: Stage, own_postgres: Cluster, own_postgres_url: str
) -> None:
    def kill(_: Recorder) -> None:
        own_postgres.kill()
        own_postgres.start()

    survive(stage, own_postgres_url, kill)
