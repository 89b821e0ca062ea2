"""What differs between the contents of two events: members, params, metadata and quality data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy_addon.core.events import integer, read_event
from proxy_addon.core.expectations.compare import Compare, Level
from proxy_addon.core.expectations.tracked import Tracked, since
from proxy_addon.core.jsontext import escaped
from proxy_addon.core.replays.comparing import ABSENT, shown, unlike
from proxy_addon.core.wording import ascii_safe

Unlike = tuple[str, Any, Any]
"""A place, and the expected and the actual value there; `ABSENT` for none."""
_HOLDERS = ("params", "customMetadata", "qoeData")
"""Objects that may as well be left out as be empty."""
PLAYHEADS = frozenset({"params/media.ad.podSecond", "params/media.chapter.offset"})
"""Params that are playheads, so that in live content they are seconds of the day as well."""


def differing(
    expected: Tracked, actual: Tracked, compare: Compare, bases_s: tuple[float | None, float | None]
) -> Iterator[Unlike]:
    """Yield where two events differ, as far as it counts.

    Args:
        bases_s: The playheads at which expected and actual live content began; None for other content.
    """
    type = expected.type
    if expected.text is not None or actual.text is not None:
        if expected.text != actual.text and compare.level(type, "body") is Level.EXACT:
            yield "body", ABSENT if expected.text is None else expected.text, _or_absent(actual.text)
        if expected.text is None or actual.text is None:
            return
    for name in ("playhead", "ts"):
        one, other = (_time(event, name) for event in (expected, actual))
        readable = [_is_read(name, each) for each in (one, other)]
        if all(readable) or (one is ABSENT and other is ABSENT) or (not any(readable) and kind(one) == kind(other)):
            continue
        if compare.level(type, f"playerTime/{name}") is not Level.IGNORED:
            yield f"playerTime/{name}", one, other
    for place, one, other, why in _compared(expected, actual, compare, bases_s):
        if why is None:
            yield place, one, other


def passed_over(expected: Tracked, actual: Tracked, compare: Compare) -> Iterator[tuple[str, str]]:
    """Yield what differs between two events and does not count: the place, and why as a clause."""
    for place, _, _, why in _compared(expected, actual, compare, (None, None)):
        if why is not None:
            yield place, why


def _compared(
    expected: Tracked, actual: Tracked, compare: Compare, bases_s: tuple[float | None, float | None]
) -> Iterator[tuple[str, Any, Any, str | None]]:
    """Yield each place in which the contents of two events differ, its values, and why that does not count, or None."""
    type = expected.type
    for where, one, other in unlike("", content(expected.value), content(actual.value)):
        place = where.removeprefix("/")
        level = compare.level(type, place)
        if level is Level.EXACT and _are_alike(expected.masked.get(place, one), actual.masked.get(place, other)):
            continue
        if level is Level.IGNORED or (level is Level.ANY_VALUE and kind(one) == kind(other)):
            yield place, one, other, compare.why(type, place)
            continue
        tolerance = compare.tolerance(type, place)
        apart = _apart(one, other)
        if place in PLAYHEADS and None not in bases_s and apart is not None:
            apart = abs(since(float(one), bases_s[0] or 0) - since(float(other), bases_s[1] or 0))
            tolerance = compare.playhead_tolerance_s if tolerance is None else tolerance
        is_near = tolerance is not None and apart is not None and round(apart, 6) <= tolerance
        yield place, one, other, f"at most {tolerance:g} apart" if is_near else None


def content(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared as it stands: an event without its playhead and ``ts``, and without empty members."""
    found = {name: inside for name, inside in value.items() if name not in _HOLDERS or inside != {}}
    for name in _HOLDERS:
        found.setdefault(name, {})
    time = value.get("playerTime")
    if isinstance(time, dict):
        found["playerTime"] = {name: each for name, each in time.items() if name not in ("playhead", "ts")}
    return found


def _time(event: Tracked, name: str) -> Any:
    time = event.value.get("playerTime")
    return time.get(name, ABSENT) if isinstance(time, dict) else ABSENT


def _is_read(name: str, value: Any) -> bool:
    if name == "ts":
        return integer(value) is not None
    return name == "playhead" and read_event({"playerTime": {name: value}}).playhead_s is not None


def leaves(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values in an event that are compared as they stand, by place."""
    flat: dict[str, Any] = {}
    for name, inside in content(value).items():
        if name != "eventType":
            _flatten(ascii_safe(escaped(name)), inside, flat)
    return flat


def _flatten(place: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict) and value and place.count("/") < 5:
        for name, inside in value.items():
            _flatten(f"{place}/{ascii_safe(escaped(name))}", inside, into)
    elif value != {}:
        into[place] = value


def kind(value: Any) -> str:
    """Return a value's JSON type."""
    if value is ABSENT:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def told(value: Any) -> str | None:
    """Return a value as JSON, cut if it is long; None for `ABSENT`."""
    return shown(value)


def _are_alike(one: Any, other: Any) -> bool:
    return one == other and kind(one) == kind(other)


def _or_absent(text: str | None) -> Any:
    return ABSENT if text is None else text


def _apart(one: Any, other: Any) -> float | None:
    if kind(one) != "a number" or kind(other) != "a number":
        return None
    try:
        return abs(float(one) - float(other))
    except OverflowError:
        return None
