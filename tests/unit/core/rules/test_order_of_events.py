"""The order in which a session is judged, findings that come and go, and sessions as Adobe's SDKs send them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby, permutations, product

import pytest

from proxy_addon.core.events import read_body
from proxy_addon.core.findings import MOST_PLACES, Finding, Place, Severity
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.rules.session_view import SessionEvent, session_event
from tests import sdk_traffic
from tests.unit.core.rules.whole import Row, built, judged, rules

START: Row = ("sessionStart", 0, 0)
PLAY: Row = ("play", 0.1, 0)


def _at(t_s: float, playhead_s: float, *types: str) -> list[Row]:
    """Return events of one time, as an SDK's call causes them."""
    return [(type, t_s, playhead_s) for type in types]


def _pings(*seconds: int, playhead_s: float | None = None, before_s: float = 0) -> list[Row]:
    """Return pings, with a playhead that runs unless one is given."""
    return [("ping", t_s, t_s - before_s if playhead_s is None else playhead_s) for t_s in seconds]


# Events that one call causes have one time; they are listed in the order in which the SDK makes them.
PRE_ROLL = [
    *_at(0, 0, "sessionStart", "adBreakStart", "adStart", "play"),
    *_pings(10, playhead_s=0),
    *_at(12, 0, "adComplete", "adBreakComplete", "play"),
    ("play", 13, 1),
    *_pings(23, 33, before_s=12),
    *_at(40, 28, "sessionComplete"),
]
LATER_PRE_ROLL = [START, *_at(0.4, 0, "adBreakStart", "adStart", "play"), *PRE_ROLL[4:]]
MID_ROLL = [
    START,
    PLAY,
    ("play", 1.1, 1),
    *_pings(11),
    *_at(20, 20, "adBreakStart", "adStart", "play"),
    *_pings(30, playhead_s=20),
    *_at(35, 20, "adComplete", "adStart", "play"),
    *_pings(45, playhead_s=20),
    *_at(47, 20, "adSkip", "adBreakComplete", "play"),
    ("play", 48, 21),
    *_pings(58, before_s=27),
    *_at(60, 33, "pauseStart"),
    *_pings(70, playhead_s=33),
    *_at(72, 300, "play"),
    *_pings(82, before_s=-228),
    *_at(85, 313, "sessionEnd"),
]
CHAPTERS = [
    START,
    *_at(0.1, 0, "chapterStart", "play"),
    ("play", 1.1, 1),
    *_at(8, 8, "chapterSkip", "chapterStart"),
    *_pings(11),
    *_at(15, 15, "chapterComplete", "chapterStart"),
    *_at(18, 18, "chapterSkip", "sessionComplete"),
]
RESTART = [
    ("sessionStart", 0, 600, {"media.resume": True}),
    *_at(0, 600, "chapterStart", "adBreakStart", "adStart"),
    ("stateStart", 0, 600, {"media.state.name": "mute"}),
    ("stateStart", 0, 600, {"media.state.name": "fullScreen"}),
    *_at(0, 600, "play"),
    *_pings(10, playhead_s=600),
    *_at(15, 600, "adComplete", "adBreakComplete", "play"),
    *_pings(25, before_s=-585),
    *_at(30, 615, "chapterComplete", "sessionComplete"),
]
RESTART_OF_JS = [("sessionStart", 0, 600, {"media.resume": False}), *RESTART[1:]]
END = [
    START,
    *_at(0.1, 0, "chapterStart", "play"),
    ("play", 1.1, 1),
    *_at(8, 8, "adBreakStart", "adStart", "play"),
    *_at(15, 8, "adSkip", "adBreakComplete", "chapterSkip", "sessionEnd"),
]
IDLE_END = [
    START,
    PLAY,
    *_at(8, 8, "chapterStart", "adBreakStart", "adStart", "play"),
    *_at(9, 8, "pauseStart"),
    *_pings(*range(19, 1809, 10), playhead_s=8),
    *_at(1809, 8, "sessionEnd"),
]
SEQUENCES = {
    "pre-roll": PRE_ROLL,
    "pre-roll after the start": LATER_PRE_ROLL,
    "mid-roll, pause and seek": MID_ROLL,
    "chapters": CHAPTERS,
    "restart": RESTART,
    "restart of the JavaScript SDK": RESTART_OF_JS,
    "end": END,
    "end after 30 idle minutes": IDLE_END,
}


