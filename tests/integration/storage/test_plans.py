"""Listing the newest sessions reads what it shows and little more, however many sessions there are and whatever filter.

The statements are those that `storage.sessions.newest` really sends. On PostgreSQL the rows that each step of the plan
touched are counted by the server; on SQLite the steps of its virtual machine are, of which reading a row takes several.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from proxy_addon.core.sessions import Session, SessionState
from storage import migrate, sessions
from storage.engine import Store
from storage.filters import Filters
from tests import postgres as postgresql
from tests.builders import BEGIN, at, session

SESSIONS = 50_000
SHOWN = 50
NOW = at(SESSIONS)
"""One session began each second; the last one just now."""

MOST_ROWS = 6_000
"""What listing 50 sessions may touch: filters look at each of 900 distinct values, and read a page of those they find."""
STEPS_A_ROW = 10
"""Reading one row and testing one condition takes SQLite about as many steps."""

OTHER_STATES = ("failed", "partial", "ended", "completed")
LONG_AGO = at(SESSIONS * 0.02)
LATELY = at(SESSIONS - 20)
"""Where filters ask for a short time at one end."""


def label(number: int) -> dict[str, Any]:
    """Return what distinguishes the session of that number; of everything there is something frequent and rare."""
    frequent = number % 2 == 0
    old = number < 100
    state = "open" if number % 5 == 0 else "failed" if old else OTHER_STATES[1:][number % 3]
    recording = "r0" if frequent else "old" if old else f"r{number % 20}"
    return {
        "recording_id": recording,
        "recording": f"Recording {recording}",
        "player_name": "HTML5 Player" if frequent else "Old TV" if old else f"Player {number % 40}",
        "media_id": "live-1" if frequent else "old-1" if old else f"video-{number % 900}",
        "media_name": "The channel" if frequent else "An old film" if old else f"Film {number % 900}",
        "user_agent": f"Mozilla/5.0 Chrome/{number % 300}" if frequent else "OldTV/1" if old else f"App/{number % 300}",
        "has_findings": old or number % 1000 == 0,
        "state": state,
    }


def id_of(number: int) -> str:
    """Return the id of the session of that number, spread over all there could be."""
    return f"{number * 2654435761 % 2**32:08x}{number:08x}"


def named(id: str) -> dict[str, str]:
    return {"id": id, "session_id": id * 4, "session_prefix": id * 4, "session_key": id}


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows of the sessions."""
    plain = {**sessions.to_row(session()), "occurrence": 0}
    for number in range(SESSIONS):
        times = dict.fromkeys(("started_at", "last_event_at", "playhead_moved_at"), BEGIN + timedelta(seconds=number))
        yield (plain | times | label(number) | named(id_of(number)))


RECORDINGS = ["old", *(f"r{number}" for number in range(20))]


def fill_sqlite(path: Path) -> None:
    recordings = [(recording, f"Recording {recording}", "2026-03-01 12:00:00.000000", "1") for recording in RECORDINGS]
    names = list(next(rows()))
    with sqlite3.connect(path) as db:
        db.executemany("INSERT INTO recordings (id, name, started_at, version) VALUES (?, ?, ?, ?)", recordings)
        db.executemany(
            f"INSERT INTO sessions ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            (
                [f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row.values()]
                for row in rows()
            ),
        )
    db.close()


def fill_postgres(url: str) -> None:
    names = ", ".join(next(rows()))
    with psycopg.connect(url) as db, db.cursor() as cursor:
        with cursor.copy("COPY recordings (id, name, started_at, version) FROM STDIN") as copy:
            for recording in RECORDINGS:
                copy.write_row((recording, f"Recording {recording}", BEGIN, "1"))
        with cursor.copy(f"COPY sessions ({names}) FROM STDIN".encode()) as copy:
            for row in rows():
                copy.write_row(list(row.values()))
        cursor.execute("ANALYZE")


