"""``sessiontape db``: create, upgrade and check the store."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from proxy_addon.cli.options import store_option
from proxy_addon.cli.output import while_read


@click.group()
def db() -> None:
    """Create, upgrade and check the store."""


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
