"""Compare a new answer with the recorded one: status, and the shape of ``Location``."""

from __future__ import annotations

from proxy_addon.core.exchange import Outcome, Response
from proxy_addon.core.locations import find_location, location_shape
from proxy_addon.core.runs import Difference


def compare(recorded: Response | None, recorded_outcome: Outcome, replayed: Response) -> tuple[Difference, ...]:
    """Return where two answers differ; nothing where the recording has no answer to compare with.

    A recording in which upstream itself failed to answer is a difference to any answer; one in which the device left
    says nothing about upstream.
    """
    if recorded is None:
        if recorded_outcome is Outcome.CLIENT_GONE:
            return ()
        return (Difference(where="status", recorded=recorded_outcome.value, replayed=replayed.status),)
    differences = []
    if recorded.status != replayed.status:
        differences.append(Difference(where="status", recorded=recorded.status, replayed=replayed.status))
    before, after = find_location(recorded.headers), find_location(replayed.headers)
    before_shape = None if before is None else location_shape(before)
    after_shape = None if after is None else location_shape(after)
    if before_shape != after_shape:
        differences.append(Difference(where="header.Location", recorded=before_shape, replayed=after_shape))
    return tuple(differences)
