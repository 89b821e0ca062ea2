"""Where text for people goes: tables on stdout, notes on stderr. rich honours NO_COLOR and leaves pipes uncoloured."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Severity, finding_parts
from proxy_addon.core.replays.runs import StepOutcome
from proxy_addon.core.sessions import SessionState
from proxy_addon.core.wording import visible

PIPE_WIDTH = 200
"""Columns for output that no terminal shows: enough that tables in logs and pipes are not cut."""
NARROWEST = 110
"""Columns below which a table would drop what matters; a narrower terminal breaks the lines."""

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


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    print_pieces([json.dumps(document, indent=2)])


def print_pieces(pieces: Iterable[str]) -> None:
    """Print a document that comes in pieces on stdout, and a line end behind it."""
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_markdown(text: str) -> None:
    """Print Markdown for people on stdout."""
    console().print(Markdown(text))


def printable(text: str | None, otherwise: str = "") -> Text:
    """Return a device's text for the terminal: no markup, and no control characters that would act on it."""
    if text is None:
        return Text(otherwise, style="dim")
    return Text(visible(text))


def plain_table(*columns: str, show_header: bool = True) -> Table:
    """Return an empty table in the house's style: no lines, a bold head."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=show_header)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


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


def answer(exchange: Exchange) -> Text:
    """Return an exchange's status, or its outcome where it has none."""
    if exchange.response is not None and exchange.outcome is Outcome.ANSWERED:
        return Text(str(exchange.response.status), style="green" if exchange.response.is_success else "red")
    return Text(exchange.outcome.value, style="red")
