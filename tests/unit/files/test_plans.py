"""A plan says what sessions should send; what they do otherwise is found with its place, and a bad plan is told with its own."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from proxy_addon.core.audits import patterns
from proxy_addon.core.audits.plan_parts import UNCHECKED
from proxy_addon.core.audits.plans import Plan, Wanted
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement, Severity
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.fixtures.listed import session_in
from proxy_addon.core.judging.files import FileKind, judge_file, judge_held
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.rules.planned import unexpected
from proxy_addon.errors import SettingsError
from proxy_addon.files.plans import load
from tests.builders import START_PARAMS, at, batch, body, event, event_dict, start


def planned(folder: Path, text: str, **files: str) -> Plan:
    for name, more in files.items():
        (folder / f"{name}.yaml").write_text(more, encoding="utf-8")
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def held(*exchanges: Exchange) -> HeldSession:
    (session,) = fold(exchanges)
    return session


def judged(plan: Plan, *exchanges: Exchange, policy: Policy = DEFAULT) -> Judgement:
    return judge_held(held(*exchanges), plan.applied_to(policy))


def found(judgement: Judgement) -> list[Finding]:
    return [finding for finding in judgement.findings if finding.rule.startswith("plan-")]


def told(judgement: Judgement) -> list[tuple[str, int | None, str | None]]:
    return [(finding.rule, place.seq, place.pointer) for finding in found(judgement) for place in finding.places]


def sent(
    metadata: Any = None, *, quality: Any = None, params: Any = None, type: str = "play", at_s: int = 1
) -> Exchange:
    members = {"customMetadata": metadata, "qoeData": quality}
    return event(
        after_s=at_s, body=body(event_dict(type, params=params, ts=1_772_366_400_000 + at_s * 1_000, **members))
    )


TIER = "events: {play: {customMetadata: {%s}}}"


@pytest.mark.parametrize(
    ("says", "metadata", "rules"),
    [
        ("required: [tier]", {"tier": ""}, []),
        ("required: [tier]", {}, ["plan-missing"]),
        ("required: [tier]", None, ["plan-missing"]),
        ("required: [tier]", "tier", ["plan-missing"]),
        ("optional: {tier: string}", {}, []),
        ("optional: {tier: string}", {"tier": 1}, ["plan-type"]),
        ("optional: {tier: [integer, 'null']}", {"tier": None}, []),
        ("optional: {tier: integer}", {"tier": 1.0}, ["plan-type"]),
        ("optional: {tier: number}", {"tier": 1}, []),
        ("optional: {tier: boolean}", {"tier": 1}, ["plan-type"]),
        ("optional: {tier: object}", {"tier": {"a": []}}, []),
        ("optional: {tier: array}", {"tier": {}}, ["plan-type"]),
        ("forbidden: [tier]", {"tier": "gold"}, ["plan-unexpected"]),
        ("forbidden: [tier]", {"tire": "gold"}, []),
        ("optional: [tier], further_keys: false", {"tier": 1, "tire": 1}, ["plan-unexpected"]),
        ("further_keys: false", {"tier": 1, "tire": 1}, ["plan-unexpected"] * 2),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": "gold"}, []),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": 5.0}, []),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": None}, []),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": 1}, ["plan-value"]),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": "5"}, ["plan-value"]),
        ("required: {tier: {values: [gold, 5, true, null]}}", {"tier": ["gold"]}, ["plan-value"]),
        ("required: {tier: {pattern: 'g.*'}}", {"tier": "gold"}, []),
        ("required: {tier: {pattern: 'g.*'}}", {"tier": "silver, gold"}, ["plan-value"]),
        ("required: {tier: {pattern: 'g.*'}}", {"tier": 1}, ["plan-type"]),
        ("required: {tier: {type: [string, integer], pattern: 'g.*'}}", {"tier": 1}, []),
        ("required: {tier: {min: 0, max: 2.5}}", {"tier": 2.5}, []),
        ("required: {tier: {min: 0, max: 2.5}}", {"tier": 0}, []),
        ("required: {tier: {min: 0, max: 2.5}}", {"tier": -1}, ["plan-value"]),
        ("required: {tier: {min: 0, max: 2.5}}", {"tier": 10**30}, ["plan-value"]),
        ("required: {tier: {max: 2}}", {"tier": "1"}, ["plan-type"]),
        ("required: {tier: {type: integer, min: 1}}", {"tier": 1.5}, ["plan-type"]),
    ],
)
def test_keys_and_values(tmp_path, says, metadata, rules):
    plan = planned(tmp_path, TIER % says)
    judgement = judged(plan, start(), sent(metadata), event("pauseStart", after_s=2))
    assert [finding.rule for finding in found(judgement)] == rules
    assert sum(judgement.deviations.values()) == len(rules)


def test_each_finding_says_where_and_what(tmp_path):
    plan = planned(
        tmp_path,
        """
        further_keys: false
        events:
          all: {params: {further_keys: true}}
          play:
            qoeData: {required: [media.qoe.bitrate]}
            customMetadata:
              required: {tier: {values: [gold, silver]}}
              optional: {a/b: string}
        """,
    )
    judgement = judged(plan, start(), sent({"tier": "tin", "a/b": 5, "teir": "x"}))
    assert [(finding.rule, finding.severity.value, finding.seq, finding.pointer) for finding in found(judgement)] == [
        ("plan-missing", "error", 2, None),
        ("plan-unexpected", "warning", 2, "/customMetadata/teir"),
        ("plan-type", "error", 2, "/customMetadata/a~1b"),
        ("plan-value", "error", 2, "/customMetadata/tier"),
    ]
    assert [finding.message for finding in found(judgement)] == [
        "media.qoe.bitrate is missing in qoeData; the plan requires it on play",
        "'teir' is in customMetadata of play; the plan has no such key",
        "a/b is the number 5; the plan says a string",
        "tier is the string 'tin'; the plan says one of 'gold', 'silver'",
    ]
    assert [(*deviation[:4], count) for deviation, count in judgement.deviations.items()] == [
        ("plan-missing", "play", "qoeData", "media.qoe.bitrate", 1),
        ("plan-value", "play", "customMetadata", "tier", 1),
        ("plan-type", "play", "customMetadata", "a/b", 1),
        ("plan-unexpected", "play", "customMetadata", "teir", 1),
    ]


def test_events_of_a_batch_are_one_finding_with_their_places(tmp_path):
    plan = planned(tmp_path, "events: {play: {params: {required: [x]}}, ping: {params: {forbidden: [y]}}}")
    events = [event_dict("play"), event_dict("play", params={}), event_dict("ping", params={"y": 1})]
    downloaded = {**START_PARAMS, "media.downloaded": True}
    judgement = judged(plan, batch([event_dict("sessionStart", params=downloaded), *events]))
    assert told(judgement) == [
        ("plan-missing", 1, "/1"),
        ("plan-missing", 1, "/2/params"),
        ("plan-unexpected", 1, "/3/params/y"),
    ]
    assert [finding.count for finding in found(judgement)] == [2, 1]


def test_what_holds_for_all_events_is_overridden_by_what_one_says(tmp_path):
    plan = planned(
        tmp_path,
        """
        events:
          all: {customMetadata: {required: {tier: string}}}
          ping: {customMetadata: {optional: [tier]}}
        """,
    )
    assert told(
        judged(plan, start(), sent(type="ping"), sent({"tier": 5}, type="ping"), sent({"tier": 5}, type="odd"))
    ) == [
        ("plan-missing", 1, None),
        ("plan-type", 4, "/customMetadata/tier"),
    ]


def test_further_keys_are_refused_on_events_that_the_plan_has(tmp_path):
    exchanges = (start(), sent(params={"x": 1}), sent(params={"x": 1}, type="pauseStart"))
    for events, seqs in (
        ("play: ", [2]),
        ("play: {params: {further_keys: true}}", []),
        ("ping: ", []),
        ("all: ", [1, 2, 3]),
    ):
        judgement = judged(planned(tmp_path, f"further_keys: false\nevents: {{{events}}}"), *exchanges)
        assert sorted({finding.seq or 0 for finding in found(judgement)}) == seqs, events


def test_a_request_that_did_not_arrive_whole_lacks_nothing(tmp_path):
    plan = planned(tmp_path, "events: {play: {params: {required: [x]}}}")
    cut = sent(params={"y": 1})
    assert told(judged(plan, start(), replace(cut, request=replace(cut.request, complete=False)))) == []


def test_event_types_may_be_limited_to_those_in_the_plan(tmp_path):
    plan = planned(tmp_path, "further_events: false\nevents: {sessionStart: , play: }")
    assert told(judged(plan, start(), sent(), sent(type="pauseStart", at_s=2), sent(type="odd", at_s=3))) == [
        ("plan-unexpected", 3, "/eventType")
    ]


def pings(*after_s: float) -> list[Exchange]:
    return [start(), event("play"), *(event("ping", after_s=at_s, playhead=at_s) for at_s in after_s)]


RATE = "pings: {content: {every_s: 10, plus_minus_s: 2}, paused: {every_s: 1, plus_minus_s: 0}}"


def test_pings_come_at_the_rate_of_the_state(tmp_path):
    plan = planned(tmp_path, RATE)
    assert told(judged(plan, *pings(11, 19, 31))) == []
    judgement = judged(plan, *pings(11, 18.9, 31.1, 41))
    assert told(judgement) == [("plan-rate", 4, None), ("plan-rate", 5, None)]
    (finding,) = found(judgement)
    assert finding.message == (
        "a ping comes 7.9 s after the one before it in state content; the plan says every 10 ± 2 s"
    )
    assert list(judgement.deviations.items()) == [(("plan-rate", "ping", "", "content", "every 10 ± 2 s"), 2)]
    paused = (event("pauseStart", after_s=22, playhead=21), event("ping", after_s=23), event("ping", after_s=33))
    assert told(judged(plan, *pings(11, 21), *paused)) == [("plan-rate", 7, None)]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("always", {0: "at least 1 in a session"}),
        ("{min: 2}", {0: "at least 2 in a session", 1: "at least 2 in a session"}),
        ("{max: 1}", {2: "at most 1 in a session", 3: "at most 1 in a session"}),
        ("{min: 1, max: 2}", {0: "1 to 2 in a session", 3: "1 to 2 in a session"}),
        ("{min: 2, max: 2}", dict.fromkeys((0, 1, 3), "2 in a session")),
        ("null", {}),
    ],
)
def test_events_occur_as_often_as_the_plan_says(tmp_path, says, expected):
    plan = planned(tmp_path, f"events: {{adStart: {{occurs: {says}}}}}")
    for number in range(4):
        exchanges = [start(), *(event("adStart", after_s=at_s) for at_s in range(1, number + 1))]
        judgement = judged(plan, *exchanges)
        wanted = [("plan-occurs", "adStart", "", "", expected[number])] if number in expected else []
        assert list(judgement.deviations) == wanted
        told_ = f"sent {number} time{'s' * (number > 1)}" if number else "never sent"
        assert [finding.message for finding in found(judgement)] == [
            f"adStart is {told_} in this session; the plan says {each[-1]}" for each in wanted
        ]
        in_list = judge_file(
            body([exchange.request.reading.value for exchange in exchanges]), FileKind.SESSION, plan.applied_to(DEFAULT)
        )
        assert (in_list.deviations, found(in_list)) == (judgement.deviations, found(judgement))


def test_an_event_is_not_missed_in_a_session_that_may_have_or_get_it(tmp_path):
    policy = planned(tmp_path, "events: {sessionEnd: {occurs: always}, play: {occurs: {max: 1}}}").applied_to(DEFAULT)
    whole = held(start(), sent(), sent(at_s=2))
    rules = [("sessionEnd", "at least 1 in a session"), ("play", "at most 1 in a session")]

    def deviations(held_: HeldSession, *, closed: bool = True) -> list[tuple[str, str]]:
        watch = SessionWatch(held_.session, at(3), policy, closed=closed)
        assert len(list(watch.judging(held_.exchanges))) == len(held_.exchanges)
        judgement = watch.judgement()
        assert ("plan-occurs" in judgement.holes.rules) if judgement.holes is not None else True
        return [(deviation.event, deviation.expected) for deviation in judgement.deviations]

    def with_session(**members: Any) -> HeldSession:
        return replace(whole, session=replace(whole.session, **members))

    assert deviations(whole) == rules
    assert deviations(whole, closed=False) == rules[1:]
    assert deviations(with_session(start_seen=False)) == rules[1:]
    assert deviations(with_session(failed=True)) == rules[1:]
    assert deviations(with_session(has_holes=True)) == []


def test_an_event_that_the_plan_forbids_is_told_where_it_is_sent_and_groups_may_want_it(tmp_path):
    plan = planned(
        tmp_path,
        """
        further_events: false
        events: {play: {extends: ping, occurs: never}, ping: {occurs: always, params: {forbidden: [x]}}, sessionStart: }
        groups: [{where: {player: "TV"}, events: {play: {occurs: }, ping: {occurs: {min: 2}}}}]
        """,
    )
    judgement = judged(plan, start(), sent(), event("ping", after_s=2), sent(type="ping", params={"x": 1}, at_s=3))
    assert told(judgement) == [("plan-unexpected", 2, "/eventType"), ("plan-unexpected", 4, "/params/x")]
    assert [finding.message for finding in found(judgement)] == [
        "play is sent; it is forbidden by the plan",
        "'x' is in params of ping; it is forbidden by the plan",
    ]
    assert {deviation.expected for deviation in judgement.deviations} == {"forbidden by the plan"}
    other = {**START_PARAMS, "media.playerName": "TV"}
    judgement = judged(plan, start(params=other), sent(), event("ping", after_s=2))
    assert [(finding.rule, finding.message) for finding in found(judgement)] == [
        ("plan-occurs", "ping is sent 1 time in this session; the plan says at least 2 in a session")
    ]


def test_rates_are_not_judged_where_pings_may_be_missing(tmp_path):
    policy = planned(tmp_path, RATE).applied_to(DEFAULT)
    whole = held(*pings(11, 50))
    assert told(judge_held(whole, policy)) == [("plan-rate", 4, None)]
    judgement = judge_held(replace(whole, session=replace(whole.session, has_holes=True)), policy)
    assert (told(judgement), judgement.deviations) == ([], {})
    assert judgement.holes is not None
    assert "plan-rate" in judgement.holes.rules


def test_downloaded_playback_has_rates_too_and_no_holes(tmp_path):
    policy = planned(tmp_path, RATE).applied_to(DEFAULT)
    events = [("sessionStart", 0), ("play", 1), ("ping", 11), ("ping", 41), ("sessionEnd", 42)]
    params = {**START_PARAMS, "media.downloaded": True}
    values = [
        event_dict(type, ts=1_772_366_400_000 + at_s * 1_000, playhead=at_s, params=params if at_s == 0 else None)
        for type, at_s in events
    ]
    downloaded = held(batch(values))
    downloaded = replace(downloaded, session=replace(downloaded.session, has_holes=True))
    assert told(judge_held(downloaded, policy)) == [("plan-rate", 1, "/3")]


@pytest.mark.parametrize(
    ("wanted", "taken", "others"),
    [
        ("web", ["web"], ["web-1", "", None]),
        ("*", ["web", ""], [None]),
        ("web-*", ["web-", "web-1"], ["web", "a web-1"]),
        ("*-web", ["tv-web", "-web"], ["web", "tv-web-1"]),
        ("a*b*a", ["aba", "a1b2a", "abba"], ["aa", "ab", "ba", "a1a"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba"]),
        ("a*ab*b", ["aabb", "a1ab2b"], ["aab", "abb"]),
        (r"\*\\", ["*\\"], ["x\\", "*"]),
    ],
)
def test_names_of_groups_may_have_stars(wanted, taken, others):
    names = Wanted(names=(wanted,))
    assert [name for name in [*taken, *others] if names.takes(name)] == taken


def test_groups_hold_for_the_sessions_that_they_name(tmp_path):
    plan = planned(
        tmp_path,
        r"""
        events: {play: {params: {required: [x]}}}
        groups:
          - where: {player: "HTML5*", app-version: [null, "app-*"]}
            events: {play: {params: {optional: [x], required: [y]}}}
          - where: {player: 'HTML5 \*'}
            events: {play: {params: {required: [z]}}}
        """,
    )
    assert told(judged(plan, start(), sent(params={"x": 1}))) == [("plan-missing", 2, "/params")]
    (missing,) = found(judged(plan, start(), sent(params={})))
    assert "y is missing" in missing.message
    other = {**START_PARAMS, "media.playerName": "HTML5 *"}
    assert len(found(judged(plan, start(params=other), sent(params={})))) == 2
    other = {**START_PARAMS, "media.playerName": "TV"}
    (missing,) = found(judged(plan, start(params=other), sent(params={})))
    assert "x is missing" in missing.message


def test_a_group_of_sessions_that_do_not_say_it_takes_none_whose_start_was_not_recorded(tmp_path):
    plan = planned(tmp_path, "groups: [{where: {player: null}, events: {play: {params: {required: [y]}}}}]")
    nameless = {key: value for key, value in START_PARAMS.items() if key != "media.playerName"}
    assert told(judged(plan, start(params=nameless), sent(params={}))) == [("plan-missing", 2, "/params")]
    assert found(judged(plan, sent(params={}))) == []


def test_rules_are_on_or_off_with_the_severity_of_the_plan_and_of_the_command(tmp_path):
    text = "rules: {plan-missing: info, plan-type: off, session-not-closed: error}\nevents: {play: {params: {required: %s}}}"
    plan = planned(tmp_path, text % "{x: string, y: string}")
    judgement = judged(plan, start(), sent(params={"y": 1}))
    assert [(each.rule, each.severity.value) for each in found(judgement)] == [("plan-missing", "info")]
    assert [each.severity.value for each in judgement.findings if each.rule == "session-not-closed"] == ["error"]
    lenient = Policy(severities={"plan-missing": Severity.ERROR, "plan-type": Severity.ERROR})
    assert judged(plan, start(), sent(params={"y": 1}), policy=lenient).findings == judgement.findings
    ignored = judged(plan, start(), sent(params={}), policy=Policy(ignore=frozenset({"plan-missing"})))
    assert (found(ignored), ignored.deviations) == ([], {})
    assert len(judged(plan, start(), sent(params={}), policy=Policy(select=frozenset({"plan-missing"}))).findings) == 2


def test_a_device_cannot_fill_a_judgement_with_keys_that_it_makes_up(tmp_path, monkeypatch):
    told = mock.Mock(wraps=unexpected)
    monkeypatch.setattr("proxy_addon.core.audits.deviations.unexpected", told)
    plan = planned(tmp_path, "events: {play: {params: {further_keys: false}}}")
    judgement = judged(plan, start(), sent(params={f"key {number}": number for number in range(3_000)}))
    assert len(found(judgement)) == told.call_count == 20
    assert sum(finding.count for finding in found(judgement)) == 3_000
    assert len(judgement.deviations) == 1_000


def test_what_the_patterns_of_a_plan_have_no_work_left_for_in_a_body_is_told_as_not_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(patterns, "MOST_WORK", 2_000)
    plan = planned(tmp_path, TIER % "optional: {a: {pattern: '.*x.{50}'}, b: {pattern: y*}}")
    few, many = sent({"a": "x" * 60, "b": "z"}), sent({"a": "x" * 150, "b": "y" * 150}, at_s=2)
    judgement = judged(plan, start(), few, many, sent({"b": "y" * 5_000}, at_s=3))
    assert told(judgement) == [
        ("plan-value", 2, "/customMetadata/b"),
        ("plan-value", 3, "/customMetadata/a"),
        ("plan-value", 3, "/customMetadata/b"),
    ]
    of_few, *of_many = (finding.message for finding in found(judgement))
    assert of_few == "b is the string 'z'; the plan says a text like y*"
    assert [message.split(":")[0] for message in of_many] == ["a was not checked", "b was not checked"]
    assert [deviation.expected for deviation in judgement.deviations] == ["a text like y*", UNCHECKED, UNCHECKED]


def test_the_patterns_of_a_plan_may_do_as_much_for_each_event_of_a_long_body(tmp_path, monkeypatch):
    monkeypatch.setattr(patterns, "MOST_WORK", 0)
    policy = planned(
        tmp_path, TIER % "required: {a: {pattern: 'x+(-x+)*'}}, optional: {b: {values: [x], pattern: x}}"
    ).applied_to(DEFAULT)
    of_list = [event_dict("play", customMetadata={"a": "x" * 300}) for _ in range(20)]
    listed = [event_dict("sessionStart"), *of_list, event_dict("play", customMetadata={"a": ""})]
    (finding,) = found(judge_file(body(listed), FileKind.DOWNLOADED, policy))
    assert (finding.pointer, "the plan says a text like" in finding.message) == ("/21/customMetadata/a", True)
    assert [finding.pointer for finding in found(judge_held(held(batch(listed)), policy))] == [finding.pointer]


def test_a_plan_goes_to_other_processes_with_the_policy_and_judges_there_the_same(tmp_path):
    plan = planned(tmp_path, f"{RATE}\nevents: {{play: {{params: {{required: {{x: {{pattern: 'a+'}}}}}}}}}}")
    exchanges = [*pings(11, 30), sent(params={"x": "b"}, at_s=40)]
    before = judged(plan, *exchanges)
    policy = pickle.loads(pickle.dumps(plan.applied_to(DEFAULT)))
    assert policy.plan == plan
    assert judge_held(held(*exchanges), policy) == before
    assert [finding.rule for finding in found(before)] == ["plan-missing", "plan-value", "plan-rate"]


def test_lists_of_bodies_and_single_bodies_are_held_against_it(tmp_path):
    policy = planned(tmp_path, f"{RATE}\nevents: {{play: {{params: {{required: [x]}}}}}}").applied_to(DEFAULT)
    listed: Sequence[Any] = [
        event_dict("sessionStart"),
        event_dict("play", ts=1_772_366_401_000),
        event_dict("ping", ts=1_772_366_402_000, playhead=1),
        event_dict("ping", ts=1_772_366_462_000, playhead=61),
    ]
    of_list = judge_file(body(listed), FileKind.SESSION, policy)
    assert told(of_list) == [("plan-missing", 2, "/1"), ("plan-rate", 4, "/3")]
    written = session_in(listed, body(listed))
    assert written is not None
    of_session = judge_held(written, policy)
    assert told(of_session) == [("plan-missing", 2, None), ("plan-rate", 4, None)]
    assert (len(of_session.deviations), of_session.deviations) == (2, of_list.deviations)
    assert told(judge_file(body(listed[1]), FileKind.EVENTS, policy)) == [("plan-missing", None, None)][:0]
    (finding,) = found(judge_file(body(listed[1]), FileKind.EVENTS, policy))
    assert (finding.rule, finding.seq, finding.pointer) == ("plan-missing", None, None)


def test_a_plan_extends_others_key_by_key(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "tv.yaml").write_text("extends: ../base.yaml\nfurther_events: false", encoding="utf-8")
    plan = planned(
        tmp_path,
        """
        extends: [sub/tv.yaml, base.yaml]
        rules: {ping-gap: info}
        events:
          play: {params: {optional: [x]}}
          pauseStart: {extends: play, params: {required: [q]}}
          adStart: {extends: [pauseStart, bufferStart]}
        """,
        base="""
        rules: {ping-gap: off, ts-missing: off}
        pings: {ad: {every_s: 1, plus_minus_s: 0}}
        events:
          play: {params: {required: [x, y], further_keys: false}}
          bufferStart: {params: {forbidden: [q]}}
        """,
    )
    params = {
        type: {name: key.presence.value for name, key in next(iter(sections.values())).keys.items()}
        for type, sections in plan.part.events.items()
    }
    assert params == {
        "play": {"x": "optional", "y": "required"},
        "bufferStart": {"q": "forbidden"},
        "pauseStart": {"x": "optional", "y": "required", "q": "required"},
        "adStart": {"x": "optional", "y": "required", "q": "forbidden"},
    }
    assert plan.part.further_events is False
    assert {rule: severity and severity.value for rule, severity in plan.severities.items()} == {
        "ping-gap": "info",
        "ts-missing": None,
    }
    assert len(plan.part.pings) == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "1:1: the file is empty", "NAME: VALUE"),
        ("a plan", "1:1: a plan is the string 'a plan'; expected a mapping", ""),
        ("evnets: {}", "1:1: a plan has an unknown key 'evnets'", "did you mean events?"),
        ("events:\n  ping: {parms: {}}", "2:10: ping has an unknown key 'parms'", "did you mean params?"),
        ("events: {ping: {required: [x]}}", "1:17: ping has an unknown key 'required'", "below params, qoeData or"),
        ("events: {ping: {every_s: 10}}", "1:17: ping has an unknown key 'every_s'", "below pings"),
        ("events: {ping: {params: [x]}}", "1:25: params is a list", "write required: [media.id]"),
        ("events: [ping]", "1:9: events is a list", "write sessionStart:"),
        ("events: {pign: {}}", "1:10: events has an unknown key 'pign'", "did you mean ping?"),
        ("events: {ping: {params: {needed: [x]}}}", "1:26: params has an unknown key 'needed'", "required"),
        ("events: {ping: {params: {media.id: }}}", "1:26: params has an unknown key 'media.id'", "below required"),
        ("events: {ping: {params: {required: x}}}", "1:36: required is the string 'x'", "[ONE, TWO]"),
        (
            "events: {ping: {params: {required: [x: string]}}}",
            "1:37: a mapping is not the name of a key",
            "without the -",
        ),
        ("events: {ping: {params: {required: 5}}}", "1:36: required is the number 5", ""),
        ("events: {ping: {params: {required: [x, x]}}}", "1:40: 'x' stands here twice", "leave out"),
        ("events: {ping: {params: {required: [x], optional: {x: }}}}", "1:52: 'x' is required and optional", ""),
        ("events: {ping: {params: {forbidden: {x: string}}}}", "1:37: forbidden is a mapping", "[ONE, TWO]"),
        ("events: {ping: {params: {further_keys: maybe}}}", "further_keys is the string 'maybe'", ""),
        (TIER % "required: {t: strin}", "1:48: the type is the string 'strin'", "did you mean string?"),
        (TIER % "required: {t: int}", "1:48: the type is the string 'int'", "did you mean integer?"),
        (
            TIER % "required: {t: [vod, live]}",
            "1:49: the type is the string 'vod'",
            "for values, write {values: [vod]}",
        ),
        (TIER % "required: {t: 5}", "1:48: 't' is the number 5; expected a mapping", "write {values: [5]}"),
        (TIER % "required: {t: {type: 1}}", "1:55: the number 1 is not a JSON type", '"1"'),
        (TIER % "required: {t: {type: [string, null]}}", "1:64: null is not a JSON type", '"null"'),
        (TIER % "required: {t: {required: true}}", "1:49: 't' has an unknown key 'required'", "leave it out"),
        (TIER % "required: {t: {minimum: 1}}", "1:49: 't' has an unknown key 'minimum'", "did you mean min?"),
        (TIER % "required: {t: {type: []}}", "1:55: the list of types is empty", "leave out"),
        (TIER % "required: {t: {kind: string}}", "an unknown key 'kind'", "type, values, pattern"),
        (TIER % "required: {t: {pattern: 'a('}}", "1:58: bad pattern 'a(': a ( is not closed", "docs/plans.md"),
        (TIER % "required: {t: {pattern: 5}}", "pattern is the number 5", ""),
        (TIER % "required: {t: {type: integer, pattern: a}}", "pattern is for a string", "change the type"),
        (TIER % "required: {t: {type: string, max: 5}}", "max is for a number", "change the type"),
        (TIER % "required: {t: {min: 5, max: 4}}", "max is 4, which is less than min, 5", ""),
        (TIER % "required: {t: {min: true}}", "min is true; expected a number", "10"),
        (TIER % "required: {t: {values: [5, 10], min: 7}}", "1:58: the number 5 is not at least 7", "leave out"),
        (TIER % "required: {t: {values: [a, b], pattern: b}}", "1:58: the string 'a' is not a text like b", ""),
        (TIER % "required: {t: {pattern: [a-z]+}}", "not YAML", "quotation marks"),
        (TIER % "required: {t: {values: []}}", "the list of values is empty", ""),
        (TIER % "required: {t: {values: [[a]]}}", "an array is no value to compare with", ""),
        (TIER % "required: {t: {type: string, values: [a, 5]}}", "1:75: the number 5 is not a string", ""),
        ("events: {ping: {occurs: often}}", "1:25: occurs is the string 'often'", "expected one of always, never"),
        ("events: {ping: {occurs: 2}}", "1:25: occurs is the number 2", "{min: 1, max: 3}"),
        ("events: {ping: {occurs: {}}}", "1:25: occurs has neither min nor max", "leave it out"),
        ("events: {ping: {occurs: {min: 1.5}}}", "1:31: min is the number 1.5; expected a whole number", ""),
        ("events: {ping: {occurs: {min: 3, max: 2}}}", "1:39: max is 2, which is less than min, 3", ""),
        ("events: {ping: {occurs: {least: 3}}}", "1:26: occurs has an unknown key 'least'", "min, max"),
        ("events: {all: {occurs: always}}", "1:24: occurs is about events of one type", "each type"),
        ("pings: {content: 10}", "1:18: a rate is the number 10", "{every_s: 10, plus_minus_s: 2}"),
        ("pings: 10", "1:8: pings is the number 10", "content: {every_s: 10, plus_minus_s: 2}"),
        ("pings: {content: {every_s: 1, plus_minus_s: -2}}", "1:45: plus_minus_s is -2", ""),
        ("pings: {content: {every_s: 10}}", "1:18: the rate has no plus_minus_s", "{every_s: 10, plus_minus_s: 2}"),
        ("pings: {content: {every_s: 0, plus_minus_s: 2}}", "1:28: every_s is 0", ""),
        ("pings: {playing: {every_s: 1, plus_minus_s: 2}}", "1:9: pings has an unknown key 'playing'", "content"),
        ("rules: {ping-gpa: off}", "1:9: rules has an unknown key 'ping-gpa'", "did you mean ping-gap?"),
        ("rules: [ping-gap]", "1:8: rules is a list", "write ping-gap: off"),
        ("rules: {ping-gap: none}", "1:19: the severity is the string 'none'", "error, warning, info, off"),
        ("groups: [{}]", "1:10: the group does not say which sessions it is for", "player"),
        ("groups: [{where: {os: x}}]", "1:19: where has an unknown key 'os'", ""),
        ("groups: [{where: {app-version: 2}}]", "1:32: the number 2 is no name", '"2"'),
        ("groups: [{where: {player: []}}]", "1:27: the list is empty", ""),
        ("groups: {where: {}}", "1:9: groups is a mapping; expected a list", "a - before each group"),
        ("groups: [x]", "1:10: a group is the string 'x'", "where: {player: NAME}"),
        ("groups: [{where: a=b}]", "1:18: where is the string 'a=b'", "{player: NAME}"),
        ("groups: [{player: x}]", "1:11: a group has an unknown key 'player'", "below where"),
        ("groups: [{where: {player: x}, rules: {}}]", "1:31: a group has an unknown key 'rules'", "top of the plan"),
        ("extends: none.yaml", "1:10: there is no", "relative to this file"),
        ("extends: plan.yaml", "1:10: the plan extends itself: plan.yaml → plan.yaml", "circle"),
        ("events: {play: {extends: [ping]}}", "1:27: the plan says nothing of 'ping'", "write ping: below events"),
        ("events: {play: {extends: pign}}", "1:26: the plan says nothing of 'pign'", "did you mean ping?"),
        ("events: {play: {extends: ping}, ping: {extends: play}}", "the event extends itself: play → ping → play", ""),
        ("events:\n  ping: {}\n  ping: {}", "3:3: ping is here for the second time", "put together"),
        ("events: [", "not YAML", ""),
        ("events:\n\tping: {}", "2:1: not YAML", "spaces"),
        ('events: {ping: {params: {required: {x: {pattern: "\\d"}}}}}', "1:52: not YAML", "single quotes"),
    ],
)
def test_a_bad_plan_is_told_with_its_place(tmp_path, text, message, hint):
    with pytest.raises(SettingsError, match=re.escape(message)) as raised:
        planned(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'plan.yaml'}:")
    assert hint in raised.value.hint
    assert "\n" not in f"{raised.value}{raised.value.hint}"


def test_keys_that_are_almost_those_of_the_protocol_are_noted_with_their_place(tmp_path):
    base = "events: {play: {params: {forbidden: [analytics.visitorid]}}}"
    text = """extends: base.yaml
