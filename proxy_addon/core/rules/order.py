"""Rules for timestamps and the order of arrival. Source: Media Collection API, session rules, timestamps and order."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Arrivals, passed_s
from proxy_addon.core.rules.rule import INFO, WARNING, When, arrival_rule
from proxy_addon.core.rules.session_view import SessionEvent


@arrival_rule("ts-equal", INFO, despite_holes=True, when=When.NOT_NEWEST)
def ts_equal(before: Arrivals, event: SessionEvent) -> str | None:
    """Two events of a session have the same `ts`.

    What it checks: Each `ts` is compared with every `ts` that arrived before it in the session. The finding counts the
    events whose `ts` had already occurred.

    Why it matters: The back end has nothing but `ts` to sort events by. If two are equal, it may process a `play`
    before the `adBreakComplete` that it should follow, and count time for the wrong thing.

    Source: Adobe's docs, `mc-api-ctrl-order.md`, require events to be at least a millisecond apart. Adobe's JavaScript,
    Android and iOS SDKs do not follow this, because all events of one call share its time. Confidence: high.

    Example: `adBreakStart` (ts 1772366400000), `adStart` (ts 1772366400000), `play` (ts 1772366400000)

    How to fix: In your own player, add a millisecond to each event that would repeat the previous `ts`. If you use
    Adobe's SDKs, you cannot and need not change anything.

    Known limits: This is only an info, because every Adobe SDK does it. The session rules try two orders for events
    with the same `ts` and use the better one, so equal times alone do not trigger any other rule. Events without a
    readable `ts`, or with a `ts` before that of `sessionStart`, are skipped.
    """
    if event.ts_ms not in before.times or before.is_older_than_start(event):
        return None
    return f"{event.name} has the same ts as an earlier event, {event.ts_ms}"


@arrival_rule("ts-out-of-order", INFO, despite_holes=True, when=When.NOT_NEWEST)
def ts_out_of_order(before: Arrivals, event: SessionEvent) -> str | None:
    """An event arrives after one that happened up to 5 seconds later.

    What it checks: In the order of arrival, `ts` should not decrease. An event whose `ts` is up to 5 s below the
    highest one so far is reported here; a larger difference is reported by `ts-backwards`.

    Why it matters: The back end collects events for some seconds and sorts them by `ts`, so the reports are usually
    right. The finding shows that requests overtake each other, and how close they come to the limit of that window.

    Source: Adobe's docs, `mc-api-ctrl-order.md`; the JavaScript and Chromecast SDKs send up to three events at once,
    and events that waited for a slow `sessionStart` arrive late. Confidence: high.

    Example: `ping` (ts 1772366420000), then `bufferStart` (ts 1772366419200)

    How to fix: Wait for the answer to an event before you send the next one, as the Android and iOS SDKs do. If you use
    the JavaScript SDK, there is nothing to fix.

    Known limits: An older sentence on the same page of the docs says that the window is one second, not five. Batches
    are checked in the order of their elements. Equal times are reported by `ts-equal`, and times up to 5 s before that
    of `sessionStart` by `events-before-start`.
    """
    late_ms = _late_ms(before, event)
    if late_ms is None or not 0 < late_ms <= before.limits.reorder_window_s * 1000:
        return None
    return f"ts of {event.name} lies {late_ms} ms below the highest so far"


@arrival_rule("ts-backwards", WARNING, despite_holes=True, when=When.NOT_NEWEST)
def ts_backwards(before: Arrivals, event: SessionEvent) -> str | None:
    """An event arrives after one that happened more than 5 seconds later.

    What it checks: In the order of arrival, no `ts` may be more than 5 s below the highest one so far.

    Why it matters: The event is too late for the window in which the back end sorts. It is processed after events that
    it should precede, so durations are too long, too short or counted for the wrong state.

    Source: Adobe's docs, `mc-api-ctrl-order.md`, the newer of two statements about the window. Confidence: medium.

    Example: `ping` (ts 1772366460000), then `pauseStart` (ts 1772366441000)

    How to fix: Send events at once, in the order in which they happen. Set `ts` at that moment, from a clock that never
    goes back: the Unix time at the start of the session plus a monotonic timer.

    Known limits: A late delivery and a clock that was set back look the same. A single `ts` far in the future makes all
    later events look late, so also look at the event before the first one reported. Events that are much older than
    `sessionStart` are reported by `events-long-before-start`.
    """
    late_ms = _late_ms(before, event)
    window_s = before.limits.reorder_window_s
    if late_ms is None or late_ms <= window_s * 1000:
        return None
    late_s = late_ms / 1000
    return f"ts of {event.name} lies {late_s:.15g} s below the highest so far; the back end sorts within {window_s:g} s"


@arrival_rule("ts-clock-skew", INFO, despite_holes=True)
def ts_clock_skew(before: Arrivals, event: SessionEvent) -> str | None:
    """The device's clock and the time of arrival differ by more than 5 minutes.

    What it checks: The `ts` of each event must not differ by more than 5 minutes, in either direction, from the time at
    which its request arrived. The finding counts the events.

    Why it matters: Playback is reported at the time of `ts`. It may appear in a different hour or day than it happened,
    and apart from the page views of the same visit.

    Source: Observation: the clocks of devices such as television sets are often wrong. Confidence: medium.

    Example: `sessionStart` with `ts` 1772366400000, which is 12:00 UTC, in a request that arrives at 13:00 UTC

    How to fix: Let the device set its clock over the network, or measure its offset once against the `Date` header of a
    server and correct `ts` by it.

    Known limits: Events that a device stored while it was offline arrive late although its clock is right. Batches of
    downloaded playback are exempt, and so is traffic without a known time of arrival.
    """
    if not before.has_clock or before.is_batch or event.ts_ms is None or event.arrived_s is None:
        return None
    if before.is_older_than_start(event):
        return None
    skew_s = passed_s(event.arrived_s, event.ts_ms / 1000)
    if abs(skew_s) <= before.limits.clock_skew_s:
        return None
    where = "ahead of" if skew_s > 0 else "behind"
    return f"the device's clock is {abs(skew_s):.0f} s {where} the time of arrival"


def _late_ms(before: Arrivals, event: SessionEvent) -> int | None:
    if event.ts_ms is None or before.highest_ms is None or before.is_older_than_start(event):
        return None
    return before.highest_ms - event.ts_ms
