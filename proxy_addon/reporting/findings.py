"""Findings as lines for people: sorted by place, one line for all places of a finding, with its consequences below."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import cell_len
from rich.text import Text

from proxy_addon.core.findings import Finding
from proxy_addon.core.folding import Folded, fold, place_of
from proxy_addon.core.wording import visible
from proxy_addon.reporting.terminal import Screen, finding_text

_WIDEST_PLACE = 30
"""How wide the column of places may get, in cells."""
_INDENT = 2


def print_findings(
    screen: Screen, findings: Iterable[Finding], place: Callable[[Finding], str], *, otherwise: str = ""
) -> None:
    """Print findings of one session or file.

    Args:
        place: Returns the place of a finding; empty for none.
        otherwise: Printed as the place of a finding without one.
    """
    folded = fold(findings)
    places = [Text(visible(place(each.finding) or otherwise)) for each in folded]
    width = min(max((text.cell_len for text in places), default=0), _WIDEST_PLACE)
    indent = _INDENT + (width + 2 if width else 0)
    for where, each in zip(places, folded, strict=True):
        line = Text(" " * _INDENT).append_text(where)
        line.append(" " * max(2 if where else 0, indent - line.cell_len))
        screen.print_wrapped(line.append_text(_text(each)), hanging=indent + 2)
        for consequence in each.consequences:
            at = place_of(consequence.finding)
            line = Text(" " * indent + _SO).append_text(_text(consequence, "" if at == place_of(each.finding) else at))
            screen.print_wrapped(line, hanging=indent + cell_len(_SO) + 2)


_SO = "└ "
"""Precedes a consequence of the finding above."""


def _text(folded: Folded, place: str = "") -> Text:
    line = finding_text(folded.told, place)
    if folded.elsewhere:
        line.append(f" ({folded.elsewhere})", "dim")
    return line
