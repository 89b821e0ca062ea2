"""Where text for people goes: tables on stdout, notes on stderr. rich honours NO_COLOR and leaves pipes uncoloured."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 200
"""Columns for output that no terminal shows: enough that tables in logs and pipes are not cut."""


def console() -> Console:
    """Return where results are printed."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def notes() -> Console:
    """Return where progress and remarks are printed."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str | None, otherwise: str = "") -> Text:
    """Return a device's text for the terminal: no markup, and no control characters that would act on it."""
    if text is None:
        return Text(otherwise, style="dim")
    return Text("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))
