from __future__ import annotations

from typing import Any

import pytest

from proxy_addon.collector.bodies import problem_of_batch, problem_of_event, problem_of_start
from proxy_addon.core.protocol import EVENT_TYPES, PARAMS_REQUIRED
from tests.builders import BEGIN_MS, START_PARAMS, event_dict
from tests.sdk_traffic import load

DOWNLOADED = {**START_PARAMS, "media.downloaded": True}


@pytest.mark.parametrize("event_type", [name for name in EVENT_TYPES if name != "sessionStart"])
def test_every_event_type_is_taken_with_params(event_type):
    assert problem_of_event(event_dict(event_type, params={})) is None


@pytest.mark.parametrize("event_type", sorted(PARAMS_REQUIRED - {"sessionStart"}))
def test_params_are_required_for_types_that_have_required_keys(event_type):
    assert problem_of_event(event_dict(event_type)) == f"params is missing; {event_type} needs it"


@pytest.mark.parametrize("event_type", sorted(set(EVENT_TYPES) - PARAMS_REQUIRED))
def test_params_may_be_left_out_for_all_other_types(event_type):
    assert problem_of_event(event_dict(event_type)) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"eventType": None}, "eventType must be a string, not null"),
        ({"eventType": 3}, "eventType must be a string, not the number 3"),
        ({"eventType": "pause"}, "eventType 'pause' is unknown"),
        ({"eventType": "Play"}, "eventType 'Play' is unknown"),
        ({"eventType": "pl\ud83cay"}, r"eventType 'pl\ud83cay' is unknown"),
        (
            {"eventType": "sessionStart", "params": {}},
            "sessionStart opens a session of its own; post it to /api/v1/sessions",
        ),
        ({"playerTime": []}, "playerTime must be an object, not an array"),
        ({"playerTime": {"ts": BEGIN_MS}}, "playerTime.playhead is missing"),
        ({"playerTime": {"playhead": 0}}, "playerTime.ts is missing"),
        ({"playerTime": {"playhead": "0", "ts": 1}}, "playerTime.playhead must be a number, not the string '0'"),
        ({"playerTime": {"playhead": True, "ts": 1}}, "playerTime.playhead must be a number, not true"),
        ({"playerTime": {"playhead": None, "ts": 1}}, "playerTime.playhead must be a number, not null"),
        ({"playerTime": {"playhead": 0, "ts": 1.5}}, "playerTime.ts must be an integer of 64 bits, not the number 1.5"),
        ({"playerTime": {"playhead": 0, "ts": False}}, "playerTime.ts must be an integer of 64 bits, not false"),
        (
            {"playerTime": {"playhead": 0, "ts": 1e400}},
            "playerTime.ts must be an integer of 64 bits, not the number inf",
        ),
        ({"playerTime": {"playhead": 0, "ts": 1, "x": 1}}, "member 'playerTime.x' is not allowed"),
        ({"params": None}, "params must be an object, not null"),
        ({"params": "x" * 100}, f"params must be an object, not the string '{'x' * 60}…'"),
        ({"customMetadata": [1]}, "customMetadata must be an object, not an array"),
        ({"qoeData": 1}, "qoeData must be an object, not the number 1"),
        ({"sessionId": "x"}, "member 'sessionId' is not allowed"),
        ({"PlayerTime": {}}, "member 'PlayerTime' is not allowed"),
    ],
)
def test_the_problem_names_the_place_and_what_is_there(change: dict[str, Any], problem: str):
    assert problem_of_event({**event_dict("play"), **change}) == problem


@pytest.mark.parametrize("value", [[], "play", 1, None, True])
def test_an_event_that_is_no_object_is_a_problem(value):
    assert str(problem_of_event(value)).startswith("an event must be an object, not ")
    assert str(problem_of_start(value)).startswith("an event must be an object, not ")


def test_missing_members_are_named():
    assert problem_of_event({}) == "eventType is missing"
    assert problem_of_event({"eventType": "play"}) == "playerTime is missing"


@pytest.mark.parametrize("ts", [1.7e12, 5.0, -(2**63), 2**63 - 1])
def test_integral_numbers_of_64_bits_are_times(ts):
    assert problem_of_event(event_dict("play", ts=ts)) is None


@pytest.mark.parametrize("ts", [2**63, -(2**63) - 1, 1e19, 10**3999])
def test_numbers_beyond_64_bits_are_no_times(ts):
    assert str(problem_of_event(event_dict("play", ts=ts))).startswith("playerTime.ts must be an integer of 64 bits")


def test_only_a_session_start_opens_a_session():
    assert problem_of_start(event_dict("sessionStart")) is None
    assert problem_of_start(event_dict("play")) == "eventType 'play' does not open a session; only sessionStart does"


def test_a_live_start_must_not_say_that_it_is_downloaded():
    assert "downloaded playback is sent as an array" in str(
        problem_of_start(event_dict("sessionStart", params=DOWNLOADED))
    )


@pytest.mark.parametrize("flag", [False, "true", 1, None])
def test_a_live_start_with_another_flag_is_a_start(flag):
    params = {**START_PARAMS, "media.downloaded": flag}

    assert problem_of_start(event_dict("sessionStart", params=params)) is None


def test_a_batch_begins_with_a_session_start():
    batch = [event_dict("sessionStart"), event_dict("play"), event_dict("sessionEnd")]

    assert problem_of_batch(batch, flag_required=False) is None
    assert problem_of_batch(batch[1:], flag_required=False) == "element 0: must be a sessionStart, not 'play'"


def test_a_batch_on_the_deprecated_path_says_that_it_is_downloaded():
    with_flag, without = event_dict("sessionStart", params=DOWNLOADED), event_dict("sessionStart")

    assert problem_of_batch([with_flag, event_dict("play")], flag_required=True) is None
    assert "media.downloaded true" in str(problem_of_batch([without], flag_required=True))


def test_one_bad_element_spoils_the_batch():
    batch = [event_dict("sessionStart"), event_dict("play"), event_dict("pause")]

    assert problem_of_batch(batch, flag_required=False) == "element 2: eventType 'pause' is unknown"
    assert problem_of_batch([event_dict("sessionStart"), 1], flag_required=False) == (
        "element 1: an event must be an object, not the number 1"
    )


@pytest.mark.parametrize("value", [{}, "x", None])
def test_a_batch_is_an_array(value):
    assert str(problem_of_batch(value, flag_required=False)).startswith("the body must be an array of events, not ")


def test_nothing_that_the_javascript_sdk_sends_is_a_problem():
    import json

    for sent in load():
        if sent.method == "POST":
            check = problem_of_start if sent.opens else problem_of_event
            assert check(json.loads(sent.body)) is None
