"""Whatever is sent, it is judged: with findings, and never with an exception."""

from __future__ import annotations

import copy
import itertools
import json
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy_addon.core import protocol
from proxy_addon.core.events import Body, read_body
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.findings import Finding
from proxy_addon.core.jsontext import repeated_members
from proxy_addon.core.judging import walks
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import Rule, rules_of
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.rules.session_view import SessionEvent, session_event
from tests import builders
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, event_dict
from tests.property.strategies import JSON_TEXTS
from tests.property.test_any_input import BODIES
from tests.unit.core.rules.played import Played, events_of

ENDPOINTS = st.sampled_from([Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED])
PARAMS: dict[str, dict[str, Any]] = {
    "sessionStart": {**START_PARAMS, "visitor.customerIDs": {"crm": {"id": "7", "authState": 1}}},
    "adBreakStart": {"media.ad.podIndex": 1, "media.ad.podSecond": 0, "media.ad.podFriendlyName": "pre"},
    "adStart": {
        "media.ad.id": "ad",
        "media.ad.length": 15,
        "media.ad.podPosition": 1,
        "media.ad.playerName": "HTML5 Player",
    },
    "chapterStart": {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 60},
    "stateStart": {"media.state.name": "mute"},
    "stateEnd": {"media.state.name": "fullScreen"},
    "statesUpdate": {
        "statesStart": [{"media.state.name": "inFocus"}],
        "statesEnd": [{"media.state.name": "mute"}],
    },
}
QUALITY = {
    "media.qoe.bitrate": 3200,
    "media.qoe.droppedFrames": 4,
    "media.qoe.timeToStart": 850,
    "media.qoe.errorID": "E1",
    "media.qoe.errorSource": "player",
}
ODD_VALUES = st.sampled_from(
    [
        *("1e400", "-1e400", "1e-400", "1.7e12", "5.0", "-0", "0.5", "9223372036854775808"),
        *("9" * 5_000, "-" + "9" * 400),
        *(r'"\ud83c"', r'"a\nb\u2028\u0000"', '"' + "x" * 200 + '"', r'{"\ud83c/~\n": "\ud83c"}', '{"a": 1, "a": 2}'),
        *("[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500),
    ]
)
ODD_NAMES = st.sampled_from(
    ["", "a\nb", "\ud83c", "EventType", "media.ID", "media.qoe.bitrate", "x" * 200, "a.b", "\x85"]
)


def valid(event_type: str) -> dict[str, Any]:
    members: dict[str, Any] = {"qoeData": QUALITY, "customMetadata": {"my.key": "value"}}
    return copy.deepcopy(event_dict(event_type, params=PARAMS.get(event_type), **members))


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    steps: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        steps = value.items()
    elif isinstance(value, list):
        steps = enumerate(value)
    for step, part in steps:
        yield from places(part, (*path, step))


@st.composite
def mutated(draw: st.DrawFn, root: object) -> bytes:
    """Return the text of a value in which one to three parts became any JSON value or got another name."""
    texts = []
    for number in range(draw(st.integers(1, 3))):
        path: tuple[Any, ...] = ("root", *draw(st.sampled_from(sorted(places(root), key=repr))))
        way, last = path[:-1], path[-1]
        root = {"root": root}
        parent: Any = root
        for step in way:
            parent = parent[step]
        if isinstance(last, str) and last != "root" and draw(st.integers(0, 3)) == 0:
            parent[draw(ODD_NAMES)] = parent.pop(last)
        else:
            parent[last] = f"@{number}@"
            texts.append((f'"@{number}@"', draw(ODD_VALUES | JSON_TEXTS)))
        root = root["root"]
    text = json.dumps(root)
    for placeholder, value in texts:
        text = text.replace(placeholder, value)
    return text.encode()


TYPES = st.sampled_from(protocol.EVENT_TYPES)
NEARLY_VALID = st.one_of(
    TYPES.flatmap(lambda event_type: mutated(valid(event_type))),
    st.lists(TYPES, max_size=3).flatmap(lambda types: mutated([valid("sessionStart"), *map(valid, types)])),
)


_WARM = Vocabulary()
"""Knows the shapes of all bodies that were clean so far."""


_PLAYHEADS = ("0", "5", "12.345678", "9999999", "10000000", "-1", "01", "1e3", "5.0", "null", '"5"')
_TIMES = (
    *(
        "1772366400000",
        "1999999999999",
        "1000000000000",
        "999999999999",
        "17723664000000",
        "1772366400",
        "01772366400000",
    ),
    *("1772366400000.0", "1e12", "null", '"1772366400000"', "-1772366400000"),
)
_FORMS = (
    *('{"playhead":%s,"ts":%s}', '{"playhead":%s,"ts":%s,"x":1}', '{"playhead":%s,"playhead":1,"ts":%s}'),
    *('{"playhead": %s, "ts": %s}', '{"playhead":%s,"x":{"ts":%s}}', '{"playhead":%s,"ts":%s}}'),
)
_MORE: tuple[dict[str, Any], ...] = (
    {},
    {"params": {"media.playhead": 1}},
    {"playerTimes": {"playhead": 5, "ts": 7}},
    {"more": "playerTime"},
)


@pytest.mark.parametrize("event_type", ["ping", "sessionStart", "adStart"])
@pytest.mark.parametrize("more", _MORE)
def test_a_body_like_a_clean_one_is_judged_as_if_it_were_the_first(event_type, more):
    value = {**event_dict(event_type, params=PARAMS.get(event_type)), **more}
    clean = {**value, "playerTime": {"playhead": 3.5, "ts": 1_772_366_400_001}}
    template = builders.body({**value, "playerTime": "@"})
    endpoint = Operation.SESSIONS if event_type == "sessionStart" else Operation.EVENTS
    judge_body(builders.body(clean), endpoint, vocabulary=_WARM)
    for form, playhead, ts in itertools.product(_FORMS, _PLAYHEADS, _TIMES):
        raw = template.replace(b'"@"', (form % (playhead, ts)).encode())
        assert judge_body(raw, endpoint, vocabulary=_WARM) == judge_body(raw, endpoint, vocabulary=Vocabulary()), raw
        assert _told(read_body(raw)) == _told(read_body(b" " + raw)), raw  # of which no other body has the shape


def _told(body: Body) -> object:
    return body.events, json.dumps(body.value), list(repeated_members(body.value, 100)), body.problem is None


def test_the_memory_of_clean_bodies_has_them_and_no_more_than_there_is_room_for():
    vocabulary = Vocabulary()
    for number in range(5_000):
        quality = {"media.qoe.bitrate": number}
        sent = builders.body(event_dict("bitrateChange", qoeData=quality))
        assert judge_body(sent, Operation.EVENTS, vocabulary=vocabulary) == []
    shape = read_body(sent).shape
    assert shape is not None
    assert vocabulary.is_clean(Operation.EVENTS, shape)
    assert not vocabulary.is_clean(Operation.SESSIONS, shape)
    first = read_body(builders.body(event_dict("bitrateChange", qoeData={"media.qoe.bitrate": 0}))).shape
    assert first is not None
    assert not vocabulary.is_clean(Operation.EVENTS, first)


def assert_sound(findings: Sequence[Finding]) -> None:
    for finding in findings:
        assert finding.message.splitlines() == [finding.message]
        finding.message.encode()
        (finding.pointer or "").encode()
        assert finding.count >= 1


@given(BODIES, ENDPOINTS)
def test_any_bytes_are_judged(body: bytes, endpoint: Operation):
    assert_sound(judge_body(body, endpoint))


@given(NEARLY_VALID, ENDPOINTS)
def test_bodies_that_are_nearly_valid_are_judged(body: bytes, endpoint: Operation):
    assert_sound(judge_body(body, endpoint))


@given(st.lists(NEARLY_VALID, max_size=4))
def test_sessions_of_events_that_are_nearly_valid_are_judged(bodies: list[bytes]):
    events = [event for body in bodies for event in read_body(body).events]
    assert_judged([session_event(event, seq=n, arrived_s=BEGIN.timestamp() + n) for n, event in enumerate(events, 1)])


@given(st.sampled_from([Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED]), TYPES)
def test_bodies_before_they_are_changed_have_no_errors_in_their_values(endpoint: Operation, event_type: str):
    findings = judge_body(json.dumps(valid(event_type)).encode(), endpoint)
    assert not [finding for finding in findings if finding.rule.startswith(("param", "qoe-", "custom-metadata-k"))]


FILM: list[Played] = [
    ("sessionStart", 0, 0),
    ("adBreakStart", 0, 0),
    ("adStart", 0, 0, {"media.ad.podPosition": 1}),
    ("play", 0, 0),
    ("ping", 10, 0),
    ("adComplete", 15, 0),
    ("adBreakComplete", 15, 0),
    ("play", 15, 0),
    ("chapterStart", 15, 0),
    ("play", 16, 1),
    ("ping", 26, 11, None, {"media.qoe.droppedFrames": 7}),
    ("stateStart", 30, 15, {"media.state.name": "fullScreen"}),
    ("ping", 36, 21, None, {"media.qoe.droppedFrames": 9}),
    ("stateEnd", 40, 25, {"media.state.name": "fullscreen"}),
    ("pauseStart", 44, 29),
    ("ping", 54, 29),
    ("play", 60, 29),
    ("ping", 70, 39),
    ("ping", 80, 49),
    ("chapterComplete", 85, 54),
    ("sessionComplete", 85, 54),
    ("sessionEnd", 85, 54),
]

PLAYHEADS = st.sampled_from([0, 0, 5, 10, 10.5, 29, 3_700, 90_000, 1e14, -1, None])
TIMES = st.sampled_from([0, 0, 5, 10, 10, 20, 30, 60, 700, 2_600, 90_000, -300, 10**12, None])
STATES = [{"media.state.name": name} for name in ("mute", "Mute", "fullscreen", "a\nb\ud83c")]
PLAYED_PARAMS = st.sampled_from(
    [
        None,
        *STATES,
        {"statesStart": STATES[:2], "statesEnd": [STATES[0], 7]},
        {"media.contentType": "live"},
        {"media.length": 0},
        {"media.length": 10**400},
        {"media.ad.podPosition": 2},
    ]
)
PLAYED_QUALITY = st.sampled_from(
    [None, {"media.qoe.droppedFrames": 3, "media.qoe.timeToStart": 9}, {"media.qoe.x": None}]
)
EVENTS: st.SearchStrategy[Played] = st.tuples(
    st.sampled_from([*protocol.EVENT_TYPES, "ping", "ping", "ping", "a\u2028b\ud83c", None]),
    TIMES,
    PLAYHEADS,
    PLAYED_PARAMS,
    PLAYED_QUALITY,
    TIMES,
)
FACTS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("is_batch", "start_missing", "by_arrival", "has_clock")}
) | st.just({"retry_of": "4a0f"})


