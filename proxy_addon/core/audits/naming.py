"""What metrics are called in reports, and what was measured and compared in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy_addon.core.audits.changes import Compared, What

METRICS: Mapping[str, Mapping[str, str]] = {
    "Session": {
        "media_starts": "Media starts",
        "content_resumes": "Content resumes",
        "content_starts": "Content starts",
        "content_completes": "Content completes",
        "content_time_spent_s": "Content time spent",
        "media_time_spent_s": "Media time spent",
        "unique_time_played_s": "Unique time played",
        "average_minute_audience": "Average minute audience",
        "estimated_streams": "Estimated streams",
        "content_segment": "Content segment",
        "seconds_since_last_call_s": "Server timeout",
    },
    "Interruptions": {
        "pause_events": "Pause events",
        "pause_time_s": "Total pause duration",
        "buffer_events": "Buffer events",
        "buffer_time_s": "Total buffer duration",
        "stall_events": "Stall events",
        "stall_time_s": "Total stalling duration",
        "error_events": "Error events",
        "drops_before_start": "Drops before start",
    },
    "Ads and chapters": {
        "ad_starts": "Ad starts",
        "ad_completes": "Ad completes",
        "ad_time_spent_s": "Ad time spent",
        "chapter_starts": "Chapter starts",
        "chapter_completes": "Chapter completes",
        "chapter_time_spent_s": "Chapter time spent",
    },
    "Quality": {
        "time_to_start_s": "Time to start",
        "average_bitrate": "Average bitrate",
        "bitrate_changes": "Bitrate changes",
        "dropped_frames": "Dropped frames",
    },
}
"""The names of metrics, by their headings and ids."""
FURTHER: Mapping[str, str] = {
    **{f"progress_{part}": f"{part} % progress marker" for part in (10, 25, 50, 75, 95)},
    "pause_impacted_streams": "Pause impacted streams",
    "buffer_impacted_streams": "Buffer impacted streams",
    "stall_impacted_streams": "Stall impacted streams",
    "error_impacted_streams": "Error impacted streams",
    "bitrate_change_impacted_streams": "Bitrate change impacted streams",
    "dropped_frame_impacted_streams": "Dropped frame impacted streams",
    "authorized": "Authorized",
    "downloaded": "Downloaded",
}
"""The names of further metrics, which are shown of many sessions alone."""
_NAMES = {id: name for names in (*METRICS.values(), FURTHER) for id, name in names.items()}
MEASURES = {
    "ping_gaps_ms": "ping to ping",
    "playhead_speed": "speed of the playhead",
    "clock_skew_ms": "arrival after the device's clock",
    "latency_ms": "time to the answer",
    "batch_events": "events of a batch",
}
"""The names of what is measured of the rhythm, by id."""


def baseline_words(baseline: str) -> str:
    """Return what a baseline is called in a sentence.

    >>> baseline_words("4.1"), baseline_words("since=7d")
    ('4.1', 'the baseline since=7d')
    """
    return f"the baseline {baseline}" if "=" in baseline else baseline


def metric_name(id: str) -> str:
    """Return what a metric is called.

    >>> metric_name("progress_50"), metric_name("pause_time_s"), metric_name("player_states.mute.time_s")
    ('50 % progress marker', 'Total pause duration', 'Player state mute, time')
    """
    kind, _, rest = id.partition(".")
    state, _, member = rest.rpartition(".")
    if kind == "player_states":
        return f"Player state {state}, {member.removesuffix('_s')}"
    return _NAMES.get(id, id)


def measure_name(id: str) -> str:
    """Return what was measured of the rhythm, by its name in JSON.

    >>> measure_name("ping_gaps_ms.content"), measure_name("latency_ms")
    ('ping to ping, content', 'time to the answer')
    """
    measure, _, state = id.partition(".")
    return f"{MEASURES.get(measure, measure)}{state and f', {state}'}"


def subject_words(compared: Compared, quoted: Callable[[str], str] = str) -> str:
    """Return what a comparison is about: the event, the key, the rule or what else.

    Args:
        quoted: Returns what stands for a name.
    """
    event, name = (quoted(each) if each else "" for each in (compared.event, compared.name))
    match compared.what:
        case What.NUMBER:
            return f"{event} per session"
        case What.SLOW:
            return "answers after more than 5 s"
        case What.RHYTHM:
            return measure_name(compared.name)
        case What.METRIC:
            return metric_name(compared.name)
    return " on ".join(filter(None, (name, event)))


def what_words(compared: Compared) -> str:
    """Return what was compared, in a few words."""
    subject = subject_words(compared)
    match compared.what:
        case What.FINDING:
            return f"{compared.severity} {subject}"
        case What.EVENT:
            return f"event {subject}"
        case What.THROUGHOUT:
            return f"{compared.name} on all {compared.event}"
        case What.TYPE:
            return f"{compared.detail} as {subject}"
        case What.VALUE:
            return f"{compared.detail} as value of {subject}"
        case What.PLAN:
            return f"{subject}: {compared.detail}"
        case What.LOSS:
            return f"loss: {subject}"
    return subject
