r"""The JSON form of times and bodies, in all documents and logs.

>>> iso(datetime(2026, 3, 1, 12, 0, 0, 1500, tzinfo=UTC))
'2026-03-01T12:00:00.001Z'
>>> body_document(b"{}"), body_document(b"\xff")
({'text': '{}'}, {'base64': '/w=='})
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime


def iso(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body_document(body: bytes) -> dict[str, str]:
    """Return a body as text if it is valid UTF-8, else as base64."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
