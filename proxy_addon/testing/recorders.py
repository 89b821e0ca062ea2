"""Recording proxies for tests: each a process of its own, which ends with the test or with its caller."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import RecorderError, SessiontapeError
from proxy_addon.recording.options import UPSTREAM_TIMEOUT_S, RecordOptions

READY_S = 30.0
"""How long a recorder may take until it accepts connections."""
STOP_S = 10.0
"""How long it may take to store what is in flight and end; after that it is killed with its connection."""

FILED_S = 10.0
"""How long to wait until what was answered is in the store."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a caller leaves behind if it is killed, for its recorder to clear away.

    Attributes:
        folder: A temporary folder, with the store in it; None if there is none.
        variable: Name of the environment variable that has the recorder's URL in the processes that the caller has
            started; they are ended on Linux.
    """

    folder: Path | None
    variable: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A recorder accepts connections."""

    url: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A recorder has stored something."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A recorder has logged a warning or an error, as a line."""

    line: str


@dataclass(frozen=True, slots=True)
class Over:
    """A recorder has ended in good order."""

    is_complete: bool


class RunningRecorder:
    """A recording proxy in front of an upstream, by default on a free port of this machine; a context manager.

    It writes an exchange down before it passes the answer on, so that what was answered is always among `sessions`.

    Attributes:
        url: Where it listens, such as ``http://127.0.0.1:PORT``; https is spoken on the same port.
        host: The same without the scheme: ``127.0.0.1:PORT``.
        store_url: The store that it records into.
        warnings: What it logged as warnings and errors, one line each.
        is_complete: Whether all exchanges were stored; known when it has ended.
    """

    def __init__(
        self,
        upstream: ServerUrl | str,
        store_url: str,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        name: str | None = None,
        policy: Policy = DEFAULT,
        check: bool = True,
        stored: Callable[[], object] = lambda: None,
        legacy: Legacy | None = None,
    ) -> None:
        """Describe a recorder; entering the context starts it.

        Args:
            upstream: Where it forwards to.
            store_url: The store to record into; created if it is missing.
            listen: Where it listens; port 0 takes a free one.
            name: Name of the recording.
            policy: How strictly to judge while recording.
            check: Whether to judge while recording, so that findings are in the store.
            stored: Called each time something was stored or warned of, from a thread of ours; it must not block.
            legacy: What the recorder clears away if the caller is killed before it has ended the recorder.

        Raises:
            SettingsError: The upstream is not the URL of a server.
        """
        self.url = ""
        self.host = ""
        self.store_url = store_url
        self.warnings: list[str] = []
        self.is_complete = True
        self._options = RecordOptions(
            upstream=upstream if isinstance(upstream, ServerUrl) else parse_server_url(upstream),
            listen=listen,
            modes=(),
            store_url=store_url,
            name=name,
            durability="commit",
            reject_invalid=False,
            check=check,
            policy=policy,
            upstream_timeout_s=UPSTREAM_TIMEOUT_S,
            certificate=None,
            mitmproxy=_authority(),
        )
        self._legacy = legacy
        self._stored = stored
        self._process: Connection | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the recorder, and return it once it accepts connections.

        Raises:
            SessiontapeError: It cannot start; the message says why.
        """
        process = _connect()
        try:
            process.send((self._options, self._legacy))
            self._await_ready(process)
        except BaseException:
            process.close()
            raise
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), name="sessiontape-recorder", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Store what is in flight, and end the recorder."""
        if self._process is None or self._reader is None:
            return
        with suppress(OSError):
            self._process.send(None)
        self._reader.join(STOP_S)
        self._process.close()
        self._process = None

    def sessions(self, since: datetime | None = None) -> list[HeldSession]:
        """Return the sessions recorded so far, oldest first, with all exchanges that were answered.

        A recorder with a name leaves out those of other recordings in the same store.

        Args:
            since: Leave out sessions that began earlier.

        Raises:
            StorageError: The store cannot be read.
        """
        # Imported here because importing the pytest plugin must not load the database library.
        from proxy_addon.journal.awaiting import await_filed  # noqa: PLC0415
        from storage import exchanges, sessions  # noqa: PLC0415
        from storage.engine import hide_password, sqlite_path  # noqa: PLC0415
        from storage.filters import Filters  # noqa: PLC0415
        from storage.opening import reading  # noqa: PLC0415

        await_filed(sqlite_path(self.store_url), hide_password(self.store_url), FILED_S)
        with reading(self.store_url) as db:
            filters = Filters(name=self._options.name, since=since)
            found = list(sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True))
            return [HeldSession(session=each, exchanges=tuple(exchanges.of_session(db, each.id))) for each in found]

    def _await_ready(self, process: Connection) -> None:
        if not process.poll(READY_S):
            raise RecorderError(f"the recorder was not ready within {READY_S:g} s")
        for each in _messages(process):
            match each:
                case Ready(url):
                    self.url, self.host = url, url.partition("//")[2]
                    return
                case Warned(line):
                    self.warnings.append(line)
                case SessiontapeError():
                    raise each
        raise RecorderError("the recorder ended before it was ready")

    def _read(self, process: Connection) -> None:
        is_over = False
        for each in _messages(process):
            match each:
                case Stored():
                    self._stored()
                case Warned(line):
                    self.warnings.append(line)
                    self._stored()
                case Over(is_complete):
                    is_over, self.is_complete = True, is_complete
                case SessiontapeError():
                    self.warnings.append(str(each))
        if not is_over:
            self.is_complete = False


