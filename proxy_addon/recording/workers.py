"""``record --workers N``: several processes that share the port and the folder of journals, and one that looks after them.

Each worker carries the traffic of the connections that the system deals out to it, and writes a journal of its own. The
supervisor has the one ingest. It starts a worker again that dies, and adds up their books at the end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from proxy_addon.errors import RecorderError, SessiontapeError
from proxy_addon.journal.entries import About
from proxy_addon.journal.writing import Counts
from proxy_addon.process import logs, signals, threads
from proxy_addon.process.sockets import cannot_listen
from proxy_addon.recording.ending import ENDS_ON_LOSS
from proxy_addon.recording.options import RecordOptions
from proxy_addon.recording.proxy import Listening, Proxy
from proxy_addon.recording.standing import Told

logger = logs.logger(__name__)

READY_S = 30.0
"""How long a worker may take until it accepts connections."""
COUNTED_S = 1.0
"""How often a worker tells its books."""
AGAIN_S = 1.0
"""How long to wait before a worker is started that takes the place of one that died early."""

_BECOME_WORKER = "from proxy_addon.recording.workers import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is told to be.

    Attributes:
        options: As the user gave them, with the port that all workers share.
        folder: Where to write the journal.
    """

    options: RecordOptions
    about: About
    folder: Path


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker accepts connections, at these addresses."""

    listening: list[Listening]


@dataclass(frozen=True, slots=True)
class Said:
    """A worker has a line for the log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """The books of a worker so far, and how it stands."""

    counts: Counts
    standing: Told


class Worker:
    """A worker as the supervisor sees it.

    Attributes:
        counts: Its books, as it last said.
        standing: How it stood then.
    """

    def __init__(self, order: Order, hear: Callable[[Worker, Any], object]) -> None:
        """Start it.

        Args:
            hear: Called with each message that is not about its books, and with None when it has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-P", "-c", _BECOME_WORKER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,  # so that Ctrl-C on the terminal reaches the supervisor alone
            )
        self.number = order.about.worker
        self.counts: Counts | None = None
        self.standing: Told | None = None
        self.began_s = time.monotonic()
        self._connection = Connection(ours.detach())
        self._connection.send(order)
        self._hear = hear
        self._reader = threading.Thread(target=self._read, name=f"sessiontape-worker-{self.number}", daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def tell(self, what: object) -> None:
        """Send it a message, unless it has ended."""
        with suppress(OSError):
            self._connection.send(what)

    def end(self) -> None:
        """Tell it to end in good order."""
        with suppress(OSError):
            self._process.terminate()

    def wait(self, until_s: float) -> None:
        """Wait until it has ended and all that it said is heard; then kill it."""
        try:
            self._process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.error(f"worker {self.number} does not end, and is killed")  # noqa: TRY400  # that is all there is
            self._process.kill()
            self._process.wait()
        self._reader.join(max(0.1, until_s - time.monotonic()))

    def _read(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                said = self._connection.recv()
                if isinstance(said, Counted):
                    self.counts, self.standing = said.counts, said.standing
                self._hear(self, said)
        self._connection.close()
        self._process.wait()
        self._hear(self, None)


class Supervisor:
    """Starts workers, keeps them running, and ends them."""

    def __init__(self, order: Order, number: int, end: Callable[[], object]) -> None:
        """Start none yet.

        Args:
            number: How many workers there are to be.
            end: Called from a thread when all has to end, because a worker lost an exchange and that is not to be.
        """
        self._order = order
        self._wanted = number
        self._end = end
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._started = 0
        self._has_started = False
        self._is_ending = False
        self._heard: dict[int, Any] = {}
        self._changed = threading.Condition()

    def start(self) -> list[Listening]:
        """Start all of them, and return the addresses that they listen on once they accept connections.

        Raises:
            SessiontapeError: One cannot start; the message says why.
        """
        for _ in range(self._wanted):
            self._add()
        until_s = time.monotonic() + READY_S
        with self._changed:
            while len(self._heard) < self._wanted:
                failed = next((each for each in self._heard.values() if isinstance(each, SessiontapeError)), None)
                if failed is not None:
                    raise failed
                if not self._changed.wait(until_s - time.monotonic()):
                    raise RecorderError(f"a worker was not ready within {READY_S:g} s")
            for each in self._heard.values():
                if isinstance(each, SessiontapeError):
                    raise each
            self._has_started = True
            return next(each.listening for each in self._heard.values())

    def end(self, until_s: float) -> Counts:
        """End all workers until then, and return their books."""
        with self._lock:
            self._is_ending = True
            workers = list(self._workers)
        for each in workers:
            each.end()
        for each in workers:
            each.wait(until_s)
        return self.counts()

    def counts(self) -> Counts:
        """Return the books of all workers, those that have died included."""
        with self._lock:
            told = [each.counts for each in self._workers if each.counts is not None]
        oldest = [each.oldest_us for each in told if each.oldest_us is not None]
        return Counts(
            seen=sum(each.seen for each in told),
            journaled=sum(each.journaled for each in told),
            dropped=sum(each.dropped for each in told),
            waiting=sum(each.waiting for each in told),
            bytes=sum(each.bytes for each in told),
            oldest_us=min(oldest, default=None),
        )

    def standing(self) -> list[Told]:
        """Return how the workers stand that have said so, those that have died included."""
        with self._lock:
            workers = list(self._workers)
        return [
            replace(each.standing, has_ended=each.code is not None) for each in workers if each.standing is not None
        ]

    def learn(self, upstream: str) -> None:
        """Have the workers read the schemas of an upstream."""
        with self._lock:
            workers = list(self._workers)
        for each in workers:
            each.tell(upstream)

    def _add(self) -> None:
        with self._lock:
            if self._is_ending:
                return
            about = _numbered(self._order.about, self._started)
            self._started += 1
            self._workers.append(Worker(replace(self._order, about=about), self._hear))

    def _hear(self, worker: Worker, said: Any) -> None:
        match said:
            case Said(level=level, text=text):
                logger.log(level, text)
            case Counted(counts=counts) if counts.dropped and self._order.options.stops_on_loss and not self._is_ending:
                logger.error(ENDS_ON_LOSS)
                self._end()
            case Ready() | SessiontapeError():
                with self._changed:
                    self._heard[worker.number] = said
                    self._changed.notify_all()
            case None:
                self._has_ended(worker)

    def _has_ended(self, worker: Worker) -> None:
        with self._changed:
            is_first = worker.number < self._wanted
            if is_first and worker.number not in self._heard:
                self._heard[worker.number] = RecorderError(f"worker {worker.number} ended before it was ready")
                self._changed.notify_all()
            if not self._has_started and is_first and isinstance(self._heard[worker.number], SessiontapeError):
                return  # `start` raises it
        with self._lock:
            if self._is_ending:
                return
        said = self._heard.get(worker.number)
        why = f": {said}" if isinstance(said, SessiontapeError) else f" with code {worker.code}"
        logger.error(f"worker {worker.number} has ended{why}; another one takes its place")
        if time.monotonic() - worker.began_s < AGAIN_S:
            time.sleep(AGAIN_S)
        self._add_at_last()

    def _add_at_last(self) -> None:
        """Start a worker, however often that has to be tried: no other event would make us think of it."""
        while True:
            try:
                self._add()
            except OSError as e:  # the system has no process or no file for it
                logger.error(f"cannot start another worker: {e.strerror or e}; it is tried again")  # noqa: TRY400  # as above
                time.sleep(AGAIN_S)
            else:
                return


def _numbered(about: About, worker: int) -> About:
    values = {name: getattr(about, name) for name in about.__struct_fields__}
    return About(**{**values, "worker": worker})


def reserved(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for the workers, who share it; it does not listen itself.

    Raises:
        SettingsError: The port cannot be had.
    """
    keeping = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # As those who listen on it do: for a minute, connections of an earlier recorder may hold it.
        keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeping.bind((host, port))
    except OSError as e:
        keeping.close()
        raise cannot_listen(host, port, e) from e
    return keeping


