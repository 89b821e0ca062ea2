"""``sessiontape exchanges``: the exchanges that belong to no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import filter_options
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import json_option, local_option, store_option

if TYPE_CHECKING:
    from storage.filters import Filters


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List only the newest N.")
@filter_options
@json_option
@local_option
@store_option
def exchanges(*, limit: int | None, filters: Filters, as_json: bool, local: bool, store_url: str) -> None:
    """List exchanges that belong to no session, in order of arrival, with their findings.

    These are requests for schemas, preflights of session starts, and requests to paths that the protocol does not
    name. The filters apply to exchanges as they do to sessions; --since and --until refer to the time of arrival. No
    exchange matches --state, --player or --media, which describe sessions.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.reporting.documents import exchange_documents  # noqa: PLC0415
    from proxy_addon.reporting.tables import print_exchanges  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415
    from storage import findings  # noqa: PLC0415
    from storage.exchanges import of_none  # noqa: PLC0415

    with reading(store_url) as db:
        found = of_none(db, filters, limit=limit)
        judged = findings.of_exchanges(db, None)
    if as_json:
        print_json(list(exchange_documents(found, judged)))
    elif found:
        print_exchanges(console(), found, judged, local=local)
    else:
        click.echo("no exchanges outside sessions", err=True)
