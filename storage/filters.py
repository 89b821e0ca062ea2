"""The filters that select sessions, as SQL conditions, and which filter leaves no session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from proxy_addon.core.sessions import IDLE_TIMEOUT, PLAYHEAD_TIMEOUT, SessionState
from storage.matching import begins_with, holding
from storage.models import SessionRow


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which sessions to select; a filter that is None selects all.

    Attributes:
        name: Exact name of the recording.
        since: Only sessions that started at this time or later.
        until: Only sessions that started before this time.
        states: Only sessions in one of these states; empty for all.
        player: Player name; see `storage.matching` for what matches.
        media: Media ID or media name, matched in the same way.
        user_agent: ``User-Agent``, matched in the same way.
        text: A part of media, player or ``User-Agent``, or what an id or back-end ID begins with.
        with_findings: Only sessions with findings.
        idle_timeout: An open session is expired after this time without an event.
        unclosed_is_found: Whether a session that expired without being closed has a finding for that.
    """

    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: frozenset[SessionState] = frozenset()
    player: str | None = None
    media: str | None = None
    user_agent: str | None = None
    text: str | None = None
    with_findings: bool = False
    idle_timeout: timedelta = IDLE_TIMEOUT
    unclosed_is_found: bool = True

    @property
    def concern_sessions_alone(self) -> bool:
        """Whether a filter asks for something that only sessions have, so that no exchange without one fits."""
        return bool(self.states or self.player or self.media or self.text)

    def only(self, names: Sequence[str]) -> Filters:
        """Return these filters with only the named ones in effect."""
        return replace(self, **{name: getattr(_NO_FILTERS, name) for name in self.asked if name not in names})

    @property
    def asked(self) -> list[str]:
        """The names of the filters in effect, in the order in which messages list them."""
        return [name for name in _NARROWING if getattr(self, name) != getattr(_NO_FILTERS, name)]


_NARROWING = ("name", "since", "until", "states", "player", "media", "user_agent", "text", "with_findings")
_NO_FILTERS = Filters()


def conditions(db: Connection, filters: Filters, now: datetime) -> list[ColumnElement[bool]] | None:
    """Return the conditions that a session's row has to meet; None if no row can."""
    found: list[ColumnElement[bool]] = []
    idle_since, stalled_since = now - filters.idle_timeout, now - PLAYHEAD_TIMEOUT
    timed_out = or_(SessionRow.last_event_at <= idle_since, SessionRow.playhead_moved_at <= stalled_since)
    # Not ~timed_out: for a negated condition, no database looks into the index with the last event.
    alive = and_(SessionRow.last_event_at > idle_since, SessionRow.playhead_moved_at > stalled_since)
    if filters.name is not None:
        found.append(SessionRow.recording == filters.name)
    if filters.since is not None:
        found.append(SessionRow.started_at >= filters.since)
    if filters.until is not None:
        found.append(SessionRow.started_at < filters.until)
    if filters.states:
        found.append(or_(*(_in_state(state, timed_out, alive) for state in sorted(filters.states))))
    if filters.with_findings:
        has_findings = SessionRow.has_findings.is_(True)
        found.append(or_(has_findings, _is_unclosed(timed_out)) if filters.unclosed_is_found else has_findings)
    for wanted, columns in (
        (filters.player, (SessionRow.player_name,)),
        (filters.media, (SessionRow.media_id, SessionRow.media_name)),
        (filters.user_agent, (SessionRow.user_agent,)),
    ):
        if wanted is not None:
            matching = holding(db, wanted, columns)
            if not matching:
                return None
            found.append(or_(*matching))
    if filters.text:
        anywhere = (SessionRow.media_id, SessionRow.media_name, SessionRow.player_name, SessionRow.user_agent)
        found.append(or_(begins_with(filters.text), *holding(db, filters.text, anywhere, prefers_whole=False)))
    return found


def unclosed_at(now: datetime, idle_timeout: timedelta) -> ColumnElement[bool]:
    """Return whether a session has expired without being closed by a time, as a condition."""
    idle_since, stalled_since = now - idle_timeout, now - PLAYHEAD_TIMEOUT
    return _is_unclosed(or_(SessionRow.last_event_at <= idle_since, SessionRow.playhead_moved_at <= stalled_since))


def _is_unclosed(timed_out: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether `Session.finding_counts` adds what is found in a session that was never closed, as a condition."""
    never_closed = and_(SessionRow.ended.is_(False), SessionRow.completed.is_(False), SessionRow.failed.is_(False))
    return and_(never_closed, SessionRow.has_holes.is_(False), SessionRow.events > 0, timed_out)


def _in_state(state: SessionState, timed_out: ColumnElement[bool], alive: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return `Session.state` as a condition."""
    match state:
        case SessionState.OPEN:
            return and_(SessionRow.state == SessionState.OPEN.value, alive)
        case SessionState.EXPIRED:
            return and_(SessionRow.state == SessionState.OPEN.value, timed_out)
        case lasting:
            return SessionRow.state == lasting.value


@dataclass(frozen=True, kw_only=True)
class Emptied:
    """Why no session passes the filters.

    Attributes:
        by: The filter that leaves none, by its name in `Filters`; None if the store has no sessions.
        before: The filters applied before it; empty if it leaves none by itself.
        left: How many sessions the filters before it leave.
    """

    by: str | None
    before: tuple[str, ...] = ()
    left: int = 0


def emptied(db: Connection, filters: Filters, *, now: datetime) -> Emptied | None:
    """Return why no session passes the filters; None if one does."""
    if _count(db, filters, now, limit=1):
        return None
    everything = _count(db, _NO_FILTERS, now)
    asked = filters.asked
    if not everything or not asked:
        return Emptied(by=None)
    for name in asked:
        if not _count(db, filters.only([name]), now, limit=1):
            return Emptied(by=name, left=everything)
    left = everything
    for place, name in enumerate(asked):
        count = _count(db, filters.only(asked[: place + 1]), now)
        if not count:
            return Emptied(by=name, before=tuple(asked[:place]), left=left)
        left = count
    return None  # a recorder has stored one in the meantime


def number_of_both(db: Connection, filters: Filters, others: Filters, *, now: datetime) -> int:
    """Return how many sessions pass these filters and those."""
    wanted, more = conditions(db, filters, now), conditions(db, others, now)
    if wanted is None or more is None:
        return 0
    return db.execute(select(func.count()).select_from(SessionRow).where(*wanted, *more)).scalar_one()


def _count(db: Connection, filters: Filters, now: datetime, *, limit: int | None = None) -> int:
    wanted = conditions(db, filters, now)
    if wanted is None:
        return 0
    some = select(SessionRow.id).where(*wanted).limit(limit).subquery()
    return db.execute(select(func.count()).select_from(some)).scalar_one()
