from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.sessions import (
    AsOf,
    Membership,
    Session,
    SessionState,
    begun_late,
    joined,
    membership,
    opened,
    session_id_of,
    start_found,
)
from tests import builders
from tests.builders import (
    BEGIN,
    OTHER_SESSION_ID,
    SESSION_ID,
    at,
    batch,
    event,
    event_dict,
    exchange,
    preflight,
    response,
    session,
    start,
)
from tests.sdk_traffic import load


def fold(first: Exchange, *others: Exchange) -> Session:
    result = opened(first, id="s1")
    for other in others:
        result = joined(result, other)
    return result


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (start(), Membership.OPENS),
        (start(response=response(500)), Membership.OPENS),
        (start(body=b"no"), Membership.OPENS),
        (batch([]), Membership.OPENS),
        (event(), Membership.JOINS),
        (event(body=b"no"), Membership.JOINS),
        (event(response=None, outcome=Outcome.UPSTREAM_TIMEOUT), Membership.JOINS),
        (preflight(), Membership.JOINS),
        (preflight(session_id=None), Membership.NONE),
        (exchange("GET", "/api/v1/schemas/play"), Membership.NONE),
        (exchange("OPTIONS", "/api/v1/schemas/play"), Membership.NONE),
        (exchange("PUT", f"/api/v1/sessions/{SESSION_ID}/events"), Membership.NONE),
        (exchange("GET", "/api/v1/sessions"), Membership.NONE),
        (exchange("POST", "/api/v2/sessions"), Membership.NONE),
    ],
)
def test_posts_open_or_join_whatever_became_of_them(value, expected):
    assert membership(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (start(), SESSION_ID),
        (start(response=response(200, location=f"https://h/p/api/v1/sessions/{SESSION_ID}/?a")), SESSION_ID),
        (start(session_id=None), None),
        (start(response=response(201, location="")), None),
        (start(response=response(201, location="/login")), None),
        (start(response=response(500, location=f"/api/v1/sessions/{SESSION_ID}")), None),
        (
            start(outcome=Outcome.CLIENT_GONE, response=response(201, location=f"/api/v1/sessions/{SESSION_ID}")),
            None,
        ),
        (event(session_id=OTHER_SESSION_ID, response=response(404)), OTHER_SESSION_ID),
        (preflight(), SESSION_ID),
        (exchange("GET", f"/api/v1/sessions/{SESSION_ID}/events"), None),
    ],
)
def test_the_id_is_that_of_an_accepted_start_or_of_the_path(value, expected):
    assert session_id_of(value) == expected


def test_a_start_says_what_is_played():
    assert opened(start(after_s=2, playhead=7), id="s1", recording="r", retry_of="s0") == replace(
        session(),
        started_at=at(2),
        last_event_at=at(2),
        playhead_moved_at=at(2),
        playhead_s=7.0,
        recording="r",
        retry_of="s0",
        start_sha256=start(after_s=2, playhead=7).request.body_sha256,
    )


def test_params_of_the_wrong_type_are_left_out():
    result = opened(start(params={"media.id": 5, "media.name": None, "media.playerName": "P"}), id="s1")
    assert (result.media_id, result.media_name, result.player_name) == (None, None, "P")


@pytest.mark.parametrize(
    ("first", "state"),
    [
        (start(), SessionState.OPEN),
        (start(response=response(200, location="/api/v1/sessions/a")), SessionState.OPEN),
        (start(response=response(201, location="http://h/api/v1/sessions/a")), SessionState.OPEN),
        (start(session_id=None), SessionState.FAILED),
        (start(response=response(201, location="/login")), SessionState.FAILED),
        (start(response=response(400)), SessionState.FAILED),
        (start(response=response(302, location="/api/v1/sessions/a")), SessionState.FAILED),
        (start(outcome=Outcome.UPSTREAM_TIMEOUT), SessionState.FAILED),
        (start(outcome=Outcome.REJECTED), SessionState.FAILED),
        (
            start(outcome=Outcome.CLIENT_GONE, response=response(201, location="/api/v1/sessions/a")),
            SessionState.FAILED,
        ),
    ],
)
def test_a_start_fails_unless_it_is_answered_2xx_with_an_id(first, state):
    assert opened(first, id="s1").lasting_state is state


