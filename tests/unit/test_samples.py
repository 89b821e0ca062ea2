from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import header
from proxy_addon.core.protocol import EVENT_TYPES
from tests.sdk_traffic import load

TIMELINES = Path(__file__).parents[1] / "samples" / "timelines"


def test_the_sdk_sent_2_starts_26_events_and_13_preflights():
    assert Counter((request.method, request.session_id is not None) for request in load()) == {
        ("POST", False): 2,
        ("POST", True): 26,
        ("OPTIONS", False): 2,
        ("OPTIONS", True): 11,
    }


def test_each_request_belongs_to_the_start_of_its_scenario():
    assert {(request.scenario, request.playback) for request in load()} == {("vod_simple", 0), ("ads", 1)}
    assert [request.playback for request in load() if request.opens] == [0, 1]


def test_times_count_from_the_first_request_in_order_of_arrival():
    times = [request.at_s for request in load()]
    assert times[0] == 0
    assert times == sorted(times)


def test_bodies_are_the_bytes_that_were_announced():
    posts = [request for request in load() if request.method == "POST"]
    assert [str(len(request.body)) for request in posts] == [
        header(request.headers, "Content-Length") for request in posts
    ]
    assert all(read_body(request.body).events[0].type in EVENT_TYPES for request in posts)


def test_a_new_id_replaces_the_recorded_one():
    opening, event = (next(r for r in load() if r.opens is opens and r.method == "POST") for opens in (True, False))
    assert event.with_session_id("4a0f").path == "/api/v1/sessions/4a0f/events"
    assert event.with_session_id("4a0f").session_id == "4a0f"
    assert opening.with_session_id("4a0f") is opening


@pytest.mark.parametrize(
    ("name", "count", "last"), [("timeline_1", 27, "sessionComplete"), ("timeline_2", 15, "sessionEnd")]
)
def test_a_timeline_is_a_session_with_times_that_grow(name, count, last):
    events = json.loads((TIMELINES / f"{name}.json").read_text(encoding="utf-8"))["events"]
    assert len(events) == count
    assert (events[0]["eventType"], events[-1]["eventType"]) == ("sessionStart", last)
    times = [event["playerTime"]["ts"] for event in events]
    assert times == sorted(set(times))
