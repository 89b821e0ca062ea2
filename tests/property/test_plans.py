"""A plan that is made of sessions passes these sessions, and what plans say can be merged."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_addon.core.audits.auditing import Auditor, By, Grouping, start_is_known
from proxy_addon.core.audits.coverage import Key, Section
from proxy_addon.core.audits.hiding import RAW, Hide, Raw
from proxy_addon.core.audits.plan_parts import (
    ALL,
    TYPES,
    EventPlan,
    KeyPlan,
    Occurs,
    Part,
    Presence,
    Rate,
    SectionPlan,
)
from proxy_addon.core.audits.planning import plan_of
from proxy_addon.core.audits.plans import Plan, PlanGroup, Wanted
from proxy_addon.core.audits.totals import MOST_UNPLANNED, Deviations, GroupTotals, merged
from proxy_addon.core.audits.walking import State
from proxy_addon.core.findings import Deviation
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.files.plans import load
from tests.builders import BEGIN_MS, at, body, event, event_dict, start
from tests.property.exchanges import exchanges_of_a_session

_NAMES = st.sampled_from(
    ["tier", "a: b", "#", "null", "1", "off", "é\u2028", "*x", "'", '"', " ", "~", "\ud83c", "a\nb"]
) | st.text(max_size=3)
_VALUES = st.recursive(
    st.sampled_from(["gold", "silver", "", "*\\", 0, 1, -3, 2.5, 10**400, -1e300, True, None])
    | st.text(max_size=3)
    | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
_MEMBERS = st.dictionaries(_NAMES, _VALUES, max_size=4)


class Hidden(Raw):
    """Hides what begins like a name of a person."""

    def __call__(self, _key: Key, _kind: str, text: str) -> str:
        return text.replace("gold", "tok-1")

    def name(self, text: str) -> str:
        return text.replace("*x", "tok-2")


@st.composite
def sessions(draw: st.DrawFn) -> list[HeldSession]:
    """Return sessions whose events have members that are hard to write, some of them in random orders."""
    found: list[HeldSession] = []
    for number in range(draw(st.integers(1, 4))):
        types = draw(st.lists(st.sampled_from(["play", "ping", "ping", "pauseStart", "odd"]), max_size=6))
        types += ["ping"] * draw(st.sampled_from([0, 13]))  # so many that they get a rate
        passed = draw(st.lists(st.integers(0, 90_000), min_size=len(types), max_size=len(types)))
        exchanges = [start()]
        ts = BEGIN_MS
        for place, (type, after_ms) in enumerate(zip(types, passed, strict=True), 1):
            ts += after_ms
            members: dict[str, Any] = {
                section: draw(_MEMBERS) for section in draw(st.sets(st.sampled_from(["qoeData", "customMetadata"])))
            }
            value = event_dict(type, ts=ts, playhead=place, params=draw(st.none() | _MEMBERS), **members)
            exchanges.append(event(after_s=(ts - BEGIN_MS) / 1_000, body=body(value)))
        held = list(fold(exchanges)) + (list(fold(draw(exchanges_of_a_session()))) if draw(st.booleans()) else [])
        player = draw(st.sampled_from(["One", "Two *", "a\\*", None]))
        found += [
            replace(each, session=replace(each.session, id=f"{number:08x}{place:08x}", player_name=player))
            for place, each in enumerate(held)
        ]
    return found


@given(sessions(), st.sampled_from([1, 10]), st.sampled_from([None, By.PLAYER]), st.sampled_from([RAW, Hidden()]))
def test_a_plan_made_of_sessions_passes_them(held, times, by, hide: Hide):
    auditor = Auditor(Grouping(by=by), as_of(at(10**6), DEFAULT))
    for each in held:
        auditor.add_held(each, DEFAULT)
    text = plan_of(merged([auditor.groups] * times), by, hide)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "PLAN.yaml"
        path.write_text(text, encoding="utf-8")
        plan = load(path)
    policy = plan.applied_to(DEFAULT)
    for each in held:
        judgement = judge_held(each, policy)
        assert not judgement.deviations, text
        assert not [finding for finding in judgement.findings if finding.rule.startswith("plan-")]


@settings(max_examples=15)
@given(sessions(), st.data())
def test_parts_of_an_audit_merge_to_the_same_deviations(held, data):
    strict = Part(further_keys=False, events={ALL: {Section.PARAMS: SectionPlan(keys={"tier": REQUIRED})}})
    only_one = PlanGroup(where={By.PLAYER: Wanted(names=("One",))}, part=Part())
    strict = replace(strict, pings={State.CONTENT: Rate(every_s=10, plus_minus_s=2)})
    plan = Plan(name="x", part=strict, groups=(PlanGroup(where={}, part=Part()), only_one))
    parts = [GroupTotals() for _ in range(3)]
    groups = GroupTotals()
    for each in held:
        for totals in (groups, data.draw(st.sampled_from(parts))):
            auditor = Auditor(Grouping(), as_of(at(10**6), DEFAULT))
            auditor.groups = {None: totals}
            auditor.add_held(each, plan.applied_to(DEFAULT))
    merged = GroupTotals()
    for part in data.draw(st.permutations(parts)):
        merged.merge(part)
    whole = groups.all()
    assert merged.all().plan.kept() == whole.plan.kept()
    assert merged.all().plan_groups == whole.plan_groups
    ones = sum(each.session.player_name == "One" and start_is_known(each.session) for each in held)
    assert whole.plan_groups == {0: len(held), **({1: ones} if ones else {})}


@settings(max_examples=15)
@given(st.data(), st.integers(MOST_UNPLANNED - 2, MOST_UNPLANNED * 2 + 3))
def test_of_very_many_deviations_the_same_are_kept(data, number):
    parts = [Deviations(), Deviations()]
    whole = Deviations()
    planned = {Deviation("plan-missing", "play", "params", f"key {place}", "required") for place in range(5)}
    for place, deviation in enumerate(planned):
        for deviations in (whole, parts[place % 2]):
            deviations.add(deviation, "s", 1, 1)
    for place in range(number):
        deviation = Deviation("plan-unexpected", "play", "params", f"key {place}", "not in the plan")
        for session in range(1 + place % 2):
            for deviations in (
                whole,
                parts[data.draw(st.integers(0, 1)) if place % 500 == 0 else (place + session) % 2],
            ):
                deviations.add(deviation, f"s{session}", session, 1)
    first, second = parts
    first.merge(second)
    assert first.kept() == whole.kept()
    assert first.has_all == whole.has_all == (number <= MOST_UNPLANNED)
    assert len(whole.each) <= 2 * MOST_UNPLANNED + len(planned)
    assert planned <= whole.kept().keys(), "keys that devices make up do not push out what the plan says"
    assert len(whole.kept()) == len(planned) + min(number, MOST_UNPLANNED)


REQUIRED = KeyPlan(presence=Presence.REQUIRED)
_KEY_PLANS = st.builds(
    KeyPlan, presence=st.sampled_from(Presence), types=st.frozensets(st.sampled_from(TYPES), max_size=2)
)
_FLAGS = st.none() | st.booleans()
_SECTIONS = st.builds(SectionPlan, keys=st.dictionaries(st.sampled_from("abc"), _KEY_PLANS), further_keys=_FLAGS)
_EVENTS: st.SearchStrategy[EventPlan] = st.dictionaries(st.sampled_from(Section), _SECTIONS)
_RATES = st.none() | st.builds(Rate, every_s=st.integers(1, 9), plus_minus_s=st.integers(0, 3))
_PARTS = st.builds(
    Part,
    events=st.dictionaries(st.sampled_from([ALL, "play", "ping"]), _EVENTS),
    further_events=_FLAGS,
    further_keys=_FLAGS,
    pings=st.dictionaries(st.sampled_from(State), _RATES),
    occurs=st.dictionaries(
        st.sampled_from(["play", "ping", "sessionEnd"]),
        st.none() | st.builds(Occurs, least=st.integers(0, 2), most=st.none() | st.integers(0, 3)),
    ),
)


@given(_PARTS, _PARTS, _PARTS)
def test_parts_merge_in_any_grouping_and_the_last_one_wins(one, two, three):
    assert one.with_more(two).with_more(three) == one.with_more(two.with_more(three))
    assert one.with_more(Part()) == Part().with_more(one) == one.with_more(one) == one
    merged = one.with_more(two)
    for type, sections in two.events.items():
        for section, plan in sections.items():
            assert merged.events[type][section].keys.items() >= plan.keys.items()


@given(_PARTS, st.lists(st.tuples(st.sampled_from(["play", "ping", "odd"]), _MEMBERS, _MEMBERS), max_size=5))
def test_whatever_devices_send_is_judged(part, events):
    exchanges = [
        start(),
        *(event(body=body(event_dict(type, params=params, qoeData=more))) for type, params, more in events),
    ]
    (held,) = fold(exchanges)
    judgement = judge_held(held, Plan(name="x", part=part).applied_to(DEFAULT))
    of_plan = [finding for finding in judgement.findings if finding.rule.startswith("plan-")]
    assert sum(finding.count for finding in of_plan) == sum(judgement.deviations.values())
    json.dumps([(finding.message, finding.pointer) for finding in of_plan])
