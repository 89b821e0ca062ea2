"""Verdicts in the hook: a failure there never loses an exchange."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.recording.inspecting import JUDGED_AT_ONCE, Inspector
from tests.breaking import failing
from tests.builders import body, event, event_dict

ODD = event("ping", params={"media.customKey": 1})


def large(less: int = 0) -> Exchange:
    """Return an exchange with a body one byte over the limit for judging at once, minus a number of bytes."""
    sent = body(event_dict("ping"))
    return event("ping", body=sent + b" " * (JUDGED_AT_ONCE - len(sent) + 1 - less))


def test_it_judges_as_the_rules_do():
    assert Inspector(DEFAULT).findings(ODD) == judge_exchange(ODD) != []
    raw = body(event_dict("sessionStart", params={}))
    assert Inspector(DEFAULT).of_body(raw, Operation.SESSIONS, "u") == judge_body(raw, Operation.SESSIONS) != []


def test_settings_are_applied():
    policy = Policy(params=(Key(name="media.customKey", type="integer"),))
    rules = {finding.rule for finding in Inspector(policy).findings(ODD)}
    assert "param-unknown" in {finding.rule for finding in Inspector(DEFAULT).findings(ODD)} - rules


def test_schemas_of_an_upstream_apply_to_it_alone(monkeypatch):
    inspector = Inspector(DEFAULT)
    expected = replace(Vocabulary().of("ping"), authority="schema 1", params={}, listed=frozenset())
    inspector._vocabularies["https://known.example"] = Vocabulary(schemas={"ping": expected})
    raw = body(event_dict("ping", params={"media.customKey": 1}))
    assert "schema 1" in {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://known.example")}
    assert {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://other.example")} == {"built-in"}
    known = replace(ODD, upstream="https://known.example")
    assert "schema 1" in {finding.authority for finding in inspector.findings(known)}
    assert {finding.authority for finding in inspector.findings(ODD)} == {"built-in"}


def test_the_endpoint_is_taken_into_account():
    raw = body(event_dict("sessionStart"))
    rules = {finding.rule for finding in Inspector(DEFAULT).of_body(raw, Operation.EVENTS, "u")}
    assert "session-start-on-events" in rules


CLEAN = event("ping")


@pytest.mark.parametrize(
    ("inspector", "judged", "verdict"),
    [
        (Inspector(DEFAULT), CLEAN, []),
        (Inspector(DEFAULT), ODD, judge_exchange(ODD)),
        (Inspector(DEFAULT), large(), None),
        (Inspector(DEFAULT), large(1), judge_exchange(large(1))),
        (Inspector(DEFAULT, is_on=False), ODD, None),
    ],
)
def test_not_judged_yet_is_not_the_same_as_nothing_found(inspector, judged, verdict):
    assert inspector.at_once(judged) == verdict


def test_one_that_is_off_judges_where_somebody_asks():
    assert Inspector(DEFAULT, is_on=False).findings(ODD) == judge_exchange(ODD)


def test_each_kind_of_failure_is_logged_once_and_all_are_counted(caplog):
    inspector = Inspector(DEFAULT)
    with failing("param-type", "param-unknown"), caplog.at_level(logging.ERROR):
        for each in (ODD, ODD, event("ping", params={"media.id": 1}, id="\x1b")):
            inspector.findings(each)
    inspector.findings(CLEAN)
    assert inspector.failures.count == 6
    assert [record.getMessage().partition(" failed")[0] for record in caplog.records] == [
        "rule param-type",
        "rule param-unknown",
    ]
    assert caplog.records[0].getMessage().endswith(f"; first on POST {ODD.request.path}")
