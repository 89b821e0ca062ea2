"""Write an exchange as an entry of the journal, whose heads are bytes as in HTTP/1.1, whatever was spoken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxy_addon.core.exchange import Exchange, Headers
from proxy_addon.journal.entries import Exchanged

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def entry_of(exchange: Exchange, upstream: str | None = None) -> Exchanged:
    """Return an exchange as an entry.

    Args:
        upstream: The upstream of all entries of this journal that do not name one; None if each has to name its own.
    """
    request, response = exchange.request, exchange.response
    return Exchanged(
        id=exchange.id,
        received_us=microseconds(exchange.received_at),
        outcome=exchange.outcome.value,
        request=_head(f"{request.method} {request.path} {request.http_version}", request.headers),
        request_body=request.body,
        is_complete=request.complete,
        response=(
            None
            if response is None
            else _head(f"{response.http_version} {response.status} {response.reason}", response.headers)
        ),
        response_body=b"" if response is None else response.body,
        duration_us=exchange.duration_us,
        client=exchange.client_address,
        server=exchange.server_address,
        upstream=None if exchange.upstream == upstream else exchange.upstream,
        reason=exchange.reason,
        request_length=None if request.whole is None else request.whole.length,
        request_sha256=None if request.whole is None else request.whole.sha256,
        response_length=None if response is None or response.whole is None else response.whole.length,
        response_sha256=None if response is None or response.whole is None else response.whole.sha256,
    )


def microseconds(at: datetime) -> int:
    """Return an aware time in Unix microseconds."""
    return (at - _EPOCH) // _MICROSECOND


def _head(first: str, headers: Headers) -> bytes:
    # mitmproxy leaves line breaks in a value that was folded.
    lines = (f"{name}: {value}".replace("\r\n", "") for name, value in headers)
    return "\r\n".join([first, *lines, "\r\n"]).encode("latin-1")
