"""The log of a collector: JSON Lines, one object for each request that arrived.

====================  ==============================================================================================
``received_at``       when the head of the request arrived, ISO 8601 UTC with milliseconds
``monotonic_s``       the same in seconds on a monotonic clock, for measuring intervals
``method``            as sent
``path``              as sent, with the query, each byte as its Latin-1 character
``http_version``      ``HTTP/1.1`` or ``HTTP/1.0``
``headers``           ``[[name, value] …]`` in the order and case in which they were sent, Latin-1
``operation``         ``sessions``, ``events``, ``downloaded``, ``schemas``, ``preflight`` or ``other``
``session_id``        the one in the path, or the new one for a start; null if there is none
``event_type``        of the event in the body; null for a batch or a body without an event
``status``            of the answer; null if there was none
``fault``             the fault that happened, as it was written; null for none
``complete``          false if the body broke off or was not valid HTTP (``body`` is what had arrived), or was too
                      large (``body`` is empty)
``body_sha256``       of the body as sent, a compressed one still compressed, in hexadecimal digits
``body``              ``{"text": …}`` if it is UTF-8, otherwise ``{"base64": …}``
====================  ==============================================================================================
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxy_addon.collector.backend import Arrival, Decision
from proxy_addon.core.exchange import Request
from proxy_addon.core.jsonforms import body_document, iso
from proxy_addon.errors import SettingsError


def entry(request: Request, decision: Decision, *, received_at: datetime, monotonic_s: float) -> dict[str, Any]:
    """Return the log's object for a request, with the members described above."""
    return {
        "received_at": iso(received_at),
        "monotonic_s": monotonic_s,
        "method": request.method,
        "path": request.path,
        "http_version": request.http_version,
        "headers": [list(pair) for pair in request.headers],
        "operation": decision.operation.value,
        "session_id": decision.session_id,
        "event_type": decision.event_type,
        "status": None if decision.response is None else decision.response.status,
        "fault": None if decision.fault is None else decision.fault.text,
        "complete": request.complete,
        "body_sha256": request.body_sha256,
        "body": body_document(request.body),
    }


class Journal:
    """A log file, closed by leaving the ``with`` block."""

    def __init__(self, path: Path) -> None:
        """Open a file for appending.

        Raises:
            SettingsError: The file cannot be opened for writing.
        """
        self._path = path
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as e:
            raise self._unwritable(e) from e

    def received(self, arrival: Arrival, decision: Decision) -> None:
        """Append the line of a request.

        Raises:
            SettingsError: The line cannot be written.
        """
        self.write(entry(arrival.request, decision, received_at=arrival.received_at, monotonic_s=arrival.monotonic_s))

    def ended(self, arrival: Arrival, *, answered: bool) -> None:
        """Do nothing: the log says what arrived."""

    def write(self, document: dict[str, Any]) -> None:
        """Append one line; the whole line is in the file when this returns.

        Raises:
            SettingsError: The line cannot be written, for example because the disk is full.
        """
        # Escaped to ASCII, because the document may contain a lone surrogate, which UTF-8 cannot encode.
        line = f"{json.dumps(document)}\n".encode("ascii")
        try:
            while line:  # a nearly full disk may take only a part
                line = line[self._file.write(line) :]
        except OSError as e:
            raise self._unwritable(e) from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def _unwritable(self, error: OSError) -> SettingsError:
        reason = error.strerror or str(error)
        return SettingsError(f"cannot write the log {self._path}: {reason}", hint="name another file with --log")
