"""The schema revision this version works with, known without importing Alembic, which takes a second."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from proxy_addon.errors import SchemaOutOfDate
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
    """Raise where a store without a revision has tables of our names: another program made them.

    Raises:
        SchemaOutOfDate: It has.
    """
    foreign = sorted(set(inspect(db).get_table_names()) & set(Base.metadata.tables))
    if foreign:
        raise SchemaOutOfDate(
            f"{store.label} has a table {foreign[0]!r} that sessiontape did not make", hint="name another --store"
        )


def require(db: Connection, store: Store) -> None:
    """Raise unless the store is at the revision this version works with.

    Raises:
        SchemaOutOfDate: It has an older, a newer or no schema.
    """
    revision = found(db)
    if revision == REVISION:
        return
    if revision is None:
        refuse_foreign(db, store)
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
