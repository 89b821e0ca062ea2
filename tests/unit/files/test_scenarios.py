"""Scenarios of a team: read from YAML, and what is wrong in one is told with its line and column."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import jsonschema_rs
import pytest

from proxy_addon.core.scenarios.scenario import SCHEMA
from proxy_addon.errors import SettingsError
from proxy_addon.files.scenarios import named, scenario_of, scenarios
from proxy_addon.files.yaml import parse_yaml

ROOT = Path(__file__).parents[3]
OWN = """\
title: Ours
about: For us.
sources: [our plan]
steps: [Play.]
sessions:
  - name: The playback
    allows: ts-equal
    expect:
      - that: It is played.
        sequence:
          - event: sessionStart
          - event: play
            params: {media.qoe.bitrate: {at_least: 1}}
            after_s: {at_least: 1}
      - that: It is counted.
        metrics: {player_states.mute.count: [1, 2]}
"""
WRONG = [
    ("title: Ours", "title: [1]", "own.yaml:1:8: title is an array; expected a text"),
    ("title: Ours\n", "", "own.yaml:1:1: title is missing"),
    ("steps: [Play.]", "steps: []", "own.yaml:4:8: the list is empty"),
    ("steps: [Play.]", "steps: Play.", "own.yaml:4:8: steps is the string 'Play.'; expected a list, as in [a, b]"),
    (
        "steps: [Play.]",
        "steps: [Play: it]",
        "own.yaml:4:9: item 1 is an object; expected a text; put one with a colon in it in",
    ),
    ("steps: [Play.]", "steps: [Play., 7]", "own.yaml:4:16: item 2 is the number 7; expected a text"),
    ("about:", "abuot:", "own.yaml:2:1: unknown key 'abuot'; did you mean about?"),
    ("event: play", "event: plya", "own.yaml:12:20: unknown event type 'plya'; did you mean play?"),
    (
        "sequence:\n          - event: sessionStart\n",
        "sequence:\n",
        "own.yaml:13:13: after_s refers to the step before, and this",
    ),
    ("ts-equal", "ts-eqaul", "own.yaml:7:13: unknown rule 'ts-eqaul'; did you mean ts-equal?"),
    (
        "player_states.mute.count",
        "pause_event",
        "own.yaml:16:19: unknown metric 'pause_event'; did you mean pause_events?",
    ),
    ("after_s: {at_least: 1}", "after_s: {at_least: 9, at_most: 1}", "own.yaml:14:22: at_least 9 is above at_most 1"),
    ("after_s: {at_least: 1}", "after_s: {}", "own.yaml:14:22: at_least or at_most is missing"),
    ("after_s: {at_least: 1}", "after_s: {min: 1}", "own.yaml:14:23: unknown key 'min'; expected at_least or at_most"),
    ("after_s: {at_least: 1}", "after_s:", "own.yaml:14:13: after_s has no value; expected a number, or {at_least: …"),
    ("after_s: {at_least: 1}", "after_s: soon", "own.yaml:14:22: after_s is the string 'soon'; expected a number, or"),
    ("{at_least: 1}}", "{matches: '('}}", "own.yaml:13:51: not a regular expression: "),
    ("{at_least: 1}}", "{at_least: 1, present: true}}", "own.yaml:13:41: present stands alone"),
    ("metrics: {", "never: play\n        metrics: {", "own.yaml:17:9: metrics cannot stand beside never: give it a"),
    ("        metrics: {player_states.mute.count: [1, 2]}\n", "", "own.yaml:15:9: one of sequence, count, "),
    (
        "metrics: {player_states.mute.count: [1, 2]}",
        "end: closed",
        "own.yaml:16:14: unknown end of a session 'closed'; expected completed, ended or unclosed",
    ),
    (
        "metrics: {player_states.mute.count: [1, 2]}",
        "after: {same: [media.id]}",
        "own.yaml:16:9: after refers to the session before",
    ),
]


def test_a_scenario_is_called_like_its_file():
    assert scenario_of(parse_yaml(OWN, "plans/07-ours.yaml")).id == "ours"


@pytest.mark.parametrize(("old", "new", "problem"), WRONG, ids=[problem for *_, problem in WRONG])
def test_what_is_wrong_is_told_with_its_place(old, new, problem):
    text = OWN.replace(old, new, 1)
    assert text != OWN
    with pytest.raises(SettingsError) as told:
        scenario_of(parse_yaml(text, "own.yaml"))
    assert str(told.value).startswith(problem)


def test_an_editor_accepts_what_we_accept():
    validator = jsonschema_rs.validator_for(SCHEMA)
    ours = sorted((ROOT / "proxy_addon" / "certifying").glob("*.yaml"))
    for text in [OWN, *(path.read_text("utf-8") for path in ours)]:
        validator.validate(parse_yaml(text, "own.yaml").value)
    beyond = ("is above at_most", "not a regular expression", "stands alone", " refers to the ")  # for a schema
    for old, new, problem in WRONG:
        is_valid = validator.is_valid(parse_yaml(OWN.replace(old, new, 1), "own.yaml").value)
        assert is_valid == any(each in problem for each in beyond), problem


def test_the_file_in_the_docs_is_the_schema():
    assert json.loads((ROOT / "docs" / "scenario.schema.json").read_text("utf-8")) == SCHEMA


def test_scenarios_of_a_folder_come_after_ours_or_in_their_place(tmp_path):
    own, empty = tmp_path / "own", tmp_path / "empty"
    own.mkdir()
    empty.mkdir()
    (own / "ours.yaml").write_text(OWN)
    (own / "1-live.yml").write_text(OWN)
    found = scenarios(own)
    assert [*found] == [*scenarios(), "ours"]
    assert found["live"].title == "Ours"
    assert named(found, ["ours", "seek"]) == [found["ours"], found["seek"]]
    with pytest.raises(SettingsError, match=r"unknown scenario oust; did you mean ours\?"):
        named(found, ["oust"])
    (own / "2-ours.yaml").write_text(OWN)
    with pytest.raises(SettingsError, match=r"2-ours\.yaml and .*ours\.yaml are the same scenario, ours"):
        scenarios(own)
    with pytest.raises(SettingsError, match=r"^empty\.yaml:1:1: the file is empty"):
        scenario_of(parse_yaml("# to come\n", "empty.yaml"))
    with pytest.raises(SettingsError, match="there are no scenarios in"):
        scenarios(empty)
    with pytest.raises(SettingsError, match="cannot read"):
        scenarios(tmp_path / "none")


def test_the_page_in_the_docs_has_all_of_them():
    docs = runpy.run_path(str(ROOT / "docs" / "scenarios.py"))
    assert docs["PAGE"].read_text("utf-8") == docs["page"](scenarios().values())
