"""What is in a report: its parts, unpacked."""

from __future__ import annotations

import re
from typing import Any

from proxy_addon.reporting.pages.embedding import read

_PART = re.compile(r'<script type="application/gzip" data-part="([\w-]+)">([\w+/=]*)</script>')


def parts_of(page: str) -> dict[str, Any]:
    """Return the values in a report by their names."""
    return {name: read(text) for name, text in _PART.findall(page)}


def without_parts(page: str) -> str:
    """Return what of a report is no value: markup, style and script."""
    return _PART.sub("", page)
