"""Rules over the life of a session. Source: Media Collection API, session rules, life of a session."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Arrivals
from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, arrival_rule, closing_rule, session_rule, standing_rule
from proxy_addon.core.rules.session_view import SessionEvent


@arrival_rule("session-start-first", ERROR)
def session_start_first(before: Arrivals, event: SessionEvent) -> str | None:
    """The first event of a session is not `sessionStart`.

    What it checks: The first event of a session to arrive, or the first element of a file or a batch, is a
    `sessionStart`.

    Why it matters: The back end counts from the start on. What comes before it has no content, no length and no
    visitor, and is lost from the reports.

    Source: docs, `session-start.md`; `mc-api-ctrl-order.md` (a start goes through at once). Sureness: high.

    Example: `play`, then `sessionStart`

    How to fix: Open the session before anything is reported to it.

    Known limits: Not told of a recording that began after the session did. A start that arrives first and is younger
    than events behind it is not told here, but by `events-before-start` and `events-long-before-start`.
    """
    if before.is_first and event.type != "sessionStart" and not before.start_missing:
        return f"the session begins with {event.name}; expected sessionStart"
    return None


@session_rule("events-before-start", INFO, weighs=True)
def events_before_start(before: Playback, event: SessionEvent) -> str | None:
    """Events are up to five seconds older than their `sessionStart`.

    What it checks: The `ts` of each event is no less than that of `sessionStart`. Up to 5 seconds less is told here,
    more by `events-long-before-start`.

    Why it matters: Nothing is lost: this is what the documents ask for after an answer of 404 or 410, a new session and
    the refused event sent again.

    Source: docs, `mc-api-events-req.md` (404 and 410); seen in traffic of third-party clients. Sureness: high.

    Example: `sessionStart` at `ts` 1731672000500, then the `play` of `ts` 1731672000000

    How to fix: Nothing, if the event was refused in another session. Else take `ts` from one clock.

    Known limits: The first place is the one furthest before the start. The rules on the order of `ts` pass these
    events over.
    """
    before_s = _seconds_before_start(before, event)
    if before_s is None or before_s > before.limits.reorder_window_s:
        return None
    return f"{event.name} is {before_s:.15g} s older than sessionStart"


@session_rule("events-long-before-start", WARNING, weighs=True)
def events_long_before_start(before: Playback, event: SessionEvent) -> str | None:
    """Events are more than five seconds older than their `sessionStart`.

    What it checks: The `ts` of no event lies more than 5 seconds before that of `sessionStart`.

    Why it matters: The back end takes the start at once and sorts the rest in a window of 5 seconds. What is older is
    counted to a playback that had not begun: mostly the ads of a pre-roll.

    Source: docs, `mc-api-ctrl-order.md` (the window); seen in traffic of third-party clients. Sureness: medium.

    Example: `sessionStart` at `ts` 1731672030000, then `adBreakStart` and `adStart` of `ts` 1731672000000

    How to fix: Open the session when the viewer asks for the content, before the pre-roll, and not when the content
    begins.

    Known limits: The first place is the one furthest before the start. The rules on the order of `ts` pass these
    events over.
    """
    before_s = _seconds_before_start(before, event)
    if before_s is None or before_s <= before.limits.reorder_window_s:
        return None
    return f"{event.name} is {before_s:.15g} s older than sessionStart"


def _seconds_before_start(before: Playback, event: SessionEvent) -> float | None:
    start = before.start
    if start is None or start.ts_ms is None or event.ts_ms is None or event.ts_ms >= start.ts_ms:
        return None
    return (start.ts_ms - event.ts_ms) / 1000


@session_rule("content-never-played", ERROR, weighs=True)
def content_never_played(before: Playback, event: SessionEvent) -> str | None:
    """Content plays and no `play` was ever sent.

    What it checks: Outside of ad breaks the playhead does not run on by 10 seconds or more, at half to double the
    speed of `ts`, before there was a `play` or an `adStart`.

    Why it matters: Time counts from `play` on. The session has neither content time nor a content start in the reports.

    Source: docs, `content-time-spent.md` and metrics `overview.md`; seen on a real page. Sureness: high.

    Example: `sessionStart` (playhead 0), then every 10 s `ping` (playhead 10), `ping` (20), `ping` (30)

    How to fix: Send `play` when the first frame is shown.

    Known limits: Seconds in which the playhead jumps or stands still do not count, and a playhead of which nothing is
    reported cannot be seen. Nothing is said where the start was not recorded.
    """
    if before.has_begun_to_play or not before.shows_silent_run(event):
        return None
    return _ran_on(before, event)


@session_rule("play-missing", WARNING, weighs=True)
def play_missing(before: Playback, event: SessionEvent) -> str | None:
    """Content goes on after an ad break, a pause or buffering, and no `play` says so.

    What it checks: After the last `adBreakComplete`, `pauseStart` or `bufferStart` the playhead does not run on by 10
    seconds or more, at half to double the speed of `ts` and over at least two events, without a `play`.

    Why it matters: To the back end the content is still interrupted: its time is not counted.

    Source: docs, timelines 1 and 3 (`play` after `adBreakComplete`); every SDK sends it; seen in traffic of third-party
    clients. Sureness: medium.

    Example: `adBreakComplete` (playhead 60), then every 10 s `ping` (playhead 70), `ping` (80)

    How to fix: Send `play` after each ad break, pause and buffering.

    Known limits: A session in which nothing has played yet is told by `content-never-played`. The playhead of live
    content may run on in a pause.
    """
    if not before.has_begun_to_play or not before.shows_silent_run(event):
        return None
    return _ran_on(before, event)


def _ran_on(before: Playback, event: SessionEvent) -> str:
    run, since = before.run_with(event), before.silent_since
    assert run is not None
    assert since is not None
    return f"content moved on by {run.moved_s:.15g} s in {run.passed_s:.15g} s without a play since {since.name}"


@standing_rule("session-opened-twice", WARNING)
def session_opened_twice(now: Playback) -> str | None:
    """A device opened two sessions for one playback.

    What it checks: A session that got no further event has no other session beside it that the same device, by client
    address and user agent, opened for the same `media.id` within 5 seconds before or after, with another body.

    Why it matters: Each of the two is a media start in the reports.

    Source: seen on a real page: nothing stops a second start while the answer to the first is out. Sureness: medium.

    Example: two `sessionStart` for `media.id` `video-123`, 300 ms apart and each with its own `ts`, then all events to
    the second one

    How to fix: Open one session per playback, and do not open another while the answer to the first is out.

    Known limits: Devices behind one address that share a user agent look like one. Equal bodies are a repetition, told
    by `session-start-retried`; a start that was refused does not count. Not told of files.
    """
    if now.opened_beside is None:
        return None
    return f"session {now.opened_beside} was opened for the same content by the same device; this one got no event"


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
