from __future__ import annotations

import pytest

from proxy_addon.core.findings import Place, Severity
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.rules import life
from proxy_addon.core.rules.limits import Limits
from tests.unit.core.rules.whole import LIVE, Fires, NearMiss, Row, assert_fires, id_of, judged, rules, rules_of

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
START: Row = ("sessionStart", 0, 0)
PLAY: Row = ("play", 0.1, 0)
PING: Row = ("ping", 10, 9.9)
COMPLETE: Row = ("sessionComplete", 18, 18)
END: Row = ("sessionEnd", 20, 18)

MUTE = {"media.state.name": "mute"}
BREAK: list[Row] = [
    START,
    ("adBreakStart", 0.1, 0),
    ("adStart", 0.2, 0),
    ("adComplete", 14, 0),
    ("adBreakComplete", 15, 0),
]

FIRES = [
    Fires("session-start-first", ERROR, [PLAY, PING, END], 1, "the session begins with play; expected sessionStart"),
    Fires(
        "session-start-first",
        ERROR,
        [("play", 0.1, 0, {}, 0), ("sessionStart", 0, 0, {}, 0.1), PING, END],
        1,
        "the session begins with play",
        also=frozenset({"ts-out-of-order"}),
    ),
    Fires(
        "events-before-start",
        INFO,
        [("sessionStart", 0, 0, {}, 0), ("play", -0.001, 0, {}, 0.1), PING, END],
        2,
        "play is 0.001 s older than sessionStart",
    ),
    Fires(
        "events-before-start",
        INFO,
        [("sessionStart", 0, 0, {}, 0), ("play", -5, 0, {}, 0.1), PING, END],
        2,
        "play is 5 s older than sessionStart",
    ),
    Fires(
        "events-long-before-start",
        WARNING,
        [("sessionStart", 0, 0, {}, 0), ("play", -5.001, 0, {}, 0.1), PING, END],
        2,
        "play is 5.001 s older than sessionStart",
    ),
    Fires(
        "content-never-played",
        ERROR,
        [START, ("ping", 10, 10), ("ping", 20, 20), ("sessionEnd", 21, 21)],
        2,
        "the playhead advanced by 10 s in 10 s, but no play followed sessionStart",
    ),
    Fires(
        "content-never-played",
        ERROR,
        [START, ("bufferStart", 1, 0), ("ping", 11, 5), ("ping", 13, 7), ("ping", 21, 10), ("sessionEnd", 22, 10)],
        5,
        "the playhead advanced by 10 s in 20 s, but no play followed bufferStart",
    ),
    Fires(
        "content-never-played",
        ERROR,
        [("sessionStart", 0, 40000, LIVE), *[("ping", t, 40000 + t) for t in (10, 20)], ("sessionEnd", 21, 40021)],
        2,
        "the playhead advanced by 10 s in 10 s",
    ),
    Fires(
        "content-never-played",
        ERROR,
        [
            START,
            ("ping", 10, 0),
            ("ping", 14, 300),
            ("ping", 20, 306),
            ("pauseStart", 24, 310),
            ("sessionEnd", 25, 310),
        ],
        5,
        "the playhead advanced by 10 s in 10 s",
    ),
    Fires(
        "play-missing",
        WARNING,
        [*BREAK, ("ping", 20, 5), ("ping", 25, 10), ("ping", 30, 15), ("sessionEnd", 31, 16)],
        7,
        "the playhead advanced by 10 s in 10 s, but no play followed adBreakComplete",
    ),
    Fires(
        "play-missing",
        WARNING,
        [START, PLAY, PING, ("pauseStart", 12, 12), *[("ping", t, t) for t in (20, 30, 40)], ("sessionEnd", 41, 41)],
        6,
        "the playhead advanced by 18 s in 18 s, but no play followed pauseStart",
        also=frozenset({"playhead-moved-in-pause"}),
    ),
    Fires(
        "play-missing",
        WARNING,
        [START, PLAY, PING, ("bufferStart", 12, 12), *[("ping", t, t) for t in (20, 30, 40)], ("sessionEnd", 41, 41)],
        6,
        "the playhead advanced by 18 s in 18 s, but no play followed bufferStart",
    ),
    Fires(
        "play-missing",
        WARNING,
        [
            ("sessionStart", 0, 40000, LIVE),
            *[(type, t, 40000 + t) for t, type in [(1, "adBreakStart"), (2, "adStart"), (8, "adComplete")]],
            ("adBreakComplete", 9, 40009),
            *[("ping", t, 40000 + t) for t in (15, 20)],
            ("sessionEnd", 21, 40021),
        ],
        7,
        "the playhead advanced by 11 s in 11 s, but no play followed adBreakComplete",
    ),
    Fires(
        "session-opened-twice",
        WARNING,
        [START, ("sessionEnd", 5, 0)],
        None,
        "the same device also opened session s0 for this content; this one got no event",
        facts={"opened_beside": "s0"},
    ),
    Fires("session-start-first", ERROR, [(None, 0, 0), PLAY, PING, END], 1, "begins with an event without a type"),
    Fires(
        "session-start-duplicate",
        ERROR,
        [START, PLAY, ("sessionStart", 10, 0), ("play", 10.1, 0), END],
        3,
        "a second sessionStart in one session",
    ),
    Fires(
        "session-start-duplicate",
        ERROR,
        [START, ("sessionStart", 0, 0, {"media.id": "other"}, 0.5), ("play", 0.6, 0), PING, END],
        2,
        "a second sessionStart in one session",
        also=frozenset({"ts-equal"}),
    ),
    Fires(
        "session-start-duplicate",
        ERROR,
        [START, PLAY, PING, END, START],
        2,
        "a second sessionStart in one session",
        facts={"is_batch": True},
        also=frozenset({"ts-equal"}),
    ),
    Fires(
        "session-start-retried",
        INFO,
        [START, PLAY, PING, END],
        1,
        "this sessionStart was already posted in session s0, which may still be open upstream",
        facts={"retry_of": "s0"},
    ),
    Fires(
        "session-start-retried",
        INFO,
        [START, ("sessionStart", 0, 0, {}, 0.5), ("play", 0.6, 0), PING, END],
        2,
        "the same sessionStart was posted again",
        also=frozenset({"ts-equal"}),
    ),
    Fires(
        "event-after-session-end", WARNING, [START, PLAY, PING, END, ("ping", 20.001, 18)], 5, "ping after sessionEnd"
    ),
    Fires(
        "event-after-session-end",
        WARNING,
        [START, PLAY, PING, END, ("sessionComplete", 21, 18)],
        5,
        "sessionComplete after sessionEnd; it is dropped",
    ),
    Fires(
        "session-end-duplicate",
        INFO,
        [START, PLAY, PING, END, ("sessionEnd", 21, 18)],
        5,
        "a second sessionEnd; the session was already closed",
    ),
    *(
        Fires(
            "event-after-session-complete",
            WARNING,
            [START, PLAY, PING, COMPLETE, (type, 19, 18), *closed, END],
            5,
            f"{type} after sessionComplete; the main content was over",
        )
        for type, closed in [
            ("play", []),
            ("pauseStart", []),
            ("bufferStart", []),
            ("chapterStart", [("chapterComplete", 19.5, 18)]),
        ]
    ),
    Fires("session-not-closed", INFO, [START, PLAY, PING], None, "neither sessionComplete nor sessionEnd was seen"),
    Fires(
        "session-not-closed", INFO, [START], None, "neither sessionComplete nor sessionEnd", facts={"is_batch": True}
    ),
]

