"""Pings on their way through a comparison: where they are, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A ping.

    Attributes:
        place: Its place in the session.
        at_s: Seconds since the begin of the stretch.
        since_start_s: Seconds since the start.
    """

    place: int
    at_s: float
    since_start_s: float


@dataclass(slots=True, kw_only=True)
class Stretch:
    """What lies between two events that both sessions have.

    Attributes:
        begins: Places of the expected and the actual event at its begin.
        begins_s: When they come, in seconds since the start.
        lengths_s: How long it is in each session; infinite for the last one.
        in_ad: Whether an ad is open.
        restarts: Whether the event at its begin restarts the timers of SDKs.
        is_open: Whether it is the last one of a session that was not closed.
        is_over: Whether the event at its begin ends the session.
    """

    begins: tuple[int, int]
    begins_s: tuple[float, float]
    lengths_s: tuple[float, float]
    in_ad: bool = False
    restarts: bool = False
    is_open: bool = False
    is_over: bool = False
    expected: list[Beat] = field(default_factory=list)
    actual: list[Beat] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Off:
    """Pings that are missing or too many in one place.

    Attributes:
        missing: Places of the expected pings that are missing.
        extra: Places of the actual pings that are too many.
        among: Places of the first and the last ping that it may be; None if it is known which they are.
        after: Place of the last actual event before.
        interval_s: How often they should come.
        in_ad: Whether an ad is open.
        is_timed: Whether the first of them comes about an interval after the ping or event before, as timers have it.
    """

    missing: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    among: tuple[int, int] | None = None
    after: int
    interval_s: float
    in_ad: bool
    is_timed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Pings that come at another interval; ``first`` is the place of the first actual one."""

    expected_s: float
    actual_s: float
    in_ad: bool
    first: int


@dataclass(slots=True, kw_only=True)
class Rhythm:
    """The result of comparing pings.

    Attributes:
        matches: Actual place by expected place, of pings that belong together.
        shifts_s: By expected place, how much later than the expected one the ping came.
    """

    matches: dict[int, int] = field(default_factory=dict)
    shifts_s: dict[int, float] = field(default_factory=dict)
    offs: list[Off] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
