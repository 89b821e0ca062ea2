"""The answers of a recorded session, to be given once more."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace

from proxy_addon.core.exchange import HOP_BY_HOP, Exchange, Outcome, Response
from proxy_addon.core.routes import Operation

_OF_THE_CONNECTION = HOP_BY_HOP | {"content-length"}
"""Headers about the recorded connection or its framing; the new connection has its own."""


class RecordedAnswers:
    """Answers in the order they were recorded, a row for each operation; each is given once."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        """Keep the answers of exchanges, given by time of arrival; they are consumed at once."""
        self._rows: defaultdict[Operation, deque[Response | None]] = defaultdict(deque)
        for exchange in exchanges:
            self._rows[exchange.route.operation].append(_answer_in(exchange))

    def next(self, operation: Operation) -> Response | None:
        """Return the next recorded answer to an operation.

        None where all have been given, and where this one has no complete answer in the recording: the place in the
        row is used up all the same, so that those behind it keep theirs.
        """
        row = self._rows[operation]
        return row.popleft() if row else None


def _answer_in(exchange: Exchange) -> Response | None:
    response = exchange.response
    if exchange.outcome is not Outcome.ANSWERED or response is None or not 200 <= response.status <= 599:
        return None
    headers = tuple(pair for pair in response.headers if pair[0].lower() not in _OF_THE_CONNECTION)
    return replace(response, headers=headers)