POST_ROLL: list[Row] = [
    ("adBreakStart", 19, 18),
    ("adStart", 19.1, 18),
    ("play", 19.2, 18),
    ("pauseStart", 20, 18),
    ("adComplete", 24, 18),
    ("adBreakComplete", 24.1, 18),
]
NEAR_MISSES = [
    NearMiss("session-start-first", "the next event comes 1 ms later", [START, ("play", 0.001, 0), PING, END]),
    NearMiss("session-start-first", "the recording began later", [PLAY, PING, END], {"start_missing": True}),
    NearMiss("events-before-start", "it is a millisecond younger", [START, ("play", 0.001, 0), PING, END]),
    NearMiss("events-long-before-start", "nobody knows when it began", [PLAY, PING, END], {"start_missing": True}),
    NearMiss(
        "content-never-played", "it moves by less than 10 s", [START, ("ping", 10, 9.99), ("sessionEnd", 11, 9.99)]
    ),
    NearMiss(
        "content-never-played",
        "the play comes with the tenth second",
        [START, ("play", 10, 10), ("sessionEnd", 18, 18)],
    ),
    NearMiss("content-never-played", "it stands", [START, ("ping", 10, 0), ("ping", 20, 0), ("sessionEnd", 21, 0)]),
    NearMiss(
        "content-never-played",
        "it jumps",
        [START, ("ping", 10, 100), ("ping", 20, 200), ("ping", 30, 300), ("sessionEnd", 31, 300)],
    ),
    NearMiss(
        "content-never-played",
        "nobody knows what was before",
        [("ping", 0, 0), ("ping", 10, 10), ("ping", 19, 19), ("sessionEnd", 20, 20)],
        {"start_missing": True},
    ),
    NearMiss(
        "play-missing", "one event is not enough", [*BREAK, ("ping", 25, 10), ("play", 26, 11), ("sessionEnd", 27, 12)]
    ),
    NearMiss(
        "play-missing",
        "a play says so",
        [*BREAK, ("play", 15.1, 0), *[("ping", t, t - 15) for t in (25, 35)], ("sessionEnd", 36, 21)],
    ),
    NearMiss(
        "play-missing",
        "it moves by less than 10 s",
        [*BREAK, ("ping", 20, 5), ("ping", 24, 9), ("play", 25, 10), ("sessionEnd", 26, 11)],
    ),
    *(
        NearMiss(
            "play-missing",
            f"the clock of live content runs on after {stop}",
            [
                ("sessionStart", 0, 40000, LIVE),
                ("play", 0.1, 40000),
                (stop, 10, 40010),
                *[("ping", t, 40000 + t) for t in (20, 30, 40)],
                ("play", 41, 40041),
                ("sessionEnd", 42, 40042),
            ],
        )
        for stop in ("pauseStart", "bufferStart")
    ),
    NearMiss("session-opened-twice", "it is the only one", [START, PLAY, PING, END], {"opened_beside": None}),
    NearMiss(
        "session-start-duplicate",
        "resumed content has a session of its own",
        [
            ("sessionStart", 0, 600, {"media.resume": True}),
            ("play", 0.1, 600),
            ("ping", 10, 610),
            ("sessionEnd", 12, 612),
        ],
    ),
    NearMiss("session-start-retried", "no attempt came before", [START, PLAY, PING, END], {"retry_of": None}),
    NearMiss(
        "event-after-session-end", "the last event comes 1 ms earlier", [START, PLAY, ("ping", 9.999, 9), PING, END]
    ),
    NearMiss("session-end-duplicate", "sessionComplete came before", [START, PLAY, PING, COMPLETE, END]),
    NearMiss(
        "event-after-session-complete",
        "trailing events are documented",
        [
            START,
            PLAY,
            PING,
            COMPLETE,
            ("ping", 18.1, 18),
            ("stateStart", 18.2, 18, {"media.state.name": "mute"}),
            ("error", 18.3, 18),
            END,
        ],
    ),
    NearMiss(
        "event-after-session-complete",
        "it belongs to the post-roll",
        [START, PLAY, PING, COMPLETE, *POST_ROLL, ("sessionEnd", 25, 18)],
    ),
    NearMiss(
        "event-after-session-complete", "play comes 1 ms earlier", [START, PLAY, PING, ("play", 17.999, 18), COMPLETE]
    ),
    NearMiss("session-not-closed", "sessionComplete closes it", [START, PLAY, PING, COMPLETE]),
    NearMiss("session-not-closed", "sessionEnd closes it", [START, PLAY, PING, END]),
]


