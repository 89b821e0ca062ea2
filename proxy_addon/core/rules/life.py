"""Rules over the life of a session. Source: Media Collection API, session rules, life of a session."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback, SessionEvent
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, closing_rule, session_rule


@session_rule("session-start-first", ERROR, weighs=True)
def session_start_first(before: Playback, event: SessionEvent) -> str | None:
    """The first event of a session is not `sessionStart`."""
    if before.first is None and event.type != "sessionStart" and not before.start_missing:
        return f"the session begins with {event.type or 'an event without a type'}; expected sessionStart"
    return None


@session_rule("session-start-duplicate", ERROR, on="sessionStart", weighs=True)
def session_start_duplicate(before: Playback, event: SessionEvent) -> str | None:
    """A session has a second `sessionStart`."""
    if before.start is not None and not _is_repetition(before, event):
        return "a second sessionStart in one session; each playback has a session of its own"
    return None


@session_rule("session-start-retried", INFO, on="sessionStart", weighs=True)
def session_start_retried(before: Playback, event: SessionEvent) -> str | None:
    """A `sessionStart` was posted again."""
    if before.start is None and before.retry_of is not None:
        return f"this start was posted before, in session {before.retry_of}; that one may be open upstream"
    if before.start is not None and _is_repetition(before, event):
        return "the same sessionStart was posted again"
    return None


def _is_repetition(before: Playback, event: SessionEvent) -> bool:
    """Whether a start is the very body that was posted already, a moment ago."""
    first = before.start
    if first is None or first.start is None or event.start is None or first.ts_ms != event.ts_ms or before.is_batch:
        return False
    if first.start.body_sha256 is None or first.start.body_sha256 != event.start.body_sha256:
        return False
    if first.arrived_s is None or event.arrived_s is None:
        return True
    return event.arrived_s - first.arrived_s <= before.limits.retry_window_s


@session_rule("event-after-session-end", WARNING, weighs=True)
def event_after_session_end(before: Playback, event: SessionEvent) -> str | None:
    """An event follows `sessionEnd`."""
    if before.life is Life.ENDED and event.type != "sessionEnd":
        return f"{event.type or 'an event without a type'} after sessionEnd; it is dropped"
    return None


@session_rule("session-end-duplicate", INFO, on="sessionEnd", weighs=True)
def session_end_duplicate(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` was sent again."""
    return "sessionEnd again" if before.life is Life.ENDED else None


@session_rule("event-after-session-complete", WARNING, on="play pauseStart bufferStart chapterStart", weighs=True)
def event_after_session_complete(before: Playback, event: SessionEvent) -> str | None:
    """Main content goes on after `sessionComplete`."""
    if before.life is Life.COMPLETED and before.break_start is None:
        return f"{event.type} after sessionComplete; the main content was over"
    return None


@closing_rule("session-not-closed", INFO, weighs=True)
def session_not_closed(end: Playback) -> str | None:
    """A session is over without `sessionComplete` or `sessionEnd`."""
    if end.life in (Life.COMPLETED, Life.ENDED):
        return None
    return "neither sessionComplete nor sessionEnd was seen; the session ran into its timeout"
