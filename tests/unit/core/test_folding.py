"""Findings as people read them: by place, each only once, with its consequences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.findings import Finding, Place, Severity, element_of, member_of
from proxy_addon.core.folding import Folded, as_list, fold, in_order, place_of


def found(rule: str, seq: int | None = None, severity: Severity = Severity.WARNING, **rest) -> Finding:
    return Finding(rule=rule, severity=severity, message=rest.pop("message", "m"), seq=seq, **rest)


def error(rule: str, seq: int | None = None, **rest) -> Finding:
    return found(rule, seq, Severity.ERROR, **rest)


def told(folded: list[Folded]) -> list[tuple[str, int, list[tuple[str, int]]]]:
    return [(f.finding.rule, f.count, [(c.finding.rule, c.count) for c in f.consequences]) for f in folded]


def test_one_finding_on_96_exchanges_is_told_once_with_the_first_places():
    (folded,) = fold(found("ts-type", seq, pointer="/playerTime/ts") for seq in range(96, 0, -1))
    assert (folded.count, folded.finding.seq) == (96, 1)
    assert folded.elsewhere == "96 times: #1, #2, #3, #4, #5, …"


def test_places_in_elements_of_a_batch_are_places_too():
    (folded,) = fold(found("param-unknown", 8, pointer=f"/{index}/params/a") for index in (2, 0))
    assert folded.elsewhere == "2 times: #8/1, #8/3"
    assert (folded.told.pointer, folded.finding.pointer) == ("/params/a", "/0/params/a")


def test_the_places_of_a_finding_of_many_are_those_of_all_that_are_folded():
    of_session = found("ping-gap", 4, count=30, others=tuple(Place(seq) for seq in range(5, 24)))
    folded, alone = fold([found("ping-gap", None), of_session])
    assert (folded.count, folded.elsewhere) == (30, "30 times: #4, #5, #6, #7, #8, …")
    assert (alone.finding.seq, alone.elsewhere) == (None, "")
    assert (folded.told.count, folded.told.others) == (1, ())


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "s"}, {"severity": Severity.INFO}, {"lowered_by": "x"}, {"authority": "y"}, {"pointer": "/b"},
        {"seq": None},
    ],
)  # fmt: skip
def test_findings_that_do_not_say_the_same_are_told_one_by_one(change):
    one = found("r", 1, pointer="/a")
    assert len(fold([one, replace(one, seq=2, **({} if "seq" in change else change)), replace(one, **change)])) == 2


def test_other_values_are_mentioned():
    (folded,) = fold([found("r", 1, message="is 1"), found("r", 2, message="is 2")])
    assert (folded.told.message, folded.elsewhere) == ("is 1", "2 times, with other values too: #1, #2")


def test_what_is_said_of_one_event_in_other_words_is_told_one_by_one():
    missing = [
        found("param-missing", seq, pointer="/params", message=f"{p} is missing") for seq in (1, 2) for p in "ab"
    ]
    assert [(f.told.message, f.count) for f in fold(missing)] == [("a is missing", 2), ("b is missing", 2)]
    assert [f.count for f in fold([missing[0], missing[3]])] == [1, 1], "nor of two events"
    twice = [found("json-duplicate-key", 1, message=f"{name!r} comes twice") for name in "ab"]
    assert [f.count for f in fold([*twice, replace(twice[0], seq=2)])] == [2, 1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ts is the string '1'", "ts is the string 'a b'", True),
        ("is -1.5e+300 s", "is 7 s", True),
        ("media.a1 is missing", "media.a2 is missing", False),
        ("is null", "is true", False),
        ('is "it\'s"', "is 'x'", True),
    ],
)
def test_messages_that_differ_in_values_alone_say_the_same(one, other, same):
    assert (len(fold([found("r", 1, message=one), found("r", 2, message=other)])) == 1) is same


def test_a_refusal_follows_from_the_first_error_of_its_exchange_and_from_nothing_else():
    findings = [
        found("upstream-refused", 3), found("upstream-refused", 4), found("upstream-refused", 5),
        error("ts-type", 3), error("param-type", 3), error("ts-type", 4), found("param-empty", 5),
        error("ad-outside-break", 5), error("ad-outside-break", 3),
    ]  # fmt: skip
    assert told(fold(findings)) == [
        ("ts-type", 2, [("upstream-refused", 2)]),
        ("param-type", 1, []),
        ("ad-outside-break", 2, []),
        ("upstream-refused", 1, []),
        ("param-empty", 1, []),
    ]


def test_what_upstream_said_is_never_hidden_behind_another_answer():
    said = [
        found("upstream-refused", seq, message=f"upstream answered 400: {why!r}") for seq, why in enumerate("aba", 1)
    ]
    assert [(folded.finding.message[-2:-1], folded.count) for folded in fold(said)] == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("cause", "consequence"),
    [("playhead-in-milliseconds", "playhead-beyond-length"), ("ts-not-milliseconds", "ts-clock-skew")],
)
def test_a_wrong_unit_is_why_a_value_is_far_off(cause: str, consequence: str):
    assert told(fold([found(consequence, 3), found(cause, 5)])) == [(cause, 1, [(consequence, 1)])]
    assert told(fold([found(consequence, 3)])) == [(consequence, 1, [])]


def test_findings_are_in_the_order_of_their_places():
    findings = [found("a"), found("b", 10), found("c", 9, pointer="/10/x"), found("d", 9, pointer="/9"), found("e", 9)]
    assert [finding.rule for finding in in_order(findings)] == ["e", "d", "c", "b", "a"]


def test_what_has_an_extent_tells_where_it_ends():
    assert place_of(found("playhead-frozen", 8, until_seq=12)) == "#8..#12"
    assert place_of(found("playhead-frozen", 8, until_seq=8)) == "#8"
    assert place_of(found("session-not-closed")) == ""


@pytest.mark.parametrize(
    ("pointer", "element", "member"),
    [
        (None, None, None), ("", None, ""), ("/params/0", None, "/params/0"), ("/0", 1, ""), ("/events/11/ts", 12, "/ts"),
        ("/0x", None, "/0x"), ("/events", None, "/events"), ("/" + "9" * 5000, None, "/" + "9" * 5000),
    ],
)  # fmt: skip
def test_a_pointer_says_which_event_of_a_list_it_is_in(pointer, element, member):
    assert (element_of(pointer), member_of(pointer)) == (element, member)


def test_in_a_file_that_is_a_list_the_number_of_the_event_is_its_place():
    of_body = as_list(found("ts-type", None, pointer="/3/playerTime/ts"))
    of_session = as_list(found("ping-gap", 4, pointer="/3", count=2, others=(Place(5, "/4"),)))
    assert [place_of(each) for each in (of_body, of_session)] == ["#4", "#4"]
    assert [str(place) for place in of_session.places] == ["#4", "#5"]
    of_plan = as_list(found("plan-value", None, pointer="/3/params/a", count=2, others=(Place(0, "/4/params/a"),)))
    assert [str(place) for place in of_plan.places] == ["#4", "#5"]
    assert as_list(found("body-empty")) == found("body-empty")
