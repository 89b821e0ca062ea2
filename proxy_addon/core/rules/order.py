"""Rules over times and the order of arrival. Source: Media Collection API, session rules, timestamps and order."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Arrivals
from proxy_addon.core.rules.rule import INFO, WARNING, arrival_rule
from proxy_addon.core.rules.session_view import SessionEvent


@arrival_rule("ts-equal", INFO)
def ts_equal(before: Arrivals, event: SessionEvent) -> str | None:
    """Two events of a session have the same `ts`.

    What it checks: Each `ts` is compared with all that arrived before it in the session. The finding counts the events
    whose `ts` was there already.

    Why it matters: `ts` is all the back end has to put events in order. Where two are equal, a `play` may be taken
    before the `adBreakComplete` that it should follow, and time is counted for the wrong thing.

    Source: docs, `mc-api-ctrl-order.md`, ask for a distance of a millisecond; JS run, Android and iOS do not keep to
    it, for all events caused by one call share its time. Sureness: high.

    Example: `adBreakStart` (ts 1772366400000), `adStart` (ts 1772366400000), `play` (ts 1772366400000).

    How to fix: In a player of your own, add a millisecond to each event that would repeat the `ts` of the one before.
    With Adobe's SDKs nothing can be done, and nothing needs to be.

    Known limits: Info, as every Adobe SDK does it. The session rules take events with one `ts` in the better of two
    orders, so this alone makes no other rule fire; events without a readable `ts`, or with one before that of
    `sessionStart`, are passed over.
    """
    if event.ts_ms not in before.times or before.is_older_than_start(event):
        return None
    return f"{event.name} has the ts of an event before it, {event.ts_ms}"


@arrival_rule("ts-out-of-order", INFO)
def ts_out_of_order(before: Arrivals, event: SessionEvent) -> str | None:
    """An event arrives after one that happened up to 5 seconds later.

    What it checks: In the order of arrival, `ts` should not fall. An event whose `ts` lies at most 5 s below the
    highest one so far is told here, anything further below by `ts-backwards`.

    Why it matters: The back end collects events for some seconds and sorts them by `ts`, so the reports are right as
    a rule. It shows that requests overtake each other, and how close to the edge of that window they are.

    Source: docs, `mc-api-ctrl-order.md`; JS and CC send up to three events at once, and events queued behind a slow
    `sessionStart` come late. Sureness: high.

    Example: `ping` (ts 1772366420000), then `bufferStart` (ts 1772366419200).

    How to fix: Wait for the answer to one event before the next is sent, as Android and iOS do; with JS leave it.

    Known limits: An older sentence of the same page gives the back end one second, not five. A batch is looked at in
    the order of its elements; repeated times are left to `ts-equal`, and times before that of `sessionStart` to
    `events-before-start`.
    """
    late_ms = _late_ms(before, event)
    if late_ms is None or not 0 < late_ms <= before.limits.reorder_window_s * 1000:
        return None
    return f"ts of {event.name} lies {late_ms} ms below the highest so far"


@arrival_rule("ts-backwards", WARNING)
def ts_backwards(before: Arrivals, event: SessionEvent) -> str | None:
    """An event arrives after one that happened more than 5 seconds later.

    What it checks: In the order of arrival, no `ts` should lie more than 5 s below the highest one so far.

    Why it matters: Such an event is too late for the window in which the back end sorts. It is then processed behind
    what it should precede, and durations come out too long, too short or for the wrong state.

    Source: docs, `mc-api-ctrl-order.md`, the newer of two statements about the window. Sureness: medium.

    Example: `ping` (ts 1772366460000), then `pauseStart` (ts 1772366441000).

    How to fix: Send events in the order they happen, at once, and take `ts` at that moment from a clock that only
    goes forward: the Unix time at the start of the session plus a monotonic timer.

    Known limits: A late delivery and a clock that was set back look the same. One `ts` far in the future makes all
    events after it look late, so the place before the first one named is worth a look, too. Events from before
    `sessionStart` are told by `events-long-before-start`.
    """
    late_ms = _late_ms(before, event)
    window_s = before.limits.reorder_window_s
    if late_ms is None or late_ms <= window_s * 1000:
        return None
    return f"ts of {event.name} lies {late_ms / 1000:.15g} s below the highest so far; {window_s:g} s are put in order"


@arrival_rule("ts-clock-skew", INFO)
def ts_clock_skew(before: Arrivals, event: SessionEvent) -> str | None:
    """The device's clock and the time of arrival differ by more than 5 minutes.

    What it checks: `ts` of each event is compared with the time at which its request arrived. A difference of more
    than 5 minutes in either direction is told, with a count of the events.

    Why it matters: Playback is reported at the time of `ts`: it may land in another hour or day than it happened, and
    away from the page views of the same visit.

    Source: observation: devices such as television sets have clocks that nobody sets. Sureness: medium.

    Example: `sessionStart` with `ts` 1772366400000, which is 12:00 UTC, in a request that arrives at 13:00 UTC.

    How to fix: Let the device set its clock over the network, or correct `ts` by an offset that is measured once
    against a server's `Date` header.

    Known limits: Events kept on a device without network arrive late with a clock that is right. Batches of downloaded
    playback are exempt, and so is traffic whose time of day at arrival is not known.
    """
    if not before.has_clock or before.is_batch or event.ts_ms is None or event.arrived_s is None:
        return None
    if before.is_older_than_start(event):
        return None
    skew_s = round(event.ts_ms / 1000 - event.arrived_s, 6)  # Unix seconds are floats that are no finer
    if abs(skew_s) <= before.limits.clock_skew_s:
        return None
    where = "ahead of" if skew_s > 0 else "behind"
    return f"the device's clock is {abs(skew_s):.0f} s {where} the time of arrival"


def _late_ms(before: Arrivals, event: SessionEvent) -> int | None:
    if event.ts_ms is None or before.highest_ms is None or before.is_older_than_start(event):
        return None
    return before.highest_ms - event.ts_ms
