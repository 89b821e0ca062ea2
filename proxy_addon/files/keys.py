"""The key of the tokens that replace personal values: from a file that the user names, or from a secret of this user.

By default, an output has a key of its own, so that its readers cannot tell that somebody is in another output, too. It
follows from a secret of the user and from what is written, so that the same sessions give the same output each time.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from proxy_addon.errors import SettingsError

_BYTES = 32
_LARGEST = 4096
"""No key is this long: the file is something else."""


def key_of(path: Path | None) -> bytes:
    """Return a key for pseudonyms.

    Args:
        path: The file with the key, which is made, for its owner alone, if it is not there. None for a random key that
            is kept nowhere.

    Raises:
        SettingsError: The file cannot be made or read, others can read it, or it does not hold a key.
    """
    if path is None:
        return secrets.token_bytes(_BYTES)
    try:
        return _made(path)
    except FileExistsError:
        pass
    except OSError as e:
        raise SettingsError(
            f"cannot make the key file {path}: {e.strerror}", hint="name a file in a folder that you can write to"
        ) from e
    return _read(path)


def of_output(ids: Iterable[str]) -> bytes:
    """Return the key of one output: the same for the same sessions, and another one for others.

    It follows from a secret in the user's folder for the state of programs. If that cannot be read or made, the key is
    random.

    Args:
        ids: What tells the sessions of the output from others, in any order.
    """
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        folder = state / "sessiontape"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = key_of(folder / "key")
    except (OSError, RuntimeError, SettingsError):
        return key_of(None)
    return hmac.digest(secret, "\n".join(sorted(ids)).encode("utf-8", "surrogatepass"), "sha256")


def _made(path: Path) -> bytes:
    """Make a key file; another process never sees it without its key.

    Raises:
        FileExistsError: It is there already, perhaps since a moment ago.
        OSError: It cannot be made.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(path)
    key = secrets.token_hex(_BYTES)
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
        if sys.platform == "win32":
            new.rename(path)  # refuses to replace a file there
        else:
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    return bytes.fromhex(key)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LARGEST + 1)
    except OSError as e:
        raise SettingsError(f"cannot read the key file {path}: {e.strerror}", hint="is its name right?") from e
    if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
        raise SettingsError(
            f"others can read the key file {path}, and could find out values with it",
            hint=f"keep it to yourself: chmod 600 {path}",
        )
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < _BYTES // 2:
        raise SettingsError(
            f"{path} does not hold a key",
            hint="name another file, or a new one: it is created on first use",
        )
    return key
