"""Fold exchanges into sessions.

A session is one playback. What an exchange does to sessions is its `Membership`: it opens one, joins one, or belongs
to none. `opened` and `joined` fold one exchange into a `Session`; they are pure, so the recorder, which folds as
exchanges come in, and whoever reads a file get the same sessions. Exchanges of one session may be folded in any order:
parallel requests and several recorders deliver them so.

Sources: Media Collection API, endpoints, timeouts, what real clients send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.routes import Operation

IDLE_TIMEOUT = timedelta(minutes=10)
"""The back end closes a session after this long without an event (documented timeout)."""
PLAYHEAD_TIMEOUT = timedelta(minutes=30)
"""The back end closes a session after this long without playhead movement (documented timeout)."""
RETRY_WINDOW = timedelta(seconds=65)
"""Longest time from one attempt to open a session to the next: iOS repeats 60 s after it learned of the failure."""
BESIDE_WINDOW = timedelta(seconds=5)
"""Sessions that one device opens for one content within this time are one playback to its viewer."""


class SessionState(StrEnum):
    """Where a session stands; the first that fits, in this order."""

    FAILED = "failed"
    """Its start or batch was not answered 2xx, or without a usable session ID where one is due."""
    PARTIAL = "partial"
    """Its start was not seen."""
    ENDED = "ended"
    """``sessionEnd`` was seen, or it is an accepted batch."""
    COMPLETED = "completed"
    """``sessionComplete`` was seen."""
    EXPIRED = "expired"
    """By the back end's timeouts; worked out when read."""
    OPEN = "open"


class Membership(StrEnum):
    """What an exchange does to sessions."""

    OPENS = "opens"
    JOINS = "joins"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class FindingCounts:
    """Findings of a session, each counted once."""

    error: int = 0
    warning: int = 0
    info: int = 0

    def __bool__(self) -> bool:
        return bool(self.error or self.warning or self.info)

    def __add__(self, more: FindingCounts) -> FindingCounts:
        return FindingCounts(
            error=self.error + more.error, warning=self.warning + more.warning, info=self.info + more.info
        )

    def plus(self, findings: Iterable[Finding]) -> FindingCounts:
        """Return the counts with more findings in them."""
        more = Counter(finding.severity for finding in findings)
        if not more:
            return self
        return self + FindingCounts(
            error=more[Severity.ERROR], warning=more[Severity.WARNING], info=more[Severity.INFO]
        )


@dataclass(frozen=True, kw_only=True)
class AsOf:
    """When, and by which settings, a session is read: it runs out without anything happening that could be stored.

    Attributes:
        now: What sessions that nobody has closed are measured against.
        idle_timeout: So long without an event closes a session.
        unclosed: What a session counts that has run out, as nobody has closed it.
    """

    now: datetime
    idle_timeout: timedelta = IDLE_TIMEOUT
    unclosed: FindingCounts = FindingCounts()


@dataclass(frozen=True, kw_only=True)
class Session:
    """One playback, from its start to its end.

    Attributes:
        id: Our own; starts that got no ID have one too.
        upstream: The server it was reported to; the same back-end ID on two upstreams is two sessions.
        session_id: The back end's; None where it gave none.
        retry_of: ``id`` of the first of several attempts to open this playback; None for the first itself.
        recording: Name of the recording; None where it has none.
        started_at: Arrival of its first exchange.
        last_event_at: Arrival of its last event; of its first exchange while it has none.
        playhead_s: Playhead of the latest event that had one.
        playhead_moved_at: Arrival of the event with which the playhead last moved; of its first exchange while no event
            had a playhead. An event folded after a later one does not count.
        start_sha256: Hash of the body that opened it, by which attempts are recognised; None where it has no start.
        exchanges: Number of exchanges, preflights of its events included.
        events: Number of tracking events in them, ``sessionStart`` and each element of a batch included.
    """

    id: str
    upstream: str
    session_id: str | None
    started_at: datetime
    last_event_at: datetime
    playhead_moved_at: datetime
    playhead_s: float | None = None
    retry_of: str | None = None
    recording: str | None = None
    start_seen: bool = False
    failed: bool = False
    ended: bool = False
    completed: bool = False
    start_sha256: str | None = None
    player_name: str | None = None
    media_id: str | None = None
    media_name: str | None = None
    content_type: str | None = None
    app_version: str | None = None
    library_version: str | None = None
    user_agent: str | None = None
    client_address: str | None = None
    exchanges: int = 0
    events: int = 0
    findings: FindingCounts = FindingCounts()

    @property
    def lasting_state(self) -> SessionState:
        """The state as far as it does not depend on the time of reading: an expired session counts as open."""
        if self.failed:
            return SessionState.FAILED
        if not self.start_seen:
            return SessionState.PARTIAL
        if self.ended:
            return SessionState.ENDED
        return SessionState.COMPLETED if self.completed else SessionState.OPEN

    def state(self, as_of: AsOf) -> SessionState:
        """The state at a time."""
        lasting = self.lasting_state
        return SessionState.EXPIRED if lasting is SessionState.OPEN and self._timed_out(as_of) else lasting

    @property
    def is_closed(self) -> bool:
        """Whether its player has closed it. A failed one has never begun."""
        return not self.failed and (self.ended or self.completed)

    def is_over(self, as_of: AsOf) -> bool:
        """Whether no event will follow: it was closed, or ran into a timeout."""
        return self.is_closed or self.has_run_out(as_of)

    def has_run_out(self, as_of: AsOf) -> bool:
        """Whether nothing but a timeout has ended it, as nobody has closed it."""
        return not self.failed and not self.is_closed and self._timed_out(as_of)

    def finding_counts(self, as_of: AsOf) -> FindingCounts:
        """The counts at a time."""
        return self.findings + as_of.unclosed if self.events and self.has_run_out(as_of) else self.findings

    def _timed_out(self, as_of: AsOf) -> bool:
        idle, stalled = as_of.now - self.last_event_at, as_of.now - self.playhead_moved_at
        return idle >= as_of.idle_timeout or stalled >= PLAYHEAD_TIMEOUT