def _messages(process: Connection) -> Iterator[Any]:
    """Yield the messages of a recorder until it has ended."""
    with suppress(OSError, EOFError):
        while True:
            yield process.recv()


@cache
def _authority() -> tuple[str, ...]:
    """Return the options of mitmproxy that say where its CA is.

    It is where other recorders of this user have it, so that devices which trust it trust this one, too. Where that folder
    cannot be made, as for a user without a home, tests get a CA that lasts as long as this process.
    """
    usual = Path(CONF_DIR).expanduser()
    if os.access(next(each for each in (usual, *usual.parents) if each.exists()), os.W_OK | os.X_OK):
        return ()
    folder = tempfile.TemporaryDirectory(prefix="sessiontape-")
    atexit.register(folder.cleanup)
    return (f"confdir={folder.name}",)


CONF_DIR = "~/.mitmproxy"
"""Where mitmproxy has its CA; its own constant is not read, because that would import mitmproxy."""


_BECOME_FORKS = "import gc; gc.disable(); from proxy_addon.testing.forks import main; main()"
"""Nothing becomes garbage during imports; looking for it would take a sixth of their time."""


class _Forks:
    """The process that recorders are forked from (`proxy_addon.testing.forks`)."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            # In a session of its own, so that Ctrl-C on the terminal reaches the caller alone, which ends recorders.
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-P", "-c", _BECOME_FORKS, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self) -> Connection:
        """Return the connection to a new recorder."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._orders, [b"+"], [theirs.fileno()])
        return Connection(ours.detach())

    def end(self) -> None:
        """End the process; recorders go on until their connections are closed."""
        self._orders.close()
        self._process.terminate()  # it may still be importing
        self._process.wait()


_lock = threading.Lock()
_forks: dict[int, _Forks] = {}
"""By process: a fork of the caller must not share its parent's."""


def prepare() -> None:
    """Start to import what recorders need, in a process beside this one, so that the first one is ready sooner.

    Raises:
        RecorderError: This system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise RecorderError("a test can have a recorder only on a system that can fork, such as Linux or macOS")
    with _lock:
        if os.getpid() not in _forks:
            _forks[os.getpid()] = forks = _Forks()
            atexit.register(forks.end)


def _connect() -> Connection:
    prepare()
    try:
        return _forks[os.getpid()].fork()
    except OSError as e:  # that process was killed
        raise RecorderError(f"recorders cannot be started any more: {e.strerror}") from e
