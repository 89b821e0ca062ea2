"""Points over time for a chart. At most `POINTS` are kept, always including the highest."""

from __future__ import annotations

from dataclasses import dataclass, field

POINTS = 3000
"""How many points a chart has at most."""
WIDTH, HEIGHT = 900, 240
LEFT, BOTTOM, TOP, RIGHT = 60, 30, 10, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One point at its place in the chart.

    Attributes:
        kind: Its class in the style sheet.
    """

    x: float
    y: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A scatter plot, ready to be drawn.

    Attributes:
        labels: Values on the vertical axis, each with its place.
        until_s: The end of the horizontal axis, in seconds.
        measured: How many points there were before some were left out.
    """

    caption: str
    dots: tuple[Dot, ...]
    labels: tuple[tuple[float, float], ...]
    until_s: float
    measured: int


@dataclass
class Scatter:
    """Gathers points over time; if there are too many, every second one is dropped, but never the highest."""

    points: list[tuple[float, float, str]] = field(default_factory=list)
    highest: tuple[float, float, str] | None = None
    until_s: float = 0.0
    _every: int = 1
    _seen: int = 0

    def add(self, at_s: float, value: float, kind: str) -> None:
        """Add a point."""
        point = (at_s, value, kind)
        self.until_s = max(self.until_s, at_s)
        if self.highest is None or value > self.highest[1]:
            self.highest = point
        self._seen += 1
        if self._seen % self._every == 0:
            self.points.append(point)
            if len(self.points) > POINTS:
                self.points = self.points[::2]
                self._every *= 2

    def chart(self, caption: str) -> Chart | None:
        """Return the chart; None if there is nothing to draw."""
        if self.highest is None:
            return None
        top, right = max(self.highest[1], 1e-3), max(self.until_s, 1e-3)

        def height(value: float) -> float:
            return round(HEIGHT - BOTTOM - max(0.0, value) / top * (HEIGHT - BOTTOM - TOP), 1)

        def place(at_s: float) -> float:
            return round(LEFT + max(0.0, at_s) / right * (WIDTH - LEFT - RIGHT), 1)

        kept = dict.fromkeys([*self.points, self.highest])
        return Chart(
            caption=caption,
            dots=tuple(Dot(x=place(at_s), y=height(value), kind=kind) for at_s, value, kind in kept),
            labels=tuple((top * share, height(top * share)) for share in (0, 0.5, 1)),
            until_s=right,
            measured=self._seen,
        )
