from __future__ import annotations

import pytest

from proxy_addon.core import protocol
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.rules import frame
from tests.builders import BEGIN_MS, START_PARAMS
from tests.unit.core.rules.tables import (
    DOWNLOADED,
    EVENTS,
    SESSIONS,
    Case,
    as_written,
    check_fires,
    check_lowered,
    check_silent,
    encoded,
    fires,
    named,
    rules_of,
    sent,
    silent,
    timed,
    valid,
)

TYPE, TIME, PLAYHEAD, TS = "/eventType", "/playerTime", "/playerTime/playhead", "/playerTime/ts"
LONG = "9" * 5_000
LOWERED = frozenset(
    {
        "event-type-missing",
        "event-type-unknown",
        "player-time-missing",
        "player-time-type",
        "player-time-unknown-member",
        "playhead-missing",
        "playhead-type",
        "ts-missing",
        "ts-type",
    }
)
"""Those whose evidence is a schema or a type."""

FIRES = [
    fires("event-type-missing", sent(drop="eventType"), "", "eventType is missing"),
    fires("event-type-missing", b"{}", "", "eventType is missing", beside="player-time-missing"),
    fires(
        "event-type-missing", encoded([valid("sessionStart"), valid(drop="eventType")]), "/1", "missing", to=DOWNLOADED
    ),
    fires(
        "event-type-missing",
        sent(drop="eventType", EventType="play"),
        "",
        "eventType is missing",
        beside="body-unknown-member",
    ),
    fires("event-type-unknown", sent(eventType="Play"), TYPE, "'Play' is unknown; did you mean play?"),
    fires("event-type-unknown", sent(eventType="play "), TYPE, "'play ' is unknown; did you mean play?"),
    fires("event-type-unknown", sent(eventType="pingg"), TYPE, "did you mean ping?"),
    fires("event-type-unknown", sent(eventType="watch"), TYPE, "eventType 'watch' is unknown"),
    fires("event-type-unknown", sent(eventType=""), TYPE, "eventType '' is unknown"),
    fires("event-type-unknown", sent(eventType="pla\0y"), TYPE, r"'pla\x00y' is unknown; did you mean play?"),
    fires("event-type-unknown", sent(eventType="\ud83c"), TYPE, r"'\ud83c' is unknown"),
    fires("event-type-unknown", sent(eventType="x" * 500), TYPE, "x…' is unknown"),
    fires("event-type-unknown", sent(eventType=None), TYPE, "eventType is null; expected a string"),
    fires("event-type-unknown", sent(eventType=7), TYPE, "eventType is the number 7; expected a string"),
    fires("event-type-unknown", sent(eventType=["play"]), TYPE, "eventType is an array; expected a string"),
    fires("event-type-unknown", sent(eventType={}), TYPE, "eventType is an object; expected a string"),
    fires("event-type-unknown", sent(eventType=True), TYPE, "eventType is true; expected a string"),
    fires("event-type-unknown", sent(eventType="resume"), TYPE, "did you mean play?", to=SESSIONS),
    fires("event-on-sessions", sent("play"), TYPE, "play was posted to /api/v1/sessions", to=SESSIONS),
    fires("event-on-sessions", sent("sessionEnd"), TYPE, "sessionEnd was posted", to=SESSIONS),
    fires("session-start-on-events", sent("sessionStart"), TYPE, "sessionStart was posted to events"),
    fires("player-time-missing", sent(drop="playerTime"), "", "playerTime is missing"),
    fires(
        "player-time-missing",
        sent(drop="playerTime", playertime={}),
        "",
        "playerTime is missing",
        beside="body-unknown-member",
    ),
    fires("player-time-type", sent(playerTime=None), TIME, "playerTime is null; expected an object"),
    fires("player-time-type", sent(playerTime=12.5), TIME, "playerTime is the number 12.5"),
    fires("player-time-type", sent(playerTime=[0, BEGIN_MS]), TIME, "playerTime is an array"),
    fires("player-time-type", sent(playerTime="\ud83c"), TIME, r"playerTime is the string '\ud83c'"),
    fires("player-time-type", sent(playerTime=False), TIME, "playerTime is false"),
    fires("player-time-unknown-member", timed(timezone="CET"), f"{TIME}/timezone", "'timezone' is not allowed"),
    fires(
        "player-time-unknown-member",
        timed(playHead=1),
        f"{TIME}/playHead",
        "'playHead' is not allowed; did you mean playhead?",
    ),
    fires("player-time-unknown-member", timed(**{"a/b~c": 1}), f"{TIME}/a~1b~0c", "'a/b~c'"),
    fires("player-time-unknown-member", timed(**{"\ud83c\0": 1}), f"{TIME}/\ud83c\0", r"'\ud83c\x00'"),
    fires("player-time-unknown-member", timed(**{"": 1}), f"{TIME}/", "''"),
    fires("playhead-missing", sent(playerTime={"ts": BEGIN_MS}), TIME, "playerTime.playhead is missing"),
    fires(
        "playhead-missing",
        sent(playerTime={"ts": BEGIN_MS, "Playhead": 1}),
        TIME,
        "playerTime.playhead is missing",
        beside="player-time-unknown-member",
    ),
    fires("playhead-missing", sent(playerTime={}), TIME, "playerTime.playhead is missing", beside="ts-missing"),
    fires("playhead-type", timed(playhead="12.5"), PLAYHEAD, "playhead is the string '12.5'; expected a number"),
    fires("playhead-type", timed(playhead=None), PLAYHEAD, "playhead is null; expected a number"),
    fires("playhead-type", timed(playhead=True), PLAYHEAD, "playhead is true; expected a number"),
    fires("playhead-type", timed(playhead=[]), PLAYHEAD, "playhead is an array; expected a number"),
    fires("playhead-type", timed(playhead={}), PLAYHEAD, "playhead is an object; expected a number"),
    fires("playhead-negative", timed(playhead=-1), PLAYHEAD, "playhead is -1; expected 0 or more"),
    fires("playhead-negative", timed(playhead=as_written("-0.001")), PLAYHEAD, "playhead is -0.001"),
    fires("playhead-negative", timed(playhead=as_written("-1e999")), PLAYHEAD, "playhead is -1e999"),
    fires("playhead-negative", timed(playhead=as_written(f"-{LONG}")), PLAYHEAD, "playhead is -999"),
    fires("playhead-negative", timed(playhead=as_written(f"-{LONG[:1000]}")), PLAYHEAD, "playhead is (very long)"),
    fires("ts-missing", sent(playerTime={"playhead": 12.5}), TIME, "playerTime.ts is missing"),
    fires("ts-type", timed(ts=str(BEGIN_MS)), TS, f"ts is the string '{BEGIN_MS}'; expected an integer"),
    fires("ts-type", timed(ts=None), TS, "ts is null; expected an integer"),
    fires("ts-type", timed(ts=False), TS, "ts is false; expected an integer"),
    fires("ts-type", timed(ts=[BEGIN_MS]), TS, "ts is an array; expected an integer"),
    fires("ts-type", timed(ts={}), TS, "ts is an object; expected an integer"),
    fires("ts-type", timed(ts=BEGIN_MS + 0.5), TS, f"ts is the number {BEGIN_MS}.5; expected an integer"),
    fires("ts-type", timed(ts=as_written("1.5e-400")), TS, "ts is the number 1.5e-400; expected an integer"),
    fires("ts-type", timed(ts=2**63), TS, "9223372036854775808; expected 64 bits at most"),
    fires("ts-type", timed(ts=-(2**63) - 1), TS, "-9223372036854775809; expected 64 bits at most"),
    fires("ts-type", timed(ts=as_written("9223372036854775808.0")), TS, "expected 64 bits at most"),
    fires("ts-type", timed(ts=as_written("1e999999999999999999")), TS, "1e999999999999999999; expected 64 bits"),
    fires("ts-type", timed(ts=as_written(LONG)), TS, "9…; expected 64 bits at most"),
    fires("ts-not-milliseconds", timed(ts=10**9), TS, "ts 1000000000 looks like seconds"),
    fires("ts-not-milliseconds", timed(ts=1_772_366_400), TS, "expected milliseconds: 1772366400000"),
    fires("ts-not-milliseconds", timed(ts=10**10 - 1), TS, "looks like seconds"),
    fires("ts-not-milliseconds", timed(ts=10**15), TS, "looks like microseconds"),
    fires("ts-not-milliseconds", timed(ts=BEGIN_MS * 1_000), TS, "looks like microseconds"),
    fires("ts-not-milliseconds", timed(ts=BEGIN_MS * 1_000_000), TS, "looks like nanoseconds"),
    fires("ts-not-milliseconds", timed(ts=2**63 - 1), TS, "looks like nanoseconds"),
    fires("ts-not-milliseconds", timed(ts=as_written("1.7e9")), TS, "ts 1700000000 looks like seconds"),
    fires("ts-implausible", timed(ts=0), TS, "ts 0 lies outside the years 2000 to 2099"),
    fires("ts-implausible", timed(ts=100), TS, "ts 100 lies outside"),
    fires("ts-implausible", timed(ts=-BEGIN_MS), TS, f"ts -{BEGIN_MS} lies outside"),
    fires("ts-implausible", timed(ts=-1_772_366_400), TS, "ts -1772366400 lies outside"),
    fires("ts-implausible", timed(ts=-(2**63)), TS, "ts -9223372036854775808 lies outside"),
    fires("ts-implausible", timed(ts=10**9 - 1), TS, "ts 999999999 lies outside"),
    fires("ts-implausible", timed(ts=10**10), TS, "ts 10000000000 lies outside"),
    fires("ts-implausible", timed(ts=946_684_799_999), TS, "ts 946684799999 lies outside"),
    fires("ts-implausible", timed(ts=4_102_444_800_000), TS, "ts 4102444800000 lies outside"),
    fires("ts-implausible", timed(ts=10**15 - 1), TS, "ts 999999999999999 lies outside"),
    fires("integer-as-float", timed(ts=as_written("1.7e12")), TS, "ts is written 1.7e12; expected digits only"),
    fires("integer-as-float", timed(ts=as_written("1772366400000.0")), TS, "ts is written 1772366400000.0"),
    fires("integer-as-float", timed(ts=as_written("17723664E5")), TS, "ts is written 17723664E5"),
    fires(
        "integer-as-float",
        sent("adBreakStart", {"media.ad.podIndex": as_written("5.0")}),
        "/params/media.ad.podIndex",
        "media.ad.podIndex is written 5.0",
    ),
    fires(
        "integer-as-float",
        sent("sessionStart", {"visitor.aamLocationHint": as_written("1e999")}),
        "/params/visitor.aamLocationHint",
        "visitor.aamLocationHint is written 1e999",
        to=SESSIONS,
    ),
    fires(
        "integer-as-float",
        sent(qoeData={"media.qoe.bitrate": as_written("4.5e3")}),
        "/qoeData/media.qoe.bitrate",
        "media.qoe.bitrate is written 4.5e3",
    ),
]