@st.composite
def disturbed(draw: st.DrawFn) -> list[Played]:
    """Return the film shuffled, cut or with repetitions, and perhaps with other events in it."""
    events = draw(st.permutations(FILM) | st.just(FILM))
    begin, end = sorted(draw(st.tuples(*(st.integers(0, len(events)),) * 2)))
    events = draw(st.sampled_from([events, events[begin:end], [*events[:end], *events[begin:]]]))
    for place in draw(st.lists(st.integers(0, len(events)), max_size=4)):
        events = [*events[:place], draw(EVENTS), *events[place:]]
    # What is shuffled arrives late, and nothing arrives before what arrived before it.
    return [(*event, *(None,) * (5 - len(event)), n) if len(event) < 6 else event for n, event in enumerate(events)]


def assert_judged(events: Sequence[SessionEvent], **facts: Any) -> None:
    """Assert that findings are well-formed, and the same whether asked for after each event or only at the end."""
    asked = SessionJudge(SessionFacts(**facts))
    for number, event in enumerate(events, start=1):
        asked.add(event)
        once = SessionJudge(SessionFacts(**facts))
        for earlier in events[:number]:
            once.add(earlier)
        for is_over in (False, True):
            findings = once.findings(is_over=is_over)
            assert asked.findings(is_over=is_over) == findings
        assert_sound(findings)
        assert len({finding.rule for finding in findings}) == len(findings)


