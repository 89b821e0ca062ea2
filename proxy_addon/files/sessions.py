"""How a command line names sessions in files: ``FILE``, or ``FILE#SESSION`` for one of several.

A name means a file if it contains a slash, ends in one of `SUFFIXES`, or contains a dot and such a file exists. The name of a
folder does, too, unless it may be that of a session, so that who names a folder is told how to read one.

>>> is_file_name("./session"), is_file_name("session.json"), is_file_name("log.jsonl#4a0f"), is_file_name("4a0f")
(True, True, True, False)
>>> name_in("4.2.har", "4a0f"), name_in("capture", "4a0f"), name_in("-.har", "4a0f")
('4.2.har#4a0f', './capture#4a0f', './-.har#4a0f')
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound

SUFFIXES = (".json", ".jsonl", ".ndjson", ".har", ".flow", ".flows", ".chlsj", ".zip", ".gz")
_MAY_BE_SESSION = re.compile(r"last|[0-9a-f-]*", re.IGNORECASE)
_MOST = 10
"""How many sessions a hint lists at most."""


def is_file_name(name: str) -> bool:
    """Whether a name on the command line means a file rather than a stored session."""
    path = path_in(name)
    if "/" in path or os.sep in path or path.lower().endswith(SUFFIXES):
        return True
    return ("." in path and _is_there(path)) or (_MAY_BE_SESSION.fullmatch(path) is None and _is_folder(path))


def path_in(name: str) -> str:
    """Return a name from the command line without its ``#SESSION``."""
    return _split(name)[0]


def name_in(path: str, id: str | None) -> str:
    """Return what names a session of a file on a command line.

    Args:
        path: Of the file.
        id: Our id of the session, or the back end's; None for the file as a whole.
    """
    name = path if id is None else f"{path}#{id}"
    return name if is_file_name(name) and not path.startswith("-") else f"./{name}"


def in_file(held: HeldSession, path: str) -> HeldSession:
    """Return a session of a file with the name by which other commands find it as its id, and the file as its recording.

    A list of bodies is one session, so the name is that of the file: an id would change with the list. The file's own name of
    the recording stays.
    """
    session = held.session
    id = session.id if held.has_answers else None
    retry_of = session.retry_of and name_in(path, session.retry_of)
    told = replace(session, id=name_in(path, id), retry_of=retry_of, recording=session.recording or path)
    return replace(held, session=told)


def named(found: Sequence[HeldSession], name: str) -> Sequence[HeldSession]:
    """Return the sessions of a file that a name means: all of them, or the one after ``#``.

    Raises:
        NotFound: No session or several sessions have the name after ``#``.
    """
    path, wanted = _split(name)
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


def one(found: Sequence[HeldSession], name: str) -> HeldSession:
    """Return the one session of a file that a name means.

    Raises:
        NotFound: The name means no session or several; the hint lists their names.
    """
    chosen = named(found, name)
    if len(chosen) > 1:
        path = path_in(name)
        raise NotFound(f"{path} holds {len(chosen)} sessions", hint=_listed(path, chosen))
    return chosen[0]


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


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _ids(held: HeldSession) -> list[str]:
    return [id for id in (held.session.id, held.session.session_id) if id is not None]


def _listed(path: str, held: Sequence[HeldSession]) -> str:
    lines = [
        f"    {name_in(path, each.session.id)}  {each.session.media_name or each.session.media_id or ''}".rstrip()
        for each in held[:_MOST]
    ]
    more = [f"    and {len(held) - _MOST} more"] if len(held) > _MOST else []
    return "\n".join(["name one of them:", *map(visible, lines), *more])
