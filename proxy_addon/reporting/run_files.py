"""Reports of replay runs: an HTML page, JSON, or JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from proxy_addon.core.replays.runs import RunSummary, SessionRun
from proxy_addon.errors import SettingsError
from proxy_addon.reporting.documents import run_text
from proxy_addon.reporting.junit import run_suite
from proxy_addon.reporting.pages.run import page

Sessions = Callable[[], Iterable[SessionRun]]
"""Returns the sessions of a run; may be called several times."""


def _json(of: RunSummary, sessions: Sessions) -> Iterator[str]:
    yield from run_text(of, sessions())
    yield "\n"


_FORMATS: Mapping[str, Callable[[RunSummary, Sessions], Iterator[str]]] = MappingProxyType(
    {".html": page, ".htm": page, ".json": _json, ".xml": run_suite}
)


def check_path(path: Path) -> None:
    """Check that a report can be written, before anything is sent.

    Raises:
        SettingsError: The name does not end in a known format, or the file cannot be written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise SettingsError(
            f"{path} does not name the format of a report", hint="end its name with .html, .json or .xml"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise SettingsError(f"cannot write {path}", hint="does its folder exist, and may you write there?")


def pieces(path: Path, of: RunSummary, sessions: Sessions) -> Iterator[bytes]:
    """Yield a report in the format that its name says."""
    return map(str.encode, _FORMATS[path.suffix.lower()](of, sessions))
