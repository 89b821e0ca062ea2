"""The ledger of a run, written to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor
from typing import Protocol

from proxy_addon.core.replays.runs import SessionRun, Step
from proxy_addon.errors import StorageError, StorageUnavailable
from proxy_addon.replay.helpers import beside, helper_died
from storage import runs
from storage.engine import Store

_PATIENCE_S = 30.0
"""How long writing may fail before the run breaks off; a migration or a restart may take that long."""
_PATIENCE_AT_THE_END_S = 10.0
"""The same when everything is sent, or the run was interrupted."""
_BETWEEN_TRIES_S = 0.2


class Watching(Protocol):
    """Follows the progress of a run."""

    def step(self, step: Step) -> None:
        """A step has finished."""
        ...

    def session_ended(self, session: SessionRun) -> None:
        """A session has ended."""
        ...


class StoreLedger:
    """Writes the progress of a run to the store.

    Entries are written in batches in a thread or process of their own, so that sending does not wait for the disk. Only
    announcements are written before steps are sent, some steps ahead. Entries that cannot be written are kept and tried
    again, so that a store that is locked or unreachable for a while only delays sending.
    """

    def __init__(self, store: Store, run_id: str, watching: Watching, *, in_process: bool) -> None:
        """Make an empty ledger; `write` does the writing.

        Args:
            in_process: Whether to write in a separate process.
        """
        self._saver = _Saver(store.url, run_id)
        self._watching = watching
        self._in_process = in_process
        self._entries = runs.LedgerEntries()
        self._announcing: list[asyncio.Future[None]] = []
        self._is_closed = False
        self._broken: StorageError | None = None
        self._changed = asyncio.Event()

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Record how many steps of a session may be sent from now on; see `engine.Ledger`."""
        noted = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            noted.set_exception(self._broken)
            return noted
        self._entries.announced[position] = number
        self._announcing.append(noted)
        self._changed.set()
        return noted

    def opened(self, position: int, new_session_id: str) -> None:
        """Record the ID that the target gave to a session."""
        self._entries.opened[position] = new_session_id
        self._changed.set()

    def step(self, position: int, step: Step) -> None:
        """Record a finished step, and report it."""
        self._entries.steps.append((position, step))
        self._changed.set()
        self._watching.step(step)

    def end(self, position: int, session: SessionRun) -> None:
        """Record the end of a session, and report it."""
        self._entries.ended[position] = session.reason
        self._changed.set()
        self._watching.session_ended(session)

    def close(self) -> None:
        """Let `write` return once everything is written."""
        self._is_closed = True
        self._changed.set()

    async def write(self) -> None:
        """Write entries as they come until `close` is called.

        Raises:
            StorageUnavailable: Not everything could be written.
        """
        with beside(self._saver, in_process=self._in_process) as save:
            loop = asyncio.get_running_loop()
            is_last = False
            failing_since_s: float | None = None
            while not is_last:
                await self._changed.wait()
                self._changed.clear()
                is_last = self._is_closed
                entries, self._entries = self._entries, runs.LedgerEntries()
                announcing, self._announcing = self._announcing, []
                try:
                    await asyncio.wrap_future(save(entries))
                except StorageError as e:
                    self._keep(entries)
                    failing_since_s = failing_since_s or loop.time()
                    failing_for_s = loop.time() - failing_since_s
                    if is_last and failing_for_s >= _PATIENCE_AT_THE_END_S:
                        raise
                    is_last = False
                    if failing_for_s < _PATIENCE_S:
                        self._announcing[:0] = announcing
                    else:
                        _settle(announcing, e)
                    loop.call_later(_BETWEEN_TRIES_S, self._changed.set)
                except Exception as e:
                    # It is unknown whether this was written, so do not try again, and fail all who wait.
                    is_dead = isinstance(e, BrokenExecutor)
                    self._broken = (
                        helper_died(e) if is_dead else StorageUnavailable(f"cannot write the results of the run: {e}")
                    )
                    _settle([*announcing, *self._announcing], self._broken)
                    raise self._broken from e
                else:
                    failing_since_s = None
                    _settle(announcing, None)

    def _keep(self, entries: runs.LedgerEntries) -> None:
        """Keep entries that could not be written for the next attempt."""
        later = self._entries
        self._entries = runs.LedgerEntries(
            announced=entries.announced | later.announced,
            opened=entries.opened | later.opened,
            steps=entries.steps + later.steps,
            ended=entries.ended | later.ended,
        )


def _settle(waiting: Iterable[asyncio.Future[None]], error: StorageError | None) -> None:
    for each in waiting:
        if each.done():
            continue  # its session has ended in the meantime
        if error is None:
            each.set_result(None)
        else:
            each.set_exception(error)


class _Saver:
    """Writes entries to the store; a `helpers.Work`."""

    def __init__(self, store_url: str, run_id: str) -> None:
        self._store_url = store_url
        self._run_id = run_id
        self._store: Store | None = None

    def __call__(self, entries: runs.LedgerEntries) -> None:
        if self._store is None:
            self._store = Store(self._store_url)
        if entries:
            with self._store.write() as db:
                runs.note(db, self._run_id, entries)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