@pytest.mark.parametrize("row", FIRES, ids=id_of)
def test_a_session_breaks_one_rule_of_its_life(row):
    assert_fires(row)


@pytest.mark.parametrize("row", NEAR_MISSES, ids=id_of)
def test_nothing_is_said_of_a_session_that_comes_close(row):
    assert judged(row.events, **row.facts) == []


def test_each_rule_over_the_life_of_a_session_has_one_that_breaks_it_and_a_near_miss():
    assert {row.rule for row in FIRES} == rules_of(life)
    assert {row.rule for row in NEAR_MISSES} == rules_of(life)


def test_of_a_session_that_goes_on_it_is_not_said_that_it_was_not_closed():
    assert judged([START, PLAY, PING], is_over=False) == []


@pytest.mark.parametrize(("arrived_s", "rule"), [(60, "session-start-retried"), (60.001, "session-start-duplicate")])
def test_the_same_start_is_a_repetition_for_a_minute(arrived_s, rule):
    found = judged([START, ("sessionStart", 0, 0, {}, arrived_s), ("sessionEnd", 60, 0, {}, 61)])
    assert rules(found) == sorted(
        [rule, "ts-equal", "ping-gap"] if arrived_s == 60 else [rule, "ts-equal", "ping-gap-long"]
    )


