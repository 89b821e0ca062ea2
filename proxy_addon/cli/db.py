"""``sessiontape db``: look after the store."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from proxy_addon.cli.options import store_option


@click.group()
def db() -> None:
    """Look after the store."""


@db.command()
@store_option
def upgrade(*, store_url: str) -> None:
    """Make the schema, or bring it up to date."""
    from storage import migrate  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store:
        before, after = migrate.upgrade(store)
        if before == after:
            click.echo(f"{store.label} is at revision {after} already")
        else:
            click.echo(f"{store.label} upgraded from {before or 'nothing'} to revision {after}")


@db.command()
@click.argument("name", default="base", metavar="[REVISION]")
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask.")
@store_option
def downgrade(*, name: str, yes: bool, store_url: str) -> None:
    """Take the schema back, by default to nothing.

    What does not fit into the older schema is deleted; with 'base', the default, that is everything.
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
                raise click.UsageError(f"{store.label}: {lost} would be deleted; say --yes where nobody can be asked")
            if not click.confirm(f"{store.label}: {lost} will be deleted. Go on?", err=True):
                click.echo("nothing changed", err=True)
                return
        before, after = migrate.downgrade(store, name)
        if before == after:
            click.echo(f"{store.label} is at {f'revision {after}' if after else 'nothing'} already")
        else:
            click.echo(f"{store.label} taken back from revision {before} to {after or 'nothing'}")


@db.command()
@store_option
def current(*, store_url: str) -> None:
    """Print the revision the store is at."""
    from storage import revision  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store, store.read() as connection:
        revision.refuse_foreign(connection, store)
        click.echo(revision.found(connection) or "none")


@db.command()
@store_option
def check(*, store_url: str) -> None:
    """Compare the store's schema with the one this version expects.

    Exit code 0: clean; 1: it has the right revision but was changed; 2: it has another revision.
    """
    from storage import migrate, revision  # noqa: PLC0415  # --help does without the database
    from storage.engine import Store  # noqa: PLC0415

    with closing(Store(store_url)) as store, store.read() as connection:
        revision.require(connection, store)
        deviations = migrate.deviations(connection)
        for deviation in deviations:
            click.echo(f"differs: {deviation}")
        if not deviations:
            click.echo(f"clean: {store.label} is at revision {revision.REVISION}")
    sys.exit(1 if deviations else 0)
