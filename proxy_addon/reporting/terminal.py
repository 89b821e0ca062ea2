"""Output for people: tables on stdout, notes on stderr. rich honours NO_COLOR and leaves pipes uncoloured."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Severity, finding_parts
from proxy_addon.core.replays.runs import StepOutcome
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.core.wording import visible
from proxy_addon.reporting.columns import Table, cut, wrapped
from proxy_addon.reporting.words import moment, zone

PROSE_WIDTH = 100
"""Width of prose, in cells, if the output is not a terminal."""

STATE_STYLES = {
    SessionState.OPEN: "cyan",
    SessionState.COMPLETED: "green",
    SessionState.ENDED: "green",
    SessionState.EXPIRED: "yellow",
    SessionState.FAILED: "red",
    SessionState.PARTIAL: "yellow",
}
SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_WIDEST_SEVERITY = max(len(severity) for severity in Severity)
OUTCOME_STYLES = {
    StepOutcome.SAME: "green",
    StepOutcome.DIFFERENT: "yellow",
    StepOutcome.FAILED: "red",
    StepOutcome.SKIPPED: "dim",
}


class Screen(Console):
    """Where results are printed.

    Attributes:
        room: How many cells a line has; None if there is no limit, as in a pipe or a file. Then nothing is cut or
            wrapped, except prose.
    """

    def __init__(self, room: int | None, **how: Any) -> None:
        super().__init__(highlight=False, width=room or PROSE_WIDTH, **how)
        self.room = room

    def print_table(self, table: Table) -> None:
        """Print as much of a table as there is room for."""
        for line in table.lines(self.room):
            self.print(line, soft_wrap=True)

    def print_wrapped(self, text: Text | str, *, hanging: int = 4) -> None:
        """Print a text that wraps between words.

        Args:
            hanging: How many blanks each line but the first begins with.
        """
        for line in wrapped(Text(text) if isinstance(text, str) else text, self.room, hanging):
            self.print(line, soft_wrap=True)

    def print_line(self, text: Text) -> None:
        """Print a text as one line, cut at its end if there is no room for it."""
        self.print(cut(text, self.room), soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """End like other filters when the reader closes the pipe."""
        raise BrokenPipeError


class _Trimmed(io.TextIOBase):
    """Writes to stdout without the blanks at the ends of lines with which rich pads tables."""

    def write(self, text: str) -> int:
        sys.stdout.write(_BLANKS.sub("\n", text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


_BLANKS = re.compile(r" +\n")


def console(*, stderr: bool = False) -> Screen:
    """Return the screen for results, as wide as the terminal or ``COLUMNS``.

    Args:
        stderr: Whether it is on stderr, because stdout belongs to another program.
    """
    columns = os.environ.get("COLUMNS", "")
    asked = int(columns) if columns.isdecimal() and int(columns) > 0 else None
    if stderr:
        return Screen(asked or (Console(stderr=True).width if sys.stderr.isatty() else None), stderr=True)
    if sys.stdout.isatty():
        return Screen(asked or Console().width)
    trimmed: Any = _Trimmed()  # rich only writes and flushes
    return Screen(asked, file=trimmed)


def notes() -> Console:
    """Return the console for progress and remarks, on stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    print_pieces([json.dumps(document, indent=2)])


def print_pieces(pieces: Iterable[str]) -> None:
    """Print a document that comes in pieces on stdout, followed by a line end."""
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_markdown(text: str) -> None:
    """Print Markdown for people on stdout."""
    from rich.markdown import Markdown  # noqa: PLC0415  # its parser takes long to import, and few commands need it

    console().print(Markdown(text))


def printable(text: str | None, otherwise: str = "") -> Text:
    """Return a device's text for the terminal, without markup and with control characters made visible.

    Args:
        otherwise: Shown if the text is None.
    """
    if text is None:
        return Text(otherwise, style="dim")
    return Text(visible(text)) if text else Text('""', style="dim")


def coloured(outcome: StepOutcome) -> Text:
    """Return an outcome in its colour."""
    return Text(outcome.value, style=OUTCOME_STYLES[outcome])


def finding_text(finding: Finding, place: str = "") -> Text:
    """Return a finding as a coloured line; see `core.findings.finding_parts`."""
    styles = {"severity": SEVERITY_STYLES[finding.severity], "rule": "bold", "aside": "dim", "text": ""}
    line = Text()
    for kind, text in finding_parts(finding, place):
        line.append(visible(text), styles[kind])
        if kind == "severity":
            line.append(" " * (_WIDEST_SEVERITY - len(text)))
    return line


def session_heading(session: Session, state: SessionState, name: str | None = None, *, local: bool = False) -> Text:
    """Return a line that identifies a session: name, state, time of the start, and what it plays.

    Args:
        name: The name to show; None for the session's id.
        local: Whether the time is local rather than UTC.
    """
    names = (session.media_name or session.media_id, session.player_name, session.library_version)
    started = f"{moment(session.started_at, local=local)} {zone([session.started_at], local=local)}"
    heading = Text.assemble(
        (visible(name or session.id), "bold"), "  ", (state.value, STATE_STYLES[state]), f"  {started}"
    )
    about = " · ".join(filter(None, names))
    return heading.append(f"  {visible(about)}" if about else "")


def answer(exchange: Exchange) -> Text:
    """Return an exchange's status, or its outcome if it has none."""
    if exchange.response is not None and exchange.outcome is Outcome.ANSWERED:
        return Text(str(exchange.response.status), style="green" if exchange.response.is_success else "red")
    if exchange.outcome is Outcome.ANSWERED:
        return Text("-", style="dim")  # from a file without answers
    return Text(exchange.outcome.value, style="red")
