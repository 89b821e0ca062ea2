"""A store for one command, with sessions that come from files."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count

from sqlalchemy import Connection, insert

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.sessions import Session
from storage import exchanges as exchange_rows
from storage import migrate, saving
from storage import sessions as session_rows
from storage.engine import Store
from storage.models import SessionRow
from storage.saving import RecordingRun


@contextmanager
def holding(sessions: Iterable[tuple[Session, Sequence[Exchange]]]) -> Iterator[Store]:
    """Make a store with these sessions, each under its own id, and delete it at the end of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="sessiontape-") as folder,
        closing(Store(f"sqlite:///{folder}/file.db", durable=False)) as store,
    ):
        migrate.upgrade(store)
        with store.write() as db:
            _fill(db, sessions)
        yield store


def _fill(db: Connection, sessions: Iterable[tuple[Session, Sequence[Exchange]]]) -> None:
    occurrences: Counter[str | None] = Counter()
    numbers = count(1)
    for session, exchanges in sessions:
        recording = RecordingRun(id=session.id, name=session.recording, started_at=session.started_at, version="")
        saving.begin(db, recording)
        row = session_rows.to_row(session)
        key = row["session_key"]
        db.execute(insert(SessionRow).values(**row, recording_id=recording.id, occurrence=occurrences[key]))
        occurrences[key] += 1
        numbered = (replace(exchange, id=f"{next(numbers):032x}") for exchange in exchanges)
        rows = [exchange_rows.to_row(each, recording_id=recording.id, session=session.id) for each in numbered]
        exchange_rows.add(db, rows)
        saving.keep_servers(db, exchanges)
