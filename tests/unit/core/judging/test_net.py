"""A rule that fails is a finding of its own, and hides nothing that the others find."""

from __future__ import annotations

from typing import Any

import pytest

from proxy_addon.core.findings import CHECKER_FAILED, Finding, Severity
from proxy_addon.core.judging import exchanges, files, net
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.files import FileKind, judge_file
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import RULES, Scope
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.rules.playback import Playback
from tests.breaking import failing
from tests.builders import BEGIN_MS, at, body, event, event_dict, exchange, response, session, start

LAST_S = 700
"""Longer than the back end waits, so that all that can be asked of a session is asked."""


def played() -> list[Any]:
    """A session with something for each kind of rule."""
    odd = event_dict("ping", ts=BEGIN_MS + 2000, params={"media.ad.length": "30"}, nonsense=1)
    return [
        start(id="a"),
        event("adStart", id="b", after_s=1, params={"media.ad.id": 5}),
        event("ping", id="c", after_s=2, body=body(odd), response=response(400)),
        event("sessionEnd", id="d", after_s=LAST_S),
    ]


def judged(policy: Policy = DEFAULT) -> list[Finding]:
    watch = SessionWatch(session(ended=True, exchanges=4, events=4), at(LAST_S), policy)
    list(watch.judging(played()))
    return list(watch.judgement().findings)


def sound(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.rule != CHECKER_FAILED]


@pytest.mark.parametrize("scope", Scope)
def test_of_each_kind_of_rule_those_that_fail_are_named_and_the_others_speak(scope):
    others = [finding for finding in judged() if RULES[finding.rule].scope is not scope]
    assert others
    broken = {rule.id for rule in RULES.values() if rule.scope is scope}
    with failing(*broken):
        found = judged()
        failed = [finding for finding in found if finding.rule == CHECKER_FAILED]
    assert sound(found) == others
    named = {net.kind(finding) for finding in failed}
    assert named <= {f"rule {id} failed because of a bug in sessiontape" for id in broken}
    assert named
    for finding in failed:
        assert finding.severity is Severity.WARNING
        assert "ZeroDivisionError('on purpose') (_fail, line" in finding.message
        assert (finding.seq is None) == (scope in {Scope.STANDING, Scope.CLOSING})


def test_a_rule_that_fails_at_many_places_is_told_once_with_their_number():
    with failing("ts-clock-skew", "param-type"):
        found = [finding for finding in judged() if finding.rule == CHECKER_FAILED]
        batch = body([event_dict("ping", params={"x": 1}) for _ in range(50)])
        of_batch = [
            each
            for each in judge_body(batch, Operation.DOWNLOADED, vocabulary=Vocabulary())
            if each.rule == CHECKER_FAILED
        ]
    (of_session,) = [finding for finding in found if "ts-clock-skew" in finding.message]
    assert (of_session.seq, of_session.count) == (1, 4)
    assert [finding.pointer for finding in of_batch][:3] == ["/0", "/1", "/2"]
    assert sum(finding.count for finding in of_batch) == 50


def test_what_a_rule_found_before_it_failed_counts():
    def found_and_failed(event: Any) -> Any:
        yield from check(event)
        raise ZeroDivisionError

    rule = RULES["param-type"]
    check = rule.check
    with failing(rule.id):
        object.__setattr__(rule, "check", found_and_failed)
        found = judge_body(body(event_dict("sessionStart", params={"media.id": 7})), Operation.SESSIONS)
    assert {"param-type", CHECKER_FAILED, "param-missing"} <= {finding.rule for finding in found}


def test_a_suggestion_that_fails_does_not_cost_its_finding(monkeypatch):
    from proxy_addon.core.rules import frame

    def fail(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(frame, "_meant", fail)
    (finding,) = judge_body(body(event_dict("pley")), Operation.EVENTS)
    assert finding.rule == "event-type-unknown"
    assert "the suggestion failed because of a bug in sessiontape" in finding.message


@pytest.mark.parametrize(
    ("policy", "is_told"),
    [
        (DEFAULT, True),
        (Policy(ignore=frozenset({CHECKER_FAILED})), False),
        (Policy(ignore=frozenset({"param-type"})), False),
        (Policy(ignore=frozenset({"ping-gap"})), True),
        (Policy(select=frozenset({"param-type"})), True),
        (Policy(select=frozenset({"ping-gap"})), False),
        (Policy(select=frozenset({CHECKER_FAILED})), True),
        (Policy(severities={"param-type": None}), False),
    ],
)
def test_a_failure_is_reported_if_its_rule_is_selected(policy, is_told):
    with failing("param-type"):
        found = judge_exchange(exchange(body=body(event_dict("sessionStart"))), policy, Vocabulary())
    assert (CHECKER_FAILED in {finding.rule for finding in found}) is is_told


@pytest.mark.parametrize("scope", [Scope.SESSION, Scope.CLOSING])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_failure_of_a_session_rule_is_reported_unless_its_rule_is_ignored(scope, ignored):
    broken = {rule.id for rule in RULES.values() if rule.scope is scope}
    policy = Policy(ignore=frozenset(broken if ignored else ()))
    with failing(*broken):
        assert (CHECKER_FAILED in {finding.rule for finding in judged(policy)}) is not ignored


def test_a_failing_extent_does_not_lose_its_finding(monkeypatch):
    pings = [event("ping", id=f"p{n}", after_s=10 * n, playhead=5) for n in range(1, 8)]
    rule = RULES["playhead-frozen"]
    extent = rule.extent
    object.__setattr__(rule, "extent", RULES["ping-gap"].check)  # wants something else
    try:
        watch = SessionWatch(session(), at(80))
        list(watch.judging([start(id="a"), event("play", id="b", after_s=1, playhead=4), *pings]))
    finally:
        object.__setattr__(rule, "extent", extent)
    found = {finding.rule: finding for finding in watch.judgement().of_session}
    assert {"playhead-frozen", CHECKER_FAILED} <= found.keys()
    assert "rule playhead-frozen failed" in found[CHECKER_FAILED].message


def test_a_failure_beside_the_rules_only_loses_what_it_was_about(monkeypatch):
    advance = Playback.advance

    def failing_at_ad(self: Playback, each: Any) -> None:
        if each.type == "adStart":
            raise ZeroDivisionError
        advance(self, each)

    before = judged()
    monkeypatch.setattr(Playback, "advance", failing_at_ad)
    found = judged()
    bodies = [finding for finding in before if RULES[finding.rule].scope in {Scope.EVENT, Scope.BODY, Scope.EXCHANGE}]
    assert found[: len(bodies)] == bodies
    assert "ad-outside-break" in {finding.rule for finding in found}, "what was found up to there"
    assert "judging the session at #2 failed" in found[-1].message
    assert judged(Policy(ignore=frozenset({CHECKER_FAILED}))) == found[:-1]


def test_a_request_and_a_file_that_cannot_be_judged_are_told_as_such(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("x" * 1000)

    monkeypatch.setattr(exchanges, "_problems_of_body", fail)
    monkeypatch.setattr(files, "judge_body", fail)
    (of_exchange,) = judge_exchange(exchange(body=body(event_dict("sessionStart"))), vocabulary=Vocabulary())
    (of_file,) = judge_file(b"{}", FileKind.EVENTS).of_exchanges
    assert of_exchange.message.startswith("judging this request failed")
    assert of_file.message.startswith("judging this file failed")
    assert {len(of_exchange.message), len(of_file.message)} == {300}
