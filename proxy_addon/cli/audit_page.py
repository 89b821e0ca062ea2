"""The page of an audit, with the sessions in it that it says to look at."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli import reports
from proxy_addon.cli.opening import reading
from proxy_addon.cli.output import while_read
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import Reported, of_held
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import NotFound
from proxy_addon.files import whole
from proxy_addon.reporting.pages import audit
from storage import sessions
from storage.pictures import Pictures

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from proxy_addon.cli.held_files import HeldFiles
    from proxy_addon.core.audits.results import Audit
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser


def check_name(output: str) -> None:
    """Check that a page can be written there.

    Raises:
        click.UsageError: It is the terminal, a folder, or a file whose name does not end in ``.html``.
    """
    if output == reports.STDOUT and sys.stdout.isatty():
        raise click.UsageError("a page is a file for a browser: name one, such as --output audit.html")
    reports.check_name(output)


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How the sessions to look at are read.

    Attributes:
        now: The time by which unfinished sessions may have run into a timeout.
        change: Replaces personal values; None to keep them.
    """

    policy: Policy
    now: datetime
    change: Pseudonymiser | None

    def in_files(self, result: Audit, files: HeldFiles) -> Generator[str]:
        """Yield the page of an audit of these files, of which those are read again that have sessions to look at."""
        wanted, at = audit.to_look_at(result)[: audit.MOST_IN_FULL], as_of(self.now, self.policy)
        known = files.named(wanted)
        found = (of_held(known[id], at, self.policy, self.change) for id in wanted if id in known)
        yield from audit.html(result, found, pseudonymised=self.change is not None, are_over=True)

    def in_store(self, result: Audit, store_url: str, *, closed: bool) -> Generator[str]:
        """Yield the page of an audit of a store.

        Args:
            closed: Whether unfinished sessions count as over.

        Raises:
            StorageError: The store cannot be read.
        """
        with reading(store_url) as db:
            pictures = Pictures(db, self.policy, self.now, self.change, closed=closed)
            found = _stored(result, db, pictures)
            yield from audit.html(result, found, pseudonymised=self.change is not None, are_over=closed)


def _stored(result: Audit, db: Connection, pictures: Pictures) -> Iterator[Reported]:
    for id in audit.to_look_at(result):
        try:
            yield pictures.reported(sessions.find(db, id))
        except NotFound:  # it was deleted meanwhile
            continue


def write(result: Audit, output: str, pieces: Generator[str], *, is_private: bool) -> None:
    """Write a page, whole or not at all, and say on stderr what was written.

    Args:
        output: A path, or ``-`` for stdout.
        is_private: Whether a new file is for its owner alone.

    Raises:
        SettingsError: The file cannot be written.
    """
    with closing(pieces):  # and with them the store, even if nobody reads on
        data = (piece.encode("utf-8", "replace") for piece in pieces)
        if output == reports.STDOUT:
            with while_read():
                sys.stdout.buffer.writelines(data)
            return
        size = whole.write(Path(output), data, is_private=is_private)
    number = counted(result.all.sessions, "session")
    click.echo(f"audit of {number} written to {visible(output)}, {size:,} bytes", err=True)
