"""Joins the ES modules of a page into one script, and the style sheets of all pages into one.

Modules are files in ``assets/`` and import named things from one another, each import on lines of its own::

    import { esc, ms } from "./words.js";
    export function card(event) { … }

A page runs without a second file, so its modules are put one after the other, what is imported before what imports it, and
the words ``import`` and ``export`` are left out. Therefore no two modules may have the same name at their top level.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterator
from importlib.resources import files

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function |const |let |class )", re.MULTILINE)
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
    return "".join(_without_imports(asset(name)) for name in modules(entry))


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
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        yield from _in_order(wanted, done, (*importers, name))
    done[name] = None
    yield name


def _without_imports(module: str) -> str:
    return EXPORT.sub("", IMPORT.sub("", module))
