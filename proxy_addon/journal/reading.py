"""What the ingest process reads: the segments of a folder, in order.

A segment is read while it is written. Reading takes no lock that its writer would wait for, and changes nothing in it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from proxy_addon.journal import folders, last_words, segments
from proxy_addon.journal.entries import VERSION, About, Counted, Entry, Exchanged
from proxy_addon.process import logs

logger = logs.logger(__name__)

MOST = 4000
"""How many entries are read at a time, if so many wait. They are stored in one transaction, which writes a page of the database
once for all the entries that change it: with a thousand at a time, twice as many pages were written."""
_OLD_S = 60.0
"""How old the lock file of a dead writer must be to be deleted: nobody is about to lock it."""
_GAP = 10_000
"""How many numbers are tried behind the last row that could be read of a damaged segment."""

MOST_BYTES = 32 * 2**20
"""How many bytes of entries are read at a time, if they are several."""
_AGAIN_S = 5.0
"""How long a damaged segment that is still written is left alone."""
_UNREADABLE_S = 10.0
"""After how long what the disk does not give counts as damage."""
_SINGLY_S = 10.0
"""How long a damaged segment is searched for more at a time."""

_COUNTED_BYTES = 8 * 2**20
"""Up to how many bytes of entries are looked through to tell exchanges from other entries."""
_EXCHANGED = Exchanged.__struct_config__.tag


class _Kind(msgspec.Struct, array_like=True, frozen=True):
    """What all entries begin with."""

    kind: str


_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_kinds = msgspec.msgpack.Decoder(list[_Kind]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a folder has that no store has.

    Attributes:
        exchanges: How many exchanges; about, if much waits. It may be 0, as counts of recorders wait to be filed as well.
        bytes: How much disk the journal takes.
        oldest_us: When the first exchange of them was received, in Unix microseconds; None if it cannot be told.
    """

    exchanges: int
    bytes: int
    oldest_us: int | None


class Newer(Exception):
    """A segment was written by a newer version."""


class Unreadable(OSError):
    """The disk does not give what is in a segment."""


