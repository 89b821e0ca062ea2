"""The segments of one writer: one after another, each in time for the one before it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from proxy_addon.journal import segments
from proxy_addon.journal.entries import About, Entry, encoded
from proxy_addon.journal.space import space_of
from proxy_addon.process import logs

logger = logs.logger(__name__)

LOOK_AT_DISK_S = 10.0
"""How often the free space is looked at."""
_BATCH_BYTES = 16 * 2**20
"""How much one commit has at most, if it has several entries."""
_FIRST = 32
"""The first segment is smaller by this factor, and without zeros, so that a recorder is up quickly."""
_ROOM = 4
"""Zeros are written only if so many segments would find room."""


class Rotation:
    """Writes entries to a segment, and begins the next one when it is full or has failed."""

    def __init__(self, folder: Path, about: About, *, durable: bool, segment_bytes: int) -> None:
        self._folder = folder
        self._about = about
        self._durable = durable
        self._segment_bytes = segment_bytes
        self._limit = segment_bytes // _FIRST
        self._current: segments.Growing | None = None
        self._number = max((name.number for name in self._own_names()), default=0)
        self._next: _Next | None = None
        self._last: Path | None = None
        self._removed: list[tuple[int, bytes]] = []
        self._look_at_s = 0.0
        self._is_low = False

    def write(self, entries: Sequence[Entry], committed: Callable[[int], object] = lambda _: None) -> None:
        """Commit entries; if a segment fails, in another one.

        Args:
            committed: Called after each commit with the number of entries in it: many bytes take several commits, of which
                one may fail after others.

        Raises:
            OSError: Those of which ``committed`` was not told are not committed: the disk is full or cannot be written.
            sqlite3.Error: Likewise.
            ValueError: They cannot be, wherever it is tried.
        """
        x = encoded(entries)
        if len(x) > _BATCH_BYTES and len(entries) > 1:
            half = len(entries) // 2
            self.write(entries[:half], committed)
            self.write(entries[half:], committed)
            return
        self._write(len(entries), x)
        committed(len(entries))

    def _write(self, count: int, x: bytes) -> None:
        current = self._current
        if current is not None and not current.path.exists():
            self._rescue(current)
            current = None
        if current is not None:
            if current.used >= self._limit and (self._next is None or self._next.is_over):
                current = self._rotate(current)
            try:
                self._append(current, count, x)
            except (OSError, sqlite3.Error) as e:
                self._give_up(current, e)
            else:
                if self._next is None and current.used > self._limit // 2:
                    self._next = _Next(
                        self._new_path(), self._about, durable=self._durable, log_bytes=self._log_bytes()
                    )
                return
        current = self._current = self._begin()
        try:
            self._append(current, count, x)
        except (OSError, sqlite3.Error) as e:
            self._give_up(current, e)
            raise

    def _append(self, segment: segments.Growing, count: int, x: bytes) -> None:
        try:
            segment.append(count, x)
        except (sqlite3.DataError, OverflowError) as e:  # a blob may have a gigabyte
            raise ValueError(str(e)) from e

    def _rotate(self, current: segments.Growing) -> segments.Growing:
        """Begin the next segment; go on with the current one while there is no room for another."""
        try:
            following = self._begin()
        except (OSError, sqlite3.Error) as e:
            if self._current is None:
                raise
            self._limit = current.used + self._segment_bytes // _FIRST
            logger.warning(f"there is no room for the next segment of the journal in {self._folder}: {plain(e)}")
            return current
        self._current = following
        current.close()
        if self._last is not None and self._last.exists():  # ingest is behind
            threading.Thread(target=self._compact, args=(self._last,), daemon=True).start()
        self._last = current.path
        return following

    def _compact(self, path: Path) -> None:
        with suppress(OSError, sqlite3.Error):
            segments.compact(path, durable=self._durable)

    def _give_up(self, segment: segments.Growing, error: Exception) -> None:
        """Leave a segment as it is, as nobody knows what a failed commit has left in it."""
        self._current = None
        with suppress(OSError, sqlite3.Error):
            segment.close()
        with suppress(OSError):
            segments.cut_log(segment.path)  # which fills the disk for as long as anybody has it open
        if segment.count == 0:
            with suppress(OSError):
                segments.delete(segment.path)
        else:
            logger.warning(f"the journal's segment {segment.path.name} is given up: {plain(error)}")

    def _rescue(self, segment: segments.Growing) -> None:
        """Leave a segment whose file somebody has removed; what is in it is written again, in case it was not filed."""
        self._current = None
        try:
            self._removed = segment.rows()
        except (OSError, sqlite3.Error) as e:
            logger.error(f"the journal's segment {segment.path.name} was removed, and cannot be read: {plain(e)}")  # noqa: TRY400
        else:
            logger.warning(f"the journal's segment {segment.path.name} was removed; it is written again")
        segment.close()

    def _begin(self) -> segments.Growing:
        following, self._next = self._next, None
        path = following.take() if following is not None else None
        if path is None:
            path = self._new_path()
            segments.create(path, self._about, durable=self._durable, log_bytes=0)
        try:
            segments.publish(path, durable=self._durable)
            growing = segments.Growing(path, durable=self._durable)
            for count, x in self._removed:
                growing.append(count, x)
            self._removed = []
        except (OSError, sqlite3.Error) as e:
            if self._current is not None and path.exists():
                # Whoever reads may have seen it, takes the one before it for finished, and deletes that.
                self._give_up(self._current, e)
            with suppress(OSError):
                segments.delete(segments.beside(path, segments.NEW))
                segments.delete(path)
            raise
        self._limit = self._segment_bytes if self._last is not None or following is not None else self._limit
        return growing

    def _new_path(self) -> Path:
        self._number += 1
        return self._folder / str(segments.Name(self._about.run, self._about.worker, self._number))

    def _own_names(self) -> list[segments.Name]:
        prefix = f"{segments.writer(self._about.run, self._about.worker)}."
        names = (segments.Name.parse(path.name) for path in self._folder.glob(f"{prefix}*"))
        return [name for name in names if name is not None]

    def _log_bytes(self) -> int:
        if not self._durable or space_of(self._folder).free < _ROOM * self._segment_bytes:
            return 0
        return self._segment_bytes

    def look_at_disk(self) -> None:
        """Warn once when the disk is nearly full, and again after it had recovered. Cheap to call often."""
        now_s = time.monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_AT_DISK_S
        try:
            space = space_of(self._folder)
        except OSError:
            return
        if space.is_low and not self._is_low:
            logger.warning(f"the disk of the journal in {self._folder} is nearly full: {space}")
        self._is_low = space.is_low

    def close(self) -> None:
        """Close the current segment, and delete the one that was made ahead."""
        if self._current is not None:
            self._current.close()
            self._current = None
        if self._next is not None:
            path = self._next.take()
            self._next = None
            if path is not None:
                with suppress(OSError):
                    segments.delete(segments.beside(path, segments.NEW))


class _Next:
    """A segment that is made ahead, in a thread of its own.

    Attributes:
        is_over: Whether `take` need not wait.
    """

    def __init__(self, path: Path, about: About, *, durable: bool, log_bytes: int) -> None:
        self.is_over = False
        self._path = path
        self._is_ready = False

        def create() -> None:
            with suppress(OSError, sqlite3.Error):  # whoever takes it tries it again
                segments.create(path, about, durable=durable, log_bytes=log_bytes)
                self._is_ready = True
            self.is_over = True

        self._thread = threading.Thread(target=create, name="sessiontape-journal-next", daemon=True)
        self._thread.start()

    def take(self) -> Path | None:
        """Wait until it is made, and return its path; None if it could not be."""
        self._thread.join()
        return self._path if self._is_ready else None


def plain(error: BaseException) -> str:
    """Return in plain words why the journal cannot be written."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return {"database or disk is full": "no space left on device"}.get(str(error), str(error))