def _worse_than_info(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is not Severity.INFO]


def _shuffled(events: Sequence[Row], shuffle: Callable[[list[Row]], None]) -> list[Row]:
    """Return events whose ties arrive in another order; the start comes first, for the others wait for its answer."""
    shuffled: list[Row] = [events[0]]
    for _, tied in groupby(events[1:], key=lambda row: row[1]):
        group = list(tied)
        shuffle(group)
        shuffled += group
    return shuffled


@pytest.mark.parametrize("events", SEQUENCES.values(), ids=SEQUENCES)
def test_what_sdks_send_gives_no_error_and_no_warning(events):
    assert _worse_than_info(judged(events)) == []


@pytest.mark.one_version
@pytest.mark.parametrize("events", SEQUENCES.values(), ids=SEQUENCES)
@pytest.mark.parametrize("seed", range(20))
def test_ties_that_arrive_shuffled_change_nothing(events, seed):
    as_sent = judged(events)
    assert rules(judged(_shuffled(events, random.Random(seed).shuffle))) == rules(as_sent)


def test_a_break_that_arrives_in_any_order_of_its_ties_gives_no_finding_but_that_of_equal_times():
    opens = _at(20, 20, "adBreakStart", "adStart", "play")
    closes = _at(28, 20, "adComplete", "adBreakComplete", "play")
    for first, last in product(permutations(opens), permutations(closes)):
        events = [START, PLAY, *_pings(10), *first, *last, ("sessionEnd", 35, 27)]
        assert rules(judged(events)) == ["ts-equal"]


@pytest.mark.parametrize("scenario", ["vod_simple", "ads"])
def test_recorded_sessions_of_the_javascript_sdk_give_no_error_and_no_warning(scenario):
    judge = SessionJudge(SessionFacts(has_clock=False))
    sent = [request for request in sdk_traffic.load() if request.scenario == scenario and request.method == "POST"]
    for seq, request in enumerate(sent, 1):
        [event] = read_body(request.body).events
        judge.add(session_event(event, seq=seq, arrived_s=request.at_s, body_sha256=None))
    assert _worse_than_info(judge.findings(is_over=True)) == []


def test_the_order_of_arrival_is_kept_where_it_weighs_less():
    # An ad without any length: by the ranks of its events it would end before it began.
    zero = _at(8, 8, "adBreakStart", "adStart", "adComplete", "adBreakComplete")
    assert rules(judged([START, PLAY, *zero, ("sessionEnd", 10, 10)])) == ["ts-equal"]


def test_the_order_that_sdks_mean_is_kept_where_it_weighs_less():
    closes = _at(15, 8, "play", "adBreakComplete", "adComplete")  # as it arrived: an ad that ends outside of its break
    events = [
        START,
        PLAY,
        ("adBreakStart", 8, 8),
        ("adStart", 8.1, 8),
        *closes,
        ("adSkip", 16, 9),
        ("sessionEnd", 17, 9),
    ]
    found = judged(events)
    assert [(finding.rule, finding.seq, finding.count) for finding in found] == [
        ("ad-outside-break", 8, 1),
        ("ts-equal", 6, 2),
    ]


def test_the_order_of_arrival_is_kept_where_both_weigh_the_same():
    events = [START, PLAY, ("sessionEnd", 5, 5), *_at(6, 6, "ping", "play")]  # by rank, play comes first
    [found] = [finding for finding in judged(events) if finding.rule == "event-after-session-end"]
    assert (found.message, found.places) == ("ping after sessionEnd; it is dropped", (Place(4), Place(5)))


