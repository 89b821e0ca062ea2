"""Rules over the playhead and what is counted with it. Source: Media Collection API, session rules, playhead."""

from __future__ import annotations

from proxy_addon.core.rules.playback import LIVE_TYPES, Mode, Playback
from proxy_addon.core.rules.rule import INFO, WARNING, session_rule
from proxy_addon.core.rules.session_view import SessionEvent

_DAY_S = 86_400


@session_rule("playhead-live-range", WARNING)
def playhead_live_range(before: Playback, event: SessionEvent) -> str | None:
    """The playhead of live content is not the second of a day.

    What it checks: In a session whose `media.contentType` is `live`, `linear` or `radio`, in upper or lower case, each
    playhead has to be below 86400.

    Why it matters: The back end reads a live playhead as a time of day. With Unix seconds, or seconds since the stream
    began days ago, progress and segments of the broadcast mean nothing.

    Source: docs, `mc-api-sessions-req.md`. Sureness: medium.

    Example: `sessionStart` (contentType `live`, playhead 1772366400), `play` (playhead 1772366400).

    How to fix: Send the seconds since midnight, modulo 86400, or the position within the programme if that has a
    beginning and a length.

    Known limits: Other names for live content are not known to it, and which midnight is meant is not judged. Nothing
    is said where the start was not recorded, nor of events after `sessionEnd`.
    """
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() not in LIVE_TYPES:
        return None
    if event.playhead_s is None or event.playhead_s < _DAY_S:
        return None
    return f"playhead {event.playhead_s:.15g} s of live content; expected the second of the day, below {_DAY_S}"


@session_rule("playhead-beyond-length", WARNING)
def playhead_beyond_length(before: Playback, event: SessionEvent) -> str | None:
    """The playhead lies beyond the end of the content.

    What it checks: In a session that is not live and has a `media.length` above 0, no playhead may exceed that length
    by more than 1 s.

    Why it matters: Progress, completion and segments are reckoned from playhead and length. One of the two is wrong:
    often it counts ads in, or it is in milliseconds, or the length belongs to other content.

    Source: docs, `mc-api-sessions-req.md`; the second of slack is for end events, which have the length itself.
    Sureness: medium.

    Example: `sessionStart` (length 60), `play` (playhead 0), `ping` (playhead 75).

    How to fix: Send the position in main content, in seconds, without ads, and the length in seconds of the same
    content. Where the length is not known yet, send 0.

    Known limits: A length of 0 counts as not known, and live, linear and radio are exempt. Nothing is said where the
    start was not recorded, nor of events after `sessionEnd`.
    """
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() in LIVE_TYPES:
        return None
    length_s = known.start.length_s
    if not length_s or length_s < 0 or event.playhead_s is None:
        return None
    if event.playhead_s <= length_s + before.limits.playhead_slack_s:
        return None
    return f"playhead {event.playhead_s:.15g} s lies beyond media.length, {length_s:.15g} s"


def _stands_on(before: Playback, event: SessionEvent) -> bool | None:
    """Whether the stand that was told goes on: an event other than a ping only shows whether it was interrupted."""
    if before.stood is None:
        return False
    return before.stood.playhead_s == event.playhead_s if event.type == "ping" else None


@session_rule("playhead-frozen", WARNING, on="ping", extent=_stands_on)
def playhead_frozen(before: Playback, event: SessionEvent) -> str | None:
    """Content plays and its playhead stands still.

    What it checks: While content plays and no ad break is open, at least 3 pings in a row with one playhead, over at
    least 20 s by `ts`, are told once. It begins anew when the playhead moves or playback is interrupted.

    Why it matters: The back end counts a stall where content plays without its playhead moving. Progress and segments
    stay at the start, and after half an hour the session is closed.

    Source: docs, `stall-events.md`; JS run with an app that never updates the playhead. Sureness: high.

    Example: `play` (playhead 0), `ping` (10 s later, playhead 0), `ping` (20 s, playhead 0), `ping` (30 s, playhead 0).

    How to fix: Give the SDK the position once a second, and send `bufferStart` when the player really stalls.

    Known limits: Only pings are counted, not other events, and never after `sessionComplete`. Live content is not
    exempt; an ad break that is not reported looks like this, and pings without readable times begin a new count.
    """
    stood = before.stand_with(event)
    if stood is None or not stood.is_suspicious(before.limits):
        return None
    is_same = before.stood is not None and before.stood.playhead_s == stood.playhead_s
    if is_same and before.stood is not None and before.stood.is_suspicious(before.limits):
        return None  # told at an earlier ping
    return f"playhead {stood.playhead_s:.15g} s at {stood.pings} pings over {stood.lasted_s:.0f} s of playing content"


