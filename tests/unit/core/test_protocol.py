"""The table and the rules are those of the protocol's description, no more and no fewer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_addon.core import protocol
from proxy_addon.core.rules import MODULES, RULES
from proxy_addon.core.rules.rule import SECTIONS

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SPEC = json.loads((SAMPLES / "protocol.json").read_text(encoding="utf-8"))
SPEC_RULES = json.loads((SAMPLES / "rules.json").read_text(encoding="utf-8"))
"""Ids, severities and sections of the spec's rule tables, and which rules are marked as certain to ruin the data."""


def test_event_types_are_those_of_the_spec():
    assert list(protocol.EVENTS) == list(SPEC["events"])
    for name, said in SPEC["events"].items():
        event = protocol.EVENTS[name]
        assert event.needs_params == said["needs_params"]
        assert event.takes_metadata == said["takes_metadata"]
        assert event.rank == said["rank"]
        assert list(event.expected_quality) == said["expected_quality"]
        listed = {key.name for key in protocol.PARAMS.values() if name in key.events}
        assert {key.name for key in protocol.PARAMS.values() if name in key.required} == set(said["required"])
        assert listed >= {*said["required"], *said["optional"]}


@pytest.mark.parametrize(("table", "said"), [(protocol.PARAMS, SPEC["params"]), (protocol.QUALITY, SPEC["quality"])])
def test_keys_are_those_of_the_spec(table, said):
    assert list(table) == list(said)
    for name, key in table.items():
        assert key.type == said[name]["type"]
        assert key.events == set(said[name].get("events", ()))
        assert key.required == set(said[name].get("required", ()))
        assert key.minimum == said[name].get("minimum")
        assert list(key.values) == said[name].get("values", [])
        assert key.not_empty == said[name].get("not_empty", False)
        assert key.legacy == said[name].get("legacy", False)


def test_wrong_names_and_standard_states_are_those_of_the_spec():
    assert dict(protocol.WRONG_EVENT_NAMES) == SPEC["wrong_event_names"]
    assert set(protocol.STANDARD_STATES) == set(SPEC["states"])


def test_rules_are_those_of_the_spec_in_its_order_with_its_severities():
    assert [(rule.id, rule.severity.value) for rule in RULES.values()] == [
        (said["id"], said["severity"]) for said in SPEC_RULES
    ]
    assert len(RULES) == 118


def test_what_is_certain_to_ruin_the_data_is_not_lowered_when_upstream_takes_it():
    assert [said["id"] for said in SPEC_RULES if said["certain_to_ruin"] and RULES[said["id"]].from_schema] == []


def test_only_errors_over_frame_params_and_quality_are_lowered():
    sections = {said["id"]: said["section"] for said in SPEC_RULES}
    lowered = [rule for rule in RULES.values() if rule.from_schema]
    assert {sections[rule.id] for rule in lowered} == {"11.2", "11.3", "11.4"}
    assert {rule.severity.value for rule in lowered} == {"error"}


def test_the_state_rules_alone_decide_between_the_two_orders():
    sections = {said["id"]: said["section"] for said in SPEC_RULES}
    assert {sections[rule.id] for rule in RULES.values() if rule.weighs} == {"12.2", "12.3", "12.4"}
    of_state = {id for id, section in sections.items() if section in ("12.2", "12.3", "12.4")}
    assert {id for id in of_state if not RULES[id].weighs} == {"session-start-first", "session-opened-twice"}


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_has_a_page_with_every_section(rule):
    assert rule.summary.endswith(".")
    assert len(rule.summary) <= 100
    assert tuple(rule.page) == SECTIONS
    assert all(text.strip() for text in rule.page.values())


def test_each_module_of_rules_is_loaded():
    from proxy_addon.core import rules

    files = {path.stem for path in Path(rules.__file__).parent.glob("*.py")}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == files - {
        "__init__", "rule", "limits", "clocks", "playback", "body_views", "session_view", "planned"
    }  # fmt: skip
