"""From a store's URL to a database, with what each engine needs set.

Accepted URLs::

    sqlite:///path/to/file.db            relative to the current folder; four slashes for an absolute path
    postgresql://user:pw@host:5432/db    anything libpq takes, sockets included: ...?host=/run/pg

>>> hide_password("postgresql://me:secret@db.example/tape?password=x&sslmode=require")
'postgresql://me@db.example/tape?sslmode=require'
>>> sqlite_path("sqlite:///tape.db")
PosixPath('tape.db')
>>> check_url("mysql://host/db")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'mysql://host/db' is no URL of a store
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, exc

from proxy_addon.errors import SettingsError, StorageBusy, StorageUnavailable

_POSTGRES = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://", re.IGNORECASE)
_SQLITE = re.compile(r"^sqlite(?:\+pysqlite)?:///(?P<path>(?!:memory:$)[^?]+)$", re.IGNORECASE)
_SECRETS = {"password", "sslpassword", "passfile", "oauth_client_secret"}

_ONLY_A_PORT = re.compile(r"[^:]+://[^/:@?]*:[0-9]+(?:/[^@?]*)?\?[a-z_]+=[^?]*\Z")
"""A URL without a user, so that an @ in its query is no end of a password."""

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process that is writing."""
LOCK_TIMEOUT_S = 30
"""How long PostgreSQL waits for other writers; a migration of another process may take that long."""
DEAD_AFTER_MS = 10_000
"""How long a server may leave what was sent to it unacknowledged before the connection counts as dead."""
CONNECT_TIMEOUT_S = 5
"""How long connecting to PostgreSQL may take, unless the URL says so itself."""


class Store:
    """A database that holds recordings.

    Attributes:
        label: Its URL without a password, for messages.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        """Name a store. Nothing is opened yet, and no file is made.

        Args:
            url: As above.
            durable: Whether a commit waits until the disk has it.

        Raises:
            SettingsError: It is no URL of a store.
        """
        check_url(url)
        self.url = url
        self.label = hide_password(url)
        self.path = sqlite_path(url)
        self._engine = _sqlite_engine(self.path, durable) if self.path else _postgres_engine(url, durable)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a SQLite file."""
        return self.path is not None

    def create_file(self) -> None:
        """Make an SQLite store's file, readable by its owner alone, where it is missing.

        Raises:
            StorageUnavailable: It cannot be made.
        """
        if self.path is None:
            return
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            _enter_wal_mode(self.path)
        except (OSError, sqlite3.Error) as e:
            raise StorageUnavailable(f"cannot open {self.label}: {e}", hint="name another --store") from e

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction for reading; it sees one state of the store throughout.

        Raises:
            StorageUnavailable: The store cannot be reached or read.
        """
        self._require_file()
        # PostgreSQL would show each statement what others have committed since the one before.
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._translated(), self._engine.connect().execution_options(**snapshot) as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is alone in writing, committed at the end unless an exception leaves it.

        On SQLite the database gives it the write lock at once; on PostgreSQL an advisory lock of this transaction
        keeps other writers of this product out, so that folding sessions needs no other care.

        Raises:
            StorageUnavailable: The store cannot be reached or written.
        """
        self._require_file()
        with self._translated(), self._engine.connect().execution_options(sessiontape_write=True) as db, db.begin():
            if not self.is_sqlite:
                db.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
                db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            yield db

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Be the only process that has this name, until the end, or until this process has ended in whatever way.

        Args:
            what: What is done alone, for the message.

        Raises:
            StorageBusy: Another process has the name.
            StorageUnavailable: The store cannot be reached, or nothing can be written beside it.
        """
        busy = StorageBusy(f"{what} is under way in another process", hint="wait until it has ended, or stop it")
        if self.path is None:
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
            with self._translated(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                if not db.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (key,)).scalar():
                    raise busy
                try:
                    yield
                finally:
                    db.invalidate()  # and with the connection the lock goes, also where the server has gone before
            return
        lock = FileLock(self.path.with_name(f"{self.path.name}.{name}.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise busy from None
        except OSError as e:
            raise StorageUnavailable(f"cannot write beside {self.label}: {e}", hint="may you write there?") from e
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows removes it by itself
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _require_file(self) -> None:
        if self.path is not None and not self.path.exists():
            raise StorageUnavailable(
                f"there is no store at {self.label}",
                hint="'sessiontape record' or 'sessiontape db upgrade' makes one; --store names another",
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's errors about being there at all into ours; errors about data stay what they are."""
        try:
            yield
        except exc.DBAPIError as e:
            if isinstance(e, exc.OperationalError | exc.InterfaceError) or isinstance(e.orig, _NO_RIGHT):
                hint = "may you read and write there?" if self.is_sqlite else "is it running, and may you write there?"
            elif type(e.orig) is sqlite3.DatabaseError:
                hint = "is it a SQLite file?"
            else:
                raise
            raise StorageUnavailable(f"cannot use {self.label}: {_first_line(e.orig)}", hint=hint) from e


