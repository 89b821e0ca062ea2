"""How a recording ends: in which time, and what is said of it."""

from __future__ import annotations

import logging
from pathlib import Path

from proxy_addon.core.wording import counted
from proxy_addon.journal.writing import Counts
from proxy_addon.process import logs
from proxy_addon.recording.ingesting import Filed

logger = logs.logger(__name__)

ENDS_ON_LOSS = "the recorder ends because an exchange was lost, as --on-loss stop wants"
CLOSE_S = 1.0
"""How long the journal may take for its last entries, whose disk may hang."""
FILE_S = 2.0
"""How much of the time for stopping is kept for ingest where there are workers."""
STOP_S = 8.5
"""How long all may take, from the signal on: requests in flight, then the journal, then ingest. Ten seconds are promised."""


def tell_of_cut(counts: Counts | None, folder: Path) -> None:
    """Log what a second signal leaves undone, and wait for a moment until that is written.

    Args:
        counts: The books of the recorder so far; None if there are none yet.
        folder: Where its journal is.
    """
    seen, journaled = (0, 0) if counts is None else (counts.seen, counts.journaled)
    logger.error(
        f"a second signal ends the recorder at once: exchanges seen: {seen}, in the journal: {journaled}; what is not stored "
        f"yet waits in {folder}, and the next recording into this store files it, or 'sessiontape db drain'"
    )
    for handler in logging.getLogger().handlers:
        handler.flush()


def settle(counts: Counts, filed: Filed, folder: Path) -> bool:
    """Log how much was stored, lost, or still waits; return whether all of it is in the store.

    Args:
        counts: The books of the recorder, which has ended.
        folder: Where its journal is.
    """
    ours = 0 if filed.is_all else min(max(0, counts.journaled - filed.count - filed.refused), filed.waiting)
    stored = counts.journaled - ours - filed.refused
    if filed.is_all:
        stored = max(stored, filed.count)  # a worker that was killed has not told all that it journaled
    lost = counts.dropped + filed.refused
    if filed.waiting:
        because = f" because {filed.reason}" if filed.reason else ""
        logger.error(
            f"{counted(filed.waiting, 'exchange')} {'waits' if filed.waiting == 1 else 'wait'} in {folder}{because}; the next recording into this store files them, or "
            "'sessiontape db drain'"
        )
    judging = f"; judging failed {counted(filed.failures, 'time')}" if filed.failures else ""
    is_complete = not filed.waiting and not lost
    level = logging.INFO if is_complete and not filed.failures else logging.WARNING
    logger.log(level, f"{counted(stored, 'exchange')} stored, {lost} lost{judging}")
    return is_complete
