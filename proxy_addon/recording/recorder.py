"""What hooks and lane share in a process of the recorder: its journal, and the books of what came in."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from proxy_addon import __version__
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.policy import Policy, to_document
from proxy_addon.core.urls import ServerUrl
from proxy_addon.journal.entries import About, Dropped, Exchanged
from proxy_addon.journal.exchanges import exchange_of
from proxy_addon.journal.writing import Counts, Done, Journal, Refused, Unmade
from proxy_addon.recording.arrivals import Arrivals
from proxy_addon.recording.at_rest import AtRest, NotPseudonymised
from proxy_addon.recording.entries import entry_of, microseconds
from proxy_addon.recording.judging import Judge
from proxy_addon.recording.meters import Meter, operation_of
from proxy_addon.recording.standing import Told


def about_of(
    *, name: str | None, engine: str, upstream: ServerUrl | None, checks: bool, pseudonymised: bool, policy: Policy
) -> About:
    """Return what the journal says of a recorder run that begins now."""
    return About(
        run=secrets.token_hex(8),
        started_us=time.time_ns() // 1000,
        program=__version__,
        engine=engine,
        name=name or None,
        upstream=None if upstream is None else str(upstream),
        checks=checks,
        pseudonymised=pseudonymised,
        policy=to_document(policy),
    )


class Recorder:
    """Writes exchanges into the journal. Call all methods from the event loop.

    Attributes:
        about: What the journal says of this process.
        is_durable: Whether answers wait until their exchange is on disk.
        at_rest: What becomes of personal values.
        arrivals: Numbers its exchanges.
        judging: Judges requests that may be refused.
        meter: Counts what it does; None if nobody wants to know.
        trouble: Why its journal cannot be written; None if it can.
    """

    def __init__(
        self,
        folder: Path,
        about: About,
        at_rest: AtRest,
        judge: Judge,
        *,
        is_durable: bool,
        lost: Callable[[], object] | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Open a journal of this process.

        Args:
            folder: Where journals of this store are.
            judge: Judges requests that may be refused.
            lost: Called once, in the event loop, when the first exchange is lost.
            meter: Counts what it does; None if nobody wants to know.

        Raises:
            SettingsError: The folder cannot be written.
        """
        loop = asyncio.get_running_loop()
        self.about = about
        self.is_durable = is_durable
        self.at_rest = at_rest
        self.arrivals = Arrivals()
        self.judging = judge
        self.meter = meter
        self.trouble: str | None = None
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._journal = Journal(
            folder,
            about,
            durable=is_durable,
            call=loop.call_soon_threadsafe,
            on_loss=lost,
            on_trouble=self._troubled,
        )

    def _troubled(self, reason: str | None) -> None:
        self.trouble = reason

    def arrive(self, at_us: int) -> tuple[str, int]:
        """Count a request as `began` does, and return its ID and when it arrived: see `Arrivals.arrive`."""
        self.began()
        return self.arrivals.arrive(at_us)

    def judge(self, entry: Exchanged, judged: Callable[[str | None], object]) -> None:
        """Call a function, now or later, with what the device of a request is told; None if the request may pass."""
        self.judging.refuse(exchange_of(entry, self.about), judged)

    def began(self) -> None:
        """Count a request that has come in and is to be recorded; `ended` must follow."""
        self._journal.saw()
        self._in_flight += 1
        self._is_idle.clear()

    def ended(self) -> None:
        """Count a request as no longer in flight: its exchange was put, and its answer is on its way."""
        self._in_flight -= 1
        if not self._in_flight:
            self._is_idle.set()

    async def idle(self, within_s: float) -> bool:
        """Wait until nothing is in flight, for at most ``within_s`` seconds; return whether that is so."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), max(0.0, within_s))
        return self._is_idle.is_set()

    def put(self, entry: Exchanged, done: Done | None = None) -> None:
        """Write an entry, with its personal values replaced if that is wanted. Never blocks, and never fails.

        Args:
            done: Called once it is written, and on disk where `is_durable`. None if nobody waits.
        """
        if self.meter is not None:
            done = self._metered(self.meter, operation_of(entry.request), entry.outcome, done)
        if not self.at_rest.is_on:
            self._journal.put(entry, done)
            return
        try:
            exchange = exchange_of(entry, self.about)
        except ValueError:  # what cannot be read cannot be looked through for personal values
            self.drop(
                Dropped(
                    id=entry.id,
                    received_us=entry.received_us,
                    method="a request",
                    path="that is no HTTP",
                    reason="its personal values cannot be replaced",
                    upstream=entry.upstream,
                ),
                done,
            )
        else:
            self._put(exchange, done)

    def put_exchange(self, exchange: Exchange, done: Done | None = None) -> None:
        """Write an exchange, as `put` does."""
        if self.meter is not None:
            done = self._metered(self.meter, exchange.route.operation.value, exchange.outcome.value, done)
        self._put(exchange, done)

    def _metered(self, meter: Meter, operation: str, outcome: str, done: Done | None) -> Done | None:
        """Count an exchange, and return what is to be called when it is written."""
        meter.count(operation, outcome)
        if done is None or not self.is_durable:
            return done
        began_s = time.perf_counter()

        def written(error: BaseException | None) -> None:
            meter.hold(time.perf_counter() - began_s)
            done(error)

        return written

    def _put(self, exchange: Exchange, done: Done | None) -> None:
        if self.at_rest.is_slow(exchange):
            size = len(exchange.request.body) + (len(exchange.response.body) if exchange.response is not None else 0)
            self._journal.put(Unmade(lambda: self._told(exchange), partial(self._named, exchange), size), done)
            return
        try:
            self._journal.put(self._told(exchange), done)
        except Refused as e:
            self.drop(e.dropped, done)

    def _told(self, exchange: Exchange) -> Exchanged:
        try:
            told = self.at_rest.told(exchange)
        except NotPseudonymised as e:
            raise Refused(self._named(exchange, f"its personal values cannot be replaced: {e}")) from None
        return entry_of(told, self.about.upstream)

    def _named(self, exchange: Exchange, reason: str) -> Dropped:
        """Return the name of an exchange that is lost, without personal values."""
        return Dropped(
            id=exchange.id,
            received_us=microseconds(exchange.received_at),
            method=exchange.request.method,
            path=self.at_rest.path(exchange.request.path),
            reason=reason,
            upstream=exchange.upstream,
        )

    def drop(self, dropped: Dropped, done: Done | None = None) -> None:
        """Count an exchange as lost, and have it told.

        Args:
            dropped: Its name, without personal values.
        """
        self._journal.drop(dropped, done)

    def lose(self, dropped: Dropped) -> None:
        """Count a request that has come in as lost and no longer in flight; its path may have personal values in it."""
        self.drop(
            Dropped(
                id=dropped.id,
                received_us=dropped.received_us,
                method=dropped.method,
                path=self.at_rest.path(dropped.path),
                reason=dropped.reason,
                upstream=dropped.upstream,
            )
        )
        self.ended()

    def counts(self) -> Counts:
        """Return the books so far."""
        return self._journal.counts()

    def standing(self) -> Told:
        """Return how it stands, for the pages of `proxy_addon.recording.metrics`."""
        counts, meter = self._journal.counts(), self.meter or Meter()
        return Told(
            meter=meter.document(),
            seen=counts.seen,
            journaled=counts.journaled,
            dropped=counts.dropped,
            trouble=self.trouble,
        )

    def close(self, timeout_s: float) -> Counts:
        """Write what waits, for at most ``timeout_s`` seconds, and return the books. Call it from any thread."""
        return self._journal.close(timeout_s)
