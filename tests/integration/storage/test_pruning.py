"""What is old goes, with all that hangs on it, and its space goes back to the disk."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from proxy_addon.core.books import Loss, Recorder
from proxy_addon.core.findings import Finding, Severity
from storage import losses, models, pruning, recorders, saving
from storage.engine import Store
from storage.recorders import Told
from storage.saving import Judged, RecordingRun
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, at, event, exchange, start
from tests.processes import printed, run

DAY_S = 86_400.0
FOUND = (Finding(rule="ts-type", severity=Severity.ERROR, message="m"),)


def play(session_id: str, after_s: float, number: int = 3) -> list[Judged]:
    events = [
        event("ping", id=f"{session_id[:8]}-{n}", session_id=session_id, after_s=after_s + n) for n in range(1, number)
    ]
    return [
        Judged(each, FOUND)
        for each in (start(id=f"{session_id[:8]}-0", session_id=session_id, after_s=after_s), *events)
    ]


def record(store: Store, id: str, after_s: float, judged: list[Judged]) -> None:
    with store.write() as db:
        saving.save(db, RecordingRun(id=id, name=id, started_at=at(after_s), version="1"), judged)
        who = Recorder(id=id, name=id, started_at=at(after_s), version="1", engine="lane")
        recorders.keep(db, who, Told(at=at(after_s + 60), seen=1, journaled=1, is_end=True), filed=1)


def size(store: Store) -> int:
    """Return how much of the disk an SQLite store has, its log included."""
    return sum(each.stat().st_size for each in store.path.parent.glob(f"{store.path.name}*")) if store.path else 0


def rows(store: Store) -> dict[str, int]:
    with store.read() as db:
        tables = models.Base.metadata.sorted_tables
        found = {table.name: db.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}
    return {name: number for name, number in found.items() if number}


@pytest.fixture
def tape(store: Store) -> Store:
    """A store with two old recordings and a new one, and a session that began in the old one and went on in the new."""
    outside = Judged(exchange("GET", "/api/v1/schemas/play", id="o1", after_s=5), FOUND)
    record(store, "monday", 0, [*play("aaaa", 0), *play("bbbb", 10), *play("going", 20), outside])
    record(store, "tuesday", DAY_S, play("cccc", DAY_S))
    late = [Judged(event("ping", id="going-9", session_id="going", after_s=9 * DAY_S), ())]
    record(store, "today", 9 * DAY_S, [*play("dddd", 9 * DAY_S), *late])
    with store.write() as db:
        lost = Loss(
            id="l1", recorder="monday", upstream=UPSTREAM, received_at=at(1), method="POST", is_refused=False,
            path="/api/v1/sessions/aaaa/events", reason="disk full",
        )  # fmt: skip
        losses.note(db, [lost, replace(lost, id="l2", path="/api/v1/sessions")])
    return store


def test_what_is_old_goes_with_all_that_hangs_on_it(tape, monkeypatch):
    monkeypatch.setattr(pruning, "AT_ONCE", 3)
    with tape.read() as db:
        assert pruning.count(db, at(2 * DAY_S)) == pruning.Pruned(sessions=3, exchanges=10)
    steps = list(pruning.prune(tape, at(2 * DAY_S)))
    assert steps[0] == pruning.Pruned(sessions=1, exchanges=3), "in one transaction, so much"
    assert steps[-1] == pruning.Pruned(sessions=3, exchanges=10)
    assert rows(tape) == {"recordings": 2, "sessions": 2, "exchanges": 7, "findings": 6, "recorders": 1}
    with tape.read() as db:
        assert set(db.execute(select(models.Recording.name)).scalars()) == {"monday", "today"}, "going began on monday"
    assert list(pruning.prune(tape, at(2 * DAY_S))) == [pruning.Pruned()], "it looks at the one that goes on"


def test_it_stops_when_it_is_told_to(tape, monkeypatch):
    monkeypatch.setattr(pruning, "AT_ONCE", 1)
    asked = iter([True, True, False])
    assert list(pruning.prune(tape, at(2 * DAY_S), keep_going=lambda: next(asked, False)))[-1].sessions == 2


def test_the_command_asks_deletes_and_gives_the_space_back(store):
    now_s = (datetime.now(UTC) - BEGIN) / timedelta(seconds=1)
    padding = os.urandom(50_000)
    old = [replace(each, exchange=replace(each.exchange, request=replace(each.exchange.request, body=padding)))
           for each in play(SESSION_ID, 0, 60)]  # fmt: skip
    record(store, "old", 0, old)
    record(store, "new", now_s - 2 * DAY_S, play("new", now_s - 2 * DAY_S))
    before = size(store)
    refused = run("db", "prune", "--older-than", "3", "--store", store.url)
    assert refused.returncode == 2
    assert re.search("UTC would be deleted, 1 session and 60 exchanges; .* so add --yes", refused.stderr)
    done = run("db", "prune", "--older-than", "3", "--yes", "--store", store.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 session and 60 exchanges deleted\n", "")
    assert [each["session_id"] for each in printed("sessions", "--store", store.url)] == ["new"]
    assert [each["name"] for each in printed("ledger", "--store", store.url)] == ["new"]
    if store.is_sqlite:
        assert size(store) < before - 2_500_000
    assert run("db", "prune", "--older-than", "1", "--yes", "--store", store.url).stdout.startswith("1 session and 3 ")


@pytest.mark.parametrize("is_old", [False, True], ids=["made by this version", "made by an older version"])
def test_the_space_of_what_was_deleted_is_given_back_bit_by_bit(sqlite_url, migrated_file, monkeypatch, is_old):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    shutil.copy(migrated_file, path)
    if is_old:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA auto_vacuum = NONE")
            db.execute("VACUUM")
    monkeypatch.setattr("storage.sqlite._PAGES_GIVEN_BACK", 100)
    with closing(Store(sqlite_url)) as store:
        for _ in range(2):
            bodies = [event(id=f"{n}", after_s=n, body=os.urandom(50_000)) for n in range(20)]
            record(store, "old", 0, [Judged(each, ()) for each in bodies])
            store.require_file()
            before = size(store)
            *_, done = pruning.prune(store, at(DAY_S))
            assert done.exchanges == 20
            bits = 1
            while store.give_some_back():
                bits += 1
            assert bits == (1 if is_old else 3)
            store.give_back()
            assert size(store) < before - 900_000
            is_old = False
