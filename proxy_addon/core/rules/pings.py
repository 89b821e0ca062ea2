"""Rules for pings, gaps and timeouts. Source: Media Collection API, session rules, pings, gaps and timeouts."""

from __future__ import annotations

from proxy_addon.core.rules.clocks import Silence
from proxy_addon.core.rules.playback import Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, When, gap_rule, session_rule, standing_rule
from proxy_addon.core.rules.session_view import SessionEvent

_INTERVALS = 3
"""How many intervals are needed before the median means anything."""


@gap_rule("ping-gap", INFO)
def ping_gap(before: Silence, event: SessionEvent) -> str | None:
    """A session sent no event for 15 to 60 seconds.

    What it checks: The time between two consecutive events of any type should be at most 15 s. It is measured by
    arrival in live traffic and by `ts` elsewhere.

    Why it matters: Pings tell the back end that somebody is still watching. A gap of this length does no harm in
    itself, but time is counted less precisely, and so is the end of a playback that stops without a last event.

    Source: Adobe's docs, `mc-api-sed-pings.md`, for pings every 10 s. SDKs check their timers every 0.5 to 1.5 s, which
    explains the tolerance. Browsers slow down timers in hidden tabs. Confidence: medium.

    Example: `play`, a `ping` after 10 s, then nothing until a `ping` 28 s later

    How to fix: Send a `ping` 10 s after the last ping or playback event, also during pauses, buffering and ads. In a
    browser, run the timer in a worker.

    Known limits: Batches of downloaded playback are exempt, and so are all events after `sessionEnd`. Since live
    traffic is measured by arrival, a network that delays events looks like a player that sends none. A gap at the very
    end of the session is not reported.
    """
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_s < gap_s <= limits.ping_gap_long_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@gap_rule("ping-gap-long", WARNING)
def ping_gap_long(before: Silence, event: SessionEvent) -> str | None:
    """A session sent no event for more than a minute.

    What it checks: The time between two consecutive events of any type must be at most 60 s. From 10 minutes on, the
    gap is reported by `session-timeout-idle`.

    Why it matters: The pings have stopped: in a pause, during ads, or because the app was suspended. If the gap grows
    to 10 minutes, the back end closes the session and drops the rest of the playback.

    Source: The Android and iOS SDKs log a warning from 60 s on; Adobe's docs, `mc-api-sed-pings.md`. Confidence: high.

    Example: `pauseStart`, nothing for 3 minutes, `play`

    How to fix: Send a `ping` every 10 s in every state, including pauses. Before the app is suspended, end the session.
    When the app returns, open a new session with `media.resume` set to true.

    Known limits: Live traffic is measured by arrival, so a device that was offline and sends its events late is also
    reported. Batches of downloaded playback are exempt, and so are all events after `sessionEnd`.
    """
    gap_s, limits = before.gap_s(event), before.limits
    if gap_s is None or not limits.ping_gap_long_s < gap_s < limits.idle_timeout_s:
        return None
    return f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@standing_rule("ping-cadence", WARNING)
