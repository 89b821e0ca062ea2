"""Find what a command has started and left running, and end it. On Linux only; elsewhere nothing is found."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_PR_SET_CHILD_SUBREAPER = 36
_STEPS: tuple[tuple[int | None, float], ...] = ((None, 1.0), (signal.SIGTERM, 2.0))
"""Signals that are sent, and how long is waited after each in s: at first, processes may end by themselves."""
_KILLED_S = 2.0
"""How long killed processes may take to be gone; those in the kernel's hands may stay, and nobody waits for them."""


class Descendants:
    """The processes that are started in a block, by us or by one another, whoever their parents are by then.

    Within the block, processes that lose their parent become our children (``PR_SET_CHILD_SUBREAPER``), so that none of
    them can leave: not with a session of its own, nor with another environment. Only the main thread may use this.
    """

    def __init__(self) -> None:
        self._before: set[int] = set()

    @contextmanager
    def adopted(self) -> Iterator[None]:
        """Adopt them until the block ends."""
        self._before = {pid for pid, _ in _below(os.getpid())}
        handler = signal.getsignal(signal.SIGCHLD) if sys.platform == "linux" else None
        _adopt(does=True)
        try:
            yield
        finally:
            _adopt(does=False)
            if handler is not None:
                signal.signal(signal.SIGCHLD, handler)

    def reap(self, awaited: int) -> None:
        """Note at once from now on when an adopted process has ended: who waits until it is gone would wait forever.

        Args:
            awaited: The child that somebody else waits for.
        """
        if sys.platform != "linux":
            return
        spared = self._before | {awaited}
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT

        def reap(*_: int | FrameType | None) -> None:
            with suppress(ChildProcessError):
                while (ended := os.waitid(os.P_ALL, 0, options)) is not None and ended.si_pid not in spared:
                    os.waitpid(ended.si_pid, os.WNOHANG)

        signal.signal(signal.SIGCHLD, reap)
        reap()  # those that ended before

    def running(self) -> list[int]:
        """Return the IDs of those that run."""
        return [pid for pid, has_ended in _below(os.getpid(), self._before) if not has_ended]


def end(running: Callable[[], list[int]], *, at_once: bool = False) -> None:
    """End processes: by SIGTERM if they do not end by themselves, and if that does not help, by SIGKILL.

    Args:
        running: Returns the IDs of those that run.
        at_once: Whether to begin with SIGKILL.
    """
    for number, wait_s in () if at_once else _STEPS:
        found = running()
        if number is not None:
            _send(number, found)
        _await_end(found, wait_s)
    until_s = time.monotonic() + _KILLED_S
    while (found := running()) and time.monotonic() < until_s:  # they may have started others meanwhile
        _send(signal.SIGKILL, found)
        _await_end(found, until_s - time.monotonic())


def end_marked(variable: str, value: str) -> None:
    """End the processes with this variable in their environment, which each inherits unless it is given another."""
    mark = f"{variable}={value}\0".encode()
    end(lambda: _marked(mark))


def _adopt(*, does: bool) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(does), 0, 0, 0)


def _below(ancestor: int, spared: Iterable[int] = ()) -> list[tuple[int, bool]]:
    """Return the processes below one, and whether each has ended, without those to be spared and what is below them."""
    children: dict[int, list[tuple[int, bool]]] = {}
    for folder in _processes():
        with suppress(OSError):  # it has ended
            # The name of the program, in parentheses, may have any characters.
            state, parent, *_ = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()
            children.setdefault(int(parent), []).append((int(folder.name), state in "ZX"))
    found: list[tuple[int, bool]] = []
    waiting = [ancestor]
    while waiting:
        each = [one for one in children.get(waiting.pop(), ()) if one[0] not in spared]
        found += each
        waiting += [pid for pid, _ in each]
    return found


def _marked(mark: bytes) -> list[int]:
    found = []
    for folder in _processes():
        with suppress(OSError):  # it has ended, or belongs to another user
            if mark in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*") if sys.platform == "linux" else iter(())


def _send(number: int, processes: Iterable[int]) -> None:
    for each in processes:
        with suppress(OSError):
            os.kill(each, number)


def _await_end(processes: Iterable[int], timeout_s: float) -> None:
    until_s = time.monotonic() + timeout_s
    for each in processes:
        with suppress(OSError, AttributeError):  # it has ended; or there are no such descriptors here
            file = os.pidfd_open(each)
            try:
                select.select([file], [], [], max(0.0, until_s - time.monotonic()))
            finally:
                os.close(file)
