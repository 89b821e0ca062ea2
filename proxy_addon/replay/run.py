"""Carry out one replay: read plans from the store, send them, write results to the store, and stop on a signal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass

from proxy_addon.core.replays.plans import SessionPlan, repeated_starts
from proxy_addon.core.replays.runs import SessionRun
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.core.sessions import Session
from proxy_addon.errors import SessiontapeError, StorageError
from proxy_addon.process import signals
from proxy_addon.replay.engine import Engine, SystemClock
from proxy_addon.replay.helpers import beside, collect_seldom, outcome
from proxy_addon.replay.ledger import StoreLedger, Watching
from proxy_addon.replay.planner import Planner, Planning
from proxy_addon.replay.preparing import GONE
from proxy_addon.replay.transport import HttpTransport
from storage import runs, sessions
from storage.engine import Store

_AHEAD = 8
"""How many plans are made in advance, so that reading does not delay sending."""
_LONG, _LARGE = 200, 10_000
"""From this number of sessions or exchanges on, separate processes for planning and writing pay off at full speed."""
_ROWS_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a replay ended; its results are in the store.

    Attributes:
        signal: Number of the signal that interrupted it; None for none.
        error: Why the replay, or its record in the store, is incomplete; None if it is complete or interrupted.
    """

    signal: int | None
    error: SessiontapeError | None


async def carry_out(
    run_id: str,
    *,
    store: Store,
    options: SendingOptions,
    planning: Planning,
    transport: HttpTransport,
    watching: Watching,
) -> Ended:
    """Replay the waiting sessions of a run. At any time, the store has its progress so far."""
    collect_seldom()
    clock = SystemClock()
    at_full_speed = options.speed.factor is None
    in_process = at_full_speed and _is_long(store, run_id)
    ledger = StoreLedger(store, run_id, watching, in_process=in_process)
    engine = Engine(options, transport, clock, ledger)
    error: SessiontapeError | None = None
    # At full speed, concurrent sessions tend to end together and need their successors at once.
    ahead = options.concurrency if at_full_speed else min(_AHEAD, options.concurrency)
    plans = _plans(store, run_id, planning, ledger, most_ahead=ahead, in_process=in_process)
    with signals.calling_on_signals(engine.stop) as received:
        writer = asyncio.create_task(ledger.write())
        async with transport, aclosing(plans) as drawn:
            try:
                await engine.run(drawn)
            except SessiontapeError as e:
                error = e
        ledger.close()
        try:
            await writer
            with store.write() as db:
                runs.finish(db, run_id, clock.now(), keep=True)
        except StorageError as e:
            error = error or e
    return Ended(signal=received[0] if received else None, error=error)


async def _plans(
    store: Store, run_id: str, planning: Planning, ledger: StoreLedger, *, most_ahead: int, in_process: bool
) -> AsyncGenerator[tuple[int, SessionPlan]]:
    """Yield the plans of waiting sessions.

    Args:
        most_ahead: How many plans are made in advance.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as reader:
        skip = await loop.run_in_executor(reader, _repeated, store, run_id)
        maker = Planner(store.url, planning, skip)
        with beside(maker, in_process=in_process) as make:
            ahead: deque[tuple[int, Future[SessionPlan]]] = deque()
            async for position, source, session in _waiting(store, run_id, loop, reader):
                if session is None:
                    gone = SessionRun(source=source, session_id=None, new_session_id=None, steps=(), reason=GONE)
                    ledger.end(position, gone)
                    continue
                ahead.append((position, make(session)))
                if len(ahead) > most_ahead:
                    yield await _made(*ahead.popleft())
            while ahead:
                yield await _made(*ahead.popleft())


async def _made(position: int, future: Future[SessionPlan]) -> tuple[int, SessionPlan]:
    return position, await outcome(future)


async def _waiting(
    store: Store, run_id: str, loop: asyncio.AbstractEventLoop, reader: ThreadPoolExecutor
) -> AsyncGenerator[tuple[int, str, Session | None]]:
    """Yield the waiting sessions of a run: position, our id, and the session, or None if it was deleted."""

    def read(after: int) -> list[tuple[int, str, Session | None]]:
        with store.read() as db:
            rows = runs.waiting(db, run_id, after=after, limit=_ROWS_AT_ONCE)
            found = {session.id: session for session in sessions.get(db, [source for _, source in rows])}
            return [(position, source, found.get(source)) for position, source in rows]

    after = -1
    while rows := await loop.run_in_executor(reader, read, after):
        for row in rows:
            yield row
        after = rows[-1][0]


def _repeated(store: Store, run_id: str) -> dict[str, str]:
    """Return the reasons to skip sessions that another session of the run supersedes."""
    with store.read() as db:
        return repeated_starts(sessions.get(db, runs.attempts(db, run_id)))


def _is_long(store: Store, run_id: str) -> bool:
    with store.read() as db:
        return runs.size(db, run_id, waiting=True) >= _LONG or runs.recorded(db, run_id) >= _LARGE
