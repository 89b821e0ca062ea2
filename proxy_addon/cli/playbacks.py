"""A recorded playback to answer from, as commands name it: a session in the store, or in a file."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_addon.cli import sources
from proxy_addon.cli.opening import reading
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.errors import SettingsError
from proxy_addon.files import sessions as names


def attempts(store_url: str, name: str) -> Sequence[HeldSession]:
    """Return the session with a name, among all attempts to start the same playback, by time.

    Args:
        name: As `storage.sessions.find` takes it, ``FILE``, or ``FILE#SESSION``.

    Raises:
        SettingsError: The file cannot be read, holds no session, or no answers.
        StorageError: The store cannot be read.
        NotFound: The name means no session or several; the hint lists candidates.
    """
    from storage import exchanges, sessions  # noqa: PLC0415  # --help does without

    if names.is_file_name(name):
        return _in_file(name)
    with reading(store_url) as db:
        return [
            HeldSession(session=each, exchanges=tuple(exchanges.of_session(db, each.id)))
            for each in sessions.attempts(db, sessions.find(db, name))
        ]


def _in_file(name: str) -> Sequence[HeldSession]:
    there = sources.sessions_of(names.path_in(name))
    meant = names.named(there, name)
    firsts = {_first(held) for held in meant}
    if len(firsts) > 1:
        names.one(there, name)  # says what could be meant
    if not any(held.has_answers for held in meant):
        raise SettingsError(f"{name} has requests but no answers", hint="name a recorded session with --from")
    return sorted((each for each in there if _first(each) in firsts), key=lambda each: each.session.started_at)


def _first(held: HeldSession) -> str:
    return held.session.retry_of or held.session.id
