"""Open a store for one command, and close it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Open a store that has the right schema, for reading.

    Raises:
        SettingsError: It is no URL of a store.
        StorageUnavailable: It cannot be reached.
        SchemaOutOfDate: It has another schema.
    """
    # Not at the top: --help does without the database.
    from storage import revision  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    store = Store(url)
    try:
        with store.read() as db:
            revision.require(db, store)
            yield db
    finally:
        store.close()
