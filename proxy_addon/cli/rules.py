"""``sessiontape rules``: the rules, and the page of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proxy_addon.cli.options import json_option
from proxy_addon.reporting.documents import print_json

if TYPE_CHECKING:
    from proxy_addon.core.rules import Rule


@click.command()
@click.argument("name", metavar="[RULE]", required=False)
@json_option
def rules(*, name: str | None, as_json: bool) -> None:
    """List the rules of the protocol, or show the page of one."""
    # Not at the top: --help does without rich.
    from rich.markdown import Markdown  # noqa: PLC0415

    from proxy_addon.core.rules import RULES  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415

    if name is None:
        if as_json:
            print_json([_document(rule) for rule in RULES.values()])
        else:
            _print_all(list(RULES.values()))
        return
    (name,) = settings.check_rules([name], "rules")
    rule = RULES[name]
    if as_json:
        print_json({**_document(rule), "page": rule.page})
    else:
        console().print(Markdown(page(rule)))


def page(rule: Rule) -> str:
    """Return a rule's page as Markdown: what ``rules RULE`` prints and ``docs/rules/`` has."""
    parts = [f"# {rule.id}", f"*{rule.severity.value}* · {rule.summary}"]
    for name, text in rule.page.items():
        parts += [f"## {_HEADINGS.get(name, name)}", text]
    return "\n\n".join(parts) + "\n"


_HEADINGS = {"Why it matters": "Why it matters in the reports"}


def _document(rule: Rule) -> dict[str, str]:
    return {"rule": rule.id, "severity": rule.severity.value, "summary": rule.summary}


def _print_all(found: list[Rule]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from proxy_addon.reporting.terminal import console  # noqa: PLC0415
    from proxy_addon.reporting.timeline import SEVERITY_STYLES  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("what is wrong")
    for rule in found:
        table.add_row(rule.id, Text(rule.severity.value, style=SEVERITY_STYLES[rule.severity]), Text(rule.summary))
    console().print(table)
