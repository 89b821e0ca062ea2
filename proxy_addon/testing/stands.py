"""What scenarios are played on: a recorder, with a collector behind it unless there is a real upstream."""

from __future__ import annotations

import os
import secrets
import select
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.core.urls import ServerUrl
from proxy_addon.journal.awaiting import await_filed
from proxy_addon.testing.collecting import RunningCollector
from proxy_addon.testing.recorders import Legacy, RunningRecorder
from storage import sessions
from storage.engine import hide_password, sqlite_path
from storage.filters import Filters
from storage.opening import reading

if TYPE_CHECKING:
    from sqlalchemy import Connection

QUIET_S = 5.0
"""How long nothing must come after the last session was closed, so that a scenario counts as played."""
LINGER_S, LONGEST_LINGER_S = 1.0, 5.0
"""How long nothing must come after somebody said that they are done, and how long to wait for that."""
_LOOK_S = 30.0
"""How often to look at sessions that run into a time-out, of which no message tells."""


class Stand:
    """What scenarios are played on; a context manager.

    Attributes:
        url: Where players send their requests.
        name: Name of the recording.
        store_url: The store that has it.
    """

    def __init__(
        self, *, upstream: ServerUrl | None, listen: tuple[str, int], store_url: str | None, policy: Policy
    ) -> None:
        """Describe a stand; entering the context builds it.

        Args:
            upstream: The server to record; None for a collector.
            listen: Where the recorder listens.
            store_url: Where the recording is kept; None if it is dropped when the context ends.
            policy: How strictly to judge.
        """
        self.url = ""
        self.name = f"certify-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.store_url = store_url or ""
        self._upstream = upstream
        self._listen = listen
        self._is_kept = store_url is not None
        self._policy = policy
        self._collector: RunningCollector | None = None
        self._recorder: RunningRecorder | None = None
        self._recording = ExitStack()
        self._all = ExitStack()
        self._news, self._told = -1, -1

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            SessiontapeError: A part of it cannot start.
        """
        with ExitStack() as building:
            self._news, self._told = os.pipe()
            for end in (self._news, self._told):
                building.callback(os.close, end)
                os.set_blocking(end, False)
            upstream: ServerUrl | str | None = self._upstream
            if upstream is None:
                self._collector = building.enter_context(RunningCollector((), (), self._policy))
                upstream = self._collector.url
            folder = None
            if not self._is_kept:
                folder = Path(building.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-")))
                self.store_url = f"sqlite:///{folder}/certify.db"
            recording = building.enter_context(ExitStack())
            self._recorder = recording.enter_context(
                RunningRecorder(
                    upstream,
                    self.store_url,
                    listen=self._listen,
                    name=self.name,
                    policy=self._policy,
                    check=self._is_kept,  # otherwise nobody reads the findings that it would store
                    stored=self._tell,
                    legacy=Legacy(folder, variable="SESSIONTAPE_URL"),
                )
            )
            self.url = self._recorder.url
            self._recording = recording
            self._all = building.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Stop everything, and drop the recording unless it is kept."""
        self._all.close()

    def stop(self) -> None:
        """Store what is in flight, and stop the recorder; the recording can still be read."""
        self._recording.close()

    @property
    def host(self) -> str:
        """Address and port of the recorder."""
        return "" if self._recorder is None else self._recorder.host

    @property
    def remarks(self) -> Sequence[str]:
        """Warnings of the recorder, one a line."""
        return [] if self._recorder is None else self._recorder.warnings

    @property
    def is_complete(self) -> bool:
        """Whether all exchanges were stored; known after `stop`."""
        return self._recorder is not None and self._recorder.is_complete

    def wait(self, since: datetime, wanted: int, begun: Callable[[int], None], *, reads_input: bool) -> None:
        """Wait until a scenario has been played: somebody pressed Enter, or all of its sessions are there and over.

        Args:
            since: When it began.
            wanted: How many sessions it leads to.
            begun: Is told how many have begun, whenever one has.
            reads_input: Whether Enter ends it; without a terminal, the end of the input leaves the wait to the sessions.
        """
        quiet_since, are_over, number = time.monotonic(), False, 0
        while True:
            left = QUIET_S - (time.monotonic() - quiet_since) if are_over else _LOOK_S
            if left <= 0:
                return
            inputs = [self._news, *([sys.stdin.fileno()] if reads_input else ())]
            ready, _, _ = select.select(inputs, [], [], left)
            if reads_input and sys.stdin.fileno() in ready:
                if sys.stdin.readline():
                    self._linger()
                    return
                reads_input = False
            elif self._news in ready:
                self._take_news()
                quiet_since = time.monotonic()
            if not are_over or self._news in ready:
                found = self._begun(since)
                at = as_of(datetime.now(UTC), self._policy)
                are_over = len(found) >= wanted and found[-1].state(at) is not SessionState.OPEN
                if len(found) != number:
                    number = len(found)
                    begun(number)

    def _linger(self) -> None:
        """Wait until the player has sent what it still had."""
        until = time.monotonic() + LONGEST_LINGER_S
        while time.monotonic() < until and select.select([self._news], [], [], LINGER_S)[0]:
            self._take_news()

    @contextmanager
    def recorded(self, since: datetime) -> Iterator[tuple[Connection, list[Session]]]:
        """Yield the store, open, and the sessions that were opened since a time, the oldest first.

        Raises:
            StorageError: The store cannot be read.
        """
        await_filed(sqlite_path(self.store_url), hide_password(self.store_url))
        filters = Filters(name=self.name, since=since)
        with reading(self.store_url) as db:
            yield db, [*sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True)]

    def _begun(self, since: datetime) -> list[Session]:
        with self.recorded(since) as (_, found):
            return [each for each in found if not each.failed]

    def _tell(self) -> None:
        """Wake whoever waits."""
        try:
            os.write(self._told, b"+")
        except OSError:  # it is full of news, or closed
            return

    def _take_news(self) -> None:
        try:
            os.read(self._news, 65536)
        except BlockingIOError:
            return
