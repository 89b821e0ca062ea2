"""The connection between those who want to know what is filed, and the ingest process that files it.

Ingest listens on a port of this machine and writes into the journal's folder how to reach it. Messages are JSON with four
bytes of length in front; each has a ``type``. Types and members that the other end does not know are passed over. Nobody
who does not know the secret in that note is heard.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from proxy_addon.journal import folders
from proxy_addon.journal.reading import Waiting, living, waiting
from proxy_addon.process import logs

logger = logs.logger(__name__)

_HEAD_BYTES = 4
_QUESTION_BYTES = 64 * 2**10
"""How long a message to ingest may be."""
_ANSWER_BYTES = 64 * 2**20
"""How long a message of ingest may be."""
_UNREAD_BYTES = 8 * 2**20
"""How much a client may leave unread before it is dropped; more than a single message adds to it."""
_CLIENTS = 256
"""How many clients are heard at a time."""
_GREETING_S = 5.0
"""How long a client may take to say who it is."""
_DEAF_S = 0.5
"""How long no client is let in after there were too many open files."""
_CLOSING_S = 1.0
"""How long the last messages may take to be sent."""


_TOO_MANY = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    pass


class Hello(_Message, frozen=True, kw_only=True):
    """The first message of a client.

    Attributes:
        run: Id of the recorder run; None if the client is no recorder.
        wants: What the client wants to be told besides: ``news``, ``marks``.
    """

    secret: str
    run: str | None = None
    wants: frozenset[str] = frozenset()


class Flush(_Message, frozen=True, kw_only=True):
    """A client wants to know when all that is in the journal now is filed; the answer has the same number."""

    number: int


class Bye(_Message, frozen=True, kw_only=True):
    """A client goes: what it wants filed has been asked for."""


class Welcome(_Message, frozen=True, kw_only=True):
    """The answer to `Hello`: the client is heard."""


class Flushed(_Message, frozen=True, kw_only=True):
    """All that was in the journal when the flush was asked for is filed."""

    number: int = 0


class Away(_Message, frozen=True, kw_only=True):
    """The store cannot be reached, so what waits in the journal stays there.

    Attributes:
        reason: As the store's error says it.
        waiting: How many entries.
    """

    reason: str
    waiting: int
    number: int = 0


class Log(_Message, frozen=True, kw_only=True):
    """A line for the log of a recorder; its ``level`` as of `logging`."""

    level: str
    text: str


class News(_Message, frozen=True, kw_only=True):
    """What happened, for the lines on the terminal; `proxy_addon.core.news` as a document. Only for who wants it."""

    news: dict[str, Any]


class Marks(_Message, frozen=True, kw_only=True):
    """Findings of an exchange, for a flow inside mitmproxy. Only for who wants it."""

    exchange: str
    marks: list[dict[str, Any]]


class Filed(_Message, frozen=True, kw_only=True):
    """So many exchanges of a run have been filed since the last such message."""

    count: int
    run: str


class Counts(_Message, frozen=True, kw_only=True):
    """The books of ingest so far.

    Attributes:
        filed: Exchanges of all runs since ingest began.
        findings: Number of findings by severity.
        store_state: ``ok``, or why the store is away.
        refused: Exchanges that the store would not take.
        failures: How often judging failed.
    """

    filed: int
    findings: dict[str, int]
    store_state: str = "ok"
    refused: int = 0
    failures: int = 0


class Schemas(_Message, frozen=True, kw_only=True):
    """A schema of an upstream was stored."""

    upstream: str


FromClient = Hello | Flush | Bye
FromIngest = Welcome | Flushed | Away | Log | News | Marks | Filed | Counts | Schemas


_encoded = msgspec.json.Encoder().encode
_from_client = msgspec.json.Decoder(FromClient).decode
_from_ingest = msgspec.json.Decoder(FromIngest).decode


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest can be reached, in the folder."""

    port: int
    secret: str
    pid: int


