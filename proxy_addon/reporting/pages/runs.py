"""The list of replay runs as a page, whose links are those of the live pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy_addon.core.replays.runs import RunSummary
from proxy_addon.reporting.documents import summary_document
from proxy_addon.reporting.pages.rendering import document


@dataclass(frozen=True, kw_only=True)
class RunsPage:
    """What the list of runs shows.

    Attributes:
        runs: Newest first.
        is_whole: Whether these are all runs.
    """

    runs: tuple[RunSummary, ...]
    is_whole: bool = True

    def document(self) -> list[dict[str, Any]]:
        """Return it as JSON, as ``runs --json`` prints it."""
        return [dict(summary_document(each)) for each in self.runs]


def runs_page(runs: Iterable[RunSummary], *, is_whole: bool = True) -> RunsPage:
    """Return what the list of runs shows.

    Args:
        runs: Newest first.
        is_whole: Whether these are all runs.
    """
    return RunsPage(runs=tuple(runs), is_whole=is_whole)


def html(page: RunsPage) -> Iterator[str]:
    """Yield the page in pieces."""
    return document("runs.html", title="Runs", entry="document_page.js", page=page)