_START, _PLAY, _END, _COMPLETE = (
    event_dict(name) for name in ("sessionStart", "play", "sessionEnd", "sessionComplete")
)


@pytest.mark.parametrize("path", ["/api/v1/downloaded", "/api/v1/downloads", "/api/v1/sessions"])
@pytest.mark.parametrize(
    ("events", "status", "state"),
    [
        ([_START, _PLAY, _END], 201, SessionState.ENDED),
        ([_START, _PLAY, _COMPLETE], 201, SessionState.COMPLETED),
        ([_START, _COMPLETE, _END], 201, SessionState.ENDED),
        ([_START, _END, _COMPLETE], 200, SessionState.COMPLETED),
        ([_START, _PLAY], 201, SessionState.ENDED),
        ([], 201, SessionState.ENDED),
        ([_START, _END], 400, SessionState.FAILED),
        ([_START, _COMPLETE], 302, SessionState.FAILED),
    ],
)
def test_a_batch_needs_no_id_and_is_over_when_accepted(path, events, status, state):
    result = opened(batch(events, path=path, status=status), id="s1")
    assert (result.lasting_state, result.events, result.exchanges) == (state, len(events), 1)


def test_a_batch_that_is_no_array_is_one_event():
    result = opened(exchange(path="/api/v1/downloaded", body=b"{}", response=response(201)), id="s1")
    assert (result.lasting_state, result.events) == (SessionState.ENDED, 1)


def test_the_media_of_a_batch_are_those_of_its_start_wherever_it_stands():
    assert opened(batch([_PLAY, _START]), id="s1").media_id == "video-123"


@pytest.mark.parametrize(
    ("later", "state"),
    [
        ([event("sessionEnd")], SessionState.ENDED),
        ([event("sessionComplete")], SessionState.COMPLETED),
        ([event("sessionComplete"), event("sessionEnd")], SessionState.ENDED),
        ([event("sessionEnd"), event("ping")], SessionState.ENDED),
        ([event("sessionEnd", response=response(500))], SessionState.ENDED),
        ([event("sessionend")], SessionState.OPEN),
        ([event(body=b"sessionEnd")], SessionState.OPEN),
    ],
)
def test_a_session_is_over_once_its_last_event_was_seen(later, state):
    assert fold(start(), *later).lasting_state is state


def test_a_session_whose_start_was_not_seen_is_partial_even_when_it_ended():
    result = joined(begun_late(event(after_s=3), id="s1", recording="r"), event("sessionEnd", after_s=4))
    assert (result.lasting_state, result.session_id, result.recording) == (SessionState.PARTIAL, SESSION_ID, "r")
    assert (result.exchanges, result.events, result.started_at, result.last_event_at) == (2, 2, at(3), at(4))
    assert result.user_agent == "TestPlayer/1.0"


def test_a_start_that_comes_to_light_later_makes_the_session_whole():
    first, play, end = start(after_s=2), event(after_s=3, playhead=1), event("sessionEnd", after_s=5, playhead=2)
    assert start_found(joined(begun_late(play, id="s1"), end), first) == fold(first, play, end)


def test_a_preflight_is_an_exchange_but_no_event():
    result = fold(start(), preflight(after_s=5))
    assert (result.exchanges, result.events, result.last_event_at) == (2, 1, BEGIN)


@pytest.mark.parametrize(
    "late", [preflight(after_s=2), event(body=b"no JSON", after_s=2)], ids=["a preflight", "a body that is not JSON"]
)
def test_a_session_begins_with_its_first_exchange_also_when_that_comes_late_and_has_no_event(late):
    result = joined(begun_late(event(after_s=3), id="s1"), late)
    assert (result.started_at, result.last_event_at) == (at(2), at(3))


def test_an_event_that_comes_after_a_later_preflight_is_still_the_last_event():
    result = joined(begun_late(preflight(after_s=9), id="s1"), event(after_s=3, playhead=4))
    assert (result.started_at, result.last_event_at) == (at(3), at(3))
    assert (result.playhead_s, result.playhead_moved_at) == (4.0, at(3))