_WRITER_LOCK = 0x5E5510
"""Key of the advisory lock, any number that is ours."""
_NO_RIGHT = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
"""What PostgreSQL says where another user, or another server, would do."""


def check_url(url: str) -> None:
    """Raise unless it is the URL of a store.

    Raises:
        SettingsError: It is not.
    """
    if _SQLITE.match(url) or (_POSTGRES.match(url) and _is_conninfo(url)):
        return
    guess = f"did you mean sqlite:///{url}? " if url and "://" not in url else ""
    raise SettingsError(
        f"{hide_password(url)!r} is no URL of a store",
        hint=f"{guess}"
        "write sqlite:///file.db or postgresql://user:password@host:port/db; "
        "what is special in a URL is written %40 for @, %2F for /, %25 for %",
    )


def _is_conninfo(url: str) -> bool:
    try:
        port = _conninfo(url).get("port", "")
    except psycopg.ProgrammingError:  # its text may quote a piece of the password
        return False
    return re.fullmatch(r"[0-9,]*", str(port)) is not None  # else: the beginning of a password with a slash in it


def sqlite_path(url: str) -> Path | None:
    """Return the file an SQLite URL names; None for another database."""
    match = _SQLITE.match(url)
    return Path(match["path"]) if match else None


def hide_password(url: str) -> str:
    """Return a URL without the passwords in it, also where they have characters in them that a URL should not have."""
    if not _ONLY_A_PORT.match(url):
        url = re.sub(r"(://[^/:@]*):.*@", r"\1@", url, flags=re.DOTALL)
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if unquote(part.partition("=")[0]).lower() not in _SECRETS]
    return "?".join(part for part in (base, "&".join(kept)) if part)


def _sqlite_engine(path: Path, durable: bool) -> Engine:
    # Without a path in the URL, which the creator has, the default pool would be the one for databases in memory.
    engine = create_engine("sqlite://", creator=lambda: _open_sqlite(path, durable), poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # The driver would begin late and only before writes; a reader needs its snapshot, a writer its lock, at once.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("sessiontape_write") else "BEGIN")

    return engine


def _open_sqlite(path: Path, durable: bool) -> sqlite3.Connection:
    # mode=rw: opening never makes a file; create_file() does, with the right mode.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _enter_wal_mode(path: Path) -> None:
    """Switch to WAL. SQLite's busy time-out does not cover the switch, so two that start together try again."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            db.close()


def _postgres_engine(url: str, durable: bool) -> Engine:
    def connect() -> psycopg.Connection[Any]:
        parameters = _conninfo(url)
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
        parameters.setdefault("application_name", "sessiontape")
        parameters.setdefault("tcp_user_timeout", DEAD_AFTER_MS)
        db = psycopg.connect(**parameters)
        db.execute(f"SET synchronous_commit = {'on' if durable else 'off'}")
        db.execute("SET timezone = 'UTC'")
        db.commit()
        return db

    return create_engine("postgresql+psycopg://", creator=connect, pool_pre_ping=True)


def _conninfo(url: str) -> dict[str, Any]:
    # libpq reads the URL itself: sockets, several hosts and TLS settings mean what they mean everywhere.
    return psycopg.conninfo.conninfo_to_dict(_POSTGRES.sub("postgresql://", url))


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
