r"""The JSON form of times and bodies, in all documents and logs.

>>> iso(datetime(2026, 3, 1, 12, 0, 0, 1500, tzinfo=UTC))
'2026-03-01T12:00:00.001Z'
>>> body_document(b"{}"), body_document(b"\xff")
({'text': '{}'}, {'base64': '/w=='})
>>> body_document(b"{", Whole(length=20, sha256="9f86"))
{'text': '{', 'truncated': True, 'length': 20, 'sha256': '9f86'}
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from proxy_addon.core.exchange import Whole


def iso(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body_document(body: bytes, whole: Whole | None = None) -> dict[str, Any]:
    """Return a body as text if it is valid UTF-8, else as base64.

    Args:
        whole: What the whole body was, if this is only its beginning.
    """
    try:
        document: dict[str, Any] = {"text": body.decode()}
    except UnicodeDecodeError:
        document = {"base64": base64.b64encode(body).decode()}
    return document | whole_members(whole)


def whole_members(whole: Whole | None) -> dict[str, Any]:
    """Return the members that say what the whole body was, if only its beginning is there; otherwise none."""
    return {} if whole is None else {"truncated": True, "length": whole.length, "sha256": whole.sha256}
