"""SQLite files: opening one, identifying it, and leaving a refused one unchanged."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from proxy_addon.errors import StorageUnavailable
from storage.patience import PATIENT, Waits

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process that is writing."""

CACHE_KIB = 32 * 1024
"""How much of a file SQLite keeps in memory. With its default of 2 MiB, exchanges are stored a quarter slower in a file that
has 100,000 sessions than in one that has 1,000: each session's part of an index is on a page of its own."""
PAGES_BETWEEN_CHECKPOINTS = 16_000
"""How long the -wal file gets, in pages of 4 KiB, before it is written into the database; more than SQLite's default of 1,000
because exchanges change the same pages again and again, which then are written once. In a file of a million exchanges, where
those pages lie far apart, 4,000 made the disk write nearly twice as much, and answers wait for that disk."""

FileId = tuple[int, int]
"""Device and inode of a file."""


def make_engine(
    path: Path,
    durable: bool,
    before_closing: Callable[[sqlite3.Connection], object],
    waits: Waits = PATIENT,
    *,
    read_only: bool = False,
) -> Engine:
    """Return an engine for a file, without opening it.

    Args:
        before_closing: Called with each connection before it is closed; may call `leave_journal` or `empty_journal`.
        read_only: Whether every statement that would change the database fails.
    """
    # The creator has the path. Without one in the URL, the default pool would be the one for databases in memory.
    busy_s = BUSY_TIMEOUT_S if waits.lock_s is None else waits.lock_s
    engine = create_engine("sqlite://", creator=lambda: _open(path, durable, busy_s, read_only), poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # The driver would begin only before writes, but a reader needs its snapshot, and a writer its lock, at once.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("sessiontape_write") else "BEGIN")

    @event.listens_for(engine, "close")
    def close(db: sqlite3.Connection, _: object) -> None:
        before_closing(db)

    return engine


def create_file(path: Path) -> None:
    """Create an empty file, readable only by its owner, if there is none."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def create_whole(path: Path, content: bytes) -> None:
    """Create a file with content, readable only by its owner; do nothing if there is one or it cannot be created.

    It appears under its name only when it is complete, so that nobody who opens it finds a part.
    """
    with suppress(OSError):
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.link(part, path)
        finally:
            Path(part).unlink()


def file_id(path: Path) -> FileId | None:
    """Return which file is at a path; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Original:
    """The file that was at a path when this was made, wherever it is now.

    As long as it is held, no new file can get its inode, and it can be found again after it was moved. On Linux, it is
    held by a descriptor of the kind ``O_PATH``: closing any other descriptor of a file would release all locks that
    SQLite has on it in this process. Other systems have no such descriptor; those in use do not reuse inodes soon.
    """

    def __init__(self, path: Path) -> None:
        """Hold a file.

        Raises:
            FileNotFoundError: There is none.
        """
        self._descriptor: int | None = None
        if not hasattr(os, "O_PATH"):
            found = path.stat()
        else:
            self._descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            self._close = weakref.finalize(self, os.close, self._descriptor)
            found = os.fstat(self._descriptor)
        self.id: FileId = (found.st_dev, found.st_ino)

    def path(self) -> Path | None:
        """Return where the file is now; None if it was deleted, is no longer held, or the system cannot tell."""
        if self._descriptor is None:
            return None
        try:
            path = Path(f"/proc/self/fd/{self._descriptor}").readlink()
            return path if file_id(path) == self.id else None
        except OSError:
            return None

    def release(self) -> None:
        """Let go of the file; its id stays known."""
        if self._descriptor is not None:
            self._descriptor = None
            self._close()


def has_journal(path: Path) -> bool:
    """Whether the -wal file beside a file has content, which another program is writing or has left behind."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def is_unfinished(path: Path) -> bool:
    """Whether a killed program left a transaction half done, which SQLite would roll back as soon as it reads."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        with journal.open("rb") as file:
            head = file.read(20)
    except FileNotFoundError:
        return False
    # Section 3 of SQLite's file format: the size of the database in pages before the transaction; 0 for a new one.
    if len(head) < 20 or head[16:20] == bytes(4):
        return False
    # The journal may also belong to a transaction in progress. A read-only connection makes SQLite tell which.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
        try:
            db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.Error as e:
            return e.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK
    return False


def leave_journal(db: sqlite3.Connection) -> None:
    """Stop a connection from writing the -wal file into the database when it closes as the last one."""
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # noqa: FBT003  # the signature is sqlite3's


def empty_journal(db: sqlite3.Connection) -> None:
    """Write the -wal file into a database that was moved after it was opened, which SQLite does not do by itself.

    Call it only while no file is at the old path: another file there would share, and change, the -wal and -shm files
    of this one.
    """
    with suppress(sqlite3.Error):  # somebody is reading; the next connection to close will try again
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def enter_wal_mode(path: Path) -> None:
    """Switch to WAL, trying again while another process does so: SQLite's busy time-out does not cover the switch.

    A file that is still empty is also made so that the space of what is deleted can be given back bit by bit. In a file that
    has tables, that would mean to write it anew.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # does nothing in a file that has tables
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            db.close()


def give_some_back(db: Connection) -> bool:
    """Cut free pages off the end of a file, in a transaction; return whether there are more."""
    raw = _raw(db)
    if not _is_divisible(raw):
        return False
    raw.execute(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})").fetchall()  # each row that is read is a page
    return bool(_value(raw, "freelist_count"))


def make_divisible(db: Connection) -> None:
    """Write a file anew from which nothing can be cut off, because an older version made it, if it has free pages.

    Raises:
        sqlite3.Error: There is no room, or somebody else is writing.
    """
    raw = _raw(db)
    if not _is_divisible(raw) and _value(raw, "freelist_count"):
        raw.execute("PRAGMA auto_vacuum = INCREMENTAL")
        raw.execute("VACUUM")


def shorten(db: Connection) -> None:
    """Write the -wal file into the database, which only then gets shorter; not if somebody is reading.

    Raises:
        sqlite3.Error: The file cannot be written.
    """
    _raw(db).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_PAGES_GIVEN_BACK = 1000
"""How many pages of 4 KiB one transaction cuts off, which takes some hundredths of a second."""


def _raw(db: Connection) -> sqlite3.Connection:
    raw = db.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _value(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _is_divisible(db: sqlite3.Connection) -> bool:
    return _value(db, "auto_vacuum") == 2  # incremental


def _is_at_rest(path: Path) -> bool:
    """Whether a file has to be read as one that nobody changes: SQLite can neither find nor create what readers share.

    Raises:
        StorageUnavailable: The file is not complete without its -wal file.
    """
    if os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-shm").exists():
        return False
    if has_journal(path):
        raise StorageUnavailable(
            f"cannot read {path}: part of it is in {path.name}-wal, and its folder cannot be written",
            hint="copy both to a folder that can be written",
        )
    return path.exists()


def _open(path: Path, durable: bool, busy_s: float, read_only: bool) -> sqlite3.Connection:
    # mode=rw: opening never creates a file; create_file() does, with the right permissions.
    uri = f"{path.absolute().as_uri()}?mode={'ro&immutable=1' if _is_at_rest(path) else 'rw'}"
    db = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        db.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BETWEEN_CHECKPOINTS}")
        if read_only:  # not mode=ro, which cannot open a file in WAL that nobody else has open
            db.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db
