"""The few lines about metrics that people read."""

from __future__ import annotations

import pytest

from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.reporting.metrics import metrics_document, metrics_facts
from tests import builders
from tests.unit.core.audits.played import START, played

RESUMED = {**START, "media.resume": True}


@pytest.mark.parametrize(
    ("metrics", "lines"),
    [
        (
            played((0, "play", 0), (90, "pauseStart", 90), (95, "sessionEnd", 90)),
            {
                "reports": "estimate: 1 media start · content started · content 1:30 · no ads · passed 75% · 1 pause (5 s)"
            },
        ),
        (
            played((0, "ping", 0), is_over=False),
            {
                "reports": "estimate so far: 1 media start · content not started (no play outside of ads) · content 0 s"
                " · no ads"
            },
        ),
        (
            played((0, "play", 50), (9, "sessionEnd", 59), start=RESUMED),
            {
                "reports": "estimate: resumed, no media start · content started · content 9 s · no ads · passed 50%",
                "doubts": "passed 25% if markers that were jumped over count; "
                "1 media start if a resumed playback counts as a start",
            },
        ),
        (
            played((0, "play", 0), (9, "sessionEnd", 9), (10, "ping", 9), start=None),
            {
                "reports": "estimate: content started · content 9 s · no ads · the start is not known",
                "doubts": "1 event dropped after sessionEnd",
            },
        ),
        (
            played((0, "bufferStart", 0), (1, "error", 0), (2, "pauseStart", 0), (4, "bufferStart", 0), (5, "play", 0)),
            {
                "reports": "estimate: 1 media start · content started · content 0 s · no ads · 1 pause (2 s)"
                " · buffered 2 times (3 s) · 1 error",
                "doubts": "paused 3 s if a pause lasts until the next play",
            },
        ),
    ],
)
def test_lines_say_what_counts_and_what_is_doubtful(metrics, lines):
    assert dict(metrics_facts(metrics)) == lines


def test_a_session_whose_start_was_refused_counts_nothing():
    watch = MetricsWatch()
    list(watch.watching([builders.start(response=builders.response(500))]))
    metrics = watch.metrics(is_over=False)
    assert dict(metrics_facts(metrics)) == {"reports": "estimate: nothing, because the server took no event"}
    assert metrics_document(metrics)["closed_by"] is None


def test_of_many_dropped_events_the_first_are_listed():
    metrics = played((0, "sessionEnd", 0), *((1, "ping", 0) for _ in range(30)))
    document = metrics_document(metrics)
    assert (document["dropped"], len(document["dropped_events"])) == (30, 20)
    assert document["dropped_events"][0] == {"seq": 3, "pointer": None, "reason": "after_session_end"}
