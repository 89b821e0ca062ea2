"""What an SQLite file needs: how it is opened, which file it is, and that a refused one stays as it was."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process that is writing."""

FileId = tuple[int, int]
"""Device and inode of a file."""


def make_engine(path: Path, durable: bool, before_closing: Callable[[sqlite3.Connection], object]) -> Engine:
    """Return an engine for a file, which is not opened yet.

    Args:
        before_closing: Is given each connection before it is closed: `leave_journal` or `empty_journal`, or nothing.
    """
    # Without a path in the URL, which the creator has, the default pool would be the one for databases in memory.
    engine = create_engine("sqlite://", creator=lambda: _open(path, durable), poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # The driver would begin late and only before writes; a reader needs its snapshot, a writer its lock, at once.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("sessiontape_write") else "BEGIN")

    @event.listens_for(engine, "close")
    def close(db: sqlite3.Connection, _: object) -> None:
        before_closing(db)

    return engine


def create_file(path: Path) -> None:
    """Make an empty file, readable by its owner alone, where there is none."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def file_id(path: Path) -> FileId | None:
    """Return which file is at a path; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def has_journal(path: Path) -> bool:
    """Whether another program has left, or is writing, what belongs into this file in the -wal file beside it."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def is_unfinished(path: Path) -> bool:
    """Whether a program that was killed has left a transaction half done, which SQLite undoes whenever it reads."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        with journal.open("rb") as file:
            head = file.read(20)
    except FileNotFoundError:
        return False
    # Section 3 of the file format: how many pages the database had before. None had it that was being made.
    if len(head) < 20 or head[16:20] == bytes(4):
        return False
    # The journal may also belong to a transaction that is under way. SQLite knows, and says so where it may only read.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
        try:
            db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.Error as e:
            return e.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK
    return False


def leave_journal(db: sqlite3.Connection) -> None:
    """Do without what the last connection does when it is closed: to write the -wal file into the database."""
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # noqa: FBT003  # the signature is sqlite3's


def empty_journal(db: sqlite3.Connection) -> None:
    """Write the -wal file into the database that was opened, which was moved since: SQLite does not do that any more.

    To be called only where nothing lies at the old path: whoever opens another file there uses, and changes, the -wal
    and -shm files of this one.
    """
    with suppress(sqlite3.Error):  # somebody is reading: the next connection to close will do
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def enter_wal_mode(path: Path) -> None:
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


def _open(path: Path, durable: bool) -> sqlite3.Connection:
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
