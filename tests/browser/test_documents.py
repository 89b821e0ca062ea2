"""Pages that are documents: they filter, and can be read without their script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy_addon.core.rules import RULES
from proxy_addon.reporting.pages import rules
from proxy_addon.reporting.pages.run import page as run_html
from tests.browser.conftest import Open
from tests.integration.test_run_reports import SESSIONS, summary


def written(path: Path, pieces: Iterator[str]) -> Path:
    path.write_text("".join(pieces), encoding="utf-8")
    return path


def test_a_rule_is_found_by_a_word_and_has_a_page(open_page: Open, tmp_path: Path):
    page = open_page(written(tmp_path / "rules.html", rules.list_html(rules.rules_page())))
    assert page.locator("tr[data-find]:visible").count() == len(RULES)
    page.keyboard.press("/")
    page.keyboard.type("ping gap")
    assert page.locator("tr[data-find]:visible a").first.get_attribute("href") == "/rules/ping-gap"
    assert f"of {len(RULES)} shown" in page.locator("#shown").inner_text()
    assert page.locator("section[data-group]:visible").count() == 1
    assert "`" not in page.locator("main").inner_text()
    one = open_page(written(tmp_path / "rule.html", rules.html(rules.rule_page(RULES["ping-gap"]))))
    assert one.locator("h1").inner_text() == "ping-gap"
    assert one.locator("h2").all_inner_texts()[0] == "What it checks"
    assert one.locator("main code").first.inner_text() == "ts"
    other = "".join(rules.html(rules.rule_page(RULES["ad-break-not-closed"])))
    assert '<a href="/rules/ad-break-open-at-end"><code>ad-break-open-at-end</code></a>' in other


def test_a_replay_is_filtered_and_can_be_read_without_a_script(open_page: Open, tmp_path: Path):
    path = written(tmp_path / "run.html", run_html(summary(SESSIONS), lambda: SESSIONS, runs="/runs"))
    page = open_page(path)
    assert page.locator("tr[data-verdict]:visible").count() == len(SESSIONS)
    page.get_by_label("Verdict").select_option("failed")
    assert page.locator("tr[data-verdict]:visible").count() == 1
    steps = page.locator("nav[aria-label=Breadcrumb] a").all()
    assert [step.get_attribute("href") for step in steps] == ["/", "/runs"]
    assert page.locator("nav.pages a").all_inner_texts() == ["Runs", "Rules", "Schemas"]
    plain = open_page(path, java_script_enabled=False)
    assert plain.locator("tr[data-verdict]:visible").count() == len(SESSIONS)
    assert not plain.locator("#find").is_visible()
