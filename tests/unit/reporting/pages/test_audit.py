"""The page of an audit: which sessions are in the file, how few are read, and what it opens with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.audits.baselines import compared
from proxy_addon.core.audits.changes import Changes, Compared, Comparison, Side
from proxy_addon.core.audits.results import Audit, LossSeen, RuleBroken
from proxy_addon.core.audits.totals import GroupTotals
from proxy_addon.core.audits.verdicts import Sentence
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import Reported, of_held
from proxy_addon.reporting.audits.folders import without_folder
from proxy_addon.reporting.pages.audit import MOST_IN_FULL, html, to_look_at
from tests import audited
from tests.audited import GOOD
from tests.builders import at
from tests.reports import parts_of

WEB = "Web Player"
AS_OF = as_of(at(10**6), DEFAULT)


@pytest.fixture(scope="module")
def held() -> list[HeldSession]:
    return list(audited.sessions([GOOD, WEB]))


@pytest.fixture(scope="module")
def audit(held: list[HeldSession]) -> Audit:
    return audited.audited(held)


def reported(held: HeldSession) -> Reported:
    return of_held(held, AS_OF, DEFAULT)


def looking(rule: RuleBroken, *ids: str) -> RuleBroken:
    return replace(rule, look_at=ids)


def test_the_worst_session_of_each_rule_comes_first_and_groups_come_after_the_whole(audit):
    one, other, *_ = audit.all.findings
    loss = LossSeen(loss="refused", sessions=1, share=0.1, times=1, time_s=None, time_share=None, look_at=("d", "a"))
    whole = replace(audit.all, findings=(looking(one, "a", "b", "c"), looking(other, "b", "e")), losses=(loss,))
    group = replace(whole, findings=(looking(one, "g", "a"),), losses=())
    changed = changed_like("x", "a")
    of_group = replace(changed, name=group.name, changes=changed_like("y").changes)
    without = replace(audit, all=whole, groups=(group,))
    assert to_look_at(without) == ["a", "b", "d", "e", "c", "g"]
    assert to_look_at(replace(without, baseline=Comparison(baseline="old", all=changed, groups=(of_group,)))) == [
        "a",
        "b",
        "d",
        "x",
        "e",
        "c",
        "g",
        "y",
        "chance",
    ]


def changed_like(*ids: str) -> Changes:
    """Return changes of which one names these sessions, and a difference that may be chance another one."""
    side = Side(sessions=0, of=0, share=0.0)
    change = Compared(what="event", before=side, after=side, test="fisher", p=0.0, look_at=ids, change="appeared")
    same = compared({None: GroupTotals()}, {None: GroupTotals()}, baseline="old", grouped=False).all
    return replace(same, changes=(change,), may_be_chance=(replace(change, look_at=("chance",)),))


def test_groups_of_files_are_named_without_the_folder_that_they_share(audit: Audit):
    def named(*names: str) -> Audit:
        groups = [replace(group, name=name) for group, name in zip(audit.groups, names, strict=True)]
        return replace(audit, groups=tuple(groups), by="recording")

    for names, short in (
        (("/t/tapes/a.har", "/t/tapes/of tv/a.har"), ["a.har", "of tv/a.har"]),
        (("tapes/a.har", "(other groups)"), ["a.har", "(other groups)"]),
        (("tapes/a.har", "tape/a.har"), ["tapes/a.har", "tape/a.har"]),
        (("/tapes/a.har", "/b.har"), ["/tapes/a.har", "/b.har"]),
    ):
        assert [group.name for group in without_folder(named(*names)).groups] == short
    said = replace(audit.all.verdict, sentences=(Sentence(about="changes", text="`ping` in `tapes/a.har`"),))
    changed = replace(named("tapes/a.har", "tapes/b.har"), all=replace(audit.all, verdict=said))
    assert without_folder(changed).all.verdict.text == "ping in a.har"
    assert without_folder(replace(changed, by="player")) == replace(changed, by="player")


def test_the_page_opens_with_the_rows_of_its_groups_and_has_each_group_as_a_part(audit, held):
    known = {each.session.id: each for each in held}
    parts = parts_of("".join(html(audit, [reported(known[id]) for id in to_look_at(audit)], pseudonymised=True)))
    value = parts["value"]
    assert "groups" not in value["audit"]
    assert [group["name"] for group in value["groups"]] == [GOOD, WEB] == [parts[f"group-{n}"]["name"] for n in (0, 1)]
    assert value["groups"][1]["found"] == {"error": 1, "warning": 12, "info": 6}
    assert value["matrix"]["param-missing"] == [0, 3]
    assert value["turns"] == {}
    assert value["required"]["adStart"][0].startswith("params/media.ad.")

    missing = next(rule for rule in audit.all.findings if rule.rule == "param-missing")
    worst = value["sessions"][missing.look_at[0]]
    assert worst["messages"]["param-missing"] == "media.channel is missing; sessionStart needs it"
    assert parts[f"session-{worst['part']}"]["session"]["id"] == missing.look_at[0]
    assert parts[f"traffic-{worst['part']}"]
    assert value["to_look_at"] == len(value["sessions"]) == 10


def test_no_more_sessions_are_read_than_the_file_takes(audit, held):
    read = []

    def sessions():
        for number in range(MOST_IN_FULL + 10):
            read.append(number)
            yield reported(replace(held[0], session=replace(held[0].session, id=f"s{number}")))

    parts = parts_of("".join(html(audit, sessions(), pseudonymised=True)))
    assert len(read) == len(parts["value"]["sessions"]) == MOST_IN_FULL
    assert f"session-{MOST_IN_FULL - 1}" in parts
    assert f"session-{MOST_IN_FULL}" not in parts
