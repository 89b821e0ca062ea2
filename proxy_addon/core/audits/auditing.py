"""Add sessions to an audit, one after the other, while their exchanges stream by."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from proxy_addon.core.audits.arrivals import has_arrived
from proxy_addon.core.audits.losses import Course, Sent
from proxy_addon.core.audits.ordering import Lost
from proxy_addon.core.audits.sketches import lot_of
from proxy_addon.core.audits.totals import Apart, ByGroup, GroupName, GroupTotals, Totals, by_size
from proxy_addon.core.audits.walking import State
from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Judgement
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.sessions import AsOf, Session

OPENED_TWICE = "session-opened-twice"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = frozenset({404, 410})
_NOT_PLAYING = frozenset({State.AD, State.PAUSED, State.BUFFERING})
"""While these last, no content is lost."""


class By(StrEnum):
    """What sessions of a group have in common."""

    PLAYER = "player"
    USER_AGENT = "user-agent"
    MEDIA = "media"
    APP_VERSION = "app-version"
    RECORDING = "recording"
    CONTENT_TYPE = "content-type"

    @property
    def field(self) -> str:
        """The attribute of a session, and column of the store, that holds the name of its group."""
        return _FIELDS[self]


_FIELDS = {
    By.PLAYER: "player_name",
    By.USER_AGENT: "user_agent",
    By.MEDIA: "media_id",
    By.APP_VERSION: "app_version",
    By.RECORDING: "recording",
    By.CONTENT_TYPE: "content_type",
}
OF_START = {
    By.PLAYER: "media.playerName",
    By.MEDIA: "media.id",
    By.APP_VERSION: "media.sdkVersion",
    By.CONTENT_TYPE: "media.contentType",
}
"""What only the start of a session says, and in which param."""
MOST_GROUPS = 1_000
"""How many groups are told apart; further ones are put together."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How sessions are put into groups.

    Attributes:
        by: What sessions of a group have in common; None for one group of all.
        names: The groups to tell apart; None for all.
    """

    by: By | None = None
    names: frozenset[GroupName] | None = None

    def name(self, session: Session) -> GroupName:
        """Return the name of the group of a session; None if it does not say, or if there are no groups."""
        if self.by is None:
            return None
        name: GroupName = getattr(session, self.by.field)
        if name is None and self.by in OF_START and not start_is_known(session):
            name = Apart.UNSEEN
        return name if self.names is None or name in self.names else Apart.OTHERS


def start_is_known(session: Session) -> bool:
    """Whether the start was seen with its body; only of a body that is missing, nothing at all is known."""
    said = (session.player_name, session.media_id, session.media_name, session.content_type, session.start_sha256)
    return session.start_seen and (not session.has_holes or any(each is not None for each in said))


def largest(sizes: Mapping[GroupName, int]) -> frozenset[GroupName]:
    """Return the names of the `MOST_GROUPS` groups that have the most sessions."""
    return frozenset(by_size(sizes)[:MOST_GROUPS])


class Auditor:
    """Adds up what sessions have sent, by their groups.

    Attributes:
        groups: What is known so far, by group; without groups, all of it under None.
    """

    def __init__(self, grouping: Grouping, as_of: AsOf) -> None:
        """Begin with no session.

        Args:
            as_of: The time and settings by which the states of sessions are told.
        """
        self.groups: ByGroup = {}
        self._grouping = grouping
        self._as_of = as_of

    def session(self, session: Session, *, closed: bool = False, has_answers: bool = True) -> SessionAudit:
        """Return what watches a session, and adds it in the end.

        Args:
            closed: Whether an unfinished session counts as over.
            has_answers: Whether answers were recorded; if not, nobody knows which events have none.
        """
        group = self.groups.setdefault(self._grouping.name(session), GroupTotals())
        totals = group.holed if session.has_holes else group.whole
        return SessionAudit(totals, session, self._as_of, closed=closed, has_answers=has_answers)

    def add_held(self, held: HeldSession, policy: Policy) -> None:
        """Add a session that a file holds; it counts as over."""
        audit = self.session(held.session, closed=True, has_answers=held.has_answers)
        for _ in audit.watching(held.exchanges):
            pass
        audit.add(judge_held(held, policy))


class SessionAudit:
    """Watches one session."""

    def __init__(self, totals: Totals, session: Session, as_of: AsOf, *, closed: bool, has_answers: bool) -> None:
        self._tally = totals
        self._session = session
        self._as_of = as_of
        self._is_over = closed or session.is_over(as_of)
        self._has_answers = has_answers
        self._metrics = MetricsWatch()
        self._sent = Sent()
        self._exchanges = 0
        self._durations_us: list[int] = []
        self._is_gone = False
        self._start_answered = False

    def watching(self, exchanges: Iterable[Exchange]) -> Generator[Exchange]:
        """Yield the exchanges of the session, which must come in the order of arrival."""
        for exchange in self._metrics.watching(exchanges):
            self._exchanges += 1
            if exchange.route.operation in TRACKING:
                self._take(exchange)
            yield exchange

    def _take(self, exchange: Exchange) -> None:
        body, sent = exchange.request.reading, self._sent
        number = len(body.events)
        sent.number += number
        if self._is_gone:
            sent.after_gone += number
        if exchange.outcome is Outcome.ANSWERED and exchange.response is not None:  # a list of bodies has no answers
            if exchange.duration_us is not None:
                self._durations_us.append(exchange.duration_us)
            sent.answered += number
            self._start_answered |= exchange.route.session_id is None
            if exchange.is_accepted:
                sent.accepted += number
            elif exchange.response.status in _GONE:
                self._is_gone = True
        elif has_arrived(exchange):
            sent.may_have_arrived += number
        if body.is_batch:
            self._tally.rhythm.batches.add(number)
        if number:
            self._tally.coverage.add(body)

    def add(self, judgement: Judgement) -> None:
        """Add the session; call it when all exchanges were yielded.

        Args:
            judgement: Its findings.
        """
        totals, session, metrics, sent = self._tally, self._session, self._metrics, self._sent
        began_us = (session.started_at - _EPOCH) // timedelta(microseconds=1)
        order = metrics.order()
        count = metrics.count(order, is_over=self._is_over)
        values = count.values()
        after_end = sum(why is Lost.AFTER_SESSION_END for _, why in order.dropped)
        counted = [each.event for each in order.taken]
        if session.has_holes:  # which may be why the back end seems to have closed it for its silence
            counted += [event for event, why in order.dropped if why is not Lost.AFTER_SESSION_END]
        sent.counted = sum(event.type is not None for event in counted)  # others are of bodies that are not known
        state = session.state(self._as_of)
        totals.add_session(session, state, began_us, self._exchanges, sent.number)
        totals.add_findings(session.id, began_us, judgement)
        lot = lot_of(session.id)
        totals.coverage.end_session(lot)
        is_open_question = session.failed and bool(order.taken)  # whether the back end took its start
        if session.has_holes or is_open_question:
            totals.metrics.left_out += 1
        else:
            totals.metrics.add(values, lot)
        totals.rhythm.add_answers(self._durations_us, lot)
        if not session.has_holes:
            totals.rhythm.add_course(order.taken, count.walk.stretches, lot)
        if not metrics.is_batch:
            totals.rhythm.add_arrivals(metrics.arrivals, lot)
        course = Course(
            state=state,
            is_over=self._is_over,
            has_answers=self._has_answers,
            start_answered=self._start_answered,
            opened_twice=any(finding.rule == OPENED_TWICE for finding in judgement.of_session),
            content_started=bool(values["content_starts"]),
            closed_by=count.closed_by,
            timed_out=len(order.dropped) - after_end,
            after_end=after_end,
            stalled_ms=round(values["stall_time_s"] * 1_000),
            played_ms=sum(stretch.ms for stretch in count.walk.stretches if stretch.state not in _NOT_PLAYING),
        )
        totals.losses.add(session, began_us, sent, course)
