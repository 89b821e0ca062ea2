"""SQLite files as they are found: from other programs, empty, or removed while in use."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy_addon.errors import SchemaOutOfDate, StorageUnavailable
from storage import migrate, revision
from storage.engine import Store
from tests import processes
from tests.builders import body, event_dict
from tests.processes import Server, printed, run

COMMANDS = (
    ("record", "--upstream", "http://127.0.0.1:9", *processes.ANY_PORT),
    ("db", "upgrade"),
    ("db", "downgrade"),
    ("db", "check"),
    ("db", "current"),
    ("sessions",),
)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """What lies in a folder, byte for byte, with the time of its last change; -shm files are what SQLite waits with."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


@contextmanager
def foreign(path: Path, mode: str, table: str = "notes") -> Iterator[None]:
    """Make a database of another program, which has it open in ``wal`` mode, and closed it in the others."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA journal_mode = {'DELETE' if mode == 'rollback' else 'WAL'}")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"CREATE TABLE {table} (text)")
        if mode == "alembic":
            db.execute("CREATE TABLE alembic_version (version_num)")
            db.execute("INSERT INTO alembic_version VALUES ('0003')")
        if mode == "wal":
            yield
            return
    yield


class TestForeign:
    @pytest.mark.parametrize("mode", ["rollback", "wal", "clean wal", "alembic"])
    def test_a_file_of_another_program_is_refused_and_stays_as_it_was(self, tmp_path, mode):
        (tmp_path / "folder").mkdir()
        path = tmp_path / "folder" / "other.db"
        with foreign(path, mode):
            before = state(path.parent)
            for arguments in COMMANDS:
                done = run(*arguments, "--store", f"sqlite:///{path}", cwd=tmp_path)
                assert (done.returncode, done.stdout) == (2, "")
                assert "that sessiontape did not make" in done.stderr
                assert state(path.parent) == before, arguments

    def test_what_a_program_that_was_killed_has_left_is_not_touched(self, tmp_path):
        """The last connection to close would write the -wal file into the database, and delete it."""
        (tmp_path / "made").mkdir()
        (tmp_path / "copy").mkdir()
        with foreign(tmp_path / "made" / "other.db", "wal"):
            for each in ("other.db", "other.db-wal"):
                (tmp_path / "copy" / each).write_bytes((tmp_path / "made" / each).read_bytes())
        before = state(tmp_path / "copy")
        assert set(before) == {"other.db", "other.db-wal"}
        for use in (migrate.upgrade, reading):
            with closing(Store(f"sqlite:///{tmp_path}/copy/other.db")) as store, pytest.raises(SchemaOutOfDate):
                use(store)
            assert state(tmp_path / "copy") == before

    def test_a_transaction_that_was_left_half_done_is_not_undone(self, tmp_path):
        """Whoever reads such a file undoes it, which changes the file."""
        (tmp_path / "copy").mkdir()
        with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
            db.execute("CREATE TABLE notes (text)")
            db.execute("PRAGMA cache_size = 1")
            db.execute("BEGIN")
            for _ in range(100):
                db.execute("INSERT INTO notes VALUES (zeroblob(4096))")
            for each in ("other.db", "other.db-journal"):
                (tmp_path / "copy" / each).write_bytes((tmp_path / each).read_bytes())
        before = state(tmp_path / "copy")
        assert set(before) == {"other.db", "other.db-journal"}
        for arguments in COMMANDS:
            done = run(*arguments, "--store", f"sqlite:///{tmp_path}/copy/other.db", cwd=tmp_path)
            assert done.returncode == 2
            assert "has an unfinished transaction of another program" in done.stderr
            assert state(tmp_path / "copy") == before

    @pytest.mark.parametrize("content", ["no bytes", "no tables", "a table that is gone"])
    def test_an_empty_file_may_become_a_store(self, tmp_path, content):
        path = tmp_path / "tape.db"
        path.touch()
        if content != "no bytes":
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 7")
                db.execute("CREATE TABLE notes (text)") if content == "a table that is gone" else None
                db.execute("DROP TABLE IF EXISTS notes")
        with closing(Store(f"sqlite:///{path}")) as store:
            assert migrate.upgrade(store) == (None, revision.REVISION)

    def test_a_store_that_was_taken_back_to_nothing_is_ours(self, sqlite_url):
        with closing(Store(sqlite_url)) as store:
            migrate.upgrade(store)
            migrate.downgrade(store, "base")
            assert migrate.upgrade(store) == (None, revision.REVISION)


def reading(store: Store) -> None:
    with store.read() as db:
        revision.require(db, store)


START = body(event_dict("sessionStart"))


class TestGone:
    """The file is removed while a recorder has it open, and would write to it in vain."""

    @pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
    def test_what_cannot_be_stored_waits_and_is_stored_in_the_file_that_stands_there_then(
        self, sqlite_url, tmp_path, how
    ):
        path, elsewhere = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "old.db"
        with processes.collector(tmp_path) as upstream:
            with processes.recorder(
                tmp_path, upstream.url, sqlite_url, ends_with=0 if how == "replaced" else 2
            ) as proxy:
                begin(proxy)
                assert len(printed("sessions", "--store", sqlite_url)) == 1
                if how == "moved":
                    path.rename(elsewhere)
                else:
                    for each in path.parent.glob(f"{path.name}*"):
                        if each.is_file():
                            each.unlink()
                if how == "replaced":
                    run("db", "upgrade", "--store", sqlite_url)
                for _ in range(3):
                    begin(proxy)
            told = proxy.process.output
            what = {"moved": f"moved to {elsewhere}", "replaced": "replaced by another one"}.get(how, how)
            assert f"the file of {sqlite_url} was {what}" in told
            if how != "replaced":
                assert "3 exchanges wait in " in told
                assert "1 exchange stored, 0 lost" in told
                if how == "moved":
                    elsewhere.rename(path)
                with processes.recorder(tmp_path, upstream.url, sqlite_url):
                    pass
            # What was stored in the file that is gone is still in the journal's segment, and filed again.
            assert len(printed("sessions", "--store", sqlite_url)) == 4

    def test_a_file_that_is_moved_at_the_end_loses_nothing_but_is_told(self, sqlite_url, tmp_path):
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        with (
            processes.collector(tmp_path) as upstream,
            processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy,
        ):
            begin(proxy)
            assert len(printed("sessions", "--store", sqlite_url)) == 1
            path.rename(tmp_path / "old.db")
        assert f"was moved to {tmp_path / 'old.db'}" in proxy.process.output
        assert "1 exchange stored, 0 lost" in proxy.process.output
        assert len(printed("sessions", "--store", f"sqlite:///{tmp_path / 'old.db'}")) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="only there an inode is used again soon")
    def test_a_new_file_never_passes_for_the_one_that_was_removed(self, tmp_path):
        path = tmp_path / "tape.db"
        with closing(Store(f"sqlite:///{path}")) as store:
            migrate.upgrade(store)
            for each in tmp_path.iterdir():
                each.unlink()
            with pytest.raises(StorageUnavailable, match="was removed"):
                reading(store)  # which closes all connections, and with them SQLite's hold on the inode
            for number in range(100):
                path.rename(tmp_path / f"{number}.db") if number else None
                path.touch()
                with pytest.raises(StorageUnavailable, match="was replaced by another one"):
                    store.require_file()

    def test_a_file_that_is_put_back_gets_what_has_waited(self, sqlite_url, tmp_path):
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        with (
            processes.collector(tmp_path) as upstream,
            processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy,
        ):
            begin(proxy)
            path.rename(tmp_path / "elsewhere.db")
            begin(proxy)
            (tmp_path / "elsewhere.db").rename(path)
            begin(proxy)
        assert "3 exchanges stored, 0 lost" in proxy.process.output
        assert len(printed("sessions", "--store", sqlite_url)) == 3

    def test_it_is_noticed_before_the_commit(self, tmp_path):
        path, elsewhere = tmp_path / "tape.db", tmp_path / "elsewhere.db"

        def lose_it(store: Store) -> None:
            with store.write() as db:
                db.exec_driver_sql("INSERT INTO recordings (id, started_at, version) VALUES ('r', '', '')")
                path.rename(elsewhere)
                path.touch()

        with closing(Store(f"sqlite:///{path}")) as store:
            migrate.upgrade(store)
            with pytest.raises(StorageUnavailable, match=r"was moved to .* and replaced by another one"):
                lose_it(store)
            assert path.read_bytes() == b""
            elsewhere.replace(path)
            with store.read() as db:
                assert db.exec_driver_sql("SELECT count(*) FROM recordings").scalar() == 0


def begin(proxy: Server) -> None:
    assert proxy.ask("POST", "/api/v1/sessions", START).status == 201
