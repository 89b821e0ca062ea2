"""The ledger of a run: what happens in it, on its way into the store."""

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
"""How long a store may refuse to be written until the run breaks off: a migration or a restart may take that long."""
_PATIENCE_AT_THE_END_S = 10.0
"""The same when all is sent, or somebody wants it to end."""
_BETWEEN_TRIES_S = 0.2


class Watching(Protocol):
    """Who wants to know how far it has got."""

    def step(self, step: Step) -> None:
        """Learn what became of a step."""
        ...

    def session_ended(self, session: SessionRun) -> None:
        """Learn what a session came to."""
        ...


class StoreLedger:
    """What happens in a run, on its way into the store.

    It is written beside, together with what came meanwhile, so that sending does not wait for a disk; only what is
    going to be sent is noted before, some steps ahead. What could not be written is kept and tried again: a store that
    is locked or away for a while holds up sending, and breaks nothing.
    """

    def __init__(self, store: Store, run_id: str, watching: Watching, *, in_process: bool) -> None:
        """Begin with nothing to write; `write` writes.

        Args:
            in_process: Whether to write in a process of its own.
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
        """Have it noted how many steps of a session may have been sent; see `engine.Ledger`."""
        noted = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            noted.set_exception(self._broken)
            return noted
        self._entries.announced[position] = number
        self._announcing.append(noted)
        self._changed.set()
        return noted

    def opened(self, position: int, new_session_id: str) -> None:
        """Note the ID that the target gave to a session."""
        self._entries.opened[position] = new_session_id
        self._changed.set()

    def step(self, position: int, step: Step) -> None:
        """Note what became of a step, and tell it."""
        self._entries.steps.append((position, step))
        self._changed.set()
        self._watching.step(step)

    def end(self, position: int, session: SessionRun) -> None:
        """Note what a session came to, and tell it."""
        self._entries.ended[position] = session.reason
        self._changed.set()
        self._watching.session_ended(session)

    def close(self) -> None:
        """Let `write` end with what there is."""
        self._is_closed = True
        self._changed.set()

    async def write(self) -> None:
        """Write what comes until the run is over.

        Raises:
            StorageUnavailable: It could not all be written, not even at the end.
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
                    # Nobody knows whether it was written, so it is not tried again; and whoever waits is told.
                    is_dead = isinstance(e, BrokenExecutor)
                    self._broken = helper_died(e) if is_dead else StorageUnavailable(f"the run cannot be noted: {e}")
                    _settle([*announcing, *self._announcing], self._broken)
                    raise self._broken from e
                else:
                    failing_since_s = None
                    _settle(announcing, None)

    def _keep(self, entries: runs.LedgerEntries) -> None:
        """Keep what could not be written for the next time."""
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
            continue  # its session has ended meanwhile
        if error is None:
            each.set_result(None)
        else:
            each.set_exception(error)


class _Saver:
    """Writes what happened in a run: `helpers.Work`."""

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
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
