"""The same tracking passes however often it is played; a change of it does not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy_addon.core.expectations.tracking import compare_tracking
from tests.played import again, film, pinged, recorded


@pytest.mark.parametrize(
    "how",
    [{}, {"cumulative": True}, {"restarts": False}, {"restarts": False, "cumulative": True}, {"ad_interval_s": 1.0}],
)
def test_a_film_that_is_played_50_times_is_tracked_the_same(how: dict[str, Any]):
    timers = {name: value for name, value in how.items() if name != "cumulative"}
    expected = recorded(pinged(film(), **timers))
    for seed in range(50):
        comparison = compare_tracking(again(seed, film(), **how), expected)
        assert [each.message for each in comparison.differences] == [], f"seed {seed}"
