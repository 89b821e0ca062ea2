"""Carry out plans: when each step is sent, with which ID and times, and what its answer comes to.

The engine knows no network, no store and no wall clock: a `Transport` sends, a `Ledger` is kept by somebody else and a
`Clock` tells time, so that a test hands over a function, a list and a clock of its own. Plans come in one by one, as
sessions begin; results go out one by one, as they happen.

Within a session, sending starts in the recorded order. A step starts when it is due, which is the session's origin plus
the recorded offset over the speed, so that lateness never adds up; and when fewer requests are on their way than were at
most when the session was recorded, so that a slow answer holds up others only then. At speed ``max`` one step follows
the answer to the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from typing import Protocol

from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.replays.comparing import compare, said_in
from proxy_addon.core.replays.plans import PlannedStep, SessionPlan
from proxy_addon.core.replays.runs import BROKEN_OFF, INTERRUPTED, UNREACHED, SessionRun, Step, StepOutcome
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.errors import SessiontapeError, TargetUnreachable

_LONGEST_SLEEP_S = 3600.0
"""Event loops refuse to sleep for years; a slow replay of a long recording may want to."""
_ANNOUNCED_AT_FULL_SPEED = 16
_MOST_ANNOUNCED = 64
"""Steps of one session that are announced ahead: more would hold up none less, and leave more unknown after a kill."""


class Failure(StrEnum):
    """Why a request got no answer."""

    UNREACHABLE = "unreachable"
    """No connection could be made, TLS included."""
    CLOSED = "closed"
    """The connection ended, or what came was no HTTP, before the answer was complete."""
    TIMEOUT = "timeout"
    """The answer was not complete in time."""
    INVALID = "invalid"
    """The request cannot be put into HTTP; nothing of it was sent."""


class TransportError(Exception):
    """A request got no answer; the message says why."""

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport(Protocol):
    """Sends one request to the target, once, and returns the answer to it."""

    @property
    def has_connected(self) -> bool:
        """Whether a connection to the target has ever succeeded."""
        ...

    async def send(self, request: Request) -> Response:
        """Send a request; its path is asked for below the target's.

        Raises:
            TransportError: There is no complete answer.
        """
        ...


class Clock(Protocol):
    """Tells time and lets it pass."""

    def now(self) -> datetime:
        """Return the time of day, aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds since any moment, never going back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds."""
        await asyncio.sleep(seconds)


class Ledger(Protocol):
    """Writes down what becomes of a run."""

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Note, for good, that so many steps of a session, skipped ones included, may have been sent from now on.

        None of them is sent before what this returns is done. So what a killed run has sent is known from its ledger,
        but for the steps that are announced and have no result.

        Returns:
            Done when it is noted; fails with a `SessiontapeError` where it cannot be.
        """
        ...

    def opened(self, position: int, new_session_id: str) -> None:
        """Note the ID that the target gave to a session."""
        ...

    def step(self, position: int, step: Step) -> None:
        """Note what became of a step."""
        ...

    def end(self, position: int, session: SessionRun) -> None:
        """Note what a session came to; its steps have been noted."""
        ...


class _Stopped(Exception):
    """The run was stopped."""


