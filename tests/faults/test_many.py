"""Several recorders on one store: all is stored once."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy_addon.journal import folders
from tests.faults import books
from tests.faults.load import Notes
from tests.faults.servers import journal_of
from tests.faults.stage import Stage
from tests.scripted import eventually

PLAYERS = 4
"""Of each recorder."""


ESTABLISHED = "01"


def served_by_ingest(store_url: str) -> int:
    """Return how many connections the process has that files the folder of a store; another one there would take some."""
    port: int = json.loads((journal_of(store_url) / folders.INGEST).read_bytes())["port"]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


def through(stage: Stage, store_url: str, recorders: int, exchanges: int) -> tuple[Notes, float]:
    """Send so many exchanges through so many recorders; return what players noted and the exchanges a second."""
    with ExitStack() as running:
        proxies = [running.enter_context(stage.recorder(store_url)) for _ in range(recorders)]
        eventually(lambda: served_by_ingest(store_url) == recorders, "all by the same one")
        notes, took_s = stage.theatre.play(
            [proxy.port for proxy in proxies], players=PLAYERS * recorders, requests=exchanges
        )
        books.drain(store_url)
        for proxy in proxies:
            proxy.stop()
    assert len(notes.answered) == exchanges
    return notes, exchanges / took_s


def test_recorders_that_share_a_store_lose_nothing(stage: Stage, store_url: str) -> None:
    notes, _ = through(stage, store_url, stage.scale.recorders, stage.scale.exchanges)
    stage.assert_kept(notes, store_url)


@pytest.mark.all_rounds
def test_eight_recorders_are_not_slower_than_one(stage: Stage, store_url: str) -> None:
    _, one = through(stage, store_url, 1, 20_000)
    _, eight = through(stage, store_url, 8, 20_000)
    print(f"one {one:.0f}/s, eight {eight:.0f}/s")
    assert eight > 0.9 * one
