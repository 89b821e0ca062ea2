"""Sessions in files, and how a command line names them: ``FILE``, or ``FILE#SESSION`` for one of several.

A name means a file if it contains a slash, ends in one of `SUFFIXES`, or contains a dot and such a file exists.

>>> is_file_name("./session"), is_file_name("session.json"), is_file_name("log.jsonl#4a0f"), is_file_name("4a0f")
(True, True, True, False)
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from proxy_addon.core.fixtures.documents import Document, recognised
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound, ProtocolError, SettingsError

SUFFIXES = (".json", ".jsonl", ".ndjson")
_MOST = 10
"""How many sessions a hint lists at most."""


def is_file_name(name: str) -> bool:
    """Whether a name on the command line means a file rather than a stored session."""
    path = path_in(name)
    return "/" in path or os.sep in path or path.lower().endswith(SUFFIXES) or ("." in path and _is_there(path))


def path_in(name: str) -> str:
    """Return a name from the command line without its ``#SESSION``."""
    return _split(name)[0]


def document(name: str) -> Document:
    """Return the document in the file that a name means.

    Raises:
        SettingsError: The file cannot be read, or holds no sessions.
    """
    path = path_in(name)
    found = recognise(read(path), path)
    if found is None:
        raise SettingsError(
            f"{path} does not hold sessions in a known format",
            hint="known formats are the output of 'show --json', lines of 'collector --log', and lists of bodies; for one "
            f"request body: sessiontape check --file {shlex.quote(path)}",
        )
    return found


def recognise(raw: bytes, path: str) -> Document | None:
    """Return a file's text as a document that holds sessions; None if it is in no known form.

    Raises:
        SettingsError: The text is in a known form but broken.
    """
    try:
        return recognised(raw)
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}") from e


def _held(document: Document, path: str) -> Sequence[HeldSession]:
    """Return the sessions in a document, at least one.

    Raises:
        SettingsError: The document is broken.
    """
    try:
        return document.sessions()
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}") from e


def named(document: Document, name: str) -> Sequence[HeldSession]:
    """Return the sessions in a document that a name means: all of them, or the one after ``#``.

    Raises:
        SettingsError: The document is broken.
        NotFound: No session or several sessions have the name after ``#``.
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
    """Return the one session in a document that a name means.

    Raises:
        SettingsError: The document is broken.
        NotFound: The name means no session or several; the hint lists their names.
    """
    found = named(document, name)
    if len(found) > 1:
        path = path_in(name)
        raise NotFound(f"{path} holds {len(found)} sessions", hint=_listed(path, found))
    return found[0]


def read(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except IsADirectoryError as e:
        raise SettingsError(f"{path} is a directory", hint="name a file in it") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise SettingsError(f"cannot read {path}: {reason}", hint="is its name right?") from e


def _split(name: str) -> tuple[str, str | None]:
    """Return the path in a name, and the session named after ``#``; None for all sessions."""
    path, mark, wanted = name.rpartition("#")
    if not mark or _is_there(name):
        return name, None
    return path, wanted


def _is_there(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or contains NUL
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
