"""``sessiontape ledger``, and the gaps that ``sessions`` and ``show`` have where a recorder lost something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy_addon.core.books import Loss, Recorder
from storage import losses, recorders, saving
from storage.engine import Store
from storage.recorders import Told
from storage.saving import RecordingRun
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, at, event, start, unjudged
from tests.processes import printed, run

EVENTS = f"/api/v1/sessions/{SESSION_ID}/events"
RUN_KEYS = [
    "id", "name", "state", "started_at", "last_seen_at", "ended_at", "version", "engine", "upstream", "workers", "seen",
    "journaled", "filed", "late", "refused", "dropped", "in_flight", "waiting", "missing", "balanced",
]  # fmt: skip
RECORDER = Recorder(id="aaaa1", name="smoke", started_at=BEGIN, version="1.0", engine="lane", upstream=UPSTREAM)


def lost(id: str, after_s: float, *, path: str = EVENTS, is_refused: bool = False, reason: str = "disk full") -> Loss:
    return Loss(
        id=id, recorder="aaaa1", upstream=UPSTREAM, received_at=at(after_s), method="POST", path=path,
        is_refused=is_refused, reason=reason,
    )  # fmt: skip


@pytest.fixture
def tape(store: Store) -> str:
    """A store with a session that lost two events, and three runs: balanced, killed, and one that cannot be explained."""
    with store.write() as db:
        played = [start(id="x1"), event("play", id="x2", after_s=1), event(id="x3", after_s=60, playhead=59)]
        saving.save(db, RecordingRun(id="aaaa1", name="smoke", started_at=BEGIN, version="1.0"), unjudged(played))
        found = [
            lost("l1", 10),
            lost("l2", 20, is_refused=True, reason="evil \x1b[31m"),
            lost("l3", 5, path="/api/v1/x"),
        ]
        losses.note(db, found)
        told = Told(at=at(99), seen=8, journaled=5, dropped=3, is_end=True)
        recorders.keep(db, RECORDER, told, filed=4, late=1, refused=1)
        second = replace(RECORDER, worker=1, engine="hooks")
        recorders.keep(db, second, Told(at=at(98), seen=2, journaled=2, is_end=True), filed=2)
        killed = replace(RECORDER, id="bbbb2", name=None, upstream=None, started_at=at(200))
        recorders.keep(db, killed, Told(at=at(201), seen=6, journaled=4), filed=4)
        odd = replace(RECORDER, id="bbbb3", started_at=at(300))
        recorders.keep(db, odd, Told(at=at(301), seen=7, journaled=6, is_end=True), filed=6)
    return store.url


def test_the_ledger_says_of_each_run_whether_its_books_balance(tape):
    listed = printed("ledger", "--store", tape, code=1)
    assert [list(each) for each in listed] == [RUN_KEYS] * 3
    assert [(each["id"], each["state"], each["missing"], each["balanced"]) for each in listed] == [
        ("bbbb3", "ended", 1, False),
        ("bbbb2", "killed", 0, True),
        ("aaaa1", "ended", 0, True),
    ]
    first = listed[-1]
    assert [first[name] for name in ("seen", "journaled", "filed", "late", "refused", "dropped")] == [10, 7, 6, 1, 1, 3]
    assert (first["workers"], first["engine"], first["ended_at"]) == (2, "lane+hooks", "2026-03-01T12:01:39.000Z")
    assert listed[1]["in_flight"] == 2
    text = run("ledger", "--store", tape).stdout
    assert "1 missing" in text
    assert text.count("balance") == 2
    assert "killed" in text
    head, *rows = text.splitlines()
    place = head.index("in flight") + len("in flight")
    assert {row[:4]: row[:place].split()[-1] for row in rows if "killed" in row} == {"bbbb": "2"}
    assert "in flight" not in run("ledger", "--store", tape, "--limit", "1").stdout
    assert len(printed("ledger", "--store", tape, "--limit", "1", code=1)) == 1


def test_one_run_is_shown_with_its_processes_and_what_it_lost_by_name(tape):
    shown = printed("ledger", "aaaa", "--store", tape)
    assert list(shown) == [*RUN_KEYS, "processes", "losses", "unnamed_losses"]
    assert [(each["worker"], each["seen"]) for each in shown["processes"]] == [(0, 8), (1, 2)]
    assert [(each["path"], each["kind"], each["reason"]) for each in shown["losses"]] == [
        ("/api/v1/x", "dropped", "disk full"),
        (EVENTS, "dropped", "disk full"),
        (EVENTS, "refused", "evil \x1b[31m"),
    ]
    assert shown["unnamed_losses"] == 1
    text = run("ledger", "aaaa1", "--store", tape).stdout
    assert "1 of them after it ended" in text
    assert rf"{EVENTS}" in text
    assert r"evil \x1b[31m" in text
    assert "1 loss without a name" in text
    killed = run("ledger", "bbbb2", "--store", tape).stdout
    assert "2 when it was killed, not answered if answers waited for the journal" in killed
    assert "several recorder runs match 'bbbb'" in run("ledger", "bbbb", "--store", tape).stderr
    assert "no recorder run matches 'x'" in run("ledger", "x", "--store", tape).stderr


def test_a_recorder_of_another_machine_is_running_while_it_gives_signs_of_life(tape, store):
    now = datetime.now(UTC)
    with store.write() as db:
        for id, silent_s in (("cccc1", 40), ("cccc2", 300)):
            told = Told(at=now - timedelta(seconds=silent_s), seen=5, journaled=5)
            recorders.keep(db, replace(RECORDER, id=id, started_at=now - timedelta(hours=1)), told, filed=3)
    state = {each["id"]: each["state"] for each in printed("ledger", "--store", tape, code=1)}
    # The journal of a file is beside it, and there is none.
    assert (state["cccc1"], state["cccc2"]) == (("killed" if store.is_sqlite else "running"), "killed")


def test_sessions_and_show_have_a_gap_where_something_was_lost(tape):
    gaps = [
        {"received_at": "2026-03-01T12:00:10.000Z", "method": "POST", "path": EVENTS, "reason": "disk full"},
        {"received_at": "2026-03-01T12:00:20.000Z", "method": "POST", "path": EVENTS, "reason": "evil \x1b[31m"},
    ]
    (listed,) = printed("sessions", "--store", tape)
    assert (listed["lost"], listed["gaps"], listed["has_holes"]) == (2, gaps, True)
    shown = printed("show", "last", "--store", tape)
    assert (shown["session"]["lost"], shown["session"]["gaps"]) == (2, gaps)
    assert (shown["holes"]["lost_requests"], shown["holes"]["missing_bodies"]) == (2, 0)
    assert "ping-gap" in shown["holes"]["rules_not_applied"], "the recorder lost what would have been in the gap"
    assert shown["findings"] == []
    text = run("show", "last", "--store", tape).stdout
    assert text.count("lost: POST") == 2
    assert "because 2 requests were lost while recording" in text
    table = run("sessions", "--store", tape).stdout.splitlines()
    assert table[0].split().index("lost") == table[0].split().index("events") + 1
    assert run("check", "last", "--store", tape).stdout.count("not applied") == 1


def test_a_store_without_runs_says_so(store):
    result = run("ledger", "--store", store.url)
    assert (result.stdout, result.stderr) == ("", "no recorder runs yet; 'sessiontape record' starts one\n")
    assert printed("ledger", "--store", store.url) == []
