"""JUnit XML: checks and replay runs as test suites for build servers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from xml.sax.saxutils import escape, quoteattr

from proxy_addon.core.findings import finding_line
from proxy_addon.core.replays.comparing import untold
from proxy_addon.core.replays.runs import RunSummary, SessionRun, Step, StepOutcome
from proxy_addon.core.wording import visible
from proxy_addon.reporting.judged import Subject
from proxy_addon.reporting.words import change_line, difference_line, legal, not_applied, places

_HELD_BYTES = 2**20
_STEPS_TOLD = 50


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of a test case.

    Attributes:
        element: ``failure``, ``error`` or ``skipped``.
        kind: Its type, such as a rule's id; empty for none.
        text: The details; empty for none.
    """

    element: str
    message: str
    kind: str = ""
    text: str = ""


def case(class_name: str, name: str, problems: Iterable[Problem], *, took_s: float | None = None, out: str = "") -> str:
    """Return one test case as XML."""
    time = "" if took_s is None else f' time="{took_s:.6f}"'
    parts = [f"<testcase classname={_attribute(class_name)} name={_attribute(name)}{time}>"]
    for problem in problems:
        kind = f" type={_attribute(problem.kind)}" if problem.kind else ""
        head = f"<{problem.element}{kind} message={_attribute(problem.message)}"
        parts.append(f"{head}>{_text(problem.text)}</{problem.element}>" if problem.text else f"{head}/>")
    if out:
        parts.append(f"<system-out>{_text(out)}</system-out>")
    return "\n".join([*parts, "</testcase>\n"])


def as_one(problems: Sequence[Problem]) -> Sequence[Problem]:
    """Return problems as one that says all: build servers show only the first one of a case."""
    if len(problems) <= 1:
        return problems
    first = problems[0]
    text = "\n".join(problem.text or problem.message for problem in problems)
    return [replace(first, message=f"{first.message} (and {len(problems) - 1} more)", text=text)]


def suite_begin(
    name: str, *, tests: int, failures: int, errors: int = 0, skipped: int = 0, at: datetime | None = None
) -> str:
    """Return the beginning of a document with one suite, up to its test cases."""
    counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    time = "" if at is None else f' timestamp="{at:%Y-%m-%dT%H:%M:%S}"'
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="sessiontape" {counts}>\n'
        f"<testsuite name={_attribute(name)} {counts}{time}>\n"
    )


SUITE_END = "</testsuite>\n</testsuites>\n"


def subject_case(subject: Subject, threshold: int | None) -> tuple[str, bool]:
    """Return the test case of a judged subject, and whether it failed.

    Args:
        threshold: The weight from which a finding is a failure; None if no finding is. The others are its output.
    """
    others = []
    failures = []
    for finding in subject.judgement.findings:
        text = visible(f"{subject.place(finding)} {finding_line(finding)}".strip())
        if threshold is not None and finding.severity.weight >= threshold:
            failures.append(Problem(element="failure", kind=finding.rule, message=finding.message, text=text))
        else:
            others.append(text)
    if subject.judgement.holes is not None:
        others.append(f"not applied: {not_applied(subject.judgement.holes)}")
    name = " ".join(filter(None, (subject.name, visible(subject.about))))
    return case("sessiontape", name, as_one(failures), out="\n".join(others)), bool(failures)


class JUnitReport:
    """A test case for each subject; findings from the threshold on are failures, and the others are its output."""

    def __init__(self, write: Callable[[str], object], threshold: int | None) -> None:
        """Make a report without test cases.

        Args:
            threshold: The weight from which a finding is a failure; None if no finding is.
        """
        self._write = write
        self._threshold = threshold
        self._tests = self._failures = 0
        # Held back, because the counts come first in the document but are known last.
        self._cases = tempfile.SpooledTemporaryFile(_HELD_BYTES, "w+", encoding="utf-8")  # noqa: SIM115  # see end

    def begin(self) -> None:
        """Write nothing yet."""

    def add(self, subject: Subject) -> None:
        """Add a test case for a subject."""
        text, failed = subject_case(subject, self._threshold)
        self._cases.write(text)
        self._tests += 1
        self._failures += failed

    def end(self, *, ok: bool) -> None:  # the failures say it
        """Write the whole document."""
        self._write(suite_begin("sessiontape check", tests=self._tests, failures=self._failures))
        with self._cases as cases:
            cases.seek(0)
            while piece := cases.read(_HELD_BYTES):
                self._write(piece)
        self._write(SUITE_END)


def run_suite(of: RunSummary, sessions: Callable[[], Iterable[SessionRun]]) -> Iterator[str]:
    """Yield a replay run as a suite with a test case for each session, in pieces.

    Args:
        sessions: Returns the sessions of the run; called twice.
    """
    counts = dict.fromkeys(StepOutcome, 0)
    for session in sessions():
        counts[session.verdict] += 1
    yield suite_begin(
        f"replay {of.run.id} to {of.run.target}",
        tests=sum(counts.values()),
        failures=counts[StepOutcome.DIFFERENT],
        errors=counts[StepOutcome.FAILED],
        skipped=counts[StepOutcome.SKIPPED],
        at=of.run.started_at,
    )
    if of.changes:
        properties = ((change_line(each), places(each.places)) for each in of.changes)
        lines = (f"<property name={_attribute(name)} value={_attribute(found)}/>" for name, found in properties)
        yield "\n".join(["<properties>", *lines, "</properties>\n"])
    for session in sessions():
        took_s = sum(step.latency_ms or 0 for step in session.steps) / 1000
        yield case(of.run.target, session.source, _problems(session), took_s=took_s, out=_sent(session))
    yield SUITE_END


_ELEMENTS = {StepOutcome.DIFFERENT: "failure", StepOutcome.FAILED: "error", StepOutcome.SKIPPED: "skipped"}


def _problems(session: SessionRun) -> Iterator[Problem]:
    element = _ELEMENTS.get(session.verdict)
    if element is None:
        return
    odd = [step for step in session.steps if step.outcome in (StepOutcome.DIFFERENT, StepOutcome.FAILED)]
    odd.sort(key=lambda step: step.outcome is not session.verdict)  # the message names a step with the verdict
    lines = [_line(step) for step in islice(odd, _STEPS_TOLD)]
    if len(odd) > _STEPS_TOLD:
        lines.append(f"and {len(odd) - _STEPS_TOLD} more")
    message = lines[0] if lines else session.reason or "nothing of it was sent"
    told = [session.reason] if lines and session.reason else []
    yield Problem(element=element, message=message, text="\n".join([*lines, *told]))


def _sent(session: SessionRun) -> str:
    """Return lines that say what was changed in the requests of a session."""
    changed = [step for step in session.steps if step.sent is not None and step.sent.differences]
    lines = []
    for step in changed[:_STEPS_TOLD]:
        differences = step.sent.differences if step.sent is not None else ()
        told = ", ".join(map(difference_line, differences))
        lines.append(visible(f"#{step.seq} {step.event_type or '(no event type)'} was sent changed: {told}"))
    if len(changed) > _STEPS_TOLD:
        lines.append(f"and {len(changed) - _STEPS_TOLD} more")
    return "\n".join(lines)


def _line(step: Step) -> str:
    differences = ", ".join(map(difference_line, step.differences))
    told = "; ".join(filter(None, (differences, untold(step.reason, step.differences))))
    return visible(f"#{step.seq} {step.event_type or '(no event type)'} {step.outcome.value}: {told}")


def _text(text: str) -> str:
    return escape(legal(text))


def _attribute(text: str) -> str:
    return quoteattr(legal(text))
