"""Rules over times and the order of arrival. Source: Media Collection API, session rules, timestamps and order."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Arrivals, SessionEvent
from proxy_addon.core.rules.rule import INFO, WARNING, arrival_rule


@arrival_rule("ts-equal", INFO)
def ts_equal(before: Arrivals, event: SessionEvent) -> str | None:
    """Two events have the same `ts`."""
    return f"{event.type} has the ts of an event before it, {event.ts_ms}" if event.ts_ms in before.times else None


@arrival_rule("ts-out-of-order", INFO)
def ts_out_of_order(before: Arrivals, event: SessionEvent) -> str | None:
    """`ts` lies a little below that of an event that arrived before."""
    late_ms = _late_ms(before, event)
    if late_ms is None or not 0 < late_ms <= before.limits.reorder_window_s * 1000:
        return None
    return f"ts of {event.type} lies {late_ms} ms below the highest so far"


@arrival_rule("ts-backwards", WARNING)
def ts_backwards(before: Arrivals, event: SessionEvent) -> str | None:
    """`ts` lies far below that of an event that arrived before."""
    late_ms = _late_ms(before, event)
    window_s = before.limits.reorder_window_s
    if late_ms is None or late_ms <= window_s * 1000:
        return None
    return f"ts of {event.type} lies {late_ms / 1000:.1f} s below the highest so far; {window_s:g} s are put in order"


@arrival_rule("ts-clock-skew", INFO)
def ts_clock_skew(before: Arrivals, event: SessionEvent) -> str | None:
    """`ts` and arrival differ by minutes."""
    if not before.has_clock or before.is_batch or event.ts_ms is None or event.arrived_s is None:
        return None
    skew_s = event.ts_ms / 1000 - event.arrived_s
    if abs(skew_s) <= before.limits.clock_skew_s:
        return None
    where = "ahead of" if skew_s > 0 else "behind"
    return f"the device's clock is {abs(skew_s):.0f} s {where} the time of arrival"


def _late_ms(before: Arrivals, event: SessionEvent) -> int | None:
    if event.ts_ms is None or before.highest_ms is None:
        return None
    return before.highest_ms - event.ts_ms
