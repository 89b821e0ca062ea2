"""An audit of five players names exactly the defects that they have, in their groups, with their numbers."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy_addon.core.audits.results import Audit, Group
from tests import audited
from tests.audited import DEFECTS, GOOD, PLAYERS, SESSIONS


@pytest.fixture(scope="module")
def audit() -> Audit:
    return audited.audited(audited.sessions())


def group(audit: Audit, name: str) -> Group:
    (found,) = [each for each in audit.groups if each.name == name]
    return found


def test_the_players_are_the_groups_and_the_good_one_has_nothing(audit):
    assert [each.name for each in audit.groups] == sorted(PLAYERS)
    assert {each.sessions for each in audit.groups} == {SESSIONS}
    good = group(audit, GOOD)
    assert (good.findings, good.clean) == ((), SESSIONS)
    assert not any(loss.sessions for loss in good.losses)
    assert good.funnel.sent == good.funnel.answered == good.funnel.accepted == good.funnel.counted
    assert not any(key.is_required for key in good.absent)
    assert all(key.is_known for key in good.keys)
    assert len(DEFECTS) >= 30


@pytest.mark.parametrize("player", PLAYERS[1:])
def test_a_player_has_exactly_its_defects(audit, player):
    expected: Counter[str] = Counter()
    for defect in DEFECTS:
        if defect.player == player:
            expected.update({fact: number * len(defect.sessions) for fact, number in defect.facts.items()})
    assert audited.facts(group(audit, player), group(audit, GOOD)) == dict(expected)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what)
def test_a_defect_is_all_that_is_told_of_its_session_and_it_is_named_to_look_at(audit, defect):
    held = audited.played(defect.player, defect.sessions[0])
    (alone,) = audited.audited([held]).groups
    assert audited.facts(alone, group(audit, GOOD)) == defect.facts
    assert defect.facts
    of_player = group(audit, defect.player)
    for rule in alone.findings:
        (within,) = [each for each in of_player.findings if each.rule == rule.rule]
        assert held.session.id in within.look_at or within.sessions > len(within.look_at) == 3


def test_all_sessions_are_the_sum_of_the_groups(audit):
    for rule in audit.all.findings:
        of_groups = [each for of in audit.groups for each in of.findings if each.rule == rule.rule]
        assert rule.sessions == sum(each.sessions for each in of_groups)
        assert rule.share == pytest.approx(rule.sessions / (len(PLAYERS) * SESSIONS), abs=1e-6)
    assert audit.counts["error"] == sum(rule.severities["error"] for of in audit.groups for rule in of.findings)


def test_a_gap_in_reports_is_explained_by_the_sessions_without_play(audit):
    tv = group(audit, "TV Player")
    (lost,) = [loss for loss in tv.losses if loss.loss == "never-played"]
    assert lost.sessions == 1
    assert lost.time_s is not None
    assert lost.time_s == pytest.approx(114, abs=1)  # the other 15 s are an ad
    content = {metric.metric: metric for metric in tv.metrics}
    assert content["media_time_spent_s"].sessions == SESSIONS
    stalled = sum(loss.time_s or 0 for loss in tv.losses)
    assert lost.time_share == pytest.approx(lost.time_s / (content["content_time_spent_s"].total + stalled), abs=1e-4)
