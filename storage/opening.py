"""Open a store for one command, and close it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


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

    store = Store(url)
    try:
        with store.read() as db:
            revision.require(db, store)
            yield db
    finally:
        store.close()
