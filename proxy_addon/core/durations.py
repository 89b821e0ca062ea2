"""Durations that users type, in seconds.

>>> parse_seconds("2.5")
2.5
>>> parse_seconds("0")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: '0' is not a number of seconds: write a number above 0, at most 86400
"""

from __future__ import annotations

from proxy_addon.errors import SettingsError

LONGEST_S = 86_400


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
