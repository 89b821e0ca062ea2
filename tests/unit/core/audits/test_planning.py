"""A plan made of a good player passes it, and names exactly what other players do otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.hiding import Hiding
from proxy_addon.core.audits.planning import plan_of
from proxy_addon.core.audits.plans import Plan
from proxy_addon.core.audits.results import Audit
from proxy_addon.core.audits.sketches import Histogram, lot_of
from proxy_addon.core.audits.totals import GroupTotals, Totals
from proxy_addon.core.audits.walking import State
from proxy_addon.core.events import read_body
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.files.plans import load
from proxy_addon.reporting.audits.tables import as_text
from tests import audited
from tests.audited import DEFECTS, GOOD, PLAYERS
from tests.builders import at, body

HIDE = Hiding(Pseudonymiser(bytes(32), PERSONAL))

AS_FACTS = {
    "plan-missing": "lacking",
    "plan-unexpected": "unexpected",
    "plan-type": "type",
    "plan-rate": "longer gaps",
    "plan-occurs": "lacking",
}
"""How `audited.facts` calls what rules of plans find."""


def audit(players: tuple[str, ...], policy: Policy, by: By | None = None) -> tuple[Audit, str]:
    auditor = Auditor(Grouping(by=by), as_of(at(10**6), policy))
    for held in audited.sessions(players):
        auditor.add_held(held, policy)
    result = audit_of(
        auditor.groups,
        by=by,
        now=at(0),
        source="here",
        plan=policy.plan.name if policy.plan else None,
        plan_groups=[str(group) for group in policy.plan.groups] if policy.plan else (),
    )
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
        "  sessionStart:  # 10 events in 10 sessions",
        "    occurs: always  # 1 in each session",
        "        # in all; 1 value; 104",
        "        media.length: {type: number, min: 10, max: 1040}",
        '        media.contentType: {type: string, values: ["vod"]}',
        "        media.channel: string",
        "        media.ad.podPosition: {type: integer, min: 1, max: 10}",
        "        media.ad.podSecond: {type: number, min: 0}",
        '        plan: {type: string, values: ["gold"]}',
        "  ping:  # 100 events in 10 sessions",
        "  content: {every_s: 10, plus_minus_s: 2}",
    ):
        assert line in text.splitlines()


def test_of_few_sessions_it_says_why_parts_are_missing():
    auditor = Auditor(Grouping(), as_of(at(10**6), DEFAULT))
    for number, held in enumerate(islice(audited.sessions((GOOD,)), 6)):
        exchanges = (held.exchanges[0], held.exchanges[2])
        auditor.add_held(HeldSession(session=replace(held.session, has_holes=number > 3), exchanges=exchanges), DEFAULT)
    lines = plan_of(auditor.groups, None, HIDE).splitlines()
    for line in (
        "# Of 2 of them, requests or bodies are not known: what only these would show, is missing below.",
        "# 6 sessions: too few to say which events occur in each; 10 are needed",
        "  sessionStart:  # 6 events in 6 sessions",
        '        # in all; 1 value; "vod"; no list of values: 10 sessions for each are needed',
        "        media.contentType: string",
        "pings: {}  # no two pings had one state of playback between them, so there are no rates",
    ):
        assert line in lines
    assert not [line for line in lines if "occurs:" in line]
    auditor.groups = {}
    auditor.add_held(audited.played(GOOD, 0), DEFAULT)
    lines = plan_of(auditor.groups, None, HIDE).splitlines()
    assert "        # in all; 1 value; 104; no range: 5 numbers are needed" in lines
    assert "  # 7 gaps between pings: 10 to 10 s; no rate: 10 gaps are needed" in lines


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([5] * 5, "{type: number, min: 1, max: 50}"),
        ([0, 5, 5, 5, 5], "{type: number, min: 0, max: 50}"),
        ([5.5] * 5, "{type: number, min: 0.55, max: 55}"),
        ([0.0012] * 5, "{type: number, min: 0.00012, max: 1}"),
        ([-3, 4, 4, 4, 4], "{type: number, min: -30, max: 40}"),
        ([126, 400, 4, 31, 31.5], "{type: number, min: 0.4, max: 4000}"),
    ],
)
def test_a_range_does_not_begin_at_zero_only_because_it_was_rounded(values, rule):
    totals = Totals(sessions=5)
    for value in values:
        totals.coverage.add(read_body(body({"eventType": "play", "customMetadata": {"a": value}})))
    totals.coverage.end_session(lot_of("1"))
    assert f"        a: {rule}" in plan_of({None: GroupTotals(totals)}, None, HIDE).splitlines()


@pytest.mark.parametrize(
    ("gaps_ms", "line"),
    [
        ([10_000] * 10 + [17_000], "  content: {every_s: 10, plus_minus_s: 8.4}"),
        ([490] * 10 + [4_000], "  content: null"),
    ],
)
def test_a_rate_allows_no_gap_of_zero(gaps_ms, line):
    totals = Totals(sessions=1)
    totals.rhythm.gaps["content"] = Histogram()
    totals.rhythm.gaps["content"].add_all(gaps_ms)
    *_, comment, rate = plan_of({None: GroupTotals(totals)}, None, HIDE).splitlines()
    assert rate == line
    assert comment.endswith("they are too different" if line.endswith("null") else "look at them, and narrow it")


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
    for held in audited.sessions((player,)):
        sent = {event.type for exchange in held.exchanges for event in exchange.request.reading.events}
        expected.update(f"lacking {type}" for type in plan.part.occurs if type not in sent and not held.session.failed)
    result, _ = audit((player,), plan.applied_to(DEFAULT))
    found: Counter[str] = Counter()
    for broken in result.all.plan:
        place = broken.key if broken.rule == "plan-rate" else f"{broken.event} {broken.section} {broken.key}".strip()
        found[f"{AS_FACTS[broken.rule]} {place}"] += broken.times
    assert found == expected
    told = "".join(as_text(result)).partition("not as in")[2].partition("losses")[0]
    assert '""' not in told
    assert "(not sent)" not in told
    of_rules = Counter(broken.rule for broken in result.all.findings if broken.rule.startswith("plan-"))
    assert of_rules.keys() == {broken.rule for broken in result.all.plan}


def test_by_group_each_part_passes_its_group_and_no_personal_value_is_written(tmp_path):
    _, text = audit(PLAYERS, DEFAULT, By.PLAYER)
    (tmp_path / "PLAN.yaml").write_text(text, encoding="utf-8")
    plan = load(tmp_path / "PLAN.yaml")
    assert [next(iter(group.where.values())).names for group in plan.groups] == [(name,) for name in sorted(PLAYERS)]
    result, _ = audit(PLAYERS, plan.applied_to(DEFAULT), By.PLAYER)
    assert not any(group.plan for group in result.groups)
    assert result.plan_unused == ()
    result, _ = audit((GOOD,), plan.applied_to(DEFAULT), By.PLAYER)
    assert result.plan_unused == tuple(f"player {name}" for name in sorted(PLAYERS) if name != GOOD)
    assert f"nothing\nno session is in the group of the plan: {result.plan_unused[0]}\n" in "".join(as_text(result))
    assert f"No session is in these groups of the plan: {', '.join(result.plan_unused[:3])}" in result.all.verdict.text
    result, _ = audit((), plan.applied_to(DEFAULT), By.PLAYER)
    assert result.plan_unused == ()
