"""Segments: their names, and how they come to be.

A segment is an SQLite file with `entries.VERSION` as its ``user_version``, which a newer version will have too, whatever
else it changes. Its table ``about`` has one row, an `entries.About` in JSON. Each row of ``entries`` has what
was committed together, because one statement without a transaction around it lets go of Python's lock only once:

- ``n``: how many entries the segment has, up to and including this row;
- ``crc``: CRC-32 of ``x``, as SQLite does not notice a page that the disk has changed;
- ``x``: an array of entries in MessagePack.

Everything stays in the write-ahead log: nothing is checkpointed while a segment is written, so that no commit waits for
that. The log of a durable segment is written with zeros first. Then a commit changes no size of a file, and the disk has
to write only what was appended. SQLite takes zeros for an empty log.

>>> name = Name("3f2a", 0, 12)
>>> str(name), Name.parse(str(name)) == name, Name.parse("notes.txt")
('3f2a.000.000012.tape', True, None)
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from proxy_addon.journal.entries import VERSION, About

SUFFIX = ".tape"
REFUSED = 0
"""Number of the segment with what a store refused of a writer; those that it wrote itself begin with 1."""
LOG = "-wal"
"""Suffix of a segment's write-ahead log."""
INDEX = "-shm"
"""Suffix of a segment's index of the log, which writers and readers share."""
NEW = ".new"
"""Suffix of a segment that is not ready to be read."""
FRAME_BYTES = 4096 + 24
"""What a page takes in the log."""
_LOG_HEAD_BYTES = 32
_CHUNK = bytes(2**20)


class Name(NamedTuple):
    """The name of a segment's file: segments of one writer sort by number."""

    run: str
    worker: int
    number: int

    def __str__(self) -> str:
        return f"{self.writer}.{self.number:06d}{SUFFIX}"

    @property
    def writer(self) -> str:
        """What the names of all files of a writer begin with."""
        return writer(self.run, self.worker)

    @property
    def is_of_refused(self) -> bool:
        """Whether it has entries that were set aside, and that somebody has moved back."""
        return self.number == REFUSED

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the parts of a file's name; None if it is no segment."""
        match = _NAME.fullmatch(name)
        return cls(match[1], int(match[2]), int(match[3])) if match else None


_NAME = re.compile(r"([^.]+)\.(\d{3,})\.(\d{6,})\.tape")


def writer(run: str, worker: int) -> str:
    """Return what the names of all files of a writer begin with."""
    return f"{run}.{worker:03d}"


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file whose name goes on with a suffix."""
    return path.with_name(path.name + suffix)


def delete(path: Path) -> None:
    """Delete a segment, its log and its index."""
    for each in (path, beside(path, LOG), beside(path, INDEX)):
        each.unlink(missing_ok=True)


def create(path: Path, about: About, *, durable: bool, log_bytes: int) -> None:
    """Create a segment under its name with `NEW`; `publish` gives it its own.

    Args:
        log_bytes: How much of the log to write with zeros.

    Raises:
        OSError: The disk is full or cannot be written; nothing is left behind.
        sqlite3.Error: Likewise.
    """
    new = beside(path, NEW)
    log = beside(new, LOG)
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives the log and the index the same mode
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=OFF")
            db.execute("CREATE TABLE about (x TEXT)")
            db.execute("CREATE TABLE entries (n INTEGER PRIMARY KEY, crc INTEGER, x BLOB)")
            db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("INSERT INTO about VALUES (?)", (msgspec.json.encode(about).decode(),))
            db.execute("PRAGMA journal_mode=WAL")
        if log_bytes:
            _write_zeros(log, log_bytes)
        if durable:
            _sync(new)
    except BaseException:
        with suppress(OSError):
            delete(new)
        raise


def _write_zeros(path: Path, length: int) -> None:
    """Write zeros, synced bit by bit, so that commits to another file meanwhile do not wait for all of them."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        for start in range(0, length, len(_CHUNK)):
            os.write(file, _CHUNK[: length - start])
            os.fsync(file)
    finally:
        os.close(file)


def publish(path: Path, *, durable: bool) -> None:
    """Give a created segment its own name: from now on it is read."""
    new = beside(path, NEW)
    log = beside(new, LOG)
    if log.exists():
        log.replace(beside(path, LOG))  # first, so that the segment never is without its log
    new.replace(path)
    if durable:
        _sync(path.parent)


def cut_log(path: Path) -> None:
    """Give back the room that a failed commit has taken in the log of a segment that is closed for good.

    Source: https://www.sqlite.org/walformat.html, "The WAL-Index Header": the last frame that is committed.

    Raises:
        OSError: It cannot be read or cut.
    """
    log = beside(path, LOG)
    with beside(path, INDEX).open("rb", buffering=0) as index:
        index.seek(16)
        frames = int.from_bytes(index.read(4), sys.byteorder)
    length = _LOG_HEAD_BYTES + frames * FRAME_BYTES
    if log.stat().st_size > length:
        os.truncate(log, length)


def _sync(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":  # which has no such thing
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def compact(path: Path, *, durable: bool) -> None:
    """Move what a finished segment has in its log into the file: after small commits that is a fraction of it."""
    with closing(_open(path, durable=durable)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Growing:
    """A segment that is being written.

    Attributes:
        path: The file.
        count: How many entries it has.
        used: Approximate length of its log in bytes.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.count = 0
        self.used = 0
        self._db = _open(path, durable=durable)
        self._execute: Callable[..., object] = self._db.execute

    def append(self, count: int, x: bytes) -> None:
        """Commit so many encoded entries.

        Raises:
            sqlite3.Error: They are not committed, as far as anybody knows; the segment must not be written any more.
        """
        self._execute("INSERT INTO entries VALUES (?, ?, ?)", (self.count + count, zlib.crc32(x), x))
        self.count += count
        self.used += FRAME_BYTES + len(x) + (len(x) >> 2)

    def rows(self) -> list[tuple[int, bytes]]:
        """Return what was committed: how many encoded entries, and they. Possible also if the file was removed.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        rows = self._db.execute("SELECT n, x FROM entries ORDER BY n").fetchall()
        return [(n - before, x) for (before, _), (n, x) in pairwise([(0, b""), *rows])]

    def close(self) -> None:
        """Close the file; the log stays."""
        self._db.close()


def _open(path: Path, *, durable: bool) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # noqa: FBT003  # positional in the library
    db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    db.execute("PRAGMA wal_autocheckpoint=0")
    return db
