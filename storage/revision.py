"""The schema revision this version works with, known without importing Alembic, which takes a second."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from proxy_addon.errors import SchemaOutOfDate, SessiontapeError
from storage.engine import Store
from storage.models import Base

REVISION = "0008"
"""Newest revision in ``migrations/``; a test compares the two."""


def found(db: Connection) -> str | None:
    """Return the revision a store is at; None where it has no schema."""
    if not inspect(db).has_table("alembic_version"):
        return None
    return db.execute(text("SELECT version_num FROM alembic_version")).scalar()


def refuse_foreign(db: Connection, store: Store) -> None:
    """Raise where another program has made tables: in a SQLite file any, in a PostgreSQL database those of our names.

    A file that is refused stays as it was, byte for byte.

    Raises:
        SchemaOutOfDate: It has.
    """
    revision = found(db)
    tables = set(inspect(db).get_table_names())
    if revision is not None and tables >= _ALWAYS:
        return
    ours = set(Base.metadata.tables)
    # A downgrade to nothing leaves Alembic's own table, with no revision in it.
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
    """Raise unless the store is at the revision this version works with.

    Raises:
        SchemaOutOfDate: It has an older, a newer or no schema, or another program made it.
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
    """Return what is wrong with a store's schema and what mends it; None where it is right, or cannot be seen."""
    try:
        with store.read() as db:
            require(db, store)
    except SchemaOutOfDate as e:
        return f"{e}; {e.hint}"
    except SessiontapeError:
        return None
    return None
