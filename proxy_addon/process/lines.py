"""Lines for a stream that nobody may be reading.

A pipe whose reader sleeps, or a terminal that was stopped with Ctrl-S, blocks its writer for an unlimited time. So a
separate thread writes lines from a bounded queue. Lines that do not fit are counted, and the count is written once
there is room again.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

MOST_CHARACTERS = 1_000_000
"""How many characters may wait: about 10,000 lines, or a busy quarter of an hour."""


class Lines:
    """A bounded queue of lines, and the thread that writes them to a stream."""

    def __init__(self, stream: TextIO, missed: Callable[[int], str], *, most: int = MOST_CHARACTERS) -> None:
        """Start the thread.

        Args:
            stream: Written to by its file descriptor, so that no text stays in a buffer and no lock is held.
            missed: Returns the line that says how many lines were left out.
            most: How many characters may wait.
        """
        stream.flush()
        self._file = stream.fileno()
        self._encoding = stream.encoding
        self._missed = missed
        self._most = most
        self._waiting: deque[tuple[str, int]] = deque()
        """Each line, with how many lines are missing if it cannot be written: 1, or the number that it reports."""
        self._size = 0
        self._left_out = 0
        self._can_write = True
        self._closing = False
        self._changed = threading.Condition()
        # A daemon, because it may be waiting for a reader when the process ends.
        self._thread = threading.Thread(target=self._run, name="sessiontape-lines", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queue a line, given without its line end. Never blocks."""
        with self._changed:
            # After lines were left out, wait until the queue is half empty, or every other line would report that.
            room = self._most // 2 if self._left_out else self._most
            if self._closing or (self._waiting and self._size + len(line) > room):
                self._left_out += 1
                return
            self._tell_of_missed()
            self._append(line, 1)

    def flush(self, timeout_s: float) -> None:
        """Wait until the waiting lines are written, for at most ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write the waiting lines for at most ``timeout_s``. Lines that are put afterwards are left out."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _append(self, line: str, stands_for: int) -> None:
        self._waiting.append((line, stands_for))
        self._size += len(line)
        self._changed.notify()

    def _tell_of_missed(self) -> None:
        if self._left_out:
            self._append(self._missed(self._left_out), self._left_out)
            self._left_out = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and self._can_write:
                    self._tell_of_missed()
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                line, stands_for = self._waiting[0]
            written = self._write(line)
            with self._changed:
                self._waiting.popleft()
                self._size -= len(line)
                self._can_write = written
                self._changed.notify_all()
                if not written:
                    self._left_out += stands_for

    def _write(self, line: str) -> bool:
        rest = f"{line}\n".encode(self._encoding, "backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:  # another process that shares the stream made it non-blocking
                select.select([], [self._file], [])
            except OSError:  # the reader has gone, or the disk is full; the next line tries again
                return False
        return True


__all__ = ["Lines"]
