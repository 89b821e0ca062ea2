"""JSON values inside a page: compressed, so that a page with all bodies of a session can be mailed.

>>> read(embedded({"headers": [], "rows": {}}))
{'headers': [], 'rows': {}}
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

_LEVEL = 6
"""Of compression: 9 takes three times as long for 2 % less."""


def embedded(value: Any) -> str:
    """Return a JSON value as text that has no meaning in HTML: Base64 of gzip. The same value gives the same text."""
    return base64.b64encode(gzip.compress(json_text(value).encode("ascii"), _LEVEL, mtime=0)).decode("ascii")


def json_text(value: Any) -> str:
    """Return a value as JSON in one line, in ASCII.

    Numbers that JSON does not have, which devices can send as ``1e999``, become null.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"))


def read(text: str) -> Any:
    """Return the value that a page embeds."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(member) for key, member in value.items()}
        case list() | tuple():
            return [_finite(member) for member in value]
        case _:
            return value
