"""``sessiontape report``: sessions as one HTML file that can be mailed and kept."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, store_option, token_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from proxy_addon.cli.reports import Source
    from storage.filters import Filters


@click.command()
@click.argument("names", metavar="[SESSION...]", nargs=-1)
@all_options
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    required=True,
    help="The file to write, or - for stdout.",
)
@token_options
@filter_options
@config_option
@store_option
def report(
    *,
    names: tuple[str, ...],
    everything: bool,
    allow_empty: bool,
    output: str,
    raw: bool,
    key_file: Path | None,
    filters: Filters,
    config: Path | None,
    store_url: str,
) -> None:
    """Write sessions as one HTML file, which any browser opens offline.

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last', or a file (see 'sessiontape show
    --help'); name several, or use --all with filters.

    The file contains a list of the sessions, and a page for each with its timeline, findings, what reports will count,
    requests and answers. If there are more than 50 sessions, only the worst 50 have a page. Sessions with a page are judged
    anew.

    Tokens replace the values that identify a viewer or a device: the same value has the same token in the whole file. --raw
    keeps the values.
    """
    require_selection(names, filters, everything=everything, verb="reported", of_files=True)
    # Imported here because --help must not wait for the rules.
    from proxy_addon.cli import reports  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415

    reports.check_name(output)
    policy, now = settings.load(config), datetime.now(UTC)
    with ExitStack() as stack:
        db, sources = _chosen(stack, names, filters, store_url, now, allow_empty=allow_empty)
        change = None if raw else reports.pseudonymiser(sources, key_file, config)
        reports.write(output, sources, db, reports.Reading(policy=policy, now=now, change=change))


def _chosen(
    stack: ExitStack, names: Sequence[str], filters: Filters, store_url: str, now: datetime, *, allow_empty: bool
) -> tuple[Connection | None, list[Source]]:
    """Return the sessions to report, each once, and the store of those that are in one; it is closed with the stack."""
    from proxy_addon.cli import sources  # noqa: PLC0415  # as above
    from proxy_addon.cli.reports import id_of  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415

    if not names:
        db = stack.enter_context(reading(store_url))
        if not allow_empty:
            require_any(db, filters)
        return db, [*sessions.newest(db, filters, now=now)]
    of_store = not all(map(is_file_name, names))
    store = stack.enter_context(reading(store_url)) if of_store else None
    found: list[Source] = []
    for name in dict.fromkeys(names):
        if is_file_name(name):
            found += sources.sessions_of(name)
        else:
            assert store is not None
            found.append(sessions.find(store, name))
    return store, [*{id_of(each): each for each in found}.values()]
