"""Lines for a stream that nobody may be reading: pipes of the system, with and without a reader."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from proxy_addon.process.lines import Lines


class Reader:
    """The end of a pipe to read from; nobody reads unless asked to."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._text = ""

    def lines(self, until: str = "") -> list[str]:
        """Return all lines so far, once there is one with this in it."""
        while True:
            if select.select([self._file], [], [], 0 if until in self._text else 10)[0]:
                self._text += os.read(self._file, 65536).decode()
            elif until in self._text:
                return self._text.splitlines()
            else:
                raise AssertionError(self._text[-200:])


@contextmanager
def pipe() -> Iterator[tuple[Reader, TextIO]]:
    """The end to read from, and the stream to write to."""
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        try:
            yield Reader(read), stream
        finally:
            os.close(read)


def missed(count: int) -> str:
    return f"{count} left out"


def test_lines_come_in_their_order_and_whole():
    with pipe() as (read, stream):
        lines = Lines(stream, missed)
        for number in range(100):
            lines.put(f"line {number} with ü and \ud800")
        lines.close(10)
        assert read.lines() == [f"line {number} with ü and \\ud800" for number in range(100)]


def test_a_reader_that_stops_blocks_nobody_and_later_reads_how_much_was_left_out():
    with pipe() as (read, stream):
        lines = Lines(stream, missed, most=1_000_000)
        sent = 20_000
        for number in range(sent):
            lines.put(f"{number:0100}")
        lines.close(0.1)  # the pipe is full: this does not wait for long
        got = read.lines(until="left out")
    *written, last = got
    assert written == [f"{number:0100}" for number in range(len(written))]
    assert last == f"{sent - len(written)} left out"
    assert 10_000 <= len(written) < sent


def test_once_there_is_room_again_the_gap_is_reported_in_its_place():
    with pipe() as (read, stream):
        os.set_blocking(stream.fileno(), False)  # the standard library's signature
        with suppress(BlockingIOError):
            while True:
                os.write(stream.fileno(), b"before\n")
        lines = Lines(stream, missed, most=100_000)
        for number in range(2_000):
            lines.put(f"{number:0100}")
        read.lines(until=f"{600:0100}")  # more than half of what may wait has been read
        lines.put("after")
        got = [line for line in read.lines(until="after") if line != "before"]
    assert got == [*(f"{number:0100}" for number in range(1000)), "1000 left out", "after"]


def test_a_reader_that_is_gone_is_no_trouble():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        lines = Lines(stream, missed)
        lines.put("a")
        lines.put("b")
        lines.close(10)
        lines.put("c")


def test_a_line_larger_than_all_that_may_wait_is_written_all_the_same():
    with pipe() as (read, stream):
        lines = Lines(stream, missed, most=10)
        lines.put("x" * 1000)
        lines.close(10)
        assert read.lines() == ["x" * 1000]
