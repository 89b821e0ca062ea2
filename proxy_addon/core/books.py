"""The books of recorder runs: what came in, and what became of it.

Each process of a run keeps books of its own; together they are those of the run.

The counts reach the store in the order of what was seen, but the last counts of a run that was killed may be a second
older than its last exchange. So what is stored or refused was journaled, and what was journaled or dropped was seen,
whatever the counts say. What is left is accounted for like this:

- Seen, but neither journaled nor dropped: in flight. If the recorder was killed then, nobody got an answer, provided that answers
  waited for the journal; after an end in good order, nothing is in flight.
- Journaled, but neither filed nor refused: waits in the journal, as long as the journal has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """One process of a recorder run.

    Attributes:
        id: Id of the run; all its processes have the same.
        worker: Number of the process in its run, from 0.
        name: Name of the recording; None if it has none.
        version: Version of sessiontape.
        engine: ``lane``, ``hooks``, or ``lane+hooks`` if the connection decides.
        upstream: The upstream of reverse mode; None if each request has its own.
    """

    id: str
    worker: int = 0
    name: str | None = None
    started_at: datetime
    version: str
    engine: str
    upstream: str | None = None


@dataclass(frozen=True, kw_only=True)
class Books(Recorder):
    """The books of one process, or of all of a run.

    Attributes:
        seen_at: Its last sign of life.
        ended_at: When it ended in good order; None while it runs, and for ever if it was killed.
        seen: Exchanges that came in, those in flight included.
        journaled: Exchanges in the journal.
        filed: Exchanges in the store.
        late: Those of ``filed`` that were stored after the process had ended.
        refused: Exchanges that the store would not take; they were set aside.
        dropped: Exchanges that could not be journaled.
    """

    seen_at: datetime
    ended_at: datetime | None = None
    seen: int = 0
    journaled: int = 0
    filed: int = 0
    late: int = 0
    refused: int = 0
    dropped: int = 0

    @property
    def open(self) -> int:
        """Exchanges that came in and have not ended: in flight, or cut off when the process was killed."""
        return self.seen - self.journaled - self.dropped

    @property
    def waiting(self) -> int:
        """Exchanges that were journaled and are neither stored nor refused."""
        return self.journaled - self.filed - self.refused


def brought_up_to(books: Books, *, at: datetime, seen: int, journaled: int, dropped: int, is_end: bool) -> Books:
    """Return the books of a process with what it has told later: its counts only grow, so older ones change nothing.

    Args:
        at: When it told that.
        is_end: Whether it ended then, in good order.
    """
    return replace(
        books,
        seen_at=max(books.seen_at, at),
        ended_at=at if is_end else books.ended_at,
        seen=max(books.seen, seen),
        journaled=max(books.journaled, journaled),
        dropped=max(books.dropped, dropped),
    )


def of_run(processes: Sequence[Books]) -> Books:
    """Return the books of a run.

    Args:
        processes: Those of its processes; at least one.
    """
    processes = sorted(map(_agreed, processes), key=lambda each: each.worker)
    ends = [each.ended_at for each in processes]
    return replace(
        processes[0],
        started_at=min(each.started_at for each in processes),
        seen_at=max(each.seen_at for each in processes),
        ended_at=None if None in ends else max(end for end in ends if end is not None),
        engine="+".join(dict.fromkeys(engine for each in processes for engine in each.engine.split("+"))),
        seen=sum(each.seen for each in processes),
        journaled=sum(each.journaled for each in processes),
        filed=sum(each.filed for each in processes),
        late=sum(each.late for each in processes),
        refused=sum(each.refused for each in processes),
        dropped=sum(each.dropped for each in processes),
    )


def _agreed(books: Books, held: int = 0) -> Books:
    """Return books whose counts agree, as far as older counts are the reason that they do not."""
    journaled = max(books.journaled, books.filed + books.refused + held)
    return replace(books, journaled=journaled, seen=max(books.seen, journaled + books.dropped))


class Stand(StrEnum):
    """How a recorder run stands."""

    RUNNING = "running"
    ENDED = "ended"
    """It ended in good order."""
    KILLED = "killed"
    """There is no end and no sign of life: it was killed, or nothing of it reaches the store any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A recorder run with what is not settled in its books.

    Attributes:
        books: The books of the run, with counts that agree with each other.
        in_flight: Exchanges that were seen and came to no end; of a run that was killed, those that
            were not answered, if answers waited for the journal.
        waiting: Exchanges that wait in the journal.
        missing: Exchanges of which nobody knows what became of them.
    """

    books: Books
    stand: Stand
    in_flight: int
    waiting: int
    missing: int

    @property
    def is_balanced(self) -> bool:
        """Whether it is known of each exchange what became of it."""
        return not self.missing


def balance_of(books: Books, stand: Stand, held: int | None) -> Balance:
    """Return how the books of a run stand.

    >>> now = datetime(2026, 3, 1)
    >>> books = Books(id="1", started_at=now, seen_at=now, version="1", engine="lane", seen=9, journaled=8, filed=6)
    >>> balance = balance_of(books, Stand.KILLED, 1)
    >>> balance.in_flight, balance.waiting, balance.missing
    (1, 1, 1)

    Args:
        held: How many exchanges of the run its journal holds that are not stored; None if that is not known, and the
            journal is believed to hold what it should.
    """
    is_over = stand is Stand.ENDED
    books = _agreed(books, 0 if is_over else held or 0)  # the last counts of a run that has ended are right
    waiting = books.waiting if held is None else min(held, books.waiting)
    return Balance(
        books=books,
        stand=stand,
        in_flight=0 if is_over else books.open,
        waiting=waiting,
        missing=books.waiting - waiting + (books.open if is_over else 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An exchange that was seen and is not stored.

    Attributes:
        id: Id of the exchange.
        recorder: Id of the recorder run that saw it.
        upstream: As of `proxy_addon.core.exchange.Exchange`.
        received_at: Arrival of the request's first byte.
        method: Method of the request.
        path: Its path and query.
        is_refused: Whether the store would not take it, so that it was set aside; otherwise it could not be journaled.
        reason: What went wrong.
    """

    id: str
    recorder: str
    upstream: str
    received_at: datetime
    method: str
    path: str
    is_refused: bool
    reason: str
