"""Reads a store for the pages, which stay open while the store goes away, comes back, or is replaced by another one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from proxy_addon.errors import SchemaOutOfDate, StorageUnavailable
from storage import revision
from storage.engine import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Reading:
    """A store that is only read. Thread-safe.

    Attributes:
        label: Its URL without a password.
        opened: How often a store was opened; marks of different ones cannot be compared.
    """

    def __init__(self, url: str) -> None:
        """Prepare to read, without opening anything.

        Raises:
            SettingsError: The URL is not the URL of a store.
        """
        self._url = url
        self._store = Store(url, read_only=True)
        self._lock = threading.Lock()
        self.label = self._store.label
        self.opened = 1

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """Open a transaction on the store that the URL leads to now.

        Raises:
            StorageUnavailable: The store cannot be reached or read; the next call tries again.
            SchemaOutOfDate: Its schema is not that of this version.
        """
        store = self._store
        try:
            with ExitStack() as stack:
                try:
                    db = stack.enter_context(store.read())
                except StorageUnavailable:
                    if not store.is_sqlite:
                        raise
                    store = self._renewed(store)  # another file may have taken its place
                    db = stack.enter_context(store.read())
                revision.require(db, store)
                yield db
        except (StorageUnavailable, SchemaOutOfDate):
            self._renewed(store)
            raise

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    def _renewed(self, failed: Store) -> Store:
        """Close a store that failed, and return one to use in its place."""
        with self._lock:
            if self._store is failed:
                self._store = Store(self._url, read_only=True)
                self.opened += 1
            now = self._store
        failed.close()
        return now
