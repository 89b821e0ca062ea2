"""How much room the disk of a journal has."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

_LOW_BYTES, _LOW_SHARE, _LOW_MOST_BYTES = 2**30, 0.05, 10 * 2**30
"""The disk is nearly full below 5 % of it, but at least 1 GiB and at most 10 GiB."""


@dataclass(frozen=True, slots=True)
class Space:
    """A disk.

    Attributes:
        free: Bytes that may still be written.
        total: Bytes of the whole disk.
    """

    free: int
    total: int

    @property
    def is_low(self) -> bool:
        """Whether the disk is nearly full."""
        return self.free < max(_LOW_BYTES, min(self.total * _LOW_SHARE, _LOW_MOST_BYTES))

    def __str__(self) -> str:
        """Return how much is free, in words."""
        return f"{self.free / 2**20:,.0f} MiB are free"


def space_of(folder: Path) -> Space:
    """Look at the disk of a folder.

    Raises:
        OSError: It cannot be looked at.
    """
    usage = shutil.disk_usage(folder)
    return Space(usage.free, usage.total)