class _Peer:
    """A client, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = _Frames(_QUESTION_BYTES)
        self.unsent = bytearray()
        self.hello: Hello | None = None
        self.greets_until_s = time.monotonic() + _GREETING_S

    def is_told(self, message: FromIngest, run: str | None) -> bool:
        if self.hello is None:
            return False
        if isinstance(message, News | Marks):
            return type(message).__name__.lower() in self.hello.wants and run in {None, self.hello.run}
        return self.hello.run is not None and run in {None, self.hello.run}


class Asked:
    """A flush that a client asked for; answer it once."""

    def __init__(self, server: Server, peer: _Peer, number: int) -> None:
        self._server = server
        self._peer = peer
        self._number = number

    def answer(self, message: Flushed | Away) -> None:
        """Send the answer; do nothing if the client is gone."""
        self._server._send([self._peer], msgspec.structs.replace(message, number=self._number))


class Server:
    """Ingest's end: a thread that never waits for a client. One that does not read is dropped.

    Attributes:
        woken: Set when a flush was asked for or a client came or went; cleared by who waits for it.
        had_recorder: Whether a recorder has ever been connected.
    """

    def __init__(self, folder: Path) -> None:
        """Listen, write into the folder how to be reached, and start the thread.

        Raises:
            OSError: The folder cannot be written.
        """
        self.woken = threading.Event()
        self.had_recorder = False
        self._path = folder / folders.INGEST
        self._secret = secrets.token_hex(16)
        self._peers: list[_Peer] = []
        self._asked: list[Asked] = []
        self._lock = threading.Lock()
        self._closing_at_s: float | None = None
        self._deaf_until_s: float | None = None
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=_CLIENTS)
        self._listening.setblocking(False)  # noqa: FBT003  # the library's signature
        self._waking, self._bell = socket.socketpair()
        self._waking.setblocking(False)  # noqa: FBT003  # as above
        self._bell.setblocking(False)  # noqa: FBT003  # as above
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._waking, selectors.EVENT_READ)
        note = _Note(port=self._listening.getsockname()[1], secret=self._secret, pid=os.getpid())
        try:
            _write_whole(self._path, _encoded(note))
        except OSError:
            self._close_all()
            raise
        self._thread = threading.Thread(target=self._run, name="sessiontape-channel", daemon=True)
        self._thread.start()

    def recorders(self) -> list[str]:
        """Return the ids of the runs that are connected, one for each connection."""
        with self._lock:
            return [peer.hello.run for peer in self._peers if peer.hello is not None and peer.hello.run is not None]

    def clients(self) -> int:
        """Return how many clients are connected, recorders included."""
        with self._lock:
            return sum(peer.hello is not None for peer in self._peers)

    def asked(self) -> list[Asked]:
        """Return the flushes that were asked for since the last call."""
        with self._lock:
            asked, self._asked = self._asked, []
        return asked

    def wants(self, what: str) -> bool:
        """Whether any client wants to be told of something: ``news``, ``marks``."""
        with self._lock:
            return any(peer.hello is not None and what in peer.hello.wants for peer in self._peers)

    def tell(self, message: FromIngest, run: str | None = None) -> None:
        """Send a message to all recorders, or to those of a run; `News` and `Marks` to those that want them."""
        with self._lock:
            peers = [peer for peer in self._peers if peer.is_told(message, run)]
        if peers:
            self._send(peers, message)

    def _send(self, peers: Collection[_Peer], message: FromIngest) -> None:
        frame = _frame(message)
        with self._lock:
            for peer in peers:
                peer.unsent += frame
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full, so that it rings already; or closed
            self._bell.send(b"\0")

    def close(self) -> None:
        """Send what is waiting, for a moment at most, stop, and take the note out of the folder."""
        with suppress(OSError, msgspec.DecodeError):
            if _read(self._path).secret == self._secret:
                self._path.unlink()
        self._closing_at_s = time.monotonic() + _CLOSING_S
        self._ring()
        self._thread.join(2 * _CLOSING_S)

    def _run(self) -> None:
        try:
            while not self._is_over():
                for key, events in self._selector.select(self._pause_s()):
                    if key.fileobj is self._listening:
                        self._accept()
                    elif key.fileobj is self._waking:
                        with suppress(BlockingIOError):
                            self._waking.recv(4096)
                    else:
                        self._serve(key.data, events)
                now_s = time.monotonic()
                for peer in list(self._peers):
                    if peer.hello is None and now_s >= peer.greets_until_s:
                        self._drop(peer)
                    else:
                        self._send_unsent(peer)
                if self._deaf_until_s is not None and now_s >= self._deaf_until_s:
                    self._deaf_until_s = None
                    self._selector.register(self._listening, selectors.EVENT_READ)
        finally:
            self._close_all()

    def _pause_s(self) -> float | None:
        """Return how long nothing but what comes in has to be looked at; None for ever."""
        if self._closing_at_s is not None:
            return 0.05
        due = [peer.greets_until_s for peer in self._peers if peer.hello is None]
        if self._deaf_until_s is not None:
            due.append(self._deaf_until_s)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _is_over(self) -> bool:
        if self._closing_at_s is None:
            return False
        with self._lock:
            return time.monotonic() > self._closing_at_s or not any(peer.unsent for peer in self._peers)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError as e:
            if e.errno in _TOO_MANY:  # it still waits to be let in: looking again at once would go on without end
                self._selector.unregister(self._listening)
                self._deaf_until_s = time.monotonic() + _DEAF_S
            return  # otherwise it is gone again
        if len(self._peers) >= _CLIENTS:
            connection.close()
            return
        connection.setblocking(False)  # noqa: FBT003  # the library's signature
        peer = _Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        with self._lock:
            self._peers.append(peer)

    def _serve(self, peer: _Peer, events: int) -> None:
        if not events & selectors.EVENT_READ:
            return
        try:
            data = peer.connection.recv(2**16)
            if not data:
                raise ConnectionResetError
            for frame in peer.frames.feed(data):
                self._hear(peer, frame)
        except BlockingIOError:
            pass
        except (OSError, msgspec.DecodeError, ValueError):
            self._drop(peer)

    def _hear(self, peer: _Peer, frame: bytes) -> None:
        try:
            message = _from_client(frame)
        except msgspec.ValidationError:  # from a newer client
            return
        match message:
            case Hello() if hmac.compare_digest(message.secret.encode(), self._secret.encode()):
                with self._lock:
                    peer.hello = message
                    peer.unsent += _frame(Welcome())
                self.had_recorder = self.had_recorder or message.run is not None
            case Flush() if peer.hello is not None:
                with self._lock:
                    self._asked.append(Asked(self, peer, message.number))
            case Bye():
                raise ConnectionResetError
            case _:
                raise ConnectionRefusedError
        self.woken.set()

    def _send_unsent(self, peer: _Peer) -> None:
        if peer.connection.fileno() < 0:
            return
        try:
            with self._lock:
                if peer.unsent:
                    del peer.unsent[: peer.connection.send(peer.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if len(peer.unsent) > _UNREAD_BYTES:
            self._drop(peer)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.unsent else 0)
        if self._selector.get_key(peer.connection).events != wanted:
            self._selector.modify(peer.connection, wanted, peer)

    def _drop(self, peer: _Peer) -> None:
        with self._lock:
            if peer not in self._peers:
                return
            self._peers.remove(peer)
        self._selector.unregister(peer.connection)
        peer.connection.close()
        self.woken.set()

    def _close_all(self) -> None:
        for peer in self._peers:
            peer.connection.close()
        self._selector.close()
        for each in (self._listening, self._waking, self._bell):
            each.close()


class Client:
    """The other end: a thread that calls back."""

    def __init__(
        self,
        folder: Path,
        *,
        on: Callable[[FromIngest], object],
        on_closed: Callable[[], object] | None = None,
        run: str | None = None,
        wants: Collection[str] = (),
        timeout_s: float = 2.0,
    ) -> None:
        """Connect to the ingest process of a folder.

        Args:
            on: Called in the client's thread with each message but the answers of `flush`.
            on_closed: Called in the client's thread if ingest has gone without `close` being called.

        Raises:
            ConnectionError: No ingest process can be reached.
        """
        self._on = on
        self._on_closed = on_closed
        self._is_closing = False
        self._flushing = threading.Lock()
        self._sending = threading.Lock()
        self._answered = threading.Condition()
        self._answer: Flushed | Away | None = None
        self._number = 0
        self._is_gone = False
        try:
            note = _read(folder / folders.INGEST)
            self._connection = socket.create_connection(("127.0.0.1", note.port), timeout_s)
        except (OSError, msgspec.DecodeError) as e:
            raise ConnectionError(f"no ingest process can be reached by {folder}: {e}") from e
        self._frames = _Frames(_ANSWER_BYTES)
        try:
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._send(Hello(secret=note.secret, run=run, wants=frozenset(wants)))
            self._coming = self._messages()
            first = next(self._coming, None)
        except (OSError, ValueError) as e:
            self._connection.close()
            raise ConnectionError(f"no ingest process answers for {folder}: {e}") from e
        if not isinstance(first, Welcome):
            self._connection.close()
            raise ConnectionError(f"what answers for {folder} is no ingest process")
        self._connection.settimeout(None)
        self._thread = threading.Thread(target=self._run, name="sessiontape-channel", daemon=True)
        self._thread.start()

    def flush(self, timeout_s: float) -> Flushed | Away | None:
        """Have all filed that is in the journal now, and return the answer; None if none came in time."""
        with self._flushing:
            self._number += 1
            with suppress(OSError):
                self._send(Flush(number=self._number))
            with self._answered:
                self._answered.wait_for(self._is_answered, timeout_s)
                answer = self._answer
            return answer if answer is not None and answer.number == self._number else None

    def _is_answered(self) -> bool:
        return self._is_gone or (self._answer is not None and self._answer.number == self._number)

    def close(self) -> None:
        """Say goodbye and end the thread."""
        self._is_closing = True
        with suppress(OSError):
            self._send(Bye())
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _send(self, message: FromClient) -> None:
        with self._sending:
            self._connection.sendall(_frame(message))

    def _messages(self) -> Iterator[FromIngest]:
        """Yield messages until the connection ends.

        Raises:
            OSError: It ended badly.
            ValueError: What came is no message.
        """
        while data := self._connection.recv(2**16):
            for frame in self._frames.feed(data):
                with suppress(msgspec.ValidationError):  # from a newer ingest
                    yield _from_ingest(frame)

    def _run(self) -> None:
        try:
            for message in self._coming:
                if isinstance(message, Flushed | Away):
                    with self._answered:
                        self._answer = message
                        self._answered.notify_all()
                else:
                    self._call(self._on, message)
        except (OSError, ValueError) as e:
            if not self._is_closing:
                logger.warning(f"the connection to ingest broke: {e}")
        self._connection.close()
        with self._answered:
            self._is_gone = True
            self._answered.notify_all()
        if not self._is_closing and self._on_closed is not None:
            self._call(self._on_closed)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except Exception:  # the next message must be heard all the same
            logger.exception("what ingest said could not be handled")


def await_filed(folder: Path, timeout_s: float = 2.0) -> Waiting | None:
    """Wait briefly until what is in a folder's journal is filed, so that a store is read with it.

    Returns:
        What still waits after that; None if nothing does, at once if nothing did.
    """
    until_s = time.monotonic() + timeout_s
    left = waiting(folder)
    while left is not None:
        answer = _flushed(folder, max(0.0, until_s - time.monotonic()))
        if isinstance(answer, Flushed):
            return None
        left = waiting(folder)
        # Beside a recorder that goes on, ingest may just be ending, or starting.
        if isinstance(answer, Away) or time.monotonic() + _AGAIN_S >= until_s or not living(folder):
            return left
        time.sleep(_AGAIN_S)
    return None


_AGAIN_S = 0.05
"""Pause before ingest is asked again."""


def _flushed(folder: Path, timeout_s: float) -> Flushed | Away | None:
    """Have what is in a folder's journal filed; None if nobody does that, or not in time."""
    try:
        client = Client(folder, on=lambda _: None, timeout_s=timeout_s)
    except ConnectionError:
        return None
    try:
        return client.flush(timeout_s)
    finally:
        client.close()


class _Frames:
    """Takes a stream of bytes apart into frames."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now.

        Raises:
            ValueError: One is too long.
        """
        self._data += data
        frames = []
        while len(self._data) >= _HEAD_BYTES:
            length = int.from_bytes(self._data[:_HEAD_BYTES])
            if length > self._most:
                raise ValueError(f"a message of {length} bytes")
            end = _HEAD_BYTES + length
            if len(self._data) < end:
                break
            frames.append(bytes(self._data[_HEAD_BYTES:end]))
            del self._data[:end]
        return frames


def _frame(message: FromClient | FromIngest) -> bytes:
    data = _encoded(message)
    return len(data).to_bytes(_HEAD_BYTES) + data


def _read(path: Path) -> _Note:
    return msgspec.json.decode(path.read_bytes(), type=_Note)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file, readable only by its owner, that nobody finds in part."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