class Engine:
    """One replay. `run` carries it out; `stop`, from any task, ends it in good order."""

    def __init__(self, options: SendingOptions, transport: Transport, clock: Clock, ledger: Ledger) -> None:
        self._options = options
        self._transport = transport
        self._clock = clock
        self._ledger = ledger
        self._stop_reason: str | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._unreachable: TransportError | None = None
        self._failure: SessiontapeError | None = None

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Send nothing more: what is on its way has failed, what was not sent is skipped, each for this reason."""
        if self._stop_reason is None:
            self._stop_reason = reason
            for task in self._under_way - {asyncio.current_task()}:
                task.cancel()

    async def run(self, plans: AsyncIterator[tuple[int, SessionPlan]]) -> None:
        """Send all plans, in their order as far as `SendingOptions.concurrency` lets them begin.

        After `stop` the remaining plans are still drawn, so that the ledger has all that was asked for.

        Args:
            plans: With their places in the run; drawn one by one, each when its session may begin.

        Raises:
            TargetUnreachable: The first attempts to connect failed and none ever succeeded; the rest is not tried.
            SessiontapeError: What ``plans`` or the ledger raises; what was under way has been stopped and noted.
        """
        free = asyncio.Semaphore(self._options.concurrency)

        began_s = self._clock.monotonic()

        async def one(position: int, plan: SessionPlan, number: int) -> None:
            begins_s = began_s + self._options.spread_s * min(number / self._options.concurrency, 1)
            try:
                await _SessionReplay(self, position, plan, begins_s).run()
            finally:
                free.release()

        async with asyncio.TaskGroup() as sessions:
            for number in count():
                await free.acquire()
                if self._unreachable or self._failure:  # perhaps while we waited for a free place
                    break
                try:
                    drawn = await anext(plans, None)
                except SessiontapeError as e:
                    self._break_off(e)
                    break
                if drawn is None:
                    break
                task = sessions.create_task(one(*drawn, number))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        if self._unreachable is not None:
            raise TargetUnreachable(
                f"no connection to {self._options.target} succeeded: {self._unreachable}",
                hint="is it running, and is --target right?",
            )
        if self._failure is not None:
            raise self._failure

    def _break_off(self, error: SessiontapeError) -> None:
        self._failure = self._failure or error
        self.stop(f"{BROKEN_OFF}: {error}")

    def _missed(self, error: TransportError) -> None:
        """End the run as no connection to the target has ever succeeded; so nothing has been sent."""
        self._unreachable = self._unreachable or error
        self.stop(f"{UNREACHED}: {error}")


class _Announced:
    """How far the steps of a session are announced: as far ahead as needed to hold up none, and no further."""

    def __init__(self, ledger: Ledger, position: int, plan: SessionPlan, ahead: int) -> None:
        """Begin with nothing announced.

        Args:
            ahead: How many steps further than the one that is sent; more where that has turned out to be too few.
        """
        self._ledger = ledger
        self._position = position
        self._steps = len(plan.steps)
        self._ahead = ahead
        self._noted = 0
        self._asked = 0
        self._asking: asyncio.Future[None] | None = None

    async def reach(self, number: int) -> None:
        """Wait until so many steps are announced, and have those behind them announced meanwhile.

        Raises:
            SessiontapeError: It cannot be noted.
        """
        while number > self._noted:
            if self._asking is None:
                self._ask(number)
            elif not self._asking.done():
                self._ahead = min(2 * self._ahead, _MOST_ANNOUNCED)
            await self._wait()
        if self._asking is not None and self._asking.done():
            await self._wait()
        if self._asking is None and self._noted < min(number + (self._ahead + 1) // 2, self._steps):
            self._ask(number)

    def forget(self) -> None:
        """What was asked for no longer matters, nor whether it fails."""
        if self._asking is not None and not self._asking.cancel() and not self._asking.cancelled():
            self._asking.exception()

    def _ask(self, number: int) -> None:
        self._asked = min(number + self._ahead, max(number, self._steps))
        self._asking = self._ledger.announce(self._position, self._asked)

    async def _wait(self) -> None:
        assert self._asking is not None
        await self._asking
        self._noted, self._asking = self._asked, None


class _SessionReplay:
    """One session under way."""

    def __init__(self, engine: Engine, position: int, plan: SessionPlan, begins_s: float) -> None:
        self._engine = engine
        self._clock = engine._clock
        self._options = engine._options
        self._position = position
        self._plan = plan
        self._begins_s = begins_s
        self._steps: dict[int, Step] = {}
        self._sending: set[asyncio.Task[None]] = set()
        paced = self._options.speed.factor is not None
        self._places = asyncio.Semaphore(plan.most_at_once if paced else 1)
        ahead = plan.most_at_once if paced else _ANNOUNCED_AT_FULL_SPEED
        self._announced = _Announced(engine._ledger, position, plan, ahead)
        self._origin_s: float | None = None
        self._new_session_id: str | None = None
        self._no_session: str | None = "its start was not sent, so there is no session to report to"
        self._shift_ms: int | None = None

    async def run(self) -> None:
        engine = self._engine
        try:
            await self._until(self._begins_s)
            if engine._stop_reason is None:
                await self._announced.reach(1)
            await self._send_all()
        except _Stopped:
            pass  # what is left is noted below
        except SessiontapeError as e:
            engine._break_off(e)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if engine._stop_reason is None or task is None or task.uncancel() > 0:
                raise
        self._announced.forget()
        for sending in self._sending:
            sending.cancel()
        await asyncio.gather(*self._sending)
        for planned in self._plan.steps:
            if planned.seq not in self._steps:
                self._note(planned.result(StepOutcome.SKIPPED, reason=planned.skip or engine._stop_reason))
        # By place in the recording; a start that an event overtook was sent first all the same.
        steps = tuple(self._steps[seq] for seq in sorted(self._steps))
        session = self._plan.session
        engine._ledger.end(
            self._position,
            SessionRun(
                source=session.id,
                session_id=session.session_id,
                new_session_id=self._new_session_id,
                steps=steps,
                reason=self._reason(steps),
            ),
        )

    async def _send_all(self) -> None:
        """Start all steps and wait for their ends.

        Raises:
            _Stopped: The run was stopped before all were started.
        """
        for number, planned in enumerate(self._plan.steps, 1):
            if self._engine._stop_reason is not None:
                raise _Stopped
            reason = planned.skip
            if reason is None and not planned.opens and self._new_session_id is None:
                reason = self._no_session
            if reason is not None:
                self._note(planned.result(StepOutcome.SKIPPED, reason=reason))
                continue
            due_s = await self._until_due(planned)
            await self._announced.reach(number)
            if planned.opens or self._options.speed.factor is None:
                await self._send(planned, due_s)  # all else waits for the new ID, or for the answer
                continue
            await self._places.acquire()
            task = asyncio.create_task(self._send(planned, due_s))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        while self._sending:
            await asyncio.wait(self._sending)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._places.release()

    async def _until_due(self, planned: PlannedStep) -> float | None:
        """Wait until a step is due, and return when that was by the monotonic clock; None where it has no such time."""
        after_s = self._options.speed.due_after_s(planned.offset_s)
        if after_s is None or self._origin_s is None:
            return None
        due_s = self._origin_s + after_s
        await self._until(due_s)
        return due_s

    async def _until(self, time_s: float) -> None:
        while self._engine._stop_reason is None and (wait_s := time_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(wait_s, _LONGEST_SLEEP_S))

    async def _send(self, planned: PlannedStep, due_s: float | None) -> None:
        began_s, sent_at = self._clock.monotonic(), self._clock.now()
        if self._origin_s is None:
            self._shift_ms = self._plan.shift_ms(self._options.timestamps, sent_at)
            self._origin_s = began_s
            if self._options.speed.factor is not None:
                due_s = began_s
        request, remark = self._plan.request(planned, self._new_session_id, self._options.timestamps, self._shift_ms)
        drift_ms = None if due_s is None else (began_s - due_s) * 1000
        try:
            response = await self._engine._transport.send(request)
        except TransportError as e:
            if e.kind is Failure.UNREACHABLE and not self._engine._transport.has_connected:
                self._engine._missed(e)
                raise _Stopped from e
            self._failed(planned, request, sent_at, drift_ms, str(e))
            return
        except asyncio.CancelledError:
            reason = self._engine._stop_reason
            if reason is None or not self._engine._transport.has_connected:
                raise  # in the latter case nothing of it went out: it is skipped
            self._failed(planned, request, sent_at, drift_ms, reason)
            if asyncio.current_task() in self._sending:
                return  # cancelled by `run`, which waits for us
            raise
        if planned.opens:
            self._opened(response)
        differences = compare(
            planned.recorded,
            planned.recorded_outcome,
            response,
            noise=self._options.noise,
            ids=(self._plan.session.session_id, self._new_session_id),
            asked=request.headers,
        )
        self._note(
            planned.result(
                StepOutcome.DIFFERENT if differences else StepOutcome.SAME,
                reason="; ".join(filter(None, (remark, said_in(response)))) or None,
                sent_at=sent_at,
                drift_ms=drift_ms,
                status=response.status,
                latency_ms=(self._clock.monotonic() - began_s) * 1000,
                differences=differences,
                sent=planned.sent(request),
            )
        )

    def _note(self, step: Step) -> None:
        self._steps[step.seq] = step
        self._engine._ledger.step(self._position, step)

    def _failed(
        self, planned: PlannedStep, request: Request, sent_at: datetime, drift_ms: float | None, cause: str
    ) -> None:
        if planned.opens:
            self._no_session = f"the new start failed ({cause}), so there is no session to report to"
        sent = planned.sent(request)
        self._note(planned.result(StepOutcome.FAILED, reason=cause, sent_at=sent_at, drift_ms=drift_ms, sent=sent))

    def _opened(self, response: Response) -> None:
        location = find_location(response.headers)
        if not response.is_success:
            self._no_session = f"the new start was answered {response.status}, so there is no session to report to"
        elif location is None:
            self._no_session = "the new start was answered without a Location, so there is no session to report to"
        else:
            self._new_session_id = session_id_in(location)
            self._no_session = f"there is no session ID in the new start's Location, {location!r}"
        if self._new_session_id is not None:
            self._engine._ledger.opened(self._position, self._new_session_id)

    def _reason(self, steps: Sequence[Step]) -> str | None:
        """Return what kept the session, or the rest of it, from being sent; None where nothing did."""
        reasons = {step.reason: None for step in steps if step.outcome is StepOutcome.SKIPPED}
        if not steps:
            return "it has no exchanges"
        if len(reasons) == 1 and all(step.outcome is StepOutcome.SKIPPED for step in steps):
            return next(iter(reasons))
        return next((reason for reason in reasons if reason in (self._no_session, self._engine._stop_reason)), None)
