"""The judge of live sessions with a real store: what it reads again, what it takes over, and what it leaves behind."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import MOST_PLACES, Finding
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.recording import live
from proxy_addon.recording.inspecting import JUDGED_AT_ONCE, Inspector
from proxy_addon.recording.live import LiveJudge
from storage import exchanges, findings, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from tests.builders import BEGIN, BEGIN_MS, at, body, event, event_dict, exchange, response, start

SOON_S = 20
RUN = saving.RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}


@pytest.fixture(autouse=True)
def _lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat sessions of years ago as live."""
    monkeypatch.setattr(live, "IDLE_TIMEOUT", timedelta(days=10_000))
    monkeypatch.setattr(live, "ENDED_IS_KEPT", timedelta(days=10_000))


def save(store: Store, found: Sequence[Exchange]) -> saving.Saved:
    """Store exchanges as a recorder does: small ones as judged, large ones as not judged yet."""
    judged = [
        saving.Judged(each, None if len(each.request.body) > JUDGED_AT_ONCE else judge_exchange(each)) for each in found
    ]
    with store.write() as db:
        return saving.save(db, RUN, judged, findings_due=True)


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


class Heard:
    """Keeps what it was told, with a signal for each exchange."""

    def __init__(self) -> None:
        self.of_exchanges: dict[str, Sequence[Finding]] = {}
        self.of_sessions: list[tuple[str, Sequence[Finding]]] = []
        self.done = threading.Semaphore(0)

    def tell_of_exchange(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        self.of_exchanges[exchange_id] = findings
        self.done.release()

    def tell_of_session(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        self.of_sessions += findings.items()


@contextmanager
def judging(store: Store, heard: Heard | None = None, inspector: Inspector | None = None) -> Iterator[LiveJudge]:
    judge = LiveJudge(store, inspector or Inspector(DEFAULT), heard or Heard())
    judge.start()
    try:
        yield judge
    finally:
        judge.close(SOON_S)


def film(number: int) -> list[Exchange]:
    """A session whose chapters are never closed, so that each event is one more place of a finding."""
    opened, played = start(id="start", after_s=0), event("play", id="play", after_s=1)
    later = [
        event("chapterStart", id=f"e{n:05}", after_s=n, ts=BEGIN_MS + 1000 * n, playhead=n, params=CHAPTER)
        for n in range(2, number)
    ]
    return [opened, played, *later]


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
    assert told(store) == anew(store) == [("chapter-not-closed", 4, 57)]


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
            judge.see(saving.Saved(touched=[saving.Touched(session=session(store), exchanges=[])]))
    assert told(store) == anew(store)
    assert sum(read) == 50


def opened_twice(store: Store) -> list[str]:
    """Return the back-end IDs of the sessions last reported as opened twice."""
    with store.read() as db:
        found = sessions.newest(db, Filters(), now=datetime.now(UTC), oldest_first=True)
        return [
            each.session_id or ""
            for each in found
            if "session-opened-twice" in {finding.rule for finding in findings.of_session(db, each.id)}
        ]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> dict[bool, threading.Semaphore]:
    """Signals that a session was looked at, while it is young and later."""
    signals = {True: threading.Semaphore(0), False: threading.Semaphore(0)}
    look = LiveJudge._look_beside

    def looked(judge: LiveJudge, of: Any) -> None:
        look(judge, of)
        signals[of.is_young].release()

    monkeypatch.setattr(LiveJudge, "_look_beside", looked)
    return signals


STARTS = [start(id="s1", session_id="aaaa"), start(id="s2", session_id="bbbb", after_s=1)]


def test_of_two_sessions_for_one_playback_the_one_without_events_gets_a_finding(store, looks):
    with judging(store) as judge:
        judge.see(save(store, STARTS))
        assert all(looks[False].acquire(timeout=SOON_S) for _ in STARTS)
    assert opened_twice(store) == ["aaaa", "bbbb"]
    with judging(store) as judge:
        judge.see(save(store, [event("play", id="p1", session_id="bbbb", after_s=2)]))
    assert opened_twice(store) == ["aaaa"]


def test_a_young_session_without_events_has_no_finding(store, looks, monkeypatch):
    monkeypatch.setattr(live, "FIRST_EVENT_S", 4e8)
    with judging(store) as judge:
        judge.see(save(store, STARTS))
        assert all(looks[True].acquire(timeout=SOON_S) for _ in STARTS)
        assert opened_twice(store) == []
    assert opened_twice(store) == ["aaaa", "bbbb"]


LARGE = body(event_dict("ping", params={"x" * 40 + str(n): n for n in range(3000)}))


def other(id: str) -> Exchange:
    """One that belongs to no session, with a large body."""
    return exchange("POST", "/api/v1/other", id=id, body=LARGE, response=response(404))


def test_what_a_killed_recorder_has_left_is_taken_up(store):
    posted, outside = event("ping", id="large", after_s=100, body=LARGE), other("outside")
    assert save(store, [*film(5), posted, outside]).unjudged == ["large", "outside"]
    assert told(store) == []
    with store.read() as db:
        assert findings.unjudged(db) == ["large", "outside"]
        assert findings.of_exchanges(db, session(store).id)["large"] is None, "which is not: nothing found"
        assert findings.of_exchanges(db, None) == {"outside": None}
    heard = Heard()
    with judging(store, heard):
        assert heard.done.acquire(timeout=SOON_S)
        assert heard.done.acquire(timeout=SOON_S)
    assert told(store) == anew(store) != []
    assert heard.of_exchanges == {"large": judge_exchange(posted), "outside": judge_exchange(outside)}
    of_film = sum(len(judge_exchange(each)) for each in film(5))
    with store.read() as db:
        assert findings.of_exchanges(db, session(store).id)["large"] == heard.of_exchanges["large"]
        assert findings.of_exchanges(db, None) == {"outside": heard.of_exchanges["outside"]}
        assert (sessions.findings_due(db), findings.unjudged(db)) == ([], [])
    counts = session(store).findings
    assert counts.error + counts.warning + counts.info == len(heard.of_exchanges["large"]) + len(told(store)) + of_film


def test_a_mark_stays_where_more_was_stored_than_judged(store):
    found = save(store, film(3)).touched[0].session
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


def test_each_event_that_a_finding_names_is_told_of_it_once(store):
    heard = Heard()
    played = film(30)
    with judging(store, heard) as judge:
        for each in played:
            judge.see(save(store, [each]))
    named = [id for id, found in heard.of_sessions if found]
    assert sorted(named) == sorted(each.id for each in played[3 : 3 + MOST_PLACES])
    assert {finding.rule for _, found in heard.of_sessions for finding in found} == {"chapter-not-closed"}


class Unlucky(Heard):
    """Fails when it hears."""

    def tell_of_exchange(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        self.done.release()
        raise ZeroDivisionError(exchange_id)


def test_whatever_fails_the_thread_continues_and_the_mark_stays(store, monkeypatch, caplog):
    """One session and two large bodies that cannot be judged to the end, and others that can."""
    replace_of_session, replace_of_exchange = findings.replace_of_session, findings.replace_of_exchange
    spoiled = start(id="s", session_id="5e" * 32)
    again = [
        event("chapterStart", id=f"c{n}", session_id="5e" * 32, after_s=n, ts=BEGIN_MS + 1000 * n, params=CHAPTER)
        for n in (1, 2)
    ]

    def failing(db, id, found):
        if "c1" in str(found) or id in {"spoiled", spoiled_id}:
            raise ZeroDivisionError("on purpose")
        return (replace_of_exchange if len(id) < 16 else replace_of_session)(db, id, found)

    inspector = Inspector(DEFAULT)
    saved = save(store, [spoiled, *again, *film(4), other("spoiled"), other("z-sound")])
    (spoiled_id,) = [each.session.id for each in saved.touched if each.session.session_id == "5e" * 32]
    (sound_id,) = [each.session.id for each in saved.touched if each.session.id != spoiled_id]
    monkeypatch.setattr(findings, "replace_of_session", failing)
    monkeypatch.setattr(findings, "replace_of_exchange", failing)
    unlucky = Unlucky()
    with judging(store, unlucky, inspector) as judge:
        judge.see(saved)
        assert unlucky.done.acquire(timeout=SOON_S)
    with store.read() as db:
        assert [finding.rule for finding in findings.of_session(db, sound_id)] == ["chapter-not-closed"]
        assert findings.of_session(db, spoiled_id) == []
        assert findings.unjudged(db) == ["spoiled"]
        assert findings.of_exchanges(db, None)["z-sound"] == judge_exchange(other("z-sound"))
        assert sessions.findings_due(db) == [spoiled_id]
    logged = [record.getMessage().partition(", first on")[0] for record in caplog.records]
    assert sorted(logged) == ["judging a large body failed", "judging a session failed"], "each kind once"
    assert inspector.failures.count >= 3


def test_failing_rules_lose_no_later_findings(store, monkeypatch):
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
