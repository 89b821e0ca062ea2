"""The answers in a recorded session, to be given again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from proxy_addon.core.exchange import Exchange, Outcome, Request, Response, header
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.routes import Operation
from proxy_addon.core.sessions import Membership, membership, session_id_of

type Case = tuple[Operation, str | None]
"""What is counted by itself in a session: the events of a type, or the preflights."""


class Ending(Enum):
    """How a request ends."""

    ANSWER = auto()
    """With an answer."""
    CUT = auto()
    """In the middle of the answer's body."""
    CLOSE = auto()
    """Without an answer, by closing the connection."""
    HANG = auto()
    """Without an answer, when the client leaves or the collector stops."""


_ENDINGS = {
    Outcome.UPSTREAM_TIMEOUT: Ending.HANG,
    Outcome.UPSTREAM_CLOSED: Ending.CLOSE,
    # It is too late to refuse a connection that was accepted; closed without an answer is the closest to it.
    Outcome.UPSTREAM_UNREACHABLE: Ending.CLOSE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded exchange, as far as it is given again.

    Attributes:
        ending: How it ended in production; None if nobody knows, as for a device that left before the answer.
        outcome: How it ended for the recorder.
        response: The answer; None unless the ending is an answer.
        duration_s: Seconds from the request's first byte to the answer's last; 0 if not known.
        origin: The request's ``Origin``; None if it had none.
    """

    ending: Ending | None
    outcome: Outcome
    response: Response | None
    duration_s: float
    origin: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One recorded session: how it was opened, and what followed.

    Attributes:
        opening: What the start or batch got; None if it was not recorded.
        operation: Of the start or batch.
        is_batch: Whether it was a batch.
        is_resumed: Whether the start picked up an earlier playback again.
        is_accepted: Whether the session was opened, so that no further attempt was due.
        session_id: The session ID in the answer or in the paths; None if there was none.
        rows: What the events of each type, and the preflights, got; by time of arrival.
    """

    opening: Recorded | None
    operation: Operation
    is_batch: bool
    is_resumed: bool
    is_accepted: bool
    session_id: str | None
    rows: Mapping[Case, Sequence[Recorded]]

    @classmethod
    def read(cls, exchanges: Iterable[Exchange]) -> Attempt:
        """Return what is needed of a session's exchanges, which come by time of arrival and are consumed at once."""
        opening: Exchange | None = None
        session_id = None
        rows: defaultdict[Case, list[Recorded]] = defaultdict(list)
        for exchange in exchanges:
            session_id = session_id or session_id_of(exchange)
            match membership(exchange):
                case Membership.OPENS:
                    opening = exchange
                case Membership.JOINS:
                    operation = exchange.route.operation
                    rows[operation, case_type(operation, exchange.request)].append(_recorded(exchange))
        is_batch = opening is not None and opening.request.reading.is_batch
        if session_id is None and opening is not None and opening.response is not None:
            session_id = session_id_in(find_location(opening.response.headers) or "")
        return cls(
            opening=None if opening is None else _recorded(opening),
            operation=Operation.SESSIONS if opening is None else opening.route.operation,
            is_batch=is_batch,
            is_resumed=opening is not None and is_resumed(opening.request),
            is_accepted=opening is None or (opening.is_accepted and (is_batch or session_id_of(opening) is not None)),
            session_id=session_id,
            rows=rows,
        )

    @property
    def can_be_given(self) -> bool:
        """Whether it is known what its start got, or its start was not recorded at all."""
        return self.opening is None or self.opening.ending is not None


def event_type_of(request: Request) -> str | None:
    """Return the type of the event in a request; None for a batch or a body without an event."""
    body = request.reading
    return None if body.is_batch or not body.events else body.events[0].type


def case_type(operation: Operation, request: Request) -> str | None:
    """Return the event type by which a request is counted; None for a preflight, which has no event."""
    return event_type_of(request) if operation is Operation.EVENTS else None


def is_resumed(request: Request) -> bool:
    """Whether a start picks up an earlier playback again."""
    return any(event.params.get("media.resume") is True for event in request.reading.events[:1])


def _recorded(exchange: Exchange) -> Recorded:
    response = exchange.response if exchange.outcome is Outcome.ANSWERED else None
    if response is not None and not 200 <= response.status <= 599:  # as a faulty server sends
        response = None
    return Recorded(
        ending=_ENDINGS.get(exchange.outcome) if response is None else Ending.ANSWER,
        outcome=exchange.outcome,
        response=response,
        duration_s=(exchange.duration_us or 0) / 1_000_000,
        origin=header(exchange.request.headers, "Origin"),
    )
