"""Files that hold exchanges, and the sessions in them, as commands name them: ``FILE``, or ``FILE#SESSION``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.fixtures.held import HeldSession, sessions_in
from proxy_addon.core.wording import visible
from proxy_addon.errors import ProtocolError, SettingsError
from proxy_addon.files import sessions as names
from proxy_addon.reporting.words import counted

if TYPE_CHECKING:
    from proxy_addon.files.captures import Form
    from proxy_addon.files.unpacking import Unpacked


def capture(path: str) -> Capture:
    """Open a file of exchanges, of any form that we read, found by its content.

    Args:
        path: ``-`` for stdin.

    Raises:
        SettingsError: The file cannot be read, or is in no form that we read; the hint says what to do.
    """
    from proxy_addon.files import captures  # noqa: PLC0415  # --help does without

    file, form = _opened(path)
    if form in (captures.Form.LISTED, captures.Form.BODIES):
        raise SettingsError(
            f"{file.name} is {form}: requests without answers, which are no recording",
            hint="'sessiontape check', 'show' and 'replay' take it as it is",
        )
    return _capture(file, form)


def sessions_of(name: str) -> Sequence[HeldSession]:
    """Return the sessions that a name means: all in the file, at least one, or the one after ``#``.

    What cannot be read in the file is said on stderr.

    Raises:
        SettingsError: As `capture` does; or no exchange in the file belongs to a session.
        NotFound: No session or several have the name after ``#``.
    """
    return names.named(sessions_in_file(*_opened(names.path_in(name))), name)


def held(name: str) -> HeldSession:
    """Return the one session that a name means.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: The name means no session or several; the hint lists their names.
    """
    return names.one(sessions_in_file(*_opened(names.path_in(name))), name)


def recognised(path: str) -> tuple[Unpacked, Form | None]:
    """Return a file without its packing, and what it holds; None if that is no form that we know.

    Raises:
        SettingsError: The file cannot be read.
    """
    from proxy_addon.files import captures, unpacking  # noqa: PLC0415  # --help does without

    try:
        file = unpacking.unpacked(path)
        return file, captures.recognised(file)
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}", hint="copy or export it again") from e


def _opened(path: str) -> tuple[Unpacked, Form]:
    from proxy_addon.files.unpacking import foreign  # noqa: PLC0415  # as above

    file, form = recognised(path)
    if form is None:
        if (known := foreign(file)) is not None:
            what, way_out = known
            raise SettingsError(f"{file.name} is {what}, which sessiontape does not read", hint=way_out)
        raise SettingsError(
            f"{file.name} does not hold sessions in a known format",
            hint="known formats are fixtures and other exports of sessiontape, HAR, mitmproxy flows, Charles sessions "
            "(.chlsj), Proxyman logs, lines of 'collector --log', and lists of bodies; for one request body: "
            f"sessiontape check --file {shlex.quote(path)}",
        )
    return file, form


def _capture(file: Unpacked, form: Form) -> Capture:
    from proxy_addon.files import captures  # noqa: PLC0415  # as above

    if form is captures.Form.FLOWS:
        from proxy_addon.recording import flow_files  # noqa: PLC0415  # it imports mitmproxy, which takes a second

        return flow_files.capture(file.reopen(), file.name)
    try:
        return captures.capture(file, form)
    except ProtocolError as e:
        raise SettingsError(f"{file.name}: {e}") from e


def sessions_in_file(file: Unpacked, form: Form) -> Sequence[HeldSession]:
    """Return the sessions in a file, at least one, and say on stderr what cannot be read.

    Raises:
        SettingsError: The file is broken, or no exchange in it belongs to a session.
    """
    from proxy_addon.files import captures  # noqa: PLC0415  # as above

    try:
        if form.is_sessions:
            tally = Tally()
            found = captures.sessions(file, form, tally)
        else:
            opened = _capture(file, form)
            found, tally = sessions_in(opened), opened.tally
    except ProtocolError as e:
        raise SettingsError(f"{file.name}: {e}") from e
    _tell(file.name, tally)
    if not found:
        raise SettingsError(f"{file.name}: no request in it belongs to a session", hint=_why_none(tally))
    return found


def _tell(name: str, tally: Tally) -> None:
    """Say what a file lacks, so that nobody takes what is left for all."""
    told = list(tally.remarks)
    if tally.incomplete:
        told.append(f"{counted(tally.incomplete, 'request')} without a body, because the file does not have it")
    if tally.broken_count:
        entries = "1 entry cannot" if tally.broken_count == 1 else f"{tally.broken_count} entries cannot"
        told.append(f"{entries} be read")
    for line in told:
        click.echo(visible(f"sessiontape: {name}: {line}"), err=True)
    for line in tally.broken:
        click.echo(visible(f"  {line}"), err=True)


def _why_none(tally: Tally) -> str:
    skipped = tally.skipped.total()
    return "requests to the API have /api/v1/ in their path" + (
        f"; the file has {skipped} other {'entry' if skipped == 1 else 'entries'}" if skipped else ""
    )


def held_anywhere(name: str, store_url: str) -> HeldSession:
    """Return the one session that a name means, in a file or, if it does not name a file, in the store.

    Raises:
        SettingsError: As `sessions_of` does.
        NotFound: The name means no session or several; the hint lists their names.
        StorageError: The store cannot be read.
    """
    from storage import exchanges, sessions  # noqa: PLC0415  # as above
    from storage.opening import reading  # noqa: PLC0415

    if names.is_file_name(name):
        return held(name)
    with reading(store_url) as db:
        found = sessions.find(db, name)
        return HeldSession(session=found, exchanges=tuple(exchanges.of_session(db, found.id)))
