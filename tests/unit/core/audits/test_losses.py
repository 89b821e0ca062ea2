"""What counts as lost, and as slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy_addon.core.audits.auditing import Auditor, Grouping
from proxy_addon.core.audits.rhythm import Rhythm
from proxy_addon.core.audits.sketches import lot_of
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Judgement, Severity
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from tests.audited import audited, good_cues
from tests.builders import BEGIN_MS, at, response
from tests.played import Cue, recorded

PRE_ROLL = good_cues()[:3]  # its ad starts 0.1 s after the first event that follows the start


def exchanges(cues: Sequence[Cue]) -> Sequence[Exchange]:
    return recorded(cues, begin_ms=BEGIN_MS, session_id="1" * 64).exchanges


def pings(*at_s: int) -> list[Cue]:
    return [Cue(at_s=each, type="ping") for each in at_s]


def lost(found: Sequence[Exchange]) -> dict[str, float | None]:
    """Return the losses of one session, and how much content time reports lack because of each."""
    return {loss.loss: loss.time_s for loss in audited(fold(found)).all.losses if loss.sessions or loss.time_s}


@pytest.mark.parametrize(
    ("cues", "lost_s"),
    [
        ([good_cues()[0], *pings(10, 20), Cue(at_s=21, type="sessionEnd")], 11),
        ([good_cues()[0], *pings(1), Cue(at_s=3, type="pauseStart"), Cue(at_s=600, type="sessionEnd")], 2),
        ([good_cues()[0], *pings(1), Cue(at_s=3, type="bufferStart"), Cue(at_s=600, type="sessionEnd")], 2),
        ([*PRE_ROLL, *pings(10, 14), Cue(at_s=15, type="sessionEnd")], 0.1),
    ],
    ids=["no play", "paused", "buffering", "left in the ad"],
)
def test_only_what_may_have_been_content_is_lost_if_it_never_played(cues, lost_s):
    assert lost(exchanges(cues))["never-played"] == lost_s


def lost_of_recorded(cues: Sequence[Cue], *, seconds: int, judgement: Judgement) -> set[str]:
    held = recorded(cues, begin_ms=BEGIN_MS, session_id="1" * 64)
    auditor = Auditor(Grouping(), as_of(at(seconds), DEFAULT))
    audit = auditor.session(held.session)
    assert list(audit.watching(held.exchanges)) == [*held.exchanges]
    audit.add(judgement)
    (totals,) = auditor.groups.values()
    return {loss.value for loss in totals.whole.losses.sessions} - {"no-end"}


@pytest.mark.parametrize(("cues", "loss"), [(good_cues()[:1], "unused"), (PRE_ROLL, "never-played")])
def test_a_session_that_has_just_begun_is_not_lost(cues, loss):
    assert lost_of_recorded(cues, seconds=5, judgement=Judgement()) == set()
    assert lost_of_recorded(cues, seconds=10**6, judgement=Judgement()) == {loss}


def test_a_session_beside_another_one_of_its_playback_is_lost_in_one_way():
    twice = Finding(rule="session-opened-twice", severity=Severity.WARNING, pointer="", message="")
    found = lost_of_recorded(good_cues()[:1], seconds=10**6, judgement=Judgement(of_session=(twice,)))
    assert found == {"opened-twice"}


HOLED = {
    "unused": good_cues()[:1],
    "never-played": PRE_ROLL,
    "no-end": good_cues()[:-2],
    "stalled": [good_cues()[0], Cue(at_s=1, type="play"), *pings(11, 21, 31), Cue(at_s=32, type="sessionEnd")],
    "timed-out": [good_cues()[0], Cue(at_s=1, type="play"), Cue(at_s=700, type="sessionEnd")],
}


@pytest.mark.parametrize("loss", HOLED)
def test_what_a_hole_may_explain_is_neither_lost_nor_counted(loss):
    held = recorded(HOLED[loss], begin_ms=BEGIN_MS, session_id="1" * 64)
    whole = audited([held]).all
    assert loss in {each.loss for each in whole.losses if each.sessions}
    assert {
        whole.with_holes,
        *(each.left_out for each in whole.losses),
        *(each.left_out for each in whole.metrics),
    } == {0}

    holed = replace(held, session=replace(held.session, has_holes=True))
    both = audited([held, holed]).all
    assert (both.sessions, both.with_holes, both.events) == (2, 1, 2 * whole.events)
    of_both = {each.loss: each for each in both.losses}
    for each in whole.losses:
        assert (of_both[each.loss].sessions, of_both[each.loss].share) == (each.sessions, each.share)
    assert {each.loss for each in both.losses if each.left_out} == {*HOLED, "opened-twice"}
    assert [(each.total, each.per_session, each.left_out) for each in both.metrics] == [
        (each.total, each.per_session, 1) for each in whole.metrics
    ]
    assert (both.rhythm.ping_gaps_ms, both.rhythm.playhead_speed) == (
        whole.rhythm.ping_gaps_ms,
        whole.rhythm.playhead_speed,
    )
    assert both.rhythm.clock_skew_ms.number == 2 * whole.rhythm.clock_skew_ms.number
    assert both.funnel.counted == whole.funnel.counted + len(held.exchanges)
    assert "Requests or bodies of 1 session are not known" in both.verdict.text


def test_what_is_certain_despite_a_hole_is_lost():
    cues = [*good_cues(), Cue(at_s=130, type="ping"), Cue(at_s=131, type="ping")]
    held = recorded(cues, begin_ms=BEGIN_MS, session_id="1" * 64)
    *others, late = held.exchanges
    session = replace(held.session, has_holes=True, retry_of="another")
    found = audited([replace(held, session=session, exchanges=(*others, replace(late, response=response(404))))]).all
    assert {loss.loss: loss.share for loss in found.losses if loss.sessions} == dict.fromkeys(
        ["refused", "retried", "after-end"], 1.0
    )


def test_the_funnel_adds_up():
    cues = [*good_cues(), Cue(at_s=130, type="ping")]
    first, unreachable, gone, refused, *others = exchanges(cues)
    found = [
        first,
        replace(unreachable, outcome=Outcome.UPSTREAM_UNREACHABLE, response=None, duration_us=7),
        replace(gone, outcome=Outcome.CLIENT_GONE, response=None),
        replace(refused, response=response(500)),
        *others,
    ]
    whole = audited(fold(found)).all
    funnel, sent = whole.funnel, len(found)
    assert (funnel.sent, funnel.answered, funnel.accepted) == (sent, sent - 2, sent - 3)
    assert (funnel.may_have_arrived, funnel.not_arrived, funnel.dropped) == (1, 1, 1)
    assert funnel.sent == funnel.answered + funnel.may_have_arrived + funnel.not_arrived
    assert funnel.counted == funnel.accepted + funnel.may_have_arrived - funnel.dropped == sent - 3
    assert whole.rhythm.latency_ms.number <= funnel.answered


def test_an_answer_is_slow_after_more_than_five_seconds():
    rhythm = Rhythm()
    rhythm.add_answers([4_001_000, 5_000_999, 5_001_000], lot_of("slow"))
    rhythm.add_answers([5_000_000], lot_of("quick"))
    assert (rhythm.slow, rhythm.slow_sessions.sessions, [*rhythm.slow_sessions.named]) == (1, 1, ["slow"])


def test_no_playing_time_is_lost_where_nobody_knows_whether_there_was_a_play():
    first, *others = exchanges([good_cues()[0], *pings(10, 20), Cue(at_s=21, type="sessionEnd")])
    assert "never-played" not in lost(others)
    assert "never-played" not in lost([replace(first, response=response(400)), *others])
