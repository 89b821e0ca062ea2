"""The evidence for scenarios as text and as JSON, and the list of scenarios."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from rich.text import Text

from proxy_addon.core.scenarios.judging import Evidence, Line
from proxy_addon.core.scenarios.scenario import Scenario
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.reporting.terminal import Screen


def scenarios_document(found: Collection[Scenario]) -> list[dict[str, Any]]:
    """Return scenarios as JSON, as ``certify --list --json`` prints them."""
    return [
        {
            "scenario": each.id,
            "title": each.title,
            "about": each.about,
            "sources": [*each.sources],
            "steps": [*each.steps],
            "sessions": [
                {"name": playback.name, "expect": [expectation.that for expectation in playback.expect]}
                for playback in each.sessions
            ],
        }
        for each in found
    ]


def evidence_document(found: Sequence[Evidence], *, ok: bool) -> dict[str, Any]:
    """Return the evidence for scenarios as JSON, as ``certify --json`` prints it.

    Args:
        ok: Whether all that was wanted was played, recorded and passed.
    """
    return {
        "ok": ok,
        "scenarios": [
            {
                "scenario": each.scenario.id,
                "title": each.scenario.title,
                "ok": each.is_passed,
                "sessions": [picture.session.id for picture in each.pictures],
                "checklist": lines_document(each),
            }
            for each in found
        ],
    }


def lines_document(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the checklist as JSON: ``session`` counts from 1, ``number`` is the event as the session's page calls it."""
    return [
        {
            "that": line.that,
            "ok": line.holds,
            "session": line.session,
            "kind": line.kind,
            "failures": [{"message": each.message, "number": each.number} for each in line.failures],
        }
        for line in evidence.lines
    ]


def print_scenarios(screen: Screen, found: Collection[Scenario]) -> None:
    """Print a line for each scenario."""
    widest = max(len(each.id) for each in found)
    for each in found:
        sessions = "" if len(each.sessions) == 1 else f" ({counted(len(each.sessions), 'session')})"
        line = Text.assemble((f"{visible(each.id):{widest}}", "bold"), f"  {visible(each.title)}", (sessions, "dim"))
        screen.print_wrapped(line, hanging=widest + 2)


def print_scenario(screen: Screen, scenario: Scenario) -> None:
    """Print all of a scenario: what it is for, what to do, what must hold, and what that rests on."""
    print_steps(screen, scenario)
    screen.print_wrapped(Text(f"  {visible(scenario.about)}"), hanging=2)
    for playback in scenario.sessions:
        screen.print_line(Text(f"  {visible(playback.name)}", style="dim"))
        for expectation in playback.expect:
            screen.print_wrapped(Text(f"  - {visible(expectation.that)}"), hanging=4)
    screen.print_wrapped(Text(f"  Sources: {visible('; '.join(scenario.sources))}", style="dim"), hanging=4)
    screen.print()


def print_steps(screen: Screen, scenario: Scenario) -> None:
    """Print what a person does for a scenario."""
    screen.print_line(Text(f"{visible(scenario.title)} ({visible(scenario.id)})", style="bold"))
    for number, step in enumerate(scenario.steps, 1):
        screen.print_wrapped(Text(f"  {number}. {visible(step)}"), hanging=5)


def print_evidence(screen: Screen, evidence: Evidence) -> None:
    """Print the checklist of a scenario, each failure below its line."""
    scenario = evidence.scenario
    word, style = ("PASS", "bold green") if evidence.is_passed else ("FAIL", "bold red")
    screen.print_line(
        Text.assemble((word, style), "  ", (f"{visible(scenario.title)} ({visible(scenario.id)})", "bold"))
    )
    for session, lines in groupby(evidence.lines, key=lambda line: line.session):
        if session is not None:
            name = Text(f"  {_session_name(evidence, session)}", style="dim")
            screen.print(name, soft_wrap=True)  # whole, to be pasted
        for line in lines:
            _print_line(screen, line)
    screen.print()


def _session_name(evidence: Evidence, number: int) -> str:
    name = visible(evidence.scenario.sessions[number - 1].name)
    if number > len(evidence.pictures):
        return name
    return f"{name}: session {pasted(evidence.pictures[number - 1].session.id)}"


def _print_line(screen: Screen, line: Line) -> None:
    sign = ("✓", "green") if line.holds else ("✗", "bold red")
    screen.print_wrapped(Text.assemble("  ", sign, f" {visible(line.that)}"), hanging=4)
    for failure in line.failures:
        screen.print_wrapped(Text(f"      {visible(failure.message)}", style="red"), hanging=8)


def summary(found: Sequence[Evidence], wanted: int) -> str:
    """Return how many scenarios were passed, how many were not played, and which failed, as a sentence."""
    failed = [visible(each.scenario.id) for each in found if not each.is_passed]
    told = f"{len(found) - len(failed)} of {counted(len(found), 'scenario')} passed"
    if len(found) < wanted:
        told += f", {wanted - len(found)} not played"
    return f"{told}; failed: {', '.join(failed)}" if failed else told
