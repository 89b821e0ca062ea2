"""A clock that jumps to where somebody waits, and a target that is a function."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any

from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.plans import SessionPlan
from proxy_addon.core.replays.runs import SessionRun, Step
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.replay.engine import Engine, TransportError
from tests.builders import at

RUN_BEGINS_AFTER_S = 86_400.0


class VirtualClock:
    """Time passes only while everybody sleeps, and then at once."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return at(RUN_BEGINS_AFTER_S) + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed_s + seconds, self._count, done))
        await done

    async def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Let time pass until the work is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(50):  # let everybody get to where they sleep
                await asyncio.sleep(0)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers and not task.done():
                self.elapsed_s, _, done = heapq.heappop(self._sleepers)
                done.set_result(None)
        return task.result()


Answer = Response | TransportError
"""What a target gives: an answer, or a failure to raise."""


class FunctionTransport:
    """A target that is a function of the request; it takes time on the clock and keeps what it got."""

    def __init__(
        self, clock: VirtualClock, answer: Callable[[Request], Answer], *, takes_s: float = 0.0, connects: bool = True
    ) -> None:
        self.sent: list[tuple[float, Request]] = []
        self.at_once = 0
        self.most_at_once = 0
        self._clock = clock
        self._answer = answer
        self._takes_s = takes_s
        self._connects = connects

    @property
    def has_connected(self) -> bool:
        return self._connects and bool(self.sent)

    async def send(self, request: Request) -> Response:
        self.sent.append((self._clock.elapsed_s, request))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self._takes_s:
                await self._clock.sleep(self._takes_s)
        finally:
            self.at_once -= 1
        answer = self._answer(request)
        if isinstance(answer, TransportError):
            raise answer
        return answer

    @property
    def paths(self) -> list[str]:
        return [request.path for _, request in self.sent]


def opens_sessions() -> Callable[[Request], Response]:
    """Return a target that gives the IDs new-1, new-2, … and takes every event."""
    count = 0

    def answer(request: Request) -> Response:
        nonlocal count
        if request.path.endswith("/events"):
            return Response(status=204)
        count += 1
        return Response(status=201, headers=(("Location", f"/api/v1/sessions/new-{count}"),))

    return answer


class ListLedger:
    """A ledger in memory that asserts the order of its entries."""

    def __init__(self) -> None:
        self.sessions: dict[int, SessionRun] = {}
        self.steps: dict[int, list[Step]] = {}
        self.announced: dict[int, int] = {}
        self.most_in_doubt = 0
        """How many steps of a session were announced at most of which there was no result."""
        self._writing: list[tuple[int, int, asyncio.Future[None]]] = []
        self.ids: dict[int, str] = {}

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        self._writing.append((position, number, done))
        asyncio.get_running_loop().call_soon(self._write)
        return done

    def _write(self) -> None:
        for position, number, done in self._writing:
            if not done.done():
                self.announced[position] = number
                self.most_in_doubt = max(self.most_in_doubt, number - len(self.steps.get(position, ())))
                done.set_result(None)
        self._writing.clear()

    def opened(self, position: int, new_session_id: str) -> None:
        self.ids[position] = new_session_id

    def step(self, position: int, step: Step) -> None:
        if step.sent_at is not None:
            sent = sum(each.sent_at is not None for each in self.steps.get(position, ()))
            assert self.announced.get(position, 0) > sent, "sent before it was announced"
        self.steps.setdefault(position, []).append(step)

    def end(self, position: int, session: SessionRun) -> None:
        steps = sorted(self.steps.get(position, ()), key=lambda step: step.seq)
        assert tuple(steps) == session.steps, "steps are noted as they happen"
        assert self.ids.get(position) == session.new_session_id
        self.sessions[position] = session


async def replayed(
    plans: Iterable[SessionPlan],
    transport: FunctionTransport,
    clock: VirtualClock,
    *,
    speed: str = "1",
    timestamps: str = "now",
    concurrency: int = 8,
    stop_after_s: float | None = None,
    spread_s: float = 0.0,
    ledger: ListLedger | None = None,
) -> list[SessionRun]:
    """Replay in virtual time, and return the results of the sessions in the order of the plans."""
    options = SendingOptions(
        target="http://target.example",
        speed=Speed.parse(speed),
        timestamps=Timestamps.parse(timestamps),
        concurrency=concurrency,
        spread_s=spread_s,
    )
    ledger = ListLedger() if ledger is None else ledger
    engine = Engine(options, transport, clock, ledger)

    async def stop() -> None:
        assert stop_after_s is not None
        await clock.sleep(stop_after_s)
        engine.stop()

    stopping = asyncio.create_task(stop()) if stop_after_s is not None else None
    try:
        await clock.run(engine.run(each(plans)))
    finally:
        if stopping is not None:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
    return [ledger.sessions[position] for position in sorted(ledger.sessions)]


async def each(plans: Iterable[SessionPlan]) -> AsyncIterator[tuple[int, SessionPlan]]:
    for position, plan in enumerate(plans):
        yield position, plan
