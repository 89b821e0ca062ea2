"""What reports will count for a session, as rows of a page; docs/metrics.md explains each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy_addon.core.audits.metrics import Metrics
from proxy_addon.core.audits.naming import METRICS

READINGS: Mapping[str, str] = {
    "ad-break-needs-end": "if an ad break without adBreakComplete does not count",
    "complete-stays-open": "if a completed session waits for its timeout",
    "content-start-by-state": "if content can start without play",
    "every-event": "if every start of a pause, buffer or state counts",
    "pause-until-play": "if a pause lasts until the next play",
    "progress-by-position": "if markers that were jumped over count",
    "resume-is-start": "if a resumed playback counts as a start",
    "segment-by-minute": "in steps of one minute",
    "stall-is-play": "if stalls count as content",
}
"""When a value would be another one: by the ids of other readings of the sources."""
TIES = "if events with the same ts are taken in the order that SDKs intend"

_AT_ONCE = frozenset({"media_starts", "ad_starts"})
_UNSURE = frozenset(
    {"stall_events", "stall_time_s", "seconds_since_last_call_s", "unique_time_played_s", "content_segment"}
)
_SENT = frozenset(METRICS["Quality"])
"""Values that players send themselves: if absent, they were not sent. Other values are undefined then."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value.

    Attributes:
        group: The heading that it stands below.
        id: As of docs/metrics.md.
        name: As reports call it.
        form: ``s`` for seconds, ``n`` for a number, ``t`` for text.
        value: None if it is undefined, or was not sent.
        missing: What the page shows in place of None.
        is_unsure: Whether the sources say little about it.
        is_final: Whether reports have it now, even if the session is open.
        doubts: Other readings of the sources, each with the value that it gives.
    """

    group: str
    id: str
    name: str
    form: str
    value: Any
    missing: str
    is_unsure: bool
    is_final: bool
    doubts: tuple[tuple[str, Any], ...]


def rows_of(metrics: Metrics) -> Iterator[Row]:
    """Yield the values of a session in the order of the page."""
    readings = {
        **{READINGS[id]: differing for id, differing in metrics.other_readings.items()},
        TIES: metrics.ties_by_rank,
    }
    for group, names in METRICS.items():
        for id, name in names.items():
            value = metrics.values.get(id)
            yield Row(
                group=group,
                id=id,
                name=name,
                form="s" if id.endswith("_s") else "t" if isinstance(value, str) else "n",
                value=value,
                missing="not sent" if id in _SENT else "undefined",
                is_unsure=id in _UNSURE,
                is_final=id in _AT_ONCE or metrics.closed_by is not None,
                doubts=tuple((why, differing[id]) for why, differing in readings.items() if id in differing),
            )
