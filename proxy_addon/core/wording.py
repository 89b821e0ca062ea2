r"""Values as they stand in messages: short, with their JSON type, and never a line break.

>>> shown("12.5"), shown(None), shown([1]), shown(True)
("the string '12.5'", 'null', 'an array', 'true')
>>> close_to("media.chanel", ["media.channel", "media.name"])
'media.channel'
>>> print(visible("red \x1b[31m, a new\nline, and \u202esdrawkcab"))
red \x1b[31m, a new\nline, and \u202esdrawkcab
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category

from proxy_addon.core.jsontext import Number

_LONGEST = 60
_LONGEST_NAME = 100
"""Comparing longer ones would cost much and find nothing."""


def shown(value: object) -> str:
    """Return a value's JSON type, and the value itself where it has no parts."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {quoted(value)}"
    if isinstance(value, int | float):
        return f"the number {number(value)}"
    return "an array" if isinstance(value, list) else "an object"


def number(value: float) -> str:
    """Return a number as it was written, cut."""
    if isinstance(value, Number):
        return _cut(value.written)
    return f"{value:g}" if isinstance(value, float) else _cut(str(value)) if abs(value) < 10**400 else "(very long)"


def quoted(text: str, longest: int = _LONGEST) -> str:
    """Return a text in quotation marks, cut, with what does not print escaped."""
    return ascii_safe(repr(_cut(text, longest)))


def visible(text: str) -> str:
    """Return a device's text with everything escaped that acts where it is shown instead of being seen.

    Those are control characters, line ends and escape sequences, marks that turn the direction of writing, characters
    without width and halves of surrogate pairs: a line of a terminal, a log or an annotation stays one line, and says
    what was sent. Letters and spaces of every script stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or category(each) == "Zs" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def ascii_safe(text: str) -> str:
    """Return a text in which half pairs of surrogates are escaped: they have no place in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def close_to(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant; None where none is close."""
    if len(name) > _LONGEST_NAME:
        return None
    found = get_close_matches(name, names, n=1, cutoff=0.75)
    return found[0] if found else None


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return what was probably meant as the end of a message; empty where nothing is close."""
    return meant(close_to(name, names))


def meant(name: str | None) -> str:
    """Return a suggestion as the end of a message; empty where there is none."""
    return f"; did you mean {name}?" if name else ""


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