NEAR = [
    silent("event-type-missing", sent(eventType=None), beside="event-type-unknown"),
    silent("event-type-missing", b"null", beside="body-not-object"),
    *(
        silent("event-type-unknown", sent(name), to=SESSIONS if name == "sessionStart" else EVENTS)
        for name in protocol.EVENT_TYPES
    ),
    silent("event-type-unknown", sent(drop="eventType"), beside="event-type-missing"),
    silent("event-on-sessions", sent("sessionStart"), to=SESSIONS),
    silent("event-on-sessions", sent("sessionstart"), to=SESSIONS, beside="event-type-unknown"),
    silent(
        "event-on-sessions",
        encoded([valid("sessionStart", {"media.downloaded": True}), valid("play")]),
        to=SESSIONS,
        beside="downloads-via-sessions",
    ),
    silent("session-start-on-events", sent("sessionStart"), to=SESSIONS),
    silent("session-start-on-events", sent("sessionComplete")),
    silent("session-start-on-events", encoded([valid("sessionStart")]), to=DOWNLOADED),
    silent("session-start-on-events", encoded([valid("sessionStart")]), beside="body-not-object"),
    silent("player-time-missing", sent(playerTime=None), beside="player-time-type"),
    silent("player-time-missing", sent(playerTime={}), beside="playhead-missing ts-missing"),
    silent("player-time-type", sent(playerTime={}), beside="playhead-missing ts-missing"),
    silent("player-time-type", sent(drop="playerTime"), beside="player-time-missing"),
    silent("player-time-unknown-member", timed()),
    silent("player-time-unknown-member", encoded(valid(playerTime={"ts": BEGIN_MS, "playhead": 0}))),
    silent("playhead-missing", timed(playhead=None), beside="playhead-type"),
    silent("playhead-missing", timed(playhead=0)),
    silent("playhead-missing", sent(playerTime=[]), beside="player-time-type"),
    silent("playhead-type", timed(playhead=as_written("60.39333333333333"))),
    silent("playhead-type", timed(playhead=as_written("1e999"))),
    silent("playhead-type", timed(playhead=as_written(LONG))),
    silent("playhead-type", timed(playhead=2**63)),
    silent("playhead-negative", timed(playhead=0)),
    silent("playhead-negative", timed(playhead=as_written("-0"))),
    silent("playhead-negative", timed(playhead=as_written("-0.0"))),
    silent("playhead-negative", timed(playhead="-1"), beside="playhead-type"),
    silent("playhead-negative", timed(playhead=False), beside="playhead-type"),
    silent("ts-missing", timed(ts=None), beside="ts-type"),
    silent("ts-missing", sent(playerTime="ts"), beside="player-time-type"),
    silent("ts-type", timed(ts=as_written("1.7e12")), beside="integer-as-float"),
    silent("ts-type", timed(ts=2**63 - 1), beside="ts-not-milliseconds"),
    silent("ts-type", timed(ts=-(2**63)), beside="ts-implausible"),
    silent(
        "ts-type",
        timed(ts=as_written("9223372036854775807.0")),
        beside="ts-not-milliseconds integer-as-float",
    ),
    silent("ts-type", timed(ts=as_written("0e99999")), beside="ts-implausible integer-as-float"),
    silent("ts-type", sent(playerTime={"playhead": 0}), beside="ts-missing"),
    silent("ts-not-milliseconds", timed(ts=BEGIN_MS)),
    silent("ts-not-milliseconds", timed(ts=10**9 - 1), beside="ts-implausible"),
    silent("ts-not-milliseconds", timed(ts=10**10), beside="ts-implausible"),
    silent("ts-not-milliseconds", timed(ts=10**15 - 1), beside="ts-implausible"),
    silent("ts-not-milliseconds", timed(ts="1772366400"), beside="ts-type"),
    silent("ts-not-milliseconds", timed(ts=2**63), beside="ts-type"),
    silent("ts-implausible", timed(ts=946_684_800_000)),
    silent("ts-implausible", timed(ts=4_102_444_799_999)),
    silent("ts-implausible", timed(ts=10**9), beside="ts-not-milliseconds"),
    silent("ts-implausible", timed(ts=10**15), beside="ts-not-milliseconds"),
    silent("ts-implausible", timed(ts="0"), beside="ts-type"),
    silent("integer-as-float", timed(playhead=as_written("5.0"))),
    silent("integer-as-float", timed(playhead=as_written("1.7e3"))),
    silent("integer-as-float", timed(ts=as_written("1772366400000.5")), beside="ts-type"),
    silent("integer-as-float", timed(ts=as_written("1e30")), beside="ts-type"),
    silent("integer-as-float", timed(ts=as_written(LONG)), beside="ts-type"),
    silent("integer-as-float", sent("sessionStart", {"media.length": as_written("3600.0")}), to=SESSIONS),
    silent("integer-as-float", sent("sessionStart", {"visitor.aamLocationHint": as_written(LONG)}), to=SESSIONS),
    silent("integer-as-float", sent("adBreakStart", {"media.ad.podIndex": as_written("1.5")}), beside="param-type"),
]


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_what_breaks_a_rule_is_found(case: Case):
    check_fires(case)


