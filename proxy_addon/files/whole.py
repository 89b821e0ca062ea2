"""Write a file whole or not at all: an existing one is replaced once the new one is complete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from proxy_addon.errors import SettingsError


def write(path: Path, pieces: Iterable[bytes], *, is_private: bool = False) -> int:
    """Write a file, and return its size in bytes. What is no regular file, such as a pipe, is written as it comes.

    Args:
        is_private: Whether a new file is for its owner alone.

    Raises:
        SettingsError: The file cannot be written.
    """
    if path.is_symlink():
        path = path.resolve()  # the file that it leads to is replaced
    part = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            mode = 0o600 if is_private else 0o666
            with open(part, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                size = sum(map(file.write, pieces))
            if part != path:
                part.replace(path)
            return size
        finally:
            if part != path:
                part.unlink(missing_ok=True)
    except OSError as e:
        raise SettingsError(
            f"cannot write {path}: {e.strerror}",
            hint="does its folder exist, is there space left, and may you write there?",
        ) from e
