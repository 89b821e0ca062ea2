"""Replay runs are written as they go on, listed with what they came to, and found again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from proxy_addon.core.runs import (
    Difference,
    Percentiles,
    ReplayRun,
    SessionRun,
    Step,
    StepOutcome,
    Totals,
    count,
    percentiles,
)
from proxy_addon.errors import NotFound
from storage import runs
from storage.engine import Store
from tests.builders import OTHER_SESSION_ID, SESSION_ID, at

SAME = Step(
    seq=1,
    event_type="sessionStart",
    outcome=StepOutcome.SAME,
    recorded_status=201,
    status=201,
    sent_at=at(0.123456),
    drift_ms=0.1 + 0.2,
    latency_ms=12.345678901234567,
)
DIFFERENT = Step(
    seq=2,
    event_type="a\ud7ff",
    outcome=StepOutcome.DIFFERENT,
    recorded_status=204,
    status=404,
    sent_at=at(1),
    drift_ms=-1.5,
    latency_ms=3,
    differences=(
        Difference(where="status", recorded=204, replayed=404),
        Difference(where="header Location", recorded="\0 caf\xe9 \ud800", replayed=None),
    ),
)
FAILED = Step(seq=3, event_type=None, outcome=StepOutcome.FAILED, reason="no answer: \0\\0 \xff", sent_at=at(2))
SKIPPED = Step(seq=4, event_type="ping", outcome=StepOutcome.SKIPPED, reason="the session was not started")

FIRST = SessionRun(source="s1", session_id=SESSION_ID, new_session_id=OTHER_SESSION_ID, steps=(SAME, DIFFERENT))
SECOND = SessionRun(source="s2", session_id="a\0b", new_session_id=None, steps=(FAILED, SKIPPED), reason="why \xe9")
EMPTY = SessionRun(source="s3", session_id=None, new_session_id=None, steps=(), reason="nothing to send")


def run(id: str = "aaaa1111", *sessions: SessionRun, after_s: float = 0) -> ReplayRun:
    return ReplayRun(
        id=id,
        target="http://127.0.0.1:8081",
        started_at=at(after_s),
        finished_at=None,
        speed="max",
        timestamps="shift:-1.5",
        sessions=sessions,
    )


def begin(store: Store, *values: ReplayRun) -> None:
    with store.write() as db:
        for value in values:
            runs.begin(db, value)


def save(store: Store, run_id: str, sessions: dict[int, SessionRun]) -> None:
    with store.write() as db:
        runs.save_sessions(db, run_id, sessions)


def find(store: Store, name: str) -> ReplayRun:
    with store.read() as db:
        return runs.find(db, name)


def newest(store: Store, limit: int | None = None) -> list[runs.RunSummary]:
    with store.read() as db:
        return list(runs.newest(db, limit=limit))


def test_a_run_comes_back_with_all_its_sessions_and_steps(store):
    begin(store, run())
    save(store, "aaaa1111", {0: FIRST, 1: SECOND, 2: EMPTY})
    assert find(store, "aaaa1111") == run("aaaa1111", FIRST, SECOND, EMPTY)


def test_sessions_come_in_their_places_however_they_ended(store):
    begin(store, run())
    save(store, "aaaa1111", {2: EMPTY})
    save(store, "aaaa1111", {})
    save(store, "aaaa1111", {1: SECOND, 0: FIRST})
    assert find(store, "aaaa1111").sessions == (FIRST, SECOND, EMPTY)


def test_the_same_session_may_be_in_a_run_twice(store):
    begin(store, run())
    save(store, "aaaa1111", {0: FIRST, 1: FIRST})
    assert find(store, "aaaa1111").sessions == (FIRST, FIRST)


def test_a_run_is_unfinished_until_it_is_finished(store):
    begin(store, run(), run("bbbb2222"))
    assert find(store, "aaaa1111").finished_at is None
    with store.write() as db:
        runs.finish(db, "aaaa1111", at(9))
    assert find(store, "aaaa1111").finished_at == at(9)
    assert find(store, "bbbb2222").finished_at is None


def test_runs_are_listed_newest_first_with_what_they_came_to(store):
    begin(store, *(run(f"{n}aaa", after_s=n) for n in (1, 3, 2)))
    save(store, "1aaa", {0: FIRST, 1: SECOND, 2: EMPTY})
    save(store, "2aaa", {0: FIRST})
    found = newest(store)
    assert [summary.run.id for summary in found] == ["3aaa", "2aaa", "1aaa"]
    assert [summary.run.sessions for summary in found] == [()] * 3
    assert found[0].totals == Totals(recorded=0, sent=0, same=0, different=0, failed=0, skipped=0)
    assert found[0].drift_ms == found[0].latency_ms == Percentiles()
    assert found[2].totals == Totals(recorded=4, sent=3, same=1, different=1, failed=1, skipped=1)
    assert found[2].drift_ms == percentiles([0.1 + 0.2, -1.5])
    assert [summary.run.id for summary in newest(store, limit=2)] == ["3aaa", "2aaa"]


def test_the_list_counts_what_the_run_itself_does(store):
    steps = tuple(
        Step(
            seq=number,
            event_type="ping",
            outcome=list(StepOutcome)[number % 4],
            drift_ms=number / 7 if number % 4 < 3 else None,
            latency_ms=number / 3 if number % 4 < 2 else None,
        )
        for number in range(1, 2500)
    )
    session = SessionRun(source="s1", session_id=None, new_session_id=None, steps=steps)
    begin(store, run())
    save(store, "aaaa1111", {0: session})
    whole = find(store, "aaaa1111")
    assert whole.sessions == (session,)
    [listed] = newest(store)
    assert listed.totals == count(whole.steps())
    assert listed.drift_ms == percentiles(step.drift_ms for step in whole.steps())
    assert listed.latency_ms == percentiles(step.latency_ms for step in whole.steps())


def test_an_empty_store_lists_no_runs(store):
    assert newest(store) == []


@pytest.mark.parametrize("name", ["aaaa1111", "aaaa1", "b"])
def test_a_run_is_found_by_its_id_or_a_prefix_that_only_it_has(store, name):
    begin(store, run("aaaa1111"), run("aaaa2222"), run("bbbb"))
    assert find(store, name).id.startswith(name)


def test_a_run_whose_id_others_begin_with_is_found_by_it(store):
    begin(store, run("aaaa"), run("aaaa2222", after_s=1))
    assert find(store, "aaaa").id == "aaaa"


def test_a_prefix_that_several_have_is_an_error_that_lists_them(store):
    begin(store, run("aaaa1111"), run("aaaa2222", after_s=1), run("bbbb", after_s=2))
    with pytest.raises(NotFound, match="several runs are called 'aaaa'") as caught:
        find(store, "aaaa")
    assert [line.split()[0] for line in caught.value.hint.splitlines()[1:]] == ["aaaa2222", "aaaa1111"]


@pytest.mark.parametrize(
    "name", ["", "\0", "aaaa\0", "%", "aaaa%", "____", "\ud800", "x" * 5_000, "aaaa9", "~", "'", "é"]
)
def test_an_unknown_name_is_an_error_that_lists_close_ones(store, name):
    begin(store, run("aaaa1111"), run("bbbb2222", after_s=1))
    with pytest.raises(NotFound, match="no run is called") as caught:
        find(store, name)
    assert "aaaa1111" in caught.value.hint


def test_an_empty_store_says_that_it_has_no_runs(store):
    with pytest.raises(NotFound) as caught:
        find(store, "aaaa")
    assert caught.value.hint == "the store has no replay runs"


def test_a_run_that_is_removed_takes_its_sessions_and_steps_with_it(store):
    begin(store, run(), run("bbbb2222"))
    save(store, "aaaa1111", {0: FIRST})
    save(store, "bbbb2222", {0: SECOND})
    with store.write() as db:
        db.execute(text("DELETE FROM runs WHERE id = 'aaaa1111'"))
        assert db.execute(text("SELECT run_id FROM run_sessions")).scalars().all() == ["bbbb2222"]
        assert db.execute(text("SELECT DISTINCT run_id FROM run_steps")).scalars().all() == ["bbbb2222"]


def test_times_of_a_run_keep_their_microseconds(store):
    begin(store, run(after_s=0.000001))
    with store.write() as db:
        runs.finish(db, "aaaa1111", at(1) + timedelta(microseconds=999_999))
    found = find(store, "aaaa1111")
    assert (found.started_at.microsecond, found.finished_at) == (1, at(1.999999))
