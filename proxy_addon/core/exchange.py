"""One round trip as it was on the wire, frozen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from proxy_addon.core.events import Body, read_body
from proxy_addon.core.routes import Operation, Route, parse_route

Headers = tuple[tuple[str, str], ...]
"""Header names and values in the order they came, repeats kept; each byte is the Latin-1 character of its number."""


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
"""Names of headers, in lower case, that are about one connection and not the message (RFC 9110, 7.6.1 and 11.7)."""


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
    """Upstream took the request and died, or its answer was no HTTP; the device got 502."""
    REJECTED = "rejected"
    """The proxy refused the request itself."""


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of a header, its name in any case; None where it is not there."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the device sent.

    Attributes:
        path: With query, each byte as its Latin-1 character; origin form also where the device sent absolute form.
        http_version: ``HTTP/1.0``, ``HTTP/1.1`` or ``HTTP/2``.
        body: The bytes as they were on the wire, compressed ones still compressed, without transfer coding.
        complete: False where the device left in the middle of its body; then ``body`` is what had arrived.
    """

    method: str
    path: str
    http_version: str = "HTTP/1.1"
    headers: Headers = ()
    body: bytes = b""
    complete: bool = True

    @cached_property
    def body_sha256(self) -> str:
        """SHA-256 of the body, as hexadecimal digits."""
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def reading(self) -> Body:
        """What the body reports; read once, whoever asks."""
        return read_body(self.body)


@dataclass(frozen=True, kw_only=True)
class Response:
    """What upstream answered. ``body`` is as on the wire, without transfer coding."""

    status: int
    reason: str = ""
    http_version: str = "HTTP/1.1"
    headers: Headers = ()
    body: bytes = b""

    @cached_property
    def body_sha256(self) -> str:
        """SHA-256 of the body, as hexadecimal digits."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and the response, or the outcome, it got.

    Attributes:
        id: Unique among all recorders of a store.
        upstream: The server asked, as the user named it, without a trailing slash.
        received_at: Arrival of the request's first byte, aware UTC with microseconds.
        duration_us: From there to the last byte of the answer, in microseconds; None where none was complete.
        client_address: The device's address; None where it is not known.
        server_address: Address and port that were connected to, whatever upstream is called; None where none was.
        response: Upstream's; None where it gave none, also when the proxy answered in its place.
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

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is None:
            raise ValueError("received_at must be an aware datetime")

    @cached_property
    def route(self) -> Route:
        """What the request is about; ``other`` for a path that would not be recorded."""
        return parse_route(self.request.method, self.request.path) or Route(operation=Operation.OTHER)

    @property
    def is_accepted(self) -> bool:
        """Whether upstream's complete answer was one of 2xx."""
        return self.outcome is Outcome.ANSWERED and self.response is not None and self.response.is_success
