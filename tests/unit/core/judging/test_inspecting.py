"""Verdicts by the settings of a recorder and the schemas of upstreams, and settings as a document."""

from __future__ import annotations

import json
from dataclasses import replace

from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.inspecting import Inspector
from proxy_addon.core.judging.policy import DEFAULT, Policy, from_document, to_document
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.rules.limits import Limits
from tests.builders import body, event, event_dict

ODD = event("ping", params={"media.customKey": 1})
OURS = Policy(
    severities={"ping-gap": None, "ts-type": Severity.INFO},
    params=(Key(name="media.customKey", type="integer", events=frozenset({"ping", "play"})),),
    limits=Limits(ping_gap_s=30, ad_ping_median_s=2.0),
    select=frozenset({"ts-type", "ping-gap"}),
    ignore=frozenset({"ts-order"}),
)


def test_it_judges_as_the_rules_do():
    assert Inspector(DEFAULT).of_exchange(ODD) == judge_exchange(ODD) != []
    raw = body(event_dict("sessionStart", params={}))
    assert Inspector(DEFAULT).of_body(raw, Operation.SESSIONS, "u") == judge_body(raw, Operation.SESSIONS) != []


def test_settings_are_applied():
    allowed = {finding.rule for finding in Inspector(Policy(params=OURS.params)).of_exchange(ODD)}
    assert "param-unknown" in {finding.rule for finding in Inspector(DEFAULT).of_exchange(ODD)} - allowed


def test_schemas_of_an_upstream_apply_to_it_alone():
    expected = replace(Vocabulary().of("ping"), authority="schema 1", params={}, listed=frozenset())
    inspector = Inspector(DEFAULT, {"https://known.example": Vocabulary(schemas={"ping": expected})})
    raw = body(event_dict("ping", params={"media.customKey": 1}))
    assert "schema 1" in {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://known.example")}
    assert {f.authority for f in inspector.of_body(raw, Operation.EVENTS, "https://other.example")} == {"built-in"}
    other = replace(ODD, upstream="https://other.example")
    assert "schema 1" not in {finding.authority for finding in inspector.of_exchange(other)}
    inspector.learn(other.upstream, Vocabulary(schemas={"ping": expected}))
    assert "schema 1" in {finding.authority for finding in inspector.of_exchange(other)}


def test_settings_come_back_from_a_document_as_they_were():
    assert from_document(json.loads(json.dumps(to_document(OURS)))) == OURS
    assert from_document(json.loads(json.dumps(to_document(DEFAULT)))) == DEFAULT


def test_what_another_version_wrote_is_read():
    written = to_document(OURS)
    del written["ignore"], written["limits"]["states"]
    written["limits"]["of_a_newer_version"] = written["newer"] = 1
    assert from_document(written) == replace(OURS, ignore=frozenset())
