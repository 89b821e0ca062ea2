"""What follows from what: of changes with one cause, the others are told beneath it, so that each is one thing to look at.

Only what follows by definition is told beneath something else: a metric counts events of a type; a rule wants a key, or an event
to end what another began. What only happened at the same time may have another cause, and stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxy_addon.core.audits.changes import Compared, Turn, What
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.losses import Loss
from proxy_addon.core.protocol import PARAMS, QUALITY

type _Subject = tuple[str, ...]
"""What a change is about; changes about the same are one thing to look at."""


def _event(type_: str) -> _Subject:
    return "event", type_


def _findings(*rules: str) -> tuple[_Subject, ...]:
    return tuple((What.FINDING.value, rule) for rule in rules)


def _metrics(*names: str) -> tuple[_Subject, ...]:
    return tuple((What.METRIC.value, name) for name in names)


_FAMILIES = frozenset({"ad", "bitrate", "buffer", "chapter", "error", "pause", "progress", "stall"})
"""Metrics whose names begin so are about the same."""
_PINGS = _findings("ping-gap", "ping-gap-long", "ping-cadence")
_NO_END = (
    *_findings("session-not-closed"),
    (What.LOSS.value, Loss.NO_END.value),
    *_metrics("seconds_since_last_call_s"),
)
_WITH: Mapping[_Subject, tuple[_Subject, ...]] = {
    _event("adBreakStart"): (*map(_event, ("adStart", "adBreakComplete")), *_metrics("ad")),
    _event("adStart"): (*map(_event, ("adComplete", "adSkip")), *_metrics("ad")),
    _event("adComplete"): _metrics("ad"),
    _event("chapterStart"): (*map(_event, ("chapterComplete", "chapterSkip")), *_metrics("chapter")),
    _event("chapterComplete"): _metrics("chapter"),
    _event("sessionComplete"): _metrics("content_completes"),
    _event("pauseStart"): _metrics("pause"),
    _event("bufferStart"): _metrics("buffer"),
    _event("bitrateChange"): _metrics("bitrate"),
    _event("error"): _metrics("error"),
    _event("stateStart"): (_event("stateEnd"),),
    (What.RHYTHM.value, "ping_gaps_ms"): _PINGS,
    (What.RHYTHM.value, "latency_ms"): ((What.SLOW.value, ""),),
    (What.RHYTHM.value, "playhead_speed"): _metrics("unique_time_played_s", "progress"),
    (What.METRIC.value, "unique_time_played_s"): _metrics("progress"),
    (What.METRIC.value, "content_time_spent_s"): _metrics("media_time_spent_s", "average_minute_audience"),
    (What.METRIC.value, "ad"): _metrics("media_time_spent_s"),
    (What.LOSS.value, Loss.REFUSED): _findings("upstream-refused"),
    (What.LOSS.value, Loss.RETRIED): _findings("session-start-retried"),
    (What.LOSS.value, Loss.OPENED_TWICE): _findings("session-opened-twice"),
    (What.LOSS.value, Loss.NEVER_PLAYED): _findings("content-never-played"),
    (What.LOSS.value, Loss.NO_END): _NO_END,
    (What.LOSS.value, Loss.TIMED_OUT): _findings("session-timeout-idle", "session-timeout-playhead"),
    (What.LOSS.value, Loss.AFTER_END): _findings("event-after-session-end"),
    (What.LOSS.value, Loss.AFTER_GONE): _findings("upstream-session-lost"),
    (What.LOSS.value, Loss.STALLED): (*_findings("playhead-frozen"), *_metrics("stall")),
}
"""What becomes more with something else, and less with it."""
_AGAINST: Mapping[_Subject, tuple[_Subject, ...]] = {
    _event("adBreakStart"): _findings("ad-outside-break", "ad-break-complete-without-start"),
    _event("adBreakComplete"): _findings("ad-break-not-closed", "ad-break-open-at-end"),
    _event("adStart"): _findings("ad-close-without-start", "ad-break-empty"),
    _event("adComplete"): _findings("ad-not-closed", "ad-open-at-end"),
    _event("chapterStart"): _findings("chapter-close-without-start"),
    _event("chapterComplete"): _findings("chapter-not-closed", "chapter-open-at-end"),
    _event("stateStart"): _findings("state-not-active"),
    _event("play"): (*_findings("content-never-played", "play-missing"), (What.LOSS.value, Loss.NEVER_PLAYED.value)),
    _event("sessionEnd"): _NO_END,
    _event("sessionComplete"): _NO_END,
    (What.RHYTHM.value, "ping_gaps_ms"): (_event("ping"),),
    _event("ping"): _PINGS,
}
"""What becomes more if something else becomes less, and less if it becomes more."""
_RISING = frozenset({Turn.APPEARED, Turn.MORE, Turn.HIGHER})
_KEYS = frozenset({What.KEY, What.THROUGHOUT, What.TYPE, What.VALUE})


def with_causes(changes: Sequence[Compared]) -> tuple[Compared, ...]:
    """Return changes, with those beneath each that are about the same, or follow from it.

    Args:
        changes: The gravest first. So are those returned, by the gravest of each and what it has beneath it.
    """
    first: dict[_Subject, int] = {}
    for place, each in enumerate(changes):
        first.setdefault(_subject(each), place)
    above = [_above(place, changes, first) for place in range(len(changes))]
    beneath: dict[int, list[Compared]] = {}
    for place, each in enumerate(changes):
        head = place
        while above[head] != head:
            head = above[head]
        beneath.setdefault(head, [])
        if head != place:
            beneath[head].append(each)
    return tuple(replace(changes[head], beneath=tuple(found)) for head, found in beneath.items())


def _above(place: int, changes: Sequence[Compared], first: Mapping[_Subject, int]) -> int:
    """Return the place of the change that one is told beneath; its own if it stands for itself."""
    each = changes[place]
    subject = _subject(each)
    if first[subject] != place:
        return first[subject]
    for causes, is_against in ((_WITH, False), (_AGAINST, True)):
        for cause, effects in causes.items():
            at = first.get(cause) if subject in effects else None
            if at is not None and at != place and (_rises(changes[at]) != _rises(each)) is is_against:
                return at
    if each.what == What.FINDING:
        cause_of = next((cause for cause in changes if _explains(cause, each)), None)
        if cause_of is not None:
            return first[_subject(cause_of)]
    return place


def _subject(each: Compared) -> _Subject:
    match each.what:
        case What.EVENT | What.NUMBER:
            return _event(each.event)
        case What.PLAN if each.section:
            return "key", each.section, each.name
        case What.PLAN if not each.name:
            return _event(each.event)
        case What.PLAN:
            return each.what, each.event, each.name
        case What.METRIC:
            family = each.name.partition("_")[0]
            return each.what, family if family in _FAMILIES else each.name
        case What.RHYTHM:
            return each.what, each.name.partition(".")[0]
        case what if what in _KEYS:
            return "key", each.section, each.name
    return each.what, each.name


def _rises(each: Compared) -> bool:
    return each.change in _RISING


def _explains(cause: Compared, finding: Compared) -> bool:
    """Whether a change of a key, or from the plan, is by definition why a rule is broken more often, or less often."""
    rule, is_same = finding.name, _rises(cause) == _rises(finding)
    if cause.what == What.PLAN:
        return is_same and cause.detail.startswith(f"{rule}:")
    if cause.what == What.TYPE:
        return is_same and rule == _OF_TYPES.get(cause.section) and (cause.name in PARAMS or cause.name in QUALITY)
    if cause.what != What.KEY:
        return False
    known = PARAMS.get(cause.name)
    match cause.section, rule:
        case Section.PARAMS, "param-missing":
            return not is_same and known is not None and cause.event in known.required
        case Section.PARAMS, "param-unknown":
            return is_same and known is None
        case Section.PARAMS, "param-not-on-event":
            return is_same and known is not None and cause.event not in known.events
        case Section.QUALITY, "qoe-key-unknown":
            return is_same and cause.name not in QUALITY
    return False


_OF_TYPES = {Section.PARAMS.value: "param-type", Section.QUALITY.value: "qoe-value-type"}
