"""From a recorded session to what a replay sends, and when.

A plan is a value, made before anything is sent: `--dry-run` prints what a run would send. `SessionPlan.request` fills
in what only the run knows: the new session ID and, with ``--timestamps now``, by how much times are shifted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from proxy_addon.core.events import Body, Event
from proxy_addon.core.exchange import HOP_BY_HOP, BodyState, Exchange, Headers, Outcome, Request, Response
from proxy_addon.core.protocol import rank_of
from proxy_addon.core.replays.runs import AFTER_KILLED, KILLED, Difference, Sent, Step, StepOutcome
from proxy_addon.core.replays.timestamps import Mode, Timestamps, shift_timestamps
from proxy_addon.core.routes import Operation, events_path
from proxy_addon.core.sessions import Membership, Session, SessionState, membership
from proxy_addon.errors import ProtocolError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_FORWARDED = HOP_BY_HOP | {"content-length", "expect", "host"}
"""Headers of the connection, and headers that are made anew for the request."""


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One request to send, or the reason why it is not sent.

    Attributes:
        seq: Position of the exchange in the recorded session, from 1.
        offset_s: Seconds from the recorded start of the session.
        opens: Whether it opens the session, so that its answer gives the new ID.
        request: The recorded request with its changes, without hop-by-hop headers. ``Host`` is only there, as the first
            header, if a change sets it.
        recorded: Upstream's recorded answer; None if it gave none.
        recorded_outcome: How the recorded exchange ended.
        skip: Why it is not sent; None for a step that is sent.
        spread_ms: By how many milliseconds each of its events is moved so that times differ; empty for not at all.
        remark: What to report about a step that is sent; None for nothing.
        ts_ms: ``ts`` of its one event; None for a batch or an event without a valid one.
        places: See `Changed`.
        differences: See `Changed`.
    """

    seq: int
    event_type: str | None
    offset_s: float
    opens: bool
    request: Request
    recorded: Response | None
    recorded_outcome: Outcome
    skip: str | None = None
    spread_ms: tuple[int, ...] = ()
    remark: str | None = None
    ts_ms: int | None = None
    places: Mapping[int, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()

    def result(self, outcome: StepOutcome, **rest: Any) -> Step:
        """Return the step with its outcome and further arguments of `Step`."""
        return Step(
            seq=self.seq,
            event_type=self.event_type,
            outcome=outcome,
            recorded_status=None if self.recorded is None else self.recorded.status,
            **rest,
        )

    def sent(self, request: Request) -> Sent:
        """Return what the run stores about the request that was sent."""
        return Sent(body_sha256=request.body_sha256, places=self.places, differences=self.differences)

    def path(self, session_id: str | None, new_session_id: str | None) -> str:
        """Return the path to request, with the new ID in place of the recorded one."""
        if self.opens or session_id is None or new_session_id is None:
            return self.request.path
        return events_path(self.request.path, session_id, new_session_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What to send of one session, in recorded order.

    Attributes:
        start_ts_ms: ``ts`` of its ``sessionStart`` after changes; None if it has no valid one.
        most_at_once: The largest number of its events that were in flight at once while recording; at least 1.
    """

    session: Session
    steps: tuple[PlannedStep, ...]
    start_ts_ms: int | None
    most_at_once: int = 1

    def shift_ms(self, timestamps: Timestamps, begins_at: datetime) -> int | None:
        """Return by how many milliseconds its times move if its start is sent at a given time; None if unknown."""
        if timestamps.mode is not Mode.NOW:
            return timestamps.shift_ms
        if self.start_ts_ms is None:
            return None
        return (begins_at - _EPOCH) // timedelta(milliseconds=1) - self.start_ts_ms

    def request(
        self, step: PlannedStep, new_session_id: str | None, timestamps: Timestamps, shift_ms: int | None
    ) -> tuple[Request, str | None]:
        """Return the request to send for a step, and what to report about it.

        Args:
            shift_ms: The result of the method `shift_ms`.
        """
        path = step.path(self.session.session_id, new_session_id)
        body, remark = step.request.body, step.remark
        if timestamps.mode is not Mode.KEEP or any(step.spread_ms):
            try:
                if shift_ms is None:
                    raise ProtocolError("the start has no ts")  # noqa: TRY301  # one place to say so
                body = shift_timestamps(body, shift_ms, step.spread_ms, ts_ms=step.ts_ms)
            except ProtocolError as e:
                remark = "; ".join(filter(None, (remark, f"sent with its recorded times: {e}")))
        return replace(step.request, path=path, body=body), remark


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A recorded request with changes applied.

    Attributes:
        request: The changed request, still with the headers of the connection.
        remark: What to report about it; None for nothing.
        host: The ``Host`` that a change sets; None for the target's.
        places: How many places each change changed, by its number in the run; changes without effect are left out.
        differences: What the changes did; ``a`` is the recorded value.
    """

    request: Request
    remark: str | None = None
    host: str | None = None
    places: Mapping[int, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()


RequestChange = Callable[[Request], Changed]
"""Changes a recorded request before it is sent. A `ProtocolError` says why it must not be sent at all."""


def as_it_is(request: Request) -> Changed:
    """Change nothing."""
    return Changed(request=request)


def plan_session(
    session: Session,
    exchanges: Iterable[Exchange],
    *,
    skip: str | None = None,
    change: RequestChange = as_it_is,
    spreads_equal_ts: bool = False,
) -> SessionPlan:
    """Plan one session.

    Args:
        exchanges: The exchanges of the session, by time of arrival.
        skip: Why no request of the session is sent; None to send it.
        change: Applied to each request; timestamps are read after it.
        spreads_equal_ts: Whether events with the same ``ts`` are moved apart by 1 ms each, in the order that SDKs mean.
    """
    steps: list[PlannedStep] = []
    spans: list[tuple[datetime, datetime]] = []
    bodies: list[Body] = []
    start = Event()
    origin = None
    if not session.start_seen:
        skip = "its start was not recorded, so there is no session to open"
    for seq, exchange in enumerate(exchanges, 1):
        opens = membership(exchange) is Membership.OPENS
        body = exchange.request.reading
        is_first = opens and origin is None
        if is_first:
            origin = exchange.received_at
        since = exchange.received_at - (origin or exchange.received_at)
        reason = skip or _reason_to_skip(exchange)
        recorded = _as_kept(exchange.request)
        changed, ts_ms = as_it_is(recorded), None
        if reason is None:
            try:
                changed = change(recorded)
            except ProtocolError as e:
                reason = str(e)
        request = changed.request
        if is_first:
            start = next((event for event in request.reading.events if event.type == "sessionStart"), start)
        if reason is None:
            bodies.append(request.reading)
            if not request.reading.is_batch and request.reading.events:
                ts_ms = request.reading.events[0].ts_ms
            if not opens:
                took = timedelta(microseconds=exchange.duration_us or 0)
                spans.append((exchange.received_at, exchange.received_at + took))
        steps.append(
            PlannedStep(
                seq=seq,
                event_type=body.events[0].type if body.events and not body.is_batch else None,
                offset_s=since.total_seconds(),
                opens=opens,
                request=replace(request, headers=_forwarded(request.headers, changed.host)),
                recorded=exchange.response if exchange.outcome is Outcome.ANSWERED else None,
                recorded_outcome=exchange.outcome,
                skip=reason,
                remark=changed.remark,
                ts_ms=ts_ms,
                places=changed.places,
                differences=changed.differences,
            )
        )
    if spreads_equal_ts:
        spread = iter(_spread(bodies))
        steps = [step if step.skip is not None else replace(step, spread_ms=next(spread)) for step in steps]
    # Events can overtake their start while recording, but cannot be sent before it.
    steps.sort(key=lambda step: not step.opens)
    return SessionPlan(session=session, steps=tuple(steps), start_ts_ms=start.ts_ms, most_at_once=_most_at_once(spans))


def _spread(bodies: Sequence[Body]) -> list[tuple[int, ...]]:
    """Return, for each body, by how many milliseconds each event is moved so that no two have the same time.

    Source: Media Collection API, session rules, method: the order in which SDKs mean events with the same time.
    """
    timed = [
        (event.ts_ms, rank_of(event.type), place, index)
        for place, body in enumerate(bodies)
        for index, event in enumerate(body.events)
        if event.ts_ms is not None
    ]
    moves = [[0] * len(body.events) for body in bodies]
    last: int | None = None
    for ts_ms, _, place, index in sorted(timed):
        last = ts_ms if last is None else max(ts_ms, last + 1)
        moves[place][index] = last - ts_ms
    return [tuple(move) for move in moves]


def _most_at_once(spans: Iterable[tuple[datetime, datetime]]) -> int:
    """Return the largest number of spans that overlap, at least 1; spans that only touch do not overlap."""
    edges = sorted(edge for begin, end in spans if end > begin for edge in ((begin, 1), (end, -1)))
    return max(accumulate((change for _, change in edges), initial=0), default=0) or 1


def cut_short(plan: SessionPlan, noted: Collection[int], announced: int | None = None) -> Iterator[Step]:
    """Yield the missing steps of a session in whose middle a run was killed.

    Announced steps may have reached the target; later ones were not sent.

    Args:
        noted: The ``seq`` of each step whose result is known.
        announced: How many steps, from the first in the plan's order, may have been sent; None for all.
    """
    for number, planned in enumerate(plan.steps, 1):
        if planned.seq in noted:
            continue
        if planned.skip is not None:
            yield planned.result(StepOutcome.SKIPPED, reason=planned.skip)
        elif announced is None or number <= announced:
            yield planned.result(StepOutcome.FAILED, reason=KILLED)
        else:
            yield planned.result(StepOutcome.SKIPPED, reason=AFTER_KILLED)


def repeated_starts(sessions: Sequence[Session]) -> dict[str, str]:
    """Find the sessions that are superseded by another attempt to open the same playback.

    Source: Media Collection API, hints for the proxy: never replay the repeated attempts of one ``sessionStart``.

    Returns:
        The reason to skip each superseded session, by our id. Of each chain of attempts, the one that worked with the
        most events is kept, or the one with the most events if none worked; the latest if there are several.
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


def _as_kept(request: Request) -> Request:
    """Return a request without the ``Content-Encoding`` of a body that a tool has kept decompressed."""
    if request.body_state is not BodyState.DECODED:
        return request
    kept = tuple(pair for pair in request.headers if pair[0].lower() != "content-encoding")
    return replace(request, headers=kept, body_state=BodyState.EXACT)


def _reason_to_skip(exchange: Exchange) -> str | None:
    match exchange.request.body_state:
        case BodyState.MISSING:
            return "its body is not in the file that it comes from"
        case BodyState.DAMAGED:
            return "its body is damaged in the file that it comes from"
        case BodyState.TRUNCATED:
            return "its body was too long to store whole"
    if exchange.route.operation is Operation.PREFLIGHT:
        return "preflight: browsers make their own"
    if not exchange.request.complete:
        return "the device disconnected during its request; the upstream never saw it"
    if exchange.outcome is Outcome.REJECTED:
        return "it was refused before it was sent on; the upstream never saw it"
    return None


@functools.lru_cache(maxsize=1024)
def _forwarded(headers: Headers, host: str | None) -> Headers:
    connection = (value for name, value in headers if name.lower() == "connection")
    named = {name.strip().lower() for value in connection for name in value.split(",")}
    hosts = () if host is None else (("Host", host),)
    return hosts + tuple((name, value) for name, value in headers if name.lower() not in NOT_FORWARDED | named)
