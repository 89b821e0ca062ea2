"""``sessiontape ledger``: recorder runs, and what became of all that they saw."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import json_option, local_option, store_option
from proxy_addon.cli.output import while_read

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.core.books import Balance, Books
    from proxy_addon.journal.awaiting import Known
    from proxy_addon.journal.entries import Counted

_SILENCE = timedelta(seconds=90)
"""After how long without a sign of life a recorder of another machine counts as killed; an idle one gives one every 30 s."""


@click.command()
@click.argument("name", metavar="[RUN]", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List only the newest N.")
@json_option
@local_option
@store_option
def ledger(*, name: str | None, limit: int | None, as_json: bool, local: bool, store_url: str) -> None:
    """List recorder runs, newest first, and what became of every exchange that they saw; or show one run and its losses.

    RUN is the id of a run, a unique prefix of it, the name of its recording, or 'last' for the newest.

    The books of a run balance if they account for every exchange: it is stored, it waits in the journal, the store
    refused it, the recorder dropped it because it could not journal it, or it was in flight, now or when the recorder
    was killed.

    Exit code: 1 if the books of a listed run do not balance.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.books import of_run  # noqa: PLC0415
    from proxy_addon.journal import awaiting  # noqa: PLC0415
    from proxy_addon.reporting import books as reporting  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415
    from storage import losses, recorders  # noqa: PLC0415
    from storage.engine import hide_password, sqlite_path  # noqa: PLC0415

    path, label = sqlite_path(store_url), hide_password(store_url)
    with reading(store_url) as db:
        before = awaiting.known(path, label)
        found = recorders.all_of(db, limit) if name is None else recorders.find(db, name)
        runs = [list(processes) for _, processes in groupby(found, key=lambda each: each.id)]
        lost = losses.of_recorder(db, runs[0][0].id) if name is not None else []
        journals = _looked_up(db, before, awaiting.known(path, label), are_here=path is not None)
    runs = [[journals.with_told(each) for each in processes] for processes in runs]
    balances = [journals.balance(of_run(processes)) for processes in runs]
    with while_read():  # the exit code counts even if nobody reads the rest
        if name is not None:
            (balance,), (processes,) = balances, runs
            if as_json:
                print_json(reporting.run_document(balance, processes, lost))
            else:
                reporting.print_run(console(), balance, processes, lost, local=local)
        elif as_json:
            numbers = map(len, runs)
            print_json([reporting.balance_document(*each) for each in zip(balances, numbers, strict=True)])
        elif balances:
            reporting.print_ledger(console(), balances, local=local)
        else:
            click.echo("no recorder runs yet; 'sessiontape record' starts one", err=True)
    sys.exit(0 if all(balance.is_balanced for balance in balances) else 1)


def _looked_up(db: Connection, before: Known | None, after: Known | None, *, are_here: bool) -> _Journals:
    """Return what is known of the journals of a store, as they were before and after its books were read."""
    from storage import recorders  # noqa: PLC0415  # as above

    waiting: dict[str, int | None] = {}
    for known in (before, after):
        for run, held in {} if known is None else known.held.items():
            is_same = before is not None and after is not None and before.held.get(run) == after.held.get(run)
            waiting[run] = held.exchanges - recorders.number_settled(db, held.first) if is_same else None
    if after is None:
        return _Journals(frozenset(), waiting, {}, are_here=are_here)
    return _Journals(after.living, waiting, after.told, are_here=are_here)


@dataclass(frozen=True, slots=True)
class _Journals:
    """The journals of a store.

    Attributes:
        living: Ids of runs of which a process still writes.
        waiting: How many exchanges of each run wait; None if that changed while the store was read.
        told: The counts that wait of processes, by run and number.
        are_here: Whether all of them are on this machine, because the store is a file.
    """

    living: frozenset[str]
    waiting: Mapping[str, int | None]
    told: Mapping[tuple[str, int], Counted]
    are_here: bool

    def with_told(self, books: Books) -> Books:
        """Return the books of a process with the counts that wait in its journal."""
        from proxy_addon.core.books import brought_up_to  # noqa: PLC0415  # as above
        from proxy_addon.journal.exchanges import time_of  # noqa: PLC0415  # as above

        told = self.told.get((books.id, books.worker))
        if told is None:
            return books
        return brought_up_to(
            books,
            at=time_of(told.at_us),
            seen=told.seen,
            journaled=told.journaled,
            dropped=told.dropped,
            is_end=told.is_end,
        )

    def balance(self, books: Books) -> Balance:
        """Return how the books of a run stand."""
        from proxy_addon.core.books import Stand, balance_of  # noqa: PLC0415  # as above

        if books.ended_at is not None:
            stand = Stand.ENDED
        elif books.id in self.living:
            stand = Stand.RUNNING
        elif self.are_here or datetime.now(UTC) - books.seen_at > _SILENCE:
            stand = Stand.KILLED
        else:
            stand = Stand.RUNNING
        held = None if stand is Stand.RUNNING else self.waiting.get(books.id, 0 if self.are_here else None)
        return balance_of(books, stand, held)
