"""The books of a run say of each exchange what became of it, or that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.books import Books, Stand, balance_of, of_run
from tests.builders import BEGIN, at

BOOKS = Books(id="r", started_at=BEGIN, seen_at=at(1), version="1.0", engine="lane")


@pytest.mark.parametrize(
    ("counts", "stand", "held", "left"),
    [
        ({"seen": 9, "journaled": 7, "filed": 6, "refused": 1, "dropped": 2}, Stand.ENDED, 0, (0, 0, 0)),
        ({"seen": 9, "journaled": 7, "filed": 7}, Stand.RUNNING, 0, (2, 0, 0)),
        ({"seen": 9, "journaled": 7, "filed": 7}, Stand.KILLED, 0, (2, 0, 0)),
        ({"seen": 9, "journaled": 7, "filed": 7}, Stand.ENDED, 0, (0, 0, 2)),
        ({"seen": 9, "journaled": 9, "filed": 4}, Stand.ENDED, 5, (0, 5, 0)),
        ({"seen": 9, "journaled": 9, "filed": 4}, Stand.ENDED, None, (0, 5, 0)),
        ({"seen": 9, "journaled": 9, "filed": 4}, Stand.KILLED, 3, (0, 3, 2)),
        # What is in the store since a moment ago may still be in the journal.
        ({"seen": 9, "journaled": 9, "filed": 9}, Stand.ENDED, 4, (0, 0, 0)),
        # The last counts of a killed run are older than its last exchanges.
        ({"seen": 4, "journaled": 3, "filed": 9}, Stand.KILLED, 0, (0, 0, 0)),
        ({"seen": 4, "journaled": 3, "filed": 3, "dropped": 1}, Stand.KILLED, 6, (0, 6, 0)),
    ],
)
def test_each_exchange_is_accounted_for(counts, stand, held, left):
    balance = balance_of(replace(BOOKS, **counts), stand, held)
    assert (balance.in_flight, balance.waiting, balance.missing) == left
    assert balance.is_balanced is not bool(balance.missing)
    books = balance.books
    settled = books.filed + books.refused + books.dropped
    assert books.seen == settled + sum(left)


def test_the_books_of_processes_add_up():
    first = replace(BOOKS, seen=5, journaled=5, filed=5, late=2, ended_at=at(9), seen_at=at(9))
    second = replace(BOOKS, worker=1, engine="hooks", seen=3, journaled=2, filed=4, seen_at=at(4))
    run = of_run([second, first])
    assert (run.worker, run.engine, run.seen_at, run.ended_at) == (0, "lane+hooks", at(9), None)
    assert (run.seen, run.journaled, run.filed, run.late) == (9, 9, 9, 2), "the counts of the second one are old"
    assert of_run([first, replace(second, ended_at=at(8))]).ended_at == at(9)
