"""The pages of the rules in ``docs/rules`` are those in the code."""

from __future__ import annotations

from pathlib import Path

from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.reporting.rule_pages import main, pages

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "rules"


def test_the_pages_are_as_the_code_has_them():
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")} == pages(), "run: make docs"


def test_there_is_a_page_for_each_rule_and_an_index_of_all(tmp_path):
    (tmp_path / "gone.md").touch()
    main(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.md")} == {"index", *KNOWN}
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert all(f"({rule}.md)" in index for rule in KNOWN)
