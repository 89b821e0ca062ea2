"""Carry out plans: when each step is sent, with which ID and times, and what its answer comes to.

The engine knows no network and no wall clock: a `Transport` sends and a `Clock` tells time, so that a test hands over
a function and a clock of its own. Plans come in one by one, as sessions begin; results go out one by one, as they end.

Within a session one step follows the other: it is sent when it is due *and* the one before it is answered. Due is the
session's origin plus the recorded offset over the speed, so that lateness never adds up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from proxy_addon.core.comparing import compare
from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.planning import PlannedStep, SessionPlan
from proxy_addon.core.runs import SessionRun, Step, StepOutcome
from proxy_addon.core.timestamps import shift_timestamps
from proxy_addon.errors import ProtocolError, SessiontapeError, TargetUnreachable
from proxy_addon.replay.pacing import Mode, Speed, Timestamps

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_SLEEP_S = 3600.0
"""Event loops refuse to sleep for years; a slow replay of a long recording may want to."""
INTERRUPTED = "interrupted"
"""The reason of steps that an interruption cut short or kept from being sent."""


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to replay.

    Attributes:
        target: The server's URL, for messages.
        concurrency: How many sessions run side by side at most.
    """

    target: str
    speed: Speed
    timestamps: Timestamps
    concurrency: int


class _Stopped(Exception):
    """The run was stopped while a step waited or was on its way."""


