"""Ingest's end of the connection to those who want to know what is filed; `proxy_addon.journal.client` is the other one.

Ingest listens on a port of this machine and writes into the journal's folder how to reach it. Nobody who does not know the
secret in that note is heard.
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
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy_addon.journal import folders
from proxy_addon.journal.messages import (
    QUESTION_BYTES,
    Away,
    Bye,
    Flush,
    Flushed,
    Frames,
    FromIngest,
    Hello,
    Marks,
    News,
    Note,
    Welcome,
    encoded,
    frame_of,
    from_client,
    note_in,
)

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


class _Peer:
    """A client, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = Frames(QUESTION_BYTES)
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
        note = Note(port=self._listening.getsockname()[1], secret=self._secret, pid=os.getpid())
        try:
            _write_whole(self._path, encoded(note))
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
        frame = frame_of(message)
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
            if note_in(self._path).secret == self._secret:
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
            message = from_client(frame)
        except msgspec.ValidationError:  # from a newer client
            return
        match message:
            case Hello() if hmac.compare_digest(message.secret.encode(), self._secret.encode()):
                with self._lock:
                    peer.hello = message
                    peer.unsent += frame_of(Welcome())
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


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file, readable only by its owner, that nobody finds in part."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
