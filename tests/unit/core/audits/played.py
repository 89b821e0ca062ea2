"""Sessions as lists of events, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy_addon.core.audits.arrivals import Arrival, arrival
from proxy_addon.core.audits.metrics import Metrics, metrics_of
from proxy_addon.core.events import read_event

BEGIN_MS = 1_760_000_000_000
START = {"media.contentType": "vod", "media.length": 100}


def arrivals_in(events: Sequence[Mapping[str, Any]]) -> list[Arrival]:
    """Return events in the form ``{"t": seconds of arrival, …the body…}``; without ``t`` they arrive at their ``ts``."""
    begin_ms = read_event(events[0]).ts_ms or 0
    found = []
    for seq, each in enumerate(events, 1):
        event = read_event(dict(each))
        arrived_ms = begin_ms + each["t"] * 1000 if "t" in each else event.ts_ms or 0
        found.append(arrival(event, seq=seq, arrived_us=round(arrived_ms * 1000)))
    return found


def played(*events: tuple[Any, ...], start: Mapping[str, Any] | None = START, **how: bool) -> Metrics:
    """Return the metrics of events: seconds, type, playhead, and params or ``qoeData`` as members of a dictionary.

    Args:
        start: The params of the ``sessionStart`` at 0; None for none.
    """
    bodies = [] if start is None else [_body(0, "sessionStart", 0, {"params": dict(start)})]
    bodies += [_body(*event) for event in events]
    return metrics_of(arrivals_in(bodies), **how)


def _body(
    at_s: float, type: str, playhead: float | None = 0, members: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    time = {"playhead": playhead, "ts": BEGIN_MS + round(at_s * 1000)}
    return {"eventType": type, "playerTime": time, **(members or {})}
