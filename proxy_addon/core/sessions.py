"""Fold exchanges into sessions.

A session is one playback. The `Membership` of an exchange says whether it opens a session, joins one, or belongs to
none. `opened` and `joined` fold one exchange into a `Session`. They are pure functions, so the recorder, which folds
exchanges as they arrive, and readers of a file get the same sessions. The exchanges of a session may be folded in any
order, because parallel requests and several recorders deliver them in any order.

Sources: Media Collection API, endpoints, timeouts, what real clients send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.frozen import changed
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.routes import TRACKING, Operation

IDLE_TIMEOUT = timedelta(minutes=10)
"""The back end closes a session after this long without an event (documented timeout)."""
PLAYHEAD_TIMEOUT = timedelta(minutes=30)
"""The back end closes a session after this long without playhead movement (documented timeout)."""
RETRY_WINDOW = timedelta(seconds=65)
"""Longest time between two attempts to open a session: iOS retries 60 s after it learned of the failure."""
BESIDE_WINDOW = timedelta(seconds=5)
"""If a device opens two sessions for the same content within this time, its viewer sees one playback."""


class SessionState(StrEnum):
    """The state of a session: the first in this order that applies."""

    FAILED = "failed"
    """Its start or batch was not answered with 2xx, or the answer lacked a usable session ID where one is due."""
    PARTIAL = "partial"
    """Its start was not seen."""
    ENDED = "ended"
    """``sessionEnd`` was seen, or it is an accepted batch."""
    COMPLETED = "completed"
    """``sessionComplete`` was seen."""
    EXPIRED = "expired"
    """The back end has closed it after a timeout; determined when the session is read."""
    OPEN = "open"


class Membership(StrEnum):
    """What an exchange does to sessions."""

    OPENS = "opens"
    JOINS = "joins"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class FindingCounts:
    """How many findings a session has, by severity; a finding with several places counts once."""

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
        """Return the counts with more findings added."""
        more = Counter(finding.severity for finding in findings)
        if not more:
            return self
        return self + FindingCounts(
            error=more[Severity.ERROR], warning=more[Severity.WARNING], info=more[Severity.INFO]
        )


@dataclass(frozen=True, kw_only=True)
class AsOf:
    """The time and settings by which a session is read. They are needed because a timeout is not an event to store.

    Attributes:
        now: The time by which unclosed sessions may have timed out.
        idle_timeout: How long without an event closes a session.
        unclosed: Findings to add to a session that timed out without being closed.
    """

    now: datetime
    idle_timeout: timedelta = IDLE_TIMEOUT
    unclosed: FindingCounts = FindingCounts()


@dataclass(frozen=True, kw_only=True)
class Session:
    """One playback, from its start to its end.

    Attributes:
        id: Our own id; starts that got no session ID have one, too.
        upstream: The server it was reported to. The same session ID on two upstreams means two sessions.
        session_id: The back end's ID; None if it gave none.
        retry_of: ``id`` of the first of several attempts to open this playback; None for the first itself.
        recording: Name of the recording; None if it has none.
        started_at: Arrival of its first exchange.
        last_event_at: Arrival of its last event; before the first event, arrival of its first exchange.
        playhead_s: Playhead of the latest event that had one.
        playhead_moved_at: Arrival of the event in which the playhead last moved; before the first playhead, arrival of
            its first exchange. An event that is folded after a later one does not count.
        start_sha256: Hash of the body that opened it, by which retries are recognised; None if it has no start.
        exchanges: Number of exchanges, including preflights of its events.
        events: Number of tracking events in them, including ``sessionStart`` and each element of a batch.
        has_holes: Whether exchanges of it, or bodies of such, are not known: its recorders lost them, or the file that it
            was imported from lacks them.
        pseudonymised: Whether personal values in all of it were replaced by tokens.
        lost: Number of exchanges that its recorders saw and could not store; see `storage.models.LossRow`.
        not_accepted: Number of events that upstream refused, failed at, or did not answer.
        strip: Its playback in a strip, as `proxy_addon.core.timelines.strips` reads it; None if it was not drawn.
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
    has_holes: bool = False
    pseudonymised: bool = False
    lost: int = 0
    not_accepted: int = 0
    strip: str | None = None
    findings: FindingCounts = FindingCounts()

    @property
    def lasting_state(self) -> SessionState:
        """The state without timeouts, which depend on the time of reading: an expired session counts as open."""
        if self.failed:
            return SessionState.FAILED
        if not self.start_seen:
            return SessionState.PARTIAL
        if self.ended:
            return SessionState.ENDED
        return SessionState.COMPLETED if self.completed else SessionState.OPEN

    def state(self, as_of: AsOf) -> SessionState:
        """The state at a given time."""
        lasting = self.lasting_state
        return SessionState.EXPIRED if lasting is SessionState.OPEN and self._timed_out(as_of) else lasting

    @property
    def is_closed(self) -> bool:
        """Whether its player has closed it; never true for a failed session, which never began."""
        return not self.failed and (self.ended or self.completed)

    def is_over(self, as_of: AsOf) -> bool:
        """Whether no event will follow, because it was closed or ran into a timeout."""
        return self.is_closed or self.has_run_out(as_of)

    def has_run_out(self, as_of: AsOf) -> bool:
        """Whether it ended only by a timeout, because its player did not close it."""
        return not self.failed and not self.is_closed and self._timed_out(as_of)

    def finding_counts(self, as_of: AsOf) -> FindingCounts:
        """The counts at a given time."""
        is_unclosed = self.events and self.has_run_out(as_of) and not self.has_holes
        return self.findings + as_of.unclosed if is_unclosed else self.findings

    def _timed_out(self, as_of: AsOf) -> bool:
        idle, stalled = as_of.now - self.last_event_at, as_of.now - self.playhead_moved_at
        return idle >= as_of.idle_timeout or stalled >= PLAYHEAD_TIMEOUT


