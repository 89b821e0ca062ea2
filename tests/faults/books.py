"""Hold what players saw against what upstream received, and against what a store has."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import select

from storage import recorders
from storage.engine import Store
from storage.models import ExchangeRow, LossRow, SessionRow
from tests import processes
from tests.faults.load import ID, Notes, Upstream


@dataclass(frozen=True)
class Row:
    """A stored exchange: the id in its body, its session's row, and its playhead, which is its number in the session."""

    id: str
    session: str | None
    playhead_s: float | None
    outcome: str


def drain(store_url: str) -> None:
    """File what waits in the journal."""
    done = processes.run("db", "drain", "--store", store_url, timeout_s=300)
    assert done.returncode == 0, done.stderr


def rows(store_url: str) -> list[Row]:
    """Return all stored exchanges of players, by time of arrival."""
    e = ExchangeRow
    with closing(Store(store_url)) as store, store.read() as db:
        query = select(e.request_body, e.session, e.playhead_s, e.outcome).order_by(e.received_at, e.id)
        found = db.execute(query).all()
    ids = [ID.search(content) for content, *_ in found]
    return [Row(id[1].decode(), *row[1:]) for id, row in zip(ids, found, strict=True) if id]


def assert_stored_once(notes: Notes, *store_urls: str) -> list[Row]:
    """Fail unless all that was answered is stored once, and nothing else is stored but what got no answer, once too.

    Returns:
        What is stored.
    """
    stored = [row for url in store_urls for row in rows(url)]
    counts = Counter(row.id for row in stored)
    missing = notes.answered.keys() - counts.keys()
    assert not missing, f"{len(missing)} of {len(notes.answered)} answered exchanges are missing: {sorted(missing)[:9]}"
    twice = {id: count for id, count in counts.items() if count > 1}
    assert not twice, f"stored more than once: {twice}"
    assert counts.keys() <= notes.answered.keys() | notes.unsure | notes.refused.keys()
    return stored


def assert_sent_once(notes: Notes, upstream: Upstream) -> None:
    """Fail if upstream got an answered request not at all, or any request twice."""
    received = Counter(upstream.received)
    assert not (notes.answered.keys() - received.keys())
    assert not {id: count for id, count in received.items() if count > 1}


def assert_in_order(notes: Notes, store_url: str) -> None:
    """Fail unless each session has its own events, in the order in which they were sent, and its row says the same."""
    by_session = defaultdict(list)
    for row in rows(store_url):
        by_session[row.session].append(row)
    with closing(Store(store_url)) as store, store.read() as db:
        s = SessionRow
        sessions = {
            id: (f"/api/v1/sessions/{session_id}", exchanges, playhead_s)
            for id, session_id, exchanges, playhead_s in db.execute(
                select(s.id, s.session_id, s.exchanges, s.playhead_s)
            )
        }
    assert by_session.keys() <= sessions.keys()
    for id, found in by_session.items():
        path, exchanges, playhead_s = sessions[id or ""]
        numbers = [row.playhead_s for row in found]
        assert numbers == sorted(set(numbers), key=lambda n: n or 0), path
        assert (exchanges, playhead_s) == (len(found), numbers[-1]), path
        known = [notes.answered[row.id] for row in found if row.id in notes.answered]
        assert {each.session for each in known} <= {path}


@dataclass(frozen=True)
class Sums:
    """What the books of all recorders of a store say together."""

    seen: int
    filed: int
    refused: int
    dropped: int
    in_flight: int


def assert_balanced(store_url: str, unsure: int = 0) -> Sums:
    """Fail unless the books say what became of all that was seen, and the store has what they say.

    Args:
        unsure: How many exchanges may have been in flight when recorders were killed.
    """
    with closing(Store(store_url)) as store, store.read() as db:
        runs = recorders.all_of(db)
        losses = len(db.execute(select(LossRow.id)).all())
        stored = len(db.execute(select(ExchangeRow.id)).all())
    assert not [run for run in runs if run.waiting or (run.open and run.ended_at is not None)]
    sums = Sums(
        seen=sum(run.seen for run in runs),
        filed=sum(run.filed for run in runs),
        refused=sum(run.refused for run in runs),
        dropped=sum(run.dropped for run in runs),
        in_flight=sum(run.open for run in runs),
    )
    assert 0 <= sums.in_flight <= unsure, runs
    assert (sums.filed, sums.refused + sums.dropped) == (stored, losses), runs
    return sums
