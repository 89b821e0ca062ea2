"""What scenarios are played on: a rig, and what waits until somebody has played."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.core.urls import ServerUrl
from proxy_addon.journal.awaiting import await_filed
from proxy_addon.testing.recorders import FILED_S
from proxy_addon.testing.rigs import Rig
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


def drop_typed() -> None:
    """Forget what was typed before a question, so that Enter pressed twice does not answer the next one."""
    if sys.stdin.isatty():
        import termios  # noqa: PLC0415  # not everywhere; nor is a terminal that can be waited for

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


class Stand:
    """What scenarios are played on; a context manager.

    Attributes:
        rig: The recorder, and what is behind it.
    """

    def __init__(
        self, *, upstream: ServerUrl | None, listen: tuple[str, int], store_url: str | None, policy: Policy
    ) -> None:
        """Describe a stand; entering the context builds it. The arguments are those of `Rig`."""
        self.rig = Rig(
            "certify", upstream=upstream, listen=listen, store_url=store_url, policy=policy, stored=self._tell
        )
        self._policy = policy
        self._all = ExitStack()
        self._news, self._told = -1, -1
        self._is_over = False

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
            building.enter_context(self.rig)
            self._all = building.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Stop everything, and drop the recording unless it is kept."""
        self._all.close()

    def end(self) -> None:
        """Let nobody wait any more; may be called in a handler of signals."""
        self._is_over = True
        self._tell()

    def wait(
        self, since: datetime, wanted: int, told: Callable[[Sequence[Session]], None], *, reads_input: bool
    ) -> None:
        """Wait until a scenario has been played: somebody pressed Enter, or all of its sessions are there and over; or `end`.

        Args:
            since: When it began.
            wanted: How many sessions it leads to.
            told: Is told of all that were opened, refused ones among them, whenever there is news.
            reads_input: Whether Enter ends it; without a terminal, the end of the input leaves the wait to the sessions.
        """
        quiet_since, are_over = time.monotonic(), False
        while not self._is_over:
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
                with self.recorded(since) as (_, found):
                    begun = [each for each in found if not each.failed]
                at = as_of(datetime.now(UTC), self._policy)
                are_over = len(begun) >= wanted and begun[-1].state(at) is not SessionState.OPEN
                told(found)

    def _linger(self) -> None:
        """Wait until the player has sent what it still had."""
        until = time.monotonic() + LONGEST_LINGER_S
        while not self._is_over and time.monotonic() < until and select.select([self._news], [], [], LINGER_S)[0]:
            self._take_news()

    @contextmanager
    def recorded(self, since: datetime) -> Iterator[tuple[Connection, list[Session]]]:
        """Yield the store, open, and the sessions that were opened since a time, the oldest first.

        Raises:
            StorageError: The store cannot be read.
        """
        store_url = self.rig.store_url
        await_filed(sqlite_path(store_url), hide_password(store_url), FILED_S)
        filters = Filters(name=self.rig.name, since=since)
        with reading(store_url) as db:
            yield db, [*sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True)]

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
