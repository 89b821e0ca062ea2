"""What a recorder appends to before it answers a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy_addon.journal.entries import About, Dropped, Exchanged

SEGMENT_BYTES = 32 * 2**20
"""How much is written to a segment before the next one is begun."""
MEMORY_BYTES = 64 * 2**20
"""How much may wait in memory while the journal cannot be written."""

Done = Callable[[BaseException | None], object]
Make = Callable[[], Exchanged | None]


class Refused(Exception):
    """Raised by a callable that was given to `Journal.put`: the exchange must not be journaled.

    Attributes:
        dropped: Its name, without what must not be told, and the reason.
    """

    def __init__(self, dropped: Dropped) -> None:
        super().__init__(dropped.reason)
        self.dropped = dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The books of a writer.

    Attributes:
        seen: Exchanges that came in, those in flight included.
        journaled: Exchanges in the journal.
        dropped: Exchanges that could not be journaled.
        waiting: Exchanges in memory, because the journal cannot be written.
        bytes: Approximate memory of these.
        oldest_us: When the first of these was received, in Unix microseconds; None if none waits.
    """

    seen: int
    journaled: int
    dropped: int
    waiting: int
    bytes: int
    oldest_us: int | None


class Journal:
    """Appends entries in a thread of its own, and commits many at a time."""

    def __init__(
        self,
        folder: Path,
        about: About,
        *,
        durable: bool,
        call: Callable[..., object],
        memory_bytes: int = MEMORY_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        on_trouble: Callable[[str | None], object] | None = None,
        on_loss: Callable[[], object] | None = None,
    ) -> None:
        """Make the first segment and start the thread.

        Args:
            folder: Is created if there is none.
            durable: Whether a commit waits until the disk has it. If not, a kill of the process loses nothing, but a
                loss of power may.
            call: Calls a function with arguments in the thread of those who put: ``loop.call_soon_threadsafe``.
            memory_bytes: How much may wait in memory while the journal cannot be written.
            segment_bytes: How much is written to a segment before the next one is begun.
            on_trouble: Called by way of ``call`` with the reason when the journal can no longer be written, and with
                None when it can again.
            on_loss: Called by way of ``call`` when the first exchange is dropped.

        Raises:
            SettingsError: The folder cannot be written.
        """
        raise NotImplementedError

    def saw(self, count: int = 1) -> None:
        """Count exchanges that came in. Called in one thread only."""
        raise NotImplementedError

    def put(self, entry: Exchanged | Make, done: Done | None = None) -> None:
        """Append an exchange. Never blocks, never raises.

        Args:
            entry: An exchange; or a function that makes it in the journal's thread, or returns None if there is nothing
                to journal. If it raises `Refused` or anything else, the exchange is dropped, counted and named.
            done: Called by way of ``call``, all of a commit in one call: with None when the exchange is committed,
                otherwise with the reason why it is not, or not yet: the answer need not wait any longer.
        """
        raise NotImplementedError

    def counts(self) -> Counts:
        """Return the counts so far."""
        raise NotImplementedError

    def close(self, timeout_s: float) -> Counts:
        """Commit what is waiting, write the last counts, and stop; what is left after the time-out is dropped."""
        raise NotImplementedError
