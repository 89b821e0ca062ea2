"""Rules for the playhead and the counters in `qoeData`. Source: Media Collection API, session rules, playhead."""

from __future__ import annotations

from proxy_addon.core.rules.playback import LIVE_TYPES, Mode, Playback
from proxy_addon.core.rules.rule import INFO, WARNING, When, session_rule
from proxy_addon.core.rules.session_view import SessionEvent

_DAY_S = 86_400


@session_rule("playhead-live-range", WARNING, despite_holes=True)
def playhead_live_range(before: Playback, event: SessionEvent) -> str | None:
    """The playhead of live content is not the second of the day.

    What it checks: If `media.contentType` is `live`, `linear` or `radio`, in upper or lower case, each playhead must be
    below 86400.

    Why it matters: The back end reads a live playhead as a time of day. If the playhead counts Unix seconds, or seconds
    since the stream began days ago, the progress and segments of the broadcast are meaningless.

    Source: Adobe's docs, `mc-api-sessions-req.md`. Confidence: medium.

    Example: `sessionStart` (contentType `live`, playhead 1772366400), `play` (playhead 1772366400)

    How to fix: Send the seconds since midnight, modulo 86400. For a programme with a known beginning and length, you
    may send the position within the programme.

    Known limits: Other names for live content are not recognised, and the rule does not check which midnight is meant.
    Nothing is reported if the `sessionStart` was not recorded, or for events after `sessionEnd`.
    """
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() not in LIVE_TYPES:
        return None
    if event.playhead_s is None or event.playhead_s < _DAY_S:
        return None
    return f"playhead {event.playhead_s:.15g} s of live content; expected the second of the day, below {_DAY_S}"


@session_rule("playhead-beyond-length", WARNING, despite_holes=True)
def playhead_beyond_length(before: Playback, event: SessionEvent) -> str | None:
    """The playhead lies beyond the end of the content.

    What it checks: If the session is not live and has a `media.length` above 0, no playhead may exceed that length by
    more than 1 s.

    Why it matters: Progress, completion and segments are computed from playhead and length, and one of the two is
    wrong. Often the playhead includes ads or is in milliseconds, or the length belongs to other content.

    Source: Adobe's docs, `mc-api-sessions-req.md`. The tolerance of 1 s is for events at the end, whose playhead equals
    the length. Confidence: medium.

    Example: `sessionStart` (length 60), `play` (playhead 0), `ping` (playhead 75)

    How to fix: Send the position in the main content, in seconds and without ads, and the length of the same content in
    seconds. Send length 0 while the length is not known.

    Known limits: A length of 0 counts as unknown, and `live`, `linear` and `radio` are exempt. Nothing is reported if
    the `sessionStart` was not recorded, or for events after `sessionEnd`.
    """
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() in LIVE_TYPES:
        return None
    length_s = known.start.length_s
    if not length_s or length_s < 0 or event.playhead_s is None:
        return None
    if event.playhead_s <= length_s + before.limits.playhead_slack_s:
        return None
    return f"playhead {event.playhead_s:.15g} s is beyond media.length, {length_s:.15g} s"


def _stands_on(before: Playback, event: SessionEvent) -> bool | None:
    """Whether the standstill that was found continues; only a ping can tell, or an event that interrupts playback."""
    if before.stood is None:
        return False
    return before.stood.playhead_s == event.playhead_s if event.type == "ping" else None


