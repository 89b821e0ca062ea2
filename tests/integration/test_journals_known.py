"""What commands learn from the journals of a store: who still writes, and what waits, without a process that files it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from proxy_addon.core.books import Recorder
from proxy_addon.journal import awaiting, folders
from proxy_addon.journal.entries import About, Exchanged
from proxy_addon.journal.reading import Held
from proxy_addon.journal.writing import Journal
from storage import recorders, saving
from storage.engine import Store
from storage.recorders import Told
from storage.saving import RecordingRun
from tests.builders import BEGIN, at, exchange, unjudged
from tests.processes import printed, run


def about(id: str, worker: int = 0) -> About:
    return About(run=id, worker=worker, started_us=1, program="1", engine="lane")


def write(folder: Path, id: str, number: int) -> Journal:
    """Return the journal of a recorder that has journaled so many exchanges."""
    journal = Journal(folder, about(id), durable=False, call=lambda function, *arguments: function(*arguments))
    done = threading.Semaphore(0)
    for each in range(number):
        entry = Exchanged(
            id=f"{id}-{each}", received_us=each + 1, outcome="answered", request=b"GET /api/v1/x HTTP/1.1\r\n\r\n"
        )
        journal.put(entry, lambda error: done.release())
    for _ in range(number):
        assert done.acquire(timeout=20)
    return journal


@pytest.fixture
def store(sqlite_url: str, migrated_file: Path) -> Store:
    Path(sqlite_url.removeprefix("sqlite:///")).write_bytes(migrated_file.read_bytes())
    return Store(sqlite_url)


def test_a_store_without_a_journal_is_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "proxy_addon.journal.client", None)  # cannot be imported
    assert awaiting.await_filed(tmp_path / "tape.db", "label") == []
    assert awaiting.known(tmp_path / "tape.db", "label") is None


def test_what_waits_and_who_writes_is_known_of_all_journals_of_a_store(tmp_path, store):
    assert store.path is not None
    default = folders.default(store.path, store.label)
    elsewhere = tmp_path / "elsewhere"
    folders.note_elsewhere(store.path, store.label, elsewhere)
    dead = write(default, "dead", 3)
    dead.close(5)
    alive = write(elsewhere, "alive", 2)
    try:
        known = awaiting.known(store.path, store.label)
        held = {"dead": Held(3, ("dead-0", "dead-1", "dead-2")), "alive": Held(2, ("alive-0", "alive-1"))}
        assert known is not None
        assert known.living == {"alive"}
        assert known.held == held
        assert known.told["dead", 0].is_end
        with store.write() as db:
            for id, filed in (("dead", 1), ("gone", 4), ("alive", 0)):
                recorder = Recorder(id=id, started_at=BEGIN, version="1", engine="lane")
                recorders.keep(db, recorder, Told(at=at(1), seen=filed, journaled=filed + (id == "gone")), filed=filed)
            # Ingest was killed when it had filed one of them, and had not noted it.
            one = exchange("GET", "/api/v1/x", id="dead-0")
            saving.save(db, RecordingRun(id="dead", name=None, started_at=BEGIN, version="1"), unjudged([one]))
        listed = {each["id"]: each for each in printed("ledger", "--store", store.url, code=1)}
        told = {id: (each["state"], each["seen"], each["waiting"], each["missing"]) for id, each in listed.items()}
        assert told == {"alive": ("running", 2, 2, 0), "dead": ("ended", 3, 2, 0), "gone": ("killed", 5, 0, 1)}
        note = run("sessions", "--store", store.url).stderr
        assert f"in the journal {default} and cannot be seen yet; 'sessiontape db drain' files them" in note
        assert str(elsewhere) in note
        assert note.count("\n") == 3, "one line for each, and that there are no sessions"
    finally:
        alive.close(5)
        store.close()
