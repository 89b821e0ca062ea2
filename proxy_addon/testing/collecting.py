"""A collector in this process, for a test to look at and to order faults from."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Condition
from types import TracebackType
from typing import Any, Self

from proxy_addon.collector.backend import Arrival, Backend, Decision
from proxy_addon.collector.faults import Fault, Faults
from proxy_addon.collector.players import Players
from proxy_addon.collector.recorded import Ending
from proxy_addon.collector.server import Address, Collector, collecting
from proxy_addon.core.events import Event
from proxy_addon.core.exchange import COLLECTOR, Exchange, Outcome, Request
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.errors import SessiontapeError
from proxy_addon.reporting.words import counted
from proxy_addon.testing.threads import in_thread

WAIT_S = 10.0
"""How long `RunningCollector.wait_for` waits unless told otherwise."""


class NothingCame(SessiontapeError, TimeoutError):
    """What a test waited for did not come in time; the message says what came instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """One event that a collector received.

    Attributes:
        event: The event, as far as it can be read.
        body: The decoded event with all its members.
        session_id: The session ID in the path, or the new one of a start; None if it got none.
        status: Of the answer; None if it gets none.
        received_at: When its request arrived, aware UTC.
    """

    event: Event
    body: Mapping[str, Any]
    session_id: str | None
    status: int | None
    received_at: datetime

    @property
    def type(self) -> str | None:
        """The ``eventType``."""
        return self.event.type

    @property
    def playhead_s(self) -> int | float | None:
        """Position in the main content, in seconds."""
        return self.event.playhead_s

    @property
    def ts_ms(self) -> int | None:
        """The device's clock in Unix milliseconds."""
        return self.event.ts_ms

    @property
    def params(self) -> Mapping[str, Any]:
        """The ``params``; empty if there are none."""
        return self.event.params


@dataclass(slots=True)
class _Kept:
    exchange: Exchange
    session_id: str | None
    events: list[ReceivedEvent] = field(default_factory=list)


