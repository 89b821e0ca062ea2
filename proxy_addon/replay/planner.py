"""Make the plans of a replay from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy_addon.core.replays.changing import Changer
from proxy_addon.core.replays.plans import SessionPlan, plan_session
from proxy_addon.core.sessions import Session
from storage import exchanges
from storage.engine import Store


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How sessions become plans.

    Attributes:
        changer: Applies the changes of requests.
        spreads_equal_ts: Whether events with the same ``ts`` are moved apart.
    """

    changer: Changer
    spreads_equal_ts: bool = False


class Planner:
    """Makes the plans of sessions, one after the other; a `helpers.Work`."""

    def __init__(self, store_url: str, planning: Planning, skip: Mapping[str, str]) -> None:
        """Make a planner without opening the store.

        Args:
            skip: Why a session is not sent, by our id.
        """
        self._store_url = store_url
        self._planning = planning
        self._skip = dict(skip)
        self._store: Store | None = None

    def __call__(self, session: Session) -> SessionPlan:
        """Return the plan of a session.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        if self._store is None:
            self._store = Store(self._store_url)
        with self._store.read() as db:
            return plan_session(
                session,
                exchanges.of_session(db, session.id),
                skip=self._skip.get(session.id),
                change=self._planning.changer,
                spreads_equal_ts=self._planning.spreads_equal_ts,
            )

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