@pytest.mark.parametrize("case", NEAR, ids=str)
def test_what_nearly_breaks_a_rule_is_not(case: Case):
    check_silent(case)


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_where_upstream_took_the_request_what_rests_on_a_schema_is_info(case: Case):
    check_lowered(case, LOWERED)


def test_every_rule_has_a_body_that_breaks_it_and_one_that_nearly_does():
    assert named(FIRES) == named(NEAR) == rules_of(frame)


@pytest.mark.parametrize(("wrong", "right"), protocol.WRONG_EVENT_NAMES.items())
@pytest.mark.parametrize("prefix", ["", "media."])
def test_wrong_names_of_events_are_told_with_the_right_one(prefix: str, wrong: str, right: str):
    (finding,) = judge_body(sent(eventType=prefix + wrong), EVENTS)
    assert finding.rule == "event-type-unknown"
    assert finding.message == f"eventType '{prefix}{wrong}' is unknown; did you mean {right}?"


@pytest.mark.parametrize("name", protocol.EVENT_TYPES)
def test_names_of_the_media_edge_api_are_told_with_the_one_of_this_api(name: str):
    (finding,) = judge_body(sent(eventType=f"media.{name}"), EVENTS)
    assert (finding.rule, finding.pointer) == ("event-type-unknown", "/eventType")
    assert finding.message == f"eventType 'media.{name}' is unknown; did you mean {name}?"


