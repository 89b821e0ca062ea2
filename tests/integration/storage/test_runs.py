"""Replay runs are stored while they run, listed with their results, and found again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from proxy_addon.core.replays.runs import (
    INTERRUPTED,
    NOT_ENDED,
    UNREACHED,
    Difference,
    Percentiles,
    ReplayRun,
    RunChange,
    RunOptions,
    RunSummary,
    Sent,
    SessionRun,
    Step,
    StepOutcome,
    Totals,
    Unsent,
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
        Difference(where="status", a=204, b=404),
        Difference(where="header Location", a="\0 caf\xe9 \ud800", b=None),
    ),
    sent=Sent(
        body_sha256="0f" * 32,
        places={0: 2, 3: 1},
        differences=(Difference(where="/a\0 caf\xe9 \ud800", a=None, b='"\\ud800"'),),
    ),
)
FAILED = Step(
    seq=3,
    event_type=None,
    outcome=StepOutcome.FAILED,
    reason="no answer: \0\\0 \xff",
    sent_at=at(2),
    sent=Sent(body_sha256="1e" * 32),
)
SKIPPED = Step(seq=4, event_type="ping", outcome=StepOutcome.SKIPPED, reason="the session was not started")

FIRST = SessionRun(source="s1", session_id=SESSION_ID, new_session_id=OTHER_SESSION_ID, steps=(SAME, DIFFERENT))
SECOND = SessionRun(source="s2", session_id="a\0b", new_session_id=None, steps=(FAILED, SKIPPED), reason="why \xe9")
EMPTY = SessionRun(source="s3", session_id=None, new_session_id=None, steps=(), reason="nothing to send")


def run(id: str = "aaaa1111", *, after_s: float = 0) -> ReplayRun:
    return ReplayRun(
        id=id,
        target="http://127.0.0.1:8081",
        started_at=at(after_s),
        finished_at=None,
        speed="max",
        timestamps="shift:-1.5",
    )


OPTIONS = RunOptions(
    spread_equal_ts=True, ignore=("header.Date",), safe=False, changes=({"do": "drop", "path": "$.a"},), key="0f"
)


def begin(store: Store, *values: ReplayRun) -> None:
    with store.write() as db:
        for value in values:
            runs.begin(db, value, OPTIONS)


def save(store: Store, run_id: str, *sessions: SessionRun) -> None:
    """Store a run with its sessions and their results, as a replay does."""
    with store.write() as db:
        assert runs.choose(db, run_id, ((each.source, each.session_id) for each in sessions)) == len(sessions)
        runs.note(db, run_id, runs.LedgerEntries(announced=dict.fromkeys(range(len(sessions)), 1)))
        entries = runs.LedgerEntries(
            opened={n: each.new_session_id for n, each in enumerate(sessions) if each.new_session_id is not None},
            steps=[(n, step) for n, each in enumerate(sessions) for step in each.steps],
            ended={n: each.reason for n, each in enumerate(sessions)},
        )
        runs.note(db, run_id, entries)


def sessions_of(store: Store, run_id: str) -> tuple[SessionRun, ...]:
    with store.read() as db:
        return tuple(runs.sessions(db, run_id))


def find(store: Store, name: str) -> ReplayRun:
    with store.read() as db:
        return runs.find(db, name)


def newest(store: Store, limit: int | None = None) -> list[RunSummary]:
    with store.read() as db:
        return list(runs.newest(db, limit=limit))


def test_a_run_comes_back_with_all_its_sessions_and_steps(store):
    begin(store, run())
    save(store, "aaaa1111", FIRST, SECOND, EMPTY)
    assert find(store, "aaaa1111") == run()
    assert sessions_of(store, "aaaa1111") == (FIRST, SECOND, EMPTY)
    with store.read() as db:
        assert runs.options(db, "aaaa1111") == OPTIONS


def test_a_name_as_long_as_an_address_may_be_takes_no_longer_than_another(store):
    asked = 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    begin(store, run())
    with store.read() as db:
        event.listen(db, "before_cursor_execute", count)
        with pytest.raises(NotFound, match="no run matches"):
            runs.find(db, "b" * 1000)
        assert asked < 50
        with pytest.raises(NotFound) as unknown:
            runs.find(db, "aaaa1112" + "b" * 1000)
    assert "aaaa1111" in unknown.value.hint


def test_the_newest_run_is_called_last(store):
    with pytest.raises(NotFound, match="no last one"):
        find(store, "last")
    begin(store, run(id="cccc1111", after_s=9))
    begin(store, run(id="dddd1111", after_s=5))
    assert find(store, "last").id == "cccc1111"


def test_a_run_counts_where_its_changes_found_something_and_keeps_how_it_ended(store):
    changes = [
        RunChange(number=0, option="--safe", change={}),
        RunChange(number=3, option="--changes caf\xe9.toml", change={"do": "set", "path": "$.a", "value": "\0\ud800"}),
        RunChange(number=4, option="--drop", change={"do": "drop", "path": "$.b"}),
    ]
    with store.write() as db:
        runs.begin(db, run(), OPTIONS, changes)
    save(store, "aaaa1111", FIRST, FIRST)
    with store.write() as db:
        runs.add_changes(db, "aaaa1111", changes)  # as a run does that is taken up again: they keep what they have
        runs.finish(db, "aaaa1111", at(3))
        runs.keep_exit_code(db, "aaaa1111", 130)
        found = runs.summary(db, runs.find(db, "aaaa1111"))
        runs.finish(db, "aaaa1111", None)
        assert runs.find(db, "aaaa1111").exit_code is None
    assert found.changes == (
        replace(changes[0], places=4), replace(changes[1], places=2), replace(changes[2], places=0),
    )  # fmt: skip
    assert (found.run.exit_code, found.cut) == (130, 0)


def test_a_run_of_a_version_that_did_not_count_shows_what_it_was_to_change(store):
    begin(store, run())
    (found,) = newest(store)
    assert found.changes == (RunChange(number=1, option="--drop", change={"do": "drop", "path": "$.a"}, places=None),)


def test_a_run_that_ended_before_all_was_sent_is_not_the_same(store):
    begin(store, run())
    cut = Step(seq=2, event_type="ping", outcome=StepOutcome.SKIPPED, reason=INTERRUPTED)
    planned = Step(seq=3, event_type=None, outcome=StepOutcome.SKIPPED, reason="preflight")
    unreached = f"{UNREACHED}: no route"
    begun = SessionRun(
        source="s1",
        session_id=None,
        new_session_id=None,
        steps=(SAME, cut, planned, replace(cut, seq=4)),
        reason=INTERRUPTED,
    )
    never = SessionRun(
        source="s2",
        session_id=None,
        new_session_id=None,
        steps=(replace(cut, seq=1, reason=unreached),),
        reason=unreached,
    )
    whole = SessionRun(source="s3", session_id=None, new_session_id=None, steps=(SAME, replace(planned, seq=2)))
    gone = SessionRun(
        source="s4", session_id=None, new_session_id=None, steps=(), reason="it is no longer in the store"
    )
    save(store, "aaaa1111", begun, never, whole, gone)
    (found,) = newest(store)
    assert (found.totals.verdict, found.verdict, found.cut) == ("same", "skipped", 2)
    assert [each.verdict for each in sessions_of(store, "aaaa1111")] == ["skipped", "skipped", "same", "skipped"]
    with store.write() as db:
        assert runs.left(db, "aaaa1111") == 1
        assert list(runs.unsent(db, "aaaa1111")) == [Unsent(source="s1", first=2, last=4, number=2)]
        assert list(runs.never_sent(db, "aaaa1111")) == [
            Unsent(source="s1", first=2, last=4, number=2, reason=INTERRUPTED),
            Unsent(source="s1", first=3, last=3, number=1, reason="preflight"),
            Unsent(source="s2", first=1, last=1, number=1, reason=unreached),
            Unsent(source="s3", first=2, last=2, number=1, reason="preflight"),
            Unsent(source="s4", first=0, last=0, number=0, reason="it is no longer in the store"),
        ]
        assert runs.wait_again(db, "aaaa1111") == runs.left(db, "aaaa1111") == 1


def test_the_same_session_may_be_in_a_run_twice(store):
    begin(store, run())
    save(store, "aaaa1111", FIRST, FIRST)
    assert sessions_of(store, "aaaa1111") == (FIRST, FIRST)


def test_a_run_of_many_sessions_comes_back_in_order(store):
    many = [replace(FIRST, source=f"s{n}") for n in range(120)]
    begin(store, run())
    save(store, "aaaa1111", *many)
    assert sessions_of(store, "aaaa1111") == tuple(many)
    assert newest(store)[0].sessions == 120


def test_what_a_run_has_not_come_to_is_listed(store):
    begin(store, run())
    with store.write() as db:
        runs.choose(db, "aaaa1111", [(f"s{n}", None) for n in range(5)])
        runs.note(
            db, "aaaa1111", runs.LedgerEntries(announced={1: 1, 3: 2}, steps=[(3, SAME)], ended={1: EMPTY.reason})
        )
        assert runs.waiting(db, "aaaa1111", limit=2) == [(0, "s0"), (2, "s2")]
        assert runs.waiting(db, "aaaa1111", after=2, limit=2) == [(4, "s4")]
        assert list(runs.cut_short(db, "aaaa1111")) == [(3, "s3", {1}, 2)]
        assert (runs.size(db, "aaaa1111"), runs.size(db, "aaaa1111", waiting=True)) == (5, 3)
        assert runs.recorded(db, "aaaa1111") == 0  # the sessions themselves are gone
    assert [session.reason for session in sessions_of(store, "aaaa1111")] == [
        "not begun", "nothing to send", "not begun", NOT_ENDED, "not begun",
    ]  # fmt: skip


def test_what_an_interruption_kept_from_being_sent_waits_again(store):
    never = replace(SKIPPED, reason=INTERRUPTED)
    begin(store, run())
    save(
        store,
        "aaaa1111",
        replace(SECOND, source="s0", steps=(FAILED, never), reason=INTERRUPTED),
        replace(SECOND, source="s1", steps=(never,), reason=INTERRUPTED),
        replace(SECOND, source="s2", steps=(SKIPPED,), reason="its start was not recorded"),
        replace(SECOND, source="s3", steps=(never,), reason="the run was aborted: the store is full"),
    )
    with store.write() as db:
        assert runs.wait_again(db, "aaaa1111") == 2
        assert runs.waiting(db, "aaaa1111", limit=9) == [(1, "s1"), (3, "s3")]
        assert runs.wait_again(db, "aaaa1111") == 0
    assert [len(session.steps) for session in sessions_of(store, "aaaa1111")] == [2, 0, 1, 0]


def test_a_run_is_unfinished_until_it_is_finished(store):
    begin(store, run(), run("bbbb2222"))
    assert find(store, "aaaa1111").finished_at is None
    with store.write() as db:
        runs.finish(db, "aaaa1111", at(9))
    assert find(store, "aaaa1111").finished_at == at(9)
    assert find(store, "bbbb2222").finished_at is None


def test_runs_are_listed_newest_first_with_what_they_came_to(store):
    begin(store, *(run(f"{n}aaa", after_s=n) for n in (1, 3, 2)))
    save(store, "1aaa", FIRST, SECOND, EMPTY)
    save(store, "2aaa", FIRST)
    found = newest(store)
    assert [summary.run.id for summary in found] == ["3aaa", "2aaa", "1aaa"]
    assert [summary.sessions for summary in found] == [0, 1, 3]
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
    save(store, "aaaa1111", session)
    assert sessions_of(store, "aaaa1111") == (session,)
    [listed] = newest(store)
    assert listed.totals == count(steps)
    assert listed.drift_ms == percentiles(step.drift_ms for step in steps)
    assert listed.latency_ms == percentiles(step.latency_ms for step in steps)


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
    with pytest.raises(NotFound, match="several runs match 'aaaa'") as caught:
        find(store, "aaaa")
    assert [line.split()[0] for line in caught.value.hint.splitlines()[1:]] == ["aaaa2222", "aaaa1111"]


@pytest.mark.parametrize(
    "name", ["", "\0", "aaaa\0", "%", "aaaa%", "____", "\ud800", "x" * 5_000, "aaaa9", "~", "'", "é"]
)
def test_an_unknown_name_is_an_error_that_lists_close_ones(store, name):
    begin(store, run("aaaa1111"), run("bbbb2222", after_s=1))
    with pytest.raises(NotFound, match="no run matches") as caught:
        find(store, name)
    said, *listed = caught.value.hint.splitlines()
    if name.startswith("aaaa"):
        assert (said, ["aaaa1111" in line for line in listed]) == ("similar ones are:", [True])
    else:
        assert (said, listed) == ("'sessiontape runs' lists all runs", [])


def test_an_empty_store_says_that_it_has_no_runs(store):
    with pytest.raises(NotFound) as caught:
        find(store, "aaaa")
    assert caught.value.hint == "the store has no replay runs"


def test_a_run_that_is_removed_takes_its_sessions_and_steps_with_it(store):
    begin(store, run(), run("bbbb2222"))
    save(store, "aaaa1111", FIRST)
    save(store, "bbbb2222", SECOND)
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
