"""What ``check`` finds, as files in the formats that it prints: the ending of a name says which."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from proxy_addon.errors import SettingsError
from proxy_addon.reporting import checks
from proxy_addon.reporting.judged import Subject

PAGES = (".html", ".htm")
"""Endings of HTML pages, which are made of whole sessions and not of findings alone."""
_FORMATS: Mapping[str, str] = MappingProxyType({".json": "json", ".xml": "junit", ".sarif": "sarif"})
_READ_AT_ONCE = 1 << 16


def check_path(path: Path) -> None:
    """Check that a report can be written, before anything is judged.

    Raises:
        SettingsError: The name does not end in a known format, or the file cannot be written.
    """
    if path.suffix.lower() not in (*PAGES, *_FORMATS):
        raise SettingsError(
            f"{path} does not name the format of a report", hint="end its name with .html, .json, .xml or .sarif"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise SettingsError(f"cannot write {path}", hint="does its folder exist, and may you write there?")


class FindingsFile:
    """A report that is gathered while subjects come, in a file without a name, so that it is written whole."""

    def __init__(self, path: Path, threshold: int | None) -> None:
        """Begin a report.

        Args:
            path: Its name says its format.
            threshold: The weight from which a finding is a failure; None if no finding is.
        """
        self.path = path
        self._text = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115  # `close` closes it
        self._report = checks.report(_FORMATS[path.suffix.lower()], self._text.write, threshold)
        self._report.begin()

    def add(self, subject: Subject) -> None:
        """Add a subject."""
        self._report.add(subject)

    def end(self, *, ok: bool) -> Iterator[bytes]:
        """Yield all of the report.

        Args:
            ok: Whether the check passed.
        """
        self._report.end(ok=ok)
        self._text.seek(0)
        while text := self._text.read(_READ_AT_ONCE):
            yield text.encode()

    def close(self) -> None:
        """Drop what was gathered."""
        self._text.close()
