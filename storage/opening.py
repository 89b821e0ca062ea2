"""Open a store for one command, and close it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from storage.engine import Store


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Open a store for reading, in one transaction, and check its schema.

    Raises:
        SettingsError: The URL is not the URL of a store.
        StorageUnavailable: The store cannot be reached.
        SchemaOutOfDate: The store has another schema than this version works with.
    """
    # Imported here because --help must not wait for the database library.
    from storage import revision  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    store = Store(url, read_only=True)
    try:
        with store.read() as db:
            revision.require(db, store)
            yield db
    finally:
        store.close()


@contextmanager
def writing(url: str) -> Iterator[Store]:
    """Open a store for writing, and check its schema; create the schema, and the file, where there is none.

    Raises:
        SettingsError: The URL is not the URL of a store.
        StorageUnavailable: The store cannot be reached or created.
        SchemaOutOfDate: The store has another schema than this version works with, or another program made it.
    """
    from storage import migrate, revision  # noqa: PLC0415  # as above
    from storage.engine import Store  # noqa: PLC0415

    store = Store(url)
    try:
        store.create_file()
        with store.read() as db:
            is_new = revision.found(db) is None
            if not is_new:
                revision.require(db, store)
        if is_new:
            migrate.upgrade(store)
        yield store
    finally:
        store.close()
