"""Sessions in files, and how a command line names them: ``FILE``, or ``FILE#SESSION`` for one of several.

What looks like a path names a file: it has a slash in it, or ends like the files that hold sessions, or has a dot in it
and there is such a file.

>>> is_file_name("./session"), is_file_name("session.json"), is_file_name("log.jsonl#4a0f"), is_file_name("4a0f")
(True, True, True, False)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from proxy_addon.core.fixtures.documents import Document, recognised
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound, ProtocolError, SettingsError

SUFFIXES = (".json", ".jsonl", ".ndjson")
_MOST = 10
"""Sessions that a hint lists."""


def is_file_name(name: str) -> bool:
    """Whether a command that is told this name is told a file."""
    path = path_in(name)
    return "/" in path or os.sep in path or path.lower().endswith(SUFFIXES) or ("." in path and _is_there(path))


def path_in(name: str) -> str:
    """Return the path in a name that is told a command."""
    return _split(name)[0]


def document(name: str) -> Document:
    """Return what the file of a name holds.

    Raises:
        SettingsError: It cannot be read, or holds no sessions.
    """
    path = path_in(name)
    found = recognise(read(path), path)
    if found is None:
        raise SettingsError(
            f"{path} holds no sessions in a form that is known",
            hint="known are what 'show --json' prints, lines of 'collector --log', and lists of bodies",
        )
    return found


def recognise(raw: bytes, path: str) -> Document | None:
    """Return a file's text as a document that holds sessions; None where it is none.

    Raises:
        SettingsError: It is one that is broken.
    """
    try:
        return recognised(raw)
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}") from e


def _held(document: Document, path: str) -> Sequence[HeldSession]:
    """Return the sessions that a file holds, at least one.

    Raises:
        SettingsError: It is broken.
    """
    try:
        return document.sessions()
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}") from e


def named(document: Document, name: str) -> Sequence[HeldSession]:
    """Return the sessions that a name means, of what its file holds, at least one.

    Raises:
        SettingsError: The file is broken.
        NotFound: It has none of that name, or several.
    """
    path, wanted = _split(name)
    found = _held(document, path)
    if wanted is None:
        return found
    if wanted == "last":
        return [max(found, key=lambda each: each.session.started_at)]
    whole = [each for each in found if wanted in _ids(each)]
    fitting = whole or [each for each in found if any(id.startswith(wanted) for id in _ids(each))]
    if len(fitting) != 1:
        what = "several sessions" if fitting else "no session"
        raise NotFound(f"{path} has {what} called {wanted!r}", hint=_listed(path, fitting or found))
    return fitting


def one(document: Document, name: str) -> HeldSession:
    """Return the one session that a name means, of what its file holds.

    Raises:
        SettingsError: The file is broken.
        NotFound: The name means none, or several; the hint lists their names.
    """
    found = named(document, name)
    if len(found) > 1:
        path = path_in(name)
        raise NotFound(f"{path} holds {len(found)} sessions", hint=_listed(path, found))
    return found[0]


def read(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise SettingsError(f"cannot read {path}: {reason}", hint="is its name right?") from e


def _split(name: str) -> tuple[str, str | None]:
    """Return the path in a name, and which of its sessions is meant."""
    path, mark, wanted = name.rpartition("#")
    if not mark or _is_there(name):
        return name, None
    return path, wanted


def _is_there(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def _ids(held: HeldSession) -> list[str]:
    return [id for id in (held.session.id, held.session.session_id) if id is not None]


def _listed(path: str, held: Sequence[HeldSession]) -> str:
    lines = [
        f"    {path}#{each.session.session_id or each.session.id}"
        f"  {each.session.media_name or each.session.media_id or ''}".rstrip()
        for each in held[:_MOST]
    ]
    more = [f"    and {len(held) - _MOST} more"] if len(held) > _MOST else []
    return "\n".join(["name one of them:", *map(visible, lines), *more])
