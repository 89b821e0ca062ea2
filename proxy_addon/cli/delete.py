"""``sessiontape delete``: delete sessions."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, store_option

if TYPE_CHECKING:
    from storage.filters import Filters

_AT_ONCE = 200
"""How many sessions one transaction deletes, so that a recorder that writes to the same store does not wait long."""


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@all_options
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Delete without asking.")
@config_option
@filter_options
@store_option
def delete(
    *, names: tuple[str, ...], everything: bool, allow_empty: bool, yes: bool, filters: Filters, store_url: str
) -> None:
    """Delete sessions with everything recorded in them.

    SESSION is an id, a back-end session ID, a unique prefix of either, or 'last' for the newest. Replay runs of the
    sessions are kept.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.wording import counted  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    require_selection(names, filters, everything=everything, verb="deleted")
    with reading(store_url) as db:
        if names:
            found = {sessions.find(db, name).id: None for name in names}
        else:
            if not allow_empty:
                require_any(db, filters)
            found = {session.id: None for session in sessions.newest(db, filters, now=datetime.now(UTC))}
    ids = list(found)
    if not ids:
        click.echo("no sessions to delete", err=True)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"{counted(len(ids), 'session')} would be deleted; stdin is not a terminal to ask at, so add --yes"
            )
        if not click.confirm(f"Delete {counted(len(ids), 'session')} permanently?", err=True):
            click.echo("nothing deleted", err=True)
            return
    store = Store(store_url)
    removed, is_over = 0, False
    try:
        for begin in range(0, len(ids), _AT_ONCE):
            with store.write() as db:
                removed += sessions.remove(db, ids[begin : begin + _AT_ONCE])
        is_over = True
    finally:
        store.close()
        if removed or is_over:  # otherwise the error says it all
            click.echo(f"{counted(removed, 'session')} deleted")
