"""Rules for the life of a session. Source: Media Collection API, session rules, life of a session."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Arrivals
from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import (
    ERROR,
    INFO,
    WARNING,
    When,
    arrival_rule,
    closing_rule,
    session_rule,
    standing_rule,
)
from proxy_addon.core.rules.session_view import SessionEvent


@arrival_rule("session-start-first", ERROR, when=When.FIRST)
def session_start_first(before: Arrivals, event: SessionEvent) -> str | None:
    """The first event of a session is not `sessionStart`.

    What it checks: The first event of a session to arrive, or the first element of a file or a batch, must be a
    `sessionStart`.

    Why it matters: The back end starts counting with `sessionStart`. Events before it have no content, no length and no
    visitor, and are missing from the reports.

    Source: Adobe's docs, `session-start.md` and `mc-api-ctrl-order.md` (a start is processed at once). Confidence:
    high.

    Example: `play`, then `sessionStart`

    How to fix: Open the session before you report anything to it.

    Known limits: The rule is skipped if the recording began after the session did. A `sessionStart` that arrives first
    but has a later `ts` than other events is reported by `events-before-start` and `events-long-before-start`.
    """
    if before.is_first and event.type != "sessionStart" and not before.start_missing:
        return f"the session begins with {event.name}; expected sessionStart"
    return None


@session_rule("events-before-start", INFO, weighs=True, despite_holes=True, when=When.EARLY)
def events_before_start(before: Playback, event: SessionEvent) -> str | None:
    """An event is up to five seconds older than its `sessionStart`.

    What it checks: The `ts` of an event should not be lower than that of `sessionStart`. A difference of up to 5
    seconds is reported here, a larger one by `events-long-before-start`.

    Why it matters: Nothing is lost. Adobe's docs even require this after an answer of 404 or 410: the client opens a
    new session and sends the refused event again.

    Source: Adobe's docs, `mc-api-events-req.md` (404 and 410); seen in the traffic of third-party clients. Confidence:
    high.

    Example: `sessionStart` with `ts` 1731672000500, then `play` with `ts` 1731672000000

    How to fix: Change nothing if the event was refused in another session. Otherwise take every `ts` from the same
    clock.

    Known limits: A second `sessionStart` is not reported here. The rules on the order of `ts` skip these events.
    """
    return _older_than_start(before, event, is_long=False)


@session_rule("events-long-before-start", WARNING, weighs=True, despite_holes=True, when=When.EARLY)
def events_long_before_start(before: Playback, event: SessionEvent) -> str | None:
    """An event is more than five seconds older than its `sessionStart`.

    What it checks: The `ts` of an event must not be more than 5 seconds below that of `sessionStart`.

    Why it matters: The back end processes the start at once and sorts all other events within a window of 5 seconds.
    Older events, usually the ads of a pre-roll, are counted towards a playback that had not begun yet.

    Source: Adobe's docs, `mc-api-ctrl-order.md` (the window); seen in the traffic of third-party clients. Confidence:
    medium.

    Example: `sessionStart` with `ts` 1731672030000, then `adBreakStart` and `adStart` with `ts` 1731672000000

    How to fix: Open the session when the viewer requests the content, before the pre-roll. Do not wait until the
    content begins.

    Known limits: A second `sessionStart` is not reported here. The rules on the order of `ts` skip these events.
    """
    return _older_than_start(before, event, is_long=True)


def _older_than_start(before: Playback, event: SessionEvent, *, is_long: bool) -> str | None:
    before_s = before.seconds_before_start(event)
    if before_s is None or before.is_long_before_start(before_s) is not is_long:
        return None
    oldest_s = before.before_start_s.get(is_long, before_s)
    oldest = f"; the oldest such event is {oldest_s:.15g} s older" if oldest_s > before_s else ""
    return f"{event.name} is {before_s:.15g} s older than sessionStart{oldest}"


@session_rule("content-never-played", ERROR, weighs=True, when=When.PLAY_DUE)
def content_never_played(before: Playback, event: SessionEvent) -> str | None:
    """Content plays, but no `play` was ever sent.

    What it checks: Before the first `play` or `adStart`, the playhead must not advance by 10 seconds or more outside of
    ad breaks. Only movement at half to twice the speed of `ts` counts.

    Why it matters: The back end counts time only after `play`. The reports show neither content time nor a content
    start for the session.

    Source: Adobe's docs, `content-time-spent.md` and the metrics page `overview.md`; seen on a real page. Confidence:
    high.

    Example: `sessionStart` (playhead 0), then a `ping` every 10 s (playhead 10, 20, 30)

    How to fix: Send `play` when the first frame is shown.

    Known limits: Time in which the playhead jumps or stands still does not count. If the events do not report the
    playhead's movement, this rule cannot see it. The rule is skipped if the `sessionStart` was not recorded.
    """
    if before.has_begun_to_play or not before.shows_silent_run(event):
        return None
    return _ran_on(before, event)


@session_rule("play-missing", WARNING, weighs=True, when=When.PLAY_DUE)
def play_missing(before: Playback, event: SessionEvent) -> str | None:
    """Content continues after an ad break, a pause or buffering, but no `play` was sent.

    What it checks: After an `adBreakComplete`, `pauseStart` or `bufferStart`, a `play` must come before two or more
    events have moved the playhead by 10 seconds or more. Only movement at half to twice the speed of `ts` counts.

    Why it matters: The back end still considers the content interrupted and does not count its time.

    Source: Adobe's docs, timelines 1 and 3 (`play` after `adBreakComplete`); every SDK sends it; seen in the traffic of
    third-party clients. Confidence: medium.

    Example: `adBreakComplete` (playhead 60), then a `ping` every 10 s (playhead 70, 80)

    How to fix: Send `play` after each ad break, pause and buffering.

    Known limits: A session in which nothing has played yet is reported by `content-never-played`. Live content, and a
    session whose start was not recorded, are judged after ad breaks only: a live playhead may be a clock that continues
    to advance during a pause.
    """
    if not before.has_begun_to_play or not before.shows_silent_run(event):
        return None
    return _ran_on(before, event)


def _ran_on(before: Playback, event: SessionEvent) -> str:
    run, since = before.run_with(event), before.silent_since
    assert run is not None
    assert since is not None
    return f"the playhead advanced by {run.moved_s:.15g} s in {run.passed_s:.15g} s, but no play followed {since.name}"


@standing_rule("session-opened-twice", WARNING)
def session_opened_twice(now: Playback) -> str | None:
    """A device opened two sessions for the same playback.

    What it checks: The rule looks at sessions that got no event after `sessionStart`. Within 5 seconds before or after,
    the same device must not have opened another session for the same `media.id` with a different body. A device is
    recognised by its client address and user agent.

    Why it matters: The reports count each of the two sessions as a media start.

    Source: Seen on a real page, where nothing prevented a second start before the first was answered. Confidence:
    medium.

    Example: two `sessionStart` events for `media.id` `video-123`, 300 ms apart and each with its own `ts`, after which
    all events go to the second session

    How to fix: Open one session per playback. Do not open another one before the first `sessionStart` is answered.

    Known limits: Devices that share an address and a user agent look like one device. Equal bodies are a retry and are
    reported by `session-start-retried`. A `sessionStart` that was refused does not count. While
    recording, the rule waits 10 seconds for the first event; `check` does not wait. The rule does not apply to files.
    """
    if now.opened_beside is None:
        return None
    return f"the same device also opened session {now.opened_beside} for this content; this one got no event"


@session_rule("session-start-duplicate", ERROR, on="sessionStart", weighs=True, after_end=True, despite_holes=True)
def session_start_duplicate(before: Playback, event: SessionEvent) -> str | None:
    """A session contains a second `sessionStart`.

    What it checks: A session or batch must have only one `sessionStart`.

    Why it matters: A session is one playback of one content. The second start is refused or ignored, and the events
    after it are counted towards the first content.

    Source: Adobe's docs, `mc-api-sessions-req.md`, and Adobe's developer site, `events.md`: one session ID stands for
    one playback. Confidence: high.

    Example: `sessionStart, play, ping, sessionStart, play` with one session ID

    How to fix: End the session with `sessionEnd`, post the next `sessionStart` to `/api/v1/sessions`, and use the
    session ID from its answer. Send each downloaded playback as an array of its own.

    Known limits: If exactly the same body is posted again within a minute, it is a retry and is reported by
    `session-start-retried`. Batches have no retries.
    """
    if before.start is not None and not _is_repetition(before, event):
        return "a second sessionStart in one session; each playback has a session of its own"
    return None


@session_rule("session-start-retried", INFO, on="sessionStart", weighs=True, after_end=True, despite_holes=True)
def session_start_retried(before: Playback, event: SessionEvent) -> str | None:
    """The same `sessionStart` was posted again.

    What it checks: A `sessionStart` must not consist of the same bytes, including `ts`, as one that arrived at most a
    minute earlier in this session or in another one.

    Why it matters: SDKs repeat a start that failed or was not answered in time. If the server had accepted an earlier
    attempt, that attempt remains open as a session without events and counts as a playback.

    Source: The JavaScript, Chromecast, Android and iOS SDKs: up to three attempts, 0.25 s to 60 s apart. Confidence:
    high.

    Example: `sessionStart`, and 5.5 s later the same body again, although the first attempt is answered with 201 after
    6 s

    How to fix: Make sure that starts are answered within 5 seconds and that the player can read `Location`. Look at the
    answer to the first attempt.

    Known limits: A retry is not recognised if the client builds a new body with another `ts`, or waits for more than a
    minute. It is not known whether the earlier attempt is still open on the upstream.
    """
    if before.start is None and before.retry_of is not None:
        return f"this sessionStart was already posted in session {before.retry_of}, which may still be open upstream"
    if before.start is not None and _is_repetition(before, event):
        return "the same sessionStart was posted again"
    return None


def _is_repetition(before: Playback, event: SessionEvent) -> bool:
    """Whether a ``sessionStart`` repeats the first one byte for byte, within the retry window."""
    first = before.start
    if first is None or first.start is None or event.start is None or first.ts_ms != event.ts_ms or before.is_batch:
        return False
    if first.start.body_sha256 is None or first.start.body_sha256 != event.start.body_sha256:
        return False
    if first.arrived_s is None or event.arrived_s is None:
        return True
    return event.arrived_s - first.arrived_s <= before.limits.retry_window_s


@session_rule("event-after-session-end", WARNING, weighs=True, after_end=True, despite_holes=True, when=When.ENDED)
def event_after_session_end(before: Playback, event: SessionEvent) -> str | None:
    """An event follows `sessionEnd`.

    What it checks: In the order of `ts`, no event other than another `sessionEnd` may follow `sessionEnd`.

    Why it matters: The session was closed at once, so the event is dropped. If playback continues, the rest of it is
    missing from the reports.

    Source: Adobe's docs, `session-end.md` (dropped silently); the table of status codes also lists 410. Confidence:
    high that the event is lost.

    Example: `sessionStart, play, sessionEnd, play, ping`

    How to fix: Stop the ping timer when the session ends. Open a new session if playback continues.

    Known limits: Events that happened before `sessionEnd` but arrive after it are not reported. Among events with the
    same `ts`, `sessionEnd` counts as the last one. An event after a timeout is reported by `session-timeout-idle`.
    """
    if before.life is Life.ENDED and event.type != "sessionEnd":
        return f"{event.name} after sessionEnd; it is dropped"
    return None


@session_rule(
    "session-end-duplicate", INFO, on="sessionEnd", weighs=True, after_end=True, despite_holes=True, when=When.ENDED
)
def session_end_duplicate(before: Playback, _: SessionEvent) -> str | None:
    """A session contains a second `sessionEnd`.

    What it checks: A session must have only one `sessionEnd`.

    Why it matters: The second one changes nothing. It suggests that two parts of the player both close the session.

    Source: Adobe's docs, `session-end.md`: a second one does no harm. Confidence: high.

    Example: `sessionStart, play, sessionEnd, sessionEnd`

    How to fix: Discard the session ID after you send `sessionEnd`.

    Known limits: `sessionEnd` after `sessionComplete` is correct. It is not known whether the player sent the second
    `sessionEnd` or something on the way repeated it.
    """
    return "a second sessionEnd; the session was already closed" if before.life is Life.ENDED else None


@session_rule("event-after-session-complete", WARNING, on="play pauseStart bufferStart chapterStart", weighs=True)
def event_after_session_complete(before: Playback, event: SessionEvent) -> str | None:
    """Main content continues after `sessionComplete`.

    What it checks: After `sessionComplete` there must be no `play`, `pauseStart`, `bufferStart` or `chapterStart`
    outside of an ad break.

    Why it matters: The content was already counted as played to its end. Further playback adds time to a completed
    playback, or belongs to a second view that is not counted.

    Source: Adobe's docs, `session-complete.md` and the overview of events: the session stays open for trailing events.
    SDKs send nothing after it. Confidence: medium.

    Example: `sessionStart, play, sessionComplete, play, ping, sessionEnd`

    How to fix: Open a new session when the viewer watches again. Send `sessionComplete` only at the actual end of the
    content.

    Known limits: Pings, ads and the playback events inside their break, states, errors and `sessionEnd` are accepted. A
    `play` after the `adBreakComplete` of a post-roll is reported.
    """
    if before.life is Life.COMPLETED and before.break_start is None:
        return f"{event.type} after sessionComplete; the main content was over"
    return None


@closing_rule("session-not-closed", INFO, weighs=True)
def session_not_closed(end: Playback) -> str | None:
    """A session ended without `sessionComplete` or `sessionEnd`.

    What it checks: A session that is over must have a `sessionComplete` or a `sessionEnd`.

    Why it matters: The back end closes the session only after its timeout. The report is late, and a viewer who left
    early cannot be told apart from a player that crashed.

    Source: Adobe's docs, `session-end.md` and `mc-api-timeout.md`: a session may be left to expire. Confidence: high.

    Example: `sessionStart, play, ping, ping` and nothing more

    How to fix: Send `sessionComplete` at the end of the content, and `sessionEnd` when the viewer leaves or the app
    closes.

    Known limits: This is reported only when the session is over. It is also reported if the upstream refused the
    `sessionStart`, or if the recording stopped before the playback did. Browsers often get no chance to send a last
    event.
    """
    if end.life in (Life.COMPLETED, Life.ENDED):
        return None
    return "neither sessionComplete nor sessionEnd was seen"
