"""A server and a device that follow a script, byte for byte, and keep what they got."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SOON_S = 30


@dataclass
class Peer:
    """One side of a connection.

    Attributes:
        sent: All that was sent.
        received: All that came.
        is_closed: Whether the other side has closed.
    """

    socket: socket.socket
    sent: bytes = field(default=b"", repr=False)
    received: bytes = b""
    is_closed: bool = False
    _read: int = field(default=0, repr=False)

    def send(self, data: bytes) -> None:
        self.sent += data
        self.socket.sendall(data)

    def until(self, marker: bytes) -> bytes:
        """Read until a marker, which may have come already; return what came since the last call, the marker included."""
        while True:
            at = self.received.find(marker, self._read)
            if at >= 0:
                end = at + len(marker)
                found = self.received[self._read : end]
                self._read = end
                return found
            if not self._more():
                raise AssertionError(f"closed before {marker!r}: {self.received!r}")

    def to_end(self) -> bytes:
        """Read until the other side closes, and return all that came since the last call."""
        while self._more():
            pass
        found, self._read = self.received[self._read :], len(self.received)
        return found

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close so that the other side gets an error."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except (ConnectionError, ssl.SSLEOFError):
            data = b""
        self.received += data
        self.is_closed = not data
        return bool(data)


Handler = Callable[[Peer], object]


class Upstream:
    """A server that handles each connection with a function, and keeps the connections."""

    def __init__(self, handle: Handler, certificate: ssl.SSLContext | None = None) -> None:
        self.peers: list[Peer] = []
        self._handle = handle
        self._certificate = certificate
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(SOON_S)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(accepted,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(SOON_S)
        with suppress(ConnectionError, ssl.SSLError), accepted:
            if self._certificate is not None:
                accepted = self._certificate.wrap_socket(accepted, server_side=True)
            with accepted:
                peer = Peer(accepted)
                self.peers.append(peer)
                try:
                    self._handle(peer)
                except (AssertionError, TimeoutError) as e:
                    self.errors.append(e)


@contextmanager
def upstream(handle: Handler, certificate: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    running = Upstream(handle, certificate)
    try:
        yield running
    finally:
        running.close()
    assert not running.errors


@contextmanager
def device(port: int, *, tls: bool = False, alpn: tuple[str, ...] = ()) -> Iterator[Peer]:
    """Connect to a proxy; no certificate is checked."""
    with socket.create_connection(("127.0.0.1", port), SOON_S) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            yield Peer(plain)
            return
        with unchecked(alpn).wrap_socket(plain, server_hostname="localhost") as wrapped:
            yield Peer(wrapped)


def unchecked(alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def eventually(so: Callable[[], object], why: object = None) -> None:
    """Wait for something that gives no signal."""
    until_s = time.monotonic() + SOON_S
    while not so():
        assert time.monotonic() < until_s, why
        time.sleep(0.01)
