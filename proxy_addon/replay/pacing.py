"""How fast a replay goes, and what becomes of the times in bodies: the values of ``--speed`` and ``--timestamps``.

>>> Speed.parse("2.50"), str(Speed.parse("2.50"))
(Speed(factor=2.5), '2.5')
>>> Speed.parse("max").due_after_s(60.0) is None
True
>>> Timestamps.parse("shift:-1.5")
Timestamps(mode=<Mode.SHIFT: 'shift'>, shift_ms=-1500)
>>> Speed.parse("fast")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'fast' is no speed
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from proxy_addon.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Speed:
    """A multiple of the recorded pace; None for as fast as the target answers."""

    factor: float | None

    @classmethod
    def parse(cls, text: str) -> Speed:
        """Parse ``N`` or ``max``.

        Raises:
            SettingsError: It is neither, or not a finite number above zero.
        """
        if text == "max":
            return cls(None)
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if not (factor > 0 and math.isfinite(factor)):
            raise SettingsError(f"{text!r} is no speed", hint="write a number above 0, like 1 or 2.5, or max")
        return cls(factor)

    def due_after_s(self, offset_s: float) -> float | None:
        """Return how long after its session's origin a step is due; None where nothing is waited for."""
        return None if self.factor is None else offset_s / self.factor

    def __str__(self) -> str:
        return "max" if self.factor is None else repr(self.factor).removesuffix(".0")


class Mode(StrEnum):
    """What becomes of ``playerTime.ts``."""

    NOW = "now"
    """The start's is its time of sending, the others of its session keep their distance to it."""
    KEEP = "keep"
    """Bodies are sent as recorded."""
    SHIFT = "shift"
    """All are moved by the same amount."""


_SHIFT = re.compile(r"shift:(?P<seconds>[+-]?[0-9]{1,12}(?:\.[0-9]{1,3})?)\Z")


@dataclass(frozen=True, slots=True)
class Timestamps:
    """A mode, and for `Mode.SHIFT` the amount."""

    mode: Mode
    shift_ms: int = 0

    @classmethod
    def parse(cls, text: str) -> Timestamps:
        """Parse ``now``, ``keep`` or ``shift:SECONDS``; seconds may be negative and have a fraction down to 1 ms.

        Raises:
            SettingsError: It is none of them.
        """
        if text in (Mode.NOW, Mode.KEEP):
            return cls(Mode(text))
        match = _SHIFT.match(text)
        if match is None:
            raise SettingsError(
                f"{text!r} says nothing about timestamps", hint="write now, keep, or shift:SECONDS like shift:-3600"
            )
        return cls(Mode.SHIFT, int(Decimal(match["seconds"]) * 1000))

    def __str__(self) -> str:
        if self.mode is not Mode.SHIFT:
            return self.mode.value
        seconds = Decimal(self.shift_ms) / 1000
        return f"shift:{seconds:f}"
