"""What Adobe's JavaScript SDK 3.1.0 sent in two playbacks, one without and one with ads, as it was on the wire.

The session IDs in the paths are those that the recording server gave. Whoever sends the requests to another server
puts that server's IDs in:

>>> first, second = (request for request in load() if request.opens)
>>> (first.playback, second.playback)
(0, 1)
>>> next(request for request in load() if request.playback == 1 and request.session_id).with_session_id("4a0f").path
'/api/v1/sessions/4a0f/events'
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("samples") / "js_sdk.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkRequest:
    """One request and the status it was answered with.

    Attributes:
        scenario: Name of the playback.
        at_s: Arrival in seconds since the first request of all.
        connection: Number of the TCP connection, from 1.
        playback: Which of the starts it belongs to, from 0; a preflight of a start belongs to the start that follows.
        session_id: The one in its path; None for starts and their preflights.
    """

    scenario: str
    at_s: float
    connection: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int
    playback: int
    session_id: str | None

    @property
    def opens(self) -> bool:
        """Whether it is the start of a playback."""
        return self.method == "POST" and self.session_id is None

    def with_session_id(self, session_id: str) -> SdkRequest:
        """Return the request with another session ID in its path; one without an ID stays as it is."""
        if self.session_id is None:
            return self
        return replace(self, path=self.path.replace(self.session_id, session_id), session_id=session_id)


@cache
def load() -> tuple[SdkRequest, ...]:
    """Return all requests in the order of their arrival."""
    rows = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    requests = []
    playbacks: dict[str, int] = {}  # session ID -> index of its start
    starts = 0
    for row in rows:
        session_id = _session_id(row["path"])
        if session_id is None:
            playback = starts
            starts += row["method"] == "POST"
        else:
            # The recorded answers are not kept, but no start was repeated: a new ID is that of the latest start.
            playback = playbacks.setdefault(session_id, starts - 1)
        requests.append(_request(row, playback, session_id))
    return tuple(requests)


def _session_id(path: str) -> str | None:
    parts = path.split("/")
    return parts[4] if len(parts) > 4 else None


def _request(row: dict[str, Any], playback: int, session_id: str | None) -> SdkRequest:
    return SdkRequest(
        scenario=row["scenario"],
        at_s=row["at_s"],
        connection=row["connection"],
        method=row["method"],
        path=row["path"],
        headers=tuple((name, value) for name, value in row["headers"]),
        body=base64.b64decode(row["body_base64"]),
        status=row["status"],
        playback=playback,
        session_id=session_id,
    )
