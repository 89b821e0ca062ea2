"""Many connections at a time: more than this process may open files for, more than it should remember.

`raise_open_files` is for the start of the process. `Crowds` is an addon of mitmproxy that keeps devices and what is beside
them, such as the journal, from running out of files.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mitmproxy.connection import Client
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from proxy_addon.process import logs

if sys.platform != "win32":
    import resource

logger = logs.logger(__name__)

MOST_FILES = 65_536
"""How many files a recorder may have open at most, if the system allows that many; a connection takes about 40 KiB."""
RESERVED_FILES = 128
"""How many of them are no connections: the journal, what ingest is told through, the log, mitmproxy's own."""
EBB = 200
"""When so many fewer connections are open than before, the memory of those that have ended is given back to the system."""
QUIET_S = 1.0
"""How long after the last of them: what 2,000 connections leave behind takes 0.1 s, in which nothing else happens."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


def raise_open_files(most: int = MOST_FILES) -> int | None:
    """Allow this process as many open files as the system lets it have; return how many. None where that is not known."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has further limits
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


class Crowds:
    """The addon that counts connections.

    Before files run out, idle connections are closed to make room for new ones; if there are none, new ones are refused.
    Both are told once, and once that it is over.
    """

    def __init__(self, files: int | None, make_room: Callable[[], int]) -> None:
        """Begin with no connection.

        Args:
            files: How many files this process may open; None for any number.
            make_room: Begins to close some idle connections, and returns how many.
        """
        self._most = max(16, files - RESERVED_FILES) if files is not None else None
        self._make_room = make_room
        self._open = 0
        self._leaving = 0
        self._peak = 0
        self._trimming: asyncio.TimerHandle | None = None
        self._is_full = False
        self._refused = 0
        self._previous: Handler | None = None

    def running(self) -> None:
        """Take the errors of the event loop, among which are those of connections that cannot be accepted."""
        gc.freeze()  # what is there now stays; to look through it whenever garbage is collected takes 100 ms
        loop = asyncio.get_running_loop()
        self._previous = loop.get_exception_handler()
        loop.set_exception_handler(self._failed)

    def client_connected(self, client: Client) -> None:
        """Count a device's connection, or refuse it if there is no room."""
        self._begin()
        if self._most is None or self._open - self._leaving <= self._most:
            return
        leaving = self._make_room()
        self._leaving += leaving
        if not leaving:
            self._refused += 1
            client.error = "no room for another connection"
        self._tell()

    def client_disconnected(self, client: Client) -> None:  # mitmproxy's signature
        """Count it as ended."""
        self._leaving = max(0, self._leaving - 1)
        self._end()

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Count a connection to upstream."""
        self._begin()

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """Count it as ended."""
        self._end()

    def _begin(self) -> None:
        self._open += 1
        self._peak = max(self._peak, self._open)

    def _end(self) -> None:
        self._open -= 1
        if self._is_full and self._most is not None and self._open < self._most * 3 // 4:
            self._is_full = False
            logger.warning(f"there is room for connections again; {self._refused} were refused meanwhile")
            self._refused = 0
        if self._peak - self._open >= EBB:
            self._peak = self._open
            if self._trimming is not None:
                self._trimming.cancel()
            self._trimming = asyncio.get_running_loop().call_later(QUIET_S, give_memory_back)

    def _tell(self) -> None:
        if self._is_full:
            return
        self._is_full = True
        logger.warning(
            f"no files are left for further connections; open: {self._open}. Idle ones are closed for new ones, and if none is "
            "idle, new ones are refused. Let this process open more files: 'ulimit -n', or LimitNOFILE= of systemd"
        )

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell once that connections cannot be accepted; asyncio tries again after a second."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED and "accept" in str(context.get("message")):
            self._leaving += self._make_room()
            self._tell()
        elif self._previous is not None:
            self._previous(loop, context)
        else:
            loop.default_exception_handler(context)


def give_memory_back() -> None:
    """Give the system what was freed: the C library keeps it otherwise."""
    gc.collect()
    trim = getattr(_LIBRARY, "malloc_trim", None)  # only in glibc
    if trim is not None:
        trim(0)


_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None
