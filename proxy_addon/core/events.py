"""Tracking events: what a body reports. They are read from the bytes and never replace them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.errors import ProtocolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One tracking event, as far as it can be read; members of the wrong type are None.

    Attributes:
        type: The ``eventType``; None if it is not a string.
        playhead_s: Position in the main content in seconds, as the device sent it; None if it is not a number.
        ts_ms: The device's clock in Unix milliseconds; None if it is not a 64-bit integer.
        params: The ``params`` object; empty if there is none.
        quality: The ``qoeData`` object; empty if there is none.
    """

    type: str | None = None
    playhead_s: int | float | None = None
    ts_ms: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """Return a param that is a string; None if it is missing or of another type."""
        value = self.params.get(key)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a request's body reports.

    Attributes:
        is_batch: Whether it is an array, which is how downloaded playback is sent.
        events: Its events in order: one for an object, one per element for an array (an empty event for an element
            that is not an object), none for anything else.
        value: The decoded body; None if it is ``null`` or not JSON.
        problem: Why it is not JSON; None if it is JSON.
    """

    is_batch: bool = False
    events: tuple[Event, ...] = ()
    value: Any = field(default=None, compare=False)
    problem: str | None = field(default=None, compare=False)


NOT_KEPT = Body(problem="not in the file")
"""What a body reports that a file does not have."""
_NO_EVENT = Event()


def read_event(value: object) -> Event:
    """Read one decoded event; members of the wrong type are left out."""
    if not isinstance(value, dict):
        return _NO_EVENT
    event_type = value.get("eventType")
    player_time = value.get("playerTime")
    if not isinstance(player_time, dict):
        player_time = {}
    params = value.get("params")
    quality = value.get("qoeData")
    return Event(
        type=event_type if isinstance(event_type, str) else None,
        playhead_s=_number(player_time.get("playhead")),
        ts_ms=integer(player_time.get("ts")),
        params=params if isinstance(params, dict) else {},
        quality=quality if isinstance(quality, dict) else {},
    )


def read_body(body: bytes) -> Body:
    """Read the events of a body. Never fails: a body that is not JSON has no events."""
    try:
        value = jsontext.loads(body)
    except ProtocolError as e:
        return Body(problem=str(e))
    if isinstance(value, list):
        return Body(is_batch=True, events=tuple(read_event(item) for item in value), value=value)
    if isinstance(value, dict):
        return Body(events=(read_event(value),), value=value)
    return Body(value=value)


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        if not math.isfinite(value):
            return None
        return float(value) if isinstance(value, float) else value
    except OverflowError:  # an integer that is too large for a float cannot be a position
        return None


def integer(value: object) -> int | None:
    """Return a decoded value as a 64-bit integer; None if it is not one."""
    if isinstance(value, jsontext.Number):
        return value.whole_value()
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -(2**63) <= value < 2**63 else None
