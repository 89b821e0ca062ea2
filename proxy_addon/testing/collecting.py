"""A collector in this process, for a test to look at and to order faults from."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Condition
from types import TracebackType
from typing import Any, Self

from proxy_addon.collector.backend import Arrival, Backend, Decision
from proxy_addon.collector.faults import Fault, Faults
from proxy_addon.collector.players import Players
from proxy_addon.collector.recorded import Ending
from proxy_addon.collector.server import Address, Collector, collecting
from proxy_addon.core.events import Event, read_afresh
from proxy_addon.core.exchange import COLLECTOR, Exchange, Outcome, Request
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.wording import visible
from proxy_addon.errors import SessiontapeError
from proxy_addon.testing.threads import in_thread

WAIT_S = 10.0
"""How long `RunningCollector.wait_for` waits unless told otherwise."""
MOST_BYTES = 256 * 1024 * 1024
"""How many bytes of requests a collector keeps."""
_BYTES_OF_A_REQUEST = 2048
"""What a request without a body takes, about."""


class NothingCame(SessiontapeError, TimeoutError):
    """What a test waited for did not come in time; the message says what came instead."""


class TooMuchCame(SessiontapeError):
    """A collector received more than it keeps, so that nobody can say what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """One event that a collector received.

    Attributes:
        event: The event, as far as it can be read.
        body: The decoded event with all its members; empty if it is no object.
        session_id: The session ID in the path, or the new one of a start; None if it got none.
        exchange: The request, with the answer that it gets.
    """

    event: Event
    body: Mapping[str, Any]
    session_id: str | None
    exchange: Exchange

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

    @property
    def quality(self) -> Mapping[str, Any]:
        """The ``qoeData``; empty if there are none."""
        return self.event.quality

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The ``customMetadata``; empty if there are none."""
        value = self.body.get("customMetadata")
        return value if isinstance(value, dict) else {}

    @property
    def received_at(self) -> datetime:
        """When its request arrived, aware UTC."""
        return self.exchange.received_at

    @property
    def status(self) -> int | None:
        """Of the answer; None if it gets none, or the player left before."""
        return None if self.exchange.response is None else self.exchange.response.status


def events_in(exchange: Exchange, session_id: str | None) -> Iterator[ReceivedEvent]:
    """Yield the events in a request, which are of one session."""
    if not exchange.request.reading.events:
        return
    reading = read_afresh(exchange.request.body)  # tests may do with it what they like
    values = reading.value if reading.is_batch else [reading.value]
    for event, value in zip(reading.events, values, strict=False):
        yield ReceivedEvent(
            event=event, body=value if isinstance(value, dict) else {}, session_id=session_id, exchange=exchange
        )


@dataclass(slots=True)
class _Kept:
    exchange: Exchange
    session_id: str | None

    def events(self) -> Iterator[ReceivedEvent]:
        return events_in(self.exchange, self.session_id)


class _Received:
    """What a collector received since it was last cleared."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._under_way: dict[Arrival, _Kept] = {}
        self._by_type: defaultdict[str | None, list[_Kept]] = defaultdict(list)
        self._bytes = 0

    def add(self, arrival: Arrival, decision: Decision) -> None:
        self._bytes += len(arrival.request.body) + _BYTES_OF_A_REQUEST
        if self._bytes > MOST_BYTES:
            return
        kept = _Kept(_exchange(str(len(self._kept) + 1), arrival, decision), decision.session_id)
        self._kept.append(kept)
        if decision.ending in (Ending.ANSWER, Ending.HANG):
            self._under_way[arrival] = kept
        for event in arrival.request.reading.events:
            self._by_type[event.type].append(kept)

    def end(self, arrival: Arrival, *, answered: bool) -> None:
        kept = self._under_way.pop(arrival, None)
        if kept is None:
            return
        if answered:
            duration_us = round((time.monotonic() - arrival.monotonic_s) * 1_000_000)
            kept.exchange = replace(kept.exchange, duration_us=duration_us)
        else:
            kept.exchange = replace(kept.exchange, outcome=Outcome.CLIENT_GONE, response=None)

    def exchanges(self) -> list[Exchange]:
        self._refuse_a_part()
        return [each.exchange for each in self._kept]

    def events(self, type: str | None) -> list[ReceivedEvent]:
        self._refuse_a_part()
        return [event for kept in self._kept for event in kept.events() if type is None or event.type == type]

    def nth(self, type: str, number: int) -> ReceivedEvent | None:
        """Return the event of a type with a number, counted from 1; None if there are fewer."""
        self._refuse_a_part()
        kept = self._by_type.get(type, ())
        if len(kept) < number:
            return None
        before = sum(each is kept[number - 1] for each in kept[: number - 1])  # in the same batch
        return [event for event in kept[number - 1].events() if event.type == type][before]

    def _refuse_a_part(self) -> None:
        if self._bytes > MOST_BYTES:
            raise TooMuchCame(
                f"a collector keeps {MOST_BYTES // 1024**2} MiB of requests, and received more",
                hint="call clear() between the parts of a test",
            )


