"""The answers of a recorded session, to be given again."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxy_addon.core.exchange import HOP_BY_HOP, Exchange, Outcome, Request, Response
from proxy_addon.core.routes import Operation

_OF_THE_CONNECTION = HOP_BY_HOP | {"content-length"}
"""Headers about the recorded connection or its framing; the new connection has its own values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded exchange, as far as it is given again.

    Attributes:
        number: Its number among those of the same operation, from 1.
        event_type: Type of the event in the request; None for a batch or a body without an event.
        response: The answer; None if the exchange has no complete one.
    """

    number: int
    event_type: str | None
    response: Response | None


class RecordedAnswers:
    """A queue of recorded answers for each operation; each answer is given once."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        """Queue the answers of exchanges, which come by time of arrival and are consumed at once."""
        self._rows: defaultdict[Operation, deque[Recorded]] = defaultdict(deque)
        for exchange in exchanges:
            row = self._rows[exchange.route.operation]
            type = event_type_of(exchange.request)
            row.append(Recorded(number=len(row) + 1, event_type=type, response=_answer_in(exchange)))

    def next(self, operation: Operation) -> Recorded | None:
        """Return the next recorded exchange of an operation; None if all have been given.

        One without a complete answer uses up its place in the queue, too, so that later answers match later requests.
        """
        row = self._rows[operation]
        return row.popleft() if row else None


def event_type_of(request: Request) -> str | None:
    """Return the type of the event in a request; None for a batch or a body without an event."""
    body = request.reading
    return None if body.is_batch or not body.events else body.events[0].type


def _answer_in(exchange: Exchange) -> Response | None:
    response = exchange.response
    if exchange.outcome is not Outcome.ANSWERED or response is None or not 200 <= response.status <= 599:
        return None
    headers = tuple(pair for pair in response.headers if pair[0].lower() not in _OF_THE_CONNECTION)
    return replace(response, headers=headers)
