"""The books of recorder runs: what each process saw, what became of it, and whether the two agree.

A process tells in its journal what it has seen; whoever files the journal adds what was stored. Both are written in the
transaction that stores the exchanges, so that the books are right after any crash, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import batched
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, insert, select, update

from proxy_addon.core.books import Books, Recorder, brought_up_to
from proxy_addon.errors import NotFound
from storage.matching import LAST
from storage.models import ExchangeRow, LossRow, RecorderRow


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a process has told of itself, in the order in which it told it.

    Attributes:
        at: When it did.
        seen: Exchanges that came in, those in flight included.
        journaled: Exchanges in its journal.
        dropped: Exchanges that it could not journal.
        is_end: Whether it ended then, in good order.
    """

    at: datetime
    seen: int
    journaled: int
    dropped: int = 0
    is_end: bool = False


def keep(
    db: Connection, recorder: Recorder, told: Told | None = None, *, filed: int = 0, late: int = 0, refused: int = 0
) -> None:
    """Bring the books of a process up to date, and begin them if there are none.

    What is filed must have been journaled, and what is journaled must have been seen. So if a process was killed before it
    could tell of its last exchanges, the books learn of them when they are filed.

    Call it in a transaction of `storage.engine.Store.write`.

    Args:
        told: What it told. Its counts only grow, so an older one changes nothing: times tell no order, as clocks are set.
        filed: How many more of its exchanges are stored.
        late: How many of these were stored after the process had ended.
        refused: How many more of its exchanges the store would not take; negative if it has taken some after all.
    """
    before = _of_process(db, recorder)
    is_new = before is None
    books = before or Books(**_members(recorder, Recorder), seen_at=recorder.started_at)
    if told is not None:
        books = brought_up_to(
            books,
            at=told.at,
            seen=told.seen,
            journaled=told.journaled,
            dropped=told.dropped,
            is_end=told.is_end,
        )
    filed, refused = books.filed + filed, books.refused + refused
    journaled = max(books.journaled, filed + refused)
    seen = max(books.seen, journaled + books.dropped)
    books = replace(books, seen=seen, journaled=journaled, filed=filed, late=books.late + late, refused=refused)
    if is_new:
        db.execute(insert(RecorderRow).values(_members(books, Books)))
    elif books != before:
        db.execute(update(RecorderRow).where(*_is(recorder)).values(_members(books, Books)))


def number_settled(db: Connection, ids: Iterable[str]) -> int:
    """Return how many of these exchanges are stored, or known to be lost."""
    found: set[str] = set()
    for some in batched(ids, 500):
        for column in (ExchangeRow.id, LossRow.id):
            found.update(db.execute(select(column).where(column.in_(some))).scalars())
    return len(found)


def all_of(db: Connection, limit: int | None = None) -> list[Books]:
    """Return the books of all processes of all runs: the run that started last first, its processes by number.

    Args:
        limit: How many runs to return at most.
    """
    query = select(RecorderRow.__table__).order_by(RecorderRow.started_at.desc(), RecorderRow.id, RecorderRow.worker)
    runs: dict[str, list[Books]] = {}
    for row in db.execute(query).mappings():
        runs.setdefault(row["id"], []).append(_books(row))
    some = list(runs.values())[:limit]
    return [books for run in some for books in sorted(run, key=lambda each: each.worker)]


def find(db: Connection, name: str) -> list[Books]:
    """Return the books of one run, by process.

    Args:
        name: Its id, a unique prefix of it, the name of its recording if only one run has it, or ``last``.

    Raises:
        NotFound: No run or several runs match; the hint lists them.
    """
    if name == LAST:
        newest = all_of(db, limit=1)
        if not newest:
            raise NotFound("the store has no recorder runs, so there is no last one")
        return newest
    everything = all_of(db)
    whole = [books for books in everything if books.id == name]
    alike = whole or [books for books in everything if name and books.id.startswith(name)]
    alike = alike or [books for books in everything if books.name == name]
    runs = dict.fromkeys(books.id for books in alike)
    if len(runs) == 1:
        return alike
    if runs:
        raise NotFound(f"several recorder runs match {name!r}", hint=f"name one of them: {', '.join(runs)}")
    raise NotFound(f"no recorder run matches {name!r}", hint="'sessiontape ledger' lists all recorder runs")


def _is(recorder: Recorder) -> tuple[Any, ...]:
    return (and_(RecorderRow.id == recorder.id, RecorderRow.worker == recorder.worker),)


def _of_process(db: Connection, recorder: Recorder) -> Books | None:
    row = db.execute(select(RecorderRow.__table__).where(*_is(recorder))).mappings().first()
    return None if row is None else _books(row)


def _books(row: RowMapping) -> Books:
    return Books(**{field.name: row[field.name] for field in fields(Books)})


def _members(value: Recorder, kind: type[Recorder]) -> dict[str, Any]:
    members: Iterable[str] = (field.name for field in fields(kind))
    return {name: getattr(value, name) for name in members}
