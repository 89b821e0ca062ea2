"""The durable queue: what is handed over is stored, in order, or counted as lost and named in the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.errors import StorageUnavailable
from proxy_addon.recording import writer as writing
from proxy_addon.recording.writer import Writer
from tests.builders import exchange

SOON_S = 20


class Store:
    """Takes batches as long as it works."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.tries = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_asked = threading.Event()
        self.fails: Callable[[list[str]], Exception | None] = lambda ids: None

    def save(self, batch: Sequence[tuple[Exchange, Any]]) -> None:
        ids = [each.id for each, _ in batch]
        self.tries += 1
        self.is_asked.set()
        assert self.may_go_on.wait(SOON_S)
        if error := self.fails(ids):
            raise error
        self.batches.append(ids)

    @property
    def stored(self) -> list[str]:
        return [id for batch in self.batches for id in batch]


@pytest.fixture(autouse=True)
def _quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "RETRY_S", (0.001, 0.01))


@contextmanager
def writing_to(store: Store, **how: Any) -> Iterator[Writer]:
    writer = Writer(store.save, **how)
    writer.start()
    try:
        yield writer
    finally:
        store.may_go_on.set()
        writer.close(SOON_S)


def is_stuck(writer: Writer) -> bool:
    return writer.is_stuck  # asked anew each time


def numbered(number: int) -> list[Exchange]:
    return [exchange(id=f"x{n}") for n in range(number)]


def test_what_is_handed_over_is_stored_in_order_and_told():
    store = Store()
    with writing_to(store) as writer:
        told = [writer.put(each) for each in numbered(50)]
        assert all(each.result(SOON_S) for each in told)
    assert store.stored == [f"x{n}" for n in range(50)]
    assert (writer.counts().stored, writer.counts().lost, writer.counts().waiting) == (50, 0, 0)


def test_what_comes_while_one_batch_is_written_is_the_next_batch():
    store = Store()
    store.may_go_on.clear()
    with writing_to(store) as writer:
        first = writer.put(exchange(id="first"))
        assert store.is_asked.wait(SOON_S)
        rest = [writer.put(each) for each in numbered(3)]
        assert writer.counts().waiting == 4
        assert not first.done()
        store.may_go_on.set()
        assert all(each.result(SOON_S) for each in (first, *rest))
    assert store.batches == [["first"], ["x0", "x1", "x2"]]


def test_a_batch_has_a_limit(monkeypatch):
    monkeypatch.setattr(writing, "BATCH", 2)
    store = Store()
    store.may_go_on.clear()
    with writing_to(store) as writer:
        told = [writer.put(each) for each in numbered(6)]
        store.may_go_on.set()
        assert all(each.result(SOON_S) for each in told)
    assert max(map(len, store.batches)) == 2


def test_answers_wait_again_once_a_late_commit_is_done():
    store = Store()
    store.may_go_on.clear()
    with writing_to(store) as writer:
        assert not is_stuck(writer)
        late = writer.put(exchange(id="late"))
        assert store.is_asked.wait(SOON_S)
        writer.overdue()
        assert is_stuck(writer)
        store.may_go_on.set()
        assert late.result(SOON_S)
        assert not is_stuck(writer), "the durability 'commit' would have become 'async' unnoticed"


def test_that_answers_no_longer_wait_is_told_once(caplog):
    store = Store()
    with caplog.at_level(logging.WARNING), writing_to(store) as writer:
        writer.overdue()
        writer.overdue()
        assert [record.getMessage() for record in caplog.records] == [
            "the store takes too long; answers no longer wait for it until it has recovered"
        ]


def test_a_store_that_is_away_is_waited_for(caplog):
    store = Store()
    away = threading.Event()
    away.set()
    store.fails = lambda ids: StorageUnavailable("it is away") if away.is_set() else None
    with caplog.at_level(logging.WARNING), writing_to(store) as writer:
        told = writer.put(exchange(id="x"))
        while store.tries < 3:
            assert store.is_asked.wait(SOON_S)
        assert is_stuck(writer)
        assert not told.done()
        away.clear()
        assert told.result(SOON_S)
        assert not is_stuck(writer)
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "it is away; exchanges wait until it is back"
    assert messages[1].startswith("the store is back after ")
    assert len(messages) == 2
    assert store.stored == ["x"]


def test_an_exchange_that_the_store_does_not_take_is_lost_alone(caplog):
    store = Store()
    store.fails = lambda ids: ValueError("odd") if "x1" in ids else None
    store.may_go_on.clear()
    with writing_to(store) as writer:
        writer.put(exchange(id="first"))
        assert store.is_asked.wait(SOON_S)
        told = [writer.put(each) for each in numbered(3)]
        store.may_go_on.set()
        assert [each.result(SOON_S) for each in told] == [True, False, True]
    assert store.stored == ["first", "x0", "x2"]
    assert (writer.counts().stored, writer.counts().lost) == (3, 1)
    (lost,) = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert lost.startswith("lost: POST /api/v1/sessions of 2026-03-01T12:00:00")
    assert "ValueError('odd')" in lost


def test_the_queue_is_bounded_in_bytes_and_one_exchange_always_has_room(caplog):
    store = Store()
    store.may_go_on.clear()
    with writing_to(store, queue_bytes=5000) as writer:
        writer.put(exchange(id="first"))
        assert store.is_asked.wait(SOON_S)
        large = writer.put(exchange(id="large", body=b"x" * 100_000))
        refused = writer.put(exchange(id="refused"))
        assert refused.result(0) is False
        assert not large.done()
        store.may_go_on.set()
        assert large.result(SOON_S)
        assert writer.put(exchange(id="later")).result(SOON_S)
    assert store.stored == ["first", "large", "later"]
    assert "too many exchanges are waiting for the store: 1" in caplog.text


