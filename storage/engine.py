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
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock, Timeout
from sqlalchemy import Connection, event, exc

from proxy_addon.errors import SettingsError, StorageBusy, StorageUnavailable
from storage import postgres, sqlite
from storage.types import codec_of, replaced

_SQLITE = re.compile(r"^sqlite(?:\+pysqlite)?:///(?P<path>(?!:memory:$)[^?]+)$", re.IGNORECASE)
_SECRETS = {"password", "sslpassword", "passfile", "oauth_client_secret"}

_ONLY_A_PORT = re.compile(r"[^:]+://[^/:@?]*:[0-9]+(?:/[^@?]*)?\?[a-z_]+=[^?]*\Z")
"""A URL without a user, so that an @ in its query is no end of a password."""


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
        self._file: sqlite.FileId | None = None
        self._is_refused = False
        self._engine = (
            sqlite.make_engine(self.path, durable, self._before_closing)
            if self.path
            else postgres.make_engine(url, durable)
        )

        @event.listens_for(self._engine, "before_cursor_execute", retval=True)
        def fit(db: Connection, _: object, statement: str, parameters: Any, *__: object) -> tuple[str, Any]:
            in_ascii = db.get_execution_options().get("sessiontape_ascii")
            codec = "ascii" if in_ascii else codec_of(db.dialect)
            return statement, parameters if codec == "utf-8" else _fitted(parameters, codec)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a SQLite file."""
        return self.path is not None

    @property
    def encoding(self) -> str:
        """Name, as Python knows it, of what can hold its texts; known once something was read."""
        return codec_of(self._engine.dialect)

    def create_file(self) -> None:
        """Make an SQLite store's file, empty and readable by its owner alone, where it is missing.

        Raises:
            StorageUnavailable: It cannot be made.
        """
        if self.path is not None:
            with self._opening():
                sqlite.create_file(self.path)

    def enter_wal_mode(self) -> None:
        """Let readers of an SQLite store never wait for a writer: a property of the file, which changes it.

        Raises:
            StorageUnavailable: It cannot be changed.
        """
        if self.path is not None:
            with self._opening():
                sqlite.enter_wal_mode(self.path)

    def leave_as_it_is(self) -> None:
        """Refuse it: from now on an SQLite file is not touched, not even by closing it."""
        self._is_refused = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction for reading; it sees one state of the store throughout.

        Raises:
            StorageUnavailable: The store cannot be reached or read.
        """
        self._open_file()
        # PostgreSQL would show each statement what others have committed since the one before.
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._translated(), self._engine.connect().execution_options(**snapshot) as db:
            yield db

    @contextmanager
    def write(self, *, in_ascii: bool = False) -> Iterator[Connection]:
        """Open a transaction that is alone in writing, committed at the end unless an exception leaves it.

        On SQLite the database gives it the write lock at once; on PostgreSQL an advisory lock of this transaction
        keeps other writers of this product out, so that folding sessions needs no other care.

        Args:
            in_ascii: Put a question mark for every other character of texts; bytes stay what they are.

        Raises:
            StorageUnavailable: The store cannot be reached or written, or its file is not the one it was.
        """
        self._open_file()
        options = {"sessiontape_write": True, "sessiontape_ascii": in_ascii}
        with self._translated(), self._connect(**options) as db, db.begin():
            if not self.is_sqlite:
                postgres.take_turn(db)
            yield db
            self.require_file()  # what is committed to a file that was removed is lost

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
            # A transaction for as long as it takes: a pooler gives what is locked outside of one to somebody else.
            with self._translated(), self._connect() as db:
                if not postgres.try_lock(db, key):
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

    def require_file(self) -> None:
        """Raise unless an SQLite store's file is there, and the same as ever since it was first used.

        Raises:
            StorageUnavailable: It is not.
        """
        if self.path is None:
            return
        found = sqlite.file_id(self.path)
        if self._file is None:
            self._file = found
        if found is None and self._file is None:
            raise StorageUnavailable(
                f"there is no store at {self.label}",
                hint="'sessiontape record' or 'sessiontape db upgrade' makes one; --store names another",
            )
        if found != self._file:
            raise StorageUnavailable(
                f"the file of {self.label} was {'removed' if found is None else 'replaced by another one'}",
                hint="put it back, or start again to use what is there now",
            )

    def _open_file(self) -> None:
        if self.path is not None and self._file is None and sqlite.is_unfinished(self.path):
            raise StorageUnavailable(
                f"{self.label} has a transaction that another program has left half done",
                hint="let that program finish or undo it, or name another --store",
            )
        try:
            self.require_file()
        except StorageUnavailable:
            self._engine.dispose()  # what it has open is of no use now
            raise

    def _before_closing(self, db: sqlite3.Connection) -> None:
        assert self.path is not None
        if self._is_refused:
            if sqlite.has_journal(self.path):  # one without content we have made ourselves: closing takes it away
                sqlite.leave_journal(db)
        elif self._file is not None and sqlite.file_id(self.path) is None:
            sqlite.empty_journal(db)

    def _connect(self, **options: object) -> Connection:
        # A role may have another default, under which a transaction would not see what those before it have committed.
        level = {} if self.is_sqlite else {"isolation_level": "READ COMMITTED"}
        return self._engine.connect().execution_options(**level, **options)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as e:
            raise StorageUnavailable(f"cannot open {self.label}: {e}", hint="name another --store") from e

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's errors about being there at all into ours; errors about data stay what they are."""
        try:
            yield
        except exc.DBAPIError as e:
            if isinstance(e.orig, postgres.TOO_LARGE):
                raise
            if isinstance(e, exc.OperationalError | exc.InterfaceError) or isinstance(e.orig, postgres.NO_RIGHT):
                hint = "may you read and write there?" if self.is_sqlite else postgres.hint(str(e.orig))
            elif type(e.orig) is sqlite3.DatabaseError:
                hint = "is it a SQLite file?"
            else:
                raise
            raise StorageUnavailable(f"cannot use {self.label}: {_first_line(e.orig)}", hint=hint) from e


def check_url(url: str) -> None:
    """Raise unless it is the URL of a store.

    Raises:
        SettingsError: It is not.
    """
    if _SQLITE.match(url) or postgres.is_url(url):
        return
    guess = f"did you mean sqlite:///{url}? " if url and "://" not in url else ""
    raise SettingsError(
        f"{hide_password(url)!r} is no URL of a store",
        hint=f"{guess}"
        "write sqlite:///file.db or postgresql://user:password@host:port/db; "
        "what is special in a URL is written %40 for @, %2F for /, %25 for %",
    )


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


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _fitted(parameters: Any, codec: str) -> Any:
    """Return the parameters of a statement with texts that a codec has characters for."""
    match parameters:
        case str():
            return replaced(parameters, codec)
        case Mapping():
            return {name: _fitted(value, codec) for name, value in parameters.items()}
        case list() | tuple():
            return type(parameters)(_fitted(value, codec) for value in parameters)
        case _:
            return parameters
