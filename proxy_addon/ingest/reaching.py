"""The store into which a journal is filed, whatever becomes of it: away, back, or another file in its place."""

from __future__ import annotations

import time
from contextlib import closing

from proxy_addon.errors import SchemaOutOfDate, SessiontapeError, StorageUnavailable
from proxy_addon.process import logs
from storage import revision
from storage.engine import Store, sqlite_path
from storage.patience import Waits

logger = logs.logger(__name__)

RETRY_S = 0.5
"""Pause between attempts to reach the store."""


class Reaching:
    """A store that is looked for again when it is away.

    Attributes:
        store: The store as it is reached now.
        away: Why it cannot be used; None if it can, as far as is known.
        number: Grows when another store stands in its place: what was filed before is not in there.
    """

    def __init__(self, url: str) -> None:
        """Prepare it without opening anything.

        Raises:
            SettingsError: The URL is not the URL of a store.
        """
        self._url = url
        self.store = _made(url)
        self.away: str | None = None
        self.number = 0
        self._since_s = 0.0
        self._told: set[str] = set()
        self._has_to_look = False
        self._is_prepared = False

    def prepare(self) -> None:
        """Create the store or bring its schema up to date, where that is needed.

        Raises:
            StorageUnavailable: The store cannot be reached or created.
            SchemaOutOfDate: A newer version of sessiontape or another program made the store.
        """
        if not self._is_ready():
            from storage import migrate  # noqa: PLC0415  # Alembic takes a second, and is hardly ever needed

            with closing(Store(self._url)) as patient:  # a migration of much data takes as long as it takes
                try:
                    migrate.upgrade(patient)
                except SessiontapeError:
                    self.store.leave_as_it_is()  # it may be another program's
                    raise
        self._is_prepared = True

    def _is_ready(self) -> bool:
        try:
            with self.store.read() as db:
                return revision.found(db) == revision.REVISION
        except StorageUnavailable:
            if not self.store.is_sqlite:
                raise  # whoever is patient with a server that hangs waits without end
            return False  # there may be no file yet

    def look_again(self) -> None:
        """Look whether the store is the one that it was, if the last attempt to use it failed.

        Raises:
            StorageUnavailable: It is gone, or its schema is not the one that we work with.
        """
        if not self._has_to_look:
            return
        try:
            self.store.require_file()
        except StorageUnavailable as gone:
            self._replace(gone)
        try:
            if not self._is_prepared:
                self.prepare()
            with self.store.read() as db:
                revision.require(db, self.store)
        except SchemaOutOfDate as e:
            self.number += 1
            raise StorageUnavailable(f"{e}; {e.hint}") from e
        self._has_to_look = False

    def _replace(self, gone: StorageUnavailable) -> None:
        """Go over to the file that is in the place of the one that is gone, if it is a store that we can use."""
        there = _made(self._url)
        try:
            with there.read() as db:
                revision.require(db, there)
        except SessiontapeError as e:
            there.close()
            why = f"{gone}; {e}; {e.hint}" if isinstance(e, SchemaOutOfDate) else str(gone)
            raise StorageUnavailable(why) from e
        logger.warning(f"{gone}; filing into the one that is there now")
        self.store.close()
        self.store = there
        self.number += 1

    def failed(self, error: Exception) -> None:
        """Note that the store cannot be used; tell it once until it can."""
        self._has_to_look = True
        self.store.disconnect()  # SQLite cannot write through a connection that it opened when the file was read-only
        reason = str(error)
        if self.away is None:
            self._since_s = time.monotonic()
            self._told.clear()
        if reason not in self._told:
            self._told.add(reason)
            logger.warning(f"{reason}; exchanges wait in the journal until it is back")
        self.away = reason

    def worked(self) -> None:
        """Note that the store can be used."""
        if self.away is not None:
            logger.warning(f"the store is back after {time.monotonic() - self._since_s:.1f} s")
            self.away = None

    def reason_of(self, error: Exception) -> str | None:
        """Return why the store is at fault for an error, not what was to be stored; None if it is not."""
        return str(error) if isinstance(error, StorageUnavailable) else revision.remedy(self.store)

    def close(self) -> None:
        """Close all connections."""
        self.store.close()


_WAITS = Waits(lock_s=1.0, answer_s=3.0)
"""Short, because whoever asks the process something waits as long."""


def _made(url: str) -> Store:
    # A file on this machine loses no commit unless the machine goes down, and then this process reads the journal again,
    # which has all that was not on disk. A server may go down alone, and take along commits that did not wait.
    return Store(url, durable=sqlite_path(url) is None, waits=_WAITS)
