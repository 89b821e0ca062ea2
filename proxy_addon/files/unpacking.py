"""Open a file that any program wrote: unpacked from gzip, zlib or zip, in UTF-8 without a byte order mark.

Nothing is unpacked to disk, and never more than a piece of a file is in memory. What a file becomes when it is unpacked
is bounded, and so are the files beside it that it may name.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from proxy_addon.core import jsontext
from proxy_addon.core.wording import pasted
from proxy_addon.errors import ProtocolError, SettingsError

CHUNK = 256 * 1024
MOST_UNPACKED = 8 * 1024**3
"""How many bytes of a compressed file are read at most, once it is unpacked."""
SUSPICIOUS, MOST_TIMES = 64 * 1024**2, 100
"""A file that unpacks to more than so many bytes, and to so many times its size, is not read: no capture does that."""
LARGEST_ATTACHED = 64 * 1024**2
"""The largest file beside a HAR that is read, in bytes."""
MOST_ATTACHED = 256 * 1024**2
"""How many bytes of the files beside a HAR are read in all."""
LARGEST_WHOLE = 256 * 1024**2
"""The largest file that is read if all of it must be in memory, in bytes."""
MOST_PARTS = 100_000
"""How many files a zip file may hold."""
_HEAD = 64 * 1024
_LAYERS = 3
"""How many times a file may be packed: a HAR in gzip in a zip."""

_CHARLES = "in Charles, save it as a JSON session file (.chlsj) or as HAR"
_PACKETS = "what is in the packets is encrypted; record with a proxy or in the browser instead"
_FOREIGN = (
    (b"\xac\xed\x00\x05", "a session of Charles (.chls)", _CHARLES),
    (b"\xd4\xc3\xb2\xa1", "a packet capture", _PACKETS),
    (b"\xa1\xb2\xc3\xd4", "a packet capture", _PACKETS),
    (b"\x4d\x3c\xb2\xa1", "a packet capture", _PACKETS),
    (b"\x0a\x0d\x0d\x0a", "a packet capture", _PACKETS),
    (b"SQLite format 3\0", "a database", "if it is a store, name it with --store sqlite:///FILE, and a session in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and name the file that was in it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with zstd -d"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it with unxz"),
)
"""What files of other kinds begin with, what they are, and the way out."""


@dataclass(frozen=True)
class Unpacked:
    """A file without its packing.

    Attributes:
        name: As messages name it.
        reopen: Returns the bytes from the beginning, unpacked.
        attached: Returns a file beside it by name, in the folder or the zip file where it is; None if there is none.
        parts: For a zip file that is a log of many parts: yields the name of each, in order, and what reads it or
            raises `ProtocolError`. None for any other file.
    """

    name: str
    reopen: Callable[[], BinaryIO]
    attached: Callable[[str], bytes | None]
    parts: Callable[[], Iterator[tuple[str, Callable[[], bytes]]]] | None = None

    @cached_property
    def head(self) -> bytes:
        """The beginning of the text."""
        return self.beginning(_HEAD)

    def beginning(self, size: int) -> bytes:
        """Return the first bytes of the text; fewer if it is shorter, or damaged."""
        found = b""
        try:
            for chunk in self.chunks():
                found += chunk
                if len(found) >= size:
                    break
        except ProtocolError:
            pass  # whoever reads on will say so
        return found[:size]

    @cached_property
    def document(self) -> Any:
        """The one JSON value in it, decoded as `jsontext.document` does.

        Raises:
            ProtocolError: It is not one JSON text.
            SettingsError: It is too large to be read as a whole.
        """
        text = self.beginning(LARGEST_WHOLE + 1)
        if len(text) > LARGEST_WHOLE:
            raise self._too_large()
        return jsontext.document(text)

    @cached_property
    def mark(self) -> bytes:
        """The byte order mark that it begins with; empty for none."""
        with self.reopen() as file:
            begin = _beginning(file, 3)
        marks = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return next((mark for mark in marks if begin.startswith(mark)), b"")

    def chunks(self) -> Iterator[bytes]:
        """Yield the text in pieces, in UTF-8.

        Raises:
            ProtocolError: The file is damaged from here on, or becomes too large.
        """
        with self.reopen() as file:
            file.read(len(self.mark))
            pieces = iter(lambda: _checked(file), b"")
            if self.mark in (b"", codecs.BOM_UTF8):
                yield from pieces
                return
            decoder = codecs.getincrementaldecoder("utf-16-le" if self.mark == codecs.BOM_UTF16_LE else "utf-16-be")(
                "replace"
            )
            for piece in pieces:
                yield decoder.decode(piece).encode("utf-8", "surrogatepass")

    def sha256(self) -> str:
        """Return the hash of what is in it, as hexadecimal digits; of a damaged file, of what can be read."""
        digest = hashlib.sha256()
        try:
            if self.parts is not None:
                for name, part in self.parts():
                    digest.update(f"{name}\0".encode("utf-8", "surrogatepass"))
                    digest.update(part())
            else:
                with self.reopen() as file:
                    for piece in iter(lambda: _checked(file), b""):
                        digest.update(piece)
        except ProtocolError:
            pass  # whoever reads the entries says so
        return digest.hexdigest()

    def all(self) -> bytes:
        """Return all its bytes, with a byte order mark if it has one.

        Raises:
            SettingsError: There are too many to be read as a whole, or they are damaged.
        """
        try:
            with self.reopen() as file:
                found = file.read(LARGEST_WHOLE + 1)
        except ProtocolError as e:
            raise SettingsError(f"{self.name}: {e}") from e
        if len(found) > LARGEST_WHOLE:
            raise self._too_large()
        return found

    def _too_large(self) -> SettingsError:
        return SettingsError(f"{self.name} is larger than {LARGEST_WHOLE // 1024**2} MiB", hint="split it")


def unpacked(path: str) -> Unpacked:
    """Open a file and take off its packing.

    Args:
        path: ``-`` for stdin.

    Raises:
        SettingsError: The file cannot be read, or is packed or encrypted in a way that we do not read.
    """
    name = "stdin" if path == "-" else path
    try:
        file = Unpacked(name=name, reopen=_opener(path), attached=_beside(Path(path).parent))
        for _ in range(_LAYERS):
            inner = _without_layer(file)
            if inner is None:
                return replace(file, attached=_up_to(MOST_ATTACHED, file.attached))
            file = inner
    except (OSError, ValueError) as e:
        raise _unreadable(path, e) from e
    raise SettingsError(f"{name} is packed more than {_LAYERS - 1} times", hint="unpack it")


def foreign(file: Unpacked) -> tuple[str, str] | None:
    """Return what a file that we cannot read is, and what to do instead; None if we do not know."""
    with file.reopen() as opened:
        begin = _beginning(opened, 512)
    if b"<charles-session" in begin:
        return "a session of Charles in XML (.chlsx)", _CHARLES
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "XML or HTML", "open it in the program that wrote it, and export the session as HAR"
    return next(((what, way_out) for magic, what, way_out in _FOREIGN if begin.startswith(magic)), None)


def read(path: str) -> bytes:
    """Return a file's bytes, or those of stdin for ``-``.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as e:
        raise _unreadable(path, e) from e


