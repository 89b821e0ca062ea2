"""The ``Location`` header in the answer to a start, and the session ID in it.

Source: Media Collection API, "Location: the one header that breaks clients". The documented form is the root-relative
``/api/v1/sessions/{sid}``. Servers and intermediaries also send absolute URLs, prefixes, the header's name in
unusual case, or a slash or query after the ID. All of them contain the ID, although some SDKs cannot extract it.

>>> session_id_in("/api/v1/sessions/4a0f")
'4a0f'
>>> session_id_in("https://h.example/tv/api/v1/sessions/4a0f/?x=1")
'4a0f'
>>> session_id_in("/login") is None
True
>>> location_shape("https://h.example/tv/api/v1/sessions/4a0f")
'{scheme}://{host}/tv/api/v1/sessions/{sid}'
>>> renamed("https://h.example/tv/api/v1/sessions/4a0f", "4a0f", "99", "http://127.0.0.1:8081")
'http://127.0.0.1:8081/tv/api/v1/sessions/99'
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WITH_ID = re.compile(
    r"""^(?P<origin>(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?\#]*)?
        (?P<before>[^?\#]*/?api/v[0-9]+/sessions/)
        (?P<id>[^/?\#\s]+)
        (?P<after>/?(?:\?[^\#]*)?(?:\#.*)?)\Z""",
    re.VERBOSE | re.DOTALL,
)


_ORIGIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")


def find_location(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the first ``Location`` header, whose name may be in any case; None if there is none."""
    for name, value in headers:
        if name.lower() == "location":
            return value.strip()
    return None


def session_id_in(location: str) -> str | None:
    """Return the session ID in a ``Location``; None if there is none that could be used in a path."""
    match = _WITH_ID.match(location)
    return match["id"] if match else None


def renamed(location: str, old_id: str | None, new_id: str, server: str | None = None) -> str:
    """Return a ``Location`` in which one session ID is replaced by another.

    Args:
        old_id: Another ID is kept.
        server: Scheme and address that replace those of an absolute URL; None to make it root-relative.
    """
    origin = _ORIGIN.match(location)
    if origin is not None:
        server = server or ""
        if location.startswith("//"):
            server = server.partition(":")[2]
        location = server + location[origin.end() :]
    match = _WITH_ID.match(location)
    if match is None or match["id"] != old_id:
        return location
    return location[: match.start("id")] + new_id + location[match.end("id") :]


def location_shape(location: str) -> str:
    """Return a ``Location`` in which the session ID, and the scheme and host of an absolute URL, are replaced.

    These differ even between servers that behave alike. A device extracts the ID in the same way from two values if,
    and only if, their shapes are equal.
    """
    match = _WITH_ID.match(location)
    if match is None:
        return location
    origin = match["origin"] or ""
    if origin:
        origin = "{scheme}://{host}" if not origin.startswith("//") else "//{host}"
    return f"{origin}{match['before']}{{sid}}{match['after']}"
