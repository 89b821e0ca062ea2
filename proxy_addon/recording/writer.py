"""From the proxy's hooks to the store: a bounded queue, and one thread that writes it in batches.

Each exchange is either stored, in order, or counted as lost and named in the log. If the store is unreachable, the
writer tries again while the queue grows up to its bound. If the store refuses an exchange, only that one is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.errors import StorageUnavailable
from proxy_addon.process import logs
from proxy_addon.recording.at_rest import NotPseudonymised

logger = logs.logger(__name__)

BATCH = 1000
"""How many exchanges one transaction stores at most."""
QUEUE_BYTES = 256 * 2**20
"""How many bytes may wait while the store is unreachable; with small bodies, more than 100,000 exchanges."""
LINGER_S = 0.02
"""How long a batch waits for more exchanges if no answer waits for it, which saves CPU per exchange."""
RETRY_S = (0.05, 2.0)
"""First and longest pause between attempts to reach the store."""
_OVERHEAD_BYTES = 2048
"""Approximate memory of an exchange beside its bodies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many exchanges were stored, were lost, or are waiting."""

    stored: int
    lost: int
    waiting: int


@dataclass(slots=True, eq=False)
class _Waiting:
    exchange: Exchange
    findings: Sequence[Finding] | None
    done: Future[bool]
    bytes: int
    is_settled: bool = False


class Writer:
    """Stores exchanges in the background."""

    def __init__(
        self,
        save: Callable[[Sequence[tuple[Exchange, Sequence[Finding] | None]]], None],
        *,
        linger_s: float = 0.0,
        queue_bytes: int = QUEUE_BYTES,
        name: Callable[[Exchange], str] | None = None,
    ) -> None:
        """Make a writer; `start` starts its thread.

        Args:
            save: Stores a batch in one transaction: exchanges with their findings, or None if not judged yet. Saving
                a batch again that may have been committed must do no harm.
            linger_s: How long a batch waits for more exchanges.
            queue_bytes: How many bytes may wait.
            name: Returns what the log calls an exchange; by default its method and path.
        """
        self._save = save
        self._name = name or _name
        self._linger_s = linger_s
        self._queue_bytes = queue_bytes
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._stored = 0
        self._lost = 0
        self._writing = 0
        self._changed = threading.Condition()
        self._closing = False
        self._stuck = False
        self._overdue = False
        self._away_since: float | None = None
        self._current: list[_Waiting] = []
        self._give_up_at = float("inf")
        # A daemon, so that a store that hangs cannot keep the process alive; `close` waits for the thread.
        self._thread = threading.Thread(target=self._run, name="sessiontape-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, exchange: Exchange, findings: Sequence[Finding] | None = None) -> Future[bool]:
        """Queue an exchange. Never blocks.

        Args:
            findings: Its findings; None if it has not been judged yet.

        Returns:
            A future that becomes True once the exchange is committed, or False once it is given up as lost.
        """
        size = len(exchange.request.body) + len(exchange.response.body if exchange.response else b"") + _OVERHEAD_BYTES
        waiting = _Waiting(exchange, findings, Future(), size)
        with self._changed:
            if self._closing:
                reason = "the recorder is stopping"
            elif self._queue and self._bytes + size > self._queue_bytes:
                reason = f"too many exchanges are waiting for the store: {len(self._queue)}"
            else:
                self._queue.append(waiting)
                self._bytes += size
                self._changed.notify_all()
                return waiting.done
        self._lose(waiting, reason)
        return waiting.done

    def close(self, timeout_s: float) -> Counts:
        """Write what is waiting, for at most ``timeout_s``, and stop. What is left then is lost."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._changed:
            # A thread that hangs in the store still holds a batch whose outcome nobody will see. Take it together with
            # the queue: anything that the thread took from the queue in between would be in neither.
            stranded, self._current = [*self._current, *self._take(None)], []
        for waiting in stranded:
            self._lose(waiting, "the recorder stopped before it could be stored")
        return self.counts()

    @property
    def is_stuck(self) -> bool:
        """Whether the store is unreachable or too slow, so that answers should not wait for commits."""
        return self._stuck or self._overdue

    def overdue(self) -> None:
        """Note that a commit took longer than an answer may wait; until the next commit, no answer waits."""
        if not self._overdue:
            self._overdue = True
            logger.warning("the store takes too long; answers no longer wait for it until it has recovered")

    def counts(self) -> Counts:
        """Return the counts so far."""
        with self._changed:
            return Counts(stored=self._stored, lost=self._lost, waiting=len(self._queue) + self._writing)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._write(batch)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for exchanges to write, and return them; an empty batch means that it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if self._linger_s and not self._closing:
                self._changed.wait_for(lambda: self._closing, self._linger_s)
        return self._take(BATCH)

    def _take(self, most: int | None) -> list[_Waiting]:
        with self._changed:
            batch = [self._queue.popleft() for _ in range(min(most or len(self._queue), len(self._queue)))]
            self._bytes -= sum(waiting.bytes for waiting in batch)
            if most:
                self._writing = len(batch)
                self._current = batch
            return batch

    def _write(self, batch: list[_Waiting]) -> None:
        pause_s, longest_s = RETRY_S
        while True:
            try:
                self._save([(waiting.exchange, waiting.findings) for waiting in batch])
            except StorageUnavailable as e:
                self._stuck = True
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    logger.warning(f"{e}; exchanges wait until it is back")
                if not self._wait_for_store(pause_s):
                    for waiting in batch:
                        self._lose(waiting, str(e))
                    return
                pause_s = min(2 * pause_s, longest_s)
            except Exception as e:  # noqa: BLE001  # one bad exchange must not lose the others
                self._write_singly(batch, e)
                return
            else:
                self._stuck = self._overdue = False
                if self._away_since is not None:
                    logger.warning(f"the store is back after {time.monotonic() - self._away_since:.1f} s")
                    self._away_since = None
                self._settle(batch, stored=True)
                return

    def _write_singly(self, batch: list[_Waiting], error: Exception) -> None:
        """Write each exchange by itself, so that only the one that the store refuses is lost."""
        if len(batch) == 1:
            is_personal = isinstance(error, NotPseudonymised)
            why = "its personal values cannot be replaced" if is_personal else "the store refuses it"
            self._lose(batch[0], f"{why}: {error!r}")
            return
        for waiting in batch:
            self._write([waiting])

    def _wait_for_store(self, pause_s: float) -> bool:
        """Pause before the next attempt; return False if there is no time for one."""
        with self._changed:
            # If the writer is closed during the pause, pause again for no longer than the time that is left.
            self._changed.wait_for(lambda: self._closing, pause_s)
            left_s = self._give_up_at - time.monotonic()
            if self._closing and left_s > 0:
                self._changed.wait_for(lambda: False, min(pause_s, left_s))
            return time.monotonic() < self._give_up_at

    def _lose(self, waiting: _Waiting, reason: str) -> None:
        exchange = waiting.exchange
        if self._settle([waiting], stored=False):
            at = exchange.received_at.isoformat()
            logger.error(f"lost: {self._name(exchange)} of {at}: {reason}")

    def _settle(self, batch: list[_Waiting], *, stored: bool) -> bool:
        """Count a batch as stored or lost and set its futures; each exchange is settled only once."""
        with self._changed:
            settled = [waiting for waiting in batch if not waiting.is_settled]
            for waiting in settled:
                waiting.is_settled = True
            if stored:
                self._stored += len(settled)
            else:
                self._lost += len(settled)
            self._writing = max(0, self._writing - len(settled))
            self._current = [waiting for waiting in self._current if waiting not in settled]
        for waiting in settled:
            if not waiting.done.cancelled():
                waiting.done.set_result(stored)
        return bool(settled)


def _name(exchange: Exchange) -> str:
    return f"{exchange.request.method} {exchange.request.path}"
