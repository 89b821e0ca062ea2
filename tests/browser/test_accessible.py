"""An accessibility checker finds nothing serious on any page, in light and dark."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.rules import RULES
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages import compare, rendering, report, rules, run, runs, schemas
from proxy_addon.reporting.pages.session import session_page, traffic
from tests import builders
from tests.browser.conftest import Open
from tests.integration.test_run_reports import SESSIONS, summary
from tests.played import film, pinged, recorded

AXE = "axe-core@4.10.3"
SERIOUS = {"serious", "critical"}
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


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "session": session,
    "compare": comparison,
    "report": listing,
    "run": lambda: run.page(summary(SESSIONS), lambda: SESSIONS),
    "rules": lambda: rules.list_html(rules.rules_page()),
    "rule": lambda: rules.html(rules.rule_page(RULES["ping-gap"])),
    "runs": lambda: runs.html(runs.runs_page([summary(SESSIONS)])),
    "schemas": lambda: schemas.html(schemas.schemas_page([])),
}

KEYS = {"session": "f", "compare": "f"}
"""What is pressed before a page is looked at: an event is open then."""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checker's script, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node is not installed, and the accessibility checker comes from npm")
    folder = tmp_path_factory.mktemp("axe")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", AXE]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=60)
    except subprocess.SubprocessError as e:
        pytest.skip(f"the accessibility checker cannot be installed: {e}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_is_found(open_page: Open, tmp_path: Path, axe: str, name: str, scheme: str):
    path = tmp_path / f"{name}.html"
    path.write_text("".join(PAGES[name]()), encoding="utf-8")
    page = open_page(path, color_scheme=scheme)
    page.locator("header nav").first.wait_for()
    if name in KEYS:
        page.keyboard.press(KEYS[name])
    page.evaluate(axe)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(({ violations }) => violations)")
    told = [
        f"{each['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else node['html'][:80]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
    assert told == []
