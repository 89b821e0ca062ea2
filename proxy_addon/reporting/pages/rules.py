"""The pages of the rules: the list, and what each one checks, why, and how to fix what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy_addon.core.rules import RULES, Rule
from proxy_addon.reporting.documents import rule_document
from proxy_addon.reporting.pages.rendering import document
from proxy_addon.reporting.rule_pages import sections, subjects

_ENTRY = "document_page.js"
_ROOT = "/rules"


@dataclass(frozen=True, kw_only=True)
class RulesPage:
    """What the list of rules shows.

    Attributes:
        subjects: What rules are about, each with its rules.
    """

    subjects: tuple[tuple[str, tuple[Rule, ...]], ...]

    def document(self) -> list[dict[str, Any]]:
        """Return it as JSON, as ``rules --json`` prints it."""
        return [dict(rule_document(rule)) for _, rules in self.subjects for rule in rules]


@dataclass(frozen=True, kw_only=True)
class RulePage:
    """What the page of a rule shows.

    Attributes:
        sections: Headings, each with the text below it, in which backticks mark code.
        sessions: The last sessions that broke it, as of `pages.sessions.row_of`, newest first; None if there is no store
            to look into.
    """

    rule: Rule
    sections: tuple[tuple[str, str], ...]
    sessions: Sequence[dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON: what ``rules RULE --json`` prints and, if they are known, the ``sessions``."""
        page: Mapping[str, str] = self.rule.page
        told = {**rule_document(self.rule), "page": dict(page)}
        return told if self.sessions is None else {**told, "sessions": [*self.sessions]}


def rules_page() -> RulesPage:
    """Return what the list of rules shows."""
    return RulesPage(subjects=tuple((title, tuple(rules)) for title, rules in subjects()))


def rule_page(rule: Rule, broken: Sequence[dict[str, Any]] | None = None) -> RulePage:
    """Return what the page of a rule shows.

    Args:
        broken: As of `RulePage.sessions`.
    """
    return RulePage(rule=rule, sections=tuple(sections(rule)), sessions=broken)


def list_html(page: RulesPage) -> Iterator[str]:
    """Yield the list of rules as a page, whose links are those of the live pages."""
    number = sum(len(rules) for _, rules in page.subjects)
    return document("rules.html", title="Rules", entry=_ENTRY, page=page, number=number, root=_ROOT)


def html(page: RulePage) -> Iterator[str]:
    """Yield the page of a rule, whose links are those of the live pages."""
    links = {id: f"{_ROOT}/{id}" for id in RULES if id != page.rule.id}
    return document("rule.html", title=page.rule.id, entry=_ENTRY, page=page, root=_ROOT, links=links)
