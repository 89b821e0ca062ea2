"""Answers: pages with their policy, and values as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.responses import HTMLResponse, Response

from proxy_addon.reporting.pages.embedding import json_text
from proxy_addon.reporting.pages.rendering import policy


def html(pieces: Iterable[str], entry: str, *, is_live: bool = False) -> Response:
    """Return a page.

    Args:
        entry: The module that draws it.
        is_live: Whether it may ask this server for more.
    """
    allowed = f"{policy(entry, is_live=is_live)}; frame-ancestors 'none'"
    return HTMLResponse("".join(pieces), headers={"Content-Security-Policy": allowed})


def json(value: Any, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(json_text(value), status, media_type="application/json")
