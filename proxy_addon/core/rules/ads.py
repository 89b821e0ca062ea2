"""Rules for ads and ad breaks. Source: Media Collection API, session rules, ads."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, When, Withdrawn, session_rule
from proxy_addon.core.rules.session_view import SessionEvent
from proxy_addon.core.wording import number

_SHORTEST_AD_S = 2
"""`ad-too-short` does not check ads with a shorter ``media.ad.length``."""


@session_rule("ad-outside-break", ERROR, on="adStart adComplete adSkip", weighs=True)
def ad_outside_break(before: Playback, event: SessionEvent) -> str | None:
    """An ad event is sent outside of an ad break.

    What it checks: `adStart`, `adComplete` and `adSkip` must come between an `adBreakStart` and its `adBreakComplete`.

    Why it matters: The back end ignores ads that are not inside an ad break. The ad is not counted, and its time is
    added to the time spent on the content.

    Source: Adobe's docs, `mc-api-events-req.md` and `ad-break-start.md`; SDKs refuse such calls. Confidence: high.

    Example: `sessionStart, adStart, play, adComplete, play`

    How to fix: Send `adBreakStart` before the first ad of a break and `adBreakComplete` after the last one, even if the
    break has only one ad.

    Known limits: If the recording began after the session did, nothing is reported before the first `adBreakStart` or
    `adBreakComplete`. Events with the same `ts` are taken in the order that is better for the client.
    """
    if before.break_start is not None or not before.break_known:
        return None
    return f"{event.type} with no ad break open"


@session_rule("ad-close-without-start", WARNING, on="adComplete adSkip", weighs=True)
def ad_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """An ad ends that never began.

    What it checks: Inside an ad break, `adComplete` and `adSkip` must close an ad that an `adStart` opened.

    Why it matters: There is no ad to close, so the event is ignored. Usually the `adStart` is missing and the ad with
    it, or the ad was closed twice.

    Source: The JavaScript, Android and iOS SDKs, whose rules refuse the call. Confidence: high.

    Example: `adBreakStart, adStart, adComplete, adComplete, adBreakComplete`

    How to fix: For each ad, send one `adStart` and then either `adComplete` or `adSkip`.

    Known limits: Outside of an ad break, `ad-outside-break` reports such an event. Ads are not compared by ID, because
    the events that close an ad carry no ID.
    """
    return f"{event.type} with no ad open" if before.break_start is not None and before.ad is None else None


@session_rule("ad-not-closed", WARNING, on="adStart adBreakComplete adBreakStart sessionComplete", weighs=True)
def ad_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad is still open when the next ad, the end of its break or the end of the content comes.

    What it checks: No ad may be open at `adStart`, `adBreakStart`, `adBreakComplete` or `sessionComplete`.

    Why it matters: The open ad is neither completed nor skipped. Completion rates are too low, and the ad's time runs
    on into what follows.

    Source: Adobe's docs, `ad-complete.md` and `ad-skip.md`; SDKs send the missing `adSkip` themselves. Confidence:
    high.

    Example: `adBreakStart, adStart, adStart, adComplete, adBreakComplete`

    How to fix: Send `adComplete` when an ad has played to its end, or `adSkip` when the viewer left it early, before
    any other ad event.

    Known limits: An open ad at `sessionEnd` is reported by `ad-open-at-end`, because SDKs end an idle session this way.
    If the content's `play` comes while an ad is open, it looks like a `play` of the ad and is not reported.
    """
    return f"{event.type} while an ad is open; adComplete or adSkip is missing" if before.ad is not None else None


@session_rule("ad-break-not-closed", WARNING, on="adBreakStart sessionComplete", weighs=True)
def ad_break_not_closed(before: Playback, event: SessionEvent) -> str | None:
    """An ad break is still open when the next break or the end of the content comes.

    What it checks: No ad break may be open at `adBreakStart` or `sessionComplete`.

    Why it matters: The back end ignores a break without an end, together with its ads, or counts everything up to the
    next break as advertising.

    Source: Adobe's docs, `ad-break-complete.md`: each start needs its end. SDKs send the missing `adBreakComplete`
    themselves. Confidence: high.

    Example: `adBreakStart, adStart, adComplete, play, ping, adBreakStart, …`

    How to fix: Send `adBreakComplete` after the last ad of each break, even if the viewer skipped the break.

    Known limits: The finding is at the next break or at the end, not where `adBreakComplete` is missing. An open break
    at `sessionEnd` is reported by `ad-break-open-at-end`.
    """
    return f"{event.type} while an ad break is open; adBreakComplete is missing" if before.break_start else None


