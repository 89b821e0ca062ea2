"""Listing the newest sessions reads what it shows and little more, however many sessions there are and whatever filter.

The statements are those that `storage.sessions.newest` really sends. On PostgreSQL the rows that each step of the plan
touched are counted by the server; on SQLite the steps of its virtual machine are, of which reading a row takes several.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from proxy_addon.core.sessions import Session, SessionState
from storage import migrate, sessions
from storage.engine import Store, sqlite_path
from storage.sessions import Filters
from tests import postgres as postgresql
from tests.builders import BEGIN, at, session

SESSIONS = 50_000
SHOWN = 50
NOW = at(SESSIONS)
"""One session began each second; the last one just now."""

MOST_ROWS = 3_000
"""What listing 50 sessions may touch: filters find several values, and of each a page is read."""
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
    return {
        "recording_id": "r0" if frequent else "old" if old else f"r{number % 20}",
        "player_name": "HTML5 Player" if frequent else "Old TV" if old else f"Player {number % 40}",
        "media_id": "live-1" if frequent else "old-1" if old else f"video-{number % 900}",
        "media_name": "The channel" if frequent else "An old film" if old else f"Film {number % 900}",
        "user_agent": f"Mozilla/5.0 Chrome/{number % 300}" if frequent else "OldTV/1" if old else f"App/{number % 300}",
        "has_findings": old or number % 1000 == 0,
        "state": state,
    }


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows of the sessions."""
    plain = {**sessions.to_row(session()), "occurrence": 0}
    for number in range(SESSIONS):
        id = f"{number * 2654435761 % 2**32:016x}"
        times = dict.fromkeys(("started_at", "last_event_at", "playhead_moved_at"), BEGIN + timedelta(seconds=number))
        yield plain | times | label(number) | {"id": id, "session_id": id * 4, "session_prefix": id * 4, "session_key": id}


RECORDINGS = ["old", *(f"r{number}" for number in range(20))]


def fill_sqlite(path: Path) -> None:
    recordings = [(id, f"Recording {id}", "2026-03-01 12:00:00.000000", "1") for id in RECORDINGS]
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
            for id in RECORDINGS:
                copy.write_row((id, f"Recording {id}", BEGIN, "1"))
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
