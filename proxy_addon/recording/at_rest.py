"""With ``--pseudonymise``, personal values never reach the journal, the log or a finding; what is on the wire stays.

Small exchanges are pseudonymised in the event loop. Large ones would keep other devices waiting, so they wait as they are,
in memory, for the journal's thread. An exchange that cannot be pseudonymised is dropped rather than written.
"""

from __future__ import annotations

import threading

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.pseudonyms.exchanges import Memory, Pseudonymiser
from proxy_addon.core.sessions import session_id_of

AT_ONCE = 16 * 1024
"""Largest exchange, in bytes of both bodies, that is pseudonymised in the event loop."""

MOST_SESSIONS = 500
"""How many sessions, the latest, have their values remembered."""


class NotPseudonymised(Exception):  # a fact, like StorageUnavailable
    """An exchange could not be pseudonymised. It names the kind of error alone: the message may quote a personal value."""


class AtRest:
    """What becomes of exchanges before they are written. Thread-safe."""

    def __init__(self, pseudonymiser: Pseudonymiser | None) -> None:
        """Make one; without a pseudonymiser, everything stays as it is."""
        self._pseudonymiser = pseudonymiser
        self._memories: dict[str, Memory] = {}
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether personal values are replaced."""
        return self._pseudonymiser is not None

    def told(self, exchange: Exchange) -> Exchange:
        """Return an exchange as it is to be written, however long that takes.

        Raises:
            NotPseudonymised: It must not be written.
        """
        if self._pseudonymiser is None:
            return exchange
        try:
            return self._pseudonymiser(exchange, self._memory(exchange))
        except Exception as e:  # noqa: BLE001  # it may be anything, and must not be shown
            raise NotPseudonymised(type(e).__name__) from None

    def _memory(self, exchange: Exchange) -> Memory | None:
        session_id = session_id_of(exchange)
        if session_id is None:
            return None
        with self._lock:
            memory = self._memories.pop(session_id, None) or Memory()
            self._memories[session_id] = memory  # behind the others
            while len(self._memories) > MOST_SESSIONS:
                del self._memories[next(iter(self._memories))]
        return memory

    def is_slow(self, exchange: Exchange) -> bool:
        """Whether replacing an exchange's values would keep other devices waiting."""
        return self._pseudonymiser is not None and is_large(exchange)

    def name(self, exchange: Exchange) -> str:
        """Return method and path of an exchange that still has its personal values, for the log."""
        return f"{exchange.request.method} {self.path(exchange.request.path)}"

    def path(self, path: str) -> str:
        """Return a path for the log; without its query if even that fails."""
        if self._pseudonymiser is None:
            return path
        try:
            return self._pseudonymiser.path(path)
        except Exception:  # noqa: BLE001  # as above
            return "(a path that is not shown)"

    def address(self, address: str) -> str:
        """Return a device's address for the log."""
        return address if self._pseudonymiser is None else self._pseudonymiser.address(address)


def is_large(exchange: Exchange) -> bool:
    """Whether pseudonymising an exchange would keep other devices waiting."""
    answer = exchange.response
    return len(exchange.request.body) + (len(answer.body) if answer else 0) > AT_ONCE
