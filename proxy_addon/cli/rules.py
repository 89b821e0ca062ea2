"""``sessiontape rules``: the rules, and the page of each."""

from __future__ import annotations

import click

from proxy_addon.cli.options import json_option


@click.command()
@click.argument("name", metavar="[RULE]", required=False)
@json_option
def rules(*, name: str | None, as_json: bool) -> None:
    """List the rules of the protocol, or show the page of one rule."""
    # Imported here because --help must not wait for rich.
    from proxy_addon.core.rules import RULES  # noqa: PLC0415
    from proxy_addon.core.rules.planned import KNOWN  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.documents import rule_document  # noqa: PLC0415
    from proxy_addon.reporting.rule_pages import page  # noqa: PLC0415
    from proxy_addon.reporting.tables import rules_table  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json, print_markdown  # noqa: PLC0415

    if name is None:
        if as_json:
            print_json([rule_document(rule) for rule in RULES.values()])
        else:
            console().print_table(rules_table(RULES.values()))
        return
    (name,) = settings.check_rules([name], "rules")
    rule = KNOWN[name]
    if as_json:
        print_json({**rule_document(rule), "page": rule.page})
    else:
        print_markdown(page(rule))
