"""From a recorded session to what a replay sends, and when.

A plan is a value, worked out before anything is sent. What only the run can know stays open in it: the new session ID
(a placeholder in the path) and, with ``--timestamps now``, by how much times are shifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Headers, Outcome, Request, Response
from proxy_addon.core.routes import Operation, events_path
from proxy_addon.core.sessions import Membership, Session, SessionState, membership

_NOT_FORWARDED = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Hop-by-hop headers (RFC 9110, 7.6.1) and those that the new request gets anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One request to send, or the reason why it is not.

    Attributes:
        seq: Place of the exchange in the recorded session, from 1.
        offset_s: Recorded distance from the session's start in seconds.
        opens: Whether it opens the session, so that its answer gives the new ID.
        request: As recorded, without hop-by-hop headers.
        recorded: Upstream's recorded answer; None where it gave none.
        recorded_outcome: How the recorded exchange ended.
        skip: Why it is not sent; None for a step that is.
    """

    seq: int
    event_type: str | None
    offset_s: float
    opens: bool
    request: Request
    recorded: Response | None
    recorded_outcome: Outcome
    skip: str | None = None

    def path(self, session_id: str | None, new_session_id: str | None) -> str:
        """Return the path to ask for, with the new ID in place of the recorded one."""
        if self.opens or session_id is None or new_session_id is None:
            return self.request.path
        return events_path(self.request.path, session_id, new_session_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What to send of one session, in recorded order.

    Attributes:
        start_ts_ms: ``ts`` of its ``sessionStart``; None where there is none to go by.
    """

    session: Session
    steps: tuple[PlannedStep, ...]
    start_ts_ms: int | None


def plan_session(session: Session, exchanges: Iterable[Exchange], *, skip: str | None = None) -> SessionPlan:
    """Plan one session.

    Args:
        exchanges: Those of the session, by time of arrival.
        skip: A reason not to send any of it.
    """
    steps: list[PlannedStep] = []
    start = Event()
    origin = None
    if not session.start_seen:
        skip = "its start was not recorded, so there is no session to open"
    for seq, exchange in enumerate(exchanges, 1):
        opens = membership(exchange) is Membership.OPENS
        body = exchange.request.reading
        if opens and origin is None:
            origin = exchange.received_at
            start = next((event for event in body.events if event.type == "sessionStart"), start)
        since = exchange.received_at - (origin or exchange.received_at)
        steps.append(
            PlannedStep(
                seq=seq,
                event_type=body.events[0].type if body.events and not body.is_batch else None,
                offset_s=since.total_seconds(),
                opens=opens,
                request=replace(exchange.request, headers=_forwarded(exchange.request.headers)),
                recorded=exchange.response if exchange.outcome is Outcome.ANSWERED else None,
                recorded_outcome=exchange.outcome,
                skip=skip or _reason_to_skip(exchange),
            )
        )
    # Events can overtake their start on the way into a store; they cannot be sent before it.
    steps.sort(key=lambda step: not step.opens)
    return SessionPlan(session=session, steps=tuple(steps), start_ts_ms=start.ts_ms)


def repeated_starts(sessions: Sequence[Session]) -> dict[str, str]:
    """Find the attempts to open a playback that another one of the given sessions makes needless.

    Source: Media Collection API, hints for the proxy: never replay the repeated attempts of one ``sessionStart``.

    Returns:
        Reason to skip by our session id. Of each chain of attempts that one is kept which worked and got most events,
        the last of several such; the last one of all where none worked.
    """
    attempts: dict[str, list[Session]] = {}
    for session in sessions:
        attempts.setdefault(session.retry_of or session.id, []).append(session)
    reasons = {}
    for chain in attempts.values():
        chain.sort(key=lambda s: (s.lasting_state is not SessionState.FAILED, s.events, s.started_at))
        kept = chain.pop()
        for session in chain:
            reasons[session.id] = f"another attempt to open the same playback, {kept.id}, is sent"
    return reasons


def _reason_to_skip(exchange: Exchange) -> str | None:
    if exchange.route.operation is Operation.PREFLIGHT:
        return "preflight: browsers make their own"
    if not exchange.request.complete:
        return "the device left in the middle of its request; upstream never saw it"
    if exchange.outcome is Outcome.REJECTED:
        return "the proxy refused it while recording; upstream never saw it"
    return None


def _forwarded(headers: Headers) -> Headers:
    connection = (value for name, value in headers if name.lower() == "connection")
    named = {name.strip().lower() for value in connection for name in value.split(",")}
    return tuple((name, value) for name, value in headers if name.lower() not in _NOT_FORWARDED | named)