events:
  play:
    params: {required: {media.lenght: number, media.length: number}, optional: [media.title, media.quality]}
    qoeData: {optional: [media.qoe.bitrates, bitrate, media.length]}
    customMetadata: {optional: [media.lenght]}
groups: [{where: {player: a}, events: {all: {params: {optional: [media.ad.lenght]}}}}]
"""
    plan = planned(tmp_path, text, base=base)
    assert plan.notes == (
        f"{tmp_path}/base.yaml:1:38: the protocol has no 'analytics.visitorid' in params; did you mean analytics.visitorId?",
        f"{tmp_path}/plan.yaml:4:25: the protocol has no 'media.lenght' in params; did you mean media.length?",
        f"{tmp_path}/plan.yaml:5:26: the protocol has no 'media.qoe.bitrates' in qoeData; did you mean media.qoe.bitrate?",
        f"{tmp_path}/plan.yaml:5:46: the protocol has no 'bitrate' in qoeData; did you mean media.qoe.bitrate?",
        f"{tmp_path}/plan.yaml:5:55: the protocol has no 'media.length' in qoeData; it belongs in params",
        f"{tmp_path}/plan.yaml:7:66: the protocol has no 'media.ad.lenght' in params; did you mean media.ad.length?",
    )


def test_groups_and_what_is_said_of_further_keys_are_inherited(tmp_path):
    plan = planned(
        tmp_path,
        """
        extends: base.yaml
        events: {play: {params: {optional: [x]}}}
        groups: [{where: {player: "*"}, events: {ping: {extends: bufferStart}}}]
        """,
        base="""
        events: {play: {params: {further_keys: false}}, bufferStart: {params: {required: [b]}}}
        groups: [{where: {player: "*"}, events: {play: {params: {required: [z]}}}}]
        """,
    )
    judgement = judged(plan, start(), sent(params={"x": 1, "y": 1}), sent(params={}, type="ping"))
    assert told(judgement) == [
        ("plan-missing", 2, "/params"),
        ("plan-unexpected", 2, "/params/y"),
        ("plan-missing", 3, "/params"),
    ]


def test_long_lists_of_values_are_cut_in_messages(tmp_path):
    plan = planned(tmp_path, TIER % "required: {tier: {values: [a, b, c, d, e, f, g, h, i, j]}}")
    (finding,) = found(judged(plan, start(), sent({"tier": "x"})))
    assert finding.message.endswith("the plan says one of 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', …")


def test_the_plans_in_the_docs_are_plans(tmp_path):
    docs = Path(__file__).parents[3] / "docs" / "plans.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```", docs.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        assert planned(tmp_path, block).part.pings


def test_a_circle_of_files_and_a_bad_base_are_told(tmp_path):
    with pytest.raises(
        SettingsError, match=r"base\.yaml:1:10: the plan extends itself: plan\.yaml → base\.yaml → plan\.yaml"
    ):
        planned(tmp_path, "extends: base.yaml", base="extends: plan.yaml")
    with pytest.raises(SettingsError, match=r"base\.yaml:1:1: a plan has an unknown key"):
        planned(tmp_path, "extends: base.yaml", base="x: 1")


def test_events_that_extend_many_others_are_read_quickly(tmp_path):
    from proxy_addon.core.protocol import EVENTS

    types = list(EVENTS)
    lines = [f"  {type}: {{extends: [{', '.join(types[:place])}]}}" for place, type in enumerate(types) if place]
    plan = planned(tmp_path, "\n".join(["events:", f"  {types[0]}: {{params: {{required: [x]}}}}", *lines]))
    assert all(sections for sections in plan.part.events.values())