class RunningCollector:
    """A collector on a free port of this machine, in a thread of its own; a context manager.

    It answers as `sessiontape collector` does. All methods may be called from any thread.

    Attributes:
        url: Where it listens, such as ``http://127.0.0.1:49152``.
        host: Its address and port, such as ``127.0.0.1:49152``.
        remarks: What players sent that the recording does not have, one line for each kind.
    """

    url: str
    host: str

    def __init__(
        self,
        recorded: HeldSession | Sequence[HeldSession] | None = None,
        faults: Iterable[str] = (),
        policy: Policy = DEFAULT,
        speed: float | str = 1,
    ) -> None:
        """Make a collector that does not listen yet.

        Args:
            recorded: A session to answer from, or all attempts to start it; None to answer by the protocol alone.
            faults: Faults from the beginning, as for ``--fault``.
            policy: Which findings are errors; a body with an error is refused.
            speed: By how much recorded delays are divided; ``"max"`` for no delays.

        Raises:
            SettingsError: A fault or the speed cannot be understood.
        """
        self._recorded = [recorded] if isinstance(recorded, HeldSession) else list(recorded or ())
        self._faults = [Fault.parse(text) for text in faults]
        self._policy = policy
        self._speed = Speed.parse(str(speed))
        self._changed = Condition()
        self._kept: list[_Kept] = []
        self._pending: dict[int, _Kept] = {}
        self._ordered = Faults(self._faults)
        self.remarks: list[str] = []
        self._backend = self._new_backend()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.url = self._open.enter_context(in_thread(self._serving, "sessiontape collector"))
        self.host = self.url.rpartition("/")[2]
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    @property
    def sessions(self) -> list[HeldSession]:
        """The sessions in what was received, with the answers that were given, by the time of their first request."""
        with self._changed:
            exchanges = [each.exchange for each in self._kept]
        return fold(sorted(exchanges, key=lambda exchange: exchange.received_at))

    def events(self, type: str | None = None) -> list[ReceivedEvent]:
        """Return the events received so far, of all types or one, in the order in which their requests were complete."""
        with self._changed:
            return self._events(type)

    def wait_for(self, type: str, timeout: float = WAIT_S, count: int = 1) -> ReceivedEvent:
        """Wait until so many events of a type have been received, and return the last of them.

        Events from before the call count, too. In a coroutine, ``await asyncio.to_thread(collector.wait_for, …)`` keeps
        its event loop running.

        Args:
            type: Such as ``sessionEnd``.
            timeout: Seconds.
            count: 2 for the second such event, and so on.

        Raises:
            NothingCame: They did not arrive in time.
        """
        until_s = time.monotonic() + timeout
        with self._changed:
            while len(found := self._events(type)) < count:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    found = self._events(type)
                    if len(found) < count:
                        raise NothingCame(self._instead_of(type, count, timeout))
            return found[count - 1]

    def order(self, fault: str) -> None:
        """Add a fault, written as for ``--fault``; it counts the requests from now on.

        Raises:
            SettingsError: It cannot be understood.
        """
        ordered = Fault.parse(fault)
        with self._changed:
            self._ordered.add(ordered)

    def forgive(self) -> None:
        """Forget the faults that were ordered; those from the beginning stay, and go on counting."""
        with self._changed:
            self._ordered.forget(len(self._faults))

    def clear(self) -> None:
        """Begin anew, as if just started: forget what was received, all sessions, and the faults that were ordered."""
        with self._changed:
            self._kept.clear()
            self._ordered = Faults(self._faults)
            self._backend = self._new_backend()
            self._changed.notify_all()

    def _new_backend(self) -> Backend:
        return Backend(
            _new_id,
            faults=self._ordered,
            players=Players((held.exchanges for held in self._recorded), new_id=_new_id, say=self.remarks.append),
            speed=self._speed,
            policy=self._policy,
        )

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[str]:
        async with collecting(Collector(self._decide, self), Address(port=0)) as url:
            yield url

    def _decide(self, request: Request) -> Decision:
        with self._changed:
            return self._backend.decide(request)

    def received(self, arrival: Arrival, decision: Decision) -> None:
        """Keep a request; called by the server."""
        request, response = arrival.request, decision.response
        kept = _Kept(
            Exchange(
                id=secrets.token_hex(16),
                upstream=COLLECTOR,
                received_at=arrival.received_at,
                client_address=arrival.client_address,
                outcome=_outcome(request, decision),
                request=request,
                response=response,
            ),
            decision.session_id,
            [
                ReceivedEvent(
                    event=event,
                    body=value if isinstance(value, dict) else {},
                    session_id=decision.session_id,
                    status=None if response is None else response.status,
                    received_at=arrival.received_at,
                )
                for event, value in _events_in(request)
            ],
        )
        with self._changed:
            self._kept.append(kept)
            if request.complete:
                self._pending[id(arrival)] = kept
            self._changed.notify_all()

    def ended(self, arrival: Arrival, *, answered: bool) -> None:
        """Keep how a request ended; called by the server."""
        with self._changed:
            kept = self._pending.pop(id(arrival), None)
            if kept is not None and answered:
                duration_us = round((time.monotonic() - arrival.monotonic_s) * 1_000_000)
                kept.exchange = replace(kept.exchange, duration_us=duration_us)

    def _events(self, type: str | None) -> list[ReceivedEvent]:
        return [event for kept in self._kept for event in kept.events if type is None or event.type == type]

    def _instead_of(self, type: str, count: int, timeout: float) -> str:
        came = [event.type or "an event without a type" for event in self._events(None)]
        what = f"no {type}" if count == 1 else f"only {counted(came.count(type), type)}"
        return f"{what} within {timeout:g} s; received: {', '.join(came) or 'nothing'}"


def _events_in(request: Request) -> Iterator[tuple[Event, Any]]:
    reading = request.reading
    values = reading.value if reading.is_batch else [reading.value]
    return zip(reading.events, values, strict=False)


def _outcome(request: Request, decision: Decision) -> Outcome:
    if not request.complete and decision.response is None:
        return Outcome.CLIENT_GONE
    if decision.response is not None:
        return Outcome.ANSWERED
    return Outcome.UPSTREAM_TIMEOUT if decision.ending is Ending.HANG else Outcome.UPSTREAM_CLOSED


def _new_id() -> str:
    return secrets.token_hex(32)
