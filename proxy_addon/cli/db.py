"""``sessiontape db``: create, upgrade and check the store, file what a journal holds, and delete what is old."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from proxy_addon.cli.options import store_option
from proxy_addon.cli.output import while_read


@click.group()
def db() -> None:
    """Create, upgrade and check the store, file what waits for it, and delete what is old."""


@db.command()
@store_option
def upgrade(*, store_url: str) -> None:
    """Create the schema of the store, or upgrade it to this version."""
    from storage import migrate  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store:
        before, after = migrate.upgrade(store)
        if before == after:
            click.echo(f"{store.label} is already at revision {after}")
        else:
            click.echo(f"{store.label} upgraded from {before or 'no schema'} to revision {after}")


@db.command()
@click.argument("name", default="base", metavar="[REVISION]")
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Delete data without asking.")
@store_option
def downgrade(*, name: str, yes: bool, store_url: str) -> None:
    """Downgrade the schema to an older revision.

    This deletes what the older schema has no place for. Without REVISION, or with 'base', it removes the schema and
    everything in the store.
    """
    from storage import migrate, revision  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store:
        migrate.check_known(name)
        with store.read() as connection:
            revision.refuse_foreign(connection, store)
            deletes = revision.found(connection) not in (None, name) and migrate.holds_data(connection)
        if deletes and not yes:
            lost = "everything in it" if name == "base" else f"what revision {name} has no place for"
            if not sys.stdin.isatty():
                raise click.UsageError(
                    f"{store.label}: {lost} would be deleted; stdin is not a terminal to ask at, so add --yes"
                )
            if not click.confirm(f"{store.label}: {lost} will be deleted. Continue?", err=True):
                click.echo("nothing changed", err=True)
                return
        before, after = migrate.downgrade(store, name)
        if before == after:
            click.echo(f"{store.label} {f'is already at revision {after}' if after else 'already has no schema'}")
        else:
            click.echo(f"{store.label} downgraded from revision {before} to {after or 'no schema'}")


@db.command()
@store_option
def current(*, store_url: str) -> None:
    """Print the revision of the store's schema, or 'none'."""
    from storage import revision  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store, store.read() as connection:
        revision.refuse_foreign(connection, store)
        click.echo(revision.found(connection) or "none")


@db.command(short_help="Compare the store's schema with the expected one.")
@store_option
def check(*, store_url: str) -> None:
    """Compare the store's schema with the one that this version expects.

    Exit code: 0 if they are equal, 1 if the schema was changed by hand, 2 if it has another revision.
    """
    from storage import migrate, revision  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store, store.read() as connection:
        revision.require(connection, store)
        deviations = migrate.deviations(connection)
        with while_read():  # the exit code counts even if nobody reads the rest
            for deviation in deviations:
                click.echo(f"differs: {deviation}")
        if not deviations:
            click.echo(f"clean: {store.label} is at revision {revision.REVISION}")
    sys.exit(1 if deviations else 0)


@db.command()
@click.option(
    "--journal",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="File this journal. By default, all journals on this machine that recorders have used for the store.",
)
@store_option
def drain(*, journal: Path | None, store_url: str) -> None:
    """Store what waits in the store's journals.

    A recorder that was killed, or that stopped while the store was away, leaves exchanges in its journal. The next
    recorder stores them; this command does so now. It may run beside a recorder.

    Exit code: 2 if something still waits, or the store refused it.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.wording import counted  # noqa: PLC0415
    from proxy_addon.errors import SettingsError  # noqa: PLC0415
    from proxy_addon.ingest.draining import drain as drained  # noqa: PLC0415
    from proxy_addon.journal import folders  # noqa: PLC0415
    from storage.engine import check_url, hide_password, sqlite_path  # noqa: PLC0415

    check_url(store_url)
    label = hide_password(store_url)
    if journal is None:
        found = folders.all_of(sqlite_path(store_url), label)
    elif journal.is_dir():
        folders.require_journal(journal)
        found = [journal]
    else:
        raise SettingsError(
            f"there is no journal at {journal}", hint="name the folder that 'record --journal' was given"
        )
    if not found:
        click.echo(f"{label} has no journal on this machine")
    is_complete = True
    for folder in found:
        result = drained(folder, store_url)
        click.echo(f"{counted(result.filed, 'exchange')} filed from {folder}")
        if result.refused:
            is_complete = False
            click.echo(f"  {result.refused} refused by the store and set aside in {folders.aside(folder)}", err=True)
        if result.left is not None:
            is_complete = False
            why = f": {result.reason}" if result.reason else "; try again"
            click.echo(f"  {counted(result.left.exchanges, 'exchange')} still waiting{why}", err=True)
    sys.exit(0 if is_complete else 2)


@db.command(short_help="Delete what is older than a number of days.")
@click.option(
    "--older-than",
    type=click.IntRange(min=1, max=36_500),
    required=True,
    metavar="DAYS",
    help="Delete what was recorded more than DAYS days ago.",
)
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Delete without asking.")
@store_option
def prune(*, older_than: int, yes: bool, store_url: str) -> None:
    """Delete what is old, and give its space back to the disk.

    This deletes sessions whose last event is old, with everything recorded in them, old requests that belong to no
    session, and the books of old recorder runs. It keeps replay runs. It may run beside a recorder, which never waits
    long for it.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.wording import counted  # noqa: PLC0415
    from storage import pruning, revision  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    before = datetime.now(UTC) - timedelta(days=older_than)
    with closing(Store(store_url)) as store:
        with store.read() as connection:
            revision.require(connection, store)
            old = pruning.Pruned() if yes else pruning.count(connection, before)
        if not yes:
            what = (
                f"{store.label}: everything recorded before {before:%Y-%m-%d %H:%M} UTC would be deleted, "
                f"{counted(old.sessions, 'session')} and {counted(old.exchanges, 'exchange')}"
            )
            if not sys.stdin.isatty():
                raise click.UsageError(f"{what}; stdin is not a terminal to ask at, so add --yes")
            if not click.confirm(f"{what}. Continue?", err=True):
                click.echo("nothing deleted", err=True)
                return
        pruned, is_over = pruning.Pruned(), False
        try:
            for pruned in pruning.prune(store, before):  # noqa: B007  # what was deleted is said also after Ctrl-C
                pass
            is_over = True
        finally:
            if pruned != pruning.Pruned() or is_over:  # otherwise the error says it all
                exchanges = counted(pruned.exchanges, "exchange")
                click.echo(f"{counted(pruned.sessions, 'session')} and {exchanges} deleted")
        store.give_back()
