"""Carry out plans: decide when each step is sent, with which ID and times, and what the outcome is.

The engine knows no network, no store and no wall clock. It is given a `Transport`, a `Ledger` and a `Clock`, so that
tests can pass their own. It takes plans one by one, as sessions begin, and reports results one by one, as they happen.

Within a session, steps start in the recorded order. A step starts when it is due, which is the start of the session
plus the recorded offset divided by the speed, so that lateness does not add up. It also waits until fewer requests are
in flight than there were at most while recording; otherwise, a slow answer does not delay other steps. At speed
``max``, each step waits for the answer to the previous one.
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
"""Event loops refuse to sleep for years, which a slow replay of a long recording may require."""
_ANNOUNCED_AT_FULL_SPEED = 16
_MOST_ANNOUNCED = 64
"""How many steps of a session are announced ahead at most: with more, more steps are in doubt after a kill."""


class Failure(StrEnum):
    """Why a request got no answer."""

    UNREACHABLE = "unreachable"
    """No connection could be made, or TLS failed."""
    CLOSED = "closed"
    """The connection ended before the answer was complete, or the answer was not HTTP."""
    TIMEOUT = "timeout"
    """The answer was not complete in time."""
    INVALID = "invalid"
    """The request cannot be expressed in HTTP; nothing of it was sent."""


class TransportError(Exception):
    """A request got no answer; the message says why."""

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport(Protocol):
    """Sends requests to the target, each exactly once."""

    @property
    def has_connected(self) -> bool:
        """Whether a connection to the target has ever succeeded."""
        ...

    async def send(self, request: Request) -> Response:
        """Send a request, its path appended to the target's, and return the answer.

        Raises:
            TransportError: There is no complete answer.
        """
        ...


class Clock(Protocol):
    """Tells the time, and sleeps."""

    def now(self) -> datetime:
        """Return the current time, aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds."""
        await asyncio.sleep(seconds)


class Ledger(Protocol):
    """Records the progress of a run. Sessions are named by their position in the run."""

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Record durably that the first ``number`` steps of a session, skipped ones included, may be sent from now on.

        None of them is sent before the returned future is done. So the ledger of a killed run shows what it sent,
        except for steps that were announced and have no result.

        Returns:
            A future that is done when this is recorded, or fails with a `SessiontapeError`.
        """
        ...

    def opened(self, position: int, new_session_id: str) -> None:
        """Record the ID that the target gave to a session."""
        ...

    def step(self, position: int, step: Step) -> None:
        """Record a finished step."""
        ...

    def end(self, position: int, session: SessionRun) -> None:
        """Record the end of a session whose steps have been recorded."""
        ...


class _Stopped(Exception):
    """The run was stopped."""


class Engine:
    """One replay. `run` carries it out; `stop`, called from any task, ends it gracefully."""

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
        """Send nothing more. Requests in flight fail and unsent steps are skipped, both with this reason."""
        if self._stop_reason is None:
            self._stop_reason = reason
            for task in self._under_way - {asyncio.current_task()}:
                task.cancel()

    async def run(self, plans: AsyncIterator[tuple[int, SessionPlan]]) -> None:
        """Send all plans in order, at most `SendingOptions.concurrency` at a time.

        After `stop`, the remaining plans are still consumed, so that the ledger has all sessions of the run.

        Args:
            plans: Plans with their positions in the run; each is consumed when its session may begin.

        Raises:
            TargetUnreachable: The first attempts to connect failed and none ever succeeded; the rest is not tried.
            SessiontapeError: ``plans`` or the ledger raised it; sessions in progress were stopped and recorded.
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
                if self._unreachable or self._failure:  # possibly while we waited
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
        """End the run because no connection to the target has ever succeeded, so that nothing has been sent."""
        self._unreachable = self._unreachable or error
        self.stop(f"{UNREACHED}: {error}")


class _Announced:
    """Announces the steps of a session just far enough ahead that none has to wait."""

    def __init__(self, ledger: Ledger, position: int, plan: SessionPlan, ahead: int) -> None:
        """Begin with nothing announced.

        Args:
            ahead: How many steps to announce beyond the next; grows if steps have to wait.
        """
        self._ledger = ledger
        self._position = position
        self._steps = len(plan.steps)
        self._ahead = ahead
        self._noted = 0
        self._asked = 0
        self._asking: asyncio.Future[None] | None = None

    async def reach(self, number: int) -> None:
        """Wait until ``number`` steps are announced, and start announcing the ones after them.

        Raises:
            SessiontapeError: The ledger cannot record it.
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
        """Cancel the announcement in progress, and ignore its failure."""
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
    """One session in progress."""

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
            pass  # the remaining steps are recorded below
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
        # In recorded order, although a start that an event had overtaken was sent first.
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
        """Start all steps and wait until they end.

        Raises:
            _Stopped: The run was stopped before all steps were started.
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
                await self._send(planned, due_s)  # later steps need the new ID, or wait for the answer
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
        """Wait until a step is due; return the due time by the monotonic clock, or None if it need not wait."""
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
                raise  # without a connection, nothing was sent, so the step is skipped
            self._failed(planned, request, sent_at, drift_ms, reason)
            if asyncio.current_task() in self._sending:
                return  # `run` cancelled this task and waits for it
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
        """Return why the session, or the rest of it, was not sent; None if all of it was."""
        reasons = {step.reason: None for step in steps if step.outcome is StepOutcome.SKIPPED}
        if not steps:
            return "it has no exchanges"
        if len(reasons) == 1 and all(step.outcome is StepOutcome.SKIPPED for step in steps):
            return next(iter(reasons))
        return next((reason for reason in reasons if reason in (self._no_session, self._engine._stop_reason)), None)
