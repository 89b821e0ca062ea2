"""Many rows in few statements, in the way that is quickest in each database.

SQLite is in our process: a statement that is prepared once and run for each row costs nothing but the row. PostgreSQL is
behind a socket: rows go in one stream (``COPY``, binary) or as one array for each column (``unnest``).

Rows come as ``to_row`` makes them; `storage.rows` converts their values. Statements run in the transaction of the
connection, and their errors are those that SQLAlchemy raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import batched
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Table

from storage import postgres
from storage.models import SessionRow
from storage.rows import Layout, Row, converter, layout

_NAMED_AT_ONCE = 500
"""How many values one statement for SQLite names."""


class Start(NamedTuple):
    """What tells whether a session that was stored before was an attempt at the same start.

    Attributes:
        earliest: When the attempt began at the earliest.
        latest: When it began at the latest.
        before: An id of ours before which its own is, if it began at the latest time.
        recording_id: The only recording that it may be from; None for any.
    """

    start_sha256: str
    upstream: str
    client_address: str | None
    earliest: datetime
    latest: datetime
    before: str
    recording_id: str | None


class Attempt(NamedTuple):
    """A session that was such an attempt: when it began, our id of it, and that of the first of the attempts."""

    started_at: datetime
    id: str
    first: str


class Bulk(Protocol):
    """Reads and writes many rows in the transaction of one connection."""

    def sessions_of(self, exchange_ids: Sequence[str]) -> dict[str, str | None]:
        """Return the exchanges of these that are stored, with our ids of their sessions."""

    def attempts(self, starts: Sequence[Start]) -> list[Attempt | None]:
        """Return for each start the newest session without events beyond its start that was an attempt at it."""

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows that all have the same columns."""

    def update(self, table: Table, rows: Sequence[Row], names: Sequence[str]) -> None:
        """Set columns of the rows with these values of ``id``.

        Args:
            names: The columns, of those that the rows have.
        """


def of(db: Connection) -> Bulk:
    """Return the way of the database that a connection leads to."""
    return _Sqlite(db) if db.dialect.name == "sqlite" else _Postgres(db)


class _Ways:
    """What both databases have in common."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def _layout(self, table: Table, names: Sequence[str]) -> Layout:
        return layout(table, tuple(names), self._db.dialect)

    def _conditions(self, starts: Sequence[Start]) -> list[Sequence[Any]]:
        """Return the members of starts as the driver takes them, each for all starts."""
        columns = [_SESSIONS.c[name] for name in _COMPARED]
        made = [converter(column, self._db.dialect) for column in columns]
        members = zip(*starts, strict=True)
        return [
            values if make is None else [None if value is None else make(value) for value in values]
            for make, values in zip(made, members, strict=True)
        ]

    def _attempt(self, row: Sequence[Any]) -> Attempt:
        told, retry_of, id = row
        dialect = self._db.dialect
        convert = _SESSIONS.c.started_at.type.dialect_impl(dialect).result_processor(dialect, None)
        started_at = told if convert is None else convert(told)
        assert isinstance(started_at, datetime)
        return Attempt(started_at, id, retry_of or id)


class _Sqlite(_Ways):
    def sessions_of(self, exchange_ids: Sequence[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for some in batched(exchange_ids, _NAMED_AT_ONCE):
            marks = ", ".join("?" * len(some))
            statement = f"SELECT id, session FROM exchanges WHERE id IN ({marks})"  # noqa: S608  # question marks
            found |= dict(self._db.exec_driver_sql(statement, some).all())
        return found

    def attempts(self, starts: Sequence[Start]) -> list[Attempt | None]:
        found: list[Attempt | None] = []
        for conditions in zip(*self._conditions(starts), strict=True):
            row = self._db.exec_driver_sql(_ATTEMPT_IN_SQLITE, conditions).first()
            found.append(None if row is None else self._attempt(row))
        return found

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        names = self._layout(table, tuple(rows[0]))
        marks = ", ".join("?" * len(names.names))
        statement = f"INSERT INTO {names.table} ({', '.join(names.names)}) VALUES ({marks})"  # noqa: S608  # our names
        self._db.exec_driver_sql(statement, names.tuples(rows))

    def update(self, table: Table, rows: Sequence[Row], names: Sequence[str]) -> None:
        if not rows:
            return
        values = self._layout(table, (*names, "id"))
        settings = ", ".join(f"{name} = ?" for name in names)
        statement = f"UPDATE {values.table} SET {settings} WHERE id = ?"  # noqa: S608  # our names
        self._db.exec_driver_sql(statement, values.tuples(rows))


class _Postgres(_Ways):
    def sessions_of(self, exchange_ids: Sequence[str]) -> dict[str, str | None]:
        statement = "SELECT id, session FROM exchanges WHERE id = ANY(%s)"
        return dict(self._db.exec_driver_sql(statement, (list(exchange_ids),)).all())

    def attempts(self, starts: Sequence[Start]) -> list[Attempt | None]:
        found: list[Attempt | None] = [None] * len(starts)
        if starts:
            arrays = tuple(list(values) for values in self._conditions(starts))
            for number, *row in self._db.exec_driver_sql(_ATTEMPTS_IN_POSTGRES, arrays):
                found[number - 1] = self._attempt(row)
        return found

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        names = self._layout(table, tuple(rows[0]))
        statement = f"COPY {names.table} ({', '.join(names.names)}) FROM STDIN (FORMAT BINARY)"
        postgres.copy(self._db, statement, [postgres.type_of(type) for type in names.types], names.tuples(rows))

    def update(self, table: Table, rows: Sequence[Row], names: Sequence[str]) -> None:
        if not rows:
            return
        values = self._layout(table, (*names, "id"))
        settings = ", ".join(f"{name} = new.{name}" for name in names)
        arrays = ", ".join(f"%s::{postgres.type_of(type)}[]" for type in values.types)
        statement = (
            f"UPDATE {values.table} AS old SET {settings} "  # noqa: S608  # our names
            f"FROM unnest({arrays}) AS new ({', '.join(values.names)}) WHERE old.id = new.id"
        )
        self._db.exec_driver_sql(statement, tuple(values.columns(rows)))


_SESSIONS: Table = SessionRow.__table__  # type: ignore[assignment]
_COMPARED = ("start_sha256", "upstream", "client_address", "started_at", "started_at", "id", "recording_id")
"""The columns with which the members of `Start` are compared."""

_ATTEMPT_IN_SQLITE = """
    SELECT started_at, retry_of, id FROM sessions
    WHERE start_sha256 = ? AND upstream = ? AND client_address IS ? AND started_at >= ? AND (started_at, id) < (?, ?)
    AND events <= 1 AND recording_id = coalesce(?, recording_id)
    ORDER BY started_at DESC, id DESC LIMIT 1
"""
_ATTEMPTS_IN_POSTGRES = """
    SELECT start.number, attempt.started_at, attempt.retry_of, attempt.id
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[],
        %s::text[], %s::text[])
        WITH ORDINALITY AS start (sha256, upstream, client_address, earliest, latest, before, recording_id, number)
    CROSS JOIN LATERAL (
        SELECT started_at, retry_of, id FROM sessions
        WHERE start_sha256 = start.sha256 AND sessions.upstream = start.upstream
        AND sessions.client_address IS NOT DISTINCT FROM start.client_address
        AND started_at >= start.earliest AND (started_at, id) < (start.latest, start.before)
        AND events <= 1 AND sessions.recording_id = coalesce(start.recording_id, sessions.recording_id)
        ORDER BY started_at DESC, id DESC LIMIT 1
    ) AS attempt
"""
