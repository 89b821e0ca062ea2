"""An accessibility checker finds nothing serious on any page, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.rules import RULES
from proxy_addon.core.scenarios.judging import judge
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.files.scenarios import scenarios
from proxy_addon.reporting.pages import audit, compare, rendering, report, rules, run, runs, schemas
from proxy_addon.reporting.pages.evidence import evidence_file
from proxy_addon.reporting.pages.session import session_page, traffic
from proxy_addon.reporting.pages.sessions import row_of
from tests import audited, builders
from tests.browser.conftest import Open, serious
from tests.integration.test_run_reports import SESSIONS, summary
from tests.played import film, pinged, recorded

NOW = builders.at(9000)
FILM = recorded(pinged(film()))
OTHER = recorded(pinged(film()[:-3]))


def session() -> Iterator[str]:
    page = session_page(of_held(OTHER, as_of(NOW, DEFAULT), DEFAULT).picture())
    parts = {"value": page.document(), "traffic": traffic(OTHER.exchanges)}
    return rendering.page(title="A film", entry="session_page.js", parts=parts)


def comparison() -> Iterator[str]:
    made = compare_tracking(OTHER, FILM)
    return compare.html(compare.expectation_page(made, expected="film.json", actual="last", now=NOW))


def listing() -> Iterator[str]:
    held = [of_held(each, as_of(NOW, DEFAULT), DEFAULT) for each in (FILM, OTHER)]
    return report.report(held, made_at=NOW, pseudonymised=False)


ROWS = [row_of(of_held(each, as_of(NOW, DEFAULT), DEFAULT).told(), as_of(NOW, DEFAULT)) for each in (FILM, OTHER)]


def evidence() -> Iterator[str]:
    known, drawn = scenarios(), of_held(OTHER, as_of(NOW, DEFAULT), DEFAULT).picture()
    found = [judge(known[name], [drawn]) for name in ("mid-roll", "short-pause")]
    return evidence_file(found, made_at=NOW, pseudonymised=False)


def auditing() -> Iterator[str]:
    held = {each.session.id: each for each in audited.sessions(["Good Player", "Box Player"])}
    result = audited.audited(held.values())
    found = (of_held(held[id], as_of(NOW, DEFAULT), DEFAULT) for id in audit.to_look_at(result))
    return audit.html(result, found, pseudonymised=False)


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "session": session,
    "compare": comparison,
    "report": listing,
    "evidence": evidence,
    "audit": auditing,
    "run": lambda: run.page(summary(SESSIONS), lambda: SESSIONS),
    "rules": lambda: rules.list_html(rules.rules_page()),
    "rule": lambda: rules.html(rules.rule_page(RULES["ping-gap"], ROWS)),
    "runs": lambda: runs.html(runs.runs_page([summary(SESSIONS)])),
    "schemas": lambda: schemas.html(schemas.schemas_page([])),
}

KEYS = {"session": "f", "compare": "f"}
"""What is pressed before a page is looked at: an event is open then."""
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""What can be otherwise in the dark."""


@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_is_found(open_page: Open, tmp_path: Path, axe: str, name: str):
    path = tmp_path / f"{name}.html"
    path.write_text("".join(PAGES[name]()), encoding="utf-8")
    page = open_page(path, color_scheme="light")
    page.locator("header nav").first.wait_for()
    if name in KEYS:
        page.keyboard.press(KEYS[name])
    assert serious(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, axe, *OF_COLOURS) == [], "in the dark"
