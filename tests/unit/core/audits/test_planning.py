"""A plan made of a good player passes it, and names exactly what other players do otherwise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.hiding import Hiding
from proxy_addon.core.audits.planning import plan_of
from proxy_addon.core.audits.plans import Plan
from proxy_addon.core.audits.results import Audit, audit_of
from proxy_addon.core.audits.walking import State
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.files.plans import load
from tests import audited
from tests.audited import DEFECTS, GOOD, PLAYERS
from tests.builders import at

HIDE = Hiding(Pseudonymiser(bytes(32), PERSONAL))

AS_FACTS = {"plan-missing": "lacking", "plan-unexpected": "unexpected", "plan-type": "type", "plan-rate": "longer gaps"}
"""How `audited.facts` calls what rules of plans find."""


def audit(players: tuple[str, ...], policy: Policy, by: By | None = None) -> tuple[Audit, str]:
    auditor = Auditor(Grouping(by=by), as_of(at(10**6), policy))
    for held in audited.sessions(players):
        auditor.add_held(held, policy)
    result = audit_of(auditor.groups, by=by, now=at(0), source="here", plan=policy.plan.name if policy.plan else None)
    return result, plan_of(auditor.groups, by, HIDE)


@pytest.fixture(scope="module")
def text() -> str:
    return audit((GOOD,), DEFAULT)[1]


@pytest.fixture(scope="module")
def plan(text, tmp_path_factory) -> Plan:
    path: Path = tmp_path_factory.mktemp("plan") / "PLAN.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_it_says_what_was_seen(text):
    assert text.startswith("# A tracking plan, made of 10 sessions of 2026-03-01")
    for line in (
        "  sessionStart:  # 10 events",
        "        # in all; 1 value; 104",
        "        media.length: {type: integer, min: 10, max: 1040}",
        '        media.contentType: {type: string, values: ["vod"]}',
        "        media.channel: string",
        '        plan: {type: string, values: ["gold"]}',
        "  ping: {}  # 100 events",
        "  content: {every_s: 10, plus_minus_s: 2}",
    ):
        assert line in text.splitlines()


def test_it_passes_the_good_player(plan):
    result, _ = audit((GOOD,), plan.applied_to(DEFAULT))
    assert (result.all.plan, result.all.clean, result.plan) == ((), 10, "PLAN.yaml")


@pytest.mark.parametrize("player", PLAYERS[1:])
def test_it_fails_the_others_for_exactly_their_defects(plan, player):
    expected: Counter[str] = Counter()
    for defect in DEFECTS:
        if defect.player == player:
            for fact, number in defect.facts.items():
                kind, _, place = fact.rpartition(" ")
                is_planned = kind != AS_FACTS["plan-rate"] or State(place) in plan.part.pings
                if (
                    is_planned
                    and fact.startswith(tuple(f"{each} " for each in AS_FACTS.values()))
                    and "type unknown" not in fact
                ):
                    expected[fact.removesuffix(" string")] += number * len(defect.sessions)
    result, _ = audit((player,), plan.applied_to(DEFAULT))
    found: Counter[str] = Counter()
    for broken in result.all.plan:
        place = broken.key if broken.rule == "plan-rate" else f"{broken.event} {broken.section} {broken.key}"
        found[f"{AS_FACTS[broken.rule]} {place}"] += broken.times
    assert found == expected
    of_rules = Counter(broken.rule for broken in result.all.findings if broken.rule.startswith("plan-"))
    assert of_rules.keys() == {broken.rule for broken in result.all.plan}


def test_by_group_each_part_passes_its_group_and_no_personal_value_is_written(tmp_path):
    _, text = audit(PLAYERS, DEFAULT, By.PLAYER)
    (tmp_path / "PLAN.yaml").write_text(text, encoding="utf-8")
    plan = load(tmp_path / "PLAN.yaml")
    assert [next(iter(group.where.values())).names for group in plan.groups] == [(name,) for name in sorted(PLAYERS)]
    result, _ = audit(PLAYERS, plan.applied_to(DEFAULT), By.PLAYER)
    assert not any(group.plan for group in result.groups)
