"""Turn a store's URL into a database connection with the settings that each engine needs.

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
proxy_addon.errors.SettingsError: 'mysql://host/db' is not the URL of a store
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock, Timeout
from sqlalchemy import Connection, event, exc

from proxy_addon.errors import SettingsError, StorageBusy, StorageUnavailable
from storage import postgres, sqlite
from storage.patience import PATIENT, Waits
from storage.types import codec_in, codec_of, fitted

_SQLITE = re.compile(r"^sqlite(?:\+pysqlite)?:///(?P<path>(?!:memory:$)[^?]+)$", re.IGNORECASE)
_SECRETS = {"password", "sslpassword", "passfile", "oauth_client_secret"}

_ONLY_A_PORT = re.compile(r"[^:]+://[^/:@?]*:[0-9]+(?:/[^@?]*)?\?[a-z_]+=[^?]*\Z")
"""A URL with a port but no user: an @ in its query does not end a password."""

REFUSALS = (exc.DBAPIError, UnicodeError)
"""What is raised in a transaction if the database does not take a value. Errors of reaching or using it are of these kinds,
too, until they leave the transaction as `StorageUnavailable`."""


class Store:
    """A database that holds recordings.

    Attributes:
        label: Its URL without a password, for messages.
    """

    def __init__(self, url: str, *, durable: bool = True, waits: Waits = PATIENT, read_only: bool = False) -> None:
        """Prepare a store without opening anything or creating a file.

        Args:
            url: In a form that the module docstring shows.
            durable: Whether a commit waits until it is on disk.
            waits: How long to wait for what others do to the store.
            read_only: Whether every statement that would change the store fails.

        Raises:
            SettingsError: The URL is not the URL of a store.
        """
        check_url(url)
        self.url = url
        self.label = hide_password(url)
        self.path = sqlite_path(url)
        self._waits = waits
        self._reads_only = read_only
        self._original: sqlite.Original | None = None
        self._is_refused = False
        self._engine = (
            sqlite.make_engine(self.path, durable, self._before_closing, waits, read_only=read_only)
            if self.path
            else postgres.make_engine(url, durable, waits, read_only=read_only)
        )

        @event.listens_for(self._engine, "before_cursor_execute", retval=True)
        def fit(db: Connection, _: object, statement: str, parameters: Any, *__: object) -> tuple[str, Any]:
            codec = codec_in(db)
            return statement, parameters if codec == "utf-8" else fitted(parameters, codec)

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is an SQLite file."""
        return self.path is not None

    @property
    def encoding(self) -> str:
        """Python's name of the encoding in which the store holds text; right only after the first connection."""
        return codec_of(self._engine.dialect)

    def create_file(self) -> None:
        """Create the file of an SQLite store if it is missing: empty, and readable only by its owner.

        Raises:
            StorageUnavailable: The file cannot be created.
        """
        if self.path is not None:
            with self._opening():
                sqlite.create_file(self.path)

    def enter_wal_mode(self) -> None:
        """Switch an SQLite store to WAL, so that readers never wait for a writer. This changes the file.

        Raises:
            StorageUnavailable: The file cannot be changed.
        """
        if self.path is not None:
            with self._opening():
                sqlite.enter_wal_mode(self.path)

    def leave_as_it_is(self) -> None:
        """Refuse the store: from now on an SQLite file is not touched, not even by closing it."""
        self._is_refused = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction for reading that sees the same state of the store throughout.

        Raises:
            StorageUnavailable: The store cannot be reached or read.
        """
        self._open_file()
        # By default, each statement in PostgreSQL sees what others have committed in the meantime.
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._translated(), self._engine.connect().execution_options(**snapshot) as db:
            yield db

    @contextmanager
    def write(self, *, in_ascii: bool = False, is_large: bool = False) -> Iterator[Connection]:
        """Open a transaction as the only writer; commit it at the end of the block unless an exception leaves it.

        SQLite takes its write lock at once. PostgreSQL takes an advisory lock for the transaction, which keeps out
        sessiontape's other writers, so that folding sessions needs no locks of its own.

        Args:
            in_ascii: Replace every character of text beyond ASCII with a question mark; bytes stay as they are.
            is_large: A statement may take as long as a commit; see `storage.patience.Waits`.

        Raises:
            StorageUnavailable: The store cannot be reached or written, or its file was removed or replaced.
        """
        self._open_file()
        options = {"sessiontape_write": True, "sessiontape_ascii": in_ascii}
        with self._translated(), self._connect(**options) as db, db.begin():
            if not self.is_sqlite:
                postgres.take_turn(db, self._waits)
            raw = db.connection.driver_connection
            with postgres.patiently(raw, self._waits.disk_s) if is_large else nullcontext():
                yield db
            self.require_file()  # a commit to a file that was removed is lost

    def settle(self) -> None:
        """Wait until all that was committed before is on disk, also if commits do not wait for it.

        Raises:
            StorageUnavailable: The store cannot be reached or written, or its file was removed or replaced.
        """
        self._open_file()
        # A commit that waits takes all before it along: they are in the same log. An empty one would not be written.
        with self._translated(), self._connect(sessiontape_write=True) as db:
            if self.is_sqlite:
                raw = db.connection.driver_connection
                assert raw is not None
                raw.execute("PRAGMA synchronous = FULL")  # not possible in a transaction
            try:
                with db.begin():
                    if not self.is_sqlite:
                        db.exec_driver_sql("SET LOCAL synchronous_commit = on")
                    db.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
                    self.require_file()
            finally:
                if self.is_sqlite:
                    db.invalidate()  # the next connection is opened with its own setting

    def give_some_back(self) -> bool:
        """Give some space of what was deleted back to the disk; return whether there is more.

        Nobody waits long for it. There is nothing to do in PostgreSQL, which reuses the space by itself, and nothing can be
        done about an SQLite file that an older version made; `give_back` can.

        Raises:
            StorageUnavailable: The store cannot be reached or written.
        """
        if self.path is None:
            return False
        with self.write() as db:
            return sqlite.give_some_back(db)

    def give_back(self) -> None:
        """Give the space of what was deleted back to the disk; PostgreSQL keeps most of it for new rows.

        If an older version made the file, it is written anew: others that write wait meanwhile, and the disk needs room for a
        copy of what is left. The next time it is done bit by bit.

        Raises:
            StorageUnavailable: The store cannot be reached or written, or there is no room.
        """
        if self.path is None:
            with self._translated(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                db.exec_driver_sql("VACUUM")
            return
        self._open_file()
        try:
            with self._translated(), self._connect() as db:
                sqlite.make_divisible(db)
            while self.give_some_back():
                pass
            with self._translated(), self._connect() as db:
                sqlite.shorten(db)
        except sqlite3.Error as e:
            raise StorageUnavailable(
                f"cannot give free space of {self.label} back to the disk: {e}",
                hint="it is used for what is recorded next; try again when there is room for a copy of the file",
            ) from e

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Hold a lock that only one process can hold, until the block or the process ends.

        Args:
            name: Name of the lock, unique within the store.
            what: What the lock protects, for the message.

        Raises:
            StorageBusy: Another process holds the lock.
            StorageUnavailable: The store cannot be reached, or its lock file cannot be written.
        """
        busy = StorageBusy(f"{what} is under way in another process", hint="wait until it has ended, or stop it")
        if self.path is None:
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
            # The transaction stays open as long as the lock: a pooler would hand a lock of the connection to others.
            with self._translated(), self._connect() as db:
                if not postgres.try_lock(db, key):
                    raise busy
                try:
                    yield
                finally:
                    db.invalidate()  # closing the connection releases the lock, even if the server has gone
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
            with suppress(PermissionError):  # Windows removes the file by itself
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def disconnect(self) -> None:
        """Close the connections that nobody uses at the moment; whoever uses the store next gets a new one."""
        self._engine.dispose()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._original is not None:
            self._original.release()

    def moved_to(self) -> Path | None:
        """Return where an SQLite store's file was moved to, with all in it that can still be written into it.

        Call it after `require_file` has failed. None if the file was deleted, or if the system cannot tell.
        """
        self._engine.dispose()  # writes into it what is in the -wal file
        return self._original.path() if self._original is not None else None

    def require_file(self) -> None:
        """Check that an SQLite store's file exists and is still the file that was first used.

        Raises:
            StorageUnavailable: The file is missing, or another file is in its place.
        """
        if self.path is None:
            return
        if self._original is None:
            with self._opening():
                try:
                    self._original = sqlite.Original(self.path)
                except FileNotFoundError:
                    raise StorageUnavailable(
                        f"there is no store at {self.label}",
                        hint="'sessiontape record' and 'sessiontape db upgrade' create one; --store names another",
                    ) from None
        with self._opening():
            found = sqlite.file_id(self.path)
        if found != self._original.id:
            place = self._original.path()
            what = "removed" if found is None else "replaced by another one"
            moved = f"moved to {place}" if found is None else f"moved to {place} and {what}"
            raise StorageUnavailable(
                f"the file of {self.label} was {moved if place else what}",
                hint="put it back, or start again to use what is there now",
            )

    def _open_file(self) -> None:
        if self.path is not None and self._original is None:
            with self._opening():
                is_unfinished = sqlite.is_unfinished(self.path)
            if is_unfinished:
                raise StorageUnavailable(
                    f"{self.label} has an unfinished transaction of another program",
                    hint="let that program finish or undo it, or name another --store",
                )
        try:
            self.require_file()
        except StorageUnavailable:
            self._engine.dispose()  # its connections are useless now
            raise

    def _before_closing(self, db: sqlite3.Connection) -> None:
        assert self.path is not None
        if self._is_refused:
            if sqlite.has_journal(self.path):  # an empty -wal file is our own; closing removes it
                sqlite.leave_journal(db)
        elif self._original is not None and sqlite.file_id(self.path) is None:
            sqlite.empty_journal(db)

    def _connect(self, **options: object) -> Connection:
        # A role may have a stricter default, under which a writer that waited would not see the previous commit.
        level = {} if self.is_sqlite else {"isolation_level": "READ COMMITTED"}
        return self._engine.connect().execution_options(**level, **options)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as e:
            reason = (isinstance(e, OSError) and e.strerror) or e
            hint = "may you read and write there?" if isinstance(e, PermissionError) else "name another --store"
            raise StorageUnavailable(f"cannot open {self.label}: {reason}", hint=hint) from e

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of reaching or using the database into ours; errors about data stay as they are."""
        try:
            yield
        except exc.DBAPIError as e:
            if postgres.state(e.orig) == postgres.TOO_LARGE:
                raise
            is_away = e.connection_invalidated or postgres.is_broken_off(e.orig)
            is_away = is_away or isinstance(e, exc.OperationalError | exc.InterfaceError)
            if is_away or postgres.state(e.orig) in postgres.NO_RIGHT:
                hint = "may you read and write there?"
                if not self.is_sqlite:
                    hint = postgres.hint(str(e.orig), reads_only=self._reads_only)
            elif type(e.orig) is sqlite3.DatabaseError:
                hint = "is it a SQLite file?"
            else:
                raise
            raise StorageUnavailable(f"cannot use {self.label}: {_first_line(e.orig)}", hint=hint) from e


def fault(error: BaseException) -> str | None:
    """Return a name for the kind of an error of `REFUSALS` for which no value is to blame; None for all other errors."""
    if not isinstance(error, exc.DBAPIError) or isinstance(error, exc.IntegrityError | exc.DataError):
        return None
    state = postgres.state(error.orig)
    return None if state == postgres.TOO_LARGE else state or type(error.orig).__name__


def check_url(url: str) -> None:
    """Check that a text is the URL of a store.

    Raises:
        SettingsError: It is not.
    """
    if _SQLITE.match(url) or postgres.is_url(url):
        return
    guess = f"did you mean sqlite:///{url}? " if url and "://" not in url else ""
    raise SettingsError(
        f"{hide_password(url)!r} is not the URL of a store",
        hint=f"{guess}"
        "write sqlite:///file.db or postgresql://user:password@host:port/db; "
        "in user, password and names, write %40 for @, %2F for / and %25 for %",
    )


def sqlite_path(url: str) -> Path | None:
    """Return the file that an SQLite URL names; None for any other URL."""
    match = _SQLITE.match(url)
    return Path(match["path"]) if match else None


def hide_password(url: str) -> str:
    """Return a URL without its passwords, even if they contain characters that should have been escaped."""
    if not _ONLY_A_PORT.match(url):
        url = re.sub(r"(://[^/:@]*):.*@", r"\1@", url, flags=re.DOTALL)
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if unquote(part.partition("=")[0]).lower() not in _SECRETS]
    return "?".join(part for part in (base, "&".join(kept)) if part)


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