@session_rule("ad-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """An ad is still open at `sessionEnd`.

    What it checks: No ad should be open at `sessionEnd`.

    Why it matters: The ad is counted as started but not as completed. This is right if the viewer left during the ad,
    and wrong if the player forgot to close the ad.

    Source: Adobe's docs, where timeline 2 ends like this; SDKs end a session like this after 30 idle minutes or 24
    hours. Confidence: high.

    Example: `sessionStart, adBreakStart, adStart, play, ping, sessionEnd`

    How to fix: Send `adSkip` and `adBreakComplete` before `sessionEnd` if the player still can.

    Known limits: The ad break is open, too, so `ad-break-open-at-end` is reported as well. Only the first `sessionEnd`
    is checked.
    """
    return "sessionEnd while an ad is open" if before.ad is not None and before.life is not Life.ENDED else None


@session_rule("ad-break-open-at-end", INFO, on="sessionEnd", weighs=True)
def ad_break_open_at_end(before: Playback, _: SessionEvent) -> str | None:
    """An ad break is still open at `sessionEnd`.

    What it checks: No ad break should be open at `sessionEnd`.

    Why it matters: The back end counts a break only if it has a start and an end. There is nothing wrong if the viewer
    left during the break; otherwise the player forgot `adBreakComplete`.

    Source: Adobe's docs, where timeline 2 ends like this; SDKs end a session like this after 30 idle minutes or 24
    hours. Confidence: high.

    Example: `sessionStart, adBreakStart, adStart, adComplete, sessionEnd`

    How to fix: Send `adBreakComplete` before `sessionEnd`.

    Known limits: Only the first `sessionEnd` is checked. A session that times out while a break is open is not
    reported.
    """
    is_open = before.break_start is not None and before.life is not Life.ENDED
    return "sessionEnd while an ad break is open" if is_open else None


@session_rule("ad-break-complete-without-start", WARNING, on="adBreakComplete", weighs=True)
def ad_break_complete_without_start(before: Playback, _: SessionEvent) -> str | None:
    """An ad break ends that never began.

    What it checks: `adBreakComplete` must close a break that an `adBreakStart` opened.

    Why it matters: There is no break to close, so the event is ignored. If the `adBreakStart` was lost, all ads of the
    break are missing from the reports.

    Source: The JavaScript, Android and iOS SDKs, whose rules refuse the call. Confidence: high.

    Example: `sessionStart, play, adBreakComplete, play`

    How to fix: Send `adBreakStart` at the beginning of the break, and `adBreakComplete` once at its end.

    Known limits: If the recording began after the session did, the first `adBreakComplete` is not reported, because its
    break may have begun earlier.
    """
    if before.break_start is not None or not before.break_known:
        return None
    return "adBreakComplete with no ad break open"


@session_rule("ad-break-empty", INFO, on="adBreakComplete", weighs=True)
def ad_break_empty(before: Playback, _: SessionEvent) -> str | None:
    """An ad break contains no ad.

    What it checks: There must be at least one `adStart` between `adBreakStart` and `adBreakComplete`.

    Why it matters: The reports show a break without an ad. Often the ad server returned no ad; sometimes the ads were
    reported outside of the break.

    Source: Adobe's docs, `ad-break-start.md`: one or more ads. Confidence: high that this is documented, and that the
    server accepts an empty break.

    Example: `adBreakStart, adBreakComplete`

    How to fix: Open the break when its first ad begins, not when the player requests ads.

    Known limits: A break that is never closed is reported by other rules.
    """
    return "the ad break had no ad" if before.break_start is not None and before.ads_in_break == 0 else None


@session_rule("ad-too-short", WARNING, on="adComplete", weighs=True)
def ad_too_short(before: Playback, event: SessionEvent) -> str | None:
    """An ad is completed long before it can have played to its end.

    What it checks: By `ts`, at least a tenth of `media.ad.length` must pass between `adStart` and its `adComplete`. Ads
    with a length below 2 s are not checked.

    Why it matters: The reported completion and time spent of the ad are not real. Usually the client queues its events
    and sets `ts` when it sends them, so all other times are wrong, too.

    Source: Adobe's docs, `ad-complete.md`; seen in the traffic of a third-party client. Confidence: medium.

    Example: `adStart` (length 15) with `ts` 1731672000000, `adComplete` with `ts` 1731672000001

    How to fix: Set `ts` when the event happens, not when it is sent. Send `adSkip` for an ad that the viewer left
    early.

    Known limits: `adSkip` is not checked. An `adStart` with the same `ts` as `sessionStart` is not checked either,
    because SDKs send it when they restart a session.
    """
    ad = before.ad
    if ad is None or ad.ad_length_s is None or ad.ad_length_s < _SHORTEST_AD_S:
        return None
    if ad.ts_ms is None or event.ts_ms is None or (before.start is not None and ad.ts_ms == before.start.ts_ms):
        return None
    passed_s = (event.ts_ms - ad.ts_ms) / 1000
    if passed_s >= ad.ad_length_s / 10:
        return None
    return f"adComplete {passed_s:g} s after adStart; the ad lasts {ad.ad_length_s:g} s"


@session_rule("ad-pod-second-suspect", INFO, on="adBreakStart", weighs=True)
def ad_pod_second_suspect(before: Playback, event: SessionEvent) -> str | None:
    """`media.ad.podSecond` is not the playhead at which the ad break begins.

    What it checks: `media.ad.podSecond` of an `adBreakStart` must not differ from the event's playhead by more than one
    second. 0 is also accepted before any content has played.

    Why it matters: Reports by position show the break in the wrong place.

    Source: Adobe's docs, `ad-break-start-time.md`; seen in the traffic of third-party clients. Confidence: medium.

    Example: `adBreakStart` (playhead 600) with `media.ad.podSecond` 2

    How to fix: Send the playhead of the main content at which the break begins, in seconds. Do not send the number or
    the length of the break.

    Known limits: Live content is exempt. The rule is also skipped if the `sessionStart` was not recorded.
    """
    second_s = event.pod_second_s
    if second_s is None or event.playhead_s is None or before.is_live:
        return None
    if abs(second_s - event.playhead_s) <= before.limits.playhead_slack_s:
        return None
    if second_s == 0 and not before.content_has_played:
        return None  # a pre-roll, possibly of a resumed playback
    return f"podSecond is {second_s:.15g}; expected the playhead of the ad break, {event.playhead_s:.15g}"


@session_rule("ad-pod-index-repeated", INFO, on="adBreakStart", weighs=True, despite_holes=True)
def ad_pod_index_repeated(before: Playback, event: SessionEvent) -> str | None:
    """Two different ad breaks have the same `media.ad.podIndex`.

    What it checks: If the playheads of two `adBreakStart` events differ by more than one second, their
    `media.ad.podIndex` must differ, too.

    Why it matters: Reports by ad break merge the two breaks.

    Source: Adobe's docs, `mc-api-req-params.md` (the index of the break within the content); seen in the traffic of
    third-party clients. Confidence: medium.

    Example: `adBreakStart` (playhead 0, podIndex 1), then `adBreakStart` (playhead 600, podIndex 1)

    How to fix: Number the breaks of the content. A break that is played again keeps its index.

    Known limits: A break is compared with the first one that had its index. Only the first 1,000 indexes of a session
    are tracked.
    """
    if event.pod_index is None or event.playhead_s is None:
        return None
    first_s = before.pods.get(event.pod_index)
    if first_s is None or abs(event.playhead_s - first_s) <= before.limits.playhead_slack_s:
        return None
    now, then = f"{event.playhead_s:.15g}", f"{first_s:.15g}"
    return f"the ad break at {now} s has podIndex {number(event.pod_index)}, like the one at {then} s; expected another"


@session_rule("ad-pod-position-order", INFO, on="adStart", weighs=True)
def ad_pod_position_order(before: Playback, event: SessionEvent) -> str | None:
    """`media.ad.podPosition` does not increase within an ad break.

    What it checks: Within a break, the `media.ad.podPosition` of each `adStart` must be higher than that of the
    previous one.

    Why it matters: Reports by position in the break count two ads in the same position and cannot tell them apart.

    Source: Adobe's docs, `mc-api-req-params.md`; but timelines 1 and 3 in the same docs repeat a position. Confidence:
    low.

    Example: `adBreakStart, adStart (podPosition 1), adComplete, adStart (podPosition 1), adComplete, adBreakComplete`

    How to fix: Number the ads of each break, beginning with 1 as the SDKs do.

    Known limits: Positions may begin with 0 or 1 and may have gaps. An ad whose position is not an integer is not
    compared, and neither is the ad after it.
    """
    last, now = before.pod_position, event.pod_position
    if before.break_start is None or last is None or now is None or now > last:
        return None
    return f"podPosition {number(now)} after {number(last)} in the same ad break; expected it to increase"


@session_rule("playback-event-in-ad-break", WARNING, on="play pauseStart bufferStart", weighs=True)
def playback_event_in_ad_break(before: Playback, event: SessionEvent) -> str | None:
    """A playback event is sent in an ad break while no ad is open.

    What it checks: While an ad break is open, `play`, `pauseStart` and `bufferStart` may come only while an ad is open.

    Why it matters: Without an open ad, the event counts as content. The content seems to begin too early, or to
    continue during the break.

    Source: Adobe's docs, timeline 1 (note) and the overview of ads; SDKs refuse such calls. Confidence: medium.

    Example: `sessionStart, adBreakStart, play, adStart, adComplete, adBreakComplete`

    How to fix: Send the `play` of an ad after its `adStart`, and the `play` of the content after `adBreakComplete`.

    Known limits: A playback event with the same `ts` as `sessionStart` is accepted, because SDKs send all events of a
    restart with one `ts`. If `adBreakComplete` was forgotten, the content's next `play` is reported here.
    """
    if before.break_start is None or before.ad is not None:
        return None
    if before.start is not None and event.ts_ms == before.start.ts_ms:
        return None  # an SDK's restart sends all its events with one ts
    return f"{event.type} in an ad break with no ad open; it counts as content"


@session_rule("play-before-preroll", INFO, on="adBreakStart", weighs=True)
def play_before_preroll(before: Playback, event: SessionEvent) -> str | None:
    """The first `play` comes just before a pre-roll instead of after it.

    What it checks: If the first `play` is at a playhead below 1, no `adBreakStart` should follow within one second.

    Why it matters: The content counts as started although the viewer has only seen an ad. The number of content starts
    is too high by the number of viewers who leave during the pre-roll.

    Source: Adobe's docs, overview of ads; SDKs hold a `play` back for 250 ms to see whether a break begins. Confidence:
    medium.

    Example: `sessionStart, play (playhead 0)`, then `adBreakStart` 400 ms later

    How to fix: Do not send the first `play` until you know whether there is a pre-roll. If there is one, send
    `adBreakStart` first.

    Known limits: Live content is practically never reported, because its playhead is the second of the day. If a second
    `play` comes before the break, or the break begins more than a second later, nothing is reported.
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


@session_rule("playhead-moved-in-ad", WARNING, weighs=True, when=When.IN_BREAK)
def playhead_moved_in_ad(before: Playback, event: SessionEvent) -> str | Withdrawn | None:
    """The playhead moves while an ad break is open.

    What it checks: While an ad break is open, no playhead may differ by more than one second from that of its
    `adBreakStart`. The events of the call that closes the break are exempt.

    Why it matters: The playhead is the position in the main content, which does not move during ads. If the position in
    the ad is sent instead, the progress and segments of the content are wrong.

    Source: Adobe's docs: in the overview of ads and the timelines, the playhead stays where it is; but in the samples
    of `ad-complete.md` and `ad-skip.md`, it moves. Confidence: medium.

    Example: `adBreakStart (playhead 60), adStart (60), ping (65), adComplete (75)`

    How to fix: Keep sending the playhead of the content while ads play, not the position in the ad.

    Known limits: Live content is exempt, because its playhead continues to advance. A session whose `sessionStart` was
    not recorded is also exempt. `adBreakComplete` and events with the same `ts` are exempt, because an SDK that seeks
    out of an ad closes the break at the new position. If `adBreakComplete` was forgotten, the content that follows the
    break is reported. Events after `sessionEnd` are not checked.
    """
    if event.type == "adBreakComplete":
        moved = before.moved_in_ad
        return Withdrawn(moved) if moved and event.ts_ms == moved[0].ts_ms else None
    began = before.break_start
    if began is None or not before.moved_playhead_in_ad(event):
        return None
    now, then = f"{event.playhead_s:.15g}", f"{began.playhead_s:.15g}"
    return f"playhead {now} s in an ad break that began at {then} s; expected it not to move"
