"""The user's recorders on this machine, so that a replay can tell what upstream a recorder forwards to.

While it runs, each keeps a file, named after its process ID, in a folder of the user. A recorder that was killed leaves
its file, which is ignored once no process has that ID.
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
        upstream: The URL that it forwards to.
    """

    address: str
    port: int
    upstream: str


def announce(recorders: Sequence[Recorder]) -> None:
    """Write the file of this process; do nothing if the folder cannot be used, because recording works without it."""
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder):
            own = _own_file()
            new = own.with_suffix(".new")
            new.write_text(json.dumps([asdict(each) for each in recorders]), encoding="utf-8")
            new.replace(own)


def withdraw() -> None:
    """Remove the file of this process."""
    with suppress(OSError):
        _own_file().unlink(missing_ok=True)


def running() -> Iterator[Recorder]:
    """Yield the running recorders; remove the files of dead ones."""
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