def membership(exchange: Exchange) -> Membership:
    """Return what an exchange does to sessions.

    Posts to ``sessions`` and ``downloaded`` open a session, whatever the answer. Posts to an ``events`` path, and
    preflights for one, join the session in the path. Schemas, other preflights and everything unknown belong to no
    session.
    """
    operation = exchange.route.operation
    if operation in (Operation.SESSIONS, Operation.DOWNLOADED):
        return Membership.OPENS
    if exchange.route.session_id is not None and operation in (Operation.EVENTS, Operation.PREFLIGHT):
        return Membership.JOINS
    return Membership.NONE


def session_id_of(exchange: Exchange) -> str | None:
    """Return the back end's ID of the session that an exchange opens or joins; None if there is none.

    For a start, this is the ID in the ``Location`` header of a 2xx answer.
    """
    match membership(exchange):
        case Membership.JOINS:
            return exchange.route.session_id
        case Membership.OPENS if exchange.is_accepted and exchange.response is not None:
            location = find_location(exchange.response.headers)
            return session_id_in(location) if location else None
    return None


def start_sha256(exchange: Exchange) -> str | None:
    """Return the hash by which a retry of a start is recognised; None without a ``sessionStart`` that has a ``ts``.

    SDKs repeat the same bytes, including ``ts``. Without a ``ts``, equal bodies could be different playbacks.
    """
    events = exchange.request.reading.events if exchange.request.body_state.is_known else ()
    if any(event.type == "sessionStart" and event.ts_ms is not None for event in events):
        return exchange.request.body_sha256
    return None


def opened(exchange: Exchange, *, id: str, recording: str | None = None, retry_of: str | None = None) -> Session:
    """Return the session that an exchange opens."""
    return _with_start(_blank(exchange, id, recording), exchange, retry_of)


def begun_late(exchange: Exchange, *, id: str, recording: str | None = None) -> Session:
    """Return the session that an exchange joins if its start was not seen."""
    return joined(_blank(exchange, id, recording), exchange)


def start_found(session: Session, exchange: Exchange, retry_of: str | None = None) -> Session:
    """Return a session whose start turns up after other exchanges, as can happen with several recorders."""
    return _with_start(session, exchange, retry_of)


def joined(session: Session, exchange: Exchange) -> Session:
    """Return a session with one more exchange in it."""
    events = exchange.request.reading.events if exchange.route.operation is Operation.EVENTS else ()
    return changed(
        session,
        **_heard(session, exchange, events),
        exchanges=session.exchanges + 1,
        not_accepted=session.not_accepted + _not_accepted(exchange),
        has_holes=session.has_holes or not exchange.request.body_state.is_known,
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
    # A batch needs no ID: its answer is not documented to have one, and the mobile SDKs do not read it.
    failed = not exchange.is_accepted or (not is_batch and session.session_id is None)
    heard = _heard(session, exchange, body.events)
    ended = heard.pop("ended", session.ended)
    return changed(
        session,
        **heard,
        start_seen=True,
        failed=failed,
        ended=ended or (is_batch and last_type != "sessionComplete"),
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
        not_accepted=session.not_accepted + _not_accepted(exchange),
        has_holes=session.has_holes or not exchange.request.body_state.is_known,
    )


def _not_accepted(exchange: Exchange) -> int:
    """Return how many events in an exchange were not answered with 2xx; a body that cannot be read counts as one."""
    if exchange.response is not None and exchange.response.status < 300:
        return 0
    return max(1, len(exchange.request.reading.events)) if exchange.route.operation in TRACKING else 0


def _heard(session: Session, exchange: Exchange, events: tuple[Event, ...]) -> dict[str, Any]:
    """Return the members of a session that the arrival of an exchange and the events in it change."""
    at = exchange.received_at
    started_at = min(session.started_at, at)
    # Before the first event or playhead, the arrival of the first exchange is used instead.
    last_event_at = session.last_event_at if session.events else started_at
    playhead, moved_at = session.playhead_s, session.playhead_moved_at
    if playhead is None:
        moved_at = started_at
    if not events:
        return {"started_at": started_at, "last_event_at": last_event_at, "playhead_moved_at": moved_at}
    is_latest = session.events == 0 or at >= last_event_at
    if is_latest or playhead is None:  # a late arrival does not tell where the playhead is now
        for event in events:
            if event.playhead_s is not None and event.playhead_s != playhead:
                playhead, moved_at = float(event.playhead_s), at
    last_type = events[-1].type
    refused = exchange.outcome is Outcome.REJECTED  # upstream never saw it
    return {
        "started_at": started_at,
        "last_event_at": at if is_latest else last_event_at,
        "playhead_s": playhead,
        "playhead_moved_at": moved_at,
        "ended": session.ended or (last_type == "sessionEnd" and not refused),
        "completed": session.completed or (last_type == "sessionComplete" and not refused),
        "events": session.events + len(events),
    }
