"""Rules over pings, gaps and timeouts. Source: Media Collection API, session rules, pings, gaps and timeouts."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback, SessionEvent, Silence
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, gap_rule, session_rule, standing_rule

_INTERVALS = 3
"""How many intervals say something."""


@gap_rule("ping-gap", INFO)
def ping_gap(before: Silence, event: SessionEvent) -> str | None:
    """Nothing was heard for longer than a ping's distance."""
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_s < gap_s <= limits.ping_gap_long_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@gap_rule("ping-gap-long", WARNING)
def ping_gap_long(before: Silence, event: SessionEvent) -> str | None:
    """Nothing was heard for minutes."""
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_long_s < gap_s < limits.idle_timeout_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@standing_rule("ping-cadence", WARNING)
def ping_cadence(now: Playback) -> str | None:
    """Pings come too seldom."""
    limits = now.limits
    content, ads = now.ping_intervals, now.ad_ping_intervals
    if content.count >= _INTERVALS and content.lies_above(limits.ping_median_s):
        return f"half of the {content.count} intervals between pings of content are above {limits.ping_median_s:g} s"
    if limits.ad_ping_median_s is None or ads.count < _INTERVALS or not ads.lies_above(limits.ad_ping_median_s):
        return None
    return f"half of the {ads.count} intervals between pings in ads are above {limits.ad_ping_median_s:g} s"


@gap_rule("session-timeout-idle", ERROR)
def session_timeout_idle(before: Silence, event: SessionEvent) -> str | None:
    """An event follows a silence that has closed the session."""
    gap_s = before.gap_s(event)
    if gap_s is None or gap_s < before.limits.idle_timeout_s:
        return None
    return f"{event.type} after {gap_s / 60:.1f} minutes without an event; the session was closed and drops it"


@session_rule("session-timeout-playhead", WARNING)
def session_timeout_playhead(before: Playback, event: SessionEvent) -> str | None:
    """Events go on although the playhead has stood for half an hour."""
    if before.is_batch or event.type == "sessionEnd" or before.life is Life.ENDED or before.still_told:
        return None
    if not before.has_stood_too_long(event):
        return None
    return f"the playhead stands at {event.playhead_s:g} s for 31 minutes or more; the session was closed"


@session_rule("session-over-24h", INFO)
def session_over_24h(before: Playback, event: SessionEvent) -> str | None:
    """A session lasts longer than a day."""
    first = before.first
    if before.is_batch or first is None or first.ts_ms is None or event.ts_ms is None or before.life is Life.ENDED:
        return None
    limit_ms = before.limits.session_s * 1000
    previous_ms = before.previous.ts_ms if before.previous is not None else None
    if event.ts_ms - first.ts_ms <= limit_ms or (previous_ms is not None and previous_ms - first.ts_ms > limit_ms):
        return None  # told once, where the line is crossed
    return "the session lasts more than 24 hours; SDKs begin a new one"
