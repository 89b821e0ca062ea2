"""Start ingest, the process that files what journals hold, keep it running, and end it.

There is one for a folder of journals: where another recorder has started it, it serves this one, too, and when that ends,
this one starts its own.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from proxy_addon.core.findings import Finding
from proxy_addon.core.news import News
from proxy_addon.errors import RecorderError, SessiontapeError, SettingsError, StorageUnavailable
from proxy_addon.journal import folders, messages, news, reading
from proxy_addon.journal.alone import is_used
from proxy_addon.journal.client import Client
from proxy_addon.process import logs
from storage.engine import Store, hide_password, sqlite_path

logger = logs.logger(__name__)

READY_S = 30.0
"""How long ingest may take until it has looked at the store."""
STANDSTILL_S = 4.0
"""At the end, how long to wait for what the journal holds to be filed while nothing of it is."""
AGAIN_S = (0.2, 5.0)
"""First and longest pause before ingest is started again."""
_BUSY_S = 0.05
"""Pause before looking again at an ingest of another recorder that cannot be reached: it is starting or ending."""
LONG_BUSY_S = 5.0
"""After how long a process that files the folder, and cannot be reached, is taken to have much to do, as `db drain` may."""
SILENT_S = 40.0
"""After how long ingest is taken to hang that tells nothing while something waits; a store may keep it waiting for 30 s."""
LOOK_S = 2.0
"""How often to look whether something waits, while ingest tells nothing."""
_SURE_S = 0.7
"""How long after ingest has said at the end that the store is away it is asked once more; it tries again by then."""
_LEFT_S = 2.0
"""How long an ingest that has filed all may take to end by itself; after that, others are taken to need it."""
_LAST_S = 1.0
"""How much of the time for ending is kept for the process to end in."""
_NICE = 5
_LEVELS = logging.getLevelNamesMapping()


class Child(Protocol):
    """A process that was started; `subprocess.Popen` is one.

    Attributes:
        stdout: It says there, in one line, that it is ready.
        stderr: What it says when it fails.
    """

    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """

    def terminate(self) -> None:
        """Tell it to end."""

    def kill(self) -> None:
        """End it."""


def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
    # In a group of its own, so that Ctrl-C on the terminal reaches the recorder alone, which then ends it.
    return subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", "proxy_addon.ingest", "--nice", str(_NICE), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0 if os.name == "posix" else None,
    )


spawn: Callable[[Sequence[str], Mapping[str, str]], Child] = _start
"""Starts ingest with arguments and an environment; tests put in its place what forks."""


