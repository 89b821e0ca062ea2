"""Recorder runs keep books that balance, and what they lose is named, in the session that it belongs to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.books import Books, Loss, Recorder, of_run
from proxy_addon.errors import NotFound
from storage import losses, recorders, saving, sessions
from storage.engine import Store
from storage.recorders import Told
from storage.saving import RecordingRun
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, at, event, start, unjudged

RUN = RecordingRun(id="r1", name="smoke", started_at=BEGIN, version="1")
RECORDER = Recorder(id="r1", name="smoke", started_at=BEGIN, version="1", engine="lane", upstream=UPSTREAM)


def keep(store: Store, recorder: Recorder = RECORDER, told: Told | None = None, **more: int) -> Books:
    with store.write() as db:
        recorders.keep(db, recorder, told, **more)
    with store.read() as db:
        return next(
            books for books in recorders.all_of(db) if (books.id, books.worker) == (recorder.id, recorder.worker)
        )


def test_books_balance_when_all_that_came_in_is_filed_refused_or_dropped(store):
    books = keep(store)
    assert (books.open, books.waiting) == (0, 0)
    books = keep(store, told=Told(at=at(1), seen=10, journaled=7, dropped=1))
    assert (books.open, books.waiting) == (2, 7)
    assert (books.seen_at, books.ended_at) == (at(1), None)
    keep(store, filed=4)
    books = keep(store, told=Told(at=at(2), seen=10, journaled=9, dropped=1, is_end=True), filed=2, refused=1)
    assert (books.open, books.waiting) == (0, 2)
    books = keep(store, filed=2, late=2)
    assert (books.open, books.waiting) == (0, 0)
    assert books == Books(
        **{name: getattr(RECORDER, name) for name in RECORDER.__dataclass_fields__},
        seen_at=at(2), ended_at=at(2), seen=10, journaled=9, filed=8, late=2, refused=1, dropped=1,
    )  # fmt: skip


def test_what_was_told_before_changes_nothing_when_it_is_read_again(store):
    keep(store, told=Told(at=at(2), seen=5, journaled=5, is_end=True))
    books = keep(store, told=Told(at=at(1), seen=3, journaled=2))
    assert (books.seen_at, books.ended_at, books.seen, books.journaled) == (at(2), at(2), 5, 5)


def test_a_process_that_was_killed_before_it_told_of_its_last_exchanges_has_them_in_its_books(store):
    keep(store, told=Told(at=at(1), seen=4, journaled=3))
    books = keep(store, filed=6, refused=1)
    assert (books.seen, books.journaled, books.ended_at, books.open, books.waiting) == (7, 7, None, 0, 0)


def test_the_books_of_a_run_are_found_by_its_id_and_name_and_summed_over_its_processes(store):
    keep(
        store,
        replace(RECORDER, worker=1, started_at=at(0.5)),
        Told(at=at(3), seen=2, journaled=2, is_end=True),
        filed=2,
    )
    keep(store, RECORDER, Told(at=at(2), seen=3, journaled=3, is_end=True), filed=2, late=1)
    keep(store, replace(RECORDER, id="r2", name="other", started_at=at(9)))
    with store.read() as db:
        assert [(books.id, books.worker) for books in recorders.all_of(db)] == [("r2", 0), ("r1", 0), ("r1", 1)]
        assert [books.id for books in recorders.find(db, "last")] == ["r2"]
        found = recorders.find(db, "smoke")
        assert found == recorders.find(db, "r1")
        for name, what in (("r", "several"), ("x", "no recorder run"), ("", "no recorder run")):
            with pytest.raises(NotFound, match=what):
                recorders.find(db, name)
    total = of_run(found)
    assert (total.started_at, total.seen_at, total.ended_at) == (BEGIN, at(3), at(3))
    assert (total.seen, total.journaled, total.filed, total.late) == (5, 5, 4, 1)
    assert of_run([*found, replace(found[0], ended_at=None)]).ended_at is None


def loss(id: str, path: str = f"/api/v1/sessions/{SESSION_ID}/events", after_s: float = 5, **more: object) -> Loss:
    told = {"recorder": "r1", "upstream": UPSTREAM, "method": "POST", "is_refused": False, "reason": "disk full"}
    return Loss(id=id, received_at=at(after_s), path=path, **(told | more))  # type: ignore[arg-type]


def test_losses_are_noted_once_and_leave_holes_in_the_session_that_they_belong_to(store):
    with store.write() as db:
        session = saving.save(db, RUN, unjudged([start(id="1"), event(id="2")])).touched[0].session
        outside = loss("a", "/api/v1/sessions\0\xff", is_refused=True)
        assert losses.note(db, [loss("b"), loss("b"), outside]) == losses.Noted(2, (session.id,))
    with store.write() as db:
        assert losses.note(db, [loss("b"), loss("2"), loss("c", after_s=4)]) == losses.Noted(1, (session.id,))
        assert losses.note(db, [loss("b")]) == losses.Noted(0)
    with store.read() as db:
        assert losses.of_session(db, session.id) == [loss("c", after_s=4), loss("b")]
        assert losses.of_recorder(db, "r1") == [loss("c", after_s=4), outside, loss("b")]
        found = sessions.get(db, [session.id])
    assert found == [replace(session, lost=2, has_holes=True)]
    with store.write() as db:
        sessions.remove(db, [session.id])
        assert losses.of_recorder(db, "r1") == [outside]
