"""How ``playerTime.ts`` is changed when a body is sent again; every other byte stays as the device wrote it.

>>> Timestamps.parse("shift:-1.5")
Timestamps(mode=<Mode.SHIFT: 'shift'>, shift_ms=-1500)

>>> shift_timestamps(b'{ "playerTime":{"ts": 1000 , "playhead":0}, "eventType":"play"}', 5)
b'{ "playerTime":{"ts": 1005 , "playhead":0}, "eventType":"play"}'
>>> shift_timestamps(b'{"playerTime": {"ts": 1e3}}', 5)
Traceback (most recent call last):
    ...
proxy_addon.errors.ProtocolError: ts is not an integer: 1e3
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from proxy_addon.core import jsontext
from proxy_addon.core.jsonspans import TOKEN
from proxy_addon.errors import ProtocolError, SettingsError

_TS = re.compile(rb'"ts"\s*:\s*(-?[0-9]{1,19})(?=[\s,}])')
_INTEGER = re.compile(rb"-?[0-9]{1,30}\Z")
_PATHS = ((b"playerTime", b"ts"), (None, b"playerTime", b"ts"))
"""Where ``ts`` is: in the body itself, or in each element of a batch."""


class Mode(StrEnum):
    """How ``playerTime.ts`` is changed."""

    NOW = "now"
    """The start gets its time of sending; all other events of the session move by the same amount."""
    KEEP = "keep"
    """Times are sent as recorded."""
    SHIFT = "shift"
    """All times are moved by a given amount."""


_SHIFT = re.compile(r"shift:(?P<seconds>[+-]?[0-9]{1,12}(?:\.[0-9]{1,3})?)\Z")


@dataclass(frozen=True, slots=True)
class Timestamps:
    """A mode, with the amount for `Mode.SHIFT`."""

    mode: Mode
    shift_ms: int = 0

    @classmethod
    def parse(cls, text: str) -> Timestamps:
        """Parse ``now``, ``keep`` or ``shift:SECONDS``; seconds may be negative and have up to three decimals.

        Raises:
            SettingsError: The text is none of these.
        """
        if text in (Mode.NOW, Mode.KEEP):
            return cls(Mode(text))
        match = _SHIFT.match(text)
        if match is None:
            raise SettingsError(
                f"{text!r} is not a way to set timestamps", hint="write now, keep, or shift:SECONDS like shift:-3600"
            )
        return cls(Mode.SHIFT, int(Decimal(match["seconds"]) * 1000))

    def __str__(self) -> str:
        if self.mode is not Mode.SHIFT:
            return self.mode.value
        seconds = Decimal(self.shift_ms) / 1000
        return f"shift:{seconds:f}"


def shift_timestamps(body: bytes, by_ms: int, more_ms: Sequence[int] = (), *, ts_ms: int | None = None) -> bytes:
    """Return the body with each event's ``ts`` moved by some milliseconds.

    Every other byte stays: spacing, key order, escapes, the spelling of numbers. If an object has ``ts`` twice, both
    are shifted, because servers differ in which one they read.

    Args:
        more_ms: Milliseconds by which each event of the body is moved in addition; empty for not at all.
        ts_ms: ``ts`` of the body's one event if known, which saves parsing the body.

    Raises:
        ProtocolError: The body is not JSON (compressed, for example), has no ``ts``, or has one that is no integer.
    """
    if ts_ms is not None and b"\\" not in body and body.count(b'"ts"') == 1:
        # Without escapes, the only "ts" in the text must be the one that was read.
        found = _TS.search(body)
        if found is not None and int(found[1]) == ts_ms:
            moved = ts_ms + by_ms + (more_ms[0] if more_ms else 0)
            return b"%b%d%b" % (body[: found.start(1)], moved, body[found.end(1) :])
    jsontext.loads(body)
    spans = list(_timestamps(body))
    if not spans:
        raise ProtocolError("it has no playerTime.ts")
    pieces = []
    end = 0
    for start, stop, event in spans:
        digits = body[start:stop]
        if not _INTEGER.match(digits):
            raise ProtocolError(f"ts is not an integer: {digits[:40].decode('ascii', 'replace')}")
        further = more_ms[event] if event < len(more_ms) else 0
        pieces += [body[end:start], str(int(digits) + by_ms + further).encode()]
        end = stop
    return b"".join([*pieces, body[end:]])


def _timestamps(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the start and end of each event's ``ts`` value, and the index of the event in the body.

    The body must be well-formed JSON.
    """
    path: list[bytes | None] = []  # the key of each enclosing value; None in an array
    key: bytes | None = None
    expecting_key = False
    event = 0
    for token in TOKEN.finditer(body):
        match token[0]:
            case b"{" | b"[" as opening:
                if expecting_key is False and _is_time(path, key):
                    yield (*token.span(), event)  # an object or list instead of a number: reported as no integer
                path.append(key)
                key = None
                expecting_key = opening == b"{"
            case b"}" | b"]":
                key = path.pop()
                expecting_key = False
            case b",":
                # Only objects have keys: inside an array, the key stays None.
                expecting_key = key is not None
                event += len(path) == 1 and not expecting_key
            case b":":
                expecting_key = False
            case text if expecting_key:
                key = jsontext.loads(text).encode("utf-8", "surrogatepass") if b"\\" in text else text[1:-1]
            case _:
                if _is_time(path, key):
                    yield (*token.span(), event)


def _is_time(path: list[bytes | None], key: bytes | None) -> bool:
    return (*path[1:], key) in _PATHS
