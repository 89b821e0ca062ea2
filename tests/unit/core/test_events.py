from __future__ import annotations

import pytest

from proxy_addon.core.events import Body, Event, read_body, read_event
from proxy_addon.core.protocol import EVENT_TYPES, PARAMS_REQUIRED


def test_an_event_is_read():
    body = b'{"playerTime":{"playhead":12.5,"ts":1731672012500},"eventType":"play","params":{"a":"b"}}'
    event = Event(type="play", playhead_s=12.5, ts_ms=1731672012500, params={"a": "b"})
    assert read_body(body) == Body(is_batch=False, events=(event,))


def test_a_batch_is_read_in_order_and_an_element_that_is_no_object_is_an_empty_event():
    assert read_body(b'[{"eventType":"sessionStart"},7,{"eventType":"sessionEnd"}]') == Body(
        is_batch=True, events=(Event(type="sessionStart"), Event(), Event(type="sessionEnd"))
    )


def test_an_empty_array_is_a_batch_without_events():
    assert read_body(b"[]") == Body(is_batch=True)


@pytest.mark.parametrize(
    "body", [b"", b"no", b'"play"', b"7", b"null", b"true", b"NaN", b"\x1f\x8b\x08", b"[" * 200_000]
)
def test_what_is_no_object_or_array_has_no_events(body):
    assert read_body(body) == Body()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"eventType": 1, "playerTime": [], "params": "x"},
        {"eventType": None, "playerTime": {"playhead": "1", "ts": "1"}, "params": None},
        {"eventType": ["play"], "playerTime": {"playhead": True, "ts": True}, "params": []},
        {"playerTime": {"playhead": None, "ts": 1.5}},
        {"EventType": "play", "playertime": {"ts": 1}},
    ],
)
def test_what_is_of_the_wrong_type_is_left_out(value):
    assert read_event(value) == Event()


@pytest.mark.parametrize(
    ("number", "ts_ms"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"5.0", 5),
        (b"1.7e12", 1_700_000_000_000),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"-9223372036854775809", None),
        (b"1e300", None),
        (b"1e400", None),
        (b"9" * 4_000, None),
        (b"9" * 5_000, None),
        (b"0.5", None),
    ],
)
def test_a_time_is_an_integer_of_64_bits(number, ts_ms):
    (event,) = read_body(b'{"playerTime":{"ts":%s}}' % number).events
    assert event.ts_ms == ts_ms


@pytest.mark.parametrize(
    ("number", "playhead_s"),
    [
        (b"60.39333333333333", 60.39333333333333),
        (b"-1", -1),
        (b"1e400", None),
        (b"9" * 400, None),
        (b"9" * 5_000, None),
    ],
)
def test_a_playhead_is_a_number_that_a_float_can_hold(number, playhead_s):
    (event,) = read_body(b'{"playerTime":{"playhead":%s}}' % number).events
    assert event.playhead_s == playhead_s


def test_a_whole_playhead_stays_as_the_device_wrote_it():
    whole, fraction = (read_body(b'{"playerTime":{"playhead":%s}}' % n).events[0].playhead_s for n in (b"5", b"5.0"))
    assert (type(whole), type(fraction)) == (int, float)


def test_a_param_of_another_type_is_no_text():
    event = Event(params={"a": "b", "n": 1, "nothing": None})
    assert (event.text("a"), event.text("n"), event.text("nothing"), event.text("missing")) == ("b", None, None, None)


def test_types_that_need_params_are_types():
    assert len(EVENT_TYPES) == len(set(EVENT_TYPES)) == 20
    assert set(EVENT_TYPES) > PARAMS_REQUIRED
