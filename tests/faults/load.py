"""Players that report playbacks through recorders at a steady rate, an upstream that answers them, and what both noted.

All of it runs in one thread beside the test. Each request has an id in its body, by which it is found again at upstream
and in the store. Players never send a request twice: what got no answer may or may not have been stored.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

from tests.builders import body, event_dict

EVENTS_PER_SESSION = 25
ANSWER_WITHIN_S = 60
"""How long a player waits; longer than any outage that a test makes, so that it shows as a slow answer."""
RECONNECT_AFTER_S = 0.02
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LOCATION = re.compile(rb"(?i)\r\nlocation: *(\S+)")
ID = re.compile(rb'"id":"([^"]+)"')


@dataclass(frozen=True)
class Answered:
    """A request that got an answer of upstream: the path of its session, its number in it, and when it was sent.

    ``sent_s`` is of `time.monotonic`; ``took_s`` is the time until the whole answer was there.
    """

    id: str
    session: str
    number: int
    sent_s: float
    took_s: float


@dataclass
class Notes:
    """What players saw.

    Attributes:
        answered: Requests that upstream answered, by id.
        unsure: Ids of requests that got no answer, because their connection ended.
        refused: Statuses of the recorder's own answers, by id.
        straight: When requests were sent that went to upstream itself, and how many seconds they took: what the machine adds.
        durable: The same of writes to a file that last, as a recorder waits for them before it answers.
    """

    answered: dict[str, Answered] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    straight: list[tuple[float, float]] = field(default_factory=list)
    durable: list[tuple[float, float]] = field(default_factory=list)

    def slowest_s(self, since_s: float = 0, until_s: float = float("inf")) -> float:
        """Return how long the slowest of the answered requests took that were sent in a time."""
        return max((a.took_s for a in self.answered.values() if since_s <= a.sent_s < until_s), default=0.0)

    def machine_s(self) -> float:
        """Return how long the slowest request took that met no recorder, and the slowest write."""
        slowest = (max((took_s for _, took_s in each), default=0.0) for each in (self.straight, self.durable))
        return sum(slowest)


class Theatre:
    """A thread with an event loop, in which upstream and players live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.upstream = Upstream()
        self.upstream.port = self.do(self.upstream.open())

    def do[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    @contextmanager
    def playing(self, ports: Sequence[int], *, players: int, rate: float | None) -> Iterator[Notes]:
        """Let players play through recorders on these ports meanwhile; at the end each finishes the request in hand.

        Args:
            ports: The recorders; players are shared out among them.
            players: How many play at a time, each on a connection that it keeps.
            rate: Requests a second of all together; None for as fast as they can.
        """
        company = Company(ports, self.upstream.port, players, rate)
        over = asyncio.run_coroutine_threadsafe(company.play(), self.loop)
        try:
            yield company.notes
        finally:
            self.loop.call_soon_threadsafe(company.stop)
            over.result()

    def play(self, ports: Sequence[int], *, players: int, requests: int) -> tuple[Notes, float]:
        """Let players send so many requests as fast as they can; return what they noted and the seconds it took."""
        company = Company(ports, None, players, None, requests)
        began_s = time.monotonic()
        self.do(company.play())
        return company.notes, time.monotonic() - began_s

    def close(self) -> None:
        self.do(self.upstream.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upstream:
    """Answers starts with 201 and all else with 204; notes the id of each request in the order of arrival."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[str] = []
        self.sessions = itertools.count(1)
        self._server: asyncio.Server | None = None
        self.connections: set[asyncio.BaseTransport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> int:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Serving(self), "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for each in list(self.connections):
            each.close()
        await self._server.wait_closed()


class _Messages(asyncio.Protocol):
    """Cuts what comes in into heads and bodies; bodies have a length or are empty."""

    transport: asyncio.Transport
    _data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            content, self._data = self._data[end + 4 : whole], self._data[whole:]
            self.message(head, content)

    def message(self, head: bytes, content: bytes) -> None:
        raise NotImplementedError


class _Serving(_Messages):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._upstream.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connections.discard(self.transport)

    def message(self, head: bytes, content: bytes) -> None:
        if found := ID.search(content):
            self._upstream.received.append(found[1].decode())
        if b"/sessions HTTP/" in head:
            location = f"/api/v1/sessions/{next(self._upstream.sessions):064x}"
            self.transport.write(f"HTTP/1.1 201 Created\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


class _Asking(_Messages):
    """A connection on which requests are sent, each when the one before was answered."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self.is_lost = False

    def message(self, head: bytes, content: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(head)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the head of its answer.

        Raises:
            ConnectionResetError: The connection ended before the answer.
            TimeoutError: There was none for a minute.
        """
        if self.is_lost:
            raise ConnectionResetError
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self.transport.write(request)
        timer = asyncio.get_running_loop().call_later(ANSWER_WITHIN_S, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()


def _give_up(answer: asyncio.Future[bytes]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class Company:
    """Players who play at the same time."""

    def __init__(
        self,
        ports: Sequence[int],
        straight_port: int | None,
        players: int,
        rate: float | None,
        requests: int | None = None,
    ) -> None:
        self.notes = Notes()
        self._ports = ports
        self._straight_port = straight_port
        self._players = players
        self._period_s = 0.0 if rate is None else players / rate
        self._left = requests
        self._over = False
        self._ids = itertools.count(1)

    def stop(self) -> None:
        """Let each player finish the request in hand, and no more."""
        self._over = True

    async def play(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._players):
                group.create_task(self._play(number))
            if self._straight_port is not None:
                group.create_task(self._go_straight(self._straight_port))
                group.create_task(self._write())

    async def _play(self, player: int) -> None:
        port = self._ports[player % len(self._ports)]
        due_s = time.monotonic() + self._period_s * player / self._players
        connection: _Asking | None = None
        session, number = "", 0
        while not self._over:
            if self._left is not None:
                if self._left <= 0:
                    break
                self._left -= 1
            if self._period_s:
                await asyncio.sleep(due_s - time.monotonic())
                due_s = max(due_s + self._period_s, time.monotonic())
            if connection is None or connection.is_lost:
                connection = await self._connected(port)
                if connection is None:
                    break
            head = await self._ask(connection, session, number, f"{next(self._ids)}")
            if head is None:
                connection.transport.abort()
                connection = None
            if session:
                session = "" if number == EVENTS_PER_SESSION else session
            elif head and (location := _LOCATION.search(head)):
                session = location[1].decode()
            number = number + 1 if session else 0
        if connection is not None:
            connection.transport.close()

    async def _ask(self, connection: _Asking, session: str, number: int, id: str) -> bytes | None:
        """Send an event, or the start of a session; return the head of its answer, if upstream gave one."""
        sent_s = time.monotonic()
        try:
            head = await connection.ask(request(session, number, id, last=number == EVENTS_PER_SESSION))
        except (ConnectionResetError, TimeoutError):
            self.notes.unsure.add(id)
            return None
        took_s = time.monotonic() - sent_s
        status = int(head[9:12])
        if status >= 500:
            self.notes.refused[id] = status
            return None
        location = _LOCATION.search(head)
        path = session or (location[1].decode() if location else "")
        self.notes.answered[id] = Answered(id, path, number, sent_s, took_s)
        return head

    async def _connected(self, port: int) -> _Asking | None:
        """Connect, again and again while nobody listens."""
        while not self._over:
            with suppress(OSError):
                return (await asyncio.get_running_loop().create_connection(_Asking, "127.0.0.1", port))[1]
            await asyncio.sleep(RECONNECT_AFTER_S)
        return None

    async def _go_straight(self, port: int) -> None:
        """Ask upstream itself now and then: how slow that is tells how busy this machine is."""
        connection = await self._connected(port)
        while not self._over and connection is not None:
            sent_s = time.monotonic()
            await connection.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.notes.straight.append((sent_s, time.monotonic() - sent_s))
            await asyncio.sleep(0.02)
        if connection is not None:
            connection.transport.close()

    async def _write(self) -> None:
        """Write to a file now and then, and wait until that lasts: a busy disk takes seconds for it."""

        def synced() -> None:
            file.write(b"x")
            os.fsync(file.fileno())

        with tempfile.TemporaryFile(buffering=0) as file:
            while not self._over:
                began_s = time.monotonic()
                await asyncio.to_thread(synced)
                self.notes.durable.append((began_s, time.monotonic() - began_s))
                await asyncio.sleep(0.1)


def request(session: str, number: int, id: str, *, last: bool = False) -> bytes:
    """Return an event of a session, or a start where there is no session, with an id in its body."""
    kind = "sessionStart" if not session else "sessionEnd" if last else "play" if number == 1 else "ping"
    ts = int(time.time() * 1000)
    content = body(event_dict(kind, playhead=number, ts=ts, customMetadata={"id": id}))
    path = f"{session}/events" if session else "/api/v1/sessions"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
