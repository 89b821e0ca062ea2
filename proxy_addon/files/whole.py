"""Write files and folders whole or not at all: what is there is replaced once the new one is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def folder(path: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Give a folder to write into, which gets its name once all is written; if an exception comes, nothing is left of it.

    Args:
        is_private: Whether it is for its owner alone.

    Raises:
        SettingsError: The folder has something in it, is a file, or cannot be written.
    """
    check_is_free(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.mkdir(mode=0o700 if is_private else 0o777, parents=True)
        try:
            yield part
            part.rename(path)  # in place of an empty one
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as e:
        raise SettingsError(
            f"cannot write the folder {path}: {e.strerror}", hint="is there space left, and may you write there?"
        ) from e


def check_is_free(path: Path) -> None:
    """Check that a folder is not there, or empty.

    Raises:
        SettingsError: It has something in it, is a file, or cannot be read.
    """
    try:
        is_free = not any(path.iterdir())
    except FileNotFoundError:
        return
    except OSError as e:
        raise SettingsError(f"cannot write the folder {path}: {e.strerror}", hint="name another") from e
    if not is_free:
        raise SettingsError(f"the folder {path} is not empty", hint="name one that is empty, or not there yet")
