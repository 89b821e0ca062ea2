"""The result of comparing two sessions as tracking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from proxy_addon.core.expectations.compare import Compare
from proxy_addon.core.expectations.tracked import Tracked
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import visible

_SHOWN = 60


class Kind(StrEnum):
    """The kinds of differences."""

    VALUE = "value"
    """A member is missing or not expected, or has another value or type."""
    MISSING = "missing"
    """An event is missing."""
    EXTRA = "extra"
    """An event is not expected."""
    MOVED = "moved"
    """An event comes at another time, and has passed other events."""
    ORDER = "order"
    """Events that depend on each other come in another order."""
    PLAYHEAD = "playhead"
    """An event has another playhead."""
    DISTANCE = "distance"
    """An event comes sooner or later after the one before."""
    PINGS = "pings"
    """Pings are missing, too many, or come at another interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which the tracking differs.

    Attributes:
        event_type: Of the first event that it is about, as expected if it is expected.
        place: Where in the event, as rules name it: a member such as ``params/media.ad.id``, or ``playhead``,
            ``distance``, ``order``, ``rhythm`` or ``event``.
        expected: The expected value as text; None for nothing.
        actual: The value there is.
        message: A line that says it all, without characters that would act on a display.
        row: Number of the first row that it is about, from 0.
        rows: How many rows it is about.
    """

    kind: Kind
    event_type: str | None
    place: str
    expected: str | None = None
    actual: str | None = None
    message: str
    row: int
    rows: int = 1


def difference(
    kind: Kind,
    row: int,
    about: tuple[str | None, str],
    message: str,
    values: tuple[str | None, str | None] = (None, None),
    *,
    rows: int = 1,
) -> Difference:
    """Return a difference.

    Args:
        about: Type of the event, and the place in it.
        values: The expected and the actual value.
    """
    return Difference(
        kind=kind,
        event_type=about[0],
        place=about[1],
        expected=values[0],
        actual=values[1],
        message=visible(message),
        row=row,
        rows=rows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An expected event beside the actual one; None where there is none."""

    expected: Tracked | None
    actual: Tracked | None

    @property
    def events(self) -> list[Tracked]:
        """The events in it, one or two."""
        return [event for event in (self.expected, self.actual) if event is not None]

    @property
    def is_ping(self) -> bool:
        """Whether it has only pings."""
        return all(event.type == "ping" for event in self.events)


@dataclass(frozen=True)
class Laid:
    """The events of both sessions side by side."""

    rows: Sequence[Row]

    @cached_property
    def of_expected(self) -> Mapping[int, int]:
        """Number of the row of each expected event, by the event's ``id()``."""
        return {id(row.expected): number for number, row in enumerate(self.rows) if row.expected is not None}

    @cached_property
    def of_actual(self) -> Mapping[int, int]:
        """Number of the row of each actual event, by the event's ``id()``."""
        return {id(row.actual): number for number, row in enumerate(self.rows) if row.actual is not None}


def laid_out(
    expected: Sequence[Tracked], actual: Sequence[Tracked], partner: Mapping[int, int], moved: Mapping[int, int]
) -> Iterator[Row]:
    """Yield each event once: in the expected order, with those that only the actual session has in between."""
    taken = {*partner.values(), *moved.values()}
    shown = 0
    for place, event in enumerate(expected):
        other = partner.get(place)
        if other is not None:
            for n in range(shown, other):
                if n not in taken:
                    yield Row(expected=None, actual=actual[n])
            shown = max(shown, other)
        else:
            other = moved.get(place)
        yield Row(expected=event, actual=None if other is None else actual[other])
    for n in range(shown, len(actual)):
        if n not in taken:
            yield Row(expected=None, actual=actual[n])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of comparing two sessions.

    Attributes:
        compare: What counted, and how far numbers could be apart.
        rows: All events of both, in order.
        differences: In the order of the rows; empty if the tracking is the same.
        remarks: Sentences on what could not be compared.
    """

    expected: HeldSession
    actual: HeldSession
    compare: Compare
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the player reported what was expected."""
        return not self.differences


def seconds(value: float) -> str:
    """Return a span of time as messages show it.

    >>> seconds(20.04), seconds(0.96)
    ('20.0 s', '1.0 s')
    """
    return f"{value:.1f} s" if abs(value) < 1e9 else f"{value:.3g} s"


def value(text: str | None) -> str:
    """Return a value as messages show it: cut if it is long."""
    if text is None:
        return "nothing"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def value_message(name: str, place: str, expected: str | None, actual: str | None) -> str:
    """Return the message on a value in an event.

    >>> value_message("adStart #12", "params/media.ad.id", '"spot-1"', None)
    'adStart #12: params/media.ad.id is missing, expected "spot-1"'
    """
    if actual is None:
        return f"{name}: {place} is missing, expected {value(expected)}"
    return f"{name}: {place} is {value(actual)}, expected {'none' if expected is None else value(expected)}"
