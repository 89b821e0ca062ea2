"""Events as Parquet files, by day. This is the only module that knows DuckDB, which writes them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from proxy_addon.core.fixtures.event_rows import COLUMNS, OF_EVENT, OF_SESSION, Column, Kind, day_of
from proxy_addon.errors import SettingsError

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 2_048, 4_000_000
"""How many rows are handed to the database at once, and how many bytes: it needs many times their size."""
_BYTES_IN_ALL = 50_000_000
"""How many bytes of events it keeps until they become files: it sorts all of them in memory."""
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
    """Events of some sessions, which become a file for each day, or several if they are large; a context manager."""

    def __init__(self) -> None:
        """Begin with no event."""
        self._folder = tempfile.TemporaryDirectory(prefix="sessiontape-")
        # One thread, so that the same events give the same bytes.
        self._db = duckdb.connect(config={"threads": 1, "temp_directory": self._folder.name, **_SETTINGS})
        self._db.execute(f"CREATE TABLE sessions ({_declared(_OF_SESSION)})")
        self._db.execute(f"CREATE TABLE events ({_declared(_OF_EVENT)})")
        self._events: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._bytes = self._bytes_in_all = 0
        self._files: list[tuple[str, bytes]] = []
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
        self._keep(self._sessions, (self._number, *session))
        for event in events:
            self._keep(self._events, (self._number, day_of(event[_RECEIVED_AT]), *event))
        self._number += 1

    def files(self) -> list[tuple[str, bytes]]:
        """Return each day, in order, and the bytes of a file with its events in the order in which they were added.

        Raises:
            SettingsError: There is too little memory or disk.
        """
        self._write()
        return sorted(self._files, key=lambda file: file[0])

    def _keep(self, rows: list[tuple[Any, ...]], row: tuple[Any, ...]) -> None:
        size = sum(_most_bytes(value) for value in row if value.__class__ is str)
        if self._bytes_in_all + size > _BYTES_IN_ALL:
            self._write()
        elif len(rows) >= _ROWS_AT_ONCE or self._bytes + size > _BYTES_AT_ONCE:
            self._hand_over()
        rows.append(row)
        self._bytes += size
        self._bytes_in_all += size

    def _hand_over(self) -> None:
        for name, columns, rows in (("sessions", _OF_SESSION, self._sessions), ("events", _OF_EVENT, self._events)):
            if rows:
                self._done(_INSERT[name], [_as_json(rows, columns)])
                rows.clear()
        self._bytes = 0

    def _write(self) -> None:
        """Make files of the events so far."""
        self._hand_over()
        columns = ", ".join(f'"{column.name}"' for column in COLUMNS)
        path = Path(self._folder.name) / "day.parquet"
        for (day,) in self._done("SELECT DISTINCT day FROM events ORDER BY day").fetchall():
            self._done(
                f"COPY (SELECT {columns} FROM events JOIN sessions ON number = of WHERE day = '{day}' ORDER BY events.rowid)"  # noqa: S608
                f" TO '{_quoted(path)}' (FORMAT parquet, COMPRESSION zstd)"
            )
            self._files.append((day, path.read_bytes()))
            path.unlink()
        self._done("TRUNCATE events")
        self._done(f"DELETE FROM sessions WHERE number < {self._number}")  # noqa: S608
        self._bytes_in_all = 0

    def _done(self, statement: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        try:
            return self._db.execute(statement, values)
        except duckdb.Error as e:
            said, _, _ = str(e).partition("\n")
            raise SettingsError(
                f"the Parquet file cannot be written: {said}",
                hint="give it room in $TMPDIR, or export fewer sessions at once",
            ) from e


def _most_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


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
    return json.dumps(lists, ensure_ascii=False)


_EPOCH, _US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
