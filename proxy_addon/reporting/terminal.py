"""Where text for people goes: tables on stdout, notes on stderr. rich honours NO_COLOR and leaves pipes uncoloured."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 200
"""Columns for output that no terminal shows: enough that tables in logs and pipes are not cut."""


NARROWEST = 110
"""Columns below which a table would drop what matters; a narrower terminal breaks the lines."""


class _Console(Console):
    """Ends as other filters do when whoever reads has seen enough."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Trimmed(io.TextIOBase):
    """Takes the blanks off the ends of lines, which pad tables for no terminal to see."""

    def write(self, text: str) -> int:
        sys.stdout.write(_BLANKS.sub("\n", text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


_BLANKS = re.compile(r" +\n")


def console() -> Console:
    """Return where results are printed."""
    if not sys.stdout.isatty():
        trimmed: Any = _Trimmed()  # rich writes and flushes, and asks for nothing else
        return _Console(highlight=False, width=PIPE_WIDTH, file=trimmed)
    found = _Console(highlight=False)
    return found if found.width >= NARROWEST else _Console(highlight=False, width=NARROWEST)


def notes() -> Console:
    """Return where progress and remarks are printed."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str | None, otherwise: str = "") -> Text:
    """Return a device's text for the terminal: no markup, and no control characters that would act on it."""
    if text is None:
        return Text(otherwise, style="dim")
    return Text("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))
