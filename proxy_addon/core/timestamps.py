"""Shift ``playerTime.ts`` in a body, in the bytes: everything else stays as the device wrote it.

>>> shift_timestamps(b'{ "playerTime":{"ts": 1000 , "playhead":0}, "eventType":"play"}', 5)
b'{ "playerTime":{"ts": 1005 , "playhead":0}, "eventType":"play"}'
>>> shift_timestamps(b'{"playerTime": {"ts": 1e3}}', 5)
Traceback (most recent call last):
    ...
proxy_addon.errors.ProtocolError: ts is no integer: 1e3
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy_addon.core import jsontext
from proxy_addon.errors import ProtocolError

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_INTEGER = re.compile(rb"-?[0-9]{1,30}\Z")
_PATHS = ((b"playerTime", b"ts"), (None, b"playerTime", b"ts"))
"""Where a time stands: in the body itself, or in each element of a batch."""


def shift_timestamps(body: bytes, by_ms: int) -> bytes:
    """Return the body with each event's ``ts`` moved by some milliseconds.

    Every other byte stays: spacing, key order, escapes, the spelling of numbers. A ``ts`` named twice in one object is
    shifted twice, as servers differ in which one they read.

    Raises:
        ProtocolError: The body is not JSON (compressed, for example), has no ``ts``, or one that is no integer.
    """
    jsontext.loads(body)
    spans = list(_timestamps(body))
    if not spans:
        raise ProtocolError("it has no playerTime.ts")
    pieces = []
    end = 0
    for start, stop in spans:
        digits = body[start:stop]
        if not _INTEGER.match(digits):
            raise ProtocolError(f"ts is no integer: {digits[:40].decode('ascii', 'replace')}")
        pieces += [body[end:start], str(int(digits) + by_ms).encode()]
        end = stop
    return b"".join([*pieces, body[end:]])


def _timestamps(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the value of each event's ``ts`` begins and ends; the body is known to be well-formed."""
    path: list[bytes | None] = []  # the key we are below at each level; None in an array
    key: bytes | None = None
    expecting_key = False
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"{" | b"[" as opening:
                if expecting_key is False and _is_time(path, key):
                    yield token.span()  # an object in place of a number: reported as no integer
                path.append(key)
                key = None
                expecting_key = opening == b"{"
            case b"}" | b"]":
                key = path.pop()
                expecting_key = False
            case b",":
                # Only objects have keys; inside an array the key of the level stays None.
                expecting_key = key is not None
            case b":":
                expecting_key = False
            case text if expecting_key:
                key = jsontext.loads(text).encode("utf-8", "surrogatepass") if b"\\" in text else text[1:-1]
            case _:
                if _is_time(path, key):
                    yield token.span()


def _is_time(path: list[bytes | None], key: bytes | None) -> bool:
    return (*path[1:], key) in _PATHS
