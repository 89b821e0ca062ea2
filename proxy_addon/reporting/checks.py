"""The output of ``check`` in each format. Subjects are written as they come, so that memory does not grow with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from rich.text import Text

from proxy_addon.core.findings import Severity
from proxy_addon.core.folding import in_order
from proxy_addon.core.wording import counted
from proxy_addon.reporting.documents import finding_document, holes_document
from proxy_addon.reporting.findings import print_findings
from proxy_addon.reporting.github import GitHubReport
from proxy_addon.reporting.judged import Report, Subject
from proxy_addon.reporting.junit import JUnitReport
from proxy_addon.reporting.sarif import SarifReport
from proxy_addon.reporting.terminal import Screen, console, printable, session_heading
from proxy_addon.reporting.words import not_applied

_FOR_MACHINES: dict[str, Callable[[Callable[[str], object], int | None], Report]] = {
    "json": lambda write, _threshold: JsonReport(write),
    "junit": JUnitReport,
    "sarif": lambda write, _threshold: SarifReport(write),
    "github": lambda write, _threshold: GitHubReport(write),
}


def report(name: str, write: Callable[[str], object], threshold: int | None, *, local: bool = False) -> Report:
    """Return the report of a format.

    Args:
        write: Writes text in a format for machines; the format ``text`` is printed on the terminal instead.
        threshold: The weight from which a finding is a failure; None if no finding is.
        local: Whether times for people are local rather than UTC.
    """
    if name == "text":
        return TextReport(console(), local=local)
    return _FOR_MACHINES[name](write, threshold)


class TextReport:
    """For people: the findings below the name of each subject, then the counts."""

    def __init__(self, screen: Screen, *, local: bool = False) -> None:
        """Make an empty report.

        Args:
            local: Whether times are local rather than UTC.
        """
        self._screen = screen
        self._local = local
        self._counts: Counter[Severity] = Counter()
        self._clean = 0
        self._total = 0

    def begin(self) -> None:
        """Print nothing."""

    def add(self, subject: Subject) -> None:
        """Print the findings of a subject, each with its place."""
        self._total += 1
        findings = subject.findings
        self._counts.update(finding.severity for finding in findings)
        holes = subject.judgement.holes
        self._clean += not findings
        if not findings and holes is None:
            return
        session, state = subject.session, subject.state
        if session is not None and state is not None:
            self._screen.print_line(session_heading(session, state, subject.name, local=self._local))
        else:
            self._screen.print_line(printable(subject.name))
        print_findings(self._screen, findings, subject.place, otherwise="session" if session is not None else "")
        if holes is not None:
            self._screen.print_wrapped(Text(f"  not applied: {not_applied(holes)}", style="dim"))
        self._screen.print()

    def end(self, *, ok: bool) -> None:
        """Print the counts."""
        counts = ", ".join(counted(self._counts[severity], severity.value) for severity in Severity)
        clean = f"; {self._clean} of {self._total} clean" if self._total != 1 else ""
        self._screen.print(f"{counts}{clean}" if self._total else "nothing to check", style="" if ok else "bold")


class JsonReport:
    """One document with all subjects."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._counts: Counter[str] = Counter()
        self._first = True

    def begin(self) -> None:
        """Open the list of subjects."""
        self._write('{\n "sessions": [')

    def add(self, subject: Subject) -> None:
        """Write a subject with its findings."""
        findings = in_order(subject.judgement.findings)
        self._counts.update(finding.severity.value for finding in findings)
        document = {
            "id": subject.session.id if subject.session is not None and subject.held is None else None,
            "name": subject.name,
            "file": subject.file,
            "session_id": None if subject.session is None else subject.session.session_id,
            "findings": [finding_document(finding) for finding in findings],
            "holes": holes_document(subject.judgement.holes),
        }
        self._write(f"{'' if self._first else ','}\n  {json.dumps(document)}")
        self._first = False

    def end(self, *, ok: bool) -> None:
        """Close the list, and write the counts."""
        counts = {severity.value: self._counts[severity.value] for severity in Severity}
        self._write(f'\n ],\n "counts": {json.dumps(counts)},\n "ok": {json.dumps(ok)}\n}}\n')
