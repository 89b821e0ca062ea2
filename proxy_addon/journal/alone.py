"""At most one process files what is in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from proxy_addon.errors import SettingsError
from proxy_addon.journal import folders, reading


def is_used(folder: Path) -> bool:
    """Whether something waits in a folder, or somebody writes or files it; changes nothing."""
    if reading.waiting(folder) is not None or reading.living(folder):
        return True
    if not (folder / folders.INGEST_LOCK).exists():
        return False
    try:
        with alone(folder):
            return False
    except Busy:
        return True


class Busy(Exception):  # a fact
    """Another process files what is in the folder."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who files a folder until the block or the process ends, however it ends.

    Raises:
        Busy: Another process is.
        SettingsError: The folder cannot be written.
    """
    lock = FileLock(folder / folders.INGEST_LOCK, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise Busy from None
    except OSError as e:
        raise SettingsError(f"cannot write the journal in {folder}: {e.strerror}", hint="may you write there?") from e
    try:
        yield
    finally:
        lock.release()