@pytest.mark.parametrize("name", protocol.EVENT_TYPES)
def test_case_counts_in_names_of_events(name: str):
    (finding,) = judge_body(sent(eventType=name.upper()), EVENTS)
    assert finding.message == f"eventType '{name.upper()}' is unknown; did you mean {name}?"


def test_an_event_of_a_batch_is_pointed_at_by_its_place():
    events = [valid("sessionStart"), valid("play"), valid("ping", playerTime={"playhead": "x", "ts": 1_772_366_400})]
    findings = judge_body(encoded(events), DOWNLOADED)
    assert [(finding.rule, finding.pointer) for finding in findings] == [
        ("playhead-type", "/2/playerTime/playhead"),
        ("ts-not-milliseconds", "/2/playerTime/ts"),
    ]


def test_the_sample_of_2017_is_valid():
    params = {name: value for name, value in START_PARAMS.items() if name != "media.streamType"}
    body = encoded(
        {
            "playerTime": {"playhead": 0, "ts": 1_509_045_324_153},
            "eventType": "sessionStart",
            "params": {**params, "media.contentType": "VOD", "media.length": 60.39333333333333},
            "customMetadata": {"myCustomData": "a", "myCustomData2": ""},
        }
    )
    assert [finding.rule for finding in judge_body(body, SESSIONS)] == ["stream-type-missing"]
