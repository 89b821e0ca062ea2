"""Collects the events of a session while its exchanges stream by, and returns its metrics."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace

from proxy_addon.core.audits.arrivals import Arrival, arrivals_of
from proxy_addon.core.audits.metrics import Count, Metrics, metrics_of
from proxy_addon.core.audits.ordering import Order, ordered
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.sessions import is_batch
from proxy_addon.core.routes import TRACKING


class MetricsWatch:
    """Collects the events of one session.

    Attributes:
        arrivals: The events that the back end got, in the order of arrival.
        is_batch: Whether they are downloaded playback.
    """

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.is_batch = False
        self._refused = self._unknown = 0
        self._start_refused = False

    def watching(self, exchanges: Iterable[Exchange]) -> Generator[Exchange]:
        """Yield the exchanges of the session, which must come in the order of arrival."""
        for seq, exchange in enumerate(exchanges, 1):
            self._take(exchange, seq)
            yield exchange

    def _take(self, exchange: Exchange, seq: int) -> None:
        arrived = list(arrivals_of(exchange, seq))
        self.arrivals += arrived
        self._unknown += exchange.route.operation in TRACKING and not exchange.request.body_state.is_known
        self.is_batch = self.is_batch or (bool(arrived) and is_batch(exchange))
        if not arrived and exchange.route.operation in TRACKING:
            events = exchange.request.reading.events
            self._refused += len(events)
            self._start_refused = self._start_refused or any(event.type == "sessionStart" for event in events)

    def order(self) -> Order:
        """Return the events in the order in which the back end takes them; call it like `metrics`."""
        return ordered(self.arrivals, is_batch=self.is_batch)

    def metrics(self, *, is_over: bool) -> Metrics:
        """Return the metrics; call it when all exchanges were yielded.

        Args:
            is_over: Whether no event will follow.
        """
        metrics = metrics_of(self.arrivals, is_batch=self.is_batch, is_over=is_over, opened=self._opened)
        return replace(metrics, refused=self._refused, unknown=self._unknown)

    def count(self, order: Order, *, is_over: bool) -> Count:
        """Return what the session counts under the chosen readings alone, which is quicker than `metrics`.

        Args:
            order: What `order` returned.
            is_over: Whether no event will follow.
        """
        return Count(order, is_batch=self.is_batch, is_over=is_over, opened=self._opened)

    @property
    def _opened(self) -> bool:
        return not self._start_refused or any(event.start is not None for event in self.arrivals)
