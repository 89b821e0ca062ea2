"""Entries that a store refuses, kept beside the journal until somebody looks at them.

Each writer's are in a file that is a segment, too: moved back into the journal's folder, they are filed again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from proxy_addon.journal import folders
from proxy_addon.journal.entries import About, Entry, encoded


def keep(folder: Path, about: About, entry: Entry, reason: str) -> Path:
    """Keep an entry, durably, unless it is kept already.

    Args:
        folder: That of the journal.
        about: Who wrote the entry.
        reason: Why it is refused.

    Returns:
        The file in which it is.

    Raises:
        OSError: The file cannot be written.
    """
    path = folders.aside(folder) / f"{about.run}.{about.worker:03d}.000000{folders.SEGMENT}"
    path.touch(0o600)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            db.execute("CREATE TABLE IF NOT EXISTS about (x)")
            db.execute("CREATE TABLE IF NOT EXISTS entries (n INTEGER PRIMARY KEY, x BLOB)")
            db.execute("CREATE TABLE IF NOT EXISTS reasons (n INTEGER PRIMARY KEY, x)")
            if db.execute("SELECT 1 FROM about").fetchone() is None:
                db.execute("INSERT INTO about VALUES (?)", (msgspec.json.encode(about).decode(),))
            raw = encoded(entry)
            if db.execute("SELECT 1 FROM entries WHERE x = ?", (raw,)).fetchone() is None:
                number = db.execute("INSERT INTO entries (x) VALUES (?)", (raw,)).lastrowid
                db.execute("INSERT INTO reasons VALUES (?, ?)", (number, reason))
            db.execute("PRAGMA user_version = 1")
            db.execute("COMMIT")
    except sqlite3.Error as e:
        raise OSError(f"cannot write {path}: {e}") from e
    return path
