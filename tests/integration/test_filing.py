"""From a journal into a store: what is stored, judged, counted and told, whatever becomes of the store meanwhile."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging import policy as policies
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.inspecting import Inspector
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.news import Ended, Found, News, Started
from proxy_addon.core.sessions import IDLE_TIMEOUT, Session
from proxy_addon.errors import SchemaOutOfDate, StorageUnavailable
from proxy_addon.ingest import filing, live, reaching
from proxy_addon.ingest.draining import drain
from proxy_addon.ingest.filing import Filer
from proxy_addon.ingest.keeping import Keeping
from proxy_addon.ingest.reaching import Reaching
from proxy_addon.ingest.telling import Telling
from proxy_addon.journal import reading
from proxy_addon.journal.entries import Dropped, Entry
from proxy_addon.journal.reading import Folder, waiting
from proxy_addon.journal.writing import Journal
from storage import exchanges, findings, losses, migrate, recorders, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.patience import Waits
from tests import journals
from tests.breaking import failing
from tests.builders import BEGIN_MS, SESSION_ID, body, event, event_dict, exchange, response, start

CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}
ODD = {"media.customKey": 1}


def played(session_id: str = SESSION_ID, *, count: int = 6, prefix: str = "") -> list[Exchange]:
    """A session with a chapter that is not closed, and a finding in each of its pings."""
    chapters = [
        event(
            "chapterStart", id=f"{prefix}c{n}", session_id=session_id, after_s=n, ts=BEGIN_MS + 1000 * n, params=CHAPTER
        )
        for n in (1, 2)
    ]
    pings = [
        event("ping", id=f"{prefix}p{n}", session_id=session_id, after_s=10 * n, ts=BEGIN_MS + 10_000 * n, params=ODD)
        for n in range(1, count - 2)
    ]
    return [start(id=f"{prefix}start", session_id=session_id), *chapters, *pings]


class Heard(Telling):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[News] = []
        self.counts_of: dict[str, int] = {}
        self.marks: dict[str, Any] = {}

    wants_news = True

    def news(self, news: Any) -> None:
        """Keep news."""
        self.told += news

    def filed(self, run: str, count: int) -> None:
        """Add up."""
        self.counts_of[run] = self.counts_of.get(run, 0) + count

    def of_session(self, findings: Any) -> None:
        """Keep marks."""
        self.marks.update(findings)


class Filing:
    """A folder, and what files it; `again` is another process that does."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.begin()

    def begin(self) -> None:
        """Begin without any memory."""
        self.heard = Heard()
        self.reaching = Reaching(self.url)
        self.folder = Folder(self.path)
        self.filer = Filer(self.path, self.folder, self.reaching, self.heard)

    def again(self) -> None:
        """End as if killed, and begin again."""
        self.close()
        self.begin()

    def all(self) -> None:
        """File all that is there."""
        while self.filer.file():
            pass

    def in_vain(self, match: str) -> None:
        """Try to file twice, as the loop does, and fail for this reason at last."""
        for _ in range(2):
            with pytest.raises(StorageUnavailable) as failed:
                self.filer.file()
            self.reaching.failed(failed.value)
        assert re.search(match, str(failed.value))

    def close(self) -> None:
        """Close files and connections."""
        self.folder.close()
        self.reaching.close()


