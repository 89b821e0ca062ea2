"""The page of an audit, with the sessions in it that it says to look at, and examples out of them for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
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
from proxy_addon.reporting.audits.folders import without_folder
from proxy_addon.reporting.pages import audit
from storage import sessions
from storage.pictures import Pictures

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from proxy_addon.cli.held_files import HeldFiles
    from proxy_addon.core.audits.results import Audit
    from proxy_addon.core.fixtures.held import HeldSession
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

    def in_files(self, result: Audit, *files: HeldFiles) -> Generator[str]:
        """Yield the page of an audit of files, of which those are read again that have sessions to look at.

        Args:
            files: Those of the audit, and those of its baseline.
        """
        found = self._held(files, audit.to_look_at(result)[: audit.MOST_IN_FULL])
        yield from audit.html(without_folder(result), found, pseudonymised=self.change is not None, are_over=True)

    def in_store(self, result: Audit, store_url: str, *, closed: bool) -> Generator[str]:
        """Yield the page of an audit of a store.

        Args:
            closed: Whether unfinished sessions count as over.

        Raises:
            StorageError: The store cannot be read.
        """
        with reading(store_url) as db:
            found = self._stored(db, audit.to_look_at(result), closed=closed)
            yield from audit.html(result, found, pseudonymised=self.change is not None, are_over=closed)

    def examples_in_files(self, result: Audit, files: HeldFiles) -> dict[str, str]:
        """Return a message of each rule that is broken, out of the first of its sessions to look at."""
        return _examples(result, self._held([files], _first(result)))

    def examples_in_store(self, result: Audit, store_url: str, *, closed: bool) -> dict[str, str]:
        """Return the same of an audit of a store.

        Raises:
            StorageError: The store cannot be read.
        """
        with reading(store_url) as db:
            return _examples(result, self._stored(db, _first(result), closed=closed))

    def _held(self, files: Iterable[HeldFiles], wanted: Sequence[str]) -> Iterator[Reported]:
        known: dict[str, HeldSession] = {}
        for each in files:
            known |= each.named([id for id in wanted if id not in known])
        at = as_of(self.now, self.policy)
        return (of_held(known[id], at, self.policy, self.change) for id in wanted if id in known)

    def _stored(self, db: Connection, wanted: Sequence[str], *, closed: bool) -> Iterator[Reported]:
        pictures = Pictures(db, self.policy, self.now, self.change, closed=closed)
        for id in wanted:
            try:
                yield pictures.reported(sessions.find(db, id))
            except NotFound:  # it was deleted meanwhile
                continue


def _first(result: Audit) -> list[str]:
    return list(dict.fromkeys(broken.look_at[0] for broken in result.all.findings))


def _examples(result: Audit, found: Iterable[Reported]) -> dict[str, str]:
    messages = {
        (each.session.id, told.finding.rule): told.finding.message
        for each in found
        for told in reversed(each.picture().findings)
    }
    firsts = {broken.rule: (broken.look_at[0], broken.rule) for broken in result.all.findings}
    return {rule: messages[first] for rule, first in firsts.items() if first in messages}


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
