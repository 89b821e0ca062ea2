from __future__ import annotations

from types import ModuleType

import pytest

from proxy_addon.core.rules import RULES, chapters_and_states, order, pings, playhead
from tests.unit.core.rules import test_chapters_and_states, test_order, test_pings, test_playhead

TESTS = {
    chapters_and_states: test_chapters_and_states,
    order: test_order,
    playhead: test_playhead,
    pings: test_pings,
}


def noted(tests: ModuleType, what: str) -> set[str]:
    return {rule for test in vars(tests).values() for rule in getattr(test, what, ())}


@pytest.mark.parametrize(("rules", "tests"), TESTS.items(), ids=lambda module: module.__name__.rpartition(".")[2])
def test_each_rule_has_a_session_that_breaks_it_alone_and_one_that_nearly_does(rules, tests):
    ids = {id for id, rule in RULES.items() if rule.check.__module__ == rules.__name__}
    assert ids
    assert noted(tests, "breaks") == ids
    assert noted(tests, "keeps") == ids


def test_there_are_25_of_these_rules():
    modules = {rules.__name__ for rules in TESTS}
    assert sum(rule.check.__module__ in modules for rule in RULES.values()) == 25
