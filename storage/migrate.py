"""Upgrade, downgrade and check a store's schema. The only module of the packages that imports Alembic."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

# Set before the import, because Alembic logs each plugin while it is imported. Users of mitmdump need neither that
# nor its migration steps.
logging.getLogger("alembic").setLevel(logging.WARNING)

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, literal, select, table

from proxy_addon.errors import SettingsError
from storage import revision, sqlite
from storage.engine import Store
from storage.models import Base


def upgrade(store: Store) -> tuple[str | None, str]:
    """Create the schema or bring it up to date; create the store if it does not exist.

    Several processes may call it at the same time: one migrates, and the others find it done.

    Returns:
        The revision found (None for no schema), and the revision it is at now.

    Raises:
        StorageUnavailable: The store cannot be reached or created.
        SchemaOutOfDate: A newer version of sessiontape or another program made the store.
    """
    store.create_file()
    with store.read() as db:  # a file that is refused must stay unchanged
        revision.refuse_foreign(db, store)
    store.enter_wal_mode()
    with store.write() as db:
        revision.refuse_foreign(db, store)  # another process may have changed it in the meantime
        before = revision.found(db)
        if before != revision.REVISION:
            if before is not None and before not in known_revisions():
                revision.require(db, store)
            command.upgrade(_config(db), "head")
        return before, revision.REVISION


def new_file() -> bytes:
    """Return the content of an SQLite store that is up to date and empty, for `create`.

    Whoever makes many stores saves the tenth of a second that migrating each of them takes.
    """
    with tempfile.TemporaryDirectory(prefix="sessiontape-") as folder:
        store = Store(f"sqlite:///{folder}/new.db")
        try:
            upgrade(store)
        finally:
            store.close()
        assert store.path is not None
        return store.path.read_bytes()


def create(url: str, content: bytes) -> None:
    """Create the file of an SQLite store with this content, unless there is one; `upgrade` makes any other store.

    Raises:
        SettingsError: The URL is not the URL of a store.
    """
    path = Store(url).path
    if path is not None:
        sqlite.create_whole(path, content)


def downgrade(store: Store, to: str) -> tuple[str | None, str | None]:
    """Take the schema back to a revision, or to ``base``, the empty database. Data that does not fit there is lost.

    Returns:
        The revision found and the revision it is at now; None for no schema.

    Raises:
        SettingsError: There is no such revision, or it is newer than the store's.
        SchemaOutOfDate: A newer version of sessiontape or another program made the store.
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
            raise SettingsError(f"cannot downgrade from revision {before} to {to}: {e}") from e
        return before, revision.found(db)


def check_known(to: str) -> None:
    """Check that a name is ``base`` or a revision.

    Raises:
        SettingsError: There is no such revision.
    """
    if to != "base" and to not in known_revisions():
        raise SettingsError(f"unknown revision {to!r}", hint=f"known are: base, {', '.join(known_revisions())}")


def holds_data(db: Connection) -> bool:
    """Return whether anything is stored, whatever revision the store is at."""
    tables = set(inspect(db).get_table_names()) & set(Base.metadata.tables)
    return any(db.execute(select(literal(1)).select_from(table(name)).limit(1)).first() for name in sorted(tables))


def deviations(db: Connection) -> list[str]:
    """Return the differences between a store's schema and the models, one line each; empty if they are equal."""
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
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    shipped = here / "_migrations"
    return shipped if shipped.is_dir() else here.parent / "migrations"


def _describe(change: Any) -> str:
    if isinstance(change, list):
        return "; ".join(_describe(part) for part in change)
    kind, *rest = change
    return f"{kind} {' '.join(str(part) for part in rest if part is not None)}"
