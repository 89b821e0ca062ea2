"""How fast a replay goes: the values of ``--speed``.

>>> Speed.parse("2.50"), str(Speed.parse("2.50"))
(Speed(factor=2.5), '2.5')
>>> Speed.parse("max").due_after_s(60.0) is None
True
>>> Speed.parse("fast")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'fast' is no speed
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from proxy_addon.errors import SettingsError

_SLOWEST = 1e-6
"""A second becomes eleven days; what is slower has no use, and times that are no numbers."""


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
        if not (factor >= _SLOWEST and math.isfinite(factor)):
            raise SettingsError(f"{text!r} is no speed", hint="write a number above 0, like 1 or 2.5, or max")
        return cls(factor)

    def due_after_s(self, offset_s: float) -> float | None:
        """Return how long after its session's origin a step is due; None where nothing is waited for."""
        return None if self.factor is None else offset_s / self.factor

    def __str__(self) -> str:
        return "max" if self.factor is None else repr(self.factor).removesuffix(".0")
