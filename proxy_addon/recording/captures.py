"""Open any file that holds sessions: those that `files.captures` reads, and mitmproxy's, which only this room can read."""

from __future__ import annotations

import shlex

from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.fixtures.held import HeldSession, sessions_in
from proxy_addon.errors import ProtocolError, SettingsError
from proxy_addon.files import captures
from proxy_addon.files.captures import Form
from proxy_addon.files.unpacking import Unpacked, foreign, unpacked


def recognised(path: str) -> tuple[Unpacked, Form | None]:
    """Return a file without its packing, and what it holds; None if that is no form that we know.

    Args:
        path: ``-`` for stdin.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        file = unpacked(path)
        return file, captures.recognised(file)
    except ProtocolError as e:
        raise SettingsError(f"{path}: {e}", hint="copy or export it again") from e


def opened(path: str) -> tuple[Unpacked, Form]:
    """Return a file without its packing, and what it holds.

    Raises:
        SettingsError: The file cannot be read, or is in no form that we read; the hint says what to do.
    """
    file, form = recognised(path)
    if form is not None:
        return file, form
    if (known := foreign(file)) is not None:
        what, way_out = known
        raise SettingsError(f"{file.name} is {what}, which sessiontape does not read", hint=way_out)
    if (fault := captures.fault(file)) is not None:
        raise SettingsError(f"{file.name} {fault}", hint="copy or export it again")
    raise SettingsError(
        f"{file.name} does not hold sessions in a known format",
        hint="known formats are fixtures and other exports of sessiontape except CSV, HAR, mitmproxy flows, Charles sessions "
        "(.chlsj), Proxyman logs, lines of 'collector --log', and lists of bodies; for one request body: "
        f"sessiontape check --file {shlex.quote(path)}",
    )


def capture(file: Unpacked, form: Form) -> Capture:
    """Return the exchanges in a file.

    Raises:
        SettingsError: The file is a document of which nothing can be read, or of a newer format.
    """
    if form is Form.FLOWS:
        from proxy_addon.recording import flow_files  # noqa: PLC0415  # it imports mitmproxy, which takes a second

        return flow_files.capture(file.reopen(), file.name)
    try:
        return captures.capture(file, form)
    except ProtocolError as e:
        raise SettingsError(f"{file.name}: {e}") from e


def sessions(file: Unpacked, form: Form) -> tuple[list[HeldSession], Tally]:
    """Return the sessions in a file, at least one, and what became of its entries.

    Raises:
        SettingsError: As `capture` does; or no exchange in the file belongs to a session.
    """
    try:
        if form.is_sessions:
            tally = Tally()
            found = captures.sessions(file, form, tally)
        else:
            exchanges = capture(file, form)
            found, tally = sessions_in(exchanges), exchanges.tally
    except ProtocolError as e:
        raise SettingsError(f"{file.name}: {e}") from e
    if not found:
        cut = "the file is cut off, and " if tally.is_cut_off else ""
        raise SettingsError(f"{file.name}: {cut}no request in it belongs to a session", hint=_why_none(tally))
    return found, tally


def _why_none(tally: Tally) -> str:
    told = ["requests to the API have /api/v1/ in their path"]
    if number := tally.skipped.total():
        told.append(f"the file has {number} other {'entry' if number == 1 else 'entries'}")
    if tally.broken:
        told.append(f"the first part that cannot be read is {tally.broken[0]}")
    return "; ".join(told)
