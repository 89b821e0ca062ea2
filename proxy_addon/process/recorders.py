"""The user's recorders on this machine, so that a replay can tell what upstream a recorder forwards to.

While it runs, each keeps a file, named after its process ID, in a folder of the user. A recorder that was killed leaves
its file, which is ignored once no process has that ID.

The environment has no say in where the folder is: a recorder that a service manager started and a replay on a terminal
may have different ones, and have to find each other all the same.
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
    """A running recorder.

    Attributes:
        address: The IP address that it listens on; the unspecified address for all interfaces.
        upstream: The URL that it forwards to; None if the requests say where they go, as with a forward proxy.
    """

    address: str
    port: int
    upstream: str | None


FOLDER = (
    Path(tempfile.gettempdir()) / "sessiontape"  # a folder of the user, on Windows
    if sys.platform == "win32"
    else Path("/tmp") / f"sessiontape-{os.getuid()}"  # noqa: S108  # only used if it belongs to the user
)


def announce(recorders: Sequence[Recorder], folder: Path = FOLDER) -> None:
    """Write the file of this process; do nothing if the folder cannot be used, because recording works without it."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder):
            own = _own_file(folder)
            new = own.with_suffix(".new")
            new.write_text(json.dumps([asdict(each) for each in recorders]), encoding="utf-8")
            new.replace(own)


def withdraw(folder: Path = FOLDER) -> None:
    """Remove the file of this process."""
    with suppress(OSError):
        _own_file(folder).unlink(missing_ok=True)


def running(folder: Path = FOLDER) -> Iterator[Recorder]:
    """Yield the running recorders; remove the files of dead ones."""
    if not _is_ours(folder):
        return
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            if _is_alive(int(path.stem)):
                yield from [Recorder(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
            else:
                path.unlink(missing_ok=True)


def _own_file(folder: Path) -> Path:
    return folder / f"{os.getpid()}.json"


def _is_ours(folder: Path) -> bool:
    """Whether a folder belongs to the user: in a shared folder, another user may have created it first."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return sys.platform == "win32" or folder.stat().st_uid == os.getuid()


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill(pid, 0) would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
