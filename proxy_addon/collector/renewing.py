"""A recorded answer for another session: the same, with what belongs to the recorded session and connection renewed.

>>> from proxy_addon.core.exchange import Response
>>> gone = Response(status=410, body=b'{"message": "session 4a0f4a0f has ended"}')
>>> renewed(gone, Renewal(recorded_id="4a0f4a0f", new_id="99999999")).body
b'{"message": "session 99999999 has ended"}'
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy_addon.core.exchange import HOP_BY_HOP, Headers, Response, header
from proxy_addon.core.locations import renamed

_OF_THE_CONNECTION = HOP_BY_HOP | {"content-length"}
"""Headers about the recorded connection or its framing; the new connection has its own values."""
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
"""What can be sent as the name of a header; browsers export those of HTTP/2, such as ``:status``, too."""
_SHORTEST_ID = 8
"""A shorter session ID is replaced only in ``Location``; elsewhere, the same characters may mean something else."""
_LARGEST_BODY = 1024 * 1024
"""A compressed body that is larger than this without compression stays as it is."""
_COMPRESSIONS = {"gzip": zlib.MAX_WBITS + 16, "x-gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What is different for the new session.

    Attributes:
        recorded_id: The recorded session ID; None if there was none.
        new_id: The one that replaces it.
        server: Scheme and address under which the player reaches us, such as ``http://127.0.0.1:8081``; it replaces the
            server in an absolute ``Location``, so that nobody is sent to production. None if it is not known.
        recorded_origin: The recorded ``Origin`` of the page; None if there was none.
        new_origin: The one that replaces it in the answer's permission; None if there is none.
    """

    recorded_id: str | None
    new_id: str
    server: str | None = None
    recorded_origin: str | None = None
    new_origin: str | None = None


def renewed(response: Response, renewal: Renewal) -> Response:
    """Return a recorded answer for the new session."""
    rename = _renaming(renewal)
    headers, body = response.headers, response.body
    if _is_text(body):
        # Other tools decompress what they write to files, and keep the header that says it is compressed.
        headers = tuple(pair for pair in headers if pair[0].lower() != "content-encoding")
    if rename is not None and body:
        body = _renamed_body(body, (header(headers, "Content-Encoding") or "").strip().lower(), rename)
    return replace(response, headers=_headers(headers, renewal, rename), body=body)


def _is_text(body: bytes) -> bool:
    """Whether a body is text, which the output of no compression is: it has bytes that are not UTF-8."""
    try:
        return bool(body.decode())
    except UnicodeDecodeError:
        return False


def _renaming(renewal: Renewal) -> Callable[[bytes], bytes] | None:
    """Return what replaces the recorded ID in bytes, where it stands by itself; None if it replaces nothing."""
    if renewal.recorded_id is None or len(renewal.recorded_id) < _SHORTEST_ID:
        return None
    recorded, new = (each.encode("latin-1", "replace") for each in (renewal.recorded_id, renewal.new_id))
    alone = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(recorded) + rb"(?![0-9A-Za-z])")
    return lambda text: alone.sub(lambda _: new, text)


def _headers(headers: Headers, renewal: Renewal, rename: Callable[[bytes], bytes] | None) -> Headers:
    new: list[tuple[str, str]] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered in _OF_THE_CONNECTION or not _NAME.fullmatch(name):
            continue
        if lowered == "location":
            new.append((name, renamed(value.strip(), renewal.recorded_id, renewal.new_id, renewal.server)))
        elif lowered == "access-control-allow-origin" and renewal.new_origin and value == renewal.recorded_origin:
            new.append((name, renewal.new_origin))
        else:
            new.append(
                (name, value if rename is None else rename(value.encode("latin-1", "replace")).decode("latin-1"))
            )
    return tuple(new)


def _renamed_body(body: bytes, encoding: str, rename: Callable[[bytes], bytes]) -> bytes:
    window = _COMPRESSIONS.get(encoding)
    if window is None:
        return rename(body)
    inflating = zlib.decompressobj(window)
    try:
        text = inflating.decompress(body, _LARGEST_BODY)
    except zlib.error:
        return body
    if not inflating.eof or inflating.unused_data or (new := rename(text)) == text:
        return body
    deflating = zlib.compressobj(wbits=window)
    return deflating.compress(new) + deflating.flush()
