"""The recorders of a user that run on this machine: what is sent to one goes on to its upstream.

Each keeps a file while it runs, named after its process, in a folder of that user. A recorder that was killed leaves its
file; it counts for nothing once no process has that number.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """A recorder that listens.

    Attributes:
        address: As a number; that of all interfaces where it listens on all.
        upstream: Where it sends what comes, as a URL.
    """

    address: str
    port: int
    upstream: str


def announce(recorders: Sequence[Recorder]) -> None:
    """Say where this process records; nothing where no folder can be had, as recording does not depend on it."""
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder):
            own = _own_file()
            new = own.with_suffix(".new")
            new.write_text(json.dumps([asdict(each) for each in recorders]), encoding="utf-8")
            new.replace(own)


def withdraw() -> None:
    """Say that this process records no longer."""
    with suppress(OSError):
        _own_file().unlink(missing_ok=True)


def running() -> Iterator[Recorder]:
    """Yield the recorders that run; files of dead ones are removed."""
    folder = _folder()
    if not _is_ours(folder):
        return
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            if _is_alive(int(path.stem)):
                yield from [Recorder(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
            else:
                path.unlink(missing_ok=True)


def _folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "sessiontape"
    user = "" if sys.platform == "win32" else f"-{os.getuid()}"
    return Path(tempfile.gettempdir()) / f"sessiontape{user}"


def _own_file() -> Path:
    return _folder() / f"{os.getpid()}.json"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put files there: in a folder for everybody, anyone may have made it first."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return sys.platform == "win32" or folder.stat().st_uid == os.getuid()


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where to ask would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