def test_infos_weigh_less_than_warnings_and_warnings_less_than_errors():
    assert [severity.weight for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)] == [100, 10, 1]
    # As they arrived, one warning; by rank, an error and more.
    tied = _at(8, 8, "adBreakStart", "adStart", "adComplete", "pauseStart", "adBreakComplete")
    found = judged([START, PLAY, *tied, ("play", 9, 8), ("sessionEnd", 10, 9)])
    assert rules(found) == ["playback-event-in-ad-break", "ts-equal"]


def test_a_late_event_withdraws_a_provisional_finding():
    judge = SessionJudge(SessionFacts())
    opens: Row = ("adStart", 8.1, 8, {"media.ad.podPosition": 1}, 10.5)
    for event in built([START, PLAY, ("adBreakStart", 8, 8), ("adComplete", 10, 8), opens]):
        judge.add(event)
        if event.type == "adComplete":
            assert rules(judge.findings(is_over=False)) == ["ad-close-without-start"]
    assert judge.is_behind
    assert rules(judge.findings(is_over=False)) == ["ts-out-of-order"]
    assert not judge.is_behind


def test_a_late_start_is_still_not_the_first_to_arrive():
    judge = SessionJudge(SessionFacts())
    play, start = built([PLAY, ("sessionStart", 0, 0, {}, 1)])
    judge.add(play)
    assert rules(judge.findings(is_over=False)) == ["session-start-first"]
    judge.add(start)
    assert rules(judge.findings(is_over=False)) == ["session-start-first", "ts-out-of-order"]


QUEUED: list[Row] = [
    ("adBreakStart", -30, 0, {}, 0.1),
    ("adStart", -30, 0, {}, 0.2),
    ("ping", -20, 0, {}, 0.3),
    ("adComplete", -15, 0, {}, 0.4),
    ("adBreakComplete", -15, 0, {}, 0.5),
]


@pytest.mark.parametrize("by_arrival", [True, False])
def test_the_start_leads_though_the_ads_before_it_are_older(by_arrival: bool):
    """As seen of a connector that opens the session after the pre-roll and then sends what it has queued."""
    found = judged([START, *QUEUED, ("play", 1, 0), ("ping", 10, 9), ("sessionEnd", 12, 11)], by_arrival=by_arrival)
    assert rules(found) == ["events-long-before-start"]
    assert (found[0].count, found[0].seq, found[0].message) == (5, 2, "adBreakStart is 30 s older than sessionStart")


def test_places_are_in_the_order_of_arrival_and_the_message_names_the_oldest_event():
    """The walk is in the order of ts, the places are those that arrived first."""
    early: list[Row] = [
        ("ping", -10 - n, 0, {}, n) for n in range(1, MOST_PLACES + 6)
    ]  # each older than the one before
    [found] = [each for each in judged([START, *early, PLAY]) if each.rule == "events-long-before-start"]
    assert (found.count, found.seq) == (MOST_PLACES + 5, 3)
    assert [place.seq for place in found.places] == list(range(3, 3 + MOST_PLACES))
    assert found.message == "ping is 11 s older than sessionStart; the oldest such event is 35 s older"


def test_a_second_start_that_is_older_is_reported_as_a_second_start_alone():
    found = judged([START, ("sessionStart", -8, 0, {}, 1), ("play", 2, 0), ("sessionEnd", 3, 1)])
    assert rules(found) == ["session-start-duplicate"]


def test_a_first_start_without_a_time_is_not_replaced_by_a_second_one():
    start, *others = built([START, PLAY, ("ping", 0.1, 0, {}, 0.2), ("sessionStart", 5, 0), ("ping", 3, 2, {}, 6)])
    judge = SessionJudge(SessionFacts())
    for event in (replace(start, ts_ms=None), *others):
        judge.add(event)
    assert {"ts-equal", "ts-out-of-order"} <= set(rules(judge.findings(is_over=False)))


def test_the_clock_of_events_that_are_older_than_the_start_is_not_judged():
    found = judged([("sessionStart", 0, 0, {}, 0), ("play", -900, 0, {}, 1), ("ping", 10, 9)], is_over=False)
    assert rules(found) == ["events-long-before-start"]


