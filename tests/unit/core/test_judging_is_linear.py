"""What judging costs, counted in steps: calls of `Playback.advance`, of which each event needs one in each of two orders."""

from __future__ import annotations

import pytest

from proxy_addon.core.judging import SessionFacts, SessionJudge
from proxy_addon.core.rules.playback import Playback, SessionEvent
from tests.unit.core.rules.played import Played, events_of, pings

ORDERS = 2


class Steps:
    """How many steps were made since it was asked last."""

    def __init__(self) -> None:
        self.made = 0

    def taken(self) -> int:
        taken, self.made = self.made, 0
        return taken


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


@pytest.mark.parametrize("asking", [False, True])
def test_ten_times_as_many_events_in_the_order_of_their_times_take_ten_times_as_many_steps(steps, asking):
    taken = []
    for number in (100, 1_000):
        judge = SessionJudge(SessionFacts())
        listen(judge, events_of(playback(number)), asking=asking)
        judge.findings(is_over=True)
        taken.append(steps.taken() + 1)  # the last event is in the second order only when its time is over
    assert taken == [ORDERS * 100, ORDERS * 1_000]


@pytest.mark.parametrize("asking", [False, True])
def test_events_of_one_time_are_settled_again_each_time_they_are_asked_for_and_no_others(steps, asking):
    judge = SessionJudge(SessionFacts())
    pairs = [(event, ("bitrateChange", *event[1:])) for event in pings(10, 5_000)]  # in the order SDKs do not mean
    listen(judge, events_of(event for pair in pairs for event in pair), asking=asking)
    events = 2 * len(pairs)
    assert steps.taken() <= (ORDERS + 2 * asking) * events


def test_one_late_event_costs_one_more_walk_when_it_is_asked_for_and_later_events_none(steps):
    judge = SessionJudge(SessionFacts())
    before = events_of(playback(1_000))
    late, *after = events_of([("bitrateChange", 5_005, 5_005, None, None, 10_000), *pings(10_000, 14_990)])
    listen(judge, before, asking=True)
    assert steps.taken() <= ORDERS * len(before)

    listen(judge, [late], asking=False)
    assert (judge.is_stale, steps.taken()) == (True, 0)
    judge.findings(is_over=False)
    assert steps.taken() <= ORDERS * (len(before) + 1)

    listen(judge, after, asking=True)
    assert steps.taken() <= ORDERS * len(after) + 1


def test_many_late_events_between_two_questions_cost_one_walk(steps):
    judge = SessionJudge(SessionFacts())
    events = events_of(playback(1_000))
    listen(judge, events[:500], asking=False)
    steps.taken()
    listen(judge, [*events[:0:-1]], asking=False)
    assert steps.taken() <= ORDERS * 500
    judge.findings(is_over=False)
    judge.findings(is_over=True)
    assert steps.taken() <= ORDERS * 2 * len(judge)


def test_a_walk_is_the_same_whether_times_are_those_of_arrival_or_not(steps):
    for facts in (SessionFacts(by_arrival=False), SessionFacts(is_batch=True)):
        listen(SessionJudge(facts), events_of(playback(300)), asking=True)
        assert steps.taken() + 1 == ORDERS * 300