@pytest.fixture(autouse=True)
def _lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat sessions of years ago as live."""
    for name in ("IDLE_TIMEOUT", "ENDED_IS_KEPT"):
        monkeypatch.setattr(live, name, datetime.now(UTC) - datetime(2000, 1, 1, tzinfo=UTC))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def files(store: Store, journal: Path) -> Iterator[Filing]:
    journal.mkdir()
    with closing(Filing(journal, store.url)) as filing:
        yield filing


def only_session(store: Store) -> Session:
    with store.read() as db:
        (found,) = sessions.newest(db, Filters(), now=datetime.now(UTC))
    return found


def books(store: Store, run: str = "run1", worker: int = 0) -> tuple[int, ...]:
    """Return what a process has seen, journaled, filed, filed late, refused and dropped."""
    with store.read() as db:
        (found,) = [each for each in recorders.all_of(db) if (each.id, each.worker) == (run, worker)]
    return found.seen, found.journaled, found.filed, found.late, found.refused, found.dropped


def stored(store: Store) -> list[str]:
    """Return the ids of all exchanges, by session and in order."""
    with store.read() as db:
        found = sessions.newest(db, Filters(), now=datetime.now(UTC))
        return [each.id for session in found for each in exchanges.of_session(db, session.id)]


def entries(of: Sequence[Exchange]) -> list[Entry]:
    return [journals.entry(each) for each in of]


def test_what_was_journaled_is_stored_judged_and_counted(files, store):
    sent = [*played(), exchange("POST", "/api/v1/other", id="other", response=response(404))]
    journals.write(files.path, [*entries(sent), journals.counted(7, is_end=True)])
    files.all()
    with store.read() as db:
        assert list(exchanges.of_session(db, only_session(store).id)) == sent[:-1]
        of_exchanges = findings.of_exchanges(db, only_session(store).id)
        of_session = [finding.rule for finding in findings.of_session(db, only_session(store).id)]
    assert of_exchanges == {each.id: found for each in sent[:-1] if (found := judge_exchange(each))}
    assert "chapter-not-closed" in of_session
    counts = only_session(store).findings
    assert counts.error + counts.warning + counts.info == len(of_session) + sum(
        len(found or ()) for found in of_exchanges.values()
    )
    assert books(store) == (7, 7, 7, 7, 0, 0)
    assert (files.filer.filed, files.heard.counts_of) == (7, {"run1": 7})
    assert sorted(files.path.iterdir()) == [], "nothing is left"
    assert [type(each) for each in files.heard.told[:1]] == [Started]
    assert {each.finding.rule for each in files.heard.told if isinstance(each, Found)} >= {"chapter-not-closed"}
    assert not any(isinstance(each, Ended) for each in files.heard.told)
    assert files.heard.marks.keys() >= {"c2"}


def test_what_is_read_again_is_stored_once_counted_once_and_told_once(files, store):
    path = journals.write(files.path, entries(played()))
    files.filer.file()
    for number in range(3):
        files.again()
        journals.append(path, entries(played(prefix=f"{number}")[3:5]), count=6 + 2 * number)
        files.filer.file()
        assert files.heard.counts_of == {"run1": 2}
        assert not any(isinstance(each, Started) for each in files.heard.told)
    assert len(stored(store)) == len(set(stored(store))) == 12
    assert books(store)[:3] == (12, 12, 12)
    files.all()
    anew = only_session(store)
    with store.read() as db:
        (finding,) = [each for each in findings.of_session(db, anew.id) if each.rule == "chapter-not-closed"]
    assert finding.seq == 3, "its beginning was read from the store"


def test_settings_of_each_recorder_apply_to_what_it_recorded(files, store):
    lenient = policies.to_document(Policy(severities={"param-unknown": None, "chapter-not-closed": None}))
    journals.write(files.path, entries(played(prefix="a")), journals.about("strict"))
    journals.write(files.path, entries(played("cd" * 32, prefix="b")), journals.about("lenient", policy=lenient))
    journals.write(files.path, entries(played("ef" * 32, prefix="c")), journals.about("unchecked", checks=False))
    files.all()
    with store.read() as db:
        found = {(each.session_id or "")[:2]: each for each in sessions.newest(db, Filters(), now=datetime.now(UTC))}
        rules = {key: {each.rule for each in findings.of_session(db, session.id)} for key, session in found.items()}
        unchecked = findings.of_exchanges(db, found["ef"].id)
    assert found[SESSION_ID[:2]].findings.warning + found[SESSION_ID[:2]].findings.error > found["cd"].findings.warning
    assert "chapter-not-closed" in rules[SESSION_ID[:2]]
    assert "chapter-not-closed" not in rules["cd"]
    assert rules["ef"] == set()
    assert set(unchecked.values()) == {None}


def test_events_of_a_session_that_came_through_several_processes_are_filed_in_order(files, store):
    sent = played(count=20)
    for worker in range(2):
        journals.write(files.path, entries(sent[worker::2]), journals.about(worker=worker))
    files.all()
    assert [each.session.start_seen for each in files.heard.told if isinstance(each, Started)] == [True]
    assert stored(store) == [each.id for each in sent]
    assert books(store, worker=0)[2] == books(store, worker=1)[2] == 10


def test_a_session_that_is_filed_long_after_it_was_recorded_is_read_from_the_store_once_at_most(
    files, store, monkeypatch
):
    monkeypatch.setattr(live, "IDLE_TIMEOUT", IDLE_TIMEOUT)
    monkeypatch.setattr(live, "ENDED_IS_KEPT", timedelta(seconds=60))
    monkeypatch.setattr(filing, "MOST", 10)
    read: list[int] = []
    get = exchanges.get

    def counted(db: Any, ids: Sequence[str]) -> Iterator[Exchange]:
        read.append(len(ids))
        return get(db, ids)

    monkeypatch.setattr(exchanges, "get", counted)
    sent = played(count=60)
    journals.write(files.path, entries(sent[:30]), commit=10)
    files.all()
    assert read == []
    journals.write(files.path, entries(sent), commit=10, number=2)
    files.again()
    files.all()
    assert sum(read) == 30
    assert stored(store) == [each.id for each in sent]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_it_knows_whether_a_batch_had_all_that_there_was(files, monkeypatch):
    monkeypatch.setattr(filing, "MOST", 10)
    sent = entries(played(count=40))
    journals.write(files.path, sent[:25], commit=10)
    journals.write(files.path, sent[25:30], number=2)
    journals.write(files.path, sent[30:35], journals.about("run2"))
    end = files.filer.end()
    journals.write(files.path, [*sent[35:], *entries(played("cd" * 32, count=40, prefix="more"))], number=3, commit=10)
    had_all, were_past = [], []
    while files.filer.file():
        had_all.append(files.filer.has_read_all)
        were_past.append(files.filer.is_past(end))
    assert not were_past[0]
    assert were_past.index(True) < had_all.index(True), "there is more, which came later"
    assert had_all[-1]
    assert not any(had_all[:-2]), "the second segment of run1 comes last"
    assert files.filer.has_read_all


def test_what_a_recorder_dropped_leaves_a_gap_in_its_session(files, store):
    lost = Dropped(
        id="lost", received_us=journals.BEGIN_US + 1, method="POST", path=f"/api/v1/sessions/{SESSION_ID}/events",
        reason="no space left on the disk",
    )  # fmt: skip
    journals.write(files.path, [*entries(played()), lost, journals.counted(7, journaled=6, dropped=1)])
    files.all()
    assert (only_session(store).lost, only_session(store).has_holes) == (1, True)
    assert books(store) == (7, 6, 6, 6, 0, 1)
    with store.read() as db:
        (loss,) = losses.of_session(db, only_session(store).id)
        assert (loss.id, loss.is_refused, loss.reason) == ("lost", False, "no space left on the disk")
        rules = {finding.rule for finding in findings.of_session(db, only_session(store).id)}
    assert rules.isdisjoint({"ping-gap", "ping-gap-long"})


def test_an_entry_that_is_there_twice_is_filed_once(files, store):
    twice = entries(played())
    journals.write(files.path, [*twice, *twice[2:4]], commit=100)
    files.all()
    assert stored(store) == [each.id for each in played()]
    assert (books(store)[2], books(store)[4]) == (6, 0)


def test_large_bodies_are_judged_after_they_are_stored(files, store):
    large = body(event_dict("ping", params={"x" * 40 + str(n): n for n in range(3000)}))
    assert len(large) > filing.JUDGED_AT_ONCE
    posted = event("ping", id="large", after_s=100, body=large)
    journals.write(files.path, entries([*played(), posted]))
    files.all()
    with store.read() as db:
        assert findings.unjudged(db) == ["large"]
    files.again()
    while files.filer.work_off_one():
        pass
    with store.read() as db:
        assert findings.unjudged(db) == []
        assert findings.of_exchanges(db, only_session(store).id)["large"] == judge_exchange(posted)


def test_a_rule_that_fails_on_a_large_body_is_counted(files):
    large = body(event_dict("ping", params={"x" * 40 + str(n): n for n in range(3000)}))
    journals.write(files.path, entries([*played(), event("ping", id="large", after_s=100, body=large)]))
    files.all()
    files.again()
    with failing("content-type-not-json"):
        while files.filer.work_off_one():
            pass
    assert files.filer.failures.count == 1


def test_a_schema_that_upstream_gave_applies_to_what_comes_after_it(files, store):
    schema = b'{"type": "object", "title": "ping", "properties": {}}'
    asked = exchange("GET", "/api/v1/schemas/ping", id="schema", response=response(200, body=schema))
    journals.write(files.path, entries([*played(), asked]), commit=100)
    files.filer.file()
    later = event("ping", id="later", after_s=200, params=ODD)
    journals.write(files.path, entries([later]), number=2)
    files.all()
    with store.read() as db:
        found = findings.of_exchanges(db, only_session(store).id)
    assert {each.authority for each in found["p1"] or ()} == {"built-in"}


# What the store refuses ------------------------------------------------------------------------------------------------


@pytest.fixture
def picky(store: Store) -> None:
    """A store that takes no exchange with a certain status."""
    with store.write() as db:
        if store.is_sqlite:
            db.exec_driver_sql(
                "CREATE TRIGGER picky BEFORE INSERT ON exchanges WHEN NEW.status = 418 "
                "BEGIN SELECT RAISE(ABORT, 'no teapots'); END"
            )
        else:
            db.exec_driver_sql("ALTER TABLE exchanges ADD CONSTRAINT no_teapots CHECK (status <> 418)")


@pytest.mark.usefixtures("picky")
def test_what_the_store_refuses_is_set_aside_and_the_rest_goes_on(files, store, caplog):
    sent = [event("ping", id=f"x{n:04}", after_s=n, ts=BEGIN_MS + 1000 * n) for n in range(500)]
    bad = {7, 8, 250, 499}
    sent = [replace(each, response=response(418)) if n in bad else each for n, each in enumerate(sent)]
    sent.insert(0, start(id="s"))
    broken = msgspec.structs.replace(journals.entry(sent[3]), id="broken", request=b"nonsense")
    journals.write(files.path, [*entries(sent[:3]), broken, *entries(sent[3:]), journals.counted(502)], commit=100)
    files.all()
    refused = {f"x{n:04}" for n in bad}
    assert stored(store) == [each.id for each in sent if each.id not in refused]
    assert books(store) == (502, 502, 497, 497, 5, 0)
    assert (files.filer.refused, files.filer.filed) == (5, 497)
    assert only_session(store).lost == 4
    with store.read() as db:
        noted = {loss.id: loss for loss in losses.of_recorder(db, "run1")}
    assert noted.keys() == {*refused, "broken"}
    assert all(loss.is_refused and loss.reason.startswith("the store refuses it: ") for loss in noted.values())
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused: ")]
    assert len(told) == 5
    (kept,) = (files.path / "aside").iterdir()
    assert all(str(kept) in line for line in told)
    with store.write() as db:
        db.exec_driver_sql(
            "DROP TRIGGER picky" if store.is_sqlite else "ALTER TABLE exchanges DROP CONSTRAINT no_teapots"
        )
    shutil.move(kept, files.path)
    files.all()
    assert stored(store) == [each.id for each in sent]
    assert books(store) == (502, 502, 501, 501, 1, 0), "the one that is no HTTP is still refused"
    assert (only_session(store).lost, only_session(store).has_holes) == (0, False)
    with store.read() as db:
        assert [loss.id for loss in losses.of_recorder(db, "run1")] == ["broken"]
    shutil.copy(kept, files.path)
    files.all()
    assert books(store) == (502, 502, 501, 501, 1, 0)


def test_a_store_that_refuses_everything_is_waited_for(files, store):
    journals.write(files.path, entries(played(count=60)), commit=100)
    with store.write() as db:
        if store.is_sqlite:
            db.exec_driver_sql(
                "CREATE TRIGGER broken BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        else:
            db.exec_driver_sql("ALTER TABLE sessions RENAME TO gone")
    files.in_vain("refuses everything: .*(broken|does not exist)")
    assert not (files.path / "aside").exists()
    with store.write() as db:
        db.exec_driver_sql("DROP TRIGGER broken" if store.is_sqlite else "ALTER TABLE gone RENAME TO sessions")
    files.all()
    assert stored(store) == [each.id for each in played(count=60)]
    assert books(store)[2:5] == (60, 60, 0)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_store_that_fails_in_the_same_way_again_and_again_is_waited_for(files, store):
    sent = [replace(each, response=response(418)) for each in played(count=40)]
    journals.write(files.path, entries(sent), commit=100)
    with store.write() as db:
        db.exec_driver_sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'index is broken' USING ERRCODE = 'XX002'; END $$"
        )
        db.exec_driver_sql(
            "CREATE TRIGGER broken BEFORE INSERT ON exchanges FOR EACH ROW "
            "WHEN (NEW.status = 418) EXECUTE FUNCTION fail()"
        )
    files.in_vain("refuses one entry after another: index is broken")
    assert (files.filer.filed, files.filer.refused) == (0, filing.ALIKE)
    with store.write() as db:
        db.exec_driver_sql("DROP FUNCTION fail() CASCADE")
    files.all()
    assert stored(store) == [each.id for each in sent[filing.ALIKE :]]


def test_what_cannot_even_be_looked_at_stops_nothing_else(files, store, monkeypatch, caplog):
    never = 2**62
    bad = [msgspec.structs.replace(journals.entry(event("ping", id=f"bad{n}")), received_us=never) for n in range(2)]
    of_exchange = Inspector.of_exchange

    def fails(self: Inspector, judged: Exchange) -> Any:
        if judged.id == "p1":
            raise RecursionError
        return of_exchange(self, judged)

    monkeypatch.setattr(Inspector, "of_exchange", fails)
    odd = journals.about("run0", started_us=never, policy={"severities": {"ping-gap": "catastrophic"}})
    journals.write(files.path, [journals.counted(2, at_us=never), *entries(played("cd" * 32, prefix="a")[:2])], odd)
    journals.write(files.path, [bad[0], *entries(played()), bad[1], journals.counted(8, at_us=never)], commit=100)
    files.all()
    assert {*stored(store)} == {"astart", "ac1", *(each.id for each in played() if each.id != "p1")}
    assert books(store)[2:5] == (5, 5, 3)
    assert books(store, "run0")[:3] == (2, 2, 2)
    with store.read() as db:
        assert {loss.id for loss in losses.of_recorder(db, "run1")} == {"bad0", "bad1", "p1"}
    assert sum(line.startswith("refused: ") for line in caplog.messages) == 3
    assert sum("reading a recorder's settings failed" in line for line in caplog.messages) == 1
    assert not [*files.path.glob("*.tape")]


def test_findings_that_the_store_refuses_stop_nothing_else(files, store, monkeypatch):
    judge = live.LiveJudge.judge
    refuses = True

    def refuse(self: live.LiveJudge, *args: Any, is_settling: bool = False, **options: Any) -> Any:
        if is_settling and refuses:
            raise IntegrityError("", {}, Exception("refused"))
        return judge(self, *args, is_settling=is_settling, **options)

    monkeypatch.setattr(live.LiveJudge, "judge", refuse)
    journals.write(files.path, entries(played()))
    monkeypatch.setattr(live.LiveJudge, "has_something_to_settle", lambda _: True)
    files.all()
    for _ in range(3):
        files.filer.bring_up_to_date(is_settling=True)
        assert not files.filer.work_off_one(), "what fails is not tried again and again"
    assert files.filer.failures.count == 3
    refuses = False
    files.filer.bring_up_to_date(is_settling=True)
    assert files.filer.failures.count == 3


def test_text_that_the_encoding_of_the_store_lacks_is_no_reason_to_lose_an_exchange(files, store):
    named = event("ping", id="x1", after_s=1, params={"media.name": "日本語 \ud83d\ude00 \x00"})
    journals.write(files.path, entries([start(id="s"), named]))
    files.all()
    with store.read() as db:
        assert [each.request.body for each in exchanges.of_session(db, only_session(store).id)][1] == named.request.body


# The store comes and goes ------------------------------------------------------------------------------------------------


def test_a_transaction_that_is_rolled_back_leaves_nothing_behind(files, store, monkeypatch):
    keep = recorders.keep

    def fails(*_: object, **__: object) -> None:
        raise StorageUnavailable("it is away")

    journals.write(files.path, [*entries(played()), journals.counted(6)])
    monkeypatch.setattr(recorders, "keep", fails)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="away"):
            files.filer.file()
    assert (stored(store), files.heard.told, files.filer.filed) == ([], [], 0)
    monkeypatch.setattr(recorders, "keep", keep)
    files.all()
    assert stored(store) == [each.id for each in played()]
    assert books(store)[:3] == (6, 6, 6)
    with store.read() as db:
        rules = [finding.rule for finding in findings.of_session(db, only_session(store).id)]
    assert "chapter-not-closed" in rules


def test_a_segment_goes_only_after_all_of_it_is_on_the_stores_disk(files, store, monkeypatch):
    path = journals.write(files.path, entries(played()))
    journals.write(files.path, [journals.counted(6)], number=2)

    def away(_: Store) -> None:
        raise StorageUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "settle", away)
        assert files.filer.file()
        with pytest.raises(StorageUnavailable):
            files.filer.file()
        assert path.exists()
    files.all()
    assert not path.exists()


def test_what_was_read_beside_a_segment_that_cannot_go_yet_is_read_again(files, store, monkeypatch):
    sent = played(count=20)
    journals.write(files.path, entries(sent[:8]), journals.about(worker=1))
    files.filer.file()
    journals.write(files.path, entries(sent[8:]), journals.about(worker=2))

    def away(*_: object) -> None:
        raise StorageUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "settle", away)
        with pytest.raises(StorageUnavailable):
            files.filer.file()
    files.all()
    assert stored(store) == [each.id for each in sent]
    assert [*files.path.glob("*.tape")] == []


def test_what_one_process_wrote_stays_in_its_order_whatever_its_clock_does(files, store):
    later = [journals.counted(5, at_us=journals.BEGIN_US + 10**9), *entries(played())]
    end = journals.counted(6, at_us=journals.BEGIN_US - 10**9, is_end=True)
    journals.write(files.path, [*later, end], journals.about(worker=1))
    journals.write(files.path, [journals.counted(0)], journals.about(worker=2))
    files.all()
    with store.read() as db:
        told = {each.worker: each for each in recorders.all_of(db)}
    assert told[1].ended_at is not None, "the last that it told is that it has ended"
    assert (told[1].seen, told[1].filed) == (6, 6)


@pytest.fixture
def file_store(tmp_path: Path, migrated_file: Path, journal: Path) -> Iterator[tuple[Filing, Path]]:
    """An SQLite store of which half a journal is filed."""
    path = tmp_path / "tape.db"
    shutil.copy(migrated_file, path)
    journals.write(journal, entries(played()))
    with closing(Filing(journal, f"sqlite:///{path}")) as filing:
        filing.filer.file()
        yield filing, path


def test_a_store_file_that_is_removed_is_missed_and_its_successor_gets_what_the_journal_has(
    file_store, migrated_file, caplog
):
    files, path = file_store
    gone = path.with_name("gone.db")
    path.rename(gone)
    journals.append(next(files.path.glob("*.tape")), entries(played(prefix="later")[3:]), count=6)
    files.in_vain("was moved to .*gone.db")
    path.write_bytes(b"")
    files.in_vain("has no schema yet.*db upgrade")
    with closing(Store(files.url)) as store:
        migrate.upgrade(store)
    files.all()
    with closing(Store(files.url)) as store:
        assert len(stored(store)) == 9, "with what had been filed into the other one, as the journal still had it"
        assert books(store)[2] == 9
    with closing(Store(f"sqlite:///{gone}")) as store:
        assert len(stored(store)) == 6
    told = [record.getMessage() for record in caplog.records]
    assert sum("wait in the journal until it is back" in line for line in told) == 2, "each reason once"
    assert sum("filing into the one that is there now" in line for line in told) == 1


def test_a_file_of_another_program_in_the_place_of_the_store_is_left_alone(file_store):
    files, path = file_store
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (x)")
    before = path.read_bytes()
    journals.append(next(files.path.glob("*.tape")), entries(played(prefix="later")[3:]), count=6)
    files.in_vain("did not make")
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_waits_for_one_that_knows_it(file_store):
    files, path = file_store
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.execute("ALTER TABLE recorders RENAME TO recorders_of_tomorrow")
    journals.append(next(files.path.glob("*.tape")), entries(played(prefix="later")[3:]), count=6)
    files.in_vain("a newer sessiontape made it")
    assert waiting(files.path) is not None
    with closing(Reaching(files.url)) as reaching, pytest.raises(SchemaOutOfDate):
        reaching.prepare()


def test_what_is_older_than_it_is_kept_is_deleted_when_nothing_is_to_be_filed(files, store, caplog):
    journals.write(files.path, entries(played()))
    files.all()
    with caplog.at_level(logging.INFO):
        assert not Keeping(None).delete_some(store)
        keeping = Keeping(100_000)
        assert not keeping.delete_some(store)
        assert len(stored(store)) == 6
        keeping = Keeping(1)
        while keeping.delete_some(store):
            pass
    assert stored(store) == []
    assert [line for line in caplog.messages if "too old" in line] == ["deleted as too old: 1 session, 6 exchanges"]


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_store_that_may_only_be_read_is_waited_for(files, store, caplog):
    database = store.url.partition("?")[0].rpartition("/")[2]
    journals.write(files.path, entries(played()))
    with store.write() as db:
        db.exec_driver_sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store.close()
    try:
        files.in_vain("read-only transaction")
    finally:
        with psycopg.connect(store.url, autocommit=True) as admin:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only".encode())
    store.close()
    files.reaching.store.close()
    files.all()
    assert stored(store) == [each.id for each in played()]
    told = [line for line in caplog.messages if "wait in the journal" in line or "is back" in line]
    assert len(told) == 2, "when it went, and when it came back"


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_server_that_does_not_answer_is_given_up_before_anything_patient_is_begun(files, store, monkeypatch):
    monkeypatch.setattr(reaching, "_WAITS", Waits(lock_s=0.3, answer_s=0.3))
    monkeypatch.setattr(migrate, "upgrade", lambda _: pytest.fail("this would wait as long as the server hangs"))
    files.again()
    with psycopg.connect(store.url) as other:
        other.execute("LOCK TABLE alembic_version")
        with pytest.raises(StorageUnavailable, match="did not answer"):
            files.reaching.prepare()


def test_damage_and_segments_of_a_newer_version_stop_nothing_else(files, store, caplog):
    sent = played(count=60)
    torn = journals.write(files.path, entries(sent[:20]), commit=5)
    newer = journals.write(files.path, entries(sent[20:40]), journals.about("run2"))
    journals.write(files.path, entries(sent[40:]), journals.about("run3"))
    with closing(sqlite3.connect(torn)) as db, db:
        db.execute("UPDATE entries SET x = x'00' WHERE n = 10")
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    files.all()
    assert stored(store) == [each.id for each in [*sent[:5], *sent[10:20], *sent[40:]]]
    assert [each.name for each in files.path.glob("*.tape")] == [newer.name]
    assert [each.name for each in (files.path / "aside").glob("*.tape")] == [torn.name]
    assert any("written by a newer version; it is left alone" in line for line in caplog.messages)
    assert any("5 entries cannot be read" in line for line in caplog.messages)


class _BadSector:
    """A connection to a segment of which the disk does not give the rows between two numbers."""

    def __init__(self, db: sqlite3.Connection, first: int, last: int) -> None:
        self._db, self._first, self._last = db, first, last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, parameters: Sequence[int] = ()) -> Any:
        rows = self._db.execute(statement, parameters)
        return _Rows(self, rows) if "FROM entries" in statement else rows

    def check(self, row: Any) -> Any:
        if row is not None and self._first <= row[0] <= self._last:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error
        return row


class _Rows:
    def __init__(self, db: _BadSector, rows: sqlite3.Cursor) -> None:
        self._db, self._rows = db, rows
        self.close = rows.close

    def __iter__(self) -> Iterator[Any]:
        return map(self._db.check, self._rows)

    def fetchone(self) -> Any:
        return self._db.check(self._rows.fetchone())


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_segment_that_the_disk_does_not_give_holds_up_nobody_else(files, store, monkeypatch, caplog):
    sent = played(count=60)
    bad = journals.write(files.path, entries(sent[:20]), commit=5)
    journals.write(files.path, entries(sent[20:40]), journals.about("run2"))
    open_ = reading._open
    monkeypatch.setattr(reading, "_open", lambda path: _BadSector(open_(path), 10, 15) if path == bad else open_(path))
    files.all()
    assert stored(store) == [each.id for each in [*sent[:5], *sent[20:40]]]
    assert (files.filer.has_read_all, files.filer.has_writers) == (False, True)
    journals.write(files.path, entries(sent[40:]), journals.about("run3"))
    files.all()
    assert len(stored(store)) == 45
    assert [line for line in caplog.messages if "cannot be read" in line] == [
        f"the journal's segment {bad.name} cannot be read; others are filed meanwhile: {bad}: disk I/O error"
    ]
    monkeypatch.setattr(reading, "_UNREADABLE_S", 0.0)
    files.all()
    assert stored(store) == [each.id for each in [*sent[:5], *sent[15:]]]
    assert [each.name for each in (files.path / "aside").glob("*.tape")] == [bad.name]
    assert not [*files.path.glob("*.tape")]


class Writing:
    """A recorder that goes on."""

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._journal = Journal(path, journals.about("new"), durable=False, call=lambda call, *args: call(*args))

    def put(self) -> None:
        """Journal a session."""
        committed = threading.Event()
        self.number += 1
        begun = start(id=f"n{self.number}", session_id=f"{self.number:04}")
        self._journal.put(journals.entry(begun), lambda _: committed.set())
        assert committed.wait(10)

    def close(self) -> None:
        """End."""
        self._journal.close(5)


# Draining ----------------------------------------------------------------------------------------------------------------


def test_a_journal_is_drained_to_the_end(store, journal):
    journals.write(journal, entries(played()), number=1)
    journals.write(journal, [journals.counted(6, is_end=True)], number=2)
    drained = drain(journal, store.url)
    assert (drained.filed, drained.refused, drained.left, drained.reason) == (6, 0, None, None)
    assert stored(store) == [each.id for each in played()]
    with store.read() as db:
        assert (sessions.findings_due(db), findings.unjudged(db)) == ([], [])
    assert drain(journal, store.url).filed == 0


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_draining_ends_although_a_recorder_goes_on(store, journal, monkeypatch):
    journals.write(journal, entries(played()), journals.about("old"))
    file = Filer.file
    with closing(Writing(journal)) as writer:
        for _ in range(3):
            writer.put()

        def busily(self: Filer) -> int:
            writer.put()
            assert writer.number < 50, "it goes on with what comes in meanwhile"
            return file(self)

        monkeypatch.setattr(Filer, "file", busily)
        drained = drain(journal, store.url)
    assert drained.left is None
    assert drained.filed >= 9
