"""Findings as a SARIF 2.1.0 log, which code hosts and editors read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proxy_addon import __version__
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.reporting.judged import Subject

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


class SarifReport:
    """One log with one run; a result for each finding."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._first = True

    def begin(self) -> None:
        """Open the run, with all rules."""
        rules = [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.summary},
                "help": {"text": rule.page.get("How to fix", rule.summary)},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in KNOWN.values()
        ]
        driver = {"name": "sessiontape", "version": __version__, "rules": rules}
        self._write(f'{{"$schema": {json.dumps(SCHEMA)}, "version": "2.1.0", "runs": [')
        self._write(f'{{"tool": {{"driver": {json.dumps(driver)}}}, "results": [')

    def add(self, subject: Subject) -> None:
        """Write a result for each finding of a subject."""
        for finding in subject.judgement.findings:
            self._write(f"{'' if self._first else ','}\n{json.dumps(_result(subject, finding))}")
            self._first = False

    def end(self, *, ok: bool) -> None:  # the results say it
        """Close the run."""
        self._write("\n]}]}\n")


def _result(subject: Subject, finding: Finding) -> dict[str, Any]:
    uri = Path(subject.file).as_posix() if subject.file else f"sessiontape:{subject.name}"
    logical: dict[str, Any] = {"name": subject.name, "fullyQualifiedName": f"{subject.name}{finding.pointer or ''}"}
    if finding.seq is not None:
        logical["fullyQualifiedName"] = f"{subject.name}#{finding.seq}{finding.pointer or ''}"
    artifact = {"uri": quote(uri, safe="/:.-_~")}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": artifact}, "logicalLocations": [logical]}],
        "occurrenceCount": finding.count,
        "properties": {
            "authority": finding.authority,
            "loweredBy": finding.lowered_by,
            "place": subject.place(finding),
        },
    }
    if finding.rule in KNOWN:
        result["ruleIndex"] = list(KNOWN).index(finding.rule)
    return result
