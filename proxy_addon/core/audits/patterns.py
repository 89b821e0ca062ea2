r"""Regular expressions whose time grows with the length of the text alone, whatever the pattern is.

Patterns come from people, texts from devices. The standard library tries one way after the other through a text, and some
patterns have more ways than atoms to try. This walks all ways at once, and so takes the part of the syntax for which that is
possible: characters, ``.``, ``[a-z]``, ``\d``, ``\w``, ``\s``, groups, ``|``, ``*``, ``+``, ``?`` and ``{2,5}``. A pattern has
to match the whole text; ``^`` at its beginning and ``$`` at its end may say so. All means what it means in ``re``.

>>> Pattern("[a-z]+(-[a-z0-9]+)*").matches("web-player-2")
True
>>> Pattern("(a*)*b").matches("a" * 10_000)
False
>>> Pattern("a(b")
Traceback (most recent call last):
    ...
proxy_addon.core.audits.patterns.PatternError: a ( is not closed

A pattern becomes an automaton of Glushkov: its places are the characters in it, and each knows which may follow. Between two
characters of a text some of the places are open, and the next character leads to others. Sets of places are bits of a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, override

LONGEST = 500
"""The most characters of a pattern."""
MOST_REPEATED = 2_000
"""The highest number in a repetition such as ``{2,5}``."""
MOST_STEPS = 4_000
"""The most characters, groups and choices of a pattern after repetitions were written out."""
MOST_WORK = 2_000_000
"""How much work the patterns of a plan may make in any body; a character counts as the number of places that are open before it.

That is a second or two where no step was taken before; one that was takes next to nothing, however many are open.
"""
WORK_OF_BYTE = 4
"""How much more they may make for each byte of the body, so that patterns with no more open places match all of it."""
_MOST_KNOWN = 4_096
_DEEPEST = 30
_END = 1
"""The bit of the place behind the last character."""

type _Test = Callable[[str], object]


class PatternError(ValueError):
    """A pattern is not one, or uses what is not supported; the message says what, and what to write."""


class Work:
    """How much work may still be done to match the texts of one body."""

    def __init__(self, length: int = 0) -> None:
        """Begin a body.

        Args:
            length: Its bytes.
        """
        self.left = MOST_WORK + WORK_OF_BYTE * length


class _Char(NamedTuple):
    test: _Test


class _All(NamedTuple):
    parts: tuple[Any, ...]


class _Any(NamedTuple):
    choices: tuple[Any, ...]


class _Times(NamedTuple):
    part: Any
    least: int
    most: int | None


@dataclass(frozen=True)
class Pattern:
    """A regular expression.

    Attributes:
        text: As it was written.
    """

    text: str

    def __post_init__(self) -> None:
        """Raise `PatternError` if it is none."""
        _ = self._automaton

    def matches(self, text: str, work: Work | None = None) -> bool | None:
        """Whether it matches a whole text; None if too little work is left to tell.

        What is known of earlier texts makes no difference to the work, so that the result does not depend on it.
        """
        return self._automaton.takes(text, Work() if work is None else work)

    @cached_property
    def _automaton(self) -> _Automaton:
        return _Automaton(_Parser(self.text).tree())

    @override
    def __reduce__(self) -> tuple[type[Pattern], tuple[str]]:
        return Pattern, (self.text,)


class _Open:
    """Places that are open at a time, and what is known of those that are open after a character."""

    __slots__ = ("after", "places", "work")

    def __init__(self, places: int) -> None:
        self.places = places
        self.work = places.bit_count()
        self.after: dict[str, _Open] = {}


class _Part(NamedTuple):
    """The places of a part of a pattern: those it begins and ends with, and whether it matches nothing, too."""

    first: int = 0
    last: int = 0
    is_empty: bool = True


class _Automaton:
    def __init__(self, tree: Any) -> None:
        self._tests: list[_Test] = [lambda _: False]
        self._following = [0]
        self._steps = 0
        whole = self._joined(self._placed(tree), _Part(first=_END, last=_END, is_empty=False))
        self._start = _Open(whole.first)
        self._forget()

    def takes(self, text: str, work: Work) -> bool | None:
        """Whether the pattern matches a whole text; None if too little work is left to tell."""
        now = self._start
        for character in text:
            if not now.work:
                return False
            if now.work > work.left:
                return None
            work.left -= now.work
            now = now.after.get(character) or self._after(now, character)
        return bool(now.places & _END)

    def _after(self, now: _Open, character: str) -> _Open:
        places = 0
        for place in _bits(now.places):
            if self._tests[place](character):
                places |= self._following[place]
        if self._moves == _MOST_KNOWN:
            self._forget()
        after = self._known.setdefault(places, _Open(places))
        now.after[character] = after
        self._moves += 1
        return after

    def _forget(self) -> None:
        self._moves = 0
        self._start = _Open(self._start.places)
        self._known = {self._start.places: self._start}

    def _placed(self, tree: Any) -> _Part:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise PatternError(f"it is too long when its repetitions are written out: at most {MOST_STEPS:,} steps")
        match tree:
            case _All(parts):
                whole = _Part()
                for part in parts:
                    whole = self._joined(whole, self._placed(part))
                return whole
            case _Any(choices):
                first, last, is_empty = 0, 0, False
                for choice in map(self._placed, choices):
                    first, last, is_empty = first | choice.first, last | choice.last, is_empty or choice.is_empty
                return _Part(first, last, is_empty)
            case _Times(part, least, most):
                return self._repeated(part, least, most)
            case _:
                place = 1 << len(self._tests)
                self._tests.append(tree.test)
                self._following.append(0)
                return _Part(place, place, is_empty=False)

    def _joined(self, one: _Part, other: _Part) -> _Part:
        self._follow(one.last, other.first)
        return _Part(
            one.first | (other.first if one.is_empty else 0),
            other.last | (one.last if other.is_empty else 0),
            one.is_empty and other.is_empty,
        )

    def _repeated(self, tree: Any, least: int, most: int | None) -> _Part:
        """Return the places of a part that is there once for each repetition, or on and on the last time."""
        if most == 0:
            return _Part()
        one = each = self._placed(tree)
        if one.is_empty:
            least = 0  # what is left out comes to the same as what is there and matches nothing
        last = one.last if least <= 1 else 0
        for number in range(2, (least if most is None else most) + 1 if one.first else 0):
            before, each = each, self._placed(tree)
            self._follow(before.last, each.first)
            if number >= least:
                last |= each.last
        if most is None:
            self._follow(each.last, each.first)
        return _Part(one.first, last, is_empty=least == 0)

    def _follow(self, places: int, following: int) -> None:
        for place in _bits(places):
            self._following[place] |= following


def _bits(number: int) -> Iterator[int]:
    """Return the places of the bits that are 1."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