class RunningCollector:
    """A collector on a free port of this machine, in a thread of its own; a context manager.

    It answers as ``sessiontape collector`` does, and keeps what it received, up to `MOST_BYTES`. All methods may be called
    from any thread. When the block ends, it has stopped, and its thread and sockets are closed; what it received stays.

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
        self._received = _Received()
        self._is_over = False
        self._ordered = Faults(self._faults)
        self.remarks: list[str] = []
        self._backend = self._new_backend()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.url = self._open.enter_context(in_thread(self._serving, "sessiontape collector"))
        self.host = self.url.rpartition("/")[2]
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._open.close()

    @property
    def sessions(self) -> list[HeldSession]:
        """The sessions in what was received, with the answers that were given, by the time of their first request.

        Raises:
            TooMuchCame: More was received than is kept.
        """
        with self._changed:
            exchanges = self._received.exchanges()
        return fold(sorted(exchanges, key=lambda exchange: exchange.received_at))

    def events(self, type: str | None = None) -> list[ReceivedEvent]:
        """Return the events received so far, of all types or one, in the order in which their requests were complete.

        Raises:
            TooMuchCame: More was received than is kept.
        """
        with self._changed:
            return self._received.events(type)

    def wait_for(self, type: str, timeout: float = WAIT_S, count: int = 1) -> ReceivedEvent:
        """Wait until so many events of a type have been received, and return the last of them.

        Events from before the call count, too. In a coroutine, ``await asyncio.to_thread(collector.wait_for, …)`` keeps
        its event loop running.

        Args:
            type: Such as ``sessionEnd``.
            timeout: Seconds.
            count: 2 for the second such event, and so on.

        Raises:
            NothingCame: They did not arrive in time, or the collector was stopped.
            TooMuchCame: More was received than is kept.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._received.nth(type, count), timeout)
            found = self._received.nth(type, count)
            if found is None:
                raise NothingCame(self._instead_of(type, count, timeout))
            return found

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
            self._received = _Received()
            self.remarks.clear()
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
        with self._changed:
            self._received.add(arrival, decision)
            self._changed.notify_all()

    def ended(self, arrival: Arrival, *, answered: bool) -> None:
        """Keep how a request ended; called by the server."""
        with self._changed:
            self._received.end(arrival, answered=answered)

    def _instead_of(self, type: str, count: int, timeout: float) -> str:
        came = [event.type or "an event without a type" for event in self._received.events(None)]
        what = f"no {type}" if count == 1 else f"only {came.count(type)} of {count} {type}"
        when = "before the collector was stopped" if self._is_over else f"within {timeout:g} s"
        return f"{what} {when}; received: {visible(', '.join(came)) or 'nothing'}"


def _exchange(id: str, arrival: Arrival, decision: Decision) -> Exchange:
    """Return a request with the answer that it gets, as a recorder would have stored it."""
    is_whole = decision.response is not None and decision.ending is Ending.ANSWER
    return Exchange(
        id=id,
        upstream=COLLECTOR,
        received_at=arrival.received_at,
        client_address=arrival.client_address,
        outcome=_OUTCOMES[decision.ending] if arrival.request.complete or is_whole else Outcome.CLIENT_GONE,
        request=arrival.request,
        response=decision.response if is_whole else None,
    )


_OUTCOMES = {
    Ending.ANSWER: Outcome.ANSWERED,
    Ending.CUT: Outcome.UPSTREAM_CLOSED,
    Ending.CLOSE: Outcome.UPSTREAM_CLOSED,
    Ending.HANG: Outcome.UPSTREAM_TIMEOUT,
}


def _new_id() -> str:
    return secrets.token_hex(32)
