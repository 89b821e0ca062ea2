"""How a filter finds text: without regard to case, the whole value if some value is just that, else any part.

``--media clip-1`` means the medium ``clip-1`` where there is one, and not ``clip-10``; ``--user-agent chrome`` means
every ``User-Agent`` with Chrome in it. The distinct values are read off the column's index, one step per value and
not per row, and compared here: the two databases do not agree on what upper and lower case are.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.orm import InstrumentedAttribute

LAST = "last"
"""What the newest session and the newest run are called."""


def values_like(
    db: Connection, column: InstrumentedAttribute[str | None] | InstrumentedAttribute[str], text: str = ""
) -> list[str]:
    """Return the distinct values of an indexed column that contain a text in any case."""
    # A loose index scan: https://wiki.postgresql.org/wiki/Loose_indexscan
    seen = select(func.min(column).label("value")).cte("seen", recursive=True)
    following = select(func.min(column)).where(column > seen.c.value).correlate(seen).scalar_subquery()
    seen = seen.union_all(select(following).where(seen.c.value.is_not(None)))
    found = db.execute(select(seen.c.value).where(seen.c.value.is_not(None))).scalars()
    wanted = text.casefold()
    return [value for value in found if wanted in value.casefold()]


def holding(
    db: Connection, wanted: str, columns: Sequence[InstrumentedAttribute[str | None]]
) -> list[ColumnElement[bool]]:
    """Return conditions of which a row has to fulfil one to hold a text in one of some columns; none where none can."""
    values = {column: values_like(db, column, wanted) for column in columns}
    whole = {
        column: [text for text in texts if text.casefold() == wanted.casefold()] for column, texts in values.items()
    }
    if any(whole.values()):
        values = whole
    return [column == texts[0] if len(texts) == 1 else column.in_(texts) for column, texts in values.items() if texts]
