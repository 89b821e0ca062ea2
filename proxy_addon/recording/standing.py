"""How a recorder stands: its counts, what waits in the journal, and what is wrong, gathered when somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_addon.journal.messages import Counts
from proxy_addon.journal.reading import Waiting, waiting
from proxy_addon.journal.space import Space, space_of
from proxy_addon.recording.meters import Meter, Standing, merged

LATE_S = 300.0
"""From how long a wait of the oldest exchange on the store counts as too slow."""
_FRESH_S = 1.0
"""For how long what was seen in the journal's folder is not looked up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one process tells of itself.

    Attributes:
        meter: As `Meter.document` returns it.
        seen: As of `proxy_addon.journal.writing.Counts`, and so are the next two.
        trouble: Why its journal cannot be written; None if it can.
        has_ended: Whether this was the last that it told: what it counted remains.
    """

    meter: Mapping[str, Any]
    seen: int = 0
    journaled: int = 0
    dropped: int = 0
    trouble: str | None = None
    has_ended: bool = False


class Lookout:
    """Gathers how a recorder stands."""

    def __init__(
        self,
        folder: Path,
        processes: Callable[[], Sequence[Told]],
        ingest: Callable[[], Counts | None],
        silent_s: Callable[[], float | None],
    ) -> None:
        """Prepare it.

        Args:
            folder: The journal.
            processes: Returns what each process has told last.
            ingest: Returns what ingest has told last; None while none is connected.
            silent_s: Returns for how long ingest has told nothing while something waited; None unless that is too long.
        """
        self._folder = folder
        self._processes = processes
        self._ingest = ingest
        self._silent_s = silent_s
        self._left: Waiting | None = None
        self._space: Space | None = None
        self._left_at_s = float("-inf")

    async def look(self) -> tuple[Meter, Standing]:
        """Return how the recorder stands now."""
        if time.monotonic() - self._left_at_s > _FRESH_S:
            self._left = await asyncio.to_thread(waiting, self._folder)
            with suppress(OSError):  # then the journal cannot be written either, which is told
                self._space = await asyncio.to_thread(space_of, self._folder)
            self._left_at_s = time.monotonic()
        told = self._processes()
        return merged(each.meter for each in told), standing_of(
            told, self._ingest(), self._left, self._space, time.time(), silent_s=self._silent_s()
        )


def standing_of(
    told: Sequence[Told],
    ingest: Counts | None,
    left: Waiting | None,
    space: Space | None,
    now_s: float,
    *,
    silent_s: float | None = None,
) -> Standing:
    """Return how a recorder stands.

    Args:
        told: What its processes have told.
        ingest: What ingest has told; None if there is none.
        left: What waits in the journal; None if nothing does.
        space: How much room the journal's disk has; None if nobody knows.
        now_s: The time, in Unix seconds.
        silent_s: For how long ingest has told nothing while something waited; None unless that is too long.
    """
    running = [each for each in told if not each.has_ended]
    oldest_s = 0.0 if left is None or left.oldest_us is None else max(0.0, now_s - left.oldest_us / 1_000_000)
    is_store_up = ingest is not None and ingest.store_state == "ok"
    troubles = [
        f"the journal cannot be written: {each}" for each in dict.fromkeys(one.trouble for one in running) if each
    ]
    if ingest is None:
        troubles.append("no process files what is in the journal")
    elif silent_s is not None:
        troubles.append(f"the process that files what is in the journal has told nothing for {silent_s:.0f} s")
    elif not is_store_up:
        troubles.append(f"the store is away: {ingest.store_state}")
    elif oldest_s > LATE_S:
        troubles.append(f"what is in the journal is filed too slowly: the oldest exchange waits for {oldest_s:.0f} s")
    if space is not None and space.is_low:
        troubles.append(f"the disk of the journal is nearly full: {space}")
    return Standing(
        workers=len(running),
        seen=sum(each.seen for each in told),
        journaled=sum(each.journaled for each in told),
        dropped=sum(each.dropped for each in told),
        filed=0 if ingest is None else ingest.filed,
        refused=0 if ingest is None else ingest.refused,
        findings={} if ingest is None else ingest.findings,
        exchanges=0 if left is None else left.exchanges,
        bytes=0 if left is None else left.bytes,
        oldest_s=oldest_s,
        free=None if space is None else space.free,
        is_store_up=is_store_up,
        is_ingest_up=ingest is not None and silent_s is None,
        troubles=tuple(troubles),
    )
