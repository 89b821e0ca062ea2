"""How long to wait for a store that others hold, or that does not answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a store may keep its caller waiting before it counts as unavailable.

    Attributes:
        lock_s: For others that write; None for as long as suits a user who looks on: 5 s for an SQLite file, 30 s for
            PostgreSQL, where another process's migration may take that long.
        answer_s: For the next sign of life of a PostgreSQL server while it works for us; None for ever. The connection is
            closed then. It must be longer than anything that a healthy server does without a word: what is tried again
            and again and cut off each time is never done.
        disk_s: The same for what waits for the server's disk, which may be busy: commits, and large deletions.
    """

    lock_s: float | None = None
    answer_s: float | None = None
    disk_s: float = 30.0


PATIENT = Waits()
