"""Metrics hold for any events: nothing fails, no time is counted twice or lost, and sorting undoes what it can."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.audits.arrivals import Arrival, arrival
from proxy_addon.core.audits.metrics import metrics_of
from proxy_addon.core.audits.ordering import CLOCK_SET_BACK_MS, WINDOW_EVENTS, ordered
from proxy_addon.core.audits.viewing import viewed
from proxy_addon.core.audits.walking import walked
from proxy_addon.core.events import read_body
from proxy_addon.core.protocol import EVENT_TYPES
from tests.property.strategies import JSON_TEXTS, TIMES

BEGIN_MS = 1_760_000_000_000
TYPES = st.sampled_from([type for type in EVENT_TYPES if type != "sessionStart"])
START = {"media.length": 100, "media.contentType": "vod"}
PARAMS = {
    "media.state.name": "Mute",
    "statesStart": [{"media.state.name": f"state{number}"} for number in range(12)],
    "statesEnd": [{"media.state.name": "state1"}],
    "media.ad.id": "a",
    "media.chapter.index": 1,
}


def event(type: str, ts_ms: int, playhead_s: float, seq: int, arrived_ms: int, **params: object) -> Arrival:
    body = {"eventType": type, "playerTime": {"playhead": playhead_s, "ts": ts_ms}, "params": params or PARAMS}
    found = read_body(json.dumps(body).encode()).events[0]
    return arrival(found, seq=seq, arrived_us=arrived_ms * 1000)


@st.composite
def sessions(draw: st.DrawFn, *, back_ms: int = 8_000, most: int = 30) -> list[Arrival]:
    """Return a session whose events may arrive up to some milliseconds late."""
    steps = draw(
        st.lists(
            st.tuples(TYPES, st.integers(0, 20_000), st.integers(0, back_ms), st.integers(-3, 20) | st.just(0)),
            max_size=most,
        )
    )
    found = [
        event(
            "sessionStart",
            BEGIN_MS,
            0,
            1,
            BEGIN_MS,
            **draw(st.sampled_from([START, {**START, "media.contentType": "live"}])),
        )
    ]
    at_ms, playhead_s = BEGIN_MS, 0
    for seq, (type, passed_ms, late_ms, moved_s) in enumerate(steps, 2):
        at_ms += passed_ms
        playhead_s += moved_s
        found.append(event(type, at_ms - late_ms, playhead_s, seq, at_ms))
    return found


@given(
    st.lists(
        st.tuples(
            JSON_TEXTS | st.sampled_from(['"adStart"', '"stateStart"', '"sessionStart"', '"play"']),
            JSON_TEXTS | TIMES.map(str),
            JSON_TEXTS,
            JSON_TEXTS,
            st.integers(-(2**40), 2**40),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_events_have_metrics_that_can_be_written(events, is_batch, is_over):
    arrivals = []
    for seq, (type, ts, value, more, arrived_us) in enumerate(events, 1):
        params = f'{{"media.length":{value},"media.ad.id":{value},"media.state.name":{value},"statesStart":{more}}}'
        quality = f'{{"media.qoe.bitrate":{value},"media.qoe.droppedFrames":{more},"media.qoe.timeToStart":{value}}}'
        body = f'{{"eventType":{type},"playerTime":{{"playhead":{value},"ts":{ts}}},"params":{params},"qoeData":{quality}}}'
        arrivals += [arrival(each, seq=seq, arrived_us=arrived_us) for each in read_body(body.encode()).events]
    metrics = metrics_of(arrivals, is_batch=is_batch, is_over=is_over)
    json.dumps([metrics.values, metrics.other_readings], allow_nan=False)
    starts = sum(each.start is not None for each in arrivals)
    assert len(ordered(arrivals, is_batch=is_batch).taken) + len(metrics.dropped) >= len(arrivals) - max(0, starts - 1)


@given(sessions(), st.booleans())
def test_each_moment_counts_once_wherever_a_session_is_cut(session, is_batch):
    for end in range(1, len(session) + 1):
        order = ordered(session[:end], is_batch=is_batch)
        taken = [each.event.ts_ms or 0 for each in order.taken][1:]
        if any(before - after > CLOCK_SET_BACK_MS for before, after in pairwise(taken)):
            continue
        walk = walked(order.taken)
        values = metrics_of(session[:end], is_batch=is_batch).values
        counted = ("content_time_spent_s", "stall_time_s", "ad_time_spent_s", "pause_time_s", "buffer_time_s")
        total_ms = sum(round(values[name] * 1000) for name in counted) + walk.starting_ms + walk.after_content_ms
        assert total_ms == (max(taken) - taken[0] if taken else 0)
        assert round(values["media_time_spent_s"] * 1000) == round(
            (values["content_time_spent_s"] + values["ad_time_spent_s"]) * 1000
        )
        assert values["ad_completes"] <= values["ad_starts"]
        assert values["pause_events"] <= sum(each.type == "pauseStart" for each in session[:end])


@given(st.data())
def test_the_order_of_arrival_within_a_window_does_not_matter(data):
    session = data.draw(sessions(back_ms=0, most=WINDOW_EVENTS))
    start, *events = session
    # Distinct times within 5 s, as events of equal ts stay in the order of arrival.
    spread = [replace(each, ts_ms=BEGIN_MS + 400 * place, arrived_us=0) for place, each in enumerate(events)]
    shuffled = data.draw(st.permutations(spread))
    arrived = [replace(each, arrived_us=(BEGIN_MS + 450 * place) * 1000) for place, each in enumerate(shuffled)]
    in_time = [replace(each, arrived_us=(BEGIN_MS + 450 * place) * 1000) for place, each in enumerate(spread)]
    assert metrics_of([start, *arrived]).values == metrics_of([start, *in_time]).values
    assert not metrics_of([start, *arrived]).late


@given(sessions())
def test_what_was_viewed_has_no_overlaps_and_only_what_played(session):
    order = ordered(session)
    walk = walked(order.taken)
    seen = viewed(order.taken, walk.stretches, length_s=100, is_live=False)
    assert all(a <= b for a, b in seen.intervals)
    assert all(before[1] < after[0] for before, after in pairwise(seen.intervals))
    played_s = sum(stretch.ms for stretch in walk.stretches if stretch.is_content) / 1000
    steps = sum(stretch.is_content for stretch in walk.stretches)
    assert seen.seconds <= 2 * played_s + steps + 1e-6
    assert all(walk.stretches[place].is_content for place in seen.stalled)
