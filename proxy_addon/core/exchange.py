"""One request with its response, exactly as on the wire."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache

from proxy_addon.core.events import NOT_KEPT, Body, read_body
from proxy_addon.core.routes import Operation, Route, parse_route

Headers = tuple[tuple[str, str], ...]
"""Header names and values in the order of arrival, including repeats; each byte is decoded as Latin-1."""


HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Names, in lower case, of headers that concern one connection, not the message (RFC 9110, 7.6.1 and 11.7)."""


COLLECTOR = "sessiontape"
"""``Server`` of our own collector, whose word does not count against the tables it was made from."""


class Outcome(StrEnum):
    """How an exchange ended."""

    ANSWERED = "answered"
    """Upstream's answer was complete."""
    CLIENT_GONE = "client-gone"
    """The device left before upstream's answer was complete."""
    UPSTREAM_TIMEOUT = "upstream-timeout"
    """No complete answer in time; the device got 504."""
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    """No connection to upstream; the device got 502."""
    UPSTREAM_CLOSED = "upstream-closed"
    """Upstream took the request but closed the connection, or did not answer with HTTP; the device got 502. In files of
    other tools, also what has no answer for any other reason, or for none that the tool tells."""
    REJECTED = "rejected"
    """The proxy refused the request itself; in files of browsers, the browser did, and never sent it."""
    INTERRUPTED = "interrupted"
    """The recorder was told to stop while the exchange was in flight; the device got 503."""


class BodyState(StrEnum):
    """What a stored request body has to do with the bytes that the device sent; a recorder's are exact or truncated."""

    EXACT = "exact"
    DECODED = "decoded"
    """A tool decompressed it, and left ``Content-Encoding`` among the headers."""
    REBUILT = "rebuilt"
    """Written anew from what a tool kept, or in a charset that is a guess: the same content, perhaps not the same bytes."""
    DAMAGED = "damaged"
    """A tool replaced bytes that it could not read; what is left says little."""
    TRUNCATED = "truncated"
    """It was too long to keep whole; its beginning is stored, with the length and the hash of all of it."""
    MISSING = "missing"
    """The tool did not keep it, so nobody knows what it was. That is not the same as an empty body."""

    @property
    def is_known(self) -> bool:
        """Whether the content is what the device sent, so that it can be judged."""
        return self not in (BodyState.DAMAGED, BodyState.TRUNCATED, BodyState.MISSING)


@dataclass(frozen=True, slots=True)
class Whole:
    """What is known of a body of which only the beginning is stored: its length in bytes, and its SHA-256 in hex."""

    length: int
    sha256: str


@lru_cache(maxsize=512)  # the requests of a device mostly have the same headers
def header(headers: Headers, name: str) -> str | None:
    """Return the first value of a header, whose name may be in any case; None if there is no such header."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)


def shared(headers: Headers) -> Headers:
    """Return equal headers as one object, so that the exchanges of a file, which have few different ones, need less memory.

    Long ones, which are rare, stay as they are: those of all files would be kept.
    """
    length = sum(len(name) + len(value) for name, value in headers)
    return _shared(headers) if length <= _LONGEST_SHARED else headers


_LONGEST_SHARED = 4_096


@lru_cache(maxsize=512)
def _shared(headers: Headers) -> Headers:
    return headers


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the device sent.

    Attributes:
        path: Path and query in origin form, even if the device sent the absolute form; bytes are decoded as Latin-1.
        http_version: ``HTTP/1.0``, ``HTTP/1.1`` or ``HTTP/2``; ``HTTP/3`` only in files of other tools.
        body: The bytes as on the wire, without the transfer coding; a compressed body stays compressed.
        complete: False if the device disconnected while it sent the body; then ``body`` is the part that arrived.
        body_state: Whether ``body`` is what the device sent; differs from exact in files of other tools, and for bodies
            that are too long to store.
        whole: What the whole body was, if it is truncated; None for all others.
    """

    method: str
    path: str
    http_version: str = "HTTP/1.1"
    headers: Headers = ()
    body: bytes = b""
    complete: bool = True
    body_state: BodyState = BodyState.EXACT
    whole: Whole | None = None

    @cached_property
    def body_sha256(self) -> str:
        """SHA-256 of the whole body, as hexadecimal digits."""
        return self.whole.sha256 if self.whole is not None else hashlib.sha256(self.body).hexdigest()

    @cached_property
    def reading(self) -> Body:
        """What the body reports; decoded once, on first use. A body that is missing or truncated reports no event."""
        is_readable = self.body_state not in (BodyState.TRUNCATED, BodyState.MISSING)
        return read_body(self.body) if is_readable else NOT_KEPT


@dataclass(frozen=True, kw_only=True)
class Response:
    """What upstream answered.

    Attributes:
        body: As on the wire, without the transfer coding; of a body that is too long to store, the beginning.
        whole: What the whole body was, if only its beginning is stored; None otherwise.
    """

    status: int
    reason: str = ""
    http_version: str = "HTTP/1.1"
    headers: Headers = ()
    body: bytes = b""
    whole: Whole | None = None

    @cached_property
    def body_sha256(self) -> str:
        """SHA-256 of the whole body, as hexadecimal digits."""
        return self.whole.sha256 if self.whole is not None else hashlib.sha256(self.body).hexdigest()

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its response, or why there is none.

    Attributes:
        id: Unique among all recorders of a store.
        upstream: The URL of the server, as the user wrote it, without a trailing slash.
        received_at: Arrival of the request's first byte, aware UTC with microseconds.
        duration_us: Microseconds from there to the last byte of the answer; None if no answer was complete.
        client_address: The device's address; None if it is not known.
        server_address: Address and port of the connection to upstream; None if there was no connection.
        response: Upstream's response; None if there was none, even if the proxy answered instead.
        reason: A sentence on why it was not answered; None if it was, or if nobody said.
        note: What an import has to say of it; None for nothing.
    """

    id: str
    upstream: str
    received_at: datetime
    request: Request
    duration_us: int | None = None
    client_address: str | None = None
    server_address: tuple[str, int] | None = field(default=None, compare=False)
    outcome: Outcome = Outcome.ANSWERED
    response: Response | None = None
    reason: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is None:
            raise ValueError("received_at must be an aware datetime")

    @cached_property
    def route(self) -> Route:
        """What the request is about; ``other`` for a path that would not be recorded."""
        return parse_route(self.request.method, self.request.path) or Route(operation=Operation.OTHER)

    @property
    def is_accepted(self) -> bool:
        """Whether upstream's answer was complete and 2xx."""
        return self.outcome is Outcome.ANSWERED and self.response is not None and self.response.is_success