@given(disturbed(), FACTS)
def test_findings_of_a_disturbed_session_are_the_same_after_each_event_as_at_the_end(
    events: list[Played], facts: dict[str, Any]
):
    assert_judged(events_of(events), **facts)


@given(st.lists(EVENTS, max_size=12), FACTS)
def test_findings_of_any_events_are_the_same_after_each_event_as_at_the_end(
    events: list[Played], facts: dict[str, Any]
):
    assert_judged(events_of(events), **facts)


@contextmanager
def asked_at_all_moments() -> Iterator[None]:
    try:
        with patch.object(Rule, "is_due", lambda *_: True):
            rules_of.cache_clear()
            walks._rules_for.cache_clear()
            yield
    finally:
        rules_of.cache_clear()
        walks._rules_for.cache_clear()


@given(disturbed(), FACTS)
def test_no_rule_finds_anything_at_moments_at_which_it_is_not_asked(events: list[Played], facts: dict[str, Any]):
    def findings() -> list[Finding]:
        judge = SessionJudge(SessionFacts(**facts))
        for event in events_of(events):
            judge.add(event)
        return judge.findings(is_over=True)

    found = findings()
    with asked_at_all_moments():
        assert findings() == found


def test_no_rule_finds_anything_in_exchanges_of_which_it_is_not_asked():
    answers = [
        (builders.response(status), Outcome.ANSWERED) for status in (200, 201, 204, 302, 400, 404, 410, 415, 500)
    ]
    exchanges = [
        builders.exchange(method, path, headers=headers, body=sent, response=response, outcome=outcome)
        for method, path, headers, sent, (response, outcome) in itertools.product(
            ["POST", "GET", "OPTIONS", "DELETE"],
            ["/api/v1/sessions", "/api/v1/sessions/1/events", "/api/v1/downloaded", "/api/v1/other", "/"],
            [builders.JSON_HEADERS, ()],
            [b"", builders.body(valid("sessionStart")), builders.body(valid("ping")), b"[1"],
            [*answers, *((None, outcome) for outcome in Outcome if outcome is not Outcome.ANSWERED)],
        )
    ]
    found = list(map(judge_exchange, exchanges))
    assert any(found)
    with asked_at_all_moments():
        assert list(map(judge_exchange, exchanges)) == found