def test_how_long_the_same_start_is_a_repetition_can_be_set():
    policy = Policy(limits=Limits(retry_window_s=2))
    events: list[Row] = [START, ("sessionStart", 0, 0, {}, 3), ("sessionEnd", 4, 0)]
    assert rules(judged(events, policy=policy)) == ["session-start-duplicate", "ts-equal"]


def test_all_repetitions_of_a_start_are_told_as_one():
    events: list[Row] = [START, ("sessionStart", 0, 0, {}, 0.5), ("sessionStart", 0, 0, {}, 1), ("sessionEnd", 2, 0)]
    [found] = [finding for finding in judged(events) if finding.rule == "session-start-retried"]
    assert (found.count, found.message) == (2, "the same sessionStart was posted again")
    assert found.places == (Place(2), Place(3))


@pytest.mark.parametrize("late_s", [0.5, 2])
def test_an_event_that_arrives_after_session_end_but_happened_before_is_in_order(late_s):
    found = judged([START, PLAY, PING, ("ping", 19.9, 18, {}, 20 + late_s), END])
    assert [(finding.rule, finding.severity) for finding in found] == [("ts-out-of-order", INFO)]


def test_of_events_at_one_time_session_end_is_the_last():
    assert rules(judged([START, PLAY, PING, END, ("ping", 20, 18, {}, 20.1)])) == ["ts-equal"]


def test_what_is_open_after_session_end_is_remembered():
    # Only that it comes too late is to be said of a break that is in order by itself.
    events = [START, PLAY, PING, ("sessionEnd", 18, 18), *POST_ROLL, ("sessionEnd", 25, 18)]
    found = judged(events)
    assert rules(found) == ["event-after-session-end", "session-end-duplicate"]
    assert next(finding.count for finding in found if finding.rule == "event-after-session-end") == len(POST_ROLL)


def test_session_complete_after_session_end_does_not_open_the_session_again():
    found = judged([START, PLAY, PING, END, ("sessionComplete", 21, 18), ("play", 22, 18)])
    assert [(finding.rule, finding.count) for finding in found] == [("event-after-session-end", 2)]
