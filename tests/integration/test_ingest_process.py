"""The ingest process beside recorders that come and go, killed and restarted, with stores that are away or hang."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.journal import client, folders, messages
from proxy_addon.journal.reading import waiting
from proxy_addon.journal.writing import Journal
from storage import exchanges, recorders, sessions
from storage.engine import Store
from storage.filters import Filters
from tests import forking, journals
from tests.builders import BEGIN_MS, event, start
from tests.processes import hang, run

SOON_S = 30
ENDS_WITHIN_S = 4.0
"""The second and a half that the process promises after SIGTERM, and what a busy machine adds; a locked file takes five."""


class Process:
    """An ingest process."""

    def __init__(self, folder: Path, url: str, parent: int | None = None, *options: str) -> None:
        self.popen = forking.ingest(
            ["--folder", str(folder), "--ready-fd", "1", "--parent", str(parent or os.getpid()), *options],
            {**os.environ, "SESSIONTAPE_STORE": url},
        )
        assert self.popen.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.popen.stdout.readline() or "null")

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and return how many seconds the end took."""
        began_s = time.monotonic()
        self.popen.send_signal(number)
        self.popen.wait(SOON_S)
        return time.monotonic() - began_s

    def close(self) -> None:
        """Kill it, if it runs."""
        self.popen.kill()
        _, stderr = self.popen.communicate()
        assert stderr == b""


