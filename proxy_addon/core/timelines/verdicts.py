"""Whether a session is right: a word, a headline and six numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from proxy_addon.core.audits.metrics import ClosedBy, Metrics
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.sessions import AsOf, Session, SessionState
from proxy_addon.core.timelines.marks import Mark

_TOLD = 3
"""How many troubles the headline names."""
_SHORT = 110
"""The longest message of a finding that a headline quotes in full."""
FOLLOWING = frozenset({"upstream-refused", "upstream-session-lost"})
"""Rules that report what upstream answered; another finding may explain why."""


class Level(StrEnum):
    """The verdict in a word."""

    FAIL = "fail"
    WARN = "warn"
    PASS = "pass"  # noqa: S105  # a verdict


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A session at a glance.

    Attributes:
        headline: The worst troubles, in the words of the findings.
        ended: How it ended, or will.
        counts: Numbers, each with its name and whether it is ``bad``, ``odd`` or nothing special.
    """

    level: Level
    headline: str
    ended: str
    counts: tuple[tuple[str, int, str], ...]


def glance(
    session: Session, marks: Sequence[Mark], findings: Sequence[Finding], metrics: Metrics, as_of: AsOf
) -> Glance:
    """Return a session at a glance.

    Args:
        findings: Those that do not follow from another one, the worst first.
    """
    refused = sum(_is_refused(mark) for mark in marks)
    failed = sum(mark.status is not None and mark.status >= 500 for mark in marks)
    silent = sum(mark.status is None and not _is_refused(mark) for mark in marks)
    is_failed = session.state(as_of) is SessionState.FAILED
    severities = {finding.severity for finding in findings}
    if is_failed or Severity.ERROR in severities:
        level = Level.FAIL
    elif Severity.WARNING in severities or refused or failed or silent or session.lost:
        level = Level.WARN
    else:
        level = Level.PASS
    late = len(metrics.late)
    counts = [
        ("event" if len(marks) == 1 else "events", len(marks), ""),
        ("refused", refused, "bad"),
        ("failed", failed, "bad"),
        ("no answer", silent, "bad"),
        ("retried", int(session.retry_of is not None), "odd"),
        ("late", late, "odd"),
    ]
    if session.lost:
        counts.append(("lost", session.lost, "bad"))
    return Glance(
        level=level,
        headline=_headline(findings, level, _no_session(marks, metrics) if is_failed else None),
        ended=_ended(session, marks, metrics, as_of),
        counts=tuple(counts),
    )


def level_of(session: Session, as_of: AsOf) -> Level:
    """Return the verdict without the exchanges of a session, for a list of many; it is that of `glance`."""
    counts = session.finding_counts(as_of)
    if counts.error or session.failed:
        return Level.FAIL
    return Level.WARN if counts.warning or session.not_accepted or session.lost else Level.PASS


def _is_refused(mark: Mark) -> bool:
    """Whether upstream refused an event, or the recorder in its place."""
    return mark.outcome == Outcome.REJECTED if mark.status is None else 300 <= mark.status < 500


def _no_session(marks: Sequence[Mark], metrics: Metrics) -> str:
    """Return why no session was opened. A start that upstream may have taken counts all the same."""
    start = next((mark for mark in marks if mark.type == "sessionStart"), marks[0] if marks else None)
    if start is not None and start.status is not None:
        answer = f"was answered {start.status}{' without a session ID' if start.is_taken else ''}"
    else:
        is_closed = start is not None and start.outcome == Outcome.UPSTREAM_CLOSED  # or a file does not say why
        no_answer = "has no answer in the recording" if is_closed else "got no answer"
        answer = "was refused by the recorder" if start is not None and _is_refused(start) else no_answer
    return f"The start {answer}{', so nothing counts' if metrics.is_empty else ''}"


def _headline(findings: Iterable[Finding], level: Level, no_session: str | None) -> str:
    told: dict[str, None] = {} if no_session is None else {no_session: None}
    notes = False
    for finding in findings:
        if finding.severity is Severity.INFO:
            notes = True
            continue
        text = finding.message if len(finding.message) <= _SHORT else f"{finding.message[:_SHORT]}…"
        told[_begun(text)] = None
    if told:
        more = f" And {len(told) - _TOLD} more." if len(told) > _TOLD else ""
        sentences = [text if text[-1:] in ".?!" else f"{text}." for text in [*told][:_TOLD]]
        return " ".join(sentences) + more
    if level is Level.WARN:
        return "Some requests were refused, not answered or lost."
    return "No errors or warnings." if notes else "No problems found."


def _begun(text: str) -> str:
    """Return a text as the beginning of a sentence; names of params and events stay as they are.

    >>> _begun("the playhead stood still"), _begun("media.id is missing"), _begun("ts is missing")
    ('The playhead stood still', 'media.id is missing', 'ts is missing')
    """
    word = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if word.isalpha() and word.islower() and word != "ts" else text


def _ended(session: Session, marks: Sequence[Mark], metrics: Metrics, as_of: AsOf) -> str:
    if metrics.closed_by in {ClosedBy.TIMEOUT_IDLE, ClosedBy.TIMEOUT_PLAYHEAD} and metrics.dropped:
        events = "event" if len(metrics.dropped) == 1 else "events"
        is_idle = metrics.closed_by is ClosedBy.TIMEOUT_IDLE
        why = "10 minutes of silence" if is_idle else "30 minutes without playhead movement"
        return f"closed by the back end after {why}, {len(metrics.dropped)} later {events} dropped"
    match session.state(as_of):
        case SessionState.OPEN:
            left = max(0.0, (session.last_event_at + as_of.idle_timeout - as_of.now).total_seconds())
            return f"open, expires in {_clock(left)} unless an event comes"
        case SessionState.ENDED:
            return f"ended at {_moment(session, marks, 'sessionEnd')}"
        case SessionState.COMPLETED:
            return f"content completed at {_moment(session, marks, 'sessionComplete')}"
        case SessionState.EXPIRED:
            return "never ended by the player, so it expired"
        case SessionState.FAILED:
            return "no session was opened"
        case SessionState.PARTIAL:
            return "its start was not recorded"


def _moment(session: Session, marks: Sequence[Mark], type: str) -> str:
    """Return when the first event of a type arrived: others may have come after it."""
    arrived_ms = next(
        (mark.arrived_ms for mark in marks if mark.type == type), session.last_event_at.timestamp() * 1000
    )
    return f"{datetime.fromtimestamp(arrived_ms / 1000, UTC):%H:%M:%S} UTC"


def expires_at(session: Session, as_of: AsOf) -> datetime | None:
    """Return when a session expires unless an event comes; None if it is not open."""
    return session.last_event_at + as_of.idle_timeout if session.state(as_of) is SessionState.OPEN else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
