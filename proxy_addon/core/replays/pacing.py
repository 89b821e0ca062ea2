"""How fast a replay goes: the values of ``--speed``.

>>> Speed.parse("2.50"), str(Speed.parse("2.50"))
(Speed(factor=2.5), '2.5')
>>> Speed.parse("max").due_after_s(60.0) is None
True
>>> Speed.parse("fast")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'fast' is not a speed
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from proxy_addon.errors import SettingsError

_SLOWEST = 1e-6
"""At this speed a second takes eleven days; slower ones are useless, and their times may overflow."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A multiple of the recorded speed; a factor of None means as fast as the target answers."""

    factor: float | None

    @classmethod
    def parse(cls, text: str) -> Speed:
        """Parse ``N`` or ``max``.

        Raises:
            SettingsError: The text is neither ``max`` nor a finite number of at least 0.000001.
        """
        if text == "max":
            return cls(None)
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if not (factor >= _SLOWEST and math.isfinite(factor)):
            raise SettingsError(f"{text!r} is not a speed", hint="write a number above 0, like 1 or 2.5, or max")
        return cls(factor)

    def due_after_s(self, offset_s: float) -> float | None:
        """Return how many seconds after the start of its session a step is due; None if it need not wait."""
        return None if self.factor is None else offset_s / self.factor

    def __str__(self) -> str:
        return "max" if self.factor is None else repr(self.factor).removesuffix(".0")
