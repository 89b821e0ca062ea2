"""From a URL to a database: settings, errors, and their messages."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, text

from proxy_addon.errors import SettingsError, StorageUnavailable
from storage import migrate
from storage.engine import Store, check_url, hide_password, sqlite_path
from storage.patience import Waits
from storage.postgres import CONNECT_TIMEOUT_S
from tests.processes import hang


@pytest.fixture
def empty_store(store_url: str) -> Iterator[Store]:
    """A store that is there, without tables of ours, with one table to write to."""
    store = Store(store_url)
    store.create_file()
    store.enter_wal_mode()
    with store.write() as db:
        db.execute(text("CREATE TABLE notes (number INTEGER NOT NULL)"))
    yield store
    store.close()


def count(db: Connection) -> int:
    return int(db.execute(text("SELECT count(*) FROM notes")).scalar_one())


def insert(db: Connection, number: int = 0) -> None:
    db.execute(text("INSERT INTO notes (number) VALUES (:number)"), {"number": number})


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///tape.db",
        "sqlite:////var/lib/tape.db",
        "sqlite+pysqlite:///tape.db",
        "SQLite:///tape.db",
        "postgresql://me:secret@db.example:5432/tape",
        "postgres://me@db.example/tape",
        "postgresql+psycopg://me@db.example/tape",
        "postgresql://postgres:@/postgres?host=/run/pg",
        "postgresql:///tape",
        "postgresql://one:5432,two:5433/tape?target_session_attrs=read-write",
        "postgresql://me:p%40s%2Fs@[::1]:5432/tape?sslmode=require",
    ],
)
def test_a_url_of_a_store_is_accepted(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tape.db",
        "sqlite:tape.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///tape.db?mode=ro",
        "mysql://me:secret@host/tape",
        "postgresql:me:secret@host",
        "postgresql://me:secret%zz@host/tape",
        "postgresql://me:secret/more@host/tape",
        "postgresql://me:secret@host/tape?nonsense=1",
    ],
)
def test_another_url_is_refused_without_telling_its_password(url):
    with pytest.raises(SettingsError, match="not the URL of a store") as caught:
        Store(url)
    if "://" in url:
        assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)
    assert "sqlite:///file.db" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///tape.db", "sqlite:///tape.db"),
        ("postgresql://host/tape", "postgresql://host/tape"),
        ("postgresql://me@host:5432/tape", "postgresql://me@host:5432/tape"),
        ("postgresql://me:secret@host:5432/tape", "postgresql://me@host:5432/tape"),
        ("postgresql://:secret@host/tape", "postgresql://@host/tape"),
        ("postgresql://postgres:@/postgres?host=/run/pg", "postgresql://postgres@/postgres?host=/run/pg"),
        ("postgresql://me:se@cret@host/tape", "postgresql://me@host/tape"),
        ("postgresql://me:se/cret@host/tape", "postgresql://me@host/tape"),
        ("postgresql://me:se?cret#secret@host/tape", "postgresql://me@host/tape"),
        ("postgresql://me:se:cret@host/tape", "postgresql://me@host/tape"),
        ("postgresql://me:secret@[::1]:5432/tape", "postgresql://me@[::1]:5432/tape"),
        ("postgresql://me:secret@one:1,two:2/tape", "postgresql://me@one:1,two:2/tape"),
        ("postgresql:///tape?password=secret", "postgresql:///tape"),
        ("postgresql://host:5432/tape?application_name=a@b", "postgresql://host:5432/tape?application_name=a@b"),
        ("postgresql://me:12/se?cret@host/tape", "postgresql://me@host/tape"),
        ("postgresql:///tape?user=me&password=secret&sslmode=require", "postgresql:///tape?user=me&sslmode=require"),
        ("postgresql:///tape?password=se#cret&user=me", "postgresql:///tape?user=me"),
        ("postgresql:///tape?pass%77ord=secret&sslpassword=secret", "postgresql:///tape"),
        ("https://me:secret@host/", "https://me@host/"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url, shown):
    assert hide_password(url) == shown
    assert hide_password(shown) == shown


def test_the_path_of_a_sqlite_url_follows_three_slashes():
    assert sqlite_path("sqlite:///tape.db") == Path("tape.db")
    assert sqlite_path("sqlite:////var/tape #1.db") == Path("/var/tape #1.db")
    assert sqlite_path("postgresql:///tape") is None


# A SQLite file


def test_naming_a_store_makes_no_file(tmp_path):
    Store(f"sqlite:///{tmp_path}/tape.db").close()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_and_what_lies_beside_it_are_readable_by_their_owner_alone(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/tape.db")
    migrate.upgrade(store)
    with store.read() as db:
        db.execute(text("SELECT * FROM sessions"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert modes == {"tape.db": 0o600, "tape.db-wal": 0o600, "tape.db-shm": 0o600}


def test_a_file_that_is_there_keeps_its_mode_and_content(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/tape.db")
    migrate.upgrade(store)
    (tmp_path / "tape.db").chmod(0o640)
    store.create_file()
    with store.read() as db:
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar() is not None
    store.close()
    assert stat.S_IMODE((tmp_path / "tape.db").stat().st_mode) == 0o640


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
def test_sqlite_is_in_wal_mode_with_foreign_keys(sqlite_url, durable, synchronous):
    store = Store(sqlite_url, durable=durable)
    store.create_file()
    store.enter_wal_mode()
    with store.read() as db:
        assert db.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert db.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert db.execute(text("PRAGMA synchronous")).scalar() == synchronous
    store.close()


@pytest.mark.parametrize("name", ["tape #1 100%.db", "täpe.db", "file:tape", "tape%20.db"])
def test_a_file_may_have_any_name_that_a_url_can_hold(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    store = Store(f"sqlite:///{name}")
    store.create_file()
    with store.write() as db:
        db.execute(text("CREATE TABLE notes (number INTEGER)"))
        assert {path.name for path in tmp_path.iterdir()} >= {name}
    store.close()


def test_a_missing_file_is_an_error_and_never_made(sqlite_url, tmp_path):
    store = Store(sqlite_url)
    for use in (store.read, store.write):
        with pytest.raises(StorageUnavailable, match="there is no store at sqlite:///") as caught, use():
            pass
        assert "sessiontape db upgrade" in caught.value.hint
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_missing_folder_is_not_made(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/missing/tape.db")
    with pytest.raises(StorageUnavailable, match="cannot open sqlite:///"):
        store.create_file()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}")
    for use in (store.read, store.write):
        with pytest.raises(StorageUnavailable), use() as db:
            db.execute(text("SELECT 1"))
    with pytest.raises(StorageUnavailable):
        store.create_file()
    store.close()


def read_something(store: Store) -> None:
    with store.read() as db:
        db.execute(text("SELECT * FROM sessions"))


def write_something(store: Store) -> None:
    with store.write() as db:
        insert(db)


@pytest.mark.parametrize("use", [read_something, write_something, Store.enter_wal_mode, migrate.upgrade])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, use):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"these are notes, not a database\n" * 100)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(StorageUnavailable, match=r"file is not a database"):
        use(store)
    store.close()
    assert path.read_bytes() == b"these are notes, not a database\n" * 100


def test_a_file_that_another_program_keeps_locked_is_an_error_in_time(sqlite_url, monkeypatch):
    monkeypatch.setattr("storage.sqlite.BUSY_TIMEOUT_S", 0.1)
    store = Store(sqlite_url)
    store.create_file()
    other = sqlite3.connect(sqlite_path(sqlite_url) or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked"), store.write():
        pass
    other.close()
    store.close()


# PostgreSQL that is not there


def test_a_closed_port_is_an_error_without_the_password():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets it meanwhile
        port = taken.getsockname()[1]
        message = failure(f"postgresql://me:secret@127.0.0.1:{port}/tape")
    assert f"postgresql://me@127.0.0.1:{port}/tape" in message
    assert "refused" in message


def test_a_missing_socket_is_an_error(tmp_path):
    assert "No such file" in failure(f"postgresql://me:secret@/tape?host={tmp_path}")


def test_a_wrong_database_name_is_an_error(postgres):
    assert 'database "missing" does not exist' in failure(postgres.url("missing").replace(":@", ":secret@"))


def test_a_server_that_takes_connections_and_never_answers_is_an_error_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = Store(f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/tape?connect_timeout=2")
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match="timeout"), store.read() as db:
            db.execute(text("SELECT 1"))
        assert time.monotonic() - started < CONNECT_TIMEOUT_S + 5
        store.close()


def failure(url: str) -> str:
    """Use a store that cannot be used; return the message for the user."""
    store = Store(url)
    messages = []
    for use in (store.read, store.write):
        with pytest.raises(StorageUnavailable) as caught, use() as db:
            db.execute(text("SELECT 1"))
        messages.append(str(caught.value))
        assert "secret" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
        assert "\n" not in str(caught.value)
    store.close()
    assert messages[0] == messages[1]
    return messages[0]


def test_a_server_that_goes_away_in_the_middle_is_an_error(postgres_url):
    store = Store(postgres_url)

    def lose_it() -> None:
        with store.read() as db:
            own = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
            db.execute(text("SELECT 1"))

    with pytest.raises(StorageUnavailable):
        lose_it()
    with store.read() as db:
        assert db.execute(text("SELECT 1")).scalar() == 1, "it works again once the server does"
    store.close()


def test_a_user_without_rights_is_told_so(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE guest LOGIN" if not _has_role(admin, "guest") else "SELECT 1")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    store = Store(postgres_url.replace("postgres:@", "guest:@"))
    with pytest.raises(StorageUnavailable, match="permission denied") as caught:
        migrate.upgrade(store)
    assert "may you write there" in caught.value.hint
    store.close()


def _has_role(admin: psycopg.Connection, name: str) -> bool:
    return admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None


@pytest.mark.parametrize(("durable", "setting"), [(True, "on"), (False, "off")])
def test_postgresql_waits_for_its_disk_only_where_asked_to(postgres_url, durable, setting):
    store = Store(postgres_url, durable=durable)
    with store.read() as db:
        assert db.execute(text("SHOW synchronous_commit")).scalar() == setting
        assert db.execute(text("SHOW application_name")).scalar() == "sessiontape"
    store.close()


# Transactions, on both


def test_a_transaction_is_committed_at_its_end(empty_store):
    with empty_store.write() as db:
        insert(db)
    with empty_store.read() as db:
        assert count(db) == 1


def test_an_exception_undoes_the_transaction_and_is_passed_on_as_it_is(empty_store):
    def insert_and(error: Exception) -> None:
        with empty_store.write() as db:
            insert(db)
            raise error

    def read_and(error: Exception) -> None:
        with empty_store.read() as db:
            count(db)
            raise error

    for error in (ZeroDivisionError(), BrokenPipeError("stdout"), FileNotFoundError("report.html")):
        for use in (insert_and, read_and):
            with pytest.raises(type(error)) as caught:
                use(error)
            assert caught.value is error
    with empty_store.read() as db:
        assert count(db) == 0


def test_a_reader_sees_one_state_throughout(empty_store):
    with empty_store.read() as reader:
        assert count(reader) == 0
        with empty_store.write() as writer:
            insert(writer)
        assert count(reader) == 0
    with empty_store.read() as reader:
        assert count(reader) == 1


def test_reading_goes_on_while_another_writes(empty_store):
    with empty_store.write() as writer:
        insert(writer)
        with empty_store.read() as reader:
            assert count(reader) == 0


def test_two_writers_take_turns(empty_store):
    """Each reads the highest number and writes the next one; if both wrote at the same time, numbers would repeat."""
    begin = threading.Barrier(2)

    def write() -> None:
        begin.wait()
        for _ in range(20):
            with empty_store.write() as db:
                highest = db.execute(text("SELECT coalesce(max(number), 0) FROM notes")).scalar_one()
                insert(db, highest + 1)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with empty_store.read() as db:
        assert db.execute(text("SELECT number FROM notes ORDER BY number")).scalars().all() == list(range(1, 41))


def test_a_writer_waits_for_the_one_before_it(empty_store):
    events = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        events.append("second waits")
        with empty_store.write() as db:
            events.append("second is in")
            insert(db)

    thread = threading.Thread(target=second)
    thread.start()
    with empty_store.write() as db:
        inside.set()
        thread.join(0.2)
        insert(db)
        events.append("first is done")
    thread.join()
    assert events == ["second waits", "first is done", "second is in"]


# Patience


def test_who_has_little_patience_waits_little_for_another_writer(store):
    with closing(Store(store.url, waits=Waits(lock_s=0.2))) as other, store.write():
        started_s = time.monotonic()
        with pytest.raises(StorageUnavailable), other.write():
            pass
        assert time.monotonic() - started_s < 3  # seconds; by default it waits 5, or 30


def test_a_disk_that_is_busy_is_given_more_time_than_a_server_that_hangs(postgres_url):
    slowly = "SELECT 1 FROM pg_sleep(0.6)"
    with closing(Store(postgres_url, waits=Waits(lock_s=0.2, answer_s=0.3))) as store:
        with store.write() as db:
            db.exec_driver_sql("CREATE TABLE notes (number INTEGER NOT NULL)")
            db.exec_driver_sql(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$"
            )
            db.exec_driver_sql(
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        with store.write() as db:
            insert(db)
        with store.write(is_large=True) as db:
            db.exec_driver_sql(slowly)
        with store.read() as db:
            assert count(db) == 1
        with pytest.raises(StorageUnavailable, match=r"did not answer for 0\.3 s"), store.write() as db:
            db.exec_driver_sql(slowly)


def test_a_server_that_hangs_is_given_up_and_used_again_when_it_works(postgres_url):
    with closing(Store(postgres_url, waits=Waits(lock_s=0.2, answer_s=0.3))) as store:
        with store.read() as db:
            assert db.exec_driver_sql("SELECT 1 FROM pg_sleep(0.1)").scalar() == 1
        stopped: list[int] = []

        def hanging() -> None:
            with store.write() as db:
                stopped.append(db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
                hang(stopped[0])
                db.exec_driver_sql("SELECT 1")

        try:
            with pytest.raises(StorageUnavailable, match=r"did not answer for 0\.3 s"):
                hanging()
            with store.read() as db:  # over another connection
                assert db.exec_driver_sql("SELECT 1").scalar() == 1
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)