def test_what_waits_when_it_is_closed_is_written_first():
    store = Store()
    store.may_go_on.clear()
    writer = Writer(store.save)
    writer.start()
    told = [writer.put(each) for each in numbered(5)]
    threading.Timer(0.05, store.may_go_on.set).start()
    counts = writer.close(SOON_S)
    assert all(each.result(0) for each in told)
    assert (counts.stored, counts.lost, counts.waiting) == (5, 0, 0)


def test_after_it_is_closed_nothing_is_taken(caplog):
    store = Store()
    with writing_to(store) as writer:
        pass
    assert writer.put(exchange(id="x")).result(0) is False
    assert "the recorder is stopping" in caplog.text
    assert writer.counts().lost == 1


def test_what_a_store_that_is_away_has_not_taken_by_the_end_is_lost(caplog):
    store = Store()
    store.fails = lambda ids: StorageUnavailable("it is away")
    writer = Writer(store.save)
    writer.start()
    told = [writer.put(each) for each in numbered(3)]
    counts = writer.close(0.1)
    assert [each.result(SOON_S) for each in told] == [False] * 3
    assert (counts.stored, counts.lost) == (0, 3)
    writer._thread.join(SOON_S)  # it may still be about to name those that it gave up itself
    assert caplog.text.count("it is away; exchanges wait until it is back") == 1
    assert len([record for record in caplog.records if "lost: " in record.getMessage()]) == 3


def test_pauses_between_tries_grow_up_to_a_limit(monkeypatch):
    store = Store()
    pauses: list[float] = []
    store.fails = lambda ids: StorageUnavailable("it is away") if len(pauses) < 6 else None
    wait = Writer._wait_for_store

    def noted(self: Writer, pause_s: float) -> bool:
        pauses.append(pause_s)
        return wait(self, pause_s)

    monkeypatch.setattr(Writer, "_wait_for_store", noted)
    with writing_to(store) as writer:
        assert writer.put(exchange(id="x")).result(SOON_S)
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]


def test_a_batch_that_a_hanging_store_holds_is_lost_and_counted_once(caplog):
    store = Store()
    store.may_go_on.clear()
    writer = Writer(store.save)
    writer.start()
    held = writer.put(exchange(id="held"))
    assert store.is_asked.wait(SOON_S)
    waiting = writer.put(exchange(id="waiting"))
    counts = writer.close(0.05)
    assert (held.result(0), waiting.result(0)) == (False, False)
    assert counts.lost == 2
    assert caplog.text.count("the recorder stopped before it could be stored") == 2
    store.may_go_on.set()


def test_an_exchange_that_thread_and_close_give_up_at_the_same_time_is_lost_once(caplog):
    store = Store()
    store.may_go_on.clear()
    store.fails = lambda ids: StorageUnavailable("it is away")
    writer = Writer(store.save)
    writer.start()
    held = writer.put(exchange(id="held"))
    assert store.is_asked.wait(SOON_S)
    assert writer.close(0.01).lost == 1
    store.may_go_on.set()  # the thread finds that there is no time left, and gives up as well
    writer._thread.join(SOON_S)
    assert not writer._thread.is_alive()
    assert writer.counts().lost == 1
    assert caplog.text.count("lost: ") == 1
    assert held.result(0) is False


def test_nothing_is_taken_up_any_more_while_what_is_left_is_given_up(caplog, monkeypatch):
    """Otherwise, a thread that nobody waits for would hold it, neither stored nor lost."""

    class HangsAgain(Store):
        def save(self, batch: Sequence[tuple[Exchange, Any]]) -> None:
            super().save(batch)
            self.may_go_on.clear()

    store = HangsAgain()
    store.may_go_on.clear()
    writer = Writer(store.save)
    writer.start()
    held = writer.put(exchange(id="held"))
    assert store.is_asked.wait(SOON_S)
    waiting = writer.put(exchange(id="waiting"))
    take = Writer._take

    def come_back(self: Writer, most: int | None) -> Any:
        if most is None:
            store.may_go_on.set()
            self._thread.join(0.2)
        return take(self, most)

    monkeypatch.setattr(Writer, "_take", come_back)
    counts = writer.close(0.01)
    assert counts.stored + counts.lost == 2
    assert counts.waiting == 0
    assert held.done()
    assert waiting.result(0) is False
    assert caplog.text.count("lost: ") == counts.lost


def test_an_outage_is_told_once_however_many_batches_meet_it(caplog, monkeypatch):
    monkeypatch.setattr(writing, "BATCH", 1)
    monkeypatch.setattr(Writer, "_wait_for_store", lambda self, pause_s: False)
    store = Store()
    store.fails = lambda ids: StorageUnavailable("it is away")
    with writing_to(store) as writer:
        assert [writer.put(each).result(SOON_S) for each in numbered(3)] == [False] * 3
    assert caplog.text.count("it is away; exchanges wait until it is back") == 1
    assert caplog.text.count("lost: ") == 3


def test_a_writer_that_never_began_loses_what_it_was_given():
    writer = Writer(Store().save)
    told = writer.put(exchange(id="x"))
    assert writer.close(1).lost == 1
    assert told.result(0) is False


def test_findings_come_along():
    seen: list[Any] = []
    writer = Writer(lambda batch: seen.extend(findings for _, findings in batch))
    writer.start()
    assert writer.put(exchange(id="a"), []).result(SOON_S)
    assert writer.put(exchange(id="b")).result(SOON_S)
    writer.close(SOON_S)
    assert seen == [[], None], "judged with nothing found, and not judged yet"
