"""Find the processes that a test has started, whoever their parent is by now, and wait for their end."""

from __future__ import annotations

import os
import select
import time
import uuid
from contextlib import suppress
from pathlib import Path

_NAME = "SESSIONTAPE_TESTED_BY"
_LONGEST_NAME = 15


def take_mark() -> None:
    """Show the mark in the name of this process, and of those that it forks.

    The system tells with which environment a program was started, which a fork was not.
    """
    if mark := os.environ.get(_NAME):
        Path("/proc/self/comm").write_text(mark[:_LONGEST_NAME])


class Family:
    """The processes that have our mark in their environment or name, which each inherits from its parent."""

    def __init__(self) -> None:
        self.mark = {_NAME: uuid.uuid4().hex}
        self._named = self.mark[_NAME][:_LONGEST_NAME]
        self._found = f"{_NAME}={self.mark[_NAME]}\0".encode()

    def members(self) -> dict[int, str]:
        """Return the command lines of those that run, by process ID."""
        found = {}
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                is_ours = (folder / "comm").read_text().strip() == self._named
                is_ours = is_ours or self._found in (folder / "environ").read_bytes()
                if is_ours and " Z " not in (folder / "stat").read_text():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def survivors(self, within_s: float = 10) -> dict[int, str]:
        """Return those that still run after a while; return at once when there are none."""
        until_s = time.monotonic() + within_s
        while members := self.members():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            with suppress(ProcessLookupError):
                file = os.pidfd_open(next(iter(members)))
                try:
                    select.select([file], [], [], left_s)
                finally:
                    os.close(file)
        return members
