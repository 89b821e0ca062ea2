"""The worked examples of the metrics, whose numbers are exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_addon.core.audits.arrivals import Arrival, Start
from proxy_addon.core.audits.metrics import metrics_of
from proxy_addon.core.audits.ordering import ordered
from tests.unit.core.audits.played import arrivals_in, played

EXAMPLES = json.loads((Path(__file__).parents[3] / "samples" / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", EXAMPLES["sessions"], ids=lambda example: example["name"])
def test_the_metrics_of_a_session(example):
    metrics = metrics_of(arrivals_in(example["events"]), is_batch=example["kind"] == "batch")
    assert metrics.values == example["values"]
    assert metrics.other_readings == example["other_readings"]
    assert (metrics.closed_by, len(metrics.dropped)) == (example["closed_by"], example["dropped"])


def test_ties_that_arrived_in_the_wrong_order_would_count_otherwise_in_the_order_that_sdks_mean():
    swapped, kept = (
        metrics_of(arrivals_in(next(each["events"] for each in EXAMPLES["sessions"] if each["name"] == name)))
        for name in ("equal-ts-swapped", "equal-ts")
    )
    assert {**swapped.values, **swapped.ties_by_rank} == kept.values
    assert kept.ties_by_rank == {}


@pytest.mark.parametrize("example", EXAMPLES["order"], ids=lambda example: example["name"])
def test_the_order_in_which_events_are_taken(example):
    names = [arrival["id"] for arrival in example["arrivals"]]
    order = ordered(
        [
            Arrival(
                seq=seq,
                type=arrival["eventType"],
                ts_ms=arrival["ts"],
                arrived_us=arrival["arrival_ms"] * 1000,
                start=Start() if arrival["eventType"] == "sessionStart" else None,
            )
            for seq, arrival in enumerate(example["arrivals"])
        ]
    )
    assert [names[each.event.seq] for each in order.taken] == example["order"]
    assert [names[each.seq] for each in order.late] == example["late"]
    assert [{"id": names[each.seq], "reason": why} for each, why in order.dropped] == example["dropped"]
    assert [[names[each.seq] for each in window] for window in order.windows] == example["windows"]


def test_the_values_that_adobe_printed():
    """48 s of content and 7 s of an ad, of which the total, the audience, the markers and the bucket follow."""
    printed = EXAMPLES["adobe_sample"]["printed"]
    quality = {"qoeData": {"media.qoe.bitrate": 35, "media.qoe.droppedFrames": 30, "media.qoe.timeToStart": 1000}}
    metrics = played(
        (0, "play", 0, quality),
        (21, "adBreakStart", 21),
        (21, "adStart", 21, {"params": {"media.ad.length": 10}}),
        (28, "adComplete", 21),
        (28, "adBreakComplete", 21),
        (55, "sessionComplete", 48),
    )
    names = {
        "timePlayed": "content_time_spent_s",
        "totalTimePlayed": "media_time_spent_s",
        "averageMinuteAudience": "average_minute_audience",
        "estimatedStreams": "estimated_streams",
        "adCount": "ad_count",
        "hasProgress10": "progress_10",
        "hasProgress25": "progress_25",
        "isPlayed": "content_starts",
        "isCompleted": "content_completes",
        "hasSegmentView": "content_segment_views",
    }
    assert {name: metrics.values[ours] for name, ours in names.items()} == {name: printed[name] for name in names}
    assert "hasProgress50" not in printed
    assert metrics.values["progress_50"] == 0
    quality_names = {
        "bitrateAverage": "average_bitrate",
        "bitrateAverageBucket": "average_bitrate_bucket",
        "droppedFrames": "dropped_frames",
        "timeToStart": "time_to_start_s",
    }
    assert {name: metrics.values[ours] for name, ours in quality_names.items()} == {
        name: printed["qoe"][name] for name in quality_names
    }
    assert metrics.values["ads"] == [{"id": None, "completed": True, "time_spent_s": printed["ad"]["timePlayed"]}]