def test_events_older_than_a_start_that_arrives_late_are_not_told_by_the_rules_of_order():
    """Once the start is known, nothing is said of their times but that."""
    judge = SessionJudge(SessionFacts())
    for event in built([("play", -8, 0, {}, 0), ("ping", -8, 0, {}, 0.1), ("ping", -10, 0, {}, 0.2)]):
        judge.add(event)
    assert rules(judge.findings(is_over=False)) == ["session-start-first", "ts-equal", "ts-out-of-order"]
    [start] = built([("sessionStart", 0, 0, {}, 0.3)])
    judge.add(replace(start, seq=4))
    assert rules(judge.findings(is_over=False)) == ["events-long-before-start", "session-start-first"]


def test_a_start_that_comes_to_light_in_front_of_all_others_is_the_first_to_arrive():
    judge = SessionJudge(SessionFacts())
    for event in built([("play", 1, 0), ("ping", 10, 9)]):
        judge.add(event)
    judge.make_room(1)
    judge.add(built([START])[0])
    assert judge.findings(is_over=False) == []


def test_a_rule_is_told_once_with_a_count_and_the_first_places():
    events = [START, PLAY, *_at(5, 5, *["adComplete"] * 30), ("sessionEnd", 8, 8)]
    found = next(finding for finding in judged(events) if finding.rule == "ad-outside-break")
    assert (found.seq, found.count, found.message) == (3, 30, "adComplete with no ad break open")
    assert found.places == tuple(Place(seq) for seq in range(3, 3 + MOST_PLACES))


def test_places_in_a_batch_are_named_by_their_pointers():
    judge = SessionJudge(SessionFacts(is_batch=True))
    for index, event in enumerate(built([START, PLAY, ("adSkip", 5, 5), ("adSkip", 6, 6), ("sessionEnd", 8, 8)])):
        judge.add(replace(event, seq=1, pointer=f"/{index}"))
    [found] = judge.findings(is_over=True)
    assert (found.rule, found.seq, found.pointer, found.count) == ("ad-outside-break", 1, "/2", 2)
    assert found.places == (Place(1, "/2"), Place(1, "/3"))


WRONG = [
    START,
    ("play", 0.1, 0),
    ("play", 0.1, 0),
    *_at(3, 3, "adBreakStart", "adStart", "play"),
    *_at(4, 6, "adStart", "chapterStart", "ping"),
    *_at(6, 6, "adComplete", "adComplete", "adBreakComplete", "play"),
    ("stateStart", 7, 7, {"media.state.name": "mute"}),
    ("stateStart", 7, 7, {"media.state.name": "mute"}),
    *_at(9, 9, "adSkip", "chapterStart"),
    *_at(11, 11, "sessionComplete", "play"),
    *_at(12, 11, "adBreakStart", "play", "sessionEnd"),
    *_at(13, 11, "ping", "sessionEnd", "sessionStart"),
]


@pytest.mark.one_version
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("by_arrival", [True, False])
def test_asking_after_each_event_gives_what_a_fresh_judge_gives(seed, by_arrival):
    facts = SessionFacts(by_arrival=by_arrival)
    judge = SessionJudge(facts)
    seen: list[SessionEvent] = []
    for event in _arriving_late(built(WRONG), random.Random(seed)):
        judge.add(event)
        seen.append(event)
        for is_over in (False, True):
            assert judge.findings(is_over=is_over) == _afresh(facts, seen, is_over=is_over)


def _arriving_late(events: list[SessionEvent], chance: random.Random) -> list[SessionEvent]:
    """Return events in an order of arrival that is not that of their times."""
    times = [event.arrived_s for event in events]
    delayed = sorted(events, key=lambda event: (event.ts_ms or 0) / 1000 + chance.uniform(0, 4))
    return [
        replace(event, seq=seq, arrived_s=at) for seq, (event, at) in enumerate(zip(delayed, times, strict=True), 1)
    ]


def _afresh(facts: SessionFacts, events: Iterable[SessionEvent], *, is_over: bool) -> list[Finding]:
    judge = SessionJudge(facts)
    for event in events:
        judge.add(event)
    return judge.findings(is_over=is_over)
