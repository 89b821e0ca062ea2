"""What a value should be: one value, one of several, a number within bounds, a text of a pattern, or anything at all.

    vod                             exactly this
    [live, linear]                  one of these
    {at_least: 290, at_most: 310}   a number within bounds
    {matches: "^js-"}               a text in which this is found
    {present: true}                 anything; false: nothing

>>> str(BOUNDS.read({"at_least": 290, "at_most": 310}, ())), str(WANTED.read(["live", "linear"], ()))
('between 290 and 310', '"live" or "linear"')
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, override

from proxy_addon.core.scenarios.forms import (
    Either,
    Field,
    Form,
    Many,
    Misfit,
    Number,
    Object,
    Path,
    Pattern,
    Truth,
    expected,
)
from proxy_addon.core.wording import alternatives, json_text
from proxy_addon.core.wording import number as written

ABSENT: Any = object()
"""The value of what was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A range of numbers, both ends included.

    Attributes:
        at_least: None for no lower end.
        at_most: None for no upper end.
    """

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether a value is a number within these bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def distance(self, value: float) -> float:
        """Return how far a number is outside; 0 for one within."""
        below = 0 if self.at_least is None else self.at_least - value
        above = 0 if self.at_most is None else value - self.at_most
        return max(0, below, above)

    def said(self, unit: str = "") -> str:
        """Return the bounds in words, such as ``at least 30 s``."""
        low, high = (None if end is None else written(end) for end in (self.at_least, self.at_most))
        if low is None or high is None:
            told = f"at most {high}" if low is None else f"at least {low}"
        else:
            told = low if low == high else f"between {low} and {high}"
        return f"{told} {unit}" if unit else told

    @override
    def __str__(self) -> str:
        return self.said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a value should be; all that is given has to hold.

    Attributes:
        values: One of these; empty for any value.
        bounds: A number within these; None for any.
        matches: A text in which this is found; None for any.
        present: Whether there is a value at all; None if that follows from the others.
    """

    values: tuple[str | float | bool, ...] = ()
    bounds: Bounds | None = None
    matches: re.Pattern[str] | None = None
    present: bool | None = None

    def holds(self, value: Any) -> bool:
        """Whether a value is as wanted.

        Args:
            value: As decoded from JSON; `ABSENT` for none.
        """
        if self.present is not None:
            return self.present == (value is not ABSENT)
        if self.bounds is not None and not self.bounds.holds(value):
            return False
        if self.matches is not None and not (isinstance(value, str) and self.matches.search(value)):
            return False
        return not self.values or any(_same(value, each) for each in self.values)

    def said(self, unit: str = "") -> str:
        """Return what is wanted in words; a unit stands behind bounds."""
        if self.present is not None:
            return "any value" if self.present else "none"
        told = [] if self.bounds is None else [self.bounds.said(unit)]
        if self.matches is not None:
            told.append("a text" if self.matches.pattern == r"\S" else f"a text that matches {self.matches.pattern}")
        if self.values:
            told.append(alternatives([json_text(each) for each in self.values]))
        return " and ".join(told)

    @override
    def __str__(self) -> str:
        return self.said()


def _same(value: Any, wanted: str | float | bool) -> bool:
    """Whether two JSON values are the same; ``true`` is not 1, but 1.0 is."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


class _Exact(Form[Bounds]):
    """A number as bounds."""

    def __init__(self, *, is_count: bool) -> None:
        self._number = Number(is_count=is_count)

    @override
    def read(self, value: Any, path: Path) -> Bounds:
        if not isinstance(value, int | float | dict):
            raise expected(value, path, "a number, or {at_least: …, at_most: …}")
        number = self._number.read(value, path)
        return Bounds(at_least=number, at_most=number)

    @override
    def schema(self) -> dict[str, Any]:
        return self._number.schema()


class _Plain(Form[str | float | bool]):
    """A text, a number, ``true`` or ``false``."""

    @override
    def read(self, value: Any, path: Path) -> str | float | bool:
        if not isinstance(value, str | int | float):
            raise expected(value, path, "a text, a number, true or false")
        return value

    @override
    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


class _Values(Form[Wanted]):
    """One value, or a list of those that are allowed."""

    _values = Many(_Plain(), or_one=True)

    @override
    def read(self, value: Any, path: Path) -> Wanted:
        return Wanted(values=self._values.read(value, path))

    @override
    def schema(self) -> dict[str, Any]:
        return self._values.schema()


def _bounds(at_least: float | None = None, at_most: float | None = None) -> Bounds:
    if at_least is not None and at_most is not None and at_least > at_most:
        raise Misfit((), f"at_least {written(at_least)} is above at_most {written(at_most)}")
    return Bounds(at_least=at_least, at_most=at_most)


def _wanted(
    at_least: float | None = None,
    at_most: float | None = None,
    matches: re.Pattern[str] | None = None,
    present: bool | None = None,
) -> Wanted:
    is_bound = at_least is not None or at_most is not None
    if present is not None and (is_bound or matches is not None):
        raise Misfit((), "present stands alone: any other demand needs a value anyway")
    return Wanted(bounds=_bounds(at_least, at_most) if is_bound else None, matches=matches, present=present)


class _Placed[T](Form[T]):
    """A form whose members do not go together only when they are looked at as a whole."""

    def __init__(self, form: Form[T]) -> None:
        self._form = form

    @override
    def read(self, value: Any, path: Path) -> T:
        try:
            return self._form.read(value, path)
        except Misfit as e:
            raise (e if e.path else Misfit(path, str(e))) from e

    @override
    def schema(self) -> dict[str, Any]:
        return self._form.schema()


def _ends(*, is_count: bool) -> dict[str, Field]:
    return {
        "at_least": Field(Number(is_count=is_count), "The smallest number that is right."),
        "at_most": Field(Number(is_count=is_count), "The largest number that is right."),
    }


def _bounds_form(*, is_count: bool = False) -> Form[Bounds]:
    ends = _ends(is_count=is_count)
    return _Placed(Either(Object(_bounds, ends, any_of=tuple(ends)), _Exact(is_count=is_count)))


BOUNDS = _bounds_form()
"""A number, or an object with ``at_least`` or ``at_most``."""
COUNT = _bounds_form(is_count=True)
"""The same with whole numbers."""
_DETAILS = {
    **_ends(is_count=False),
    "matches": Field(Pattern(), "A regular expression that is found in the text."),
    "present": Field(Truth(), "true: there is a value, whatever it is; false: there is none."),
}
WANTED: Form[Wanted] = _Placed(Either(Object(_wanted, _DETAILS, any_of=tuple(_DETAILS)), _Values()))
"""A value, a list of values, or an object with what is wanted of it."""
