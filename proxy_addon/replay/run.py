"""One replay from the store to a target and back into the store: loads, sends, writes, and stops on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.replays.comparing import learn
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.plans import SessionPlan, cut_short, plan_session, repeated_starts
from proxy_addon.core.replays.runs import SessionRun, Step
from proxy_addon.core.sessions import Session
from proxy_addon.errors import SessiontapeError, StorageError, StorageUnavailable
from proxy_addon.replay import loops
from proxy_addon.replay import planner as planners
from proxy_addon.replay.engine import Engine, Settings, SystemClock
from proxy_addon.replay.helpers import beside, collect_seldom
from proxy_addon.replay.planner import Planning
from proxy_addon.replay.transport import HttpTransport
from storage import exchanges, runs, sessions
from storage.engine import Store

GONE = "it is no longer in the store"
_AHEAD = 8
"""Plans that are made before there is room for their sessions: reading must not hold up sending."""
_LONG, _LARGE = 200, 10_000
"""From so many sessions or exchanges on, at full speed, it pays to start processes that make the plans and write beside
the sender."""
_ROWS_AT_ONCE = 100
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


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a replay ended; what became of it is in the store.

    Attributes:
        signal: Number of the signal that interrupted it.
        error: What kept it, or its record in the store, from being whole.
    """

    signal: int | None
    error: SessiontapeError | None


def plans_of(store: Store, chosen: Sequence[Session], planning: Planning) -> Iterator[SessionPlan]:
    """Yield the plans of sessions, in their order, without sending anything."""
    with closing(planners.Planner(store.url, planning, repeated_starts(chosen))) as planner:
        for session in chosen:
            plan, _ = planner(session)
            yield plan


def learn_noise(plans: Iterable[SessionPlan], settings: Settings, transport: HttpTransport) -> tuple[str, ...]:
    """Send each session twice, one after the other, and return what differs between the answers, as rules.

    Raises:
        TargetUnreachable: No connection to the target succeeded.
    """
    found: set[str] = set()

    async def send_all_twice() -> int | None:
        one_by_one = replace(settings, speed=Speed(None), concurrency=1)
        async with transport:
            for plan in plans:
                heard: list[list[Response | None]] = []
                for _ in range(2):
                    listening = _Listening(transport)
                    engine = Engine(one_by_one, listening, SystemClock(), _NoBooks())
                    with _stopping_on_signals(engine.stop) as received:
                        await engine.run(_alone(plan))
                    if received:
                        return received[0]
                    heard.append(listening.heard)
                pairs = zip(*heard, strict=False)
                found.update(learn((one, other) for one, other in pairs if one is not None and other is not None))
        return None

    interrupted_by = loops.run(send_all_twice())
    if interrupted_by is not None:
        signal.raise_signal(interrupted_by)  # now that all is closed: the command ends as commands do
    return tuple(sorted(found))


async def _alone(plan: SessionPlan) -> AsyncGenerator[tuple[int, SessionPlan]]:
    yield 0, plan


class _Listening:
    """A transport that keeps the answers, in the order of the requests; None for one that got none."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self.heard: list[Response | None] = []

    @property
    def has_connected(self) -> bool:
        return self._transport.has_connected

    async def send(self, request: Request) -> Response:
        place = len(self.heard)
        self.heard.append(None)
        response = await self._transport.send(request)
        self.heard[place] = response
        return response


class _NoBooks:
    """Books of a run that nobody keeps."""

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Let it go on."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def opened(self, position: int, new_session_id: str) -> None:
        """Forget it."""

    def step(self, position: int, step: Step) -> None:
        """Forget it."""

    def end(self, position: int, session: SessionRun) -> None:
        """Forget it."""


def close_cut_short(store: Store, run_id: str) -> None:
    """Settle the sessions in whose middle a run was killed: what is missing of them is listed, and never sent."""
    with store.write() as db:
        for position, source, noted, announced in list(runs.cut_short(db, run_id)):
            found = sessions.get(db, [source])
            missing: list[Step] = []
            if found:
                plan = plan_session(found[0], exchanges.of_session(db, source))
                missing = list(cut_short(plan, noted, announced))
            reason = missing[0].reason if missing else None if found else GONE
            steps = [(position, step) for step in missing]
            runs.note(db, run_id, runs.News(steps=steps, ended={position: reason}))


def carry_out(
    run_id: str,
    *,
    store: Store,
    settings: Settings,
    planning: Planning,
    transport: HttpTransport,
    watching: Watching,
) -> Ended:
    """Replay the sessions of a run that are waiting; the run is in the store as far as it has got, at any time."""
    return loops.run(
        _carry_out(run_id, store=store, settings=settings, planning=planning, transport=transport, watching=watching)
    )


async def _carry_out(
    run_id: str,
    *,
    store: Store,
    settings: Settings,
    planning: Planning,
    transport: HttpTransport,
    watching: Watching,
) -> Ended:
    collect_seldom()
    clock = SystemClock()
    at_full_speed = settings.speed.factor is None
    in_process = at_full_speed and _is_long(store, run_id)
    ledger = _Ledger(_Saver(store.url, run_id), watching, in_process=in_process)
    engine = Engine(settings, transport, clock, ledger)
    error: SessiontapeError | None = None
    # At full speed sessions side by side tend to end together; else there is time, and no use in a crowd.
    ahead = settings.concurrency if at_full_speed else min(_AHEAD, settings.concurrency)
    plans = _plans(store, run_id, planning, ledger, most_ahead=ahead, in_process=in_process)
    with _stopping_on_signals(engine.stop) as received:
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
    store: Store, run_id: str, planning: Planning, ledger: _Ledger, *, most_ahead: int, in_process: bool
) -> AsyncGenerator[tuple[int, SessionPlan]]:
    """Yield the plans of sessions that are waiting.

    Args:
        most_ahead: How many are made before they are asked for.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as reader:
        skip = await loop.run_in_executor(reader, _repeated, store, run_id)
        planner = planners.Planner(store.url, planning, skip)
        with beside(planner, in_process=in_process) as make:
            ahead: deque[tuple[int, Future[planners.Made]]] = deque()
            async for position, source, session in _waiting(store, run_id, loop, reader):
                if session is None:
                    gone = SessionRun(source=source, session_id=None, new_session_id=None, steps=(), reason=GONE)
                    ledger.end(position, gone)
                    continue
                ahead.append((position, make(session)))
                if len(ahead) > most_ahead:
                    yield await _made(*ahead.popleft(), planning)
            while ahead:
                yield await _made(*ahead.popleft(), planning)


