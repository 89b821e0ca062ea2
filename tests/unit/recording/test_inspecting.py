"""Verdicts in the hook: nothing that goes wrong there costs the exchange."""

from __future__ import annotations

import logging
from dataclasses import replace

from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.recording import inspecting
from proxy_addon.recording.inspecting import CHECKER_FAILED, Inspector
from tests.builders import body, event, event_dict

ODD = event("ping", params={"media.customKey": 1})


def test_it_judges_as_the_rules_do():
    assert Inspector(DEFAULT).findings(ODD) == judge_exchange(ODD) != []
    raw = body(event_dict("sessionStart", params={}))
    assert Inspector(DEFAULT).of_body(raw, Operation.SESSIONS, "u") == judge_body(raw, Operation.SESSIONS) != []


def test_settings_count():
    policy = Policy(params=(Key(name="media.customKey", type="integer"),))
    rules = {finding.rule for finding in Inspector(policy).findings(ODD)}
    assert "param-unknown" in {finding.rule for finding in Inspector(DEFAULT).findings(ODD)} - rules


def test_schemas_that_an_upstream_gave_count_for_it_alone(monkeypatch):
    inspector = Inspector(DEFAULT)
    expected = replace(Vocabulary().of("ping"), authority="schema 1", params={}, listed=frozenset())
    inspector._vocabularies["https://known.example"] = Vocabulary(schemas={"ping": expected})
    raw = body(event_dict("ping", params={"media.customKey": 1}))
    assert "schema 1" in {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://known.example")}
    assert {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://other.example")} == {"built-in"}
    known = replace(ODD, upstream="https://known.example")
    assert "schema 1" in {finding.authority for finding in inspector.findings(known)}
    assert {finding.authority for finding in inspector.findings(ODD)} == {"built-in"}


def test_the_endpoint_counts():
    raw = body(event_dict("sessionStart"))
    rules = {finding.rule for finding in Inspector(DEFAULT).of_body(raw, Operation.EVENTS, "u")}
    assert "session-start-on-events" in rules


def test_one_that_is_off_says_nothing():
    assert Inspector(DEFAULT, is_on=False).findings(ODD) == []


def test_rules_that_fail_are_a_finding_of_their_own(monkeypatch, caplog):
    def failing(*_: object) -> None:
        raise ZeroDivisionError("x" * 1000)

    monkeypatch.setattr(inspecting, "judge_exchange", failing)
    with caplog.at_level(logging.ERROR):
        (finding,) = Inspector(DEFAULT).findings(ODD)
    assert (finding.rule, finding.severity) == (CHECKER_FAILED, Severity.WARNING)
    assert "ZeroDivisionError" in finding.message
    assert len(finding.message) == 300
    assert "the rules failed on POST" in caplog.text
