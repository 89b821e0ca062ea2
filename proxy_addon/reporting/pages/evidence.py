"""The evidence for scenarios as one HTML file: the checklists on top, and each session with its timeline below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from proxy_addon import __version__
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.scenarios.judging import Evidence
from proxy_addon.core.timelines.verdicts import Level
from proxy_addon.core.wording import counted
from proxy_addon.reporting.evidence import lines_document
from proxy_addon.reporting.pages import rendering
from proxy_addon.reporting.pages.report import drawn_row
from proxy_addon.reporting.pages.session import session_page, traffic

_TOLD = 3
"""How many lines that fail a verdict names."""
FORM = 1
"""Of the document: scripts of another version do not draw it."""


@dataclass(frozen=True, kw_only=True)
class EvidencePage:
    """What the page of evidence shows above its sessions.

    Attributes:
        form: Of this document.
        pseudonymised: Whether tokens stand for the personal values in it.
        scenarios: Each with ``scenario`` (its name), ``title``, ``about``, ``sources``, ``steps``, ``passed``, ``lines`` as of
            `lines_document`, and ``sessions``: rows as of `ReportPage.rows`, with the ``name`` that the scenario gives them;
            None for one that it does not know.
        version: Of sessiontape.
        made_at: When it was made.
    """

    form: int = FORM
    pseudonymised: bool
    scenarios: list[dict[str, Any]]
    version: str = __version__
    made_at: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def evidence_file(found: Sequence[Evidence], *, made_at: datetime, pseudonymised: bool) -> Iterator[str]:
    """Yield the file in pieces.

    Args:
        found: The scenarios, in order, each with what sessions have of it.
        pseudonymised: Whether tokens stand for their personal values.
    """
    title = found[0].scenario.title if len(found) == 1 else "Evidence"
    parts = _parts(found, made_at=made_at, pseudonymised=pseudonymised)
    return rendering.page(title=title, entry="evidence_page.js", parts=parts)


def _parts(found: Sequence[Evidence], *, made_at: datetime, pseudonymised: bool) -> Iterator[tuple[str, Any]]:
    """Yield the parts with their names: the pages of sessions, each with its traffic, and at last the checklists."""
    scenarios: list[dict[str, Any]] = []
    number = 0
    for evidence in found:
        wanted, rows = evidence.scenario, []
        names = [playback.name for playback in wanted.sessions]
        for place, picture in enumerate(evidence.pictures):
            page = session_page(picture, if_open="left open").document()
            page["verdict"] |= _verdict(evidence, place, page["verdict"])
            yield f"session-{number}", page
            yield f"traffic-{number}", traffic(picture.exchanges)
            rows.append({"name": names[place] if place < len(names) else None, **drawn_row(picture, page, number)})
            number += 1
        scenarios.append(
            {
                "scenario": wanted.id,
                "title": wanted.title,
                "about": wanted.about,
                "sources": [*wanted.sources],
                "steps": [*wanted.steps],
                "passed": evidence.is_passed,
                "names": names,
                "lines": lines_document(evidence),
                "sessions": rows,
            }
        )
    yield "value", EvidencePage(pseudonymised=pseudonymised, scenarios=scenarios, made_at=iso(made_at)).document()


def _verdict(evidence: Evidence, place: int, of_rules: dict[str, Any]) -> dict[str, str]:
    """Return the verdict on a session: that of its part of the checklist, so that there is one on each page.

    Args:
        place: Of the session in the evidence.
        of_rules: The verdict by the rules, whose warnings are told beside a checklist that holds.
    """
    lines = [line for line in evidence.lines if line.session == place + 1]
    failed = [line for line in lines if not line.holds]
    if not lines:
        return {"level": Level.FAIL.value, "headline": "The scenario does not have this session."}
    if failed:
        more = f" And {len(failed) - _TOLD} more." if len(failed) > _TOLD else ""
        told = " ".join(line.that if line.that[-1] in ".?!" else f"{line.that}." for line in failed[:_TOLD])
        fail = "fails" if len(failed) == 1 else "fail"
        headline = f"{len(failed)} of {counted(len(lines), 'line')} of the checklist {fail}: {told}{more}"
        return {"level": Level.FAIL.value, "headline": headline}
    held = f"All {counted(len(lines), 'line')} of the checklist hold."
    if of_rules["level"] == Level.PASS.value:
        return {"level": Level.PASS.value, "headline": held}
    return {"level": Level.WARN.value, "headline": f"{held} {of_rules['headline']}"}
