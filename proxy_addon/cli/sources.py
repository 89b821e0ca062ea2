"""Files that hold exchanges, and the sessions in them, as commands name them: ``FILE``, or ``FILE#SESSION``."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.fixtures.held import HeldSession


def capture(path: str) -> Capture:
    """Open a file of any form that we read, found by its content.

    Raises:
        SettingsError: The file cannot be read, or is in no form that we read; the hint says what to do.
    """
    from proxy_addon.files import sessions as files  # noqa: PLC0415  # --help does without

    document = files.document(path)
    found = files.named(document, path)
    return Capture(
        form=str(document.form), exchanges=(exchange for each in found for exchange in each.exchanges), tally=Tally()
    )


def sessions_of(name: str) -> Sequence[HeldSession]:
    """Return the sessions that a name means: all in the file, at least one, or the one after ``#``.

    Raises:
        SettingsError: As `capture` does; or no exchange in the file belongs to a session.
        NotFound: No session or several have the name after ``#``.
    """
    from proxy_addon.files import sessions as files  # noqa: PLC0415  # as above

    return files.named(files.document(name), name)


def held(name: str) -> HeldSession:
    """Return the one session that a name means.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: The name means no session or several; the hint lists their names.
    """
    from proxy_addon.files import sessions as files  # noqa: PLC0415  # as above

    return files.one(files.document(name), name)
