"""Rules over ads and ad breaks. Source: Media Collection API, session rules, ads."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Withdrawn, session_rule
from proxy_addon.core.rules.session_view import SessionEvent
from proxy_addon.core.wording import number

_SHORTEST_AD_S = 2
"""Shorter ads are not judged by how long they played."""


@session_rule("ad-outside-break", ERROR, on="adStart adComplete adSkip", weighs=True)
def ad_outside_break(before: Playback, event: SessionEvent) -> str | None:
    """An ad event stands outside of an ad break.

    What it checks: `adStart`, `adComplete` and `adSkip` come between an `adBreakStart` and its `adBreakComplete`.

    Why it matters: The back end ignores an ad without both bookends. The ad is not counted, and its time is added to
    the time spent on the content.

    Source: docs, `mc-api-events-req.md` and `ad-break-start.md`; SDKs refuse such calls. Sureness: high.

    Example: `sessionStart, adStart, play, adComplete, play`

    How to fix: Send `adBreakStart` before the first ad of a break, also of a break with a single ad, and
    `adBreakComplete` after the last one.

    Known limits: Where the recording began after the session did, nothing is said before the first `adBreakStart` or
    `adBreakComplete`. Among events of one `ts` that arrive shuffled, the order is taken that SDKs mean.
    """
    if before.break_start is not None or not before.break_known:
        return None
    return f"{event.type} with no ad break open"


@session_rule("ad-close-without-start", WARNING, on="adComplete adSkip", weighs=True)
def ad_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """An ad ends that has not begun.

    What it checks: Inside an ad break, `adComplete` and `adSkip` close an ad that an `adStart` opened.

    Why it matters: There is nothing to close, so the event is ignored. Most often the `adStart` is missing, and with it
    the ad in the reports, or an ad was closed twice.

    Source: JS, Android and iOS: their rules refuse the call. Sureness: high.

    Example: `adBreakStart, adStart, adComplete, adComplete, adBreakComplete`

    How to fix: Send one `adStart` and one of `adComplete` and `adSkip` per ad.

    Known limits: Outside of a break `ad-outside-break` tells it. Ads are not compared by ID: events of an ad do not
    carry one.
    """
    return f"{event.type} with no ad open" if before.break_start is not None and before.ad is None else None


@session_rule("ad-not-closed", WARNING, on="adStart adBreakComplete adBreakStart sessionComplete", weighs=True)
def ad_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad is left open by what follows it.

    What it checks: `adStart`, `adBreakStart`, `adBreakComplete` and `sessionComplete` come when no ad is open.

    Why it matters: The open ad is neither complete nor skipped, so completion rates are too low, and its time runs into
    what follows.

    Source: docs, `ad-complete.md` and `ad-skip.md`; SDKs send the missing `adSkip` themselves. Sureness: high.

    Example: `adBreakStart, adStart, adStart, adComplete, adBreakComplete`

    How to fix: Send `adComplete` when an ad has played to its end and `adSkip` when it was left early, before anything
    else.

    Known limits: `sessionEnd` is told by `ad-open-at-end`, for SDKs end an idle session this way. The content's `play`
    while an ad is open cannot be told from the ad's own.
    """
    return f"{event.type} while an ad is open; adComplete or adSkip is missing" if before.ad is not None else None


@session_rule("ad-break-not-closed", WARNING, on="adBreakStart sessionComplete", weighs=True)
def ad_break_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad break is left open by what follows it.

    What it checks: `adBreakStart` and `sessionComplete` come when no ad break is open.

    Why it matters: Without its end the break is ignored together with its ads, or everything up to the next break
    counts as advertising.

    Source: docs, `ad-break-complete.md` (each start needs its end); SDKs send the missing `adBreakComplete` themselves.
    Sureness: high.

    Example: `adBreakStart, adStart, adComplete, play, ping, adBreakStart, …`

    How to fix: Send `adBreakComplete` after the last ad of each break, also when the viewer skipped the break.

    Known limits: Told where the next break or the end is, not where the end of the break is missing. `sessionEnd` is
    told by `ad-break-open-at-end`.
    """
    return f"{event.type} while an ad break is open; adBreakComplete is missing" if before.break_start else None


@session_rule("ad-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` comes while an ad is open.

    What it checks: No ad is open at `sessionEnd`.

    Why it matters: The ad is counted as begun and not as complete. That is right where the viewer left during the ad,
    and wrong where the event that closes it was forgotten.

    Source: docs, timeline 2 ends so; SDKs end a session so after 30 idle minutes or 24 hours. Sureness: high.

    Example: `sessionStart, adBreakStart, adStart, play, ping, sessionEnd`

    How to fix: Send `adSkip` and `adBreakComplete` before `sessionEnd` where the player still can.

    Known limits: Its break is open too, so that `ad-break-open-at-end` is told with it. Told at the first `sessionEnd`
    only.
    """
    return "sessionEnd while an ad is open" if before.ad is not None and before.life is not Life.ENDED else None


