"""Delete what is older than the user wants to keep, while there is nothing to file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from proxy_addon.core.wording import counted
from proxy_addon.errors import StorageUnavailable
from proxy_addon.process import logs
from storage import pruning
from storage.engine import Store
from storage.pruning import Pruned

logger = logs.logger(__name__)

EVERY_S = 3600.0
"""How often to look for what has become too old."""


class Keeping:
    """Deletes a little at each call, so that what is to be filed never waits long."""

    def __init__(self, days: float | None) -> None:
        """Prepare it.

        Args:
            days: For how many days to keep what was recorded; None for ever.
        """
        self._days = days
        self._next_s = 0.0
        self._under_way: Iterator[Pruned] | None = None
        self._done = Pruned()
        self._gives_back = False
        self._told: set[str] = set()

    def delete_some(self, store: Store) -> bool:
        """Delete some of what is too old; return whether there may be more to delete now.

        Whatever fails is tried again in an hour: what is to be filed does not depend on it.

        Raises:
            StorageUnavailable: The store cannot be used.
        """
        try:
            return self._delete_some(store)
        except StorageUnavailable:
            raise
        except Exception as e:  # noqa: BLE001  # whatever it is, exchanges are filed
            if repr(e) not in self._told:
                self._told.add(repr(e))
                logger.error(f"cannot delete what is too old: {e!r}; it is tried again in an hour")  # noqa: TRY400  # one line
            return False

    def _delete_some(self, store: Store) -> bool:
        if self._gives_back:
            self._gives_back = False  # it does not go on after an error
            self._gives_back = store.give_some_back()
            return self._gives_back
        if self._days is None or (self._under_way is None and time.monotonic() < self._next_s):
            return False
        if self._under_way is None:
            self._next_s = time.monotonic() + EVERY_S
            self._under_way = pruning.prune(store, datetime.now(UTC) - timedelta(days=self._days))
            self._done = Pruned()
        under_way, self._under_way = self._under_way, None  # it does not go on after an error
        deleted = next(under_way, None)
        if deleted is not None:
            self._done, self._under_way = deleted, under_way
            return True
        if self._done != Pruned():
            gone, exchanges = counted(self._done.sessions, "session"), counted(self._done.exchanges, "exchange")
            logger.info(f"deleted as too old: {gone}, {exchanges}")
            self._gives_back = True
        return self._gives_back
