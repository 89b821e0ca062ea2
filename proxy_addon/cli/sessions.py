"""``sessiontape sessions``: the list of sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import filter_options
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, json_option, local_option, store_option

if TYPE_CHECKING:
    from storage.filters import Filters


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List only the newest N.")
@filter_options
@config_option
@json_option
@local_option
@store_option
def sessions(
    *, limit: int | None, filters: Filters, config: Path | None, as_json: bool, local: bool, store_url: str
) -> None:
    """List recorded sessions, newest first."""
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.documents import listed_document  # noqa: PLC0415
    from proxy_addon.reporting.tables import sessions_table  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415
    from storage import losses  # noqa: PLC0415
    from storage import sessions as stored  # noqa: PLC0415

    at = as_of(datetime.now(UTC), settings.load(config))
    with reading(store_url) as db:
        found = list(stored.newest(db, filters, now=at.now, limit=limit))
        gaps = {session.id: losses.of_session(db, session.id) for session in found if session.lost and as_json}
    if as_json:
        print_json([listed_document(session, at, gaps.get(session.id, ())) for session in found])
    elif found:
        console().print_table(sessions_table(found, at, local=local))
    else:
        click.echo("no session matches the filters" if filters.asked else "no sessions yet", err=True)