@session_rule("playhead-in-milliseconds", WARNING, on="ping")
def playhead_in_milliseconds(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves about a thousand times as fast as time.

    What it checks: Between two pings of uninterrupted content the playhead should move about as fast as `ts`. It is
    told once, when it has moved 500 to 1500 times as fast for the second time.

    Why it matters: The unit is seconds. A playhead in milliseconds leaves the content after some seconds, so that
    progress and segments are wrong and all content seems completed.

    Source: docs, `mc-api-sessions-req.md`, for the unit; the numbers are an observation. Sureness: medium.

    Example: `play` (playhead 0), then every 10 s `ping` (playhead 10000), `ping` (20000), `ping` (30000).

    How to fix: Divide what the player reports by 1000 before it is given to the SDK or sent.

    Known limits: Three pings without an interruption are needed. Two long seeks in a row that are not reported as
    pauses could look the same; a playhead in milliseconds at a playback speed below one half or above 1.5 is missed.
    """
    if before.fast_moves != 1 or not before.moved_too_fast(before.last_ping, event):
        return None
    return "the playhead moved about 1000 times as fast as time, twice; expected seconds"


@session_rule("playhead-moved-in-pause", INFO, on="ping stateStart stateEnd statesUpdate")
def playhead_moved_in_pause(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves while playback is paused.

    What it checks: Between `pauseStart` and the next `play` or `bufferStart`, the playhead of a `ping` or an event about
    player states differs by no more than one second from that of the event before it.

    Why it matters: The viewer is probably scrubbing. Time spent is not affected, but the position goes to places that
    nobody watched, and may mark segments as seen.

    Source: observation; docs and SDKs only say that the playhead stays in a pause. SDKs that keep the playhead are off
    by some tenths (CC 3.0.3). Sureness: low.

    Example: `pauseStart` (playhead 40), `ping` (playhead 95), `play` (playhead 180).

    How to fix: Keep the playhead of the pause until `play` reports the new position.

    Known limits: Live content is exempt, its clock goes on, and so are sessions whose start was not recorded. A move
    that another type of event reports first is not seen.
    """
    if before.mode is not Mode.PAUSED or before.is_live:
        return None
    last = before.last_playhead_s
    if last is None or event.playhead_s is None or abs(event.playhead_s - last) <= before.limits.playhead_slack_s:
        return None
    return f"playhead moved from {last:.15g} s to {event.playhead_s:.15g} s in a pause"


@session_rule("resume-flag-suspect", INFO, on="sessionStart play")
def resume_flag_suspect(before: Playback, event: SessionEvent) -> str | None:
    """Content begins in its middle without `media.resume`.

    What it checks: Content that is not live begins below playhead 1, or its `sessionStart` has `media.resume` true. It
    begins where `sessionStart` stands; where that says 0, where the first `play` outside of an ad break stands, less
    the time since the start.

    Why it matters: Without the flag, a playback that was picked up again counts as another media start.

    Source: docs, `content-resumes.md`; JS and CC send `media.resume` false when they open a session again after a
    timeout or 24 hours, Android and iOS send true. Sureness: medium.

    Example: `sessionStart` (playhead 0, without `media.resume`), `play` (playhead 1200) a second later.

    How to fix: Set `media.resume` to true exactly when an earlier playback of the same viewer is continued.

    Known limits: A first playback may begin elsewhere than at 0, by a deep link for example. The flag with playhead 0
    is fine: the JS SDK drops a playhead that is set before the session starts. Live, linear and radio are exempt.
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
    return None if begins_s < 1 else f"content begins at {begins_s:.15g} s without media.resume true"


@session_rule("dropped-frames-decreased", INFO)
def dropped_frames_decreased(before: Playback, event: SessionEvent) -> str | None:
    """The number of dropped frames falls.

    What it checks: Wherever `media.qoe.droppedFrames` is sent, it should be no lower than the last time in the session.

    Why it matters: The value is a running total since the playback began. Where it is sent as the number since the
    last event, the report shows only a part of the frames that were lost.

    Source: docs, `dropped-frames.md`. Sureness: high.

    Example: `ping` (droppedFrames 12), `bitrateChange` (droppedFrames 3).

    How to fix: Add up the dropped frames from `sessionStart` on, also over changes of bitrate and of the video element.

    Known limits: Values that are no integers are passed over, and so are events after `sessionEnd`. A value per
    interval that happens to grow is not noticed.
    """
    last, now = before.dropped_frames, event.dropped_frames
    if last is None or now is None or now >= last:
        return None
    return f"media.qoe.droppedFrames fell from {last} to {now}; it is a running total"


@session_rule("time-to-start-changed", INFO)
def time_to_start_changed(before: Playback, event: SessionEvent) -> str | None:
    """The time to start changes after it was sent.

    What it checks: The first `media.qoe.timeToStart` above 0 of a session is compared with all later ones; each that
    differs is counted.

    Why it matters: The time from the request to play until the first frame is a fact of the past. If it changes, the
    report shows the last value or a mixture, often a time since page load that goes on growing.

    Source: docs, `time-to-start.md`. Sureness: medium.

    Example: `play` (timeToStart 850), `ping` (timeToStart 10850).

    How to fix: Measure it once, at the first frame, and send that value unchanged, or leave it out afterwards.

    Known limits: Values of 0 before the first real one are taken as not known yet; a 0 after it is a change. Values
    that are no integers are passed over, and so are events after `sessionEnd`.
    """
    first, now = before.time_to_start_ms, event.time_to_start_ms
    if first is None or now is None or now == first:
        return None
    return f"media.qoe.timeToStart is {now} after it was {first}; it stays once frames are drawn"
