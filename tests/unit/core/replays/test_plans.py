from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.exchange import BodyState, Outcome
from proxy_addon.core.replays.plans import plan_session, repeated_starts
from proxy_addon.core.replays.timestamps import Timestamps
from tests import builders
from tests.builders import (
    BEGIN_MS,
    OTHER_SESSION_ID,
    SESSION_ID,
    at,
    batch,
    event,
    event_dict,
    preflight,
    response,
    session,
    start,
)


def test_a_plan_has_a_step_for_each_exchange_with_its_place_and_time():
    plan = plan_session(session(), [start(), preflight(after_s=0.5), event("ping", after_s=10.25)])
    assert [(s.seq, s.event_type, s.offset_s, s.opens, s.skip is None) for s in plan.steps] == [
        (1, "sessionStart", 0, True, True),
        (2, None, 0.5, False, False),
        (3, "ping", 10.25, False, True),
    ]
    assert plan.start_ts_ms == BEGIN_MS
    assert [step.recorded.status if step.recorded else None for step in plan.steps] == [201, 200, 204]


def test_what_overtook_the_start_is_sent_after_it_and_keeps_its_number():
    plan = plan_session(session(), [event("play", after_s=-0.2), start(), event("ping", after_s=3)])
    assert [(step.seq, step.event_type, step.offset_s) for step in plan.steps] == [
        (2, "sessionStart", 0),
        (1, "play", 0),
        (3, "ping", 3),
    ]


@pytest.mark.parametrize(
    ("state", "skip", "headers"),
    [
        (BodyState.MISSING, "its body is not in the file that it comes from", ("X-A", "Content-Encoding")),
        (BodyState.DAMAGED, "its body is damaged in the file that it comes from", ("X-A", "Content-Encoding")),
        (BodyState.DECODED, None, ("X-A",)),
        (BodyState.REBUILT, None, ("X-A", "Content-Encoding")),
    ],
)
def test_a_body_is_sent_as_far_as_a_file_has_it(state, skip, headers):
    """What a tool has decompressed must not be sent as if it were compressed."""
    exchange = event("play", headers=(("X-A", "b"), ("Content-Encoding", "gzip")))
    exchange = replace(exchange, request=replace(exchange.request, body_state=state))
    _, step = plan_session(session(), [start(), exchange]).steps
    assert (step.skip, tuple(name for name, _ in step.request.headers)) == (skip, headers)


@pytest.mark.parametrize(
    ("body", "event_type"),
    [
        (builders.body(event_dict("play")), "play"),
        (b"{}", None),
        (b"no", None),
        (builders.body([event_dict("play"), event_dict("ping")]), None),
        (builders.body([event_dict("play")]), None),
        (b"[]", None),
    ],
)
def test_a_batch_has_no_event_type_however_long_it_is(body, event_type):
    _, step = plan_session(session(), [start(), event(body=body)]).steps
    assert step.event_type == event_type


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (preflight(), "preflight"),
        (event(complete=False, outcome=Outcome.CLIENT_GONE, response=None), "during its request"),
        (event(outcome=Outcome.REJECTED, response=None), "refused"),
        (event(outcome=Outcome.CLIENT_GONE, response=None), None),
        (event(outcome=Outcome.UPSTREAM_TIMEOUT, response=None), None),
        (event(response=response(500)), None),
        (event(body=b"no JSON"), None),
    ],
)
def test_what_upstream_never_saw_is_skipped_and_all_else_is_sent(value, reason):
    _, step = plan_session(session(), [start(), value]).steps
    assert (step.skip is None) if reason is None else (reason in (step.skip or ""))


def test_without_a_recorded_start_nothing_is_sent():
    plan = plan_session(session(start_seen=False), [event(), event("ping", after_s=5)])
    assert [step.skip for step in plan.steps] == ["its start was not recorded, so there is no session to open"] * 2
    assert plan.start_ts_ms is None


def test_a_reason_given_holds_for_every_step():
    plan = plan_session(session(), [start(), preflight(), event()], skip="because")
    assert [step.skip for step in plan.steps] == ["because"] * 3


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [(Outcome.CLIENT_GONE, response(201)), (Outcome.UPSTREAM_CLOSED, response(200)), (Outcome.UPSTREAM_TIMEOUT, None)],
)
def test_an_incomplete_answer_is_nothing_to_compare_with(outcome, answer):
    _, step = plan_session(session(), [start(), event(outcome=outcome, response=answer)]).steps
    assert (step.recorded, step.recorded_outcome) == (None, outcome)


def test_the_start_ts_of_a_batch_is_that_of_its_session_start():
    events = [event_dict("play", ts=1), event_dict("sessionStart", ts=2), event_dict("sessionStart", ts=3)]
    assert plan_session(session(session_id=None), [batch(events)]).start_ts_ms == 2


@pytest.mark.parametrize("body", [b"", b"{}", builders.body(event_dict("play")), b'{"eventType":"sessionStart"}'])
def test_a_start_without_ts_gives_no_start_ts(body):
    assert plan_session(session(), [start(body=body)]).start_ts_ms is None