class Segment:
    """A segment that is being read.

    Attributes:
        path: The file.
        name: The parts of its name.
        about: Who wrote it.
        is_final: Whether nothing will be added to it, as of the last `Folder.look`.
        at: Number of the last entry that was read; set it back to an earlier value to read again.
        has_more: Whether there were more entries than the last `more` returned.
        size: How many bytes these were.
        damage: What could not be read, as text; None if all could, as far as it has been read.
        is_given_up: Whether what the disk does not give counts as damage, and is passed over.
    """

    def __init__(self, path: Path, name: segments.Name, *, is_given_up: bool = False) -> None:
        """Open a segment.

        Raises:
            Newer: It must be left alone.
            Unreadable: The disk does not give it; not if it is given up.
            OSError: It cannot be read at the moment.
        """
        self.path = path
        self.name = name
        self.is_final = False
        self.at = 0
        self.has_more = False
        self.size = 0
        self.damage: str | None = None
        self.is_given_up = is_given_up
        self._missing: dict[int, int] = {}
        self._again_at_s = 0.0
        self._db: sqlite3.Connection | None = None
        try:
            self._db = _open(path)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                self.close()
        except sqlite3.Error as e:
            self.close()
            self._raise_if_passing(e)
            self._cannot_be_read(str(e))
            return
        if self._db is None:
            raise Newer
        try:
            self.about = msgspec.json.decode(self._db.execute("SELECT x FROM about").fetchone()[0], type=About)
        except sqlite3.Error as e:
            self.close()
            self._raise_if_passing(e)
            self._cannot_be_read(str(e))
        except Exception as e:  # noqa: BLE001  # no row, or none that is JSON, or whatever else
            self.close()
            self._cannot_be_read(str(e))

    def _cannot_be_read(self, why: str) -> None:
        self.about = About(run=self.name.run, worker=self.name.worker, started_us=0, program="?", engine="?")
        self.damage = f"nothing in it can be read: {why}"

    def more(self, limit: int = MOST) -> list[tuple[int, Entry]]:
        """Return the entries after `at` with their numbers, from 1 in each segment, and move `at`.

        Entries that were committed together are returned together, so there may be up to 1,000 more than ``limit``.

        Returns:
            An empty list if there are no more; if the segment was final before, there will be none.

        Raises:
            Unreadable: The disk does not give the next entry; not if the segment is given up.
            OSError: The segment cannot be read at the moment, whatever is in it.
        """
        if self._db is None or (time.monotonic() < self._again_at_s and not self.is_final):
            return []
        found: list[tuple[int, Entry]] = []
        self.size = 0
        self.has_more = False
        try:
            with closing(self._db.execute("SELECT n, crc, x FROM entries WHERE n > ? ORDER BY n", (self.at,))) as rows:
                for n, crc, x in rows:
                    self._add(found, n, crc, x)
                    if len(found) >= limit or self.size >= MOST_BYTES:
                        self.has_more = rows.fetchone() is not None
                        break
        except sqlite3.Error as e:
            if found:
                self.has_more = True
                return found
            self._raise_if_passing(e)
            self._read_singly(found, limit, str(e))
        return found

    def _add(self, found: list[tuple[int, Entry]], n: int, crc: int, x: bytes) -> None:
        """Take a row apart, and move `at` behind it."""
        entries: list[Entry] = []
        why = "rows are missing"
        try:
            if zlib.crc32(x) == crc:
                entries = _entries(x)
            else:
                why = "they have been changed"
        except Exception as e:  # noqa: BLE001  # whatever is wrong with it, the others are read
            why = str(e)
        if (missing := n - len(entries) - self.at) > 0:
            self._missing[n] = missing
            self.damage = f"{sum(self._missing.values())} entries cannot be read: {why}"
        found.extend(enumerate(entries, n - len(entries) + 1))
        self.size += len(x)
        self.at = n

    def _read_singly(self, found: list[tuple[int, Entry]], limit: int, why: str) -> None:
        """Read one row after another, around what is damaged."""
        assert self._db is not None
        self.has_more = True  # as far as can be told
        self.damage = self.damage or f"some entries cannot be read: {why}"
        n = self.at
        until_s = time.monotonic() + _SINGLY_S  # a disk may try for seconds each time
        while len(found) < limit and n < self.at + _GAP and time.monotonic() < until_s:
            n += 1
            with suppress(sqlite3.Error):
                if (row := self._db.execute("SELECT n, crc, x FROM entries WHERE n = ?", (n,)).fetchone()) is not None:
                    self._add(found, *row)
        if not found:
            self._again_at_s = time.monotonic() + _AGAIN_S

    def _raise_if_passing(self, error: sqlite3.Error) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_IOERR_SHORT_READ:
            return
        if code & 0xFF in _PASSING:
            raise OSError(f"{self.path}: {error}") from error
        if code & 0xFF == sqlite3.SQLITE_IOERR and not self.is_given_up:
            raise Unreadable(f"{self.path}: {error}") from error

    def look_behind(self) -> None:
        """Note as damage what the log of a dead writer has behind a place where SQLite stopped reading it.

        The last commit may be there in part, if the power was lost before it was on the disk: nobody was answered for it.
        """
        self.close()  # closing a file that SQLite has open would take its locks away
        try:
            commits = _commits_behind(self.path)
        except OSError:
            return
        if commits > 1:
            more = f"{commits} commits are behind a damaged place of its log"
            self.damage = f"{self.damage}; {more}" if self.damage else more

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process of a recorder run, and what it wrote.

    Attributes:
        is_alive: Whether it may write more.
        segments: In the order in which they were written; all but the last are final, and the last is as well if the
            writer is dead. Never empty.
    """

    run: str
    worker: int
    is_alive: bool
    segments: list[Segment]


class Folder:
    """The journal of a store, for the one process that files what is in it.

    Attributes:
        is_whole: Whether the last `look` found no segment that the disk does not give, and that is not given up yet.
        last_words: Files of dead writers with last words, as of the last `look`; see `proxy_addon.journal.last_words`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole = True
        self.last_words: list[Path] = []
        self._open: dict[Path, Segment] = {}
        self._newer: set[segments.Name] = set()
        self._told: set[str] = set()
        self._unreadable_since_s: dict[Path, float] = {}
        for each in path.glob(f"*{folders.FILED}"):  # this process begins at the start of each segment
            each.unlink(missing_ok=True)

    def look(self) -> list[Writer]:
        """Return the writers that have segments, in the order in which their runs began; tell of what is odd, once.

        Segments stay the same objects from look to look. Those that a newer version wrote are left out. What dead writers
        have left unfinished is deleted.
        """
        self.is_whole = True
        self.last_words = []
        files = {path.name: path for path in self.path.iterdir()}
        names: dict[str, list[segments.Name]] = {}
        others: list[Path] = []
        for text, path in files.items():
            if (name := segments.Name.parse(text)) is not None:
                names.setdefault(name.writer, []).append(name)
            else:
                others.append(path)
        for path in self._open.keys() - set(files.values()):
            self._open.pop(path).close()
        found = [
            writer for each, own in names.items() if (writer := self._writer(sorted(own), is_alive(self.path, each)))
        ]
        self._clear_up(others, files, set(names))
        return sorted(found, key=lambda each: (each.segments[0].about.started_us, each.run, each.worker))

    def _writer(self, names: list[segments.Name], is_alive: bool) -> Writer | None:
        own: list[Segment] = []
        for name in names:
            if name in self._newer:
                continue
            try:
                segment = self._segment(name)
            except Newer:
                self._newer.add(name)
                self._tell(name, f"the journal's segment {name} was written by a newer version; it is left alone")
                continue
            except OSError as e:
                path = self.path / str(name)
                if isinstance(e, Unreadable):
                    self.is_whole = False
                    self.cannot_read(path, e)
                elif path.exists():  # a writer deletes one that it could not write
                    self._tell(name, f"the journal's segment {name} cannot be read for now: {e}")
                break
            segment.is_final = name != names[-1] or not is_alive
            own.append(segment)
        return Writer(run=names[0].run, worker=names[0].worker, is_alive=is_alive, segments=own) if own else None

    def _segment(self, name: segments.Name) -> Segment:
        path = self.path / str(name)
        if path not in self._open:
            self._open[path] = Segment(path, name, is_given_up=self._is_given_up(path))
        segment = self._open[path]
        segment.is_given_up = segment.is_given_up or self._is_given_up(path)
        return segment

    def cannot_read(self, path: Path, error: Unreadable) -> None:
        """Take note of a segment that cannot be read, and tell it; after a while, what is damaged in it is passed over."""
        self._unreadable_since_s.setdefault(path, time.monotonic())
        self._tell(path, f"the journal's segment {path.name} cannot be read; others are filed meanwhile: {error}")

    def _is_given_up(self, path: Path) -> bool:
        since_s = self._unreadable_since_s.get(path)
        return since_s is not None and time.monotonic() - since_s >= _UNREADABLE_S

    def _clear_up(self, others: list[Path], files: dict[str, Path], with_segments: set[str]) -> None:
        """Delete what dead writers have left beside segments; tell of what is nobody's."""
        for path in others:
            match = _OF_WRITER.fullmatch(path.name)
            if match is None:
                if not folders.is_known(path.name):
                    self._tell(path.name, f"{path} is no part of the journal; it is left alone")
                continue
            writer, segment = match[1], match[2]
            if path.name.endswith(folders.LAST) and last_words.is_said(path):
                if not is_alive(self.path, writer):
                    self.last_words.append(path)
                continue
            if writer in with_segments if segment is None else f"{writer}{segment}" in files:
                continue
            with suppress(OSError):
                if path.name.endswith(folders.ALIVE) and time.time() - path.stat().st_mtime < _OLD_S:
                    continue
                if not is_alive(self.path, writer):
                    path.unlink(missing_ok=True)

    def end(self) -> dict[Path, int]:
        """Return how many entries each segment has now, for `is_past`."""
        return {self.path / str(name): number for name, number in _unfiled(self.path, _last)}

    def is_past(self, end: Mapping[Path, int]) -> bool:
        """Whether, as of the last `look`, all has been read that there was when `end` was called."""
        return all(path not in self._open or self._open[path].at >= number for path, number in end.items())

    def _tell(self, about: object, text: str) -> None:
        if str(about) not in self._told:
            self._told.add(str(about))
            logger.warning(text)

    def filed(self, segment: Segment) -> None:
        """Note for `waiting` that all entries up to `Segment.at` are in the store."""
        if segment.name.is_of_refused:
            return  # later ones are filed already
        text = f"{segment.name.number:06d} {segment.at:012d}\n"  # of one length, so that it is never read in part
        path = self.path / f"{segment.name.writer}{folders.FILED}"
        with suppress(OSError):  # only what is told about the journal depends on it
            file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)

    def remove(self, segment: Segment) -> None:
        """Delete a final segment whose entries are durable in the store; set it aside, and tell so, if it is damaged.

        Afterwards, `Segment.damage` is complete.
        """
        segment.close()
        if not is_alive(self.path, segment.name.writer):
            segment.look_behind()
        self._open.pop(segment.path, None)
        self._unreadable_since_s.pop(segment.path, None)
        if segment.damage is None:
            segments.delete(segment.path)
            return
        size = segment.path.stat().st_size
        log = segments.beside(segment.path, segments.LOG)
        aside = folders.aside(self.path)
        if log.exists():
            size += log.stat().st_size
            log.replace(aside / log.name)
        segment.path.replace(aside / segment.path.name)
        segments.delete(segment.path)
        logger.error(
            f"the journal's segment {segment.name} is damaged: {segment.damage}; what can be read of it is filed, "
            f"and its {size} bytes are in {aside}"
        )

    def close(self) -> None:
        """Close all segments."""
        for segment in self._open.values():
            segment.close()
        self._open.clear()


