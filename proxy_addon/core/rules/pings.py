"""Rules over pings, gaps and timeouts. Source: Media Collection API, session rules, pings, gaps and timeouts."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Silence
from proxy_addon.core.rules.playback import Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, gap_rule, session_rule, standing_rule
from proxy_addon.core.rules.session_view import SessionEvent

_INTERVALS = 3
"""How many intervals say something."""


@gap_rule("ping-gap", INFO)
def ping_gap(before: Silence, event: SessionEvent) -> str | None:
    """Nothing was heard of a session for 15 to 60 seconds.

    What it checks: The time between an event and the one before it, of whatever types, should be no more than 15 s.
    It is measured by arrival in live traffic and by `ts` elsewhere.

    Why it matters: Pings tell the back end that somebody is still watching. A gap this long is harmless by itself, but
    the time is counted coarsely, and the end of a playback that stops without an event is known less well.

    Source: docs, `mc-api-sed-pings.md`, for pings every 10 s; SDKs look at the clock every 0.5 to 1.5 s, hence the
    slack; browsers slow down the timers of hidden tabs. Sureness: medium.

    Example: `play`, `ping` after 10 s, then nothing until a `ping` 28 s later.

    How to fix: Send a `ping` 10 s after the last ping or playback event, also in pauses, while buffering and in ads.
    In a browser, run the timer in a worker.

    Known limits: Batches of downloaded playback and all that follows `sessionEnd` are exempt. By arrival, a network
    that holds events back looks like a player that sends none; a gap at the very end is not seen.
    """
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_s < gap_s <= limits.ping_gap_long_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@gap_rule("ping-gap-long", WARNING)
def ping_gap_long(before: Silence, event: SessionEvent) -> str | None:
    """Nothing was heard of a session for more than a minute.

    What it checks: The time between an event and the one before it, of whatever types, should not be above 60 s. From
    10 minutes on it is `session-timeout-idle`.

    Why it matters: Pings have stopped: in a pause, in ads, or because the app was put to sleep. A little longer and
    the back end closes the session and drops the rest of the playback.

    Source: Android and iOS log a warning from 60 s on; docs, `mc-api-sed-pings.md`. Sureness: high.

    Example: `pauseStart`, nothing for 3 minutes, `play`.

    How to fix: Go on with a `ping` every 10 s in every state, pauses included. If the app is suspended, end the
    session before and open a new one with `media.resume` true when it comes back.

    Known limits: Measured by arrival in live traffic, so that a device which was without network and sends late is
    told, too. Batches of downloaded playback and all that follows `sessionEnd` are exempt.
    """
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_long_s < gap_s < limits.idle_timeout_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@standing_rule("ping-cadence", WARNING)
def ping_cadence(now: Playback) -> str | None:
    """Pings come too seldom while content plays.

    What it checks: Of all distances between two pings of playing content with nothing between them that restarts the
    timer (playback and ad events), the median must not be above 12 s. At least 3 distances are needed.

    Why it matters: Time spent, concurrent viewers and the time of the end are only as exact as the pings. A rhythm of
    30 or 60 s is a wrong setting, not a slow network.

    Source: docs, `mc-api-sed-pings.md` and `ping.md`; Adobe's SDKs were measured at 10.0 to 11.5 s (JS run).
    Sureness: high.

    Example: `play`, then a `ping` every 14 s: 14, 28, 42 and 56 s after it.

    How to fix: Set the timer to 10 s and start it again after every ping and every `play`, `pauseStart` and
    `bufferStart`.

    Known limits: Pings in ads, in pauses and after `sessionComplete` are not judged, in ads unless the settings give a
    limit for them. Faster pings are never told, batches of downloaded playback are exempt, and hidden tabs may fire it.
    """
    limits = now.limits
    content, ads = now.ping_intervals, now.ad_ping_intervals
    if content.count >= _INTERVALS and content.lies_above(limits.ping_median_s):
        return _seldom(content.count, "of content", limits.ping_median_s)
    if limits.ad_ping_median_s is None or ads.count < _INTERVALS or not ads.lies_above(limits.ad_ping_median_s):
        return None
    return _seldom(ads.count, "in ads", limits.ad_ping_median_s)


def _seldom(count: int, where: str, limit_s: float) -> str:
    return f"the median of {count} intervals between pings {where} is above {limit_s:g} s"


@gap_rule("session-timeout-idle", ERROR)
def session_timeout_idle(before: Silence, event: SessionEvent) -> str | None:
    """An event follows a silence of 10 minutes, which has closed the session.

    What it checks: The time between an event and the one before it, of whatever types, has to be below 10 minutes.

    Why it matters: After 10 minutes without an event the back end ends the session and drops whatever comes later
    under its ID. The rest of the playback is missing from the reports, although it may be answered with 204.

    Source: docs, `mc-api-timeout.md` and `session-start.md`. Sureness: high.

    Example: `pauseStart`, nothing for 25 minutes, `play` to the same session ID.

    How to fix: Send a `ping` every 10 s also in pauses. After 10 minutes of silence, or after an answer of 404 or 410,
    open a new session with `media.resume` true and send the events there.

    Known limits: It also hits SDKs whose app the system suspended; the loss is real all the same. Measured by arrival
    in live traffic and by `ts` elsewhere; batches of downloaded playback and all after `sessionEnd` are exempt.
    """
    gap_s = before.gap_s(event)
    if gap_s is None or gap_s < before.limits.idle_timeout_s:
        return None
    return f"{event.name} after {gap_s / 60:.1f} minutes without an event; the session was closed and drops it"


def _still_stands(before: Playback, event: SessionEvent) -> bool | None:
    return None if event.playhead_s is None else event.playhead_s == before.last_playhead_s


@session_rule("session-timeout-playhead", WARNING, extent=_still_stands)
def session_timeout_playhead(before: Playback, event: SessionEvent) -> str | None:
    """Events go on although the playhead has not moved for half an hour.

    What it checks: No event but `sessionEnd` may come 31 minutes or more after the playhead reached the place where
    it still is. Each such standstill is told once.

    Why it matters: The back end closes a session after 30 minutes without movement, and drops what comes later under
    its ID: a viewer who returns from a long pause is lost.

    Source: docs, `mc-api-timeout.md`; SDKs send `sessionEnd` after 30 minutes of not playing, and a new `sessionStart`
    when playback goes on. Sureness: high.

    Example: `pauseStart` (playhead 600), a `ping` every 10 s for 35 minutes, `play` (playhead 600).

    How to fix: Send `sessionEnd` when a pause has lasted for 30 minutes. When the viewer comes back, open a new session
    with `media.resume` true, and start the chapter and the player states again that are open.

    Known limits: The minute of slack is for SDKs, which are not exact. Measured by arrival in live traffic and by `ts`
    elsewhere; downloaded playback is exempt, live content is not. An ad break of half an hour counts as well.
    """
    if before.is_batch or event.type == "sessionEnd" or before.still_told:
        return None
    if not before.has_stood_too_long(event):
        return None
    minutes = before.limits.playhead_timeout_s / 60
    return f"the playhead stands at {event.playhead_s:.15g} s for {minutes:g} minutes or more; the session was closed"


@session_rule("session-over-24h", INFO)
def session_over_24h(before: Playback, event: SessionEvent) -> str | None:
    """A session lasts longer than a day.

    What it checks: No `ts` may lie more than 24 hours and 1 minute above the first one of the session. It is told once,
    at the event that crosses the line.

    Why it matters: Nothing is lost at that moment, but a playback of several days counts as one, its time spent ends
    up in the reports of its first or last day, and often nobody is watching any more.

    Source: dev site, `implementation.md`; JS, CC, Android and iOS send `sessionEnd` and a new `sessionStart` after
    24 hours of playing. Sureness: high.

    Example: `sessionStart` on Monday at 12:00, a `ping` every 10 s, `ping` on Tuesday at 12:05.

    How to fix: After 24 hours send `sessionEnd` and at once a `sessionStart` with `media.resume` true.

    Known limits: `ts` is compared, so that a clock set forward looks like a long session. Batches of downloaded
    playback are exempt, and so are events after `sessionEnd`.
    """
    if before.is_batch or before.first_ms is None or before.last_ms is None or event.ts_ms is None:
        return None
    limit_ms = before.limits.session_s * 1000
    if event.ts_ms - before.first_ms <= limit_ms or before.last_ms - before.first_ms > limit_ms:
        return None  # told once, where the line is crossed
    return "the session lasts more than 24 hours; SDKs begin a new one"
