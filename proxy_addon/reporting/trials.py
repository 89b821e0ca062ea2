"""The result of a test command with a recorder around it: as text, as JSON, and as JUnit XML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy_addon.core.expectations.comparison import Comparison
from proxy_addon.core.findings import Severity
from proxy_addon.core.folding import in_order
from proxy_addon.core.sessions import Session
from proxy_addon.core.wording import visible
from proxy_addon.errors import SettingsError
from proxy_addon.reporting import junit, tracking
from proxy_addon.reporting.checks import TextReport
from proxy_addon.reporting.documents import finding_document
from proxy_addon.reporting.judged import Subject
from proxy_addon.reporting.junit import SUITE_END, Problem, case, suite_begin
from proxy_addon.reporting.pages.report import TrialVerdict
from proxy_addon.reporting.terminal import Screen


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of a test command.

    Attributes:
        command: With its arguments.
        code: Its exit code; 128 + N if signal N ended it.
        checked: The recorded sessions, judged; None if they were not to be checked.
        threshold: The weight from which a finding is a failure; None if none is.
        recorded: How many sessions were recorded.
        compared: By expectation; None where no session was recorded for it.
        unexpected: Sessions that should have had an expectation.
        is_complete: Whether everything was stored.
        problem: Why expectations could not be updated; None if they were, or were not to be.
    """

    command: Sequence[str]
    code: int
    checked: Sequence[Subject] | None
    threshold: int | None
    recorded: int
    compared: Mapping[str, Comparison | None]
    unexpected: Sequence[Session]
    is_complete: bool = True
    problem: str | None = None

    @property
    def fails(self) -> bool:
        """Whether there is a finding that counts or a difference."""
        return (
            self.has_failing_findings
            or bool(self.unexpected)
            or any(each is None or not each.is_same for each in self.compared.values())
        )

    @property
    def has_failing_findings(self) -> bool:
        """Whether there is a finding that counts."""
        findings = [finding for subject in self.checked or () for finding in subject.judgement.findings]
        return self.threshold is not None and any(each.severity.weight >= self.threshold for each in findings)

    @property
    def error(self) -> str | None:
        """Why there is no result that can be relied on; None if there is one."""
        if not self.recorded:
            return "nothing was recorded"
        return self.problem if self.is_complete else "not everything was recorded; stderr says why"

    @property
    def verdict(self) -> TrialVerdict:
        """What it came to, for the page with the sessions."""
        reasons = []
        if self.code:
            reasons.append(f"The command ended with exit code {self.code}.")
        if self.error is not None:
            reasons.append(f"{self.error[:1].upper()}{self.error[1:]}.")
        reasons += [f"{_missing(name)}." for name, made in self.compared.items() if made is None]
        # Without its name, which may be personal: the list shows it as far as it can be shown.
        reasons += [f"Session {each.id} was recorded, and no expectation has it." for each in self.unexpected]
        if self.threshold is not None and self.threshold < Severity.ERROR.weight and self.has_failing_findings:
            least = next(each.value for each in Severity if each.weight == self.threshold)
            reasons.append(f"A finding of severity {least} fails the run.")
        return TrialVerdict(is_failed=self.exit_code != 0, reasons=tuple(map(visible, reasons)))

    @property
    def exit_code(self) -> int:
        """What it all comes to: the command's exit code if it failed, else 2 for an error, else 1 for what fails."""
        return self.code or (int(self.fails) if self.error is None else 2)


def print_trial(screen: Screen, trial: Trial) -> None:
    """Print what was found and what differs."""
    if trial.checked:
        report = TextReport(screen)
        report.begin()
        for subject in trial.checked:
            report.add(subject)
        report.end(ok=not trial.fails)
    for name, comparison in trial.compared.items():
        if comparison is None:
            screen.print(visible(_missing(name)), soft_wrap=True, markup=False)
        else:
            actual = comparison.actual.session.id
            told = tracking.text(comparison, expected=name, actual=actual, is_wrapped=screen.room is not None)
            screen.print(told, soft_wrap=True, markup=False)
    for session in trial.unexpected:
        screen.print(visible(_unexpected(session)), soft_wrap=True, markup=False)