@session_rule("playhead-frozen", WARNING, on="ping", extent=_stands_on)
def playhead_frozen(before: Playback, event: SessionEvent) -> str | None:
    """The playhead does not move while content plays.

    What it checks: While content plays and no ad break is open, 3 or more consecutive pings over at least 20 s of `ts`
    must not have the same playhead. Each standstill is reported once; a new one begins when the playhead moves or
    playback is interrupted.

    Why it matters: If content plays and its playhead does not move, the back end counts a stall. Progress and segments
    do not advance, and after half an hour the session is closed.

    Source: Adobe's docs, `stall-events.md`; a test run of the JavaScript SDK with an app that never updates the
    playhead. Confidence: high.

    Example: `play` (playhead 0), then a `ping` every 10 s (playhead 0, 0, 0)

    How to fix: Update the SDK's playhead once a second, and send `bufferStart` when the player really stalls.

    Known limits: Only pings are counted, and none after `sessionComplete`. Live content is not exempt. An ad break that
    the player does not report looks like a frozen playhead. A ping without a readable time starts a new count.
    """
    stood = before.stand_with(event)
    if stood is None or not stood.is_suspicious(before.limits):
        return None
    is_same = before.stood is not None and before.stood.playhead_s == stood.playhead_s
    if is_same and before.stood is not None and before.stood.is_suspicious(before.limits):
        return None  # reported at an earlier ping
    pings = f"{stood.pings} pings over {stood.lasted_s:.0f} s of playing content"
    return f"the playhead stayed at {stood.playhead_s:.15g} s in {pings}"


