"""Bring a store's schema up, down, or tell whether it is right. The only module that knows Alembic."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

# Before it is imported, for it logs each plugin that it sets up then: inside mitmdump that is no news, nor are its steps.
logging.getLogger("alembic").setLevel(logging.WARNING)

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, literal, select, table

from proxy_addon.errors import SettingsError
from storage import revision
from storage.engine import Store
from storage.models import Base


def upgrade(store: Store) -> tuple[str | None, str]:
    """Create the schema or bring it up to date; a store that does not exist is made.

    Several processes may do so at the same time: one of them migrates, the others find it done.

    Returns:
        The revision found and the one it is at now.

    Raises:
        StorageUnavailable: The store cannot be reached or made.
        SchemaOutOfDate: A newer version has made it, or another program.
    """
    store.create_file()
    with store.read() as db:  # a file that is refused must not have been changed before
        revision.refuse_foreign(db, store)
    store.enter_wal_mode()
    with store.write() as db:
        revision.refuse_foreign(db, store)  # another process may have been there since
        before = revision.found(db)
        if before is not None and before not in known_revisions():
            revision.require(db, store)
        if before != revision.REVISION:
            command.upgrade(_config(db), "head")
        return before, revision.REVISION


def downgrade(store: Store, to: str) -> tuple[str | None, str | None]:
    """Take the schema back to a revision, or to ``base``, the empty database. What does not fit there is gone.

    Returns:
        The revision found and the one it is at now.

    Raises:
        SettingsError: There is no such revision.
        SchemaOutOfDate: A newer version has made the store, or another program.
    """
    check_known(to)
    with store.write() as db:
        revision.refuse_foreign(db, store)
        before = revision.found(db)
        if before is None:
            return None, None
        if before not in known_revisions():
            revision.require(db, store)
        try:
            command.downgrade(_config(db), to)
        except CommandError as e:
            raise SettingsError(f"cannot go from revision {before} down to {to}: {e}") from e
        return before, revision.found(db)


def check_known(to: str) -> None:
    """Check that a store can be taken back to something of this name.

    Raises:
        SettingsError: There is no such revision.
    """
    if to != "base" and to not in known_revisions():
        raise SettingsError(f"no revision {to!r}", hint=f"known are: base, {', '.join(known_revisions())}")


def holds_data(db: Connection) -> bool:
    """Return whether anything is stored, at whatever revision the store is."""
    tables = set(inspect(db).get_table_names()) & set(Base.metadata.tables)
    return any(db.execute(select(literal(1)).select_from(table(name)).limit(1)).first() for name in sorted(tables))


def deviations(db: Connection) -> list[str]:
    """Return where a store's schema differs from the models, a line each; none where they are equal."""
    context = MigrationContext.configure(db, opts={"compare_type": True})
    return [_describe(change) for change in compare_metadata(context, Base.metadata)]


def known_revisions() -> list[str]:
    """Return all revisions, oldest first."""
    return [script.revision for script in reversed(list(ScriptDirectory(str(_location())).walk_revisions()))]


def _config(db: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_location()).replace("%", "%%"))
    config.attributes["connection"] = db
    return config


def _location() -> Path:
    """Return where the migrations are: in the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    shipped = here / "_migrations"
    return shipped if shipped.is_dir() else here.parent / "migrations"


def _describe(change: Any) -> str:
    if isinstance(change, list):
        return "; ".join(_describe(part) for part in change)
    kind, *rest = change
    return f"{kind} {' '.join(str(part) for part in rest if part is not None)}"
