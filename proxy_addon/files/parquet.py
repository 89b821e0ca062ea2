"""Events as Parquet files, one for each day. This is the only module that knows DuckDB, which writes them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from proxy_addon.core.fixtures.event_rows import COLUMNS, OF_EVENT, OF_SESSION, Column, Kind, day_of

_AT_ONCE = 2_048
"""How many rows are handed to the database at once."""
_SETTINGS: dict[str, str | int | float | list[str]] = {
    "memory_limit": "512MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Of the database: what it keeps in memory, while the rest goes to the disk; and that it fetches nothing from the network."""
_RECEIVED_AT = next(place for place, column in enumerate(OF_EVENT) if column.name == "received_at")
_DAY = Column("day", Kind.TEXT, "")
_OF_EVENT = (Column("of", Kind.INTEGER, ""), _DAY, *OF_EVENT)
_OF_SESSION = (Column("number", Kind.INTEGER, ""), *OF_SESSION)


class EventTable:
    """Events of some sessions, which become a file for each day; a context manager."""

    def __init__(self) -> None:
        """Begin with no event."""
        self._folder = tempfile.TemporaryDirectory(prefix="sessiontape-")
        # One thread, so that the same events give the same bytes.
        self._db = duckdb.connect(config={"threads": 1, "temp_directory": self._folder.name, **_SETTINGS})
        self._db.execute(f"CREATE TABLE sessions ({_declared(_OF_SESSION)})")
        self._db.execute(f"CREATE TABLE events ({_declared(_OF_EVENT)})")
        self._events: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._db.close()
        self._folder.cleanup()

    def add(self, session: tuple[Any, ...], events: Iterable[tuple[Any, ...]]) -> None:
        """Add a session and its events, as `core.fixtures.event_rows` makes rows of them."""
        self._sessions.append((self._number, *session))
        for event in events:
            self._events.append((self._number, day_of(event[_RECEIVED_AT]), *event))
            if len(self._events) >= _AT_ONCE:
                self._hand_over()
        self._number += 1

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield each day, in order, and the bytes of the file with its events in the order in which they were added."""
        self._hand_over()
        days = [day for (day,) in self._db.execute("SELECT DISTINCT day FROM events ORDER BY day").fetchall()]
        columns = ", ".join(f'"{column.name}"' for column in COLUMNS)
        path = Path(self._folder.name) / "day.parquet"
        for day in days:
            self._db.execute(
                f"COPY (SELECT {columns} FROM events JOIN sessions ON number = of WHERE day = '{day}' ORDER BY events.rowid)"  # noqa: S608
                f" TO '{_quoted(path)}' (FORMAT parquet, COMPRESSION zstd)"
            )
            yield day, path.read_bytes()
            path.unlink()

    def _hand_over(self) -> None:
        for name, columns, rows in (("sessions", _OF_SESSION, self._sessions), ("events", _OF_EVENT, self._events)):
            for some in batched(rows, _AT_ONCE):
                self._db.execute(_INSERT[name], [_as_json(some, columns)])
            rows.clear()


def _declared(columns: Iterable[Column]) -> str:
    return ", ".join(f'"{column.name}" {column.kind.value}' for column in columns)


def _insert(table: str, columns: Sequence[Column]) -> str:
    """Return a statement that adds rows in the form of `_as_json`: that is much faster than a parameter for each value."""
    shape = json.dumps({column.name: [_IN_JSON.get(column.kind, column.kind.value)] for column in columns})
    lists = (f'unnest(given."{column.name}")' for column in columns)
    values = (
        f"make_timestamptz({each})" if column.kind is Kind.TIME else each
        for column, each in zip(columns, lists, strict=True)
    )
    return (
        f"INSERT INTO {table} SELECT {', '.join(values)} FROM (SELECT from_json_strict($1::JSON, '{shape}') AS given)"  # noqa: S608
    )


_IN_JSON = {Kind.TEXTS: ["VARCHAR"], Kind.TIME: "BIGINT"}
"""The types of columns in JSON, where these differ."""
_INSERT = {"sessions": _insert("sessions", _OF_SESSION), "events": _insert("events", _OF_EVENT)}


def _as_json(rows: Sequence[tuple[Any, ...]], columns: Sequence[Column]) -> str:
    """Return rows as one JSON object with a list for each column; times are in microseconds since 1970."""
    lists: dict[str, Sequence[Any]] = {}
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        lists[column.name] = [(at - _EPOCH) // _US for at in values] if column.kind is Kind.TIME else values
    return json.dumps(lists)


_EPOCH, _US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