_CLASSES = frozenset("dDwWsS")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise PatternError(f"it has {len(text):,} characters; at most {LONGEST} are allowed")
        begin = text.startswith("^")
        end = len(text) - (text.endswith("$") and not _is_escaped(text, len(text) - 1) and len(text) > begin)
        self._text = text[begin:end]
        self._at = 0
        self._depth = 0

    def tree(self) -> Any:
        found = self._choices()
        if self._at < len(self._text):
            raise PatternError(r"a ) closes no (; write \) for the character")
        return found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _takes(self, wanted: str) -> bool:
        if not self._text.startswith(wanted, self._at):
            return False
        self._at += len(wanted)
        return True

    def _choices(self) -> Any:
        choices = [self._sequence()]
        while self._takes("|"):
            choices.append(self._sequence())
        return choices[0] if len(choices) == 1 else _Any(tuple(choices))

    def _sequence(self) -> Any:
        parts: list[Any] = []
        while (character := self._peek()) and character not in "|)":
            part = self._atom()
            repeated = self._repeated(part)
            parts.append(repeated)
            if repeated is not part and self._peek() and self._peek() in "*+?{":
                raise PatternError(f"{self._peek()} follows a repetition; put what is repeated in ( )")
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _repeated(self, part: Any) -> Any:
        if self._takes("*"):
            return _Times(part, 0, None)
        if self._takes("+"):
            return _Times(part, 1, None)
        if self._takes("?"):
            return _Times(part, 0, 1)
        if not self._takes("{"):
            return part
        until = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : until].partition(",")
        given = [number for number in (least, most) if number]
        if until < 0 or not given or not all(number.isascii() and number.isdigit() for number in given):
            raise PatternError(r"{ begins no repetition such as {2} or {2,5}; write \{ for the character")
        self._at = until + 1
        low, high = int(least or 0), int(most or 0) if comma else int(least)
        if comma and not most:
            return _Times(part, self._number(low), None)
        if high < low:
            raise PatternError(f"{{{low},{high}}} has the lower number second")
        return _Times(part, low, self._number(high))

    def _number(self, number: int) -> int:
        if number > MOST_REPEATED:
            raise PatternError(f"{number:,} repetitions are too many; at most {MOST_REPEATED:,} are allowed")
        return number

    def _atom(self) -> Any:
        if self._takes("("):
            return self._group()
        if self._takes("["):
            return _Char(self._set())
        if self._takes("\\"):
            return _Char(self._escape())
        character = self._peek()
        self._at += 1
        if character == ".":
            return _Char(_like("."))
        if character in "*+?{":
            raise PatternError(f"{character} has nothing to repeat; write \\{character} for the character")
        if character in "^$":
            raise PatternError(
                f"{character} stands in the middle; a pattern matches the whole value, write \\{character} for the character"
            )
        return _Char(character.__eq__)

    def _group(self) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PatternError(f"groups are nested too deep; at most {_DEEPEST} levels are allowed")
        if not self._takes("?:") and self._peek() == "?":
            raise PatternError("(? begins what is not supported; groups are ( ) or (?: )")
        found = self._choices()
        if not self._takes(")"):
            raise PatternError("a ( is not closed")
        self._depth -= 1
        return found

    def _escape(self) -> _Test:
        character = self._peek()
        self._at += 1
        if character in _CLASSES:
            return _like(f"\\{character}")
        return self._literal(character).__eq__

    def _literal(self, character: str) -> str:
        if not character:
            raise PatternError(r"a \ stands at the end; write \\ for the character")
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum():
            raise PatternError(f"\\{character} is not supported")
        return character

    def _set(self) -> _Test:
        written = "[^" if self._takes("^") else "["
        is_first = True
        while is_first or not self._takes("]"):
            is_first = False
            first, is_class = self._member()
            written += first if is_class else re.escape(first)
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last, is_also_class = self._member()
                if is_class or is_also_class:
                    raise PatternError("a class such as \\d is no end of a range in [ ]")
                if last < first:
                    raise PatternError(f"the range {first}-{last} in [ ] runs backwards")
                written += f"-{re.escape(last)}"
        return _like(f"{written}]")

    def _member(self) -> tuple[str, bool]:
        """Return a character of a set, or a class as ``re`` has it, and which of these it is."""
        character = self._peek()
        if not character:
            raise PatternError("a [ is not closed")
        self._at += 1
        if character != "\\":
            return character, False
        character = self._peek()
        self._at += 1
        return (f"\\{character}", True) if character in _CLASSES else (self._literal(character), False)


def _like(atom: str) -> _Test:
    """Return whether a character is like one in ``re``."""
    return re.compile(atom).match


def _is_escaped(text: str, place: int) -> bool:
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