@session_rule("ad-break-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_break_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """`sessionEnd` comes while an ad break is open.

    What it checks: No ad break is open at `sessionEnd`.

    Why it matters: A break needs both of its ends to be counted. Where the viewer left during the break that is how it
    is; otherwise `adBreakComplete` was forgotten.

    Source: docs, timeline 2 ends so; SDKs end a session so after 30 idle minutes or 24 hours. Sureness: high.

    Example: `sessionStart, adBreakStart, adStart, adComplete, sessionEnd`

    How to fix: Send `adBreakComplete` before `sessionEnd`.

    Known limits: Told at the first `sessionEnd` only. A session that runs into its timeout with an open break is not
    told.
    """
    is_open = before.break_start is not None and before.life is not Life.ENDED
    return "sessionEnd while an ad break is open" if is_open else None


@session_rule("ad-break-complete-without-start", WARNING, on="adBreakComplete", weighs=True)
def ad_break_complete_without_start(before: Playback, _: SessionEvent) -> str | None:
    """An ad break ends that has not begun.

    What it checks: `adBreakComplete` closes a break that an `adBreakStart` opened.

    Why it matters: There is nothing to close, so the event is ignored. If the `adBreakStart` was lost, all ads of the
    break are missing from the reports.

    Source: JS, Android and iOS: their rules refuse the call. Sureness: high.

    Example: `sessionStart, play, adBreakComplete, play`

    How to fix: Send `adBreakStart` at the beginning of the break, and `adBreakComplete` once.

    Known limits: Where the recording began after the session did, the first `adBreakComplete` is not told: its break
    may have begun before.
    """
    if before.break_start is not None or not before.break_known:
        return None
    return "adBreakComplete with no ad break open"


@session_rule("ad-break-empty", INFO, on="adBreakComplete", weighs=True)
def ad_break_empty(before: Playback, _: SessionEvent) -> str | None:
    """An ad break has no ad.

    What it checks: Between `adBreakStart` and `adBreakComplete` there is at least one `adStart`.

    Why it matters: The break stands in the reports without an ad. Often the ad server had nothing to show, and
    sometimes the ads were reported outside of the break.

    Source: docs, `ad-break-start.md` (one or more ads). Sureness: high that it is documented, and the server accepts
    it.

    Example: `adBreakStart, adBreakComplete`

    How to fix: Open the break when its first ad begins, and not when ads are asked for.

    Known limits: A break that is never closed is told by other rules, not by this one.
    """
    return "the ad break had no ad" if before.break_start is not None and before.ads_in_break == 0 else None


@session_rule("ad-too-short", WARNING, on="adComplete", weighs=True)
def ad_too_short(before: Playback, event: SessionEvent) -> str | None:
    """An ad is complete long before it can have played.

    What it checks: From `adStart` to its `adComplete` at least a tenth of `media.ad.length` passes by `ts`, if that
    length is 2 s or more.

    Why it matters: Completion and time spent of the ad are invented. Mostly the client keeps its events in a queue and
    stamps them when they are sent, so that all other times are wrong too.

    Source: docs, `ad-complete.md`; seen in traffic of a third-party client. Sureness: medium.

    Example: `adStart` (length 15) at `ts` 1731672000000, `adComplete` at `ts` 1731672000001

    How to fix: Take `ts` when the event happens, not when it is sent. Send `adSkip` for an ad that was left early.

    Known limits: `adSkip` is not looked at, nor is an `adStart` with the `ts` of `sessionStart`, as SDKs send it when
    they start a session anew.
    """
    ad = before.ad
    if ad is None or ad.ad_length_s is None or ad.ad_length_s < _SHORTEST_AD_S:
        return None
    if ad.ts_ms is None or event.ts_ms is None or (before.start is not None and ad.ts_ms == before.start.ts_ms):
        return None
    passed_s = (event.ts_ms - ad.ts_ms) / 1000
    if passed_s >= ad.ad_length_s / 10:
        return None
    return f"adComplete {passed_s:g} s after adStart of an ad of {ad.ad_length_s:g} s"


@session_rule("ad-pod-second-suspect", INFO, on="adBreakStart", weighs=True)
def ad_pod_second_suspect(before: Playback, event: SessionEvent) -> str | None:
    """`media.ad.podSecond` is not the playhead at which the ad break begins.

    What it checks: `media.ad.podSecond` of an `adBreakStart` differs by no more than one second from its playhead, or
    is 0 before content has played.

    Why it matters: Reports by position show the break elsewhere than it was.

    Source: docs, `ad-break-start-time.md`; seen in traffic of third-party clients. Sureness: medium.

    Example: `adBreakStart` (playhead 600) with `media.ad.podSecond` 2

    How to fix: Send the playhead of the main content at which the break begins, in seconds; not the number of the
    break, and not its length.

    Known limits: Live content is exempt, and so is a session whose start was not recorded.
    """
    second_s = event.pod_second_s
    if second_s is None or event.playhead_s is None or before.is_live:
        return None
    if abs(second_s - event.playhead_s) <= before.limits.playhead_slack_s:
        return None
    if second_s == 0 and not before.content_has_played:
        return None  # a pre-roll, also where playback resumes further on
    return f"podSecond {second_s:.15g} of an ad break at playhead {event.playhead_s:.15g} s"


@session_rule("ad-pod-index-repeated", INFO, on="adBreakStart", weighs=True)
def ad_pod_index_repeated(before: Playback, event: SessionEvent) -> str | None:
    """Two ad breaks have one `media.ad.podIndex`.

    What it checks: An `adBreakStart` more than one second away from an earlier one by its playhead has another
    `media.ad.podIndex`.

    Why it matters: Reports by ad break put both into one.

    Source: docs, `mc-api-req-params.md` (the index of the break within the content); seen in traffic of third-party
    clients. Sureness: medium.

    Example: `adBreakStart` (playhead 0, podIndex 1), then `adBreakStart` (playhead 600, podIndex 1)

    How to fix: Count the breaks of the content; a break that is played again keeps its index.

    Known limits: A break is compared with the first one of its index, and only the first 1,000 indexes of a session
    are known.
    """
    if event.pod_index is None or event.playhead_s is None:
        return None
    first_s = before.pods.get(event.pod_index)
    if first_s is None or abs(event.playhead_s - first_s) <= before.limits.playhead_slack_s:
        return None
    now, then = f"{event.playhead_s:.15g}", f"{first_s:.15g}"
    return f"podIndex {number(event.pod_index)} of the ad break at {now} s was that of the one at {then} s"


@session_rule("ad-pod-position-order", INFO, on="adStart", weighs=True)
def ad_pod_position_order(before: Playback, event: SessionEvent) -> str | None:
    """`media.ad.podPosition` does not grow within an ad break.

    What it checks: In one break, `media.ad.podPosition` of each `adStart` is higher than that of the one before.

    Why it matters: Reports by position in the break put two ads in one place, so neither can be compared.

    Source: docs, `mc-api-req-params.md`; but timelines 1 and 3 of the docs themselves repeat a position. Sureness: low.

    Example: `adBreakStart, adStart (podPosition 1), adComplete, adStart (podPosition 1), adComplete, adBreakComplete`

    How to fix: Count the ads of each break, from 1 as the SDKs do.

    Known limits: Positions may begin with 0 or 1 and leave gaps. An ad without an integer position is not compared, nor
    is the one after it.
    """
    last, now = before.pod_position, event.pod_position
    if before.break_start is None or last is None or now is None or now > last:
        return None
    return f"podPosition {number(now)} after {number(last)} in one ad break; expected it to grow"


@session_rule("playback-event-in-ad-break", WARNING, on="play pauseStart bufferStart", weighs=True)
def playback_event_in_ad_break(before: Playback, event: SessionEvent) -> str | None:
    """Playback changes inside an ad break while no ad is open.

    What it checks: While an ad break is open, `play`, `pauseStart` and `bufferStart` come only when an ad is open.

    Why it matters: With no ad to count to, the event counts as content: the content begins too early or goes on during
    the break.

    Source: docs, timeline 1 (note) and the overview of ads; SDKs refuse such calls. Sureness: medium.

    Example: `sessionStart, adBreakStart, play, adStart, adComplete, adBreakComplete`

    How to fix: Send the `play` after `adStart`, and the one of the content after `adBreakComplete`.

    Known limits: A `play` with the `ts` of `sessionStart` is accepted, for SDKs that start a session anew say
    everything at once. A `play` of the content after a forgotten `adBreakComplete` is told here.
    """
    if before.break_start is None or before.ad is not None:
        return None
    if before.start is not None and event.ts_ms == before.start.ts_ms:
        return None  # an SDK's restart says everything at once
    return f"{event.type} in an ad break with no ad open; it counts as content"


@session_rule("play-before-preroll", INFO, on="adBreakStart", weighs=True)
def play_before_preroll(before: Playback, event: SessionEvent) -> str | None:
    """The first `play` comes just before the pre-roll.

    What it checks: The first `play`, at a playhead below 1, is not followed by an `adBreakStart` within one second.

    Why it matters: The content counts as started although the viewer has seen nothing but an ad yet. Starts of the
    content are too high by all who leave during the pre-roll.

    Source: docs, overview of ads; SDKs hold a `play` back for 250 ms to see whether a break begins.
    Sureness: medium.

    Example: `sessionStart, play (playhead 0), adBreakStart 400 ms later`

    How to fix: Wait with the first `play` until it is known whether a pre-roll comes, and send `adBreakStart` first.

    Known limits: Live content is in effect not looked at, since its playhead is the second of the day. A second `play`
    before the break, or a break more than a second later, is not told.
    """
    first = before.first_play
    if first is None or before.plays != 1 or before.life is not Life.OPEN:
        return None
    if first.playhead_s is None or first.playhead_s >= 1 or first.ts_ms is None or event.ts_ms is None:
        return None
    passed_ms = event.ts_ms - first.ts_ms
    return (
        f"adBreakStart {passed_ms} ms after the first play; the content began too early" if passed_ms <= 1000 else None
    )


@session_rule("playhead-moved-in-ad", WARNING, weighs=True)
def playhead_moved_in_ad(before: Playback, event: SessionEvent) -> str | Withdrawn | None:
    """The playhead moves while an ad break is open.

    What it checks: While an ad break is open, no playhead differs by more than one second from that of its
    `adBreakStart`, except in the call that closes the break.

    Why it matters: The playhead is the place in the main content, which stands still during ads. When the place in the
    ad is sent instead, progress and segments of the content are wrong.

    Source: docs, overview of ads (it stays) and timelines; but the samples of `ad-complete.md` and `ad-skip.md` move
    it. Sureness: medium.

    Example: `adBreakStart (playhead 60), adStart (60), ping (65), adComplete (75)`

    How to fix: Keep reporting the playhead of the content while ads play, and not the position of the ad.

    Known limits: Live content is exempt, for its clock runs on, and so is a session whose start was not recorded.
    `adBreakComplete` and what has its `ts` are exempt: an SDK that is moved out of an ad closes the break at the new
    position. After a forgotten `adBreakComplete` the content that follows is told. Events after `sessionEnd` are not
    looked at.
    """
    if event.type == "adBreakComplete":
        is_same_call = before.moved_in_ad > 0 and event.ts_ms is not None and event.ts_ms == before.moved_in_ad_ms
        return Withdrawn(before.moved_in_ad) if is_same_call else None
    began = before.break_start
    if began is None or not before.moved_playhead_in_ad(event):
        return None
    now, then = f"{event.playhead_s:.15g}", f"{began.playhead_s:.15g}"
    return f"playhead {now} s in an ad break that began at {then} s; expected it to stay"