def test_hop_by_hop_headers_and_those_that_connection_names_are_not_sent_on():
    headers = (
        ("Host", "h"),
        ("Content-Length", "2"),
        ("CONNECTION", "close, X-One"),
        ("connection", "x-two"),
        ("X-One", "1"),
        ("x-TWO", "2"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("content-type", "application/json"),
        ("X-Three", "3"),
        ("x-three", "4"),
    )
    (step,) = plan_session(session(), [start(headers=headers)]).steps
    assert step.request.headers == (("content-type", "application/json"), ("X-Three", "3"), ("x-three", "4"))


def test_the_new_id_goes_into_the_paths_of_events_only():
    opening, playing = plan_session(session(), [start(path="/tv/api/v1/sessions"), event()]).steps
    assert opening.path(SESSION_ID, OTHER_SESSION_ID) == "/tv/api/v1/sessions"
    assert playing.path(SESSION_ID, OTHER_SESSION_ID) == f"/api/v1/sessions/{OTHER_SESSION_ID}/events"
    assert playing.path(SESSION_ID, None) == f"/api/v1/sessions/{SESSION_ID}/events"


FAILED = {"failed": True, "session_id": None}


@pytest.mark.parametrize(
    ("chain", "kept"),
    [
        ([FAILED, FAILED, {}], "c"),
        ([{}, FAILED, FAILED], "a"),
        ([FAILED, FAILED, FAILED], "c"),
        ([{}, {}, {}], "c"),
        ([{}, {"events": 5}, {}], "b"),
        ([{"events": 5}, {}, FAILED], "a"),
    ],
    ids=["the last worked", "the first worked", "none worked", "all alike", "one was used", "the first was used"],
)
def test_of_the_attempts_to_open_one_playback_one_is_sent(chain, kept):
    ids = "abc"
    sessions = [
        session(id=name, retry_of=None if name == "a" else "a", started_at=at(number), **overrides)
        for number, (name, overrides) in enumerate(zip(ids, chain, strict=True))
    ]
    for ordered in (sessions, sessions[::-1]):
        reasons = repeated_starts(ordered)
        assert set(reasons) == set(ids) - {kept}
        assert all(kept in reason for reason in reasons.values())


def test_sessions_that_are_no_attempts_of_one_another_are_all_sent():
    assert repeated_starts([session(id="a"), session(id="b"), session(id="d", retry_of="c")]) == {}


def test_events_on_their_way_at_once_are_counted():
    def at_once(*spans):
        events = [
            builders.event(id=f"e{n}", after_s=a, duration_us=round((b - a) * 1e6)) for n, (a, b) in enumerate(spans)
        ]
        opened = builders.start(duration_us=60_000_000)  # all else waits for it
        return plan_session(builders.session(), [opened, *events]).most_at_once

    assert at_once() == 1
    assert at_once((1, 2), (2, 3), (3, 3)) == 1
    assert at_once((1, 5), (2, 3), (3, 4)) == 2
    assert at_once((1, 5), (2, 5), (3, 5)) == 3


def test_events_of_one_time_are_moved_apart_in_the_order_that_sdks_mean():
    def spread(*events):
        recorded = [builders.event(kind, id=f"e{n}", ts=ts) for n, (kind, ts) in enumerate(events)]
        planned = plan_session(builders.session(), recorded, spreads_equal_ts=True)
        return [step.spread_ms for step in planned.steps]

    assert spread(("play", 5), ("ping", 6)) == [(0,), (0,)]
    assert spread(("play", 5), ("chapterStart", 5), ("adBreakComplete", 5)) == [(2,), (1,), (0,)]
    assert spread(("ping", 5), ("ping", 5), ("ping", 6), ("ping", 9)) == [(0,), (1,), (1,), (0,)]
    assert spread(("ping", 9), ("ping", 5)) == [(0,), (0,)]
    batch = builders.batch([builders.event_dict(kind, ts=5) for kind in ("ping", "play")] + [{}])
    assert plan_session(builders.session(), [batch], spreads_equal_ts=True).steps[0].spread_ms == (1, 0, 0)


def test_a_step_is_filled_in_when_it_is_sent():
    recorded = [builders.start(ts=1000), builders.event("ping", ts=1500)]
    planned = plan_session(builders.session(), recorded)
    now, keep = Timestamps.parse("now"), Timestamps.parse("keep")
    shift_ms = planned.shift_ms(now, builders.BEGIN)
    request, remark = planned.request(planned.steps[1], "new", now, shift_ms)
    assert (request.path, remark) == ("/api/v1/sessions/new/events", None)
    assert request.body == recorded[1].request.body.replace(b"1500", b"%d" % (builders.BEGIN_MS + 500))
    assert planned.request(planned.steps[1], "new", keep, 0)[0].body == recorded[1].request.body
    moved = replace(planned.steps[1], spread_ms=(3,))
    assert b"1503" in planned.request(moved, "new", keep, 0)[0].body
