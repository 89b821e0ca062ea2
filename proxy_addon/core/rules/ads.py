"""Rules over ads and ad breaks. Source: Media Collection API, session rules, ads."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback, SessionEvent
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, session_rule


@session_rule("ad-outside-break", ERROR, on="adStart adComplete adSkip", weighs=True)
def ad_outside_break(before: Playback, event: SessionEvent) -> str | None:
    """An ad event stands outside of an ad break."""
    return f"{event.type} with no ad break open" if before.break_start is None else None


@session_rule("ad-close-without-start", WARNING, on="adComplete adSkip", weighs=True)
def ad_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """An ad ends that has not begun."""
    return f"{event.type} with no ad open" if before.break_start is not None and before.ad is None else None


@session_rule("ad-not-closed", WARNING, on="adStart adBreakComplete adBreakStart sessionComplete", weighs=True)
def ad_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad is left open by what follows it."""
    return f"{event.type} while an ad is open; adComplete or adSkip is missing" if before.ad is not None else None


@session_rule("ad-break-not-closed", WARNING, on="adBreakStart sessionComplete", weighs=True)
def ad_break_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad break is left open by what follows it."""
    return f"{event.type} while an ad break is open; adBreakComplete is missing" if before.break_start else None


@session_rule("ad-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` comes while an ad is open."""
    return "sessionEnd while an ad is open" if before.ad is not None else None


@session_rule("ad-break-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_break_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` comes while an ad break is open."""
    return "sessionEnd while an ad break is open" if before.break_start is not None else None


@session_rule("ad-break-complete-without-start", WARNING, on="adBreakComplete", weighs=True)
def ad_break_complete_without_start(before: Playback, _: SessionEvent) -> str | None:
    """An ad break ends that has not begun."""
    return "adBreakComplete with no ad break open" if before.break_start is None else None


@session_rule("ad-break-empty", INFO, on="adBreakComplete", weighs=True)
def ad_break_empty(before: Playback, _: SessionEvent) -> str | None:
    """An ad break has no ad."""
    return "the ad break had no ad" if before.break_start is not None and before.ads_in_break == 0 else None


@session_rule("ad-pod-position-order", INFO, on="adStart", weighs=True)
def ad_pod_position_order(before: Playback, event: SessionEvent) -> str | None:
    """`podPosition` does not grow within an ad break."""
    last, now = before.pod_position, event.pod_position
    if before.break_start is None or last is None or now is None or now > last:
        return None
    return f"podPosition {now} after {last} in one ad break; expected it to grow"


@session_rule("playback-event-in-ad-break", WARNING, on="play pauseStart bufferStart", weighs=True)
def playback_event_in_ad_break(before: Playback, event: SessionEvent) -> str | None:
    """Playback changes inside an ad break while no ad is open."""
    if before.break_start is None or before.ad is not None:
        return None
    if before.start is not None and event.ts_ms == before.start.ts_ms:
        return None  # an SDK's restart says everything at once
    return f"{event.type} in an ad break with no ad open; it counts as content"


@session_rule("play-before-preroll", INFO, on="adBreakStart", weighs=True)
def play_before_preroll(before: Playback, event: SessionEvent) -> str | None:
    """The first `play` comes just before the pre-roll."""
    first = before.first_play
    if first is None or before.plays != 1 or before.previous is None or before.life is not Life.OPEN:
        return None
    if first.playhead_s is None or first.playhead_s >= 1 or first.ts_ms is None or event.ts_ms is None:
        return None
    passed_ms = event.ts_ms - first.ts_ms
    return (
        f"adBreakStart {passed_ms} ms after the first play; the content began too early" if passed_ms <= 1000 else None
    )


@session_rule("playhead-moved-in-ad", WARNING, weighs=True)
def playhead_moved_in_ad(before: Playback, event: SessionEvent) -> str | None:
    """The playhead moves while an ad break is open."""
    began = before.break_start
    if began is None or before.is_live or began.playhead_s is None or event.playhead_s is None:
        return None
    if before.life is Life.ENDED or abs(event.playhead_s - began.playhead_s) <= before.limits.playhead_slack_s:
        return None
    return f"playhead {event.playhead_s:g} s in an ad break that began at {began.playhead_s:g} s; expected it to stay"
