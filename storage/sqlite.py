"""What an SQLite file needs: how it is made and opened."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for another process that is writing."""


def make_engine(path: Path, durable: bool) -> Engine:
    """Return an engine for a file, which is not opened yet."""
    # Without a path in the URL, which the creator has, the default pool would be the one for databases in memory.
    engine = create_engine("sqlite://", creator=lambda: _open(path, durable), poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        # The driver would begin late and only before writes; a reader needs its snapshot, a writer its lock, at once.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("sessiontape_write") else "BEGIN")

    return engine


def create_file(path: Path) -> None:
    """Make an empty file, readable by its owner alone, where there is none."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


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
