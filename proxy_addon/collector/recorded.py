"""The answers of a recorded session, to be given again."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace

from proxy_addon.core.exchange import HOP_BY_HOP, Exchange, Outcome, Response
from proxy_addon.core.routes import Operation

_OF_THE_CONNECTION = HOP_BY_HOP | {"content-length"}
"""Headers about the recorded connection or its framing; the new connection has its own values."""


class RecordedAnswers:
    """A queue of recorded answers for each operation; each answer is given once."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        """Queue the answers of exchanges, which come by time of arrival and are consumed at once."""
        self._rows: defaultdict[Operation, deque[Response | None]] = defaultdict(deque)
        for exchange in exchanges:
            self._rows[exchange.route.operation].append(_answer_in(exchange))

    def next(self, operation: Operation) -> Response | None:
        """Return the next recorded answer to an operation.

        None if all have been given, or if the next exchange has no complete answer. Such an exchange still uses up its
        place in the queue, so that later answers match later requests.
        """
        row = self._rows[operation]
        return row.popleft() if row else None


def _answer_in(exchange: Exchange) -> Response | None:
    response = exchange.response
    if exchange.outcome is not Outcome.ANSWERED or response is None or not 200 <= response.status <= 599:
        return None
    headers = tuple(pair for pair in response.headers if pair[0].lower() not in _OF_THE_CONNECTION)
    return replace(response, headers=headers)
