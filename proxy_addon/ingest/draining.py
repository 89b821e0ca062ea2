"""File what is left in a journal, and be done: for ``db drain``."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from proxy_addon.errors import StorageUnavailable
from proxy_addon.ingest.filing import Filer
from proxy_addon.ingest.reaching import Reaching
from proxy_addon.ingest.telling import Telling
from proxy_addon.journal import folders
from proxy_addon.journal.alone import Busy, alone
from proxy_addon.journal.client import Client
from proxy_addon.journal.messages import Away, Flushed
from proxy_addon.journal.reading import Folder, Waiting, living, waiting
from storage.engine import hide_password, sqlite_path

FLUSH_S = 60.0
"""How long a recorder's own ingest process may take to file what it has."""

BUSY_S = 10.0
"""How long a process that files the folder already, and cannot be reached, is waited for."""
AGAIN_S = 0.05
UNREADABLE_S = 15.0
"""How long what cannot be read is waited for; by then, what the disk does not give has been set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What became of a journal.

    Attributes:
        filed: How many exchanges were stored.
        refused: How many the store would not take; they are set aside.
        left: What still waits; None if nothing does.
        reason: Why something waits, if it is known.
    """

    filed: int = 0
    refused: int = 0
    left: Waiting | None = None
    reason: str | None = None


def drain(folder: Path, store_url: str) -> Drained:
    """File all that is in a folder when it is called; if a recorder's process files it already, wait for that.

    Raises:
        SessiontapeError: The store or the folder cannot be used, or the folder has the journal of another store. What was not filed stays where it is.
        OSError: The journal cannot be read.
    """
    folders.require_of(folder, sqlite_path(store_url), hide_password(store_url))
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            return _alone(folder, store_url)
        except Busy:
            try:
                return _flushed(folder)
            except ConnectionError as e:  # it is about to start, or to end
                if time.monotonic() > until_s:
                    raise StorageUnavailable(
                        f"another process files {folder}, and does not answer", hint="try again"
                    ) from e
        time.sleep(AGAIN_S)


def _alone(folder: Path, store_url: str) -> Drained:
    with alone(folder), closing(Reaching(store_url)) as reaching, closing(Folder(folder)) as read:
        reaching.store.require_file()  # a recorder may create its store; here, it is missing
        reaching.prepare()
        filer = Filer(folder, read, reaching, Telling())
        end = read.end()
        is_past = False
        idle_since_s = time.monotonic()
        while not is_past:
            if filer.file():
                is_past = read.is_past(end) and bool(living(folder))  # recorders may add to it without end
                idle_since_s = time.monotonic()
            elif filer.has_read_all or time.monotonic() - idle_since_s > UNREADABLE_S:
                break
            else:
                time.sleep(AGAIN_S)
        while filer.work_off_one():
            pass
        filer.bring_up_to_date(is_settling=True, is_closing=not filer.has_writers)
        return Drained(filed=filer.filed, refused=filer.refused, left=None if is_past else waiting(folder))


def _flushed(folder: Path) -> Drained:
    before = waiting(folder)
    with closing(Client(folder, on=lambda _: None)) as client:
        answer = client.flush(FLUSH_S)
    # What a recorder has added since then is not what was asked for.
    left = None if isinstance(answer, Flushed) else waiting(folder)
    filed = max(0, (before.exchanges if before else 0) - (left.exchanges if left else 0))
    return Drained(filed=filed, left=left, reason=answer.reason if isinstance(answer, Away) else None)
