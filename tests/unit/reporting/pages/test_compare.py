"""The page of a comparison: its verdict in a sentence, and rows that name events by their numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.replays.aligning import Kind
from proxy_addon.core.replays.runs import SessionRun, Step, StepOutcome
from proxy_addon.core.timelines.aligned import Aligned, Match
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages.compare import (
    ComparePage,
    Comparing,
    Side,
    compare_page,
    expectation_page,
    replay_page,
    sessions_page,
)
from tests import builders, personal

NOW = builders.at(4000)
ONE = fold([builders.start(), builders.event("play", after_s=1), builders.event("sessionEnd", after_s=9)])[0]
OTHER = fold(
    [
        builders.start(),
        builders.preflight(after_s=1),
        builders.event("play", after_s=1, playhead=7, response=builders.response(400)),
    ]
)[0]


def compared(a: HeldSession, b: HeldSession) -> ComparePage:
    at = as_of(NOW, DEFAULT)
    one, other = (Side(picture=of_held(held, at, DEFAULT).picture()) for held in (a, b))
    return sessions_page(one, other)


def test_two_sessions_that_are_the_same_are_so_said():
    page = compared(ONE, ONE)
    assert (page.verdict["level"], page.verdict["word"]) == ("pass", "Same")
    assert page.verdict["headline"] == "All 3 events are the same."


def test_what_differs_stands_in_rows_that_name_events_as_their_own_pages_do():
    page = compared(ONE, OTHER)
    assert page.verdict["headline"] == "1 of 3 events differs, 1 only in A."
    assert [row[:4] for row in page.rows] == [(1, 1, "same", False), (2, 3, "changed", True), (3, None, "only-a", True)]
    assert [(where, a, b) for where, a, b, _ in page.rows[1][4]] == [("status", "204", "400"), ("playhead", "0", "7")]
    document = json.loads(json.dumps(page.document()))
    assert [side["label"] for side in document["sides"]] == ["A", "B"]
    assert document["sides"][1]["page"]["events"]["n"] == [1, 3]
    assert page.title == f"Different: {ONE.session.id} and {OTHER.session.id}"


def test_a_replay_says_how_late_each_request_was_sent():
    outcomes = [StepOutcome.SAME, StepOutcome.SKIPPED, StepOutcome.SAME]
    steps = (
        Step(seq=seq, event_type=None, outcome=outcome, drift_ms=seq * 1.25) for seq, outcome in enumerate(outcomes, 1)
    )
    run = SessionRun(source=ONE.session.id, session_id=None, new_session_id="new", steps=tuple(steps))
    side = Side(picture=of_held(ONE, as_of(NOW, DEFAULT), DEFAULT).picture())
    page = replay_page(side, run, name="run 1")
    assert page.drift == [(1, 1.2), (2, 3.8)]
    assert [each["is_judged"] for each in page.sides] == [True, False]
    assert compared(ONE, OTHER).drift == []


def test_the_numbers_add_up_though_not_all_that_only_one_has_counts():
    side = Side(picture=of_held(ONE, as_of(NOW, DEFAULT), DEFAULT).picture())
    same = Match(a=(1, ""), b=(1, ""), kind=Kind.SAME)
    ping, play = (Match(a=None, b=(n, ""), kind=Kind.ONLY_B, counts=n == 3) for n in (2, 3))
    verdict = compare_page(Comparing.EXPECTATION, side, side, Aligned(matches=(same, ping, play))).verdict
    counts = {name: number for name, number, _ in verdict["counts"]}
    assert counts == {"events": 3, "the same": 1, "differ": 0, "missing": 0, "not expected": 1, "ignored": 1}
    verdict = compare_page(Comparing.REPLAY, side, side, Aligned(matches=(ping,))).verdict
    assert verdict["headline"] == "Nothing differs but what the run was told to change."
    assert (verdict["level"], verdict["counts"][0][0]) == ("pass", "event")


@pytest.mark.parametrize(
    ("actual", "headline"), [(ONE, "All 3 events are the same."), (OTHER, "1 of 3 events differs, 1 missing.")]
)
def test_a_test_says_what_it_expected(actual: HeldSession, headline: str):
    page = expectation_page(compare_tracking(actual, ONE), expected="film.json", actual="run", now=NOW)
    assert page.verdict["headline"] == headline
    assert page.verdict["level"] == ("pass" if actual is ONE else "fail")
    assert [side["name"] for side in page.sides] == ["film.json", "run"]


def test_a_comparison_without_personal_values_repeats_none_in_its_differences():
    def renamed(exchange: Exchange) -> Exchange:
        body = exchange.request.body.replace(personal.VISITOR.encode(), b"visitor-of-film-4712")
        return replace(exchange, request=replace(exchange.request, body=body))

    (expected,) = fold(personal.playback())
    (actual,) = fold([renamed(exchange) for exchange in personal.playback()])
    made = compare_tracking(actual, expected)
    for tokens in (None, Pseudonymiser(b"key")):
        page = expectation_page(made, expected="a", actual="b", now=NOW, pseudonymise=tokens)
        said = json.dumps([page.rows, page.remarks, page.passed_over], ensure_ascii=False)
        assert ("visitor-of-film" in said) is (tokens is None)


def test_a_body_that_is_an_empty_list_has_its_row_too():
    (empty,) = fold(
        [builders.start(), builders.event(id="e", body=b"[]"), builders.event("sessionEnd", id="f", after_s=2)]
    )
    page = compared(empty, empty)
    assert [row[:3] for row in page.rows] == [(1, 1, "same"), (2, 2, "same"), (3, 3, "same")]
