"""Joins the ES modules of a page into one script, and the style sheets of all pages into one.

Modules are files in ``assets/`` and import named things from one another, each import on lines of its own::

    import { esc, ms } from "./words.js";
    export function card(event) { … }

A page runs without a second file, so its modules are put one after the other, what is imported before what imports it. Each
becomes a function that returns what it exports, so that modules may use the same names inside::

    const $words = (() => { … return { esc, ms }; })();
    const $card = (() => { const { esc, ms } = $words; function card(event) { … } return { card }; })();

Only the entry stands by itself, because it may wait for values.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterator
from importlib.resources import files

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*? ?|const |class )(\w+))", re.MULTILINE)
_SHEETS = "styles"


def asset(name: str) -> str:
    """Return a file in ``assets/``."""
    return files(__package__).joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


@functools.cache
def script(entry: str) -> str:
    """Return a module and all that it needs as one script, to be run as a module.

    Args:
        entry: Its file, such as ``session_page.js``.

    Raises:
        ValueError: If modules import one another in a circle.
    """
    *needed, last = modules(entry)
    return "".join((*(_function(name) for name in needed), _body(last)))


@functools.cache
def style() -> str:
    """Return the style sheet of the family: ``page.css`` and then the sheets of its parts, by name."""
    folder = files(__package__).joinpath("assets", _SHEETS)
    sheets = sorted(sheet.name for sheet in folder.iterdir() if sheet.name.endswith(".css"))
    return asset("page.css") + "".join(asset(f"{_SHEETS}/{sheet}") for sheet in sheets)


def modules(entry: str) -> tuple[str, ...]:
    """Return the names of a module and of all that it needs, each after what it imports.

    Raises:
        ValueError: If modules import one another in a circle.
    """
    return tuple(_in_order(entry, {}, ()))


def _in_order(name: str, done: dict[str, None], importers: tuple[str, ...]) -> Iterator[str]:
    if name in importers:
        raise ValueError(f"a circle of imports: {' -> '.join((*importers, name))}")
    if name in done:
        return
    for _, target in IMPORT.findall(asset(name)):
        yield from _in_order(_resolved(name, target), done, (*importers, name))
    done[name] = None
    yield name


def _function(name: str) -> str:
    exported = ", ".join(EXPORT.findall(asset(name)))
    return f"const {_variable(name)} = (() => {{\n{_body(name)}return {{ {exported} }};\n}})();\n"


def _body(name: str) -> str:
    def bound(match: re.Match[str]) -> str:
        return f"const {{{match[1]}}} = {_variable(_resolved(name, match[2]))};\n"

    return EXPORT.sub("", IMPORT.sub(bound, asset(name)))


def _resolved(name: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))