@pytest.fixture(scope="module", params=["sqlite", "sqlite, analysed", "postgresql"])
def full_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, full_file: Path
) -> Iterator[Store]:
    """A store with many sessions; nobody runs ANALYZE on a SQLite file, so plans have to be good without."""
    if request.param == "postgresql":
        server: postgresql.Server = request.getfixturevalue("postgres")
        with server.database() as url:
            store = Store(url)
            migrate.upgrade(store)
            fill_postgres(url)
            yield store
            store.close()
        return
    path = shutil.copy(full_file, tmp_path_factory.mktemp("full") / "tape.db")
    store = Store(f"sqlite:///{path}")
    if "analysed" in request.param:
        with store.write() as db:
            db.execute(text("ANALYZE"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def full_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with many sessions."""
    path = tmp_path_factory.mktemp("full") / "tape.db"
    store = Store(f"sqlite:///{path}")
    migrate.upgrade(store)
    store.close()
    fill_sqlite(path)
    return path


class Reading(NamedTuple):
    """What a listing showed, and how much it touched."""

    shown: list[Session]
    touched: int


def listed(store: Store, filters: Filters, limit: int | None = SHOWN) -> Reading:
    """List as the commands do, and count what that touches."""
    touched: int = 0

    def count_steps() -> int:
        nonlocal touched
        touched += 1
        return 0

    with store.read() as db:
        if store.is_sqlite:
            driver: Any = db.connection.driver_connection
            driver.set_progress_handler(count_steps, STEPS_A_ROW)
            try:
                return Reading(list(sessions.newest(db, filters, now=NOW, limit=limit)), touched)
            finally:
                driver.set_progress_handler(None, 0)
        with statements_of(db) as sent:
            shown = list(sessions.newest(db, filters, now=NOW, limit=limit))
        for statement, parameters in sent:
            plan = db.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            touched += rows_touched(plan[0]["Plan"])
        return Reading(shown, touched)


@contextmanager
def statements_of(db: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that a connection sends meanwhile."""
    sent: list[tuple[str, Any]] = []

    def before(_db: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(db, "before_cursor_execute", before)
    try:
        yield sent
    finally:
        event.remove(db, "before_cursor_execute", before)


def rows_touched(plan: dict[str, Any]) -> int:
    """Return the rows that a plan's steps gave or threw away, those of its parts included."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own: int = round((plan["Actual Rows"] + removed) * plan["Actual Loops"])
    return own + sum(rows_touched(part) for part in plan.get("Plans", []))


FILTERS = {
    "none": Filters(),
    "a frequent recording": Filters(name="Recording r0"),
    "an old recording": Filters(name="Recording old"),
    "an unknown recording": Filters(name="nobody's"),
    "a short time lately": Filters(since=LATELY),
    "a short time long ago": Filters(until=LONG_AGO),
    "a frequent player": Filters(player="html5"),
    "a rare player": Filters(player="old tv"),
    "an unknown player": Filters(player="nobody's"),
    "a frequent medium": Filters(media="live-1"),
    "a rare medium": Filters(media="video-7"),
    "an old medium by its name": Filters(media="an old film"),
    "a frequent user agent": Filters(user_agent="Chrome/8"),
    "a rare user agent": Filters(user_agent="oldtv"),
    "findings": Filters(with_findings=True),
    **{f"state {state}": Filters(states=frozenset({state})) for state in SessionState},
}


@pytest.mark.parametrize("name", FILTERS)
def test_listing_the_newest_sessions_touches_little_more_than_it_shows(full_store, name):
    reading = listed(full_store, FILTERS[name])
    assert len(reading.shown) == (0 if "unknown" in name else min(SHOWN, len(reading.shown)))
    assert reading.touched <= MOST_ROWS, f"{reading.touched} of {SESSIONS} rows for {len(reading.shown)} sessions"


@pytest.mark.parametrize("name", ["none", "a frequent player", "state ended", "findings"])
def test_a_page_is_full_and_newest_first(full_store, name):
    shown = listed(full_store, FILTERS[name]).shown
    times = [each.started_at for each in shown]
    assert len(shown) == SHOWN
    assert times == sorted(times, reverse=True)


def test_listing_all_touches_all_so_that_the_count_means_something(full_store):
    reading = listed(full_store, Filters(since=LONG_AGO), limit=None)
    assert reading.touched > MOST_ROWS
    assert len(reading.shown) == SESSIONS - SESSIONS * 0.02


@pytest.mark.parametrize("length", [12, 16, 40, 64])
def test_finding_a_session_by_its_name_or_a_prefix_of_it_reads_no_table_through(full_store, length):
    with full_store.read() as db:
        with statements_of(db) as sent:
            assert sessions.find(db, (id_of(4321) * 4)[:length]).id == id_of(4321)
        explain = "EXPLAIN QUERY PLAN" if full_store.is_sqlite else "EXPLAIN"
        plans = [str(row) for query in sent for row in db.exec_driver_sql(f"{explain} {query[0]}", query[1]).all()]
    assert not [line for line in plans if "SCAN sessions" in line or "Seq Scan on sessions" in line], plans