def ping_cadence(now: Playback) -> str | None:
    """Pings are too rare while content plays.

    What it checks: The median interval between pings of playing content must be at most 12 s. Only intervals without a
    playback or ad event in between count, because these events restart the timer. At least 3 intervals are needed.

    Why it matters: Time spent, concurrent viewers and the time of the end are only as precise as the pings. An interval
    of 30 or 60 s is a wrong setting, not a slow network.

    Source: Adobe's docs, `mc-api-sed-pings.md` and `ping.md`; a test run of the JavaScript SDK showed 10.0 to 11.5 s.
    Confidence: high.

    Example: `play`, then a `ping` every 14 s: 14, 28, 42 and 56 s after it

    How to fix: Set the timer to 10 s, and restart it after every ping and every `play`, `pauseStart` and `bufferStart`.

    Known limits: Pings in pauses and after `sessionComplete` are not checked. Pings during ads are checked only if the
    settings define a limit for them. Pings that are more frequent are never reported, and batches of downloaded
    playback are exempt. Timers in hidden browser tabs can trigger this rule.
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
    """An event follows 10 minutes of silence, which closed the session.

    What it checks: The time between two consecutive events of any type must be below 10 minutes.

    Why it matters: After 10 minutes without an event, the back end ends the session and drops all later events with its
    session ID. The rest of the playback is missing from the reports, even if the server answers with 204.

    Source: Adobe's docs, `mc-api-timeout.md` and `session-start.md`. Confidence: high.

    Example: `pauseStart`, nothing for 25 minutes, `play` with the same session ID

    How to fix: Send a `ping` every 10 s, also during pauses. After 10 minutes of silence, or after an answer of 404 or
    410, open a new session with `media.resume` set to true and send the events there.

    Known limits: SDKs are also affected if the system suspends their app; the loss is real all the same. The gap is
    measured by arrival in live traffic and by `ts` elsewhere. Batches of downloaded playback are exempt, and so are all
    events after `sessionEnd`.
    """
    gap_s = before.gap_s(event)
    if gap_s is None or gap_s < before.limits.idle_timeout_s:
        return None
    return (
        f"{event.name} after {gap_s / 60:.1f} minutes without an event; the session was closed and the event is dropped"
    )


def _still_stands(before: Playback, event: SessionEvent) -> bool | None:
    return None if event.playhead_s is None else event.playhead_s == before.last_playhead_s


@session_rule("session-timeout-playhead", WARNING, extent=_still_stands, when=When.STANDING)
def session_timeout_playhead(before: Playback, event: SessionEvent) -> str | None:
    """Events continue although the playhead has not moved for half an hour.

    What it checks: No event except `sessionEnd` may come 31 minutes or more after the playhead reached its present
    position. Each standstill is reported once.

    Why it matters: The back end closes a session after 30 minutes without playhead movement and drops all later events
    with its session ID. If the viewer returns from a long pause, the rest of the playback is lost.

    Source: Adobe's docs, `mc-api-timeout.md`. SDKs send `sessionEnd` when nothing has played for 30 minutes, and a new
    `sessionStart` when playback continues. Confidence: high.

    Example: `pauseStart` (playhead 600), a `ping` every 10 s for 35 minutes, `play` (playhead 600)

    How to fix: Send `sessionEnd` when a pause has lasted 30 minutes. When the viewer returns, open a new session with
    `media.resume` set to true, and start the current chapter and the active player states again.

    Known limits: The extra minute allows for SDKs, whose timing is not exact. The time is measured by arrival in live
    traffic and by `ts` elsewhere. Batches of downloaded playback are exempt; live content is not. An ad break of half
    an hour counts, too.
    """
    if before.is_batch or event.type == "sessionEnd" or before.still_told:
        return None
    if not before.has_stood_too_long(event):
        return None
    minutes = before.limits.playhead_timeout_s / 60
    return (
        f"the playhead has stayed at {event.playhead_s:.15g} s for {minutes:g} minutes or more; the session was closed"
    )


@session_rule("session-over-24h", INFO, despite_holes=True)
def session_over_24h(before: Playback, event: SessionEvent) -> str | None:
    """A session lasts longer than 24 hours.

    What it checks: No `ts` may be more than 24 hours and 1 minute after the first one in the session. The finding is at
    the event that exceeds the limit, and is reported once.

    Why it matters: Nothing is lost at that moment. But a playback of several days counts as one, its whole time spent
    appears on its first or last day in the reports, and often nobody is watching any more.

    Source: Adobe's developer site, `implementation.md`; the JavaScript, Chromecast, Android and iOS SDKs send
    `sessionEnd` and a new `sessionStart` after 24 hours of playback. Confidence: high.

    Example: `sessionStart` on Monday at 12:00, a `ping` every 10 s, `ping` on Tuesday at 12:05

    How to fix: After 24 hours, send `sessionEnd` and immediately a `sessionStart` with `media.resume` set to true.

    Known limits: `ts` is compared, so a clock that is set forward looks like a long session. Batches of downloaded
    playback are exempt, and so are all events after `sessionEnd`.
    """
    if before.is_batch or before.first_ms is None or before.last_ms is None or event.ts_ms is None:
        return None
    limit_ms = before.limits.session_s * 1000
    if event.ts_ms - before.first_ms <= limit_ms or before.last_ms - before.first_ms > limit_ms:
        return None  # reported once, at the event that exceeds the limit
    return "the session lasts more than 24 hours; SDKs begin a new one"
