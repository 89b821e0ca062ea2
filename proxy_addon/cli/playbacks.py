"""A recorded playback to answer from, as commands name it: a session in the store, or in a file."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_addon.cli import sources
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.errors import SettingsError


def attempts(store_url: str, name: str) -> Sequence[HeldSession]:
    """Return the session with a name, among all attempts to start the same playback, by time.

    Args:
        name: As `storage.sessions.find` takes it, ``FILE``, or ``FILE#SESSION``.

    Raises:
        SettingsError: The file cannot be read, holds no session, or no answers.
        StorageError: The store cannot be read.
        NotFound: The name means no session or several; the hint lists candidates.
    """
    from proxy_addon.files import sessions as files  # noqa: PLC0415  # --help does without
    from storage import exchanges, sessions  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    if files.is_file_name(name):
        return _in_file(name, files.path_in(name))
    with reading(store_url) as db:
        return [
            HeldSession(session=each, exchanges=tuple(exchanges.of_session(db, each.id)))
            for each in sessions.attempts(db, sessions.find(db, name))
        ]


def _in_file(name: str, path: str) -> Sequence[HeldSession]:
    named = sources.sessions_of(name)
    firsts = {_first(held) for held in named}
    if len(firsts) > 1:
        named = [sources.held(name)]  # raises, and lists what could be meant
    if not any(held.has_answers for held in named):
        raise SettingsError(f"{name} has requests but no answers", hint="name a recorded session with --from")
    there = named if name == path else sources.sessions_of(path)
    return sorted((each for each in there if _first(each) in firsts), key=lambda each: each.session.started_at)


def _first(held: HeldSession) -> str:
    return held.session.retry_of or held.session.id
