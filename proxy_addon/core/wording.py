r"""Values in messages: short, with their JSON type, and without line breaks.

>>> shown("12.5"), shown(None), shown([1]), shown(True)
("the string '12.5'", 'null', 'an array', 'true')
>>> counted(1, "session"), counted(1_126, "session")
('1 session', '1,126 sessions')
>>> close_to("media.chanel", ["media.channel", "media.name"])
'media.channel'
>>> print(visible("red \x1b[31m, a new\nline, and \u202esdrawkcab"))
red \x1b[31m, a new\nline, and \u202esdrawkcab
>>> print(json_text({"street": "Straße\u202e"}))
{"street":"Straße\u202e"}
>>> print(pasted("tv/4.2.har#4a0f"), pasted("my tv.har#4a0f"), pasted("it's\n.har"))
tv/4.2.har#4a0f 'my tv.har#4a0f' $'it\'s\x0a.har'
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from unicodedata import category

from proxy_addon.core.jsontext import Number

_PLAIN_WORD = re.compile(r"[\w@%+=:,./-][\w@%+=:,./#-]*", re.ASCII)
_LONGEST = 60
_LONGEST_NAME = 100
"""Longer names are not compared; that would be expensive and find nothing."""


def shown(value: object) -> str:
    """Return a value's JSON type, and the value itself unless it is an array or object."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {quoted(value)}"
    if isinstance(value, int | float):
        return f"the number {number(value)}"
    return "an array" if isinstance(value, list) else "an object"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural unless the number is 1; by default the plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def alternatives(words: Collection[str]) -> str:
    """Return words of which one is meant.

    >>> alternatives(["play"]), alternatives(["play", "ping", "error"])
    ('play', 'play, ping or error')
    """
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def number(value: float) -> str:
    """Return a number as it was written, shortened if it is long."""
    if isinstance(value, Number):
        return _cut(value.written)
    return f"{value:g}" if isinstance(value, float) else _cut(str(value)) if abs(value) < 10**400 else "(very long)"


def quoted(text: str, longest: int = _LONGEST) -> str:
    """Return a text in quotation marks, shortened if it is long, with unprintable characters escaped."""
    return ascii_safe(repr(_cut(text, longest)))


def visible(text: str) -> str:
    """Return a device's text with all characters escaped that would act on the display instead of being visible.

    These are control characters, line breaks, escape sequences, marks that change the direction of writing, zero-width
    characters and lone surrogates. A line of a terminal, a log or an annotation then stays one line and shows what was
    sent. Letters and spaces of all scripts are kept.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or category(each) == "Zs" else _escaped(each) for each in text)


def pasted(name: str) -> str:
    """Return a name as a shell takes it on a command line: in quotation marks only if it needs them.

    What is not `visible` in it, such as bytes in the name of a file that are no text, is escaped as bash and zsh read it.
    """
    if _PLAIN_WORD.fullmatch(name):
        return name
    if name == visible(name):
        return shlex.quote(name)
    characters = ("\\" + each if each in "\\'" else each if each == visible(each) else _bytes(each) for each in name)
    return f"$'{''.join(characters)}'"


def _bytes(character: str) -> str:
    try:
        encoded = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def json_text(value: object) -> str:
    """Return a value as compact JSON text for people: letters of all scripts as they are, the rest `visible`.

    Values that differ have different texts.

    Raises:
        ValueError: A number in it is beyond any float.
        RecursionError: It is nested too deeply.
    """
    return visible(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def ascii_safe(text: str) -> str:
    """Return a text in which lone surrogates are escaped, because UTF-8 cannot encode them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def close_to(name: str, names: Iterable[str], *, least: float = 0.75) -> str | None:
    """Return the name that was probably meant; None if none is similar.

    Args:
        least: How similar it must be, up to 1.
    """
    if len(name) > _LONGEST_NAME:
        return None
    found = get_close_matches(name, names, n=1, cutoff=least)
    return found[0] if found else None


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant, as the end of a message; empty if none is similar."""
    return meant(close_to(name, names))


def meant(name: str | None) -> str:
    """Return a suggestion as the end of a message; empty if there is none."""
    return f"; did you mean {name}?" if name else ""


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
