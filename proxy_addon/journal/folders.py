"""Where journals are: a folder for each store, and the names of what is in it.

The journal of a SQLite file is beside the file, that of any other store in the user's state folder. If a recorder was
told to use another folder, the default one has a note of it, so that commands that only know the store find both.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from proxy_addon.errors import SettingsError

ALIVE = ".alive"
"""Suffix of the file that a writer holds a lock on for as long as it lives."""
FILED = ".filed"
"""Suffix of the file that says how far a writer's entries have been filed."""
LAST = ".last"
"""Suffix of the file with room for what a writer has to say last: see `proxy_addon.journal.last_words`."""
INGEST = "ingest.json"
"""How to reach the ingest process of the folder."""
INGEST_LOCK = "ingest.lock"
"""What the ingest process holds a lock on."""
_REACHED = "store"
_ELSEWHERE = "elsewhere"
_ASIDE = "aside"


def default(path: Path | None, label: str) -> Path:
    """Return the folder of a store, which need not exist.

    Args:
        path: The file of a SQLite store; None for other stores.
        label: What names another store, without a password.
    """
    if path is not None:
        whole = path.resolve()
        return whole.with_name(f"{whole.name}.journal")
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return home / "sessiontape" / "journal" / hashlib.sha256(label.encode()).hexdigest()[:16]


def prepare(folder: Path) -> None:
    """Create a folder, readable only by its owner, if there is none.

    Raises:
        SettingsError: It cannot be created or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as e:
        raise SettingsError(
            f"cannot write the journal in {folder}: {e.strerror}",
            hint="name a folder on a local disk with --journal",
        ) from e


def all_of(default: Path) -> list[Path]:
    """Return the existing folders of a store: the default one, and those that recorders were told to use."""
    noted = []
    with suppress(OSError):
        noted = [Path(line) for line in (default / _ELSEWHERE).read_text(encoding="utf-8").splitlines() if line]
    return [folder for folder in dict.fromkeys([default, *noted]) if folder.is_dir()]


def note_elsewhere(default: Path, folder: Path) -> None:
    """Note in the default folder of a store, which is created, that a recorder uses another one.

    Raises:
        SettingsError: The default folder cannot be created or written.
    """
    folder = folder.resolve()
    if folder == default or folder in all_of(default):
        return
    prepare(default)
    with _private(default / _ELSEWHERE, os.O_APPEND) as file:
        file.write(f"{folder}\n")


def was_reached(folder: Path) -> bool:
    """Whether the store of a folder has been reached before, so that recording may start while it is away."""
    return (folder / _REACHED).exists()


def mark_reached(folder: Path) -> None:
    """Note that the store of a folder has been reached."""
    _private(folder / _REACHED).close()


def aside(folder: Path) -> Path:
    """Return the folder for what cannot be filed, and create it if there is none."""
    path = folder / _ASIDE
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def is_known(name: str) -> bool:
    """Whether a file of this name may be in a folder, apart from what belongs to a writer."""
    return name in {INGEST, INGEST_LOCK, _REACHED, _ELSEWHERE, _ASIDE} or name.startswith(f"{INGEST}.")


def _private(path: Path, flags: int = 0) -> TextIO:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | flags, 0o600), "a", encoding="utf-8")
