"""What ``check`` writes, in each of its formats; subjects go out as they come, so that memory does not grow with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from proxy_addon.core.findings import Severity
from proxy_addon.reporting.documents import finding_document
from proxy_addon.reporting.github import GitHubReport
from proxy_addon.reporting.judged import Report, Subject
from proxy_addon.reporting.junit import JUnitReport
from proxy_addon.reporting.sarif import SarifReport
from proxy_addon.reporting.terminal import STATE_STYLES, console, finding_text, printable
from proxy_addon.reporting.words import counted, moment

FORMATS: dict[str, Callable[[Callable[[str], object], int | None], Report]] = {
    "text": lambda _write, _threshold: TextReport(console()),
    "json": lambda write, _threshold: JsonReport(write),
    "junit": JUnitReport,
    "sarif": lambda write, _threshold: SarifReport(write),
    "github": lambda write, _threshold: GitHubReport(write),
}
"""What makes the report of each format, given what writes its text and the weight from which a finding is a failure;
None where none is."""


class TextReport:
    """For people: what was found below the name of what was judged, and the counts."""

    def __init__(self, out: Console) -> None:
        self._console = out
        self._counts: Counter[Severity] = Counter()
        self._clean = 0
        self._total = 0

    def begin(self) -> None:
        """Print nothing."""

    def add(self, subject: Subject) -> None:
        """Print the findings on a subject, each with its place."""
        self._total += 1
        findings = subject.judgement.findings
        self._counts.update(finding.severity for finding in findings)
        if not findings:
            self._clean += 1
            return
        self._console.print(_heading(subject))
        width = max(len(subject.place(finding)) for finding in findings)
        for finding in findings:
            place = printable(f"  {subject.place(finding):<{width}}  ")
            self._console.print(place.append_text(finding_text(finding)), soft_wrap=True)
        self._console.print()

    def end(self, *, ok: bool) -> None:
        """Print the counts."""
        counts = ", ".join(counted(self._counts[severity], severity.value) for severity in Severity)
        clean = f"; {self._clean} of {self._total} clean" if self._total != 1 else ""
        self._console.print(f"{counts}{clean}" if self._total else "nothing to judge", style="" if ok else "bold")


def _heading(subject: Subject) -> Text:
    session = subject.session
    if session is None or subject.state is None:
        return printable(subject.name)
    about = " · ".join(
        filter(None, (session.media_name or session.media_id, session.player_name, session.library_version))
    )
    heading = Text.assemble((session.id, "bold"), "  ", (subject.state.value, STATE_STYLES[subject.state]), "  ")
    return heading.append(f"{moment(session.started_at)}  ").append_text(printable(about))


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
        findings = subject.judgement.findings
        self._counts.update(finding.severity.value for finding in findings)
        document = {
            "id": subject.session.id if subject.session is not None else None,
            "findings": [finding_document(finding) for finding in findings],
        }
        self._write(f"{'' if self._first else ','}\n  {json.dumps(document)}")
        self._first = False

    def end(self, *, ok: bool) -> None:
        """Close the list, and write the counts."""
        counts = {severity.value: self._counts[severity.value] for severity in Severity}
        self._write(f'\n ],\n "counts": {json.dumps(counts)},\n "ok": {json.dumps(ok)}\n}}\n')
