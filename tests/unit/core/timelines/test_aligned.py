"""Two sessions beside each other: each event in one row, and all that was passed over counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from proxy_addon.core.expectations.compare import Compare
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.replays.aligning import align, entries, replayed
from proxy_addon.core.replays.runs import Difference, Sent, SessionRun, Step, StepOutcome
from proxy_addon.core.timelines.aligned import (
    Aligned,
    beside_expected,
    beside_replay,
    drifts_ms,
    sent_in,
    shift_by_playhead_s,
    side_by_side,
)
from proxy_addon.core.timelines.marks import Mark, marks_of
from tests import builders
from tests.played import Cue, film, pinged, recorded

FILM = pinged(film())


def marks(held: HeldSession) -> list[Mark]:
    return [mark for seq, exchange in enumerate(held.exchanges, 1) for mark in marks_of(exchange, seq)]


def expected(actual: HeldSession, of: HeldSession, **compare: Any) -> Aligned:
    return beside_expected(compare_tracking(actual, of, Compare.parsed(compare, "film.json")), marks(of), marks(actual))


def told(aligned: Aligned) -> dict[str, int | None]:
    return {each.what: each.count for each in aligned.passed_over}


def test_what_is_near_enough_is_passed_over_and_counted():
    one = [builders.start(after_s=0), builders.event("play", after_s=1, playhead=1), builders.event("ping", after_s=11)]
    other = [
        builders.start(after_s=9),
        builders.event("play", after_s=10.4, playhead=1.5),
        builders.event("sessionEnd"),
    ]
    aligned = side_by_side(align(entries(one), entries(other)), answers=False)
    assert [(match.a, match.b, match.kind.value, match.counts) for match in aligned.matches] == [
        ((1, ""), (1, ""), "same", False),
        ((2, ""), (2, ""), "same", False),
        ((3, ""), None, "only-a", True),
        (None, (3, ""), "only-b", True),
    ]
    assert told(aligned) == {"ts": 1, "playhead": 1, "status": 2, "headers and session IDs": None}
    assert not aligned.is_same
    assert side_by_side(align(entries(one), entries(one))).is_same


def test_a_session_beside_its_replay_is_what_was_sent():
    exchanges = [
        builders.start(),
        builders.preflight(after_s=1),
        builders.event("play", after_s=2),
        builders.event("ping", after_s=12),
    ]
    steps = (
        Step(
            seq=1,
            event_type="sessionStart",
            outcome=StepOutcome.SAME,
            status=201,
            latency_ms=5.0,
            sent_at=builders.at(60),
        ),
        Step(seq=2, event_type=None, outcome=StepOutcome.SKIPPED, reason="a preflight"),
        Step(
            seq=3,
            event_type="play",
            outcome=StepOutcome.DIFFERENT,
            status=400,
            sent_at=builders.at(62),
            drift_ms=8.5,
            differences=(Difference(where="status", a=204, b=400),),
        ),
        Step(seq=4, event_type="ping", outcome=StepOutcome.SKIPPED, reason="interrupted"),
    )
    run = SessionRun(source="s1", session_id="old", new_session_id="new", steps=steps)
    aligned = beside_replay(replayed(entries(exchanges), run), run)
    assert [(match.a, match.b, match.kind.value) for match in aligned.matches] == [
        ((1, ""), (1, ""), "same"), ((3, ""), (2, ""), "changed"), ((4, ""), None, "only-a"),
    ]  # fmt: skip
    assert [(each.where, each.a, each.b) for each in aligned.matches[1].unlike] == [("status", "204", "400")]
    assert drifts_ms(run) == {2: 8.5}, "by the place among those that were sent"
    session, sent = sent_in(builders.session(), exchanges, run)
    assert (session.session_id, session.started_at) == ("new", builders.at(60))
    assert session.last_event_at - session.started_at == timedelta(seconds=2)
    assert [None if each.response is None else each.response.status for each in sent] == [201, 400]
    assert [mark.type for seq, each in enumerate(sent, 1) for mark in marks_of(each, seq)] == ["sessionStart", "play"]


def test_what_a_run_was_told_to_change_is_shown_and_counts_for_nothing():
    exchanges = [builders.start(), builders.event("play", after_s=2)]
    sent = Sent(body_sha256="", differences=(Difference(where="/params/media.name", a="A", b="B"),))
    answer = Difference(where="status", a=204, b=400)
    steps = (
        Step(seq=1, event_type="sessionStart", outcome=StepOutcome.SAME, status=201, sent=sent),
        Step(seq=2, event_type="play", outcome=StepOutcome.DIFFERENT, status=400, sent=sent, differences=(answer,)),
    )
    run = SessionRun(source="s1", session_id="old", new_session_id="new", steps=steps)
    aligned = beside_replay(replayed(entries(exchanges), run), run)
    assert [(match.kind.value, match.counts) for match in aligned.matches] == [("changed", False), ("changed", True)]
    assert [each.where for each in aligned.matches[0].unlike] == ["/params/media.name"]
    assert told(aligned)["changes in requests"] == 1


def test_every_event_of_a_test_stands_in_one_row():
    one, other = recorded(FILM), recorded([cue for cue in FILM if cue.type != "error"], begin_ms=builders.BEGIN_MS + 7)
    aligned = expected(other, one)
    assert sorted(match.a for match in aligned.matches if match.a) == sorted(mark.place for mark in marks(one))
    assert sorted(match.b for match in aligned.matches if match.b) == sorted(mark.place for mark in marks(other))
    assert [(match.kind.value, match.unlike[0].message) for match in aligned.matches if match.counts] == [
        ("only-a", next(iter(compare_tracking(other, one).differences)).message)
    ]


@pytest.mark.parametrize(
    ("compare", "what", "why"),
    [
        ({}, "params/media.sdkVersion", "it differs each time, so only its presence and type count"),
        ({}, "params/analytics.visitorId", "it differs each time, so only its presence and type count"),
        ({"ignore": ["sessionStart:params"]}, "params/media.sdkVersion", "ignored by the rule sessionStart:params"),
    ],
)
def test_what_was_not_compared_is_said_with_the_reason(compare: dict[str, Any], what: str, why: str):
    def another(value: dict[str, Any]) -> None:
        if value["eventType"] == "sessionStart":
            value["params"] |= {"media.sdkVersion": "app-9", "analytics.visitorId": "visitor-8"}

    aligned = expected(recorded(FILM, changed=another), recorded(FILM), **compare)
    assert aligned.is_same
    assert [each.why for each in aligned.passed_over if each.what == what] == [why]


def test_events_of_a_type_that_is_ignored_and_attempts_that_were_repeated_are_counted():
    held = recorded(FILM)
    pings = sum(mark.type == "ping" for mark in marks(held))
    assert told(expected(held, held, ignore=["ping:*"]))["events ping"] == 2 * pings
    refused = replace(held.exchanges[1], id="again", response=builders.response(500))
    retried = replace(held, exchanges=(held.exchanges[0], refused, *held.exchanges[1:]))
    assert told(expected(retried, held))["events"] == 1


def test_pings_that_stop_are_rows_that_count():
    gone = [cue for cue in FILM if not (cue.type == "ping" and 420 < cue.at_s < 460)]
    aligned = expected(recorded(gone), recorded(FILM))
    lost = [match for match in aligned.matches if match.counts]
    assert {match.kind.value for match in lost} == {"only-a"}
    assert len(lost) == len(FILM) - len(gone)


def test_playheads_meet_once_a_pre_roll_is_taken_off():
    content = [Cue(at_s=n, type="ping", playhead_s=n) for n in range(10, 60, 10)]
    start = Cue(at_s=0, type="sessionStart", params=builders.START_PARAMS)
    one = recorded([start, *content])
    other = recorded([start, *(replace(cue, at_s=cue.at_s + 35) for cue in content)])
    aligned = side_by_side(align(entries(one.exchanges), entries(other.exchanges)))
    assert shift_by_playhead_s(aligned.matches, marks(one), marks(other)) == -35
    assert shift_by_playhead_s(aligned.matches, marks(one), marks(one)) is None
    assert shift_by_playhead_s((), marks(one), marks(other)) is None