_OF_WRITER = re.compile(r"([^.]+\.\d{3,})(?:\.alive|\.filed|\.last|(\.\d{6,}\.tape)(?:-wal|-shm|\.new(?:-.+)?))")


def is_alive(folder: Path, writer: str) -> bool:
    """Whether a writer holds its lock."""
    path = folder / f"{writer}{folders.ALIVE}"
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def waiting(folder: Path) -> Waiting | None:
    """Return what waits in a folder, without changing anything; None if nothing does or there is no folder."""
    exchanges = size = 0
    oldest_us = None
    is_empty = True
    for name, (number, first) in _unfiled(folder, _number_and_first):
        if not first:
            continue
        path = folder / str(name)
        is_empty = False
        exchanges += number
        size += sum(each.stat().st_size for each in (path, segments.beside(path, segments.LOG)) if each.exists())
        received_us = next((each.received_us for each in first if isinstance(each, Exchanged)), None)
        if received_us is not None:
            oldest_us = min(received_us, oldest_us or received_us)
    return None if is_empty else Waiting(exchanges=exchanges, bytes=size, oldest_us=oldest_us)


@dataclass(frozen=True, slots=True)
class Held:
    """What waits of a run.

    Attributes:
        exchanges: How many exchanges.
        first: Ids of the first of each process. They may be in the store all the same, if ingest was killed before it could
            note that it has filed them; later ones are not.
    """

    exchanges: int = 0
    first: tuple[str, ...] = ()


