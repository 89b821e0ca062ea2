"""Wait until what devices were answered is in the store, for whoever is about to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy_addon.journal import folders


@dataclass(frozen=True, slots=True)
class Left:
    """What is not in the store after all.

    Attributes:
        folder: The journal's.
        entries: How many entries wait in it; None if it cannot be looked into.
    """

    folder: Path
    entries: int | None


def await_filed(path: Path | None, label: str, timeout_s: float = 2.0) -> list[Left]:
    """Wait until the journals of a store are filed, briefly; at once if it has none on this machine.

    Args:
        path: The file of a SQLite store; None for other stores.
        label: What names another store, without a password.

    Returns:
        What is left in each of them that still has something.
    """
    left = []
    for folder in folders.all_of(folders.default(path, label)):
        from proxy_addon.journal import channel  # noqa: PLC0415  # most stores have no journal when they are read

        try:
            waiting = channel.await_filed(folder, timeout_s)
        except OSError:  # another user's
            left.append(Left(folder, None))
            continue
        if waiting is not None:
            left.append(Left(folder, waiting.entries))
    return left
