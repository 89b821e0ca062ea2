"""What ``check`` prints, in each of its formats; subjects go out as they come, so that memory does not grow with them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from xml.sax.saxutils import escape, quoteattr

import click
from rich.text import Text

from proxy_addon import __version__
from proxy_addon.cli.sessions import STATE_STYLES
from proxy_addon.core.findings import Finding, Judgement, Severity
from proxy_addon.core.rules import RULES
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.reporting.documents import finding_document
from proxy_addon.reporting.terminal import console, printable
from proxy_addon.reporting.timeline import finding_line

_HELD_BYTES = 2**20
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_ANNOTATIONS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


@dataclass(frozen=True, slots=True)
class Moment:
    """Where an exchange stands in its session: seconds since the start, and what it reports."""

    offset_s: float
    name: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was judged: a stored session, a file, or stdin.

    Attributes:
        session: None for a file.
        state: Of the session.
        file: None for a session, and for stdin.
        moments: Of the session's exchanges, by ``seq``.
    """

    verdict: Judgement
    session: Session | None = None
    state: SessionState | None = None
    file: str | None = None
    moments: Mapping[int, Moment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.session.id if self.session is not None else self.file or "stdin"

    def place(self, finding: Finding) -> str:
        """Return where a finding stands: place, time and event."""
        if finding.seq is None:
            return ""
        moment = self.moments.get(finding.seq)
        if moment is None:
            return f"#{finding.seq}"
        minutes, seconds = divmod(moment.offset_s, 60)
        return f"#{finding.seq} +{int(minutes)}:{seconds:06.3f} {moment.name}"


class Report(Protocol):
    """One format. `add` is called for each subject, between `begin` and `end`."""

    def begin(self) -> None:
        """Print what comes first."""

    def add(self, subject: Subject) -> None:
        """Print what is to be said of a subject."""

    def end(self, *, ok: bool) -> None:
        """Print what comes last."""


def make_report(name: str, threshold: int | None) -> Report:
    """Return the report in a format.

    Args:
        threshold: Weight from which a finding is a failure; None where none is.
    """
    if name == "junit":
        return _JUnit(threshold)
    made: dict[str, type[Report]] = {"text": _Text, "json": _Json, "sarif": _Sarif, "github": _GitHub}
    return made[name]()


class _Text:
    def __init__(self) -> None:
        self._console = console()
        self._counts: Counter[Severity] = Counter()
        self._clean = 0
        self._total = 0

    def begin(self) -> None:
        pass

    def add(self, subject: Subject) -> None:
        self._total += 1
        findings = subject.verdict.findings
        self._counts.update(finding.severity for finding in findings)
        if not findings:
            self._clean += 1
            return
        self._console.print(self._heading(subject))
        width = max(len(subject.place(finding)) for finding in findings)
        for finding in findings:
            place = printable(f"  {subject.place(finding):<{width}}  ")
            self._console.print(place.append_text(finding_line(finding)), soft_wrap=True)
        self._console.print()

    def _heading(self, subject: Subject) -> Text:
        session = subject.session
        if session is None or subject.state is None:
            return printable(subject.name)
        about = " · ".join(
            filter(None, (session.media_name or session.media_id, session.player_name, session.library_version))
        )
        heading = Text.assemble((session.id, "bold"), "  ", (subject.state.value, STATE_STYLES[subject.state]), "  ")
        return heading.append(f"{session.started_at:%Y-%m-%d %H:%M:%S}  ").append_text(printable(about))

    def end(self, *, ok: bool) -> None:
        counts = ", ".join(
            f"{self._counts[severity]} {severity.value}{'' if self._counts[severity] == 1 else 's'}"
            for severity in Severity
        )
        clean = f"; {self._clean} of {self._total} clean" if self._total != 1 else ""
        self._console.print(f"{counts}{clean}" if self._total else "nothing to judge", style="" if ok else "bold")


class _Json:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first = True

    def begin(self) -> None:
        click.echo('{\n "sessions": [', nl=False)

    def add(self, subject: Subject) -> None:
        findings = subject.verdict.findings
        self._counts.update(finding.severity.value for finding in findings)
        document = {
            "id": subject.session.id if subject.session is not None else None,
            "findings": [finding_document(finding) for finding in findings],
        }
        click.echo(f"{'' if self._first else ','}\n  {json.dumps(document)}", nl=False)
        self._first = False

    def end(self, *, ok: bool) -> None:
        counts = {severity.value: self._counts[severity.value] for severity in Severity}
        click.echo(f'\n ],\n "counts": {json.dumps(counts)},\n "ok": {json.dumps(ok)}\n}}')


class _JUnit:
    """A suite of one test case per subject; findings from the threshold on are failures, the others its output."""

    def __init__(self, threshold: int | None) -> None:
        self._threshold = threshold
        # The counts stand in front of the cases and are known behind them.
        self._cases = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed in `end`
            max_size=_HELD_BYTES, mode="w+", encoding="utf-8", newline=""
        )
        self._tests = self._failures = 0

    def begin(self) -> None:
        click.echo('<?xml version="1.0" encoding="utf-8"?>')

    def add(self, subject: Subject) -> None:
        write = self._cases.write
        write(f'<testcase classname="sessiontape" name={xml_attribute(subject.name)}>\n')
        others = []
        failures = 0
        for finding in subject.verdict.findings:
            line = f"{subject.place(finding)} {finding_line(finding).plain}".strip()
            if self._threshold is not None and finding.severity.weight >= self._threshold:
                failures += 1
                write(f"<failure type={xml_attribute(finding.rule)} message={xml_attribute(finding.message)}>")
                write(f"{xml_text(line)}</failure>\n")
            else:
                others.append(line)
        if others:
            write("<system-out>{}</system-out>\n".format(xml_text("\n".join(others))))
        write("</testcase>\n")
        self._tests += 1
        self._failures += failures > 0

    def end(self, *, ok: bool) -> None:  # the failures say it
        counts = f'tests="{self._tests}" failures="{self._failures}" errors="0"'
        click.echo(f'<testsuites name="sessiontape" {counts}>\n<testsuite name="sessiontape check" {counts}>')
        with self._cases as cases:
            cases.seek(0)
            while piece := cases.read(_HELD_BYTES):
                click.echo(piece, nl=False)
        click.echo("</testsuite>\n</testsuites>")


