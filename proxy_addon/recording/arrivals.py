"""Give each exchange an ID, and a microsecond of arrival that no other exchange of this process has."""

from __future__ import annotations

import itertools
import secrets

_BACKWARDS_US = 1_000_000
"""A clock that goes back further than this was set. Staying ahead of its old time would falsify all later times."""


class Arrivals:
    """Numbers exchanges as they arrive.

    >>> arrivals = Arrivals()
    >>> [arrivals.arrive(at_us)[1] for at_us in (5_000_000, 5_000_000, 4_999_999, 3_000_000)]
    [5000000, 5000001, 5000002, 3000000]
    """

    def __init__(self) -> None:
        self._latest_us = -_BACKWARDS_US
        self._process = secrets.token_hex(4)
        self._numbers = itertools.count(secrets.randbits(31))

    def arrive(self, at_us: int) -> tuple[str, int]:
        """Return the ID of an exchange, and when it arrived, in Unix microseconds.

        IDs sort by time, so that rows are stored in the order in which they are read.

        Args:
            at_us: When its first byte arrived by the clock.
        """
        if self._latest_us - _BACKWARDS_US < at_us <= self._latest_us:
            at_us = self._latest_us + 1
        self._latest_us = at_us
        return f"{at_us:016x}{self._process}{next(self._numbers) & 0xFFFFFFFF:08x}", at_us
