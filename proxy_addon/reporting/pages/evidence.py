"""The evidence for scenarios as one HTML file: the checklists on top, and each session with its timeline below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from proxy_addon import __version__
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.scenarios.judging import Evidence
from proxy_addon.reporting.evidence import lines_document
from proxy_addon.reporting.pages import rendering
from proxy_addon.reporting.pages.report import drawn_row
from proxy_addon.reporting.pages.session import session_page, traffic

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
            page = session_page(picture).document()
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