@given(disturbed(), FACTS, FACTS, st.data())
def test_exchanges_that_come_to_light_in_any_order_are_judged_as_those_that_came_in_order(
    events: list[Played], facts: dict[str, Any], later_facts: dict[str, Any], data: st.DataObject
):
    in_order = events_of(events)
    silent = data.draw(st.sets(st.integers(0, len(in_order))))  # exchanges without events, as preflights are
    heard = [replace(event, seq=seq) for seq, event in enumerate(in_order, 1) if seq not in silent]
    with patch.object(walks, "_MARK_EVERY", 3):
        judge = SessionJudge(SessionFacts(**facts))
        known: list[int] = []
        for place in data.draw(st.permutations(range(len(in_order)))):
            seq = bisect(known, place) + 1
            known.insert(seq - 1, place)
            judge.make_room(seq)
            if place + 1 not in silent:
                judge.add(replace(in_order[place], seq=seq))
            if data.draw(st.booleans()):
                judge.findings(is_over=False)
    for judged, given_facts in ((judge, facts), (judge.under(SessionFacts(**later_facts)), later_facts)):
        once = SessionJudge(SessionFacts(**given_facts))
        for event in heard:
            once.add(event)
        assert judged.findings(is_over=True) == once.findings(is_over=True)


@given(st.permutations(FILM), st.sampled_from([False, True]))
def test_the_order_of_arrival_changes_nothing_but_what_is_said_about_it(events: list[Played], by_arrival: bool):
    """Where no two events share a time, as then nothing but their times can tell what happened first."""
    spread = [(event[0], n, *event[2:]) for n, event in enumerate(FILM)]
    shuffled = [spread[FILM.index(event)] for event in events]
    about_arrival = {"ts-out-of-order", "ts-backwards", "ts-clock-skew", "ping-gap", "session-start-first"}

    def found(played: list[Played]) -> list[tuple[str, int]]:
        judge = SessionJudge(SessionFacts(by_arrival=by_arrival, has_clock=False))
        for event in events_of(played):
            judge.add(event)
        findings = judge.findings(is_over=True)
        return [(finding.rule, finding.count) for finding in findings if finding.rule not in about_arrival]

    assert found(shuffled) == found(spread)


def test_the_film_has_nothing_but_equal_times_and_two_spellings():
    judge = SessionJudge(SessionFacts())
    for event in events_of(FILM):
        judge.add(event)
    assert {finding.rule for finding in judge.findings(is_over=True)} == {"ts-equal", "state-name-case-mix"}
    assert events_of(FILM)[0].ts_ms == BEGIN_MS


@settings(derandomize=True)  # what is assumed may not be all: new examples belong to a search, not to every run
@given(disturbed(), FACTS, st.data())
def test_what_is_not_known_of_a_session_blames_nobody(events: list[Played], facts: dict[str, Any], data: st.DataObject):
    everything = events_of(events)
    known = [event for event in everything if data.draw(st.booleans())]
    found = rules_found(everything, **facts)
    # Events after sessionEnd are reported as such and for nothing else, and a second start tells another length.
    assume(not found & {"event-after-session-end", "session-end-duplicate"})
    assume(sum(event.type == "sessionStart" for event in everything) < 2)
    assume(all(event.ts_ms is not None for event in everything if event.type == "sessionEnd"))  # its place is a guess
    if found & _ABOUT_TIMES:
        found |= _ABOUT_TIMES
    assert not rules_found(known, has_holes=True, **facts) - found


_ABOUT_TIMES = {
    "ts-equal",
    "ts-out-of-order",
    "ts-backwards",
    "ts-clock-skew",
    "events-before-start",
    "events-long-before-start",
    "session-over-24h",
}
"""Which one it is depends on the start and on the latest time before; that a time is wrong does not."""


def rules_found(events: Sequence[SessionEvent], **facts: Any) -> set[str]:
    judge = SessionJudge(SessionFacts(**facts))
    for event in events:
        judge.add(event)
    return {finding.rule for finding in judge.findings(is_over=True)}
