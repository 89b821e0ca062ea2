"""Rows as a driver takes them: converted as SQLAlchemy would, but a column at a time and without its statements.

Storing an exchange through SQLAlchemy costs more than parsing and judging it, and most of that is spent on one row at a
time: naming its parameters, looking up how each is converted. `Layout` looks that up once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.engine import Dialect

Row = Mapping[str, Any]
"""A row by the names of its columns, as ``to_row`` of `exchanges`, `sessions` and `findings` returns it."""


class Layout:
    """Some columns of a table, and how their values reach a database.

    Attributes:
        table: Name of the table.
        names: Names of the columns.
    """

    def __init__(self, table: Table, names: Sequence[str], dialect: Dialect) -> None:
        self.table = table.name
        self.names = tuple(names)
        self.types = tuple(table.c[name].type for name in names)
        self._convert = tuple(converter(table.c[name], dialect) for name in names)

    def columns(self, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """Return the values of each column, ready for the driver, in the order of the rows."""
        found: list[Sequence[Any]] = []
        for name, convert in zip(self.names, self._convert, strict=True):
            values = [row[name] for row in rows]
            found.append(values if convert is None else [*map(convert, values)])
        return found

    def tuples(self, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """Return the rows, each as a tuple of values ready for the driver."""
        return [*zip(*self.columns(rows), strict=True)]


@lru_cache(maxsize=64)
def layout(table: Table, names: tuple[str, ...], dialect: Dialect) -> Layout:
    """Return the layout of columns of a table in one database."""
    return Layout(table, names, dialect)


def converter(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes the driver's value of a column's; None if they are the same."""
    return column.type.dialect_impl(dialect).bind_processor(dialect)