def test_while_it_has_no_event_a_session_counts_from_its_first_exchange():
    result = joined(begun_late(preflight(after_s=9), id="s1"), preflight(after_s=3))
    assert (result.started_at, result.last_event_at, result.playhead_moved_at) == (at(3), at(3), at(3))


def test_a_playhead_that_stays_has_not_moved():
    result = fold(
        start(), event(playhead=5, after_s=5), event(playhead=5.0, after_s=8), event(playhead=None, after_s=9)
    )
    assert (result.playhead_s, result.playhead_moved_at, result.last_event_at) == (5.0, at(5), at(9))


def test_a_late_event_does_not_move_the_playhead_back():
    result = fold(start(), event(playhead=5, after_s=5), event(playhead=3, after_s=3))
    assert (result.playhead_s, result.playhead_moved_at, result.last_event_at) == (5.0, at(5), at(5))


def test_states_have_the_names_of_the_contract():
    assert set(SessionState) == {"open", "completed", "ended", "expired", "failed", "partial"}


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("idle", "stalled", "state"),
    [
        (10 * MINUTE - timedelta.resolution, 10 * MINUTE, SessionState.OPEN),
        (10 * MINUTE, 10 * MINUTE, SessionState.EXPIRED),
        (0 * MINUTE, 30 * MINUTE - timedelta.resolution, SessionState.OPEN),
        (0 * MINUTE, 30 * MINUTE, SessionState.EXPIRED),
        (-1 * MINUTE, -1 * MINUTE, SessionState.OPEN),
    ],
)
def test_a_session_expires_10_minutes_after_an_event_and_30_after_the_playhead_moved(idle, stalled, state):
    now = at(7_200)
    value = session(last_event_at=now - idle, playhead_moved_at=now - stalled)
    assert value.state(AsOf(now=now)) is state
    assert value.lasting_state is SessionState.OPEN


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ({"failed": True, "start_seen": False, "ended": True, "completed": True}, SessionState.FAILED),
        ({"start_seen": False, "ended": True, "completed": True}, SessionState.PARTIAL),
        ({"ended": True, "completed": True}, SessionState.ENDED),
        ({"completed": True}, SessionState.COMPLETED),
        ({}, SessionState.EXPIRED),
    ],
)
def test_of_several_states_the_first_counts_and_only_an_open_session_expires(flags, state):
    assert session(**flags).state(AsOf(now=BEGIN + timedelta(days=1))) is state


@pytest.mark.parametrize(
    "body",
    [b"", b"no", b"{}", builders.body(event_dict("play")), builders.body(event_dict("sessionStart", ts=None))],
)
def test_only_a_session_start_with_a_time_is_recognised_when_it_is_repeated(body):
    assert opened(start(body=body), id="s1").start_sha256 is None


def test_a_batch_is_recognised_when_it_is_repeated():
    assert opened(batch([_START, _END], status=500), id="s1").start_sha256 == batch([_START, _END]).request.body_sha256


def test_real_traffic_folds_into_two_completed_sessions():
    sessions: list[Session | None] = [None, None]
    for number, sent in enumerate(load()):
        answer = response(sent.status, location="/api/v1/sessions/" + "ab"[sent.playback] if sent.opens else None)
        value = exchange(
            sent.method,
            sent.path,
            id=str(number),
            after_s=sent.at_s,
            headers=sent.headers,
            body=sent.body,
            response=answer,
        )
        if membership(value) is Membership.OPENS:
            sessions[sent.playback] = opened(value, id=str(sent.playback))
        elif membership(value) is Membership.JOINS:
            known = sessions[sent.playback]
            assert known is not None
            sessions[sent.playback] = joined(known, value)
    assert [(s.lasting_state, s.exchanges, s.events, s.media_id, s.library_version) for s in sessions if s] == [
        (SessionState.COMPLETED, 13, 9, "vod_simple-001", "js-3.1.0"),
        (SessionState.COMPLETED, 26, 19, "ads-001", "js-3.1.0"),
    ]
