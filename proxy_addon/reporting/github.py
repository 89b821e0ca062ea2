"""Findings as annotations of a GitHub workflow run: workflow commands, a line each."""

from __future__ import annotations

from collections.abc import Callable

from proxy_addon.core.findings import Severity
from proxy_addon.core.wording import visible
from proxy_addon.reporting.judged import Subject

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


class GitHubReport:
    """An annotation for each finding."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def begin(self) -> None:
        """Write nothing."""

    def add(self, subject: Subject) -> None:
        """Write a line for each finding on a subject."""
        for finding in subject.judgement.findings:
            file = f"file={_property(subject.file)}," if subject.file else ""
            place = " ".join(filter(None, (subject.name, subject.place(finding), finding.pointer)))
            text = _data(f"{finding.message} ({place})")
            self._write(f"::{_LEVELS[finding.severity]} {file}title={_property(finding.rule)}::{text}\n")

    def end(self, *, ok: bool) -> None:
        """Write nothing."""


def _data(text: str) -> str:
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