def held_of(folder: Path) -> dict[str, Held]:
    """Return what waits in a folder of each run, by its id, without changing anything.

    Unlike `waiting`, this reads all that waits.
    """
    found: dict[str, Held] = {}
    left: dict[str, int] = {}
    for name, ids in _unfiled(folder, _ids):
        before = found.get(name.run, Held())
        first = ids[: left.get(name.writer, 2 * MOST)]
        left[name.writer] = left.get(name.writer, 2 * MOST) - len(first)
        found[name.run] = Held(before.exchanges + len(ids), before.first + tuple(first))
    return {run: held for run, held in found.items() if held.exchanges}


def told_in(folder: Path) -> dict[tuple[str, int], Counted]:
    """Return the last counts of processes, by run and number, that end what waits of them; changes nothing.

    A process that ended in good order has told its counts last.
    """
    found: dict[tuple[str, int], Counted] = {}
    for name, last in _unfiled(folder, _last_entry):
        found.pop((name.run, name.worker), None)
        if isinstance(last, Counted):
            found[name.run, name.worker] = last
    for path in folder.glob(f"*{folders.LAST}"):
        with suppress(OSError, ValueError):
            about, entries = last_words.said_in(path)
            found.update(((about.run, about.worker), each) for each in entries if isinstance(each, Counted))
    return found


