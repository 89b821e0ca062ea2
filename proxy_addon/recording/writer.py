"""From the proxy's hooks to the store: a bounded queue and one thread that writes it in batches.

What is handed over is stored, in order, or counted as lost and named in the log; nothing in between. A store that is
away for a while is waited for, with the queue growing up to its bound; an exchange that the store will not take is lost
alone, without the ones beside it.
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

logger = logs.logger(__name__)

BATCH = 1000
"""Most exchanges in one transaction."""
QUEUE_BYTES = 256 * 2**20
"""How much may wait for a store that is away. At 2 KB each that is more than 100,000 exchanges."""
LINGER_S = 0.02
"""How long a batch waits for company where no answer waits for it: it costs the proxy less CPU per exchange."""
RETRY_S = (0.05, 2.0)
"""First and longest pause between attempts to reach a store that is away."""
_OVERHEAD_BYTES = 2048
"""Memory of an exchange beside its bodies, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the exchanges handed over."""

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
    ) -> None:
        """Make a writer; `start` sets it going.

        Args:
            save: Stores a batch, exchanges with what is to be said of them where that is known already, in one
                transaction. Saving one again that may have been committed must do no harm.
            linger_s: How long a batch waits for company.
            queue_bytes: How much may wait.
        """
        self._save = save
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
        # A daemon, so that a store that hangs cannot keep the process; `close` waits for it in good order.
        self._thread = threading.Thread(target=self._run, name="sessiontape-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, exchange: Exchange, findings: Sequence[Finding] | None = None) -> Future[bool]:
        """Hand an exchange over. Never blocks.

        Args:
            findings: What is to be said of it, where that is known already.

        Returns:
            Becomes True once the exchange is committed, False once it is given up as lost.
        """
        size = len(exchange.request.body) + len(exchange.response.body if exchange.response else b"") + _OVERHEAD_BYTES
        waiting = _Waiting(exchange, findings, Future(), size)
        with self._changed:
            if self._closing:
                reason = "the recorder is stopping"
            elif self._queue and self._bytes + size > self._queue_bytes:
                reason = f"{len(self._queue)} exchanges are waiting for the store already"
            else:
                self._queue.append(waiting)
                self._bytes += size
                self._changed.notify_all()
                return waiting.done
        self._lose(waiting, reason)
        return waiting.done

    def close(self, timeout_s: float) -> Counts:
        """Write what is waiting, for so long at most, and stop. What is left then is lost."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._changed:
            # A thread that hangs in the store still has a batch in its hands; what comes of it nobody will tell. In one
            # step with the queue: what the thread took from it in between would be in neither.
            stranded, self._current = [*self._current, *self._take(None)], []
        for waiting in stranded:
            self._lose(waiting, "the recorder stopped before the store took it")
        return self.counts()

    @property
    def is_stuck(self) -> bool:
        """Whether the store is away, so that waiting for a commit would be waiting for its return."""
        return self._stuck or self._overdue

    def overdue(self) -> None:
        """Tell that a commit took longer than an answer may wait; until the next one, none waits any more."""
        if not self._overdue:
            self._overdue = True
            logger.warning("the store takes too long; answers do not wait for it until it is back")

    def counts(self) -> Counts:
        """Count what became of the exchanges so far."""
        with self._changed:
            return Counts(stored=self._stored, lost=self._lost, waiting=len(self._queue) + self._writing)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._write(batch)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for something to write; nothing means that it is time to stop."""
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
            except Exception as e:  # noqa: BLE001  # whatever one exchange does must not cost the others
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
        """Find the exchange that spoils a batch."""
        if len(batch) == 1:
            self._lose(batch[0], f"the store will not take it: {error!r}")
            return
        for waiting in batch:
            self._write([waiting])

    def _wait_for_store(self, pause_s: float) -> bool:
        """Pause before the next attempt; False when there is no time for one."""
        with self._changed:
            # Closing does not cut the pause short by more than the time that is left.
            self._changed.wait_for(lambda: self._closing, pause_s)
            left_s = self._give_up_at - time.monotonic()
            if self._closing and left_s > 0:
                self._changed.wait_for(lambda: False, min(pause_s, left_s))
            return time.monotonic() < self._give_up_at

    def _lose(self, waiting: _Waiting, reason: str) -> None:
        exchange = waiting.exchange
        if self._settle([waiting], stored=False):
            at = exchange.received_at.isoformat()
            logger.error(f"lost: {exchange.request.method} {exchange.request.path} of {at}: {reason}")

    def _settle(self, batch: list[_Waiting], *, stored: bool) -> bool:
        """Count what became of a batch and tell it; of each exchange once, whoever gives it up first."""
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
