"""The judge of running sessions, with a real store: what it reads again, what it takes up, what it leaves behind."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.recording import live
from proxy_addon.recording.inspecting import JUDGED_AT_ONCE, Inspector
from proxy_addon.recording.live import LiveJudge
from storage import exchanges, findings, saving, sessions
from storage.engine import Store
from storage.sessions import Filters
from tests.builders import BEGIN, BEGIN_MS, at, body, event, event_dict, start, unjudged

SOON_S = 20
RUN = saving.RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}


@pytest.fixture(autouse=True)
def _lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are about what is judged; sessions of years ago count as alive."""
    monkeypatch.setattr(live, "IDLE_TIMEOUT", timedelta(days=10_000))
    monkeypatch.setattr(live, "ENDED_IS_KEPT", timedelta(days=10_000))


def save(store: Store, found: Sequence[Exchange]) -> list[saving.Touched]:
    with store.write() as db:
        return saving.save(db, RUN, unjudged(found), findings_due=True)


def session(store: Store) -> Session:
    with store.read() as db:
        (found,) = sessions.newest(db, Filters(), now=datetime.now(UTC))
    return found


def told(store: Store) -> list[tuple[str, int | None, int]]:
    id = session(store).id
    with store.read() as db:
        return [(finding.rule, finding.seq, finding.count) for finding in findings.of_session(db, id)]


def anew(store: Store) -> list[tuple[str, int | None, int]]:
    """What `show` says."""
    found = session(store)
    with store.read() as db:
        watch = SessionWatch(found, found.last_event_at)
        list(watch.judging(exchanges.of_session(db, found.id), bodies=False))
    return [(finding.rule, finding.seq, finding.count) for finding in watch.judgement().of_session]


@contextmanager
def judging(store: Store, tell: Callable[[str, list[Finding]], None] = lambda *_: None) -> Iterator[LiveJudge]:
    judge = LiveJudge(store, Inspector(DEFAULT), tell)
    judge.start()
    try:
        yield judge
    finally:
        judge.close(SOON_S)


def film(number: int) -> list[Exchange]:
    """A session whose chapters are never closed, so that each event is one more place of a finding."""
    opened = start(id="start", after_s=0)
    later = [
        event("chapterStart", id=f"e{n:05}", after_s=n, ts=BEGIN_MS + 1000 * n, playhead=n, params=CHAPTER)
        for n in range(1, number)
    ]
    return [opened, *later]


def test_exchanges_that_overtook_one_another_are_judged_without_reading_the_session_again(store, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("read from the store")

    monkeypatch.setattr(LiveJudge, "_read", never)
    played = film(60)
    stored = played.copy()
    random.Random(7).shuffle(stored)
    stored.remove(played[0])
    with judging(store) as judge:
        judge.see(save(store, played[:1]))
        for each in stored:
            judge.see(save(store, [each]))
    assert told(store) == anew(store) == [("chapter-not-closed", 3, 58)]


def test_a_session_is_read_from_the_store_once_and_then_only_what_is_new(store, monkeypatch):
    read: list[int] = []
    get = exchanges.get

    def counted(db, ids):
        read.append(len(ids))
        return get(db, ids)

    monkeypatch.setattr(exchanges, "get", counted)
    played = film(50)
    save(store, played[:40])
    with judging(store) as judge:
        for each in played[40:]:
            save(store, [each])  # through another recorder, which tells this one nothing
            judge.see([saving.Touched(session=session(store), exchanges=[])])
    assert told(store) == anew(store)
    assert sum(read) == 50


def test_what_a_killed_recorder_has_left_is_taken_up(store):
    large = event_dict("ping", params={"x" * 40 + str(n): n for n in range(3000)})
    posted = event("ping", id="large", after_s=100, body=body(large))
    assert len(posted.request.body) > JUDGED_AT_ONCE
    save(store, [*film(5), posted])
    assert told(store) == []
    heard: dict[str, list[Finding]] = {}
    done = threading.Event()

    def tell(id: str, found: list[Finding]) -> None:
        heard[id] = found
        done.set()

    with judging(store, tell):
        assert done.wait(SOON_S)
    assert told(store) == anew(store) != []
    assert heard["large"] == judge_exchange(posted)
    with store.read() as db:
        assert findings.of_exchanges(db, session(store).id)["large"] == heard["large"]
        assert sessions.findings_due(db) == []
    counts = session(store).findings
    assert counts.error + counts.warning + counts.info == len(heard["large"]) + len(told(store))


def test_a_mark_stays_where_more_was_stored_than_judged(store):
    found = save(store, film(3))[0].session
    with store.write() as db:
        findings.no_longer_due(db, [(found.id, 2)])
        assert sessions.findings_due(db) == [found.id]
        findings.no_longer_due(db, [(found.id, 3)])
        assert sessions.findings_due(db) == []


def test_a_session_that_ran_out_while_pings_go_on_is_not_found_unclosed_twice(store):
    opened = start(id="s")
    pings = [
        event("ping", id=f"p{n}", after_s=60 * n, ts=BEGIN_MS + 60_000 * n, playhead=0) for n in range(1, 40)
    ]  # no movement for longer than the back end waits
    with judging(store) as judge:
        judge.see(save(store, [opened, *pings]))
    assert session(store).has_run_out(AsOf(now=at(3000)))
    assert "session-not-closed" not in [rule for rule, *_ in told(store)]


def test_rules_that_fail_cost_no_later_findings(store, monkeypatch):
    add = live._Live.add
    failed = threading.Event()

    def failing(self, each):
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError
        add(self, each)

    monkeypatch.setattr(live._Live, "add", failing)
    monkeypatch.setattr(live, "REST", 0)
    played = film(6)
    with judging(store) as judge:
        judge.see(save(store, played[:3]))
        assert failed.wait(SOON_S)
        judge.see(save(store, played[3:]))
    assert told(store) == anew(store)
