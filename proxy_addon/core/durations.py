"""Durations and times that users type.

A duration is a number of seconds. A time is ISO 8601 (``2026-11-24``, ``2026-11-24T08:15:00Z``; UTC if no zone is given) or
says how long ago: ``90s``, ``30m``, ``2h``, ``7d``, ``1w``.

>>> parse_seconds("2.5")
2.5
>>> parse_seconds("0")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: '0' is not a number of seconds: write a number above 0, at most 86400
>>> parse_time("2h", now=datetime(2026, 11, 24, 12, tzinfo=UTC))
datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.timezone.utc)
>>> parse_time("2026-11-24T08:15+01:00", now=datetime(2026, 11, 24, 12, tzinfo=UTC)).isoformat()
'2026-11-24T07:15:00+00:00'
>>> parse_time("yesterday", now=datetime(2026, 11, 24, 12, tzinfo=UTC))
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'yesterday' is not a time: write 2026-11-24, 2026-11-24T08:15:00Z, or how long ago: 30m, 2h, 7d
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from proxy_addon.errors import SettingsError

LONGEST_S = 86_400
_AGO = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[smhdw])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_seconds(text: str) -> float:
    """Return a duration above zero and of at most a day.

    Raises:
        SettingsError: The text is not such a duration.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_S:
        raise SettingsError(f"{text!r} is not a number of seconds: write a number above 0, at most {LONGEST_S}")
    return seconds


def parse_time(text: str, *, now: datetime) -> datetime:
    """Return a time, in UTC.

    Args:
        now: The time from which it is counted how long ago it was.

    Raises:
        SettingsError: The text is not a time.
    """
    try:
        if match := _AGO.match(text):
            return now - timedelta(**{_UNITS[match["unit"]]: int(match["number"])})
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise SettingsError(
            f"{text!r} is not a time: write 2026-11-24, 2026-11-24T08:15:00Z, or how long ago: 30m, 2h, 7d"
        ) from e
