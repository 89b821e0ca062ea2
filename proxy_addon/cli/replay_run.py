"""One replay from the store to a target and back into the store: loads, sends, writes, and stops on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace

from proxy_addon.core.planning import SessionPlan, plan_session
from proxy_addon.core.runs import ReplayRun, SessionRun, Step
from proxy_addon.core.sessions import Session
from proxy_addon.errors import SessiontapeError, StorageError
from proxy_addon.replay import loops
from proxy_addon.replay.engine import Engine, Settings, SystemClock
from proxy_addon.replay.transport import HttpTransport
from storage import exchanges, runs
from storage.engine import Store


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a replay ended.

    Attributes:
        run: All that became of it.
        signal: Number of the signal that interrupted it.
        error: What kept it, or its record in the store, from being whole.
    """

    run: ReplayRun
    signal: int | None
    error: SessiontapeError | None


def carry_out(
    run: ReplayRun,
    sessions: Sequence[Session],
    *,
    skip: Mapping[str, str],
    store: Store,
    settings: Settings,
    transport: HttpTransport,
    on_step: Callable[[Step], None],
) -> Ended:
    """Replay sessions; the run is in the store as far as it has got, at any time.

    Args:
        run: As it begins, without sessions.
        skip: Reasons not to send a session, by its id.

    Raises:
        StorageUnavailable: The run could not even be begun; nothing has been sent.
    """
    with store.write() as db:
        runs.begin(db, run)
    return loops.run(
        _carry_out(run, sessions, skip=skip, store=store, settings=settings, transport=transport, on_step=on_step)
    )


async def _carry_out(
    run: ReplayRun,
    sessions: Sequence[Session],
    *,
    skip: Mapping[str, str],
    store: Store,
    settings: Settings,
    transport: HttpTransport,
    on_step: Callable[[Step], None],
) -> Ended:
    clock = SystemClock()
    engine = Engine(settings, transport, clock, on_step=on_step)
    ledger = _Ledger(store, run.id)
    error: SessiontapeError | None = None
    with _stopping_on_signals(engine.stop) as received:
        async with transport, aclosing(_plans(store, sessions, skip)) as plans:
            writer = asyncio.create_task(ledger.write())
            try:
                await engine.run(plans, ledger.add)
            except SessiontapeError as e:
                error = e
        run = replace(run, finished_at=clock.now(), sessions=ledger.sessions())
        ledger.close(run)
        try:
            await writer
        except StorageError as e:
            error = error or e
    return Ended(run=run, signal=received[0] if received else None, error=error)


async def _plans(store: Store, sessions: Sequence[Session], skip: Mapping[str, str]) -> AsyncGenerator[SessionPlan]:
    """Yield the plans of sessions, each read when it is asked for."""

    def load(session: Session) -> SessionPlan:
        with store.read() as db:
            return plan_session(session, exchanges.of_session(db, session.id), skip=skip.get(session.id))

    with ThreadPoolExecutor(1) as reader:
        for session in sessions:
            yield await asyncio.get_running_loop().run_in_executor(reader, load, session)


class _Ledger:
    """Results of sessions on their way into the store.

    They are written from a thread, together with those that came meanwhile, so that sending never waits for a disk.
    What could not be written is kept and tried again, at the latest at the end.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._sessions: dict[int, SessionRun] = {}
        self._unsaved: dict[int, SessionRun] = {}
        self._ended: ReplayRun | None = None
        self._news = asyncio.Event()

    async def add(self, position: int, session: SessionRun) -> None:
        self._sessions[position] = session
        self._unsaved[position] = session
        self._news.set()

    def close(self, run: ReplayRun) -> None:
        """Let `write` end with the end of the run."""
        self._ended = run
        self._news.set()

    def sessions(self) -> tuple[SessionRun, ...]:
        return tuple(session for _, session in sorted(self._sessions.items()))

    async def write(self) -> None:
        """Write what comes until the run is over.

        Raises:
            StorageUnavailable: It could not all be written, not even at the end.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as writer:
            ended = None
            while ended is None:
                await self._news.wait()
                self._news.clear()
                ended = self._ended
                batch = dict(self._unsaved)
                try:
                    await loop.run_in_executor(writer, self._save, batch, ended)
                except StorageError:
                    if ended is not None:
                        raise
                else:
                    for position in batch:
                        del self._unsaved[position]

    def _save(self, batch: Mapping[int, SessionRun], ended: ReplayRun | None) -> None:
        with self._store.write() as db:
            runs.save_sessions(db, self._run_id, batch)
            if ended is not None and ended.finished_at is not None:
                runs.finish(db, self._run_id, ended.finished_at)


@contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call a function on Ctrl-C and SIGTERM, and collect what came; before and after they do what they did before."""
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        stop()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, on_signal, int(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
