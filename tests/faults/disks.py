"""Small disks that fill up, and folders that nobody can write to. Both are mounts, which only root can make."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PIECE = bytes(64 * 1024)


class Disk:
    """A disk of its own, in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave_kib: int = 0) -> None:
        """Write until nothing more fits; then leave some room again."""
        with self._filler.open("ab", buffering=0) as file:
            for piece in (_PIECE, _PIECE[:4096]):
                with suppress(OSError):
                    while file.write(piece) == len(piece):
                        pass
            if leave_kib:
                file.truncate(max(0, file.tell() - leave_kib * 1024))

    def free(self) -> None:
        self._filler.unlink()


@contextmanager
def disk(folder: Path, size_mib: int) -> Iterator[Disk]:
    """Mount a small disk on a folder, which need not be there."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder))
    try:
        yield Disk(folder)
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody who opens a file in a folder from now on write to it."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            (folder / "probe").touch()
        yield
    finally:
        _unmount(folder)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    # Whoever still has a file open there keeps what is mounted until it ends; the folder is free at once.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