def folder_of(store: Store, journal: Path | None = None) -> Path:
    """Return the folder of a store's journal, which exists then.

    Args:
        journal: The folder that the user wants; None for that of the store.

    Raises:
        StorageUnavailable: The folder of an SQLite store does not exist.
        SettingsError: The folder cannot be written, or has the journal of another store, or no journal
            but something else.
    """
    if store.path is not None and not store.path.parent.is_dir():
        raise StorageUnavailable(
            f"cannot open {store.label}: there is no folder {store.path.parent}", hint="name another --store"
        )
    if journal is None:
        folder = folders.default(store.path, store.label)
    else:
        folder = journal.absolute()
        folders.require_journal(folder)
        if is_used(folder):
            folders.require_of(folder, store.path, store.label)
        folders.note_elsewhere(store.path, store.label, folder)
    folders.prepare(folder)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What becomes of what ingest says. Called from a thread; must not block.

    Attributes:
        filed: Called each time exchanges of this run are in the store.
        news: Called with news of sessions; None if nobody wants them.
        marks: Called with the findings of its session that name an exchange, which replace those before; None if nobody
            wants them.
        learned: Called with the upstream of which a schema has come in.
    """

    filed: Callable[[], object] | None = None
    news: Callable[[News], object] | None = None
    marks: Callable[[str, Sequence[Finding]], object] | None = None
    learned: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """What became of what was journaled.

    Attributes:
        is_all: Whether all that was in the journal at the end is filed.
        waiting: Otherwise, how many exchanges wait in the folder, those of other recorders included; of very many, about.
        count: Exchanges of this run that are in the store, as far as ingest has said.
        refused: Exchanges that the store did not take.
        failures: How often judging failed.
        reason: Why exchanges wait, if that is known.
    """

    is_all: bool
    waiting: int = 0
    count: int = 0
    refused: int = 0
    failures: int = 0
    reason: str = ""


class _Busy(ConnectionError):
    """Another process files the folder, and cannot be reached."""


class Ingesting:
    """Ingest, and what it says.

    Attributes:
        folder: Where the journals are.
    """

    def __init__(
        self, folder: Path, store_url: str, run: str, hearing: Hearing, *, keep_days: int | None = None
    ) -> None:
        """Describe an ingest; `start` starts it unless another recorder has.

        Args:
            folder: Where the journals are.
            run: Id of this recorder run.
            keep_days: After how many days ingest deletes what was recorded; None to keep it. One that another recorder
                has started does as that was told.
        """
        self.folder = folder
        self._store_url = store_url
        self._run = run
        self._hearing = hearing
        self._options = [] if keep_days is None else ["--keep-days", str(keep_days)]
        self._child: Child | None = None
        self._client: Client | None = None
        self._is_ending = threading.Event()
        self._is_cut = threading.Event()
        self._filed = 0
        self._counts: messages.Counts | None = None
        self._heard_s = time.monotonic()
        self._silent_since_s: float | None = None
        self._is_silence_told = False
        self._is_reached = True
        self._is_late = False
        self._thread = threading.Thread(target=self._look_after, name="sessiontape-ingest", daemon=True)

    def start(self) -> None:
        """Start it, and return once it has looked at the store, and upgraded its schema if that was due.

        While `db drain` files the folder, what is recorded waits, and ingest is started after that.

        Raises:
            StorageError: The store cannot be used; or it cannot be reached, and never was.
            SettingsError: The folder has the journal of another store.
            RecorderError: Ingest itself does not start.
        """
        try:
            self._begin()
        except _Busy:
            logger.warning(f"another process files {self.folder}; what is recorded waits there until it is done")
        except BaseException:
            self._end_child(0.0)
            self._leave_no_trace()
            raise
        self._thread.start()

    def _begin(self) -> None:
        """Start it, or connect to the one that another recorder has started; wait for one that is about to end."""
        until_s = time.monotonic() + LONG_BUSY_S
        pause_s = _BUSY_S
        while True:
            self._start_child()
            try:
                self._connect()
            except ConnectionError as e:
                if self._child is not None:
                    raise
                if time.monotonic() > until_s:
                    raise _Busy(str(e)) from e
            else:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    def counts(self) -> messages.Counts | None:
        """Return what ingest has told of its books; None while there is none."""
        if self._client is None or self._is_cut.is_set():
            return None
        return self._counts or messages.Counts(filed=0, findings={})

    def silent_s(self) -> float | None:
        """Return for how long ingest has told nothing while something waited; None unless that is too long."""
        since_s = self._silent_since_s
        silent_s = 0.0 if since_s is None else time.monotonic() - since_s
        return silent_s if silent_s > SILENT_S else None

    def _look_for_silence(self) -> None:
        """Take note of an ingest that hangs, and tell it once."""
        now_s = time.monotonic()
        is_away = self._counts is not None and self._counts.store_state != "ok"  # then it tells nothing new
        if is_away or now_s - self._heard_s < LOOK_S or not self._something_waits():
            if self._is_silence_told:
                logger.warning("what files the recording goes on")
            self._silent_since_s, self._is_silence_told = None, False
            return
        # What came in after a long pause has not waited as long as nothing was told.
        self._silent_since_s = self._silent_since_s or now_s
        silent_s = self.silent_s()
        if silent_s is not None and not self._is_silence_told:
            self._is_silence_told = True
            logger.error(
                f"what files the recording has told nothing for {silent_s:.0f} s; exchanges wait in {self.folder}"
            )

    def _something_waits(self) -> bool:
        try:
            return reading.waiting(self.folder) is not None
        except OSError:  # the journal is told of
            return False

    def _leave_no_trace(self) -> None:
        """Remove the folder if nothing is in it that anybody could miss: the store was refused."""
        with suppress(OSError):
            if {each.name for each in self.folder.iterdir()} <= {folders.INGEST_LOCK}:
                (self.folder / folders.INGEST_LOCK).unlink(missing_ok=True)
                self.folder.rmdir()

    def _start_child(self) -> None:
        child = self._child = spawn(
            ["--folder", str(self.folder), "--ready-fd", "1", "--parent", str(os.getpid()), *self._options],
            {**os.environ, "SESSIONTAPE_STORE": self._store_url},
        )
        said = _said(child)
        if "error" in said:
            raise StorageUnavailable(said["error"], hint=said.get("hint", ""))
        if said.get("busy"):
            self._end_child(_LAST_S)
        elif "ready" not in said:
            reason = _errors(child)
            raise RecorderError(f"what files the recording does not start: {reason or 'it ended without a word'}")
        if said.get("away"):
            logger.warning(f"{said['away']}; what is recorded waits in {self.folder}")

    def _connect(self) -> None:
        is_cut = threading.Event()
        wants = [name for name, call in (("news", self._hearing.news), ("marks", self._hearing.marks)) if call]
        client = Client(self.folder, on=self._hear, on_closed=is_cut.set, run=self._run, wants=wants)
        try:
            folders.require_of(self.folder, sqlite_path(self._store_url), hide_password(self._store_url))
        except SettingsError:  # another recorder has started it meanwhile
            client.close()
            raise
        self._client, self._is_cut = client, is_cut
        self._heard_s = time.monotonic()

    def _hear(self, message: messages.FromIngest) -> None:
        hearing = self._hearing
        self._heard_s = time.monotonic()
        match message:
            case messages.Log(level=level, text=text):
                logger.log(_LEVELS.get(level, logging.WARNING), text)
            case messages.Filed(count=count, run=self._run):
                self._filed += count
                if hearing.filed is not None:
                    hearing.filed()
            case messages.News(news=document) if hearing.news is not None:
                hearing.news(news.from_document(document))
            case messages.Marks(exchange=exchange, marks=documents) if hearing.marks is not None:
                hearing.marks(exchange, news.findings_from_documents(documents))
            case messages.Schemas(upstream=upstream) if hearing.learned is not None:
                hearing.learned(upstream)
            case messages.Counts():
                self._counts = message

    def _look_after(self) -> None:
        """Start ingest again when it has ended, until this recorder ends."""
        pause_s, longest_s = AGAIN_S
        while True:
            began_s = time.monotonic()
            if self._client is not None:  # otherwise another process files the folder
                why = self._until_it_ends()
                if self._is_ending.is_set():
                    return
                logger.warning(f"{why}; it is started again, and what is recorded waits meanwhile")
            if time.monotonic() - began_s > longest_s:
                pause_s = AGAIN_S[0]
            while not self._is_ending.wait(pause_s):
                pause_s = min(2 * pause_s, longest_s)
                try:
                    self._begin()
                except _Busy as e:
                    logger.debug(f"another process still files {self.folder}: {e}")
                except (SessiontapeError, OSError) as e:
                    logger.error(f"cannot start what files the recording: {e}")  # noqa: TRY400  # it is tried again
                    self._end_child(0.0)
                else:
                    break
            if self._is_ending.is_set():
                return

    def _until_it_ends(self) -> str:
        """Wait until ingest has ended, and return how; connect again if the connection alone has."""
        child = self._child
        errors = None if child is None else _Errors(child)
        while True:
            while not self._is_cut.wait(LOOK_S):
                self._look_for_silence()
            if child is None or errors is None or self._is_ending.is_set():
                return "what filed the recording has ended, as another recorder had started it"
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(_BUSY_S)
                return f"what files the recording has ended with code {code}{errors.last()}"
            with suppress(ConnectionError):
                self._connect()
                if self._is_ending.is_set() and self._client is not None:
                    self._client.close()
                logger.warning("the connection to what files the recording was cut; there is another one")

    def end(self, within_s: float) -> Filed:
        """Have all filed that was journaled, and end ingest unless another recorder needs it.

        Args:
            within_s: How long that may take; what is left then waits in the journal.
        """
        until_s = time.monotonic() + within_s
        answer = self._flush(until_s - _LAST_S)
        self._is_ending.set()
        if self._client is not None:
            self._client.close()
        self._is_cut.set()
        is_all = isinstance(answer, messages.Flushed)
        self._end_child(until_s - time.monotonic(), is_busy=not is_all)
        return Filed(
            is_all=is_all,
            waiting=0 if is_all else _waiting(self.folder),
            count=self._filed,
            refused=0 if self._counts is None else self._counts.refused,
            failures=0 if self._counts is None else self._counts.failures,
            reason="" if is_all else self._why_not(answer),
        )

    def _why_not(self, answer: messages.Flushed | messages.Away | None) -> str:
        """Return why not all is filed."""
        if isinstance(answer, messages.Away):
            return answer.reason
        if self._is_late:
            return "there was no more time to file them"
        return "what files them does not answer" if self._is_reached else "no process files them"

    def _flush(self, until_s: float) -> messages.Flushed | messages.Away | None:
        """Have all filed that was journaled, for as long as there is time, and something becomes of it."""
        is_sure = False
        while True:
            if (self._client is None or self._is_cut.is_set()) and not self._is_back(until_s):
                break
            assert self._client is not None
            filed = self._filed
            answer = self._client.flush(max(0.1, min(STANDSTILL_S, until_s - time.monotonic())))
            if isinstance(answer, messages.Away) and not is_sure and time.monotonic() + _SURE_S < until_s:
                is_sure = True  # a store in the place of another one is only found at the second attempt
                time.sleep(_SURE_S)
                continue
            if answer is not None or self._filed == filed or time.monotonic() > until_s:
                self._is_late = answer is None and self._filed != filed
                return answer
        self._is_reached = False
        return None

    def _is_back(self, until_s: float) -> bool:
        """Wait until ingest, which has ended, is started again; return whether it is."""
        until_s = min(until_s, time.monotonic() + STANDSTILL_S)
        while (self._client is None or self._is_cut.is_set()) and time.monotonic() < until_s:
            time.sleep(_BUSY_S)
        return self._client is not None and not self._is_cut.is_set()

    def _end_child(self, within_s: float, *, is_busy: bool = True) -> None:
        """End the process, by force if it does not end; one that others use is left to them if it was not busy."""
        child = self._child
        if child is None:
            return
        with suppress(OSError):  # it has ended already
            if is_busy:
                child.terminate()
            try:
                child.wait(max(0.1, within_s if is_busy else min(within_s, _LEFT_S)))
            except subprocess.TimeoutExpired:
                if not is_busy:
                    return
                child.kill()
                child.wait()
        _closed(child)
        self._child = None


def _waiting(folder: Path) -> int:
    left = reading.waiting(folder)
    if left is None:
        return 0
    return left.exchanges


def _said(child: Child) -> dict[str, Any]:
    """Return what a process says when it is ready; nothing if it ends, or takes too long."""
    assert child.stdout is not None
    timer = threading.Timer(READY_S, child.kill)
    timer.daemon = True
    timer.start()
    try:
        line = child.stdout.readline()
    finally:
        timer.cancel()
    said: dict[str, Any] = json.loads(line) if line else {}
    return said


def _errors(child: Child) -> str:
    """Return the last line that a process writes to its errors before it ends; log all of them."""
    assert child.stderr is not None
    last = ""
    with suppress(ValueError):  # closed while it was read
        for line in child.stderr:
            last = line.decode("utf-8", "replace").rstrip()
            logger.error(f"ingest: {last}")
    return last


class _Errors:
    """Reads what a process writes to its errors while it runs, so that it never waits for that."""

    def __init__(self, child: Child) -> None:
        self._last = ""
        self._thread = threading.Thread(target=self._read, args=(child,), name="sessiontape-errors", daemon=True)
        self._thread.start()

    def _read(self, child: Child) -> None:
        self._last = _errors(child)

    def last(self) -> str:
        """Return the last line, to be added to a sentence; call it when the process has ended."""
        self._thread.join(1.0)
        return f": {self._last}" if self._last else ""


def _closed(child: Child) -> None:
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
