"""Findings as annotations of a GitHub workflow run: one workflow command on each line."""

from __future__ import annotations

from collections.abc import Callable

from proxy_addon.core.findings import Severity
from proxy_addon.core.folding import fold
from proxy_addon.core.wording import visible
from proxy_addon.reporting.judged import Subject
from proxy_addon.reporting.words import not_applied

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


class GitHubReport:
    """An annotation for each finding; GitHub shows only a few for each step."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def begin(self) -> None:
        """Write nothing."""

    def add(self, subject: Subject) -> None:
        """Write one line for each finding of a subject, however many places it has, and one for what was not applied."""
        name = f"{subject.name} {subject.about}".rstrip()
        told = fold(subject.findings)
        for each in (one for cause in told for one in (cause, *cause.consequences)):
            finding, pointer = each.finding, each.told.pointer
            place = " ".join(filter(None, (subject.place(finding), pointer)))
            where = (", " if subject.about else " ").join(filter(None, (name, place)))
            text = f"{finding.message} ({'; '.join(filter(None, (where, each.elsewhere)))})"
            self._write(annotation(_LEVELS[finding.severity], text, title=finding.rule, file=subject.file))
        if (holes := subject.judgement.holes) is not None:
            text = f"{name}: {not_applied(holes)}"
            self._write(annotation("notice", text, title="not applied", file=subject.file))

    def end(self, *, ok: bool) -> None:
        """Write nothing."""


def annotation(level: str, text: str, *, title: str, file: str | None = None) -> str:
    """Return one annotation as a line.

    Args:
        level: ``error``, ``warning`` or ``notice``.
        file: The file that it is about; None for none.
    """
    where = f"file={_property(file)}," if file else ""
    return f"::{level} {where}title={_property(title)}::{_data(text)}\n"


def _data(text: str) -> str:
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
