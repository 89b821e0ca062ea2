"""What counts as lost, and as slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy_addon.core.audits.auditing import Auditor, Grouping
from proxy_addon.core.audits.rhythm import Rhythm
from proxy_addon.core.audits.sketches import lot_of
from proxy_addon.core.exchange import Exchange
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
    return {loss.value for loss in totals.losses.sessions} - {"no-end"}


@pytest.mark.parametrize(("cues", "loss"), [(good_cues()[:1], "unused"), (PRE_ROLL, "never-played")])
def test_a_session_that_has_just_begun_is_not_lost(cues, loss):
    assert lost_of_recorded(cues, seconds=5, judgement=Judgement()) == set()
    assert lost_of_recorded(cues, seconds=10**6, judgement=Judgement()) == {loss}


def test_a_session_beside_another_one_of_its_playback_is_lost_in_one_way():
    twice = Finding(rule="session-opened-twice", severity=Severity.WARNING, pointer="", message="")
    found = lost_of_recorded(good_cues()[:1], seconds=10**6, judgement=Judgement(of_session=(twice,)))
    assert found == {"opened-twice"}


def test_an_answer_is_slow_after_more_than_five_seconds():
    rhythm = Rhythm()
    rhythm.add_answers([4_001_000, 5_000_999, 5_001_000], lot_of("slow"))
    rhythm.add_answers([5_000_000], lot_of("quick"))
    assert (rhythm.slow, rhythm.slow_sessions.sessions, [*rhythm.slow_sessions.named]) == (1, 1, ["slow"])


def test_no_playing_time_is_lost_where_nobody_knows_whether_there_was_a_play():
    first, *others = exchanges([good_cues()[0], *pings(10, 20), Cue(at_s=21, type="sessionEnd")])
    assert "never-played" not in lost(others)
    assert "never-played" not in lost([replace(first, response=response(400)), *others])
