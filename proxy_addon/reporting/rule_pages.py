"""Write the pages of all rules as Markdown; ``make docs`` runs ``python -m proxy_addon.reporting.rule_pages DIR``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from proxy_addon.core.rules import MODULES, RULES, Rule
from proxy_addon.core.rules.planned import KNOWN, PLANNED

_HEADINGS = {"Why it matters": "Why it matters in the reports"}


def page(rule: Rule) -> str:
    """Return a rule's page as Markdown, as ``rules RULE`` prints it and ``docs/rules/`` contains it."""
    parts = [f"# {rule.id}", f"*{rule.severity.value}* · {rule.summary}"]
    for heading, text in sections(rule):
        parts += [f"## {heading}", text]
    return "\n\n".join(parts) + "\n"


def sections(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the headings of a rule's page, each with the text below it."""
    for name, text in rule.page.items():
        yield _HEADINGS.get(name, name), text


def subjects() -> Iterator[tuple[str, list[Rule]]]:
    """Yield what rules are about, each with its rules."""
    for module in MODULES:
        title = (module.__doc__ or "").partition(".")[0].removeprefix("Rules for ")
        yield (
            f"{title[:1].upper()}{title[1:]}",
            [rule for rule in RULES.values() if rule.check.__module__ == module.__name__],
        )


def pages() -> dict[str, str]:
    """Return the contents of all files by name."""
    index = [
        "# Rules\n",
        (
            "Each rule has a page: what the rule checks, why it matters in the reports, an example, how to fix the mistake,"
            " and what the rule does not see. `sessiontape rules RULE` prints the page."
            " [How sessions are judged](../rules.md).\n"
        ),
    ]
    for title, mine in subjects():
        index += [f"## {title}\n", *_table(mine), ""]
    index += [
        "## Tracking plans\n",
        "With `--plan` alone: [tracking plans](../plans.md).\n",
        *_table(PLANNED.values()),
        "",
    ]
    return {"index.md": "\n".join(index), **{f"{rule.id}.md": page(rule) for rule in KNOWN.values()}}


def _table(rules: Iterable[Rule]) -> list[str]:
    rows = [f"| [`{rule.id}`]({rule.id}.md) | {rule.severity.value} | {rule.summary} |" for rule in rules]
    return ["| rule | severity | what is wrong |", "|---|---|---|", *rows]


def main(folder: Path) -> None:
    """Write the pages into a folder, and delete other Markdown files there, which are pages of removed rules."""
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.name not in written:
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
