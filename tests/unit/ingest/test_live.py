"""Which sessions the judge of live sessions keeps, and for how long; integration tests cover the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy_addon.core import sessions as folding
from proxy_addon.core.findings import Finding, Place, Severity
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.sessions import Session
from proxy_addon.ingest import live
from proxy_addon.ingest.live import LiveJudge
from proxy_addon.process.failures import Failures
from storage.saving import Touched
from tests.builders import start


def judge() -> LiveJudge:
    return LiveJudge(Failures(), judge_exchange)


def session(id: str, quiet_s: float, *, ended: bool = False) -> Session:
    """Return a session whose last event came a number of seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=quiet_s)
    made = folding.opened(start(id=id), id=id)
    return replace(made, ended=ended, last_event_at=at, started_at=at, playhead_moved_at=at, failed=False)


def kept(*sessions: Session) -> list[str]:
    judging = judge()
    for each in sessions:
        judging._take(Touched(session=each, exchanges=[]))
        judging._due.pop(each.id)  # its findings are up to date
    judging._forget()
    return list(judging._live)


@pytest.mark.parametrize(("quiet_s", "stays"), [(0, True), (50, True), (70, False), (10_000, False)])
def test_a_session_that_has_ended_is_kept_for_a_minute(quiet_s, stays):
    assert kept(session("a", quiet_s, ended=True)) == (["a"] if stays else [])


@pytest.mark.parametrize(("quiet_s", "stays"), [(70, True), (590, True), (610, False)])
def test_one_that_goes_on_is_kept_until_its_time_has_run_out(quiet_s, stays):
    assert kept(session("a", quiet_s)) == (["a"] if stays else [])


def test_a_session_with_work_left_is_kept():
    judging = judge()
    judging._take(Touched(session=session("a", 10_000, ended=True), exchanges=[]))
    judging._forget()
    assert list(judging._live) == ["a"]


def test_of_too_many_the_one_that_was_quiet_for_longest_goes_first(monkeypatch):
    monkeypatch.setattr(live, "MOST", 2)
    assert kept(session("a", 30), session("b", 20), session("c", 10)) == ["b", "c"]


def test_a_session_that_comes_up_again_is_the_newest(monkeypatch):
    monkeypatch.setattr(live, "MOST", 2)
    assert kept(session("a", 30), session("b", 20), session("a", 10), session("c", 5)) == ["a", "c"]


def test_an_older_row_does_not_take_the_place_of_a_newer_one():
    judging = judge()
    newer = replace(session("a", 0), exchanges=5)
    judging._take(Touched(session=newer, exchanges=[]))
    judging._take(Touched(session=replace(newer, exchanges=4), exchanges=[]))
    assert judging._live["a"].session == newer


def test_findings_that_only_grow_are_no_reason_to_write():
    one = Finding(rule="ts-clock-skew", severity=Severity.INFO, message="first")
    more = replace(one, message="first (also at #2)", count=2)
    assert live._kinds([one]) == live._kinds([more])
    assert live._kinds([one]) != live._kinds([one, one])
    assert live._kinds([one]) != live._kinds([replace(one, severity=Severity.ERROR)])


def test_exchanges_are_told_what_names_them_when_that_changes():
    made = live._Live(session("a", 0), SessionJudge(SessionFacts()))
    made.known = [(made.session.started_at, id) for id in ("x1", "x2", "x3")]
    odd = Finding(rule="ping-gap", severity=Severity.WARNING, message="m", seq=2, others=(Place(3),), count=2)
    whole = Finding(rule="session-not-closed", severity=Severity.INFO, message="names no event")
    alone = replace(odd, others=(), count=1)
    assert made.newly_named([odd, whole]) == {"x2": [alone], "x3": [alone]}
    assert made.newly_named([replace(odd, count=9)]) == {}
    assert made.newly_named([replace(odd, others=())]) == {"x3": []}
    assert made.newly_named([]) == {"x2": []}
