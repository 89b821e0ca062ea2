"""The judge of live sessions with a real store: what it reads again, what it takes over, and what it leaves behind."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import batched

import pytest

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import MOST_PLACES
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.core.timelines.strips import StripWatch, strip_of
from proxy_addon.core.timelines.verdicts import level_of
from proxy_addon.errors import StorageUnavailable
from proxy_addon.ingest import live
from proxy_addon.ingest.filing import JUDGED_AT_ONCE
from proxy_addon.ingest.live import Heard, Late, LiveJudge
from proxy_addon.process.failures import Failures
from storage import exchanges, findings, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.pictures import Pictures
from tests import pictured
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, at, body, event, event_dict, exchange, response, start
from tests.played import Cue, recorded

RUN = saving.RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}


@pytest.fixture(autouse=True)
def _lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat sessions of years ago as live."""
    monkeypatch.setattr(live, "IDLE_TIMEOUT", timedelta(days=10_000))
    monkeypatch.setattr(live, "ENDED_IS_KEPT", timedelta(days=10_000))


class Judging:
    """Stores exchanges as the filer does, in one transaction with what the judge finds, and keeps what it has told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failures = Failures()
        self.judge = LiveJudge(self.failures, judge_exchange)
        self.heard: list[Heard] = []
        self.late: list[Late] = []

    def save(self, *found: Exchange) -> saving.Saved:
        """Store them: small ones as judged, large ones as not judged yet."""
        large = [each.id for each in found if len(each.request.body) > JUDGED_AT_ONCE]
        judged = [saving.Judged(each, None if each.id in large else judge_exchange(each)) for each in found]
        with self.store.write() as db:
            saved = saving.save(db, RUN, judged)
            findings.mark_unjudged(db, large)
            self.judge.see(saved.touched, large, DEFAULT, {each.exchange.id: each.findings for each in judged})
            self.heard.append(self.judge.judge(db, datetime.now(UTC)))
        return saved

    def work_off(self) -> None:
        """Do what can wait."""
        while self.judge.has_more:
            late = self.judge.work_off_one(self.store)
            self.late += [late] if late is not None else []

    def later(self, **how: bool) -> None:
        """Judge what has become due."""
        with self.store.write() as db:
            self.heard.append(self.judge.judge(db, datetime.now(UTC), **how))

    def close(self) -> None:
        """End as the process does."""
        self.work_off()
        self.later(is_closing=True)


@pytest.fixture
def judging(store: Store) -> Judging:
    return Judging(store)


def due(store: Store) -> tuple[list[str], list[str]]:
    """Return which sessions and exchanges are marked."""
    with store.read() as db:
        return sessions.findings_due(db), findings.unjudged(db)


def session(store: Store, type: str | None = None) -> Session:
    """Return the only session, or the only one with more than a start."""
    with store.read() as db:
        found = sessions.newest(db, Filters(), now=datetime.now(UTC))
        (only,) = [each for each in found if type is None or each.events > 1]
    return only


def told(store: Store, type: str | None = None) -> list[tuple[str, int | None, int]]:
    id = session(store, type).id
    with store.read() as db:
        return [(finding.rule, finding.seq, finding.count) for finding in findings.of_session(db, id)]


def anew(store: Store) -> list[tuple[str, int | None, int]]:
    """What `show` says."""
    found = session(store)
    with store.read() as db:
        watch = SessionWatch(found, found.last_event_at, vocabulary=None)
        list(watch.judging(exchanges.of_session(db, found.id)))
    return [(finding.rule, finding.seq, finding.count) for finding in watch.judgement().of_session]


def film(number: int) -> list[Exchange]:
    """A session whose chapters are never closed, so that each event is one more place of a finding."""
    opened, played = start(id="start", after_s=0), event("play", id="play", after_s=1)
    later = [
        event("chapterStart", id=f"e{n:05}", after_s=n, ts=BEGIN_MS + 1000 * n, playhead=n, params=CHAPTER)
        for n in range(2, number)
    ]
    return [opened, played, *later]


def test_exchanges_that_overtook_one_another_are_judged_without_reading_the_session_again(judging, store, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("read from the store")

    monkeypatch.setattr(LiveJudge, "_read", never)
    played = film(60)
    stored = played.copy()
    random.Random(7).shuffle(stored)
    stored.remove(played[0])
    judging.save(played[0])
    for each in stored:
        judging.save(each)
    judging.close()
    assert judging.failures.count == 0
    assert told(store) == anew(store) == [("chapter-not-closed", 4, 57)]


def test_a_session_is_read_from_the_store_once_and_then_only_what_is_new(judging, store, monkeypatch):
    read: list[int] = []
    get = exchanges.get

    def counted(db, ids):
        read.append(len(ids))
        return get(db, ids)

    monkeypatch.setattr(exchanges, "get", counted)
    elsewhere = Judging(store)  # files for other recorders, and tells this one nothing
    played = film(50)
    elsewhere.save(*played[:40])
    for each in played[40:]:
        elsewhere.save(each)
        with store.write() as db:
            judging.judge.see([saving.Touched(session=session(store), exchanges=[])], (), DEFAULT)
            judging.judge.judge(db, datetime.now(UTC), is_settling=True)
    assert told(store) == anew(store)
    assert sum(read) == 50


def test_findings_and_exchanges_are_stored_together_or_not_at_all(judging, store):
    judging.save(*film(3))
    with suppress(ZeroDivisionError), store.write() as db:
        later = [saving.Judged(each) for each in film(6)[3:]]
        judging.judge.see(saving.save(db, RUN, later).touched, (), DEFAULT)
        judging.judge.judge(db, datetime.now(UTC), is_settling=True)
        assert findings.of_session(db, session(store).id) != []
        raise ZeroDivisionError
    assert (session(store).exchanges, told(store)) == (3, [])
    anew_judging = Judging(store)
    anew_judging.save(*film(6)[3:])
    anew_judging.close()
    assert told(store) == anew(store) != []


def opened_twice(store: Store) -> list[str]:
    """Return the back-end IDs of the sessions last reported as opened twice."""
    with store.read() as db:
        found = sessions.newest(db, Filters(), now=datetime.now(UTC), oldest_first=True)
        return [
            each.session_id or ""
            for each in found
            if "session-opened-twice" in {finding.rule for finding in findings.of_session(db, each.id)}
        ]


STARTS = [start(id="s1", session_id="aaaa"), start(id="s2", session_id="bbbb", after_s=1)]


def test_of_two_sessions_for_one_playback_the_one_without_events_gets_a_finding(judging, store):
    judging.save(*STARTS)
    assert opened_twice(store) == ["aaaa", "bbbb"]
    judging.save(event("play", id="p1", session_id="bbbb", after_s=2))
    assert opened_twice(store) == ["aaaa"]


def test_a_young_session_without_events_has_no_finding_but_a_mark(judging, store, monkeypatch):
    monkeypatch.setattr(live, "FIRST_EVENT_S", 4e8)
    judging.save(*STARTS)
    assert judging.judge.until_due_s() > 1000
    judging.later(is_settling=True)
    assert opened_twice(store) == []
    assert len(due(store)[0]) == 2
    judging.save(event("play", id="p1", session_id="bbbb", after_s=2))
    assert len(due(store)[0]) == 1
    judging.close()
    assert opened_twice(store) == ["aaaa"]
    assert due(store) == ([], [])


LARGE = body(event_dict("ping", params={"x" * 40 + str(n): n for n in range(3000)}))


def other(id: str) -> Exchange:
    """One that belongs to no session, with a large body."""
    return exchange("POST", "/api/v1/other", id=id, body=LARGE, response=response(404))


def test_what_a_killed_process_has_left_is_taken_up(judging, store, monkeypatch):
    monkeypatch.setattr(live, "FIRST_EVENT_S", 4e8)
    posted, outside = event("ping", id="large", after_s=100, body=LARGE), other("outside")
    judging.save(*film(5), posted, outside, *STARTS)
    with store.read() as db:
        assert findings.of_exchanges(db, session(store, "play").id)["large"] is None, "which is not: nothing found"
        assert findings.of_exchanges(db, None) == {"outside": None}
    assert (len(due(store)[0]), due(store)[1]) == (2, ["large", "outside"])
    monkeypatch.setattr(live, "FIRST_EVENT_S", 0)
    another = Judging(store)
    another.close()
    found = {late.exchange.id: late.findings for late in another.late}
    assert found == {"large": judge_exchange(posted), "outside": judge_exchange(outside)}
    assert opened_twice(store) == ["aaaa", "bbbb"]
    with store.read() as db:
        assert findings.of_exchanges(db, session(store, "play").id)["large"] == found["large"]
        assert findings.of_exchanges(db, None) == {"outside": found["outside"]}
    assert due(store) == ([], [])
    counts = session(store, "play").findings
    of_film = sum(len(judge_exchange(each)) for each in film(5))
    assert counts.error + counts.warning + counts.info == len(found["large"]) + len(told(store, "play")) + of_film


def test_ordinary_events_leave_no_mark(judging, store):
    judging.save(*film(3))
    assert due(store) == ([], [])


def test_a_session_that_ran_out_while_pings_go_on_is_not_found_unclosed_twice(judging, store):
    opened = start(id="s")
    pings = [
        event("ping", id=f"p{n}", after_s=60 * n, ts=BEGIN_MS + 60_000 * n, playhead=0) for n in range(1, 40)
    ]  # no movement for longer than the back end waits
    judging.save(opened, *pings)
    judging.close()
    assert session(store).has_run_out(AsOf(now=at(3000)))
    assert "session-not-closed" not in [rule for rule, *_ in told(store)]


def test_each_event_that_a_finding_names_is_told_of_it_once(judging):
    played = film(30)
    for each in played:
        judging.save(each)
    named = [(id, found) for heard in judging.heard for id, found in heard.named.items() if found]
    assert sorted(id for id, _ in named) == sorted(each.id for each in played[3 : 3 + MOST_PLACES])
    assert {finding.rule for _, found in named for finding in found} == {"chapter-not-closed"}
    new = [finding.rule for heard in judging.heard for _, found in heard.found for finding in found]
    assert new == ["chapter-not-closed"]


def test_a_session_that_cannot_be_judged_keeps_a_mark_and_disturbs_no_other(judging, store, monkeypatch, caplog):
    spoiled = start(id="s", session_id="5e" * 32)
    add = live._Live.add

    def failing(self, each, found):
        if each.id == "s" and is_broken:
            raise ZeroDivisionError("on purpose")
        add(self, each, found)

    is_broken = True
    monkeypatch.setattr(live._Live, "add", failing)
    monkeypatch.setattr(live, "REST", 0)
    saved = judging.save(spoiled, *film(4))
    (spoiled_id,) = [each.session.id for each in saved.touched if each.session.session_id == "5e" * 32]
    judging.close()
    assert "chapter-not-closed" in [rule for rule, *_ in told(store, "play")]
    assert due(store) == ([spoiled_id], [])
    logged = [record.getMessage().partition(", first on")[0] for record in caplog.records]
    assert logged == ["judging a session failed"], "each kind once"
    assert judging.failures.count >= 1
    is_broken = False
    judging.save(event("play", id="p", session_id="5e" * 32, after_s=1))
    judging.close()
    assert due(store) == ([], [])


def test_work_that_a_store_interrupts_is_done_later(judging, store, monkeypatch):
    judging.save(other("outside"))
    replace_of_exchange = findings.replace_of_exchange

    def away(*_: object) -> None:
        raise StorageUnavailable("it is away")

    monkeypatch.setattr(findings, "replace_of_exchange", away)
    with pytest.raises(StorageUnavailable):
        judging.work_off()
    monkeypatch.setattr(findings, "replace_of_exchange", replace_of_exchange)
    judging.work_off()
    assert [late.exchange.id for late in judging.late] == ["outside"]


def unanswered() -> HeldSession:
    """A session in which nothing is found, of which one event was not answered."""
    played = recorded([Cue(at_s=0, type="sessionStart", params=START_PARAMS), Cue(at_s=1, type="play")])
    silent = replace(played.exchanges[1], response=None, duration_us=None, outcome=Outcome.UPSTREAM_TIMEOUT)
    return replace(played, exchanges=(played.exchanges[0], silent))


def wrong_clock() -> HeldSession:
    """A session in which a player once sends seconds instead of milliseconds."""
    played = pictured.film_with_ads()
    events = [*played.exchanges]
    sent = json.loads(events[9].request.body)
    sent["playerTime"]["ts"] //= 1000
    events[9] = replace(events[9], request=replace(events[9].request, body=body(sent)))
    return replace(played, exchanges=tuple(events))


@pytest.mark.parametrize(
    "made",
    [
        wrong_clock,
        pictured.film_with_ads,
        pictured.troubled,
        pictured.live,
        pictured.downloaded,
        pictured.hostile,
        unanswered,
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_the_list_shows_the_strip_and_the_verdict_of_the_page(judging, store, monkeypatch, made, batch):
    monkeypatch.setattr(live, "DRAWN_AFTER_S", (0.0, 0.0))

    def answered_at(each: Exchange) -> datetime:
        return each.received_at + timedelta(microseconds=each.duration_us or 0)

    for some in batched(sorted(made().exchanges, key=answered_at), batch):
        judging.save(*some)
    judging.close()
    assert judging.failures.count == 0
    found, now = session(store), datetime.now(UTC)
    with store.read() as db:
        picture = Pictures(db, DEFAULT, now).reported(found).picture()
        again = StripWatch()
        for _ in again.watching(exchanges.of_session(db, found.id), findings.of_exchanges(db, found.id)):
            pass
        assert again.strip(findings.of_session(db, found.id)).text == found.strip
    assert found.strip == strip_of(picture).text
    assert level_of(found, as_of(now, DEFAULT)) is picture.glance.level


def test_a_session_that_came_in_disorder_is_read_for_its_strip_when_it_ends(judging, store):
    played = sorted(pictured.film_with_ads().exchanges, key=lambda each: each.received_at)
    late = played.pop(20)
    judging.save(*played[:-1])
    judging.save(late)
    judging.save(played[-1])
    judging.close()
    found = session(store)
    with store.read() as db:
        picture = Pictures(db, DEFAULT, datetime.now(UTC)).reported(found).picture()
    assert found.strip == strip_of(picture).text


def test_the_strip_of_a_session_that_goes_on_is_seldom_written(judging, store, monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(sessions, "draw", lambda _, strips: written.extend(strips))
    for each in pictured.film_with_ads().exchanges[:-2]:
        judging.save(each)
    session_id = session(store).session_id or ""
    assert len(written) == 1, "all of it came at once"
    monkeypatch.setattr(live, "LULL_S", 0.0)
    judging.save(event("ping", id="last", session_id=session_id, after_s=470))
    judging.later()
    assert len(written) == 2, "what was left, in a lull"