class Client(client.Client):
    """A recorder's end, which keeps what it is told."""

    def __init__(self, folder: Path, run: str | None = "run1") -> None:
        self.told: list[Any] = []
        super().__init__(folder, on=self.told.append, run=run, wants=["news", "marks"])

    def await_filed(self, number: int) -> None:
        """Wait until it has filed so many exchanges that were not stored before."""
        until_s = time.monotonic() + SOON_S
        while not any(isinstance(each, messages.Counts) and each.filed >= number for each in self.told):
            assert time.monotonic() < until_s, self.told
            time.sleep(0.005)

    def await_counts(self) -> None:
        """Wait until it has filed a batch, whether that was stored before or not."""
        self.await_filed(0)

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the messages of a kind."""
        return [each for each in self.told if isinstance(each, kind)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextmanager
def ingest(folder: Path, url: str, parent: int | None = None, *options: str) -> Iterator[Process]:
    folders.prepare(folder)
    with closing(Process(folder, url, parent, *options)) as process:
        yield process


def played(count: int = 6) -> list[Exchange]:
    pings = [event("ping", id=f"p{n:05}", after_s=n, ts=BEGIN_MS + 1000 * n, playhead=n) for n in range(1, count)]
    return [start(id="start"), *pings]


def stored(store: Store) -> list[str]:
    with store.read() as db:
        found = sessions.newest(db, Filters(), now=datetime.now(UTC))
        return [each.id for session in found for each in exchanges.of_session(db, session.id)]


def ids(sent: Sequence[Exchange]) -> list[str]:
    return [each.id for each in sent]


def test_it_files_what_a_recorder_journals_tells_it_and_ends_with_it(store, journal):
    sent = played(20)
    called: list[object] = []
    with ingest(journal, store.url) as process:
        assert process.ready == {"ready": True}
        with closing(Client(journal)) as client:
            writer = Journal(journal, journals.about(), durable=True, call=lambda call, *args: called.append(call))
            for each in sent:
                writer.saw()
                writer.put(journals.entry(each))
            client.await_filed(20)
            writer.close(5)
            assert client.flush(5) is not None
            assert stored(store) == ids(sent)
            assert waiting(journal) is None
            with ingest(journal, store.url) as another:
                assert another.ready == {"busy": True}
                assert another.popen.wait(SOON_S) == 0
        assert process.popen.wait(SOON_S) == 0
    assert sum(each.count for each in client.of(messages.Filed)) == 20
    assert client.of(messages.News)[0].news["kind"] == "start"
    assert client.of(messages.Counts)[-1].store_state == "ok"
    assert {each.name for each in journal.iterdir()} <= {"store", "ingest.lock", "run1.000.alive"}
    with store.read() as db:
        (books,) = recorders.all_of(db)
    assert (books.seen, books.journaled, books.filed, books.dropped) == (20, 20, 20, 0)
    assert books.ended_at is not None


def test_what_is_too_old_to_tell_does_not_keep_ingest_from_filing(store, journal, tmp_path):
    journals.write(journal, map(journals.entry, played()), journals.about("old"))
    with ingest(journal, store.url, None, "--keep-days", "800000"), closing(Client(journal)) as client:
        for _ in range(3):
            assert isinstance(client.flush(SOON_S), messages.Flushed)
            time.sleep(0.2)
    assert len(stored(store)) == len(played())
    refused = run("record", "--upstream", "http://127.0.0.1:1", "--keep-days", "800000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "1<=x<=36500" in refused.stderr


def test_who_asks_is_answered_and_what_is_old_goes_while_recorders_go_on(store, journal):
    answered = threading.Event()
    journals.write(journal, map(journals.entry, played()), journals.about("old"))
    with ingest(journal, store.url, None, "--keep-days", "1"), closing(Client(journal)) as client:
        writer = Journal(journal, journals.about(), durable=False, call=lambda call, *args: call(*args))
        number, journaled = 0, 0

        def done(_: BaseException | None) -> None:
            nonlocal journaled
            journaled += 1

        def go_on() -> None:
            nonlocal number
            while not answered.wait(0.01):
                now_us = time.time_ns() // 1000
                entry = journals.entry(start(id=f"x{number}", session_id=f"{number:04}"))
                writer.put(msgspec.structs.replace(entry, received_us=now_us), done)
                number += 1

        recorder = threading.Thread(target=go_on)
        recorder.start()
        try:
            for _ in range(3):
                before = journaled
                assert isinstance(client.flush(SOON_S), messages.Flushed)
                assert len(stored(store)) >= before
            until_s = time.monotonic() + SOON_S
            while "start" in stored(store):
                assert time.monotonic() < until_s, "what is old is still there"
                time.sleep(0.05)
        finally:
            answered.set()
            recorder.join()
            writer.close(5)
        assert number > 3


def test_killed_again_and_again_it_files_each_exchange_once(store, journal):
    sent = played(2000)
    entries = [journals.entry(each) for each in sent]
    for number in range(4):
        journals.write(journal, entries[500 * number : 500 * (number + 1)], number=number + 1, commit=50)
    for after_s in (0.0, 0.05, 0.15):
        with ingest(journal, store.url) as process, closing(Client(journal)) as client:
            assert process.ready == {"ready": True}
            client.await_counts()
            time.sleep(after_s)
            process.end(signal.SIGKILL)
    with ingest(journal, store.url) as process, closing(Client(journal)) as client:
        assert isinstance(client.flush(SOON_S), messages.Flushed)
        client.close()
        assert process.popen.wait(SOON_S) == 0
    assert stored(store) == ids(sent)
    assert not list(journal.glob("*.tape"))
    with store.read() as db:
        (books,) = recorders.all_of(db)
        assert (books.filed, books.refused) == (2000, 0)
        assert sessions.findings_due(db) == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_file_that_another_process_has_locked_is_waited_for_and_hinders_no_end(store, journal):
    assert store.path is not None
    journals.write(journal, [journals.entry(each) for each in played()])
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ingest(journal, store.url) as process, closing(Client(journal)) as client:
            answer = client.flush(SOON_S)
            assert isinstance(answer, messages.Away)
            assert "locked" in answer.reason
            assert answer.waiting == 6
            assert process.end() < ENDS_WITHIN_S
        with ingest(journal, store.url) as process, closing(Client(journal)) as client:
            assert process.ready == {"ready": True}, "it can be read"
            assert isinstance(client.flush(SOON_S), messages.Away)
            other.execute("COMMIT")
            client.await_filed(6)
            assert isinstance(client.flush(SOON_S), messages.Flushed), "so all that was logged before has come"
            assert [each.text.partition(" after ")[0] for each in client.of(messages.Log)][-1:] == ["the store is back"]
            assert sum("wait in the journal" in each.text for each in client.of(messages.Log)) == 1
    assert stored(store) == ids(played())


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_server_that_hangs_or_refuses_is_waited_for_and_hinders_no_end(store, journal):
    database = store.url.partition("?")[0].rpartition("/")[2]
    admin = store.url.replace(f"/{database}?", "/postgres?")
    find = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    path = journals.write(journal, [journals.entry(each) for each in played(3)])
    with ingest(journal, store.url) as process, closing(Client(journal, run=None)) as client:
        assert isinstance(client.flush(SOON_S), messages.Flushed)
        with psycopg.connect(admin, autocommit=True) as db:
            backends = [pid for (pid,) in db.execute(find, (database,)) if pid]
            assert backends
            server = int(Path(f"/proc/{backends[0]}/stat").read_text().rpartition(") ")[2].split()[1])
            hanging = [pid for pid in (server, *backends) if _hangs(pid)]
            try:
                hang(process.popen.pid)  # it would clear away a segment that no recorder is making
                journals.write(journal, [journals.entry(each) for each in played(6)[3:]], number=2)
                process.popen.send_signal(signal.SIGCONT)
                assert not isinstance(client.flush(2), messages.Flushed)
                assert process.end() < ENDS_WITHIN_S
            finally:
                for pid in hanging:
                    os.kill(pid, signal.SIGCONT)
    assert waiting(journal) is not None
    store.close()
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
        try:
            with ingest(journal.with_name("never-reached"), store.url) as process:
                assert "not currently accepting connections" in process.ready["error"]
                assert process.popen.wait(SOON_S) == 2
            with ingest(journal, store.url) as process, closing(Client(journal)) as client:
                assert process.ready["ready"]
                assert "not currently accepting connections" in process.ready["away"]
                assert isinstance(client.flush(SOON_S), messages.Away)
                db.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())
                client.await_filed(3)
                assert isinstance(client.flush(SOON_S), messages.Flushed)
        finally:
            db.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())
    assert stored(store) == ids(played(6))
    assert path.exists() is False


def _hangs(pid: int) -> bool:
    """Hang a process of the server, if it is still there."""
    try:
        hang(pid)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_without_a_recorder_it_files_what_is_left_and_ends(store, journal):
    assert store.path is not None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    journals.write(journal, [*(journals.entry(each) for each in played()), journals.counted(6, is_end=True)])
    with ingest(journal, store.url, gone.pid) as process:
        assert process.popen.wait(SOON_S) == 0
    assert stored(store) == ids(played())
    journals.write(journal, [journals.entry(each) for each in played(9)[6:]], number=2)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ingest(journal, store.url, gone.pid) as process:
            assert process.popen.wait(SOON_S) == 0, "it does not wait for ever"
    assert waiting(journal) is not None


def test_a_store_that_cannot_be_used_is_told_where_it_was_never_reached(tmp_path, journal):
    (tmp_path / "notes.txt").write_text("no database")
    with ingest(journal, f"sqlite:///{tmp_path}/notes.txt") as process:
        assert process.ready.keys() == {"error", "hint"}
        assert process.popen.wait(SOON_S) == 2
    with ingest(journal, "mysql://host/db") as process:
        assert "is not the URL of a store" in process.ready["error"]
        assert process.popen.wait(SOON_S) == 2
