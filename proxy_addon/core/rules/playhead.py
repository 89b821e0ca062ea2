"""Rules over the playhead and what is counted with it. Source: Media Collection API, session rules, playhead."""

from __future__ import annotations

from proxy_addon.core.rules.playback import LIVE_TYPES, Life, Mode, Playback, SessionEvent
from proxy_addon.core.rules.rule import INFO, WARNING, session_rule

_DAY_S = 86_400


@session_rule("playhead-live-range", WARNING)
def playhead_live_range(before: Playback, event: SessionEvent) -> str | None:
    """The playhead of live content is no second of the day."""
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() not in LIVE_TYPES:
        return None
    if event.playhead_s is None or event.playhead_s < _DAY_S or before.life is Life.ENDED:
        return None
    return f"playhead {event.playhead_s:.15g} s of live content; expected the second of the day, below {_DAY_S}"


@session_rule("playhead-beyond-length", WARNING)
def playhead_beyond_length(before: Playback, event: SessionEvent) -> str | None:
    """The playhead lies beyond the length."""
    known = before.start if before.start is not None else event
    if known.start is None or (known.start.content_type or "").lower() in LIVE_TYPES or before.life is Life.ENDED:
        return None
    length_s = known.start.length_s
    if not length_s or length_s < 0 or event.playhead_s is None:
        return None
    if event.playhead_s <= length_s + before.limits.playhead_slack_s:
        return None
    return f"playhead {event.playhead_s:.15g} s lies beyond media.length, {length_s:g} s"


@session_rule("playhead-frozen", WARNING, on="ping")
def playhead_frozen(before: Playback, event: SessionEvent) -> str | None:
    """Content plays and its playhead stands still."""
    stood = None if before.is_batch else before.stand_with(event)
    if stood is None or before.life is Life.ENDED:
        return None
    told = before.frozen_told and before.stood is not None and before.stood[0] == stood[0]
    if told or not before.is_frozen(stood, event):
        return None
    assert event.ts_ms is not None
    return f"playhead {stood[0]:g} s at {stood[2]} pings over {event.ts_ms / 1000 - stood[1]:.0f} s of playing content"


@session_rule("playhead-in-milliseconds", WARNING, on="ping")
def playhead_in_milliseconds(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves a thousand times as fast as time."""
    if before.is_batch or before.fast_moves != 1 or not before.moved_too_fast(before.last_ping, event):
        return None
    return "the playhead moved about 1000 times as fast as time, twice; expected seconds"


@session_rule("playhead-moved-in-pause", INFO, on="ping stateStart stateEnd statesUpdate")
def playhead_moved_in_pause(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves while playback is paused."""
    if before.mode is not Mode.PAUSED or before.is_live or before.life is Life.ENDED:
        return None
    last = before.last_playhead_s
    if last is None or event.playhead_s is None or event.playhead_s == last:
        return None
    return f"playhead moved from {last:g} s to {event.playhead_s:g} s in a pause"


@session_rule("resume-flag-suspect", INFO, on="sessionStart")
def resume_flag_suspect(before: Playback, event: SessionEvent) -> str | None:
    """`media.resume` does not go with the playhead at the start."""
    start = event.start
    if before.start is not None or start is None or event.playhead_s is None:
        return None
    if (start.content_type or "").lower() in LIVE_TYPES:
        return None
    if event.playhead_s > 0 and not start.resumes:
        return f"the session starts at {event.playhead_s:g} s without media.resume true"
    if event.playhead_s == 0 and start.resumes:
        return "media.resume is true and the session starts at 0 s"
    return None


@session_rule("dropped-frames-decreased", INFO)
def dropped_frames_decreased(before: Playback, event: SessionEvent) -> str | None:
    """The number of dropped frames falls."""
    last, now = before.dropped_frames, event.dropped_frames
    if last is None or now is None or now >= last or before.life is Life.ENDED:
        return None
    return f"media.qoe.droppedFrames fell from {last} to {now}; it is a running total"


@session_rule("time-to-start-changed", INFO)
def time_to_start_changed(before: Playback, event: SessionEvent) -> str | None:
    """The time to start changes."""
    first, now = before.time_to_start_ms, event.time_to_start_ms
    if first is None or now is None or now == first or before.life is Life.ENDED:
        return None
    return f"media.qoe.timeToStart is {now} after it was {first}; it stays once frames are drawn"