def membership(exchange: Exchange) -> Membership:
    """Tell what an exchange does to sessions.

    Posts to ``sessions`` and ``downloaded`` open one, whatever became of them. Posts to an ``events`` path and the
    preflights of one join the session named there. Schemas, preflights of other paths and everything unknown belong
    to none.
    """
    operation = exchange.route.operation
    if operation in (Operation.SESSIONS, Operation.DOWNLOADED):
        return Membership.OPENS
    if exchange.route.session_id is not None and operation in (Operation.EVENTS, Operation.PREFLIGHT):
        return Membership.JOINS
    return Membership.NONE


def session_id_of(exchange: Exchange) -> str | None:
    """Return the back-end ID of the session an exchange opens or joins; None where there is none.

    For a start that is the ID upstream gave in ``Location`` with a 2xx answer.
    """
    match membership(exchange):
        case Membership.JOINS:
            return exchange.route.session_id
        case Membership.OPENS if exchange.is_accepted and exchange.response is not None:
            location = find_location(exchange.response.headers)
            return session_id_in(location) if location else None
    return None


def start_sha256(exchange: Exchange) -> str | None:
    """Return the hash by which another attempt to open the same playback is recognised.

    SDKs repeat the very bytes, time included; a body without a ``sessionStart`` and its time might be anything.
    """
    events = exchange.request.reading.events
    if any(event.type == "sessionStart" and event.ts_ms is not None for event in events):
        return exchange.request.body_sha256
    return None


def opened(exchange: Exchange, *, id: str, recording: str | None = None, retry_of: str | None = None) -> Session:
    """Return the session that an exchange opens."""
    return _with_start(_blank(exchange, id, recording), exchange, retry_of)


def begun_late(exchange: Exchange, *, id: str, recording: str | None = None) -> Session:
    """Return the session that an exchange joins although its start was not seen."""
    return joined(_blank(exchange, id, recording), exchange)


def start_found(session: Session, exchange: Exchange, retry_of: str | None = None) -> Session:
    """Return a session whose start comes to light after other exchanges of it, as with several recorders."""
    return _with_start(session, exchange, retry_of)


def joined(session: Session, exchange: Exchange) -> Session:
    """Return a session with one more exchange in it."""
    events = exchange.request.reading.events if exchange.route.operation is Operation.EVENTS else ()
    session = _with_events(session, exchange, events)
    return replace(
        session,
        exchanges=session.exchanges + 1,
        user_agent=session.user_agent or header(exchange.request.headers, "user-agent"),
        client_address=session.client_address or exchange.client_address,
    )


def _blank(exchange: Exchange, id: str, recording: str | None) -> Session:
    at = exchange.received_at
    return Session(
        id=id,
        upstream=exchange.upstream,
        session_id=session_id_of(exchange),
        recording=recording,
        started_at=at,
        last_event_at=at,
        playhead_moved_at=at,
    )


def _with_start(session: Session, exchange: Exchange, retry_of: str | None) -> Session:
    body = exchange.request.reading
    is_batch = body.is_batch or exchange.route.operation is Operation.DOWNLOADED
    start = next((event for event in body.events if event.type == "sessionStart"), Event())
    last_type = body.events[-1].type if body.events else None
    # A batch needs no ID: none is documented for it, and the mobile SDKs do not read one.
    failed = not exchange.is_accepted or (not is_batch and session.session_id is None)
    session = _with_events(session, exchange, body.events)
    return replace(
        session,
        start_seen=True,
        failed=failed,
        ended=session.ended or (is_batch and last_type != "sessionComplete"),
        retry_of=retry_of,
        start_sha256=start_sha256(exchange),
        player_name=start.text("media.playerName"),
        media_id=start.text("media.id"),
        media_name=start.text("media.name"),
        content_type=start.text("media.contentType"),
        app_version=start.text("media.sdkVersion"),
        library_version=start.text("media.libraryVersion"),
        user_agent=header(exchange.request.headers, "user-agent") or session.user_agent,
        client_address=exchange.client_address or session.client_address,
        exchanges=session.exchanges + 1,
    )


def _with_events(session: Session, exchange: Exchange, events: tuple[Event, ...]) -> Session:
    at = exchange.received_at
    started_at = min(session.started_at, at)
    # Until there is an event, or a playhead, the arrival of the first exchange stands in for its.
    last_event_at = session.last_event_at if session.events else started_at
    playhead, moved_at = session.playhead_s, session.playhead_moved_at
    if playhead is None:
        moved_at = started_at
    if not events:
        return replace(session, started_at=started_at, last_event_at=last_event_at, playhead_moved_at=moved_at)
    is_latest = session.events == 0 or at >= last_event_at
    if is_latest or playhead is None:  # what arrives late says nothing about where the playhead is now
        for event in events:
            if event.playhead_s is not None and event.playhead_s != playhead:
                playhead, moved_at = float(event.playhead_s), at
    last_type = events[-1].type
    refused = exchange.outcome is Outcome.REJECTED  # upstream never saw it
    return replace(
        session,
        started_at=started_at,
        last_event_at=at if is_latest else last_event_at,
        playhead_s=playhead,
        playhead_moved_at=moved_at,
        ended=session.ended or (last_type == "sessionEnd" and not refused),
        completed=session.completed or (last_type == "sessionComplete" and not refused),
        events=session.events + len(events),
    )
