"""Read the rows of a query as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable


@contextmanager
def rows_of(db: Connection, query: Executable, values: Mapping[str, Any] | None = None) -> Iterator[CursorResult[Any]]:
    """Run a query for the length of a block; its rows are given back even if not all were read.

    A signal may end the transaction before the generator that reads the rows. SQLite's are gone then, and say so if they
    are given back.
    """
    rows = db.execute(query, values)
    try:
        yield rows
    finally:
        if not (db.closed and db.dialect.name == "sqlite"):
            rows.close()