def living(folder: Path) -> set[str]:
    """Return the ids of the runs of which a process may still write into a folder, without changing anything."""
    writers = (path.name.removesuffix(folders.ALIVE) for path in folder.glob(f"*{folders.ALIVE}"))
    return {writer.partition(".")[0] for writer in writers if is_alive(folder, writer)}


def _unfiled[T](folder: Path, look: Callable[[sqlite3.Connection, int], T]) -> Iterator[tuple[segments.Name, T]]:
    """Yield what is found in segments that may have entries that are not filed; those that cannot be read are left out.

    Args:
        look: Is given a segment, and the number of its last entry that is filed.
    """
    filed: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob(f"*{segments.SUFFIX}")):
        if (name := segments.Name.parse(path.name)) is None:
            continue
        if name.writer not in filed:
            filed[name.writer] = _filed(folder, name.writer)
        number, at = filed[name.writer]
        if name.number < number:
            continue
        with suppress(sqlite3.Error, OSError, msgspec.MsgspecError, TypeError, ValueError), closing(_open(path)) as db:
            found = look(db, at if name.number == number else 0)
            yield name, found


def _last(db: sqlite3.Connection, _: int) -> int:
    return db.execute("SELECT max(n) FROM entries").fetchone()[0] or 0


def _last_entry(db: sqlite3.Connection, after: int) -> Entry | None:
    row = db.execute("SELECT x FROM entries WHERE n > ? ORDER BY n DESC LIMIT 1", (after,)).fetchone()
    return None if row is None else _entries(row[0])[-1]


def _number_and_first(db: sqlite3.Connection, after: int) -> tuple[int, list[Entry]]:
    """Return how many exchanges there are, and the entries that were committed first; none if there are none."""
    last = _last(db, after)
    if last <= after:
        return 0, []
    row = db.execute("SELECT x FROM entries WHERE n > ? ORDER BY n LIMIT 1", (after,)).fetchone()
    first = _entries(row[0])
    (size,) = db.execute("SELECT sum(length(x)) FROM entries WHERE n > ?", (after,)).fetchone()
    if size > _COUNTED_BYTES:
        return last - after, first  # there is one count a second among them at most
    rows = db.execute("SELECT x FROM entries WHERE n > ?", (after,))
    return sum(each.kind == _EXCHANGED for (x,) in rows for each in _kinds(x)), first


def _ids(db: sqlite3.Connection, after: int) -> list[str]:
    rows = db.execute("SELECT x FROM entries WHERE n > ? ORDER BY n", (after,))
    return [entry.id for (x,) in rows for entry in _entries(x) if isinstance(entry, Exchanged)]


def _filed(folder: Path, writer: str) -> tuple[int, int]:
    """Return the number of the segment and of the entry in it up to which a writer's entries are filed."""
    with suppress(OSError, ValueError):
        number, at = (folder / f"{writer}{folders.FILED}").read_text(encoding="ascii").split()
        return int(number), int(at)
    return 0, 0


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)  # noqa: FBT003  # positional in the library
    return db


_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
}
"""Errors that say nothing about what is in a file."""


_LOG_HEAD = struct.Struct(">16x8s8x")
_FRAME_HEAD = struct.Struct(">4xI8s8x")


def _commits_behind(path: Path) -> int:
    """Return how many commits a log has behind the last one that SQLite found whole.

    Source: https://www.sqlite.org/walformat.html, "The WAL File Format" and "The WAL-Index File Format".
    """
    index, log = segments.beside(path, segments.INDEX), segments.beside(path, segments.LOG)
    with index.open("rb") as file:
        file.seek(16)
        frames = int.from_bytes(file.read(4), sys.byteorder)
    with log.open("rb") as file:
        (salts,) = _LOG_HEAD.unpack(file.read(_LOG_HEAD.size).ljust(_LOG_HEAD.size, b"\0"))
        commits = 0
        at = _LOG_HEAD.size + frames * segments.FRAME_BYTES
        while file.seek(at) and len(head := file.read(_FRAME_HEAD.size)) == _FRAME_HEAD.size:
            is_commit, own = _FRAME_HEAD.unpack(head)
            if own == salts != bytes(8) and is_commit:
                commits += 1
            at += segments.FRAME_BYTES
    return commits