@session_rule("playhead-in-milliseconds", WARNING, on="ping")
def playhead_in_milliseconds(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves about a thousand times as fast as time.

    What it checks: Between two pings of uninterrupted content, the playhead should move about as fast as `ts`. A
    session is reported once, when the playhead has moved 500 to 1500 times as fast for the second time.

    Why it matters: The unit is seconds. A playhead in milliseconds exceeds the length of the content after a few
    seconds, so progress and segments are wrong and all content seems completed.

    Source: Adobe's docs, `mc-api-sessions-req.md`, for the unit; the factors are an observation. Confidence: medium.

    Example: `play` (playhead 0), then a `ping` every 10 s (playhead 10000, 20000, 30000)

    How to fix: Divide the player's position by 1000 before you pass it to the SDK or send it.

    Known limits: The rule needs three pings without an interruption. Two long seeks in a row that the player does not
    report as pauses can look the same. A playhead in milliseconds is missed if the content plays at less than half or
    more than 1.5 times the normal speed.
    """
    if before.fast_moves != 1 or not before.moved_too_fast(before.last_ping, event):
        return None
    return "the playhead moved about 1000 times as fast as time, twice; expected seconds"


@session_rule("playhead-moved-in-pause", INFO, on="ping stateStart stateEnd statesUpdate", when=When.PAUSED)
def playhead_moved_in_pause(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves while playback is paused.

    What it checks: Between `pauseStart` and the next `play` or `bufferStart`, the playhead of a `ping` or player state
    event must not differ by more than one second from that of the previous event.

    Why it matters: The viewer is probably scrubbing. Time spent is not affected, but the playhead passes through
    positions that nobody watched, and these segments may count as seen.

    Source: Observation; Adobe's docs and SDKs only say that the playhead does not move in a pause. SDKs that cache the
    playhead deviate by some tenths of a second (Chromecast 3.0.3). Confidence: low.

    Example: `pauseStart` (playhead 40), `ping` (playhead 95), `play` (playhead 180)

    How to fix: Keep sending the playhead of the pause until `play` reports the new position.

    Known limits: Live content is exempt, because its playhead continues to advance. Sessions whose `sessionStart` was
    not recorded are also exempt. A change that first appears in another type of event is not reported.
    """
    if before.mode is not Mode.PAUSED or before.is_live:
        return None
    last = before.last_playhead_s
    if last is None or event.playhead_s is None or abs(event.playhead_s - last) <= before.limits.playhead_slack_s:
        return None
    return f"playhead moved from {last:.15g} s to {event.playhead_s:.15g} s in a pause"


@session_rule("resume-flag-suspect", INFO, on="sessionStart play")
def resume_flag_suspect(before: Playback, event: SessionEvent) -> str | None:
    """Content begins in the middle, but `media.resume` is not set.

    What it checks: If content that is not live begins at playhead 1 or later, its `sessionStart` must have
    `media.resume` set to true. Content begins at the playhead of `sessionStart`. If that is 0, it begins at the
    playhead of the first `play` outside of an ad break, minus the time since the start.

    Why it matters: Without the flag, a resumed playback counts as another media start.

    Source: Adobe's docs, `content-resumes.md`. When SDKs open a session again after a timeout or 24 hours, the
    JavaScript and Chromecast SDKs send `media.resume` false, and the Android and iOS SDKs send true. Confidence:
    medium.

    Example: `sessionStart` (playhead 0, without `media.resume`), `play` (playhead 1200) a second later

    How to fix: Set `media.resume` to true if, and only if, an earlier playback by the same viewer continues.

    Known limits: A first playback can also begin after 0, for example through a deep link. The flag with playhead 0 is
    accepted, because the JavaScript SDK drops a playhead that is set before the session starts. `live`, `linear` and
    `radio` are exempt.
    """
    opening = before.start or event
    start = opening.start
    if start is None or start.resumes or (start.content_type or "").lower() in LIVE_TYPES or event.playhead_s is None:
        return None
    if before.start is None:
        begins_s = event.playhead_s
    elif event.type == "play" and not before.content_has_played and not before.is_in_break and opening.playhead_s == 0:
        passed_ms = 0 if event.ts_ms is None or opening.ts_ms is None else max(0, event.ts_ms - opening.ts_ms)
        begins_s = event.playhead_s - passed_ms / 1000
    else:
        return None
    return None if begins_s < 1 else f"content begins at {begins_s:.15g} s; expected media.resume true"


@session_rule("dropped-frames-decreased", INFO, despite_holes=True, when=When.COUNTED)
def dropped_frames_decreased(before: Playback, event: SessionEvent) -> str | None:
    """The number of dropped frames decreases.

    What it checks: `media.qoe.droppedFrames` must never be lower than the last value that was sent in the session.

    Why it matters: The value is a running total since playback began. If the player sends the number since the last
    event instead, the report shows only a part of the dropped frames.

    Source: Adobe's docs, `dropped-frames.md`. Confidence: high.

    Example: `ping` (droppedFrames 12), `bitrateChange` (droppedFrames 3)

    How to fix: Add up the dropped frames since `sessionStart`, even if the bitrate or the video element changes.

    Known limits: Values that are not integers are skipped, and so are events after `sessionEnd`. A value per interval
    that happens to increase is not noticed.
    """
    last, now = before.dropped_frames, event.dropped_frames
    if last is None or now is None or now >= last:
        return None
    return f"media.qoe.droppedFrames fell from {last} to {now}; it is a running total"


@session_rule("time-to-start-changed", INFO, despite_holes=True, when=When.COUNTED)
def time_to_start_changed(before: Playback, event: SessionEvent) -> str | None:
    """The time to start changes after it was first sent.

    What it checks: The first `media.qoe.timeToStart` above 0 in a session is compared with all later values. The
    finding counts the values that differ.

    Why it matters: The time from the play request to the first frame does not change afterwards. If the value changes,
    the report shows the last value or a mixture. Often such a value is the time since the page was loaded, which keeps
    growing.

    Source: Adobe's docs, `time-to-start.md`. Confidence: medium.

    Example: `play` (timeToStart 850), `ping` (timeToStart 10850)

    How to fix: Measure it once, at the first frame. Then send the same value every time, or leave it out.

    Known limits: A value of 0 before the first real value counts as not known yet; a 0 after it counts as a change.
    Values that are not integers are skipped, and so are events after `sessionEnd`.
    """
    first, now = before.time_to_start_ms, event.time_to_start_ms
    if first is None or now is None or now == first:
        return None
    return f"media.qoe.timeToStart changed from {first} to {now}; it is fixed once the first frame is shown"
