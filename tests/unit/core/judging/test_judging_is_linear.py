"""What judging costs, counted in steps: calls of `Playback.advance`, of which each event needs one at least."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.rules.playback import Playback
from proxy_addon.core.rules.session_view import SessionEvent
from tests.unit.core.rules.played import Played, events_of, pings

FEW = 64
"""Steps from one mark of a walk to the next."""


class Steps:
    """How many steps were made since it was asked last."""

    def __init__(self) -> None:
        self.made = 0

    def taken(self) -> int:
        taken, self.made = self.made, 0
        return taken


pytestmark = pytest.mark.one_version


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counter = Steps()
    advance = Playback.advance

    def counted(playback: Playback, event: SessionEvent) -> None:
        counter.made += 1
        advance(playback, event)

    monkeypatch.setattr(Playback, "advance", counted)
    return counter


def playback(number: int) -> list[Played]:
    return [("sessionStart", 0, 0), ("play", 1, 0), *pings(10, 10 * (number - 2))]


def listen(judge: SessionJudge, events: list[SessionEvent], *, asking: bool) -> None:
    for event in events:
        judge.add(event)
        if asking:
            judge.findings(is_over=False)


def film(number: int) -> list[SessionEvent]:
    return events_of(playback(number))


@pytest.mark.parametrize("asking", [False, True])
def test_an_event_in_the_order_of_times_takes_one_step(steps, asking):
    for number in (100, 1_000):
        judge = SessionJudge(SessionFacts())
        listen(judge, film(number), asking=asking)
        judge.findings(is_over=True)
        assert steps.taken() == number


def test_a_walk_is_the_same_whether_times_are_those_of_arrival_or_not(steps):
    for facts in (SessionFacts(by_arrival=False), SessionFacts(is_batch=True)):
        listen(SessionJudge(facts), film(300), asking=True)
        assert steps.taken() == 300


def test_ties_in_an_order_that_is_not_meant_take_a_second_walk_and_a_few_steps_each_time_they_are_asked_for(steps):
    pairs = [(event, ("bitrateChange", *event[1:])) for event in pings(10, 5_000)]
    events = events_of(event for pair in pairs for event in pair)
    judge = SessionJudge(SessionFacts())
    listen(judge, events, asking=False)
    judge.findings(is_over=False)
    assert steps.taken() <= 2 * len(events)
    listen(SessionJudge(SessionFacts()), events, asking=True)
    assert steps.taken() <= (FEW + 2) * len(events)


def test_a_late_event_takes_steps_from_where_it_belongs_and_later_events_one(steps):
    judge = SessionJudge(SessionFacts())
    listen(judge, film(1_000), asking=True)
    steps.taken()
    late, *after = events_of([("bitrateChange", 9_905, 9_905, None, None, 10_000), *pings(10_000, 14_990)])
    listen(judge, [late], asking=False)
    assert (judge.is_behind, steps.taken()) == (True, 0)
    judge.findings(is_over=False)
    assert steps.taken() <= 2 * FEW
    listen(judge, after, asking=True)
    assert steps.taken() == len(after)


def test_an_exchange_that_was_overtaken_takes_steps_from_where_it_arrived(steps):
    judge = SessionJudge(SessionFacts())
    listen(judge, film(5_000), asking=True)
    steps.taken()
    for seq in range(4_990, 4_900, -10):
        judge.make_room(seq)
        judge.add(replace(film(5_000)[seq - 1], seq=seq, type="bitrateChange"))
        judge.findings(is_over=False)
    assert steps.taken() <= 9 * (100 + 2 * FEW)


def test_many_late_events_between_two_questions_cost_one_walk(steps):
    judge = SessionJudge(SessionFacts())
    events = film(1_000)
    listen(judge, events[:500], asking=False)
    steps.taken()
    listen(judge, [*events[:0:-1]], asking=False)
    assert steps.taken() <= 500
    judge.findings(is_over=False)
    judge.findings(is_over=True)
    assert steps.taken() <= 2 * len(judge)
