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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, override

LONGEST = 500
"""The most characters of a pattern."""
MOST_STEPS = 2_000
"""The most steps of a pattern after repetitions such as ``{2,5}`` were written out."""
_FEW, _MOST_WORK = 16, 500_000
"""How many places of a pattern at a time are few, and how many others, added up over a text, are looked at: for about a second."""
_DEEPEST = 30
_MOST_KNOWN = 4_096

type _Test = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern is not one, or uses what is not supported; the message says what, and what to write."""


class _Char(NamedTuple):
    test: _Test


class _Either(NamedTuple):
    one: int
    other: int


type _Step = _Char | _Either | None
"""A step of a program: a character to read, two ways to go on, or (None) the end."""


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
        _ = self._program

    def matches(self, text: str) -> bool:
        """Whether it matches a whole text; one that would take seconds, because there are very many ways, counts as another.

        What is known of earlier texts makes no difference to that, so that the result does not depend on their order.
        """
        known, states, work = self._known, self._start, 0
        for character in text:
            if not states:
                return False
            if len(states) > _FEW:
                work += len(states)
                if work > _MOST_WORK:
                    return False
            after = known.get((states, character))
            if after is None:
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                after = known[states, character] = self._after(states, character)
            states = after
        return len(self._program) - 1 in states

    @cached_property
    def _program(self) -> tuple[_Step, ...]:
        program: list[_Step] = []
        _write(_Parser(self.text).tree(), program)
        return (*program, None)

    @cached_property
    def _start(self) -> frozenset[int]:
        return self._reached((0,))

    @cached_property
    def _known(self) -> dict[tuple[frozenset[int], str], frozenset[int]]:
        return {}

    def _after(self, states: frozenset[int], character: str) -> frozenset[int]:
        program = self._program
        steps = ((place, program[place]) for place in states)
        return self._reached(
            tuple(place + 1 for place, step in steps if isinstance(step, _Char) and step.test(character))
        )

    def _reached(self, places: tuple[int, ...]) -> frozenset[int]:
        """Return the places where a character is read, or the text ends, that some places lead to."""
        seen: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place not in seen:
                seen.add(place)
                step = self._program[place]
                if isinstance(step, _Either):
                    waiting += step
        return frozenset(place for place in seen if not isinstance(self._program[place], _Either))

    @override
    def __reduce__(self) -> tuple[type[Pattern], tuple[str]]:
        return Pattern, (self.text,)


def _write(tree: Any, program: list[_Step]) -> None:
    """Append the steps that match a tree."""
    if len(program) > MOST_STEPS:
        raise PatternError(f"it is too long when its repetitions are written out: at most {MOST_STEPS:,} steps")
    match tree:
        case _All(parts):
            for part in parts:
                _write(part, program)
        case _Any((first, *others)):
            if not others:
                _write(first, program)
                return
            fork = _hold(program)
            _write(first, program)
            leave = _hold(program)
            program[fork] = _Either(fork + 1, len(program))
            _write(_Any(tuple(others)), program)
            program[leave] = _Either(len(program), len(program))
        case _Times(part, least, most):
            for _ in range(least):
                before = len(program)
                _write(part, program)
                if len(program) == before:
                    break  # it matches nothing at all, however often
            if most is None:
                fork = _hold(program)
                _write(part, program)
                program.append(_Either(fork, fork))
                program[fork] = _Either(fork + 1, len(program))
            else:
                forks = []
                for _ in range(most - least):
                    forks.append(_hold(program))
                    _write(part, program)
                for fork in forks:
                    program[fork] = _Either(fork + 1, len(program))
        case _:
            program.append(tree)


def _hold(program: list[_Step]) -> int:
    program.append(None)
    return len(program) - 1


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _not(test: _Test) -> _Test:
    return lambda character: not test(character)


def _is(wanted: str) -> _Test:
    return lambda character: character == wanted


def _between(first: str, last: str) -> _Test:
    return lambda character: first <= character <= last


_CLASSES: dict[str, _Test] = {
    "d": str.isdecimal,
    "D": _not(str.isdecimal),
    "w": _is_word,
    "W": _not(_is_word),
    "s": str.isspace,
    "S": _not(str.isspace),
}
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
        return _Any(tuple(choices))

    def _sequence(self) -> Any:
        parts: list[Any] = []
        while (character := self._peek()) and character not in "|)":
            part = self._atom()
            repeated = self._repeated(part)
            parts.append(repeated)
            if repeated is not part and self._peek() and self._peek() in "*+?{":
                raise PatternError(f"{self._peek()} follows a repetition; put what is repeated in ( )")
        return _All(tuple(parts))

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
        if number > MOST_STEPS:
            raise PatternError(f"{number:,} repetitions are too many; at most {MOST_STEPS:,} are allowed")
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
            return _Char(lambda each: each != "\n")
        if character in "*+?{":
            raise PatternError(f"{character} has nothing to repeat; write \\{character} for the character")
        if character in "^$":
            raise PatternError(
                f"{character} stands in the middle; a pattern matches the whole value, write \\{character} for the character"
            )
        return _Char(_is(character))

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
        if character in _CLASSES and character:
            return _CLASSES[character]
        return _is(self._literal(character))

    def _literal(self, character: str) -> str:
        if not character:
            raise PatternError(r"a \ stands at the end; write \\ for the character")
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum():
            raise PatternError(f"\\{character} is not supported")
        return character

    def _set(self) -> _Test:
        is_not = self._takes("^")
        tests: list[_Test] = []
        is_first = True
        while is_first or not self._takes("]"):
            is_first = False
            first = self._member()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._member()
                if not isinstance(first, str) or not isinstance(last, str):
                    raise PatternError("a class such as \\d is no end of a range in [ ]")
                if last < first:
                    raise PatternError(f"the range {first}-{last} in [ ] runs backwards")
                tests.append(_between(first, last))
            else:
                tests.append(_is(first) if isinstance(first, str) else first)
        all_ = tuple(tests)
        if is_not:
            return lambda character: not any(test(character) for test in all_)
        return lambda character: any(test(character) for test in all_)

    def _member(self) -> str | _Test:
        character = self._peek()
        if not character:
            raise PatternError("a [ is not closed")
        self._at += 1
        if character != "\\":
            return character
        character = self._peek()
        self._at += 1
        return _CLASSES[character] if character and character in _CLASSES else self._literal(character)


def _is_escaped(text: str, place: int) -> bool:
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
