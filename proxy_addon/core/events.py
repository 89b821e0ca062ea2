"""Tracking events: what a body reports. They are read from the bytes and never replace them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.errors import ProtocolError


@dataclass(slots=True, kw_only=True)  # many are made, and frozen ones take three times as long
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


@dataclass(slots=True, kw_only=True)  # see `Event`
class Body:
    """What a request's body reports.

    Attributes:
        is_batch: Whether it is an array, which is how downloaded playback is sent.
        events: Its events in order: one for an object, one per element for an array (an empty event for an element
            that is not an object), none for anything else.
        value: The decoded body; None if it is ``null`` or not JSON.
        problem: Why it is not JSON; None if it is JSON.
        shape: The body without its playhead and its ``ts``, which bodies that differ in nothing else have in common; with
            these, no rule can find a fault. None if it is not written as most players write it.
    """

    is_batch: bool = False
    events: tuple[Event, ...] = ()
    value: Any = field(default=None, compare=False)
    problem: str | None = field(default=None, compare=False)
    shape: bytes | None = field(default=None, compare=False)


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


_TIMES = re.compile(
    rb"""(?<="playerTime":\{)
    (?: "playhead":(?P<playhead>(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,6})?),"ts":(?P<ts>1[0-9]{12})
      | "ts":(?P<ts_first>1[0-9]{12}),"playhead":(?P<playhead_last>(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,6})?) )
    (?=\})""",
    re.VERBOSE,
)
"""A playhead and a ``ts`` with which no rule can find a fault: a time between 2001 and 2033, in milliseconds."""
_LONGEST_SHAPE = 1_000
_MOST_SHAPES = 1_000
_of_shapes: dict[bytes, Body] = {}


def read_body(body: bytes) -> Body:
    """Read the events of a body. Never fails: a body that is not JSON has no events.

    Most bodies of a device differ in their times alone, so what was decoded of one of them serves for all: bodies share
    objects, which nobody may change; `read_afresh` is for those who may.
    """
    if len(body) > _LONGEST_SHAPE or body.count(b"playerTime") != 1 or b"\\u" in body or b'"sessionStart"' in body:
        return read_afresh(body)  # starts name the viewer, so that hardly two are alike
    times = _TIMES.search(body)
    if times is None:
        return read_afresh(body)
    shape = body[: times.start()] + body[times.end() :]
    known = _of_shapes.get(shape)
    return _shaped(body, shape) if known is None else _at(known, times)


def _shaped(body: bytes, shape: bytes) -> Body:
    """Read the first body of a shape."""
    found = read_afresh(body)
    if isinstance(found.value, dict) and isinstance(found.value.get("playerTime"), dict):
        found.shape = shape
        if len(_of_shapes) >= _MOST_SHAPES:
            _of_shapes.clear()  # whatever devices send, it is bounded
        _of_shapes[shape] = found
    return found


def _at(known: Body, times: re.Match[bytes]) -> Body:
    """Return a body that differs from another one in its times alone."""
    playhead, ts, ts_first, playhead_last = times.groups()
    playhead_s, ts_ms = jsontext.number((playhead or playhead_last).decode()), int(ts or ts_first)
    (event,) = known.events
    first, last = ("playhead", playhead_s), ("ts", ts_ms)
    value = known.value.with_object("playerTime", [first, last] if playhead is not None else [last, first])
    return Body(
        events=(
            Event(
                type=event.type,
                playhead_s=_number(playhead_s),
                ts_ms=ts_ms,
                params=event.params,
                quality=event.quality,
            ),
        ),
        value=value,
        shape=known.shape,
    )


def read_afresh(body: bytes) -> Body:
    """Do what `read_body` does, but share no objects with other bodies, so that the caller may change them."""
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