def main() -> None:
    """Be a worker: the process at the other end of `Worker`."""
    supervisor = Connection(int(sys.argv[1]))
    lock = threading.Lock()

    def tell(what: object) -> None:
        with lock, suppress(OSError):  # this process ends with the supervisor
            supervisor.send(what)

    logging.getLogger().addHandler(_Log(tell))
    logging.getLogger().setLevel(logging.INFO)
    for name in ("mitmproxy", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    order: Order = supervisor.recv()
    try:
        threads.run(
            _carry(order, lambda listening: tell(Ready(listening)), lambda *told: tell(Counted(*told)), supervisor)
        )
    except SessiontapeError as e:
        tell(e)
    except Exception as e:  # noqa: BLE001  # the supervisor has to hear of everything that ends this process
        tell(RecorderError(f"a worker failed: {e!r}"))
    os._exit(0)  # at once: the supervisor waits, and there is nothing left to do


async def _carry(
    order: Order,
    ready: Callable[[list[Listening]], None],
    counted: Callable[[Counts, Told], None],
    supervisor: Connection,
) -> None:
    """Be a worker: carry traffic until SIGTERM, or until the supervisor has gone.

    Args:
        counted: Called with the books once a second, when the first exchange is lost, and at the end.

    Raises:
        SessiontapeError: The proxy could not start.
    """
    with Proxy(order.options, order.about, ready) as proxy:

        def count() -> None:
            if proxy.recorder is not None:
                counted(proxy.recorder.counts(), proxy.recorder.standing())

        async def keep_counting() -> None:
            while True:
                await asyncio.sleep(COUNTED_S)
                count()

        threading.Thread(target=_end_with, args=(supervisor, proxy.judge.learn), daemon=True).start()
        counting = asyncio.create_task(keep_counting())
        with signals.calling_on_signals(proxy.end):
            counts = await proxy.carry(order.folder, count, share_port=True)
        counting.cancel()
        counted(counts, *proxy.standing())


class _Log(logging.Handler):
    def __init__(self, tell: Callable[[object], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, logs.TOLD, False):
            self._tell(Said(record.levelno, record.getMessage()))


def _end_with(supervisor: Connection, learn: Callable[[str], object]) -> None:
    """Learn what the supervisor says, and end this process in good order when that has gone."""
    try:
        while True:
            learn(supervisor.recv())
    except (OSError, EOFError):
        os.kill(os.getpid(), signal.SIGTERM)