async def _made(position: int, future: Future[planners.Made], planning: Planning) -> tuple[int, SessionPlan]:
    plan, used = await _outcome(future)
    planning.changer.were_used(used)
    return position, plan


async def _waiting(
    store: Store, run_id: str, loop: asyncio.AbstractEventLoop, reader: ThreadPoolExecutor
) -> AsyncGenerator[tuple[int, str, Session | None]]:
    """Yield the sessions of a run that are waiting: place, our id, and the session where it still is in the store."""

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
    """Return the reasons to skip sessions that another one of the run makes needless."""
    with store.read() as db:
        return repeated_starts(sessions.get(db, runs.attempts(db, run_id)))


def _is_long(store: Store, run_id: str) -> bool:
    with store.read() as db:
        return runs.size(db, run_id, waiting=True) >= _LONG or runs.recorded(db, run_id) >= _LARGE


class _Ledger:
    """What happens in a run, on its way into the store.

    It is written beside, together with what came meanwhile, so that sending does not wait for a disk; only what is
    going to be sent is noted before, some steps ahead. What could not be written is kept and tried again: a store that
    is locked or away for a while holds up sending, and breaks nothing.
    """

    def __init__(self, saver: _Saver, watching: Watching, *, in_process: bool) -> None:
        self._saver = saver
        self._watching = watching
        self._in_process = in_process
        self._news = runs.News()
        self._announcing: list[asyncio.Future[None]] = []
        self._is_closed = False
        self._broken: StorageError | None = None
        self._changed = asyncio.Event()

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        noted = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            noted.set_exception(self._broken)
            return noted
        self._news.announced[position] = number
        self._announcing.append(noted)
        self._changed.set()
        return noted

    def opened(self, position: int, new_session_id: str) -> None:
        self._news.opened[position] = new_session_id
        self._changed.set()

    def step(self, position: int, step: Step) -> None:
        self._news.steps.append((position, step))
        self._changed.set()
        self._watching.step(step)

    def end(self, position: int, session: SessionRun) -> None:
        self._news.ended[position] = session.reason
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
                news, self._news = self._news, runs.News()
                announcing, self._announcing = self._announcing, []
                try:
                    await asyncio.wrap_future(save(news))
                except StorageError as e:
                    self._keep(news)
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
                    self._broken = _died(e) if is_dead else StorageUnavailable(f"the run cannot be noted: {e}")
                    _settle([*announcing, *self._announcing], self._broken)
                    raise self._broken from e
                else:
                    failing_since_s = None
                    _settle(announcing, None)

    def _keep(self, news: runs.News) -> None:
        """Keep what could not be written for the next time."""
        later = self._news
        self._news = runs.News(
            announced=news.announced | later.announced,
            opened=news.opened | later.opened,
            steps=news.steps + later.steps,
            ended=news.ended | later.ended,
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
    """Writes what happened in a run: `workers.Work`."""

    def __init__(self, store_url: str, run_id: str) -> None:
        self._store_url = store_url
        self._run_id = run_id
        self._store: Store | None = None

    def __call__(self, news: runs.News) -> None:
        if self._store is None:
            self._store = Store(self._store_url)
        if news:
            with self._store.write() as db:
                runs.note(db, self._run_id, news)

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()


async def _outcome[T](future: Future[T]) -> T:
    """Wait for a piece of work that is done beside.

    Raises:
        StorageUnavailable: The process that did it has died.
    """
    try:
        return await asyncio.wrap_future(future)
    except BrokenExecutor as e:
        raise _died(e) from e


def _died(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(f"a process beside the replay has died: {error}", hint="was it killed, or out of memory?")


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
