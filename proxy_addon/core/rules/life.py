"""Rules over the life of a session. Source: Media Collection API, session rules, life of a session."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, closing_rule, session_rule
from proxy_addon.core.rules.session_view import SessionEvent


@session_rule("session-start-first", ERROR, weighs=True)
def session_start_first(before: Playback, event: SessionEvent) -> str | None:
    """The first event of a session is not `sessionStart`.

    What it checks: In the order of their `ts`, the first event of a session is a `sessionStart`.

    Why it matters: The back end puts events in the order of `ts` and counts from the start on. What comes before it has
    no content, no length and no visitor, and is lost from the reports or shifts the time spent.

    Source: docs, `session-start.md`. Sureness: high.

    Example: `play` at `ts` 1731672000000 in a session whose `sessionStart` has `ts` 1731672000500

    How to fix: Take `ts` from one clock at the moment of each event, and open the session before anything is reported
    to it.

    Known limits: Not told of a recording that began after the session did. Among events of one `ts` the start may stand
    anywhere. Players that open the session after the pre-roll and then send the ad events they had queued are told.
    """
    if before.first is None and event.type != "sessionStart" and not before.start_missing:
        return f"the session begins with {event.name}; expected sessionStart"
    return None


@session_rule("session-start-duplicate", ERROR, on="sessionStart", weighs=True, after_end=True)
def session_start_duplicate(before: Playback, event: SessionEvent) -> str | None:
    """A session has a second `sessionStart`.

    What it checks: A session, or a batch, has one `sessionStart`.

    Why it matters: A session is one playback of one content. The second start is refused or ignored, and what follows
    it is counted to the content of the first.

    Source: docs, `mc-api-sessions-req.md`, and dev site `events.md`: one session ID stands for one playback. Sureness:
    high.

    Example: `sessionStart, play, ping, sessionStart, play` with one session ID

    How to fix: End the session with `sessionEnd` and post the next `sessionStart` to `/api/v1/sessions`; use the ID it
    returns from then on. Send each downloaded playback as an array of its own.

    Known limits: The very body of the first start, posted again within a minute, is a repetition and told by
    `session-start-retried`; in a batch there are no repetitions.
    """
    if before.start is not None and not _is_repetition(before, event):
        return "a second sessionStart in one session; each playback has a session of its own"
    return None


@session_rule("session-start-retried", INFO, on="sessionStart", weighs=True, after_end=True)
def session_start_retried(before: Playback, event: SessionEvent) -> str | None:
    """A `sessionStart` was posted again.

    What it checks: The same bytes of a `sessionStart`, `ts` included, arrived before, a minute ago at most, in this
    session or in another one.

    Why it matters: SDKs repeat a start that failed or was not answered in time. If the server had accepted an earlier
    attempt, that one stays open as a session without events and counts as a playback.

    Source: JS, CC, Android and iOS: up to three attempts, 0.25 s to 60 s apart. Sureness: high.

    Example: `sessionStart` answered after 6 s with 201, and the same body again at 5.5 s

    How to fix: Answer starts within 5 seconds and with a `Location` that the player can read; look at the answer to the
    first attempt.

    Known limits: An SDK that builds the body anew, with another `ts`, is not recognised, nor are attempts more than a
    minute apart. Whether the earlier attempt is open upstream is not known here.
    """
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


@session_rule("event-after-session-end", WARNING, weighs=True, after_end=True)
def event_after_session_end(before: Playback, event: SessionEvent) -> str | None:
    """An event follows `sessionEnd`.

    What it checks: In the order of `ts`, nothing but another `sessionEnd` comes after `sessionEnd`.

    Why it matters: The session was closed at once, so the event is dropped: playback that goes on is missing from the
    reports.

    Source: docs, `session-end.md` (dropped silently); the table of answers also names 410. Sureness: high that the
    event is lost.

    Example: `sessionStart, play, sessionEnd, play, ping`

    How to fix: Stop the ping timer with the session, and open a new session where playback goes on.

    Known limits: Events that arrive late but happened before are not told. Among events of one `ts` `sessionEnd` is
    taken as the last one. A session that has only run into its timeout is told by `session-timeout-idle`.
    """
    if before.life is Life.ENDED and event.type != "sessionEnd":
        return f"{event.name} after sessionEnd; it is dropped"
    return None


@session_rule("session-end-duplicate", INFO, on="sessionEnd", weighs=True, after_end=True)
def session_end_duplicate(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` was sent again.

    What it checks: A session has one `sessionEnd`.

    Why it matters: The second one changes nothing. It shows that two parts of the player think that they close the
    session.

    Source: docs, `session-end.md` (a repeated one does no harm). Sureness: high.

    Example: `sessionStart, play, sessionEnd, sessionEnd`

    How to fix: Forget the session ID once `sessionEnd` was sent.

    Known limits: `sessionEnd` after `sessionComplete` is fine. Whether the second one came from the player or was
    repeated on the way is not seen.
    """
    return "sessionEnd again" if before.life is Life.ENDED else None


@session_rule("event-after-session-complete", WARNING, on="play pauseStart bufferStart chapterStart", weighs=True)
def event_after_session_complete(before: Playback, event: SessionEvent) -> str | None:
    """Main content goes on after `sessionComplete`.

    What it checks: After `sessionComplete` there is no `play`, `pauseStart`, `bufferStart` or `chapterStart` outside of
    an ad break.

    Why it matters: The content was counted as played to its end. What is played after it adds time to a playback that
    was complete, or belongs to a second view that is then not counted.

    Source: docs, `session-complete.md` and the overview of events: the session stays open for trailing events; SDKs
    send nothing after it. Sureness: medium.

    Example: `sessionStart, play, sessionComplete, play, ping, sessionEnd`

    How to fix: Open a new session when the viewer watches again, and send `sessionComplete` only at the true end of the
    content.

    Known limits: Pings, ads with the playback events inside their break, states, errors and `sessionEnd` are accepted.
    A `play` after the post-roll's `adBreakComplete` is told.
    """
    if before.life is Life.COMPLETED and before.break_start is None:
        return f"{event.type} after sessionComplete; the main content was over"
    return None


@closing_rule("session-not-closed", INFO, weighs=True)
def session_not_closed(end: Playback) -> str | None:
    """A session is over without `sessionComplete` or `sessionEnd`.

    What it checks: A session that is over has a `sessionComplete` or a `sessionEnd`.

    Why it matters: The back end closes it only when its timeout has passed. The report is late, and a viewer who left
    early cannot be told from a player that broke down.

    Source: docs, `session-end.md` and `mc-api-timeout.md` (to let it expire is allowed). Sureness: high.

    Example: `sessionStart, play, ping, ping` and nothing more

    How to fix: Send `sessionComplete` at the end of the content and `sessionEnd` when the viewer leaves, also when the
    app goes away.

    Known limits: Told only once the session is over. Also told of a start that upstream refused, and where the
    recording stopped before the playback did; browsers often have no chance to send a last event.
    """
    if end.life in (Life.COMPLETED, Life.ENDED):
        return None
    return "neither sessionComplete nor sessionEnd was seen"