def _unreadable(path: str, e: OSError | ValueError) -> SettingsError:
    if isinstance(e, IsADirectoryError):
        hint = f"name a file in it, or read all of them with: sessiontape audit {pasted(path)}"
        return SettingsError(f"{path} is a directory", hint=hint)
    reason = e.strerror if isinstance(e, OSError) else str(e)
    return SettingsError(f"cannot read {path}: {reason or e}", hint="is its name right?")


def _opener(path: str) -> Callable[[], BinaryIO]:
    """Return what opens a file from its beginning; a pipe is copied, because it can be read only once."""
    if path != "-":
        with Path(path).open("rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return lambda: Path(path).open("rb")
            copied = _copied(file)
    else:
        copied = _copied(sys.stdin.buffer)
    return lambda: _buffered(_Again(copied))


def _copied(file: BinaryIO) -> BinaryIO:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed, and so deleted, with the last reader of it
    shutil.copyfileobj(file, copy, CHUNK)
    return copy


def _buffered(file: io.RawIOBase) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(file, CHUNK))


class _Again(io.RawIOBase):
    """A reader of a temporary file with a position of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        self._at = offset + (self._file.seek(0, io.SEEK_END) if base is None else base)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _without_layer(file: Unpacked) -> Unpacked | None:
    """Return a file with one layer of packing taken off; None if it has none."""
    with file.reopen() as opened:
        begin = _beginning(opened, 4096)
    if begin.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _in_zip(file)
    if begin.startswith(b"\x1f\x8b") or _is_zlib(begin):
        return Unpacked(name=file.name, reopen=lambda: _buffered(_Inflated(file)), attached=file.attached)
    return None


def _is_zlib(begin: bytes) -> bool:
    if len(begin) < 2 or begin[0] != 0x78 or int.from_bytes(begin[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(begin, 64)
    except zlib.error:
        return False
    return True


class _Inflated(io.RawIOBase):
    """The content of a gzip file, also of several in one, or of a zlib stream."""

    def __init__(self, file: Unpacked) -> None:
        self._file = file.reopen()
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._waiting = b""
        self._packed = self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            if self._decoder.eof and not self._next_member():
                return 0
            packed = self._waiting or self._read()
            if not packed:
                return 0  # cut off; what it holds ends too early as well
            try:
                found = self._decoder.decompress(packed, len(buffer))
            except zlib.error as e:
                raise ProtocolError(f"the compressed data are damaged: {e}") from e
            self._waiting = self._decoder.unconsumed_tail
            if found:
                break
        self._unpacked += len(found)
        _check_size(self._unpacked, self._packed)
        buffer[: len(found)] = found
        return len(found)

    def _read(self) -> bytes:
        found = self._file.read(CHUNK)
        self._packed += len(found)
        return found

    def _next_member(self) -> bool:
        rest = self._decoder.unused_data or self._read()
        if not rest.startswith(b"\x1f\x8b"):
            return False
        self._decoder, self._waiting = zlib.decompressobj(zlib.MAX_WBITS | 32), rest
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _check_size(unpacked_bytes: int, packed_bytes: int) -> None:
    if unpacked_bytes > MOST_UNPACKED:
        raise ProtocolError(f"unpacked, it is larger than {MOST_UNPACKED // 1024**3} GiB")
    if unpacked_bytes > max(SUSPICIOUS, MOST_TIMES * packed_bytes):
        raise ProtocolError(f"unpacked, it is more than {MOST_TIMES} times as large, which no capture is")


def _in_zip(file: Unpacked) -> Unpacked:
    """Return the HAR, the parts of a Proxyman log, or the only file in a zip file."""
    try:
        with _archive(file) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise SettingsError(
            f"{file.name} is a zip file that is damaged or cut off: {e}", hint="copy or export it again"
        ) from e
    infos = {info.filename: info for info in listed if _counts(info)}
    if len(infos) > MOST_PARTS:
        raise SettingsError(f"{file.name} holds more than {MOST_PARTS:,} files", hint="unpack it, and name one of them")
    if any(name.startswith("raw/") for name in infos) and any(name.endswith(("_c.txt", "_s.txt")) for name in infos):
        raise SettingsError(
            f"{file.name} is a session of Fiddler (.saz), which sessiontape does not read",
            hint="in Fiddler, choose File > Export Sessions > HTTPArchive v1.2",
        )
    for info in infos.values():
        if info.flag_bits & 1:
            raise SettingsError(
                f"{file.name} is encrypted", hint="unpack it with its password, and name what was in it"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SettingsError(
                f"{file.name} is compressed with a method that sessiontape does not know",
                hint="unpack it, and name what was in it",
            )

    requests = [name for name in infos if _PROXYMAN_PART.fullmatch(name)]
    if requests:
        requests.sort(key=lambda name: int(re.findall("[0-9]+", name.rpartition("/")[2])[0]))

        def parts() -> Iterator[tuple[str, Callable[[], bytes]]]:
            with _archive(file) as archive:
                for name in requests:
                    yield name, functools.partial(_part, archive, infos[name])

        return Unpacked(name=file.name, reopen=io.BytesIO, attached=lambda _: None, parts=parts)
    hars = [name for name in infos if name.lower().endswith(".har")]
    chosen = hars or list(infos)
    if len(chosen) != 1:
        raise SettingsError(
            f"{file.name} holds {len(chosen)} files" + (" that are HARs" if hars else ", and none is called .har"),
            hint="unpack it, and name the one to read",
        )
    folder = chosen[0].rpartition("/")[0]

    def attached(name: str) -> bytes | None:
        full = f"{folder}/{name}" if folder else name
        if not is_plain(name) or full not in infos or stat.S_ISLNK(infos[full].external_attr >> 16):
            return None
        try:
            with _archive(file) as archive:
                return _part(archive, infos[full])
        except ProtocolError:
            return None

    return Unpacked(name=file.name, reopen=lambda: _buffered(_Member(file, infos[chosen[0]])), attached=attached)


@contextmanager
def _archive(file: Unpacked) -> Iterator[zipfile.ZipFile]:
    with file.reopen() as opened, zipfile.ZipFile(opened) as archive:
        yield archive


def _part(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with _intact(), archive.open(info) as member:
        found = member.read(LARGEST_ATTACHED + 1)
    if len(found) > LARGEST_ATTACHED:
        raise ProtocolError(f"larger than {LARGEST_ATTACHED // 1024**2} MiB")
    return found


_PROXYMAN_PART = re.compile(r"(?:[^/]+/)*request_[0-9]+_[^/]*")


def _counts(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not info.filename.startswith("__MACOSX/")


class _Member(io.RawIOBase):
    """A file in a zip file, up to the size that we unpack."""

    def __init__(self, file: Unpacked, info: zipfile.ZipInfo) -> None:
        self._packed, self._unpacked = info.compress_size, 0
        with ExitStack() as opening, _intact():
            archive = opening.enter_context(_archive(file))
            self._file = opening.enter_context(archive.open(info))
            self._open = opening.pop_all()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        found = _checked(self._file, len(buffer))
        self._unpacked += len(found)
        _check_size(self._unpacked, self._packed)
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._open.close()
        super().close()


def _checked(file: IO[bytes], size: int = CHUNK) -> bytes:
    """Read from a file.

    Raises:
        ProtocolError: It is damaged.
    """
    with _intact():
        return file.read(size)


@contextmanager
def _intact() -> Iterator[None]:
    """Raise `ProtocolError` for what zipfile and zlib raise for damaged files."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as e:
        raise ProtocolError(f"the data are damaged: {e}") from e


def _beginning(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except ProtocolError:
        return b""


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the same folder, and of nothing else."""
    return bool(name) and name not in (".", "..") and not re.search(r"[/\\\0:]", name)


def _up_to(most: int, attached: Callable[[str], bytes | None]) -> Callable[[str], bytes | None]:
    """Return what reads files as another function does, but not more than so many bytes of them."""
    left = most

    def read(name: str) -> bytes | None:
        nonlocal left
        found = attached(name) if left > 0 else None
        left -= len(found or b"")
        return found

    return read


def _beside(folder: Path) -> Callable[[str], bytes | None]:
    """Return what reads a file in a folder by its plain name: no link, no pipe, nothing too large."""

    def read(name: str) -> bytes | None:
        if not is_plain(name):
            return None
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(folder / name, flags)
        except (OSError, ValueError):
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it is open already, so that nobody can swap it
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_ATTACHED:
                return None
            return file.read()

    return read
