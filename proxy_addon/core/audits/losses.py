"""What gets lost between a device and the reports: events that nobody took, sessions that count nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from proxy_addon.core.audits.metrics import ClosedBy
from proxy_addon.core.audits.sketches import Concerned, add_counts
from proxy_addon.core.sessions import Session, SessionState


class Loss(StrEnum):
    """How something gets lost; the value is its name in JSON."""

    REFUSED = "refused"
    """Events that were answered with anything but 2xx. SDKs do not send them again."""
    UNANSWERED = "unanswered"
    """Events that got no answer. SDKs drop them, too, except starts."""
    NOT_OPENED = "not-opened"
    """Sessions whose start the back end answered without opening one."""
    START_UNANSWERED = "start-unanswered"
    """Sessions whose start has no answer, so that nobody knows whether the back end has opened one."""
    RETRIED = "retried"
    """Starts that were sent again."""
    OPENED_TWICE = "opened-twice"
    """Sessions beside another one of the same playback, which stay empty."""
    UNUSED = "unused"
    """Sessions that are over, and in which nothing followed the start."""
    NEVER_PLAYED = "never-played"
    """Sessions that are over, and have events of which none is a ``play`` that starts the content and was taken: no content time counts."""
    NO_END = "no-end"
    """Sessions that expired because the player did not end them."""
    TIMED_OUT = "timed-out"
    """Events that came after the back end had closed the session for its silence, or for a playhead that did not move."""
    AFTER_END = "after-end"
    """Events that came after ``sessionEnd``."""
    AFTER_GONE = "after-gone"
    """Events that were sent to a session after its back end had answered 404 or 410."""
    STALLED = "stalled"
    """Sessions in which the playhead stood still while content played, which is taken out of content time."""

    @property
    def despite_holes(self) -> bool:
        """Whether it is certain even if requests or bodies of the session are not known; others may be just what they were."""
        return self in _DESPITE_HOLES


_DESPITE_HOLES = frozenset(
    {
        *(Loss.REFUSED, Loss.UNANSWERED, Loss.NOT_OPENED, Loss.START_UNANSWERED),
        *(Loss.RETRIED, Loss.AFTER_END, Loss.AFTER_GONE),
    }
)


@dataclass(slots=True)
class Sent:
    """What became of the events of a session.

    Attributes:
        number: How many were sent.
        answered: How many got a complete answer from upstream.
        accepted: How many of these got 2xx.
        may_have_arrived: How many of the others upstream may have taken.
        counted: How many reports count, of those that were accepted or may have arrived.
        after_gone: How many were sent after an answer of 404 or 410.
    """

    number: int = 0
    answered: int = 0
    accepted: int = 0
    may_have_arrived: int = 0
    counted: int = 0
    after_gone: int = 0

    def merge(self, more: Sent) -> None:
        """Add the events of other sessions."""
        self.number += more.number
        self.answered += more.answered
        self.accepted += more.accepted
        self.may_have_arrived += more.may_have_arrived
        self.counted += more.counted
        self.after_gone += more.after_gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What losses need to know of a session that is over, or is read as it is.

    Attributes:
        state: Its state at the time of the audit.
        is_over: Whether no event will follow.
        has_answers: Whether answers were recorded.
        start_answered: Whether its start has an answer of the back end.
        opened_twice: Whether another session is open beside it.
        content_started: Whether reports count a content start.
        closed_by: What closed it.
        timed_out: How many events came after a time-out.
        after_end: How many events came after ``sessionEnd``.
        stalled_ms: How long the playhead stood still while content played.
        played_ms: How long something else than an ad may have played, by the device's clock: without pauses and buffering.
    """

    state: SessionState
    is_over: bool
    has_answers: bool
    start_answered: bool
    opened_twice: bool
    content_started: bool
    closed_by: ClosedBy | None
    timed_out: int
    after_end: int
    stalled_ms: int
    played_ms: int


@dataclass(slots=True)
class Losses:
    """The losses of a set of sessions.

    Attributes:
        sent: What became of all events.
        sessions: The sessions that each loss concerns, and how many events, or times, that is.
        time_ms: Content time that reports lack, by its loss.
    """

    sent: Sent = field(default_factory=Sent)
    sessions: dict[Loss, Concerned] = field(default_factory=dict)
    time_ms: dict[Loss, int] = field(default_factory=dict)

    def add(self, session: Session, began_us: int, sent: Sent, course: Course) -> None:
        """Count a session."""
        self.sent.merge(sent)
        for loss, times in _losses(session, sent, course):
            if times and (loss.despite_holes or not session.has_holes):
                concerned = self.sessions.get(loss)
                if concerned is None:
                    concerned = self.sessions[loss] = Concerned()
                concerned.add(session.id, began_us, int(times))
                if lost_ms := _lost_ms(loss, course):
                    self.time_ms[loss] = self.time_ms.get(loss, 0) + lost_ms

    def merge(self, more: Losses) -> None:
        """Add the losses of other sessions."""
        self.sent.merge(more.sent)
        for loss, concerned in more.sessions.items():
            self.sessions.setdefault(loss, Concerned()).merge(concerned)
        add_counts(self.time_ms, more.time_ms)


def _lost_ms(loss: Loss, course: Course) -> int:
    match loss:
        case Loss.NEVER_PLAYED:
            return course.played_ms
        case Loss.STALLED:
            return course.stalled_ms
    return 0


def _losses(session: Session, sent: Sent, course: Course) -> Iterator[tuple[Loss, int]]:
    failed = session.failed
    yield Loss.REFUSED, sent.answered - sent.accepted
    yield Loss.UNANSWERED, course.has_answers and sent.number - sent.answered
    yield Loss.NOT_OPENED, failed and course.start_answered
    yield Loss.START_UNANSWERED, failed and not course.start_answered
    yield Loss.RETRIED, session.retry_of is not None
    yield Loss.OPENED_TWICE, course.opened_twice
    is_whole = not failed and session.start_seen and course.is_over
    yield Loss.UNUSED, is_whole and sent.number == 1 and not course.opened_twice
    yield Loss.NEVER_PLAYED, is_whole and sent.number > 1 and not course.content_started
    yield Loss.NO_END, course.state is SessionState.EXPIRED
    yield Loss.TIMED_OUT, course.timed_out
    yield Loss.AFTER_END, course.after_end
    yield Loss.AFTER_GONE, sent.after_gone
    yield Loss.STALLED, course.stalled_ms > 0