def _missing(name: str) -> str:
    return f"{name}: no session was recorded that could be this one"


def _unexpected(session: Session) -> str:
    about = f" ({session.media_name or session.media_id})" if session.media_name or session.media_id else ""
    return f"session {session.id}{about} was recorded, and no expectation has it"


def _json(trial: Trial) -> Iterator[str]:
    subjects = trial.checked or ()
    counts = Counter(finding.severity for subject in subjects for finding in subject.judgement.findings)
    yield json.dumps(
        {
            "ok": trial.exit_code == 0,
            "exit_code": trial.exit_code,
            "error": trial.error,
            "command": {"arguments": list(trial.command), "exit_code": trial.code},
            "recorded": trial.recorded,
            "counts": {severity.value: counts[severity] for severity in Severity},
            "sessions": None
            if trial.checked is None
            else [
                {
                    "id": None if subject.session is None else subject.session.id,
                    "session_id": None if subject.session is None else subject.session.session_id,
                    "media_id": None if subject.session is None else subject.session.media_id,
                    "findings": [finding_document(each) for each in in_order(subject.judgement.findings)],
                }
                for subject in subjects
            ],
            "expectations": [
                {
                    "name": name,
                    "recorded": comparison is not None,
                    "comparison": None
                    if comparison is None
                    else tracking.document(comparison, expected=name, actual=comparison.actual.session.id),
                }
                for name, comparison in trial.compared.items()
            ],
            "unexpected": [session.id for session in trial.unexpected],
        },
        indent=2,
    )
    yield "\n"


def _junit(trial: Trial) -> Iterator[str]:
    cases = [case("sessiontape", f"the command: {visible(' '.join(trial.command))}", _of_command(trial))]
    failures = int(bool(trial.code))
    for subject in trial.checked or ():
        one, failed = junit.subject_case(subject, trial.threshold)
        cases.append(one)
        failures += failed
    for name, comparison in trial.compared.items():
        if comparison is None:
            problem = Problem(element="failure", message=visible(_missing(name)), kind="missing")
            cases.append(case("sessiontape", visible(name), [problem]))
        else:
            cases.append(tracking.test_case(comparison, expected=name, actual=comparison.actual.session.id))
        failures += comparison is None or not comparison.is_same
    for session in trial.unexpected:
        problem = Problem(element="failure", message=visible(_unexpected(session)), kind="unexpected")
        cases.append(case("sessiontape", session.id, [problem]))
        failures += 1
    errors = int(trial.error is not None)
    yield suite_begin("sessiontape run", tests=len(cases), failures=failures, errors=errors)
    yield from cases
    yield SUITE_END


def _of_command(trial: Trial) -> Iterator[Problem]:
    if trial.code:
        yield Problem(element="failure", message=f"it ended with exit code {trial.code}", kind="command-failed")
    if trial.error is not None:
        kind = "nothing-recorded" if not trial.recorded else "incomplete" if not trial.is_complete else "not-updated"
        yield Problem(element="error", message=visible(trial.error), kind=kind)


FORMATS: Mapping[str, Callable[[Trial], Iterator[str]]] = {".json": _json, ".xml": _junit}


PAGES = (".html", ".htm")
"""Endings of HTML pages, which show the sessions; see `proxy_addon.reporting.pages.report`."""


def is_page(path: Path) -> bool:
    """Return whether a report is a page with the sessions, rather than the result."""
    return path.suffix.lower() in PAGES


def check_path(path: Path) -> None:
    """Check that the name of a report says its format.

    Raises:
        SettingsError: It does not, or its folder is not there.
    """
    if path.suffix.lower() not in FORMATS and not is_page(path):
        raise SettingsError(
            f"{path} does not name the format of a report", hint="end its name with .html, .json or .xml"
        )
    if not path.parent.is_dir():
        raise SettingsError(f"cannot write {path}: there is no folder {path.parent}", hint="make it, or name another")


def pieces(path: Path, trial: Trial) -> Iterator[bytes]:
    """Yield a report in the format that its name says, in pieces."""
    return (piece.encode() for piece in FORMATS[path.suffix.lower()](trial))
