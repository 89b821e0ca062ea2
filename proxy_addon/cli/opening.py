"""Opening a store to read what was recorded, which may still be on its way into the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from proxy_addon.core.wording import visible
from proxy_addon.journal.awaiting import await_filed

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def reading(store_url: str) -> Iterator[Connection]:
    """Open a store for reading, as `storage.opening.reading` does, once what devices were answered is in it.

    If that takes longer than a moment, because nobody files it, or the store is only readable, a note on stderr says so.
    """
    # Imported here because --help must not wait for the database.
    from storage import opening  # noqa: PLC0415

    filed(store_url)
    with opening.reading(store_url) as db:
        yield db


def filed(store_url: str) -> None:
    """Wait a moment until what devices were answered is in a store, and say on stderr what is not.

    Raises:
        SettingsError: The URL is not the URL of a store.
    """
    from storage.engine import check_url, hide_password, sqlite_path  # noqa: PLC0415  # as above

    check_url(store_url)
    for left in await_filed(sqlite_path(store_url), hide_password(store_url)):
        if left.exchanges == 0:
            continue  # what waits changes nothing that is read
        if left.exchanges is None:
            told = f"cannot look into the journal {left.folder}, so what waits in it is not shown"
        else:
            number = left.exchanges
            exchanges = "1 exchange waits" if number == 1 else f"{number} exchanges wait"
            told = f"{exchanges} in the journal {left.folder} and cannot be seen yet; 'sessiontape db drain' files them"
        click.echo(visible(f"sessiontape: {told}"), err=True)
