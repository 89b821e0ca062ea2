"""Reports of replay runs: a page, the JSON document, or JUnit XML. Written as the sessions come, and put in place whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from proxy_addon.core.replays.runs import RunSummary, SessionRun, Step, StepOutcome
from proxy_addon.errors import SettingsError
from proxy_addon.reporting.checks import xml_attribute, xml_text
from proxy_addon.reporting.pages.run import page
from proxy_addon.reporting.runs import run_text

Sessions = Callable[[], Iterable[SessionRun]]
"""Yields the sessions of a run; may be asked several times."""
_STEPS_TOLD = 50


def _json(of: RunSummary, sessions: Sessions) -> Iterator[str]:
    yield from run_text(of, sessions())
    yield "\n"


def _junit(of: RunSummary, sessions: Sessions) -> Iterator[str]:
    counts = dict.fromkeys(StepOutcome, 0)
    for session in sessions():
        counts[session.verdict] += 1
    numbers = (
        f'tests="{sum(counts.values())}" failures="{counts[StepOutcome.DIFFERENT]}"'
        f' errors="{counts[StepOutcome.FAILED]}" skipped="{counts[StepOutcome.SKIPPED]}"'
    )
    name = xml_attribute(f"replay {of.run.id} to {of.run.target}")
    yield f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="sessiontape" {numbers}>\n'
    yield f'<testsuite name={name} {numbers} timestamp="{of.run.started_at:%Y-%m-%dT%H:%M:%S}">\n'
    for session in sessions():
        yield from _case(session, of.run.target)
    yield "</testsuite>\n</testsuites>\n"


def _case(session: SessionRun, target: str) -> Iterator[str]:
    took_s = sum(step.latency_ms or 0 for step in session.steps) / 1000
    attributes = f"classname={xml_attribute(target)} name={xml_attribute(session.source)}"
    yield f'<testcase {attributes} time="{took_s:.6f}">'
    match session.verdict:
        case StepOutcome.DIFFERENT:
            yield _told("failure", session)
        case StepOutcome.FAILED:
            yield _told("error", session)
        case StepOutcome.SKIPPED:
            yield f"<skipped message={xml_attribute(session.reason or 'nothing of it was sent')}/>"
    yield "</testcase>\n"


def _told(element: str, session: SessionRun) -> str:
    odd = [step for step in session.steps if step.outcome in (StepOutcome.DIFFERENT, StepOutcome.FAILED)]
    lines = [_line(step) for step in islice(odd, _STEPS_TOLD)]
    if len(odd) > _STEPS_TOLD:
        lines.append(f"and {len(odd) - _STEPS_TOLD} more")
    message = xml_attribute(session.reason or lines[0])
    return f"<{element} message={message}>{xml_text(chr(10).join(lines))}</{element}>"


def _line(step: Step) -> str:
    differences = ", ".join(f"{each.where}: {each.recorded} -> {each.replayed}" for each in step.differences)
    told = "; ".join(filter(None, (differences, step.reason)))
    return f"#{step.seq} {step.event_type or '(no event type)'} {step.outcome.value}: {told}"


_FORMATS: Mapping[str, Callable[[RunSummary, Sessions], Iterator[str]]] = MappingProxyType(
    {".html": page, ".htm": page, ".json": _json, ".xml": _junit}
)


def check_path(path: Path) -> None:
    """Check, before anything is sent, that a report can be written.

    Raises:
        SettingsError: Its name says no format, or its folder takes no files.
    """
    if path.suffix.lower() not in _FORMATS:
        raise SettingsError(f"{path} says no format of a report", hint="end its name with .html, .json or .xml")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise SettingsError(f"cannot write {path}", hint="does its folder exist, and may you write there?")


def write(path: Path, of: RunSummary, sessions: Sessions) -> None:
    """Write a report; the format follows from the name. A file of that name is replaced once all is written.

    Raises:
        SettingsError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                file.writelines(_FORMATS[path.suffix.lower()](of, sessions))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as e:
        raise SettingsError(f"cannot write {path}: {e.strerror}", hint="is there room, and may you write there?") from e
