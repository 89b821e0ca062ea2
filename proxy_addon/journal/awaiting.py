"""Wait until what devices were answered is in the store, for whoever is about to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_addon.journal import folders

if TYPE_CHECKING:
    from proxy_addon.journal.entries import Counted
    from proxy_addon.journal.reading import Held


@dataclass(frozen=True, slots=True)
class Left:
    """What is not in the store after all.

    Attributes:
        folder: The journal's.
        exchanges: How many exchanges wait in it, or about; None if it cannot be looked into.
    """

    folder: Path
    exchanges: int | None


def await_filed(path: Path | None, label: str, timeout_s: float = 2.0) -> list[Left]:
    """Wait until the journals of a store are filed, briefly; at once if it has none on this machine.

    Args:
        path: The file of a SQLite store; None for other stores.
        label: What names another store, without a password.

    Returns:
        What is left in each of them that still has something.
    """
    left = []
    for folder in folders.all_of(path, label):
        from proxy_addon.journal import client  # noqa: PLC0415  # most stores have no journal when they are read

        try:
            waiting = client.await_filed(folder, timeout_s)
        except OSError:  # another user's
            left.append(Left(folder, None))
            continue
        if waiting is not None:
            left.append(Left(folder, waiting.exchanges))
    return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the journals of a store on this machine tell of its recorder runs.

    Attributes:
        living: Ids of the runs of which a process still writes.
        held: What waits of each run; runs of which nothing does are left out.
        told: The counts that wait of processes, by run and number.
    """

    living: frozenset[str]
    held: Mapping[str, Held]
    told: Mapping[tuple[str, int], Counted]


def known(path: Path | None, label: str) -> Known | None:
    """Return what the journals of a store on this machine tell; None if it has none, or one cannot be looked into.

    Args:
        path: As of `await_filed`, and so is ``label``.
    """
    from proxy_addon.journal import reading  # noqa: PLC0415  # as above

    living: set[str] = set()
    held: dict[str, Held] = {}
    told: dict[tuple[str, int], Counted] = {}
    found = folders.all_of(path, label)
    try:
        for folder in found:
            living |= reading.living(folder)
            told |= reading.told_in(folder)
            for run, each in reading.held_of(folder).items():
                before = held.get(run, reading.Held())
                held[run] = reading.Held(before.exchanges + each.exchanges, before.first + each.first)
    except OSError:
        return None
    return Known(living=frozenset(living), held=held, told=told) if found else None
