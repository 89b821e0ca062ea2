"""``sessiontape exchanges``: what belongs to no session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import filter_options
from proxy_addon.cli.options import json_option, store_option
from proxy_addon.cli.sessions import finding_counts
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.sessions import FindingCounts
from proxy_addon.reporting.documents import exchange_documents, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from storage.sessions import Filters


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N alone.")
@filter_options
@json_option
@store_option
def exchanges(*, limit: int | None, filters: Filters, as_json: bool, store_url: str) -> None:
    """List exchanges that belong to no session, by time of arrival.

    These are schemas, preflights of starts, and what the protocol does not name. Filters that only sessions can meet
    leave none.
    """
    # Not at the top: --help does without the database.
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415
    from storage import findings  # noqa: PLC0415
    from storage.exchanges import of_none  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    with reading(store_url) as db:
        found = of_none(db, filters, limit=limit)
        judged = findings.of_exchanges(db, None)
    if as_json:
        print_json(list(exchange_documents(found, judged)))
    elif found:
        console().print(_table(found, judged))
    else:
        click.echo("no exchanges outside of sessions", err=True)


def _table(found: list[Exchange], judged: Mapping[str, Sequence[Finding]]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    from proxy_addon.reporting.terminal import printable  # noqa: PLC0415
    from proxy_addon.reporting.timeline import answer, milliseconds  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("received (UTC)", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    table.add_column("request", overflow="fold")
    table.add_column("answer", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("findings", no_wrap=True)
    for exchange in found:
        table.add_row(
            f"{exchange.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            exchange.route.operation.value,
            printable(f"{exchange.request.method} {exchange.request.path}"),
            answer(exchange),
            milliseconds(exchange),
            finding_counts(FindingCounts().plus(judged.get(exchange.id, ()))),
        )
    return table
