"""Where journals are: a folder for each store, and the names of what is in it.

The journal of a SQLite file is beside the file, that of any other store in the user's state folder. If a recorder was
told to use another folder, the default one has a note of it, so that commands that only know the store find both. Each
folder has a note of its store, so that nobody files it into another one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
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
_NEW_DISK = "lost+found"
_OURS = re.compile(rf"ingest\.(?:lock|json)|{_ELSEWHERE}|.+\.\d{{3,}}\.(?:alive|filed|last|\d{{6,}}\.tape)")
"""What only a journal has; a folder with sources may have a file called ``store``."""


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
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as e:
        raise SettingsError(
            f"cannot write the journal in {folder}: {e.strerror}",
            hint="name a folder on a local disk with --journal",
        ) from e


def require_journal(folder: Path) -> None:
    """Check that a folder that a user named has a journal, or nothing yet.

    Raises:
        SettingsError: It has something else.
    """
    try:
        names = sorted(
            path.name for path in folder.iterdir() if not path.name.startswith(".") and path.name != _NEW_DISK
        )
    except FileNotFoundError:
        return
    except OSError as e:
        raise SettingsError(f"cannot read the journal in {folder}: {e.strerror}", hint="name another folder") from e
    if not all(map(is_known, names)) and not any(_OURS.fullmatch(name) for name in names):
        what = f"{names[0]} and {len(names) - 1} more are" if len(names) > 1 else f"{names[0]} is"
        raise SettingsError(
            f"{folder} is no journal: {what} in it",
            hint="name a folder that is empty, or that 'record --journal' was given before",
        )


def all_of(path: Path | None, label: str) -> list[Path]:
    """Return the existing folders of a store: the default one, and those that recorders were told to use.

    Args:
        path: As of `default`, and so is ``label``.
    """
    noted = []
    beside = default(path, label)
    with suppress(OSError):
        noted = [Path(line) for line in (beside / _ELSEWHERE).read_text(encoding="utf-8").splitlines() if line]
    found = (folder for folder in dict.fromkeys([beside, *noted]) if _is_there(folder))
    return [folder for folder in found if is_of(folder, path, label)]


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # it is in a folder that nobody may look into, and so is the store in most cases
        return False


def note_elsewhere(path: Path | None, label: str, folder: Path) -> None:
    """Note in the default folder of a store, which is created, that a recorder uses another one.

    Args:
        path: As of `default`, and so is ``label``.

    Raises:
        SettingsError: The default folder cannot be created or written.
    """
    folder = folder.resolve()
    beside = default(path, label)
    if folder == beside or folder in all_of(path, label):
        return
    try:
        prepare(beside)
        with _private(beside / _ELSEWHERE, os.O_APPEND) as file:
            file.write(f"{folder}\n")
    except (SettingsError, OSError) as e:
        reason = e.__cause__ if isinstance(e, SettingsError) else e
        raise SettingsError(
            f"cannot note in {beside} that the journal of {label} is in {folder}: {getattr(reason, 'strerror', reason)}",
            hint="the folder of an SQLite file must be writable, for SQLite as well; name another --store"
            if path is not None
            else "may you write there? XDG_STATE_HOME names another place",
        ) from e


def was_reached(folder: Path) -> bool:
    """Whether the store of a folder has been reached before, so that recording may start while it is away."""
    return (folder / _REACHED).exists()


def mark_reached(folder: Path, path: Path | None, label: str) -> None:
    """Note that the store of a folder has been reached, and which it is.

    Args:
        path: As of `default`, and so is ``label``.
    """
    name = _name(path, label)
    if _store_of(folder) != name:
        with _private(folder / _REACHED, os.O_TRUNC) as file:
            file.write(f"{name}\n")


def is_of(folder: Path, path: Path | None, label: str) -> bool:
    """Whether a folder has the journal of a store, as far as is known: an earlier version did not note which it is.

    Args:
        path: As of `default`, and so is ``label``.
    """
    return folder.resolve() == default(path, label) or _store_of(folder) in (None, _name(path, label))


def require_of(folder: Path, path: Path | None, label: str) -> None:
    """Check that a folder has the journal of a store.

    Args:
        path: As of `default`, and so is ``label``.

    Raises:
        SettingsError: It has the journal of another one.
    """
    if not is_of(folder, path, label):
        raise SettingsError(
            f"{folder} is the journal of {_store_of(folder)}, not of {_name(path, label)}",
            hint=f"name another folder, or that store; if both are one store, delete {folder / _REACHED}",
        )


def forget_store(folder: Path) -> None:
    """Forget which store a folder belongs to: nothing waits there, and another store may use it."""
    (folder / _REACHED).unlink(missing_ok=True)


def _store_of(folder: Path) -> str | None:
    with suppress(OSError, ValueError):
        return (folder / _REACHED).read_text(encoding="utf-8").strip() or None
    return None


def _name(path: Path | None, label: str) -> str:
    return label if path is None else f"sqlite:///{path.resolve()}"


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
