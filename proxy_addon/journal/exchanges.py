r"""From entries of a journal to exchanges.

>>> about = About(run="r", started_us=0, program="1", engine="lane", upstream="https://up.example")
>>> head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: up.example\r\n\r\n"
>>> exchange_of(Exchanged(id="x", received_us=0, outcome="rejected", request=head), about).request.headers
(('Host', 'up.example'),)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from proxy_addon.core.exchange import BodyState, Exchange, Headers, Outcome, Request, Response, Whole
from proxy_addon.journal.entries import About, Exchanged

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED_BYTES = 2048
"""Longest head that is remembered: those of one session hardly differ, and those of one device in their first lines."""
_REMEMBERED = 4096
"""How many are."""
_VERSION = re.compile(r"HTTP/[0-9](\.[0-9])?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def exchange_of(entry: Exchanged, about: About) -> Exchange:
    """Return the exchange in an entry.

    Args:
        about: Who wrote the entry.

    Raises:
        ValueError: A head is not HTTP, or the entry says no upstream; the message quotes neither.
    """
    upstream = entry.upstream or about.upstream
    if upstream is None:
        raise ValueError("it does not say where it went")
    return Exchange(
        id=entry.id,
        upstream=upstream,
        received_at=_EPOCH + timedelta(microseconds=entry.received_us),
        request=_request(entry),
        duration_us=entry.duration_us,
        client_address=entry.client,
        server_address=entry.server,
        outcome=Outcome(entry.outcome),
        response=None if entry.response is None else _response(entry, entry.response),
        reason=entry.reason,
    )


def time_of(at_us: int) -> datetime:
    """Return the time of a journal, in Unix microseconds, as an aware datetime."""
    return _EPOCH + timedelta(microseconds=at_us)


def _request(entry: Exchanged) -> Request:
    head = entry.request
    read = _request_head if len(head) <= _REMEMBERED_BYTES else _request_head.__wrapped__
    method, path, version, headers = read(head)
    whole = _whole(entry.request_length, entry.request_sha256)
    return Request(
        method=method,
        path=path,
        http_version=version,
        headers=headers,
        body=entry.request_body,
        complete=entry.is_complete,
        body_state=BodyState.EXACT if whole is None else BodyState.TRUNCATED,
        whole=whole,
    )


@lru_cache(_REMEMBERED)
def _request_head(head: bytes) -> tuple[str, str, str, Headers]:
    line, headers = _parted(head)
    method, _, rest = line.partition(" ")
    path, _, version = rest.rpartition(" ")
    if _VERSION.fullmatch(version) is None:  # of what a recorder has refused, anything may be wrong
        path, version = rest, ""
    if not method or not path:
        raise ValueError("the first line of its request is not one of HTTP")
    return method, path if path.startswith("/") else origin_form(path), version, headers


def origin_form(target: str) -> str:
    """Return the path and query of a request's target, whatever authority it names.

    >>> origin_form("http://elsewhere.example/api/v1/sessions?x"), origin_form("http://elsewhere.example"), origin_form("*")
    ('/api/v1/sessions?x', '/', '*')
    """
    path = _ABSOLUTE.sub("", target, count=1)
    return path if path.startswith(("/", "*")) else f"/{path}"


def _response(entry: Exchanged, head: bytes) -> Response:
    read = _response_head if len(head) <= _REMEMBERED_BYTES else _response_head.__wrapped__
    version, status, reason, headers = read(head)
    return Response(
        status=status,
        reason=reason,
        http_version=version,
        headers=headers,
        body=entry.response_body,
        whole=_whole(entry.response_length, entry.response_sha256),
    )


@lru_cache(_REMEMBERED)
def _response_head(head: bytes) -> tuple[str, int, str, Headers]:
    line, headers = _parted(head)
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    return version, int(status), reason, headers


def _parted(head: bytes) -> tuple[str, Headers]:
    line, _, block = head.partition(b"\r\n")
    read = _headers if len(block) <= _REMEMBERED_BYTES else _headers.__wrapped__
    return line.decode("latin-1"), read(block)


@lru_cache(_REMEMBERED)
def _headers(block: bytes) -> Headers:
    pairs = (line.partition(":") for line in block.decode("latin-1").split("\r\n") if line)
    return tuple((name, value.strip(" \t")) for name, _, value in pairs)


def _whole(length: int | None, sha256: str | None) -> Whole | None:
    return None if length is None or sha256 is None else Whole(length, sha256)
