"""What the ingest process reads: the segments of a folder, in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy_addon.journal.entries import About, Entry

MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a folder has that no store has.

    Attributes:
        entries: How many entries.
        bytes: How much disk the journal takes.
        oldest_us: When the first exchange of them was received, in Unix microseconds; None if it cannot be told.
    """

    entries: int
    bytes: int
    oldest_us: int | None


class Segment:
    """A segment that is being read.

    Attributes:
        path: The file.
        about: Who wrote it.
        is_final: Whether nothing will be added to it, as of the last `Folder.look`.
        at: Number of the last entry that was read; set it back to an earlier value to read again.
        damage: What could not be read, as text; None if all could.
    """

    path: Path
    about: About
    is_final: bool
    at: int
    damage: str | None

    def more(self, limit: int = MOST) -> list[tuple[int, Entry]]:
        """Return the entries after `at` with their numbers, from 1 in each segment, and move `at`.

        Entries that were committed together are returned together, so there may be up to 1,000 more than ``limit``.

        Returns:
            An empty list if there are no more; if the segment was final before, there will be none.

        Raises:
            OSError: The segment cannot be read at the moment, because of the disk rather than of what is in it.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process of a recorder run, and what it wrote.

    Attributes:
        is_alive: Whether it may write more.
        segments: In the order in which they were written; all but the last are final, and the last is as well if the
            writer is dead. Never empty.
    """

    run: str
    worker: int
    is_alive: bool
    segments: list[Segment]


class Folder:
    """The journal of a store, for the one process that files what is in it."""

    def __init__(self, path: Path) -> None:
        raise NotImplementedError

    def look(self) -> list[Writer]:
        """Return the writers that have segments, in the order in which their runs began; tell of what is odd, once.

        Segments stay the same objects from look to look. Those that a newer version wrote are left out. What dead writers
        have left unfinished is deleted.
        """
        raise NotImplementedError

    def filed(self, segment: Segment) -> None:
        """Note for `waiting` that all entries up to `Segment.at` are in the store."""
        raise NotImplementedError

    def remove(self, segment: Segment) -> None:
        """Delete a final segment whose entries are durable in the store; set it aside if it is damaged."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all segments."""
        raise NotImplementedError


def waiting(folder: Path) -> Waiting | None:
    """Return what waits in a folder, without changing anything; None if nothing does or there is no folder."""
    raise NotImplementedError
