"""What reports will count for a session: its JSON, and the few lines that people look for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from proxy_addon.core.audits.metrics import MARKERS, Metrics, Values
from proxy_addon.core.audits.ordering import Lost
from proxy_addon.core.findings import MOST_PLACES
from proxy_addon.core.wording import counted
from proxy_addon.reporting.words import duration

_READINGS = {
    "ad-break-needs-end": "if an ad break without adBreakComplete does not count",
    "content-start-by-state": "if content can start without play",
    "every-event": "if every pauseStart and bufferStart counts",
    "pause-until-play": "if a pause lasts until the next play",
    "progress-by-position": "if markers that were jumped over count",
    "resume-is-start": "if a resumed playback counts as a start",
    "stall-is-play": "if time without playhead movement counts",
}
"""When a value that people look for would be another one; the JSON has all readings."""
_LOST = {
    Lost.TIMEOUT_IDLE: "after 10 minutes of silence",
    Lost.TIMEOUT_PLAYHEAD: "after 30 minutes without playhead movement",
    Lost.AFTER_SESSION_END: "after sessionEnd",
}


def metrics_document(metrics: Metrics) -> dict[str, Any]:
    """Return the metrics of a session, as in ``show --json``. Of late and dropped events, the first ones are listed."""
    return {
        "values": metrics.values,
        "other_readings": metrics.other_readings,
        "ties_by_rank": metrics.ties_by_rank,
        "closed_by": None if metrics.closed_by is None else metrics.closed_by.value,
        "late": len(metrics.late),
        "dropped": len(metrics.dropped),
        "refused": metrics.refused,
        "unknown": metrics.unknown,
        "is_partial": metrics.is_partial,
        "late_events": [{"seq": event.seq, "pointer": event.pointer or None} for event in metrics.late[:MOST_PLACES]],
        "dropped_events": [
            {"seq": event.seq, "pointer": event.pointer or None, "reason": reason.value}
            for event, reason in islice(metrics.dropped, MOST_PLACES)
        ],
    }


def metrics_facts(metrics: Metrics) -> Iterator[tuple[str, str]]:
    """Yield the values that people look for, and which of them are doubtful, each as a name and a line."""
    if metrics.is_empty:
        yield "reports", "estimate: nothing, because the server took no event"
        return
    parts = [part for part in _parts(metrics.values) if part]
    if metrics.is_partial:
        parts.append("the start is not known")
    yield "reports", f"{'estimate' if metrics.closed_by else 'estimate so far'}: {' · '.join(parts)}"
    if doubts := list(_doubts(metrics)):
        yield "doubts", "; ".join(doubts)


def _parts(values: Values) -> Iterator[str]:
    """Yield values in words; absent values are left out."""
    if values.get("media_starts") is not None:
        yield _start(values)
    if "content_starts" in values:
        yield "content started" if values["content_starts"] else "content not started (no play outside of ads)"
    if values.get("content_completes"):
        yield "completed"
    if "content_time_spent_s" in values:
        yield f"content {_time(values['content_time_spent_s'])}"
    if "ad_starts" in values:
        yield _ads(values)
    passed = [percent for percent in MARKERS if values.get(f"progress_{percent}")]
    if passed:
        yield f"passed {passed[-1]}%"
    if values.get("pause_events"):
        yield f"{counted(values['pause_events'], 'pause')}{_lasting(values, 'pause_time_s')}"
    elif "pause_time_s" in values and "pause_events" not in values:
        yield f"paused {_time(values['pause_time_s'])}"
    if values.get("buffer_events"):
        yield f"buffered {_times(values['buffer_events'])}{_lasting(values, 'buffer_time_s')}"
    if values.get("stall_events"):
        yield f"stalled {_times(values['stall_events'])}{_lasting(values, 'stall_time_s')}"
    if values.get("error_events"):
        yield counted(values["error_events"], "error")


def _start(values: Values) -> str:
    if values["media_starts"]:
        return "1 media start"
    return "resumed, no media start" if values.get("content_resumes") else "no media start"


def _ads(values: Values) -> str:
    if not values["ad_starts"]:
        return "no ads"
    completed = f", {values['ad_completes']} completed" if "ad_completes" in values else ""
    return f"{counted(values['ad_starts'], 'ad')}{_lasting(values, 'ad_time_spent_s')}{completed}"


def _lasting(values: Values, name: str) -> str:
    return f" ({_time(values[name])})" if name in values else ""


def _time(seconds: float) -> str:
    return f"{round(seconds, 1):g} s" if seconds < 60 else duration(seconds)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _doubts(metrics: Metrics) -> Iterator[str]:
    for reading, why in _READINGS.items():
        parts = [part for part in _parts(metrics.other_readings.get(reading, {})) if part]
        if parts:
            yield f"{' · '.join(parts)} {why}"
    if ties := [part for part in _parts(metrics.ties_by_rank) if part]:
        yield f"{' · '.join(ties)} if events with equal ts are taken in another order than they arrived in"
    if metrics.late:
        yield f"{counted(len(metrics.late), 'event')} came too late to be sorted"
    for reason, number in Counter(reason for _, reason in metrics.dropped).items():
        yield f"{counted(number, 'event')} dropped {_LOST[reason]}"
    if metrics.unknown:
        yield f"{counted(metrics.unknown, 'request')} without a body in the file not counted"
    if metrics.refused:
        yield f"{counted(metrics.refused, 'event')} not taken by the server"
