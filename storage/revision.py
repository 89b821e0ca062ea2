"""The schema revision that this version works with, without importing Alembic, which takes a second."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from proxy_addon.errors import SchemaOutOfDate, SessiontapeError
from storage.engine import Store
from storage.models import Base

REVISION = "0012"
"""Newest revision in ``migrations/``; a test compares the two."""


def found(db: Connection) -> str | None:
    """Return the revision a store is at; None if it has no schema."""
    if not inspect(db).has_table("alembic_version"):
        return None
    return db.execute(text("SELECT version_num FROM alembic_version")).scalar()


def refuse_foreign(db: Connection, store: Store) -> None:
    """Refuse a store in which another program made tables: any in an SQLite file, those of our names in PostgreSQL.

    A file that is refused stays unchanged, byte for byte.

    Raises:
        SchemaOutOfDate: Another program made such a table.
    """
    revision = found(db)
    tables = set(inspect(db).get_table_names())
    if revision is not None and tables >= _ALWAYS:
        return
    ours = set(Base.metadata.tables)
    # A downgrade to base leaves Alembic's own table, without a revision in it.
    versions = {"alembic_version"}
    foreign = tables if store.is_sqlite else tables & (ours | versions)
    if revision is None:
        foreign -= versions
    if foreign:
        store.leave_as_it_is()
        name = "a file of its own" if store.is_sqlite else "a database or a schema (search_path) of its own"
        raise SchemaOutOfDate(
            f"{store.label} has a table {min(foreign)!r} that sessiontape did not make",
            hint=f"give sessiontape {name} with --store",
        )


_ALWAYS = {"recordings", "sessions", "exchanges"}
"""Tables that every revision has."""


def require(db: Connection, store: Store) -> None:
    """Check that the store is at the revision that this version works with.

    Raises:
        SchemaOutOfDate: The schema is older, newer or missing, or another program made the store.
    """
    revision = found(db)
    if revision == REVISION:
        return
    refuse_foreign(db, store)
    if revision is None:
        raise SchemaOutOfDate(
            f"{store.label} has no schema yet; this version needs revision {REVISION}",
            hint=f"run: sessiontape db upgrade --store '{store.label}'",
        )
    if revision > REVISION:
        raise SchemaOutOfDate(
            f"{store.label} is at revision {revision}; this version works with {REVISION}",
            hint="a newer sessiontape made it: update with 'pip install --upgrade sessiontape'",
        )
    raise SchemaOutOfDate(
        f"{store.label} is at revision {revision}; this version needs {REVISION}",
        hint=f"run: sessiontape db upgrade --store '{store.label}'",
    )


def remedy(store: Store) -> str | None:
    """Return what is wrong with a store's schema and how to fix it; None if it is right or cannot be read."""
    try:
        with store.read() as db:
            require(db, store)
    except SchemaOutOfDate as e:
        return f"{e}; {e.hint}"
    except SessiontapeError:
        return None
    return None