class Engine:
    """One replay. `run` carries it out; `stop`, from any task, ends it in good order."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        clock: Clock,
        *,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        """Prepare a replay.

        Args:
            on_step: Told of each step's result as soon as it is there.
        """
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._on_step = on_step
        self._stopped = asyncio.Event()
        self._stop_reason = INTERRUPTED

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Send nothing more: what is on its way has failed, what was not sent is skipped, each for this reason."""
        if not self._stopped.is_set():
            self._stop_reason = reason
            self._stopped.set()

    async def run(
        self, plans: AsyncIterator[SessionPlan], on_session: Callable[[int, SessionRun], Awaitable[None]]
    ) -> None:
        """Send all plans, in their order as far as `Settings.concurrency` lets them begin.

        After `stop` the remaining plans are still drawn, so that the books have all that was asked for.

        Args:
            plans: Drawn one by one, each when its session may begin.
            on_session: Gets the place of a session among the plans, from 0, and its result when it is over.

        Raises:
            TargetUnreachable: The first attempts to connect failed and none ever succeeded; the rest is not tried.
            SessiontapeError: What ``plans`` raises; what was under way has been stopped and handed over.
        """
        free = asyncio.Semaphore(self._settings.concurrency)
        unreachable: list[TransportError] = []
        failure: SessiontapeError | None = None

        async def one(position: int, plan: SessionPlan) -> None:
            try:
                await on_session(position, await _SessionReplay(self, plan, unreachable).run())
            finally:
                free.release()

        async with asyncio.TaskGroup() as sessions:
            position = 0
            while not unreachable:
                await free.acquire()
                if unreachable:  # while we waited for a free place
                    break
                try:
                    plan = await anext(plans, None)
                except SessiontapeError as e:
                    failure = e
                    self.stop(f"the run broke off: {e}")
                    break
                if plan is None:
                    break
                sessions.create_task(one(position, plan))
                position += 1
        # Side by side with the attempt that failed, another may have succeeded.
        if unreachable and not self._transport.has_connected:
            raise TargetUnreachable(
                f"no connection to {self._settings.target} succeeded: {unreachable[0]}",
                hint="is it running, and is --target right?",
            )
        if failure is not None:
            raise failure

    async def _unless_stopped[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns; it is cancelled when the run is stopped before.

        Raises:
            _Stopped: It was.
        """
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Stopped
            return task.result()
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)


class _SessionReplay:
    """One session under way."""

    def __init__(self, engine: Engine, plan: SessionPlan, unreachable: list[TransportError]) -> None:
        self._engine = engine
        self._clock = engine._clock
        self._settings = engine._settings
        self._plan = plan
        self._unreachable = unreachable
        self._origin_s: float | None = None
        self._new_session_id: str | None = None
        self._stopped_before_start = False
        self._no_session: str | None = "its start was not sent, so there is no session to report to"
        self._shift_ms = self._settings.timestamps.shift_ms if self._settings.timestamps.mode is Mode.SHIFT else None

    async def run(self) -> SessionRun:
        steps = []
        for planned in self._plan.steps:
            step = await self._step(planned)
            self._engine._on_step(step)
            steps.append(step)
        # By place in the recording; a start that an event overtook was sent first all the same.
        steps.sort(key=lambda step: step.seq)
        session = self._plan.session
        return SessionRun(
            source=session.id,
            session_id=session.session_id,
            new_session_id=self._new_session_id,
            steps=tuple(steps),
            reason=self._reason(steps),
        )

    async def _step(self, planned: PlannedStep) -> Step:
        try:
            reason = planned.skip
            if reason is None and not planned.opens and self._new_session_id is None:
                reason = self._engine._stop_reason if self._stopped_before_start else self._no_session
            if reason is None:
                due_s = await self._until_due(planned)
                return await self._send(planned, due_s)
        except _Stopped:
            reason = self._engine._stop_reason
            self._stopped_before_start |= planned.opens
        return _step(planned, StepOutcome.SKIPPED, reason=reason)

    async def _until_due(self, planned: PlannedStep) -> float | None:
        """Wait until a step is due, and return when that was by the monotonic clock; None where it has no such time.

        Raises:
            _Stopped: The run was stopped before.
        """
        due_s = None
        after_s = self._settings.speed.due_after_s(planned.offset_s)
        if after_s is not None and self._origin_s is not None:
            due_s = self._origin_s + after_s
            while (wait_s := due_s - self._clock.monotonic()) > 0:
                await self._engine._unless_stopped(self._clock.sleep(min(wait_s, _LONGEST_SLEEP_S)))
        if self._engine._stopped.is_set():
            raise _Stopped
        return due_s

    async def _send(self, planned: PlannedStep, due_s: float | None) -> Step:
        began_s, sent_at = self._clock.monotonic(), self._clock.now()
        if self._origin_s is None:
            self._begin(planned, sent_at)
            self._origin_s = began_s
            if self._settings.speed.factor is not None:
                due_s = began_s
        request, remark = self._request(planned)
        sent = _step(
            planned,
            StepOutcome.FAILED,
            reason=remark,
            sent_at=sent_at,
            drift_ms=None if due_s is None else (began_s - due_s) * 1000,
        )
        try:
            response = await self._engine._unless_stopped(self._engine._transport.send(request))
        except TransportError as e:
            if e.kind is Failure.UNREACHABLE and not self._engine._transport.has_connected:
                self._unreachable.append(e)
                self._engine.stop("no connection to the target")
            return self._failed(sent, planned, str(e))
        except _Stopped:
            return self._failed(sent, planned, self._engine._stop_reason)
        if planned.opens:
            self._opened(response)
        differences = compare(planned.recorded, planned.recorded_outcome, response)
        return replace(
            sent,
            outcome=StepOutcome.DIFFERENT if differences else StepOutcome.SAME,
            status=response.status,
            latency_ms=(self._clock.monotonic() - began_s) * 1000,
            differences=differences,
        )

    def _begin(self, planned: PlannedStep, sent_at: datetime) -> None:
        start_ts_ms = self._plan.start_ts_ms
        if planned.opens and self._settings.timestamps.mode is Mode.NOW and start_ts_ms is not None:
            self._shift_ms = (sent_at - _EPOCH) // timedelta(milliseconds=1) - start_ts_ms

    def _request(self, planned: PlannedStep) -> tuple[Request, str | None]:
        """Return what to send, and what to remark about it."""
        path = planned.path(self._plan.session.session_id, self._new_session_id)
        body, remark = planned.request.body, None
        if self._settings.timestamps.mode is not Mode.KEEP:
            try:
                if self._shift_ms is None:
                    raise ProtocolError("the start has no ts to go by")  # noqa: TRY301  # one place to say so
                body = shift_timestamps(body, self._shift_ms)
            except ProtocolError as e:
                remark = f"sent with its recorded times: {e}"
        return replace(planned.request, path=path, body=body), remark

    def _failed(self, sent: Step, planned: PlannedStep, cause: str) -> Step:
        if planned.opens:
            self._no_session = f"the new start failed ({cause}), so there is no session to report to"
        return replace(sent, reason=cause)

    def _opened(self, response: Response) -> None:
        location = find_location(response.headers)
        if not response.is_success:
            self._no_session = f"the new start was answered {response.status}, so there is no session to report to"
        elif location is None:
            self._no_session = "the new start was answered without a Location, so there is no session to report to"
        else:
            self._new_session_id = session_id_in(location)
            self._no_session = f"there is no session ID in the new start's Location, {location!r}"

    def _reason(self, steps: list[Step]) -> str | None:
        """Return what kept the session, or the rest of it, from being sent; None where nothing did."""
        reasons = {step.reason: None for step in steps if step.outcome is StepOutcome.SKIPPED}
        if not steps:
            return "it has no exchanges"
        if len(reasons) == 1 and all(step.outcome is StepOutcome.SKIPPED for step in steps):
            return next(iter(reasons))
        return next((reason for reason in reasons if reason in (self._no_session, self._engine._stop_reason)), None)


def _step(planned: PlannedStep, outcome: StepOutcome, **rest: Any) -> Step:
    return Step(
        seq=planned.seq,
        event_type=planned.event_type,
        outcome=outcome,
        recorded_status=None if planned.recorded is None else planned.recorded.status,
        **rest,
    )
