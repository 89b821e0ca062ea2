"""The loop of the ingest process: files what comes, answers those who ask for it, and knows when it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path

from proxy_addon.errors import StorageUnavailable
from proxy_addon.ingest.filing import Filer
from proxy_addon.ingest.keeping import Keeping
from proxy_addon.ingest.reaching import RETRY_S
from proxy_addon.ingest.telling import ToRecorders
from proxy_addon.journal import messages
from proxy_addon.journal.channel import Asked, Server
from proxy_addon.journal.reading import MOST, waiting
from proxy_addon.process import logs

logger = logs.logger(__name__)

LINGER_S = 0.05
"""How long to wait for more entries after a batch: a transaction of one costs as much as one of fifteen."""
PATIENCE_S = 3.0
"""How long a store that is away is waited for when nobody records any more."""


class Parent:
    """The process that started us."""

    def __init__(self, pid: int | None) -> None:
        """Remember it; None for a process that nobody waits for."""
        self._pid = pid
        self._is_ours = pid == os.getppid()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        if self._pid is None:
            return False
        if self._is_ours:
            return os.getppid() == self._pid
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


class Ingest:
    """Files a folder until nobody records into it any more and nothing is left."""

    def __init__(self, filer: Filer, server: Server, lines: ToRecorders, parent: Parent, keeping: Keeping) -> None:
        self._filer = filer
        self._reaching = filer.reaching
        self._server = server
        self._telling = filer.telling
        self._lines = lines
        self._parent = parent
        self._keeping = keeping
        self._asked: list[Asked] = []
        self._behind: list[tuple[Mapping[Path, int], list[Asked]]] = []
        self._away_since_s: float | None = None

    def run(self, is_over: Callable[[], bool]) -> None:
        """Work until all is done, or until it is told that it is over; then the batch in hand is still filed."""
        while not is_over():
            self._lines.hand_over()
            self._asked += self._server.asked()
            try:
                is_behind = self._filer.is_behind
                count = self._filer.file()
                self._answer(has_all=self._filer.has_read_all and not is_behind)
                # Under steady traffic, there is always something to file; then a piece is done after each batch.
                has_more = count >= MOST or (self._catch_up() and count == 0)
            except (StorageUnavailable, OSError) as e:
                if self._when_away(e if isinstance(e, StorageUnavailable) else _of_journal(e)):
                    return
                continue
            self._away_since_s = None
            self._reaching.worked()
            self._tell_counts()
            if count == 0 and self._is_done():
                self._close()
                return
            if not has_more:
                self._pause(LINGER_S)

    def _answer(self, *, has_all: bool) -> None:
        """Answer those who asked before what they ask for was filed; recorders may have gone on.

        Args:
            has_all: Whether the last batch had all that there was when it was read.
        """
        due = [*self._asked] if has_all else []
        later = []
        for end, asked in self._behind:
            if has_all or self._filer.is_past(end):
                due += asked
            else:
                later.append((end, asked))
        if self._asked and not has_all:  # what comes in meanwhile could go on without end
            later.append((self._filer.end(), self._asked))
        if due:
            self._filer.bring_up_to_date(is_settling=True)
            self._tell_counts()
        self._asked, self._behind = [], later
        for each in due:
            each.answer(messages.Flushed())

    def _catch_up(self) -> bool:
        """Do a piece of what takes long, when there is time; return whether there is more of it."""
        self._filer.bring_up_to_date()
        return self._filer.work_off_one() or self._keeping.delete_some(self._reaching.store)

    def _when_away(self, error: StorageUnavailable) -> bool:
        """Tell that the store, or the journal's disk, cannot be used; return whether it is not worth waiting for."""
        now_s = time.monotonic()
        self._away_since_s = self._away_since_s or now_s
        self._reaching.failed(error)
        self._tell_counts()
        answered = [*self._asked, *chain.from_iterable(asked for _, asked in self._behind)]
        self._asked, self._behind = [], []
        if answered:
            left = waiting(self._filer.path)
            for asked in answered:
                asked.answer(messages.Away(reason=str(error), waiting=left.exchanges if left else 0))
        if self._is_left() and now_s - self._away_since_s > PATIENCE_S:
            return True
        self._pause(RETRY_S)
        return False

    def _tell_counts(self) -> None:
        filer, away = self._filer, self._reaching.away
        self._telling.counts(
            messages.Counts(
                filed=filer.filed,
                refused=filer.refused,
                findings=dict(filer.found),
                failures=filer.failures.count,
                store_state="ok" if away is None else away,
            )
        )

    def _is_left(self) -> bool:
        """Whether nobody records any more."""
        return not self._server.recorders() and (self._server.had_recorder or not self._parent.is_alive)

    def _is_done(self) -> bool:
        return self._is_left() and not self._server.clients() and not self._filer.has_writers

    def _close(self) -> None:
        """Judge what was waiting for more."""
        try:
            while self._filer.work_off_one():
                pass
            self._filer.bring_up_to_date(is_closing=True)
        except StorageUnavailable as e:
            logger.debug(f"findings are not up to date: {e}")  # they are marked

    def _pause(self, longest_s: float) -> None:
        if self._server.woken.wait(longest_s):
            self._server.woken.clear()


def _of_journal(error: OSError) -> StorageUnavailable:
    return StorageUnavailable(f"the journal cannot be read or written: {error}")
