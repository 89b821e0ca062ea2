"""HTTP/1.1 as bytes: a device that sends what it likes, and an upstream that answers what it likes."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from tests.builders import body, event_dict

WITHIN_S = 60
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
START = body(event_dict("sessionStart"))
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /api/v1/sessions/4a0f\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """One end of a connection, read message by message."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._data = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self) -> bytes:
        """Return the bytes of the next head, the empty line included."""
        return self._take(max(0, self._until(b"\r\n\r\n")))

    def pieces(self, size: int) -> Iterator[bytes]:
        """Give so many bytes, as they come."""
        while size > 0 and (self._data or self._more()):
            piece = self._take(size)
            size -= len(piece)
            yield piece

    def message(self) -> bytes:
        """Return the bytes of the next message; fewer if the other end closes, none if it has closed before it."""
        if (end := self._until(b"\r\n\r\n")) < 0:
            return self._take(len(self._data))
        head = self._data[:end]
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) and not head.startswith(b"HTTP/1.1 204"):
            return self._take(self._chunks_end(end) or len(self._data))
        length = _LENGTH.search(head)
        whole = end + (int(length[1]) if length else 0)
        while len(self._data) < whole and self._more():
            pass
        return self._take(whole)

    def rest(self) -> bytes:
        """Return all that comes until the other end closes."""
        while self._more():
            pass
        return self._take(len(self._data))

    def _chunks_end(self, at: int) -> int:
        """Return where the empty line behind the last chunk and its trailers ends; 0 if the other end closes before."""
        while True:
            while (line := self._data.find(b"\r\n", at)) < 0:
                if not self._more():
                    return 0
            size = int(self._data[at:line].split(b";")[0], 16)
            if size == 0:
                break
            at = line + 2 + size + 2
        while b"\r\n\r\n" not in self._data[line:]:
            if not self._more():
                return 0
        return self._data.index(b"\r\n\r\n", line) + 4

    def _until(self, mark: bytes) -> int:
        while (at := self._data.find(mark)) < 0:
            if not self._more():
                return -1
        return at + len(mark)

    def _more(self) -> bool:
        with suppress(ConnectionResetError):
            if piece := self.connection.recv(1 << 20):
                self._data += piece
                return True
        return False

    def _take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken


Answer = Callable[[Peer, bytes], object]
"""Gets a connection and the request that came on it."""


def well(peer: Peer, _: bytes) -> None:
    peer.send(CREATED)


@dataclass
class Upstream:
    """A server that answers each request by a function.

    Attributes:
        answer: What it does with a request; a test may change it at any time.
        received: The requests, as bytes, in the order in which they were complete.
        handle: What it does with a connection, if not that.
    """

    answer: Answer = well
    received: list[bytes] = field(default_factory=list)
    handle: Callable[[Peer], object] | None = None
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=256))
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        self._begin(self._accept)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WITHIN_S)
        self._listener.close()

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.add(connection)
                self._begin(self._handle, connection)

    def _handle(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            peer = Peer(connection)
            if self.handle is not None:
                self.handle(peer)
            while request := peer.message():
                self.received.append(request)
                self.answer(peer, request)
        self._open.discard(connection)


@contextmanager
def upstream(answer: Answer = well) -> Iterator[Upstream]:
    found = Upstream(answer)
    found.serve()
    try:
        yield found
    finally:
        found.close()


@contextmanager
def device(port: int, *, tls: bool = False) -> Iterator[Peer]:
    """A connection to a recorder; nothing of its certificate is checked."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        if not tls:
            yield Peer(connection)
            return
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(connection, server_hostname="localhost") as wrapped:
            yield Peer(wrapped)


def post(
    path: str = "/api/v1/sessions", content: bytes = START, *lines: bytes, close: bool = False, framed: bool = True
) -> bytes:
    """Return a request; with ``framed`` it has the length of its content."""
    head = [f"POST {path} HTTP/1.1".encode(), b"Host: x", b"Content-Type: application/json", *lines]
    head += [b"Content-Length: %d" % len(content)] if framed else []
    head += [b"Connection: close"] if close else []
    return b"\r\n".join([*head, b"", b""]) + content
