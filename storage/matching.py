"""How a filter matches text: ignoring case, a whole value if there is one, otherwise any part of a value.

``--media clip-1`` means the medium ``clip-1``, not ``clip-10``, if ``clip-1`` exists; ``--user-agent chrome`` means
every ``User-Agent`` that contains Chrome. The distinct values are read from the column's index, one step per value
rather than per row, and compared here, because the two databases disagree on upper and lower case.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from storage.models import PREFIX_LENGTH, SessionRow

LAST = "last"
"""The name by which commands call the newest session or the newest run."""


def values_like(
    db: Connection, column: InstrumentedAttribute[str | None] | InstrumentedAttribute[str], text: str = ""
) -> list[str]:
    """Return the distinct values of an indexed column that contain a text, ignoring case."""
    # A loose index scan: https://wiki.postgresql.org/wiki/Loose_indexscan
    seen = select(func.min(column).label("value")).cte("seen", recursive=True)
    following = select(func.min(column)).where(column > seen.c.value).correlate(seen).scalar_subquery()
    seen = seen.union_all(select(following).where(seen.c.value.is_not(None)))
    found = db.execute(select(seen.c.value).where(seen.c.value.is_not(None))).scalars()
    wanted = text.casefold()
    return [value for value in found if wanted in value.casefold()]


def holding(
    db: Connection,
    wanted: str,
    columns: Sequence[InstrumentedAttribute[str | None]],
    *,
    prefers_whole: bool = True,
) -> list[ColumnElement[bool]]:
    """Return conditions of which a row has to meet one to hold a text in one of some columns; empty if no row can.

    Args:
        prefers_whole: Whether only whole values match if there are any; otherwise parts of values always do.
    """
    values = {column: values_like(db, column, wanted) for column in columns}
    whole = {
        column: [text for text in texts if text.casefold() == wanted.casefold()] for column, texts in values.items()
    }
    if prefers_whole and any(whole.values()):
        values = whole
    return [column == texts[0] if len(texts) == 1 else column.in_(texts) for column, texts in values.items() if texts]


def begins_with(prefix: str) -> ColumnElement[bool]:
    """Return whether a session's id of ours, or its back-end ID, begins like this, as a condition."""
    prefix = searchable(prefix)
    short = prefix[:PREFIX_LENGTH]
    return or_(
        and_(SessionRow.id >= prefix, SessionRow.id < _after(prefix)),
        and_(SessionRow.session_prefix >= short, SessionRow.session_prefix < _after(short)),
    )


def _after(prefix: str) -> str:
    """Return the first text, by code point, after all that begin with a prefix."""
    last = ord(prefix[-1]) + 1
    if last > sys.maxunicode:
        return prefix + chr(sys.maxunicode)  # no stored text continues with this character
    return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def searchable(text: str) -> str:
    """Return a text as it is stored where it is looked for: no database takes a zero character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
