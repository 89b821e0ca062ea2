"""Room on the disk for what a writer has to say last: the disk may be full then, and its books would never get complete.

A writer sets the room aside when it begins. Overwriting a file takes no more room, so its last counts and the names of what
it has lost fit in there when no segment can be written any more. A file of zeros says nothing.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy_addon.journal import folders, segments
from proxy_addon.journal.entries import About, Counted, Dropped, Entry, encoded

ROOM_BYTES = 256 * 2**10
"""Room for the names of about 1,500 losses; others are only counted."""
_HEAD = struct.Struct(">III")
"""Length of the about, length of the entries, and CRC-32 of both."""

_entries = msgspec.msgpack.Decoder(list[Entry]).decode


class LastWords:
    """The room of one writer."""

    def __init__(self, folder: Path, about: About) -> None:
        """Set it aside, or do without if the disk does not have it."""
        self._about = about
        self._path = folder / f"{segments.writer(about.run, about.worker)}{folders.LAST}"
        with suppress(OSError):
            _write(self._path, bytes(ROOM_BYTES), os.O_CREAT | os.O_TRUNC)

    def say(self, counted: Counted, dropped: Iterable[Dropped]) -> None:
        """Write the last counts, and the names of losses as far as there is room.

        Raises:
            OSError: The disk does not take them.
        """
        about = msgspec.json.encode(self._about)
        left = ROOM_BYTES - _HEAD.size - len(about) - len(encoded(counted)) - 5
        entries: list[Entry] = [counted]
        for each in dropped:
            left -= len(encoded(each))
            if left < 0:
                break
            entries.append(each)
        said = about + encoded(entries)
        _write(self._path, _HEAD.pack(len(about), len(said) - len(about), zlib.crc32(said)) + said, is_synced=True)

    def keep_silent(self) -> None:
        """Give the room back: all is said elsewhere."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def is_said(path: Path) -> bool:
    """Whether a file has last words; cheap to call often."""
    with suppress(OSError), path.open("rb", buffering=0) as file:
        return any(file.read(_HEAD.size))
    return False


def said_in(path: Path) -> tuple[About, list[Entry]]:
    """Return the last words in a file, and who said them.

    Raises:
        OSError: It cannot be read.
        ValueError: It was not written to its end, or is damaged.
    """
    data = path.read_bytes()
    try:
        length, more, crc = _HEAD.unpack_from(data)
        said = data[_HEAD.size : _HEAD.size + length + more]
        if zlib.crc32(said) != crc:
            raise ValueError("it was not written to its end")
        return msgspec.json.decode(said[:length], type=About), _entries(said[length:])
    except (struct.error, msgspec.MsgspecError) as e:
        raise ValueError(str(e)) from e


def _write(path: Path, data: bytes, flags: int = 0, *, is_synced: bool = False) -> None:
    file = os.open(path, os.O_WRONLY | flags, 0o600)
    try:
        if os.write(file, data) < len(data):
            raise OSError(f"{path} was not written to its end")
        if is_synced:
            os.fsync(file)
    finally:
        os.close(file)