class _Sarif:
    def __init__(self) -> None:
        self._first = True

    def begin(self) -> None:
        rules = [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.summary},
                "help": {"text": rule.page.get("How to fix", rule.summary)},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in RULES.values()
        ]
        driver = {"name": "sessiontape", "version": __version__, "rules": rules}
        click.echo(f'{{"$schema": {json.dumps(SARIF_SCHEMA)}, "version": "2.1.0", "runs": [', nl=False)
        click.echo(f'{{"tool": {{"driver": {json.dumps(driver)}}}, "results": [', nl=False)

    def add(self, subject: Subject) -> None:
        for finding in subject.verdict.findings:
            click.echo(f"{'' if self._first else ','}\n{json.dumps(_result(subject, finding))}", nl=False)
            self._first = False

    def end(self, *, ok: bool) -> None:  # the results say it
        click.echo("\n]}]}")


def _result(subject: Subject, finding: Finding) -> dict[str, Any]:
    uri = Path(subject.file).as_posix() if subject.file else f"sessiontape:{subject.name}"
    logical: dict[str, Any] = {"name": subject.name, "fullyQualifiedName": f"{subject.name}{finding.pointer or ''}"}
    if finding.seq is not None:
        logical["fullyQualifiedName"] = f"{subject.name}#{finding.seq}{finding.pointer or ''}"
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(uri)}}, "logicalLocations": [logical]}],
        "occurrenceCount": finding.count,
        "properties": {
            "authority": finding.authority,
            "loweredBy": finding.lowered_by,
            "place": subject.place(finding),
        },
    }
    if finding.rule in RULES:
        result["ruleIndex"] = list(RULES).index(finding.rule)
    return result


def _uri(text: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(text, safe="/:.-_~")


class _GitHub:
    """Annotations of a workflow run."""

    def begin(self) -> None:
        pass

    def add(self, subject: Subject) -> None:
        for finding in subject.verdict.findings:
            file = f"file={_property(subject.file)}," if subject.file else ""
            place = " ".join(filter(None, (subject.name, subject.place(finding), finding.pointer)))
            text = f"{finding.message} ({place})"
            click.echo(f"::{_ANNOTATIONS[finding.severity]} {file}title={_property(finding.rule)}::{_data(text)}")

    def end(self, *, ok: bool) -> None:
        pass


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def xml_text(text: str) -> str:
    """Return any text as one in XML."""
    return escape(legal_text(text))


def xml_attribute(text: str) -> str:
    """Return any text as the value of an attribute in XML, quotes included."""
    return quoteattr(legal_text(text))


def legal_text(text: str) -> str:
    """Return a text without the characters that a document cannot hold or show."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
