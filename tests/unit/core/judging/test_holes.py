"""A file that lacks requests or bodies of a session does not make its player look worse than it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.exchange import BodyState, Exchange
from proxy_addon.core.findings import Holes
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.rules import RULES
from proxy_addon.core.sessions import SessionState
from tests import builders
from tests.builders import at

SESSION = [
    builders.start(id="1"),
    builders.event("adBreakStart", id="2", after_s=1),
    builders.event("adStart", id="3", after_s=1.01),
    builders.event("adComplete", id="4", after_s=16),
    builders.event("adBreakComplete", id="5", after_s=16.01),
    builders.event("play", id="6", after_s=16.02),
    builders.event("ping", id="7", after_s=26, playhead=10),
    builders.event("sessionEnd", id="8", after_s=36, playhead=20),
]


def without_body(exchange: Exchange) -> Exchange:
    return replace(exchange, request=replace(exchange.request, body=b"", body_state=BodyState.MISSING))


def lacking(*ids: str) -> HeldSession:
    (held,) = fold(without_body(each) if each.id in ids else each for each in SESSION)
    return held


def rules(held: HeldSession, policy: Policy = DEFAULT) -> list[str]:
    return [finding.rule for finding in judge_held(held, policy).of_session]


def test_a_body_that_is_not_known_is_not_an_event_that_was_not_sent():
    assert rules(lacking()) == []
    for id in "12345678":
        held = lacking(id)
        assert rules(held) == []
        assert replace(held, session=replace(held.session, has_holes=False)) != held
        assert rules(replace(held, session=replace(held.session, has_holes=False))) != [] or id in "67"


def test_what_was_not_judged_is_said_with_the_rules_that_were_asked_for():
    assert judge_held(lacking()).holes is None
    holes = judge_held(lacking("4", "7")).holes
    assert holes is not None
    assert (holes.bodies, holes.requests) == (2, 8)
    assert set(holes.rules) == {rule.id for rule in RULES.values() if not rule.despite_holes}
    asked = Policy(select=frozenset({"ping-gap", "ts-equal"}))
    assert judge_held(lacking("4"), asked).holes == Holes(bodies=1, requests=8, rules=("ping-gap",))
    assert judge_held(lacking("4"), Policy(select=frozenset({"ts-equal"}))).holes is None
    assert judge_held(lacking("4"), Policy(severities={"ping-gap": None}, select=frozenset({"ping-gap"}))).holes is None


def test_requests_that_a_tool_leaves_out_are_holes_too():
    held = lacking()
    judged = judge_held(replace(held, session=replace(held.session, has_holes=True))).holes
    assert judged is not None
    assert (judged.bodies, judged.requests) == (0, 8)


def test_what_is_certain_is_reported_all_the_same():
    ids = ("4", "8")
    late = builders.event("ping", id="9", after_s=40, ts=builders.BEGIN_MS + 20_000, params=None)
    (held,) = fold([without_body(each) if each.id in ids else each for each in [*SESSION, late]])
    assert rules(held) == ["ts-backwards"]


def test_a_batch_is_there_as_a_whole():
    batch = builders.batch([{"eventType": "play", "playerTime": {"playhead": 0, "ts": 1}}])
    (held,) = fold([batch])
    judgement = judge_held(replace(held, session=replace(held.session, has_holes=True)))
    assert judgement.holes is None
    assert "session-start-first" in {finding.rule for finding in judgement.of_session}


def test_a_session_with_holes_that_ran_out_is_not_counted_as_unclosed():
    session = builders.session(events=3)
    later = as_of(at(86_400), DEFAULT)
    assert session.state(later) is SessionState.EXPIRED
    assert session.finding_counts(later).info == 1
    assert not replace(session, has_holes=True).finding_counts(later)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_the_page_of_a_rule_says_whether_holes_stop_it(rule):
    assert ("is not applied to a session of which" in rule.page["Known limits"]) is not rule.despite_holes
