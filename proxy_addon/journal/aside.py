"""Entries that a store refuses, kept beside the journal until somebody looks at them.

Each writer's are in a file that is a segment, too: moved back into the journal's folder, they are filed again.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec

from proxy_addon.journal import folders, segments
from proxy_addon.journal.entries import VERSION, About, Entry, encoded


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
    try:
        path = folders.aside(folder) / str(segments.Name(about.run, about.worker, segments.REFUSED))
        path.touch(0o600)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            db.execute("CREATE TABLE IF NOT EXISTS about (x TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS entries (n INTEGER PRIMARY KEY, crc INTEGER, x BLOB)")
            db.execute("CREATE TABLE IF NOT EXISTS reasons (n INTEGER PRIMARY KEY, x TEXT)")
            if db.execute("SELECT 1 FROM about").fetchone() is None:
                db.execute("INSERT INTO about VALUES (?)", (msgspec.json.encode(about).decode(),))
            raw = encoded([entry])
            if db.execute("SELECT 1 FROM entries WHERE x = ?", (raw,)).fetchone() is None:
                row = db.execute("INSERT INTO entries (crc, x) VALUES (?, ?)", (zlib.crc32(raw), raw))
                db.execute("INSERT INTO reasons VALUES (?, ?)", (row.lastrowid, reason))
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
    except sqlite3.Error as e:
        raise OSError(f"cannot write {path}: {e}") from e
    return path
