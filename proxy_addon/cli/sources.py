"""Files that hold exchanges, and the sessions in them, as commands name them: ``FILE``, or ``FILE#SESSION``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.opening import reading
from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import SettingsError
from proxy_addon.files import sessions as names

if TYPE_CHECKING:
    from proxy_addon.files.captures import Form
    from proxy_addon.files.unpacking import Unpacked


def capture(path: str) -> Capture:
    """Return what a file of exchanges holds; see `opened`."""
    return opened(path)[1]


def opened(path: str) -> tuple[Unpacked, Capture]:
    """Open a file of exchanges, of any form that we read, found by its content; return the file, and what it holds.

    Args:
        path: ``-`` for stdin.

    Raises:
        SettingsError: The file cannot be read, or is in no form that we read; the hint says what to do.
    """
    from proxy_addon.files.captures import Form  # noqa: PLC0415  # --help does without
    from proxy_addon.recording import captures  # noqa: PLC0415

    file, form = captures.opened(path)
    if form in (Form.LISTED, Form.BODIES):
        raise SettingsError(
            f"{file.name} is {form}: it has requests but no answers, so it is not a recording",
            hint="'sessiontape check', 'show' and 'replay' take it directly",
        )
    return file, captures.capture(file, form)


def sessions_of(name: str) -> Sequence[HeldSession]:
    """Return the sessions that a name means: all in the file, at least one, or the one after ``#``.

    What cannot be read in the file is said on stderr.

    Raises:
        SettingsError: As `capture` does; or no exchange in the file belongs to a session.
        NotFound: No session or several have the name after ``#``.
    """
    return names.named(_in_file(name), name)


def held(name: str) -> HeldSession:
    """Return the one session that a name means.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: The name means no session or several; the hint lists their names.
    """
    return names.one(_in_file(name), name)


def sessions_in_file(file: Unpacked, form: Form) -> Sequence[HeldSession]:
    """Return the sessions in a file, at least one, and say on stderr what cannot be read.

    Raises:
        SettingsError: The file is broken, or no exchange in it belongs to a session.
    """
    from proxy_addon.recording import captures  # noqa: PLC0415  # as above

    found, tally = captures.sessions(file, form)
    tell(file.name, tally)
    return found


def read(name: str) -> tuple[Sequence[HeldSession], Tally]:
    """Return the sessions that a name means, as `sessions_of` does, and what the file lacks.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: Likewise.
    """
    from proxy_addon.recording import captures  # noqa: PLC0415  # as above

    found, tally = captures.sessions(*captures.opened(names.path_in(name)))
    return names.named(found, name), tally


def _in_file(name: str) -> Sequence[HeldSession]:
    from proxy_addon.recording import captures  # noqa: PLC0415  # as above

    return sessions_in_file(*captures.opened(names.path_in(name)))


def tell(name: str, tally: Tally) -> None:
    """Say what a file lacks, so that nobody takes what is left for all."""
    told = list(tally.remarks)
    if tally.incomplete:
        told.append(f"{counted(tally.incomplete, 'request')} whose body is not in the file")
    if tally.broken_count:
        entries = "1 entry cannot" if tally.broken_count == 1 else f"{tally.broken_count} entries cannot"
        told.append(f"{entries} be read")
    for line in told:
        click.echo(visible(f"sessiontape: {name}: {line}"), err=True)
    for line in tally.broken:
        click.echo(visible(f"  {line}"), err=True)


def held_anywhere(name: str, store_url: str) -> HeldSession:
    """Return the one session that a name means, in a file or, if it does not name a file, in the store.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: The name means no session or several; the hint lists their names.
        StorageError: The store cannot be read.
    """
    from storage import exchanges, sessions  # noqa: PLC0415  # as above

    if names.is_file_name(name):
        return held(name)
    with reading(store_url) as db:
        found = sessions.find(db, name)
        return HeldSession(session=found, exchanges=tuple(exchanges.of_session(db, found.id)))
