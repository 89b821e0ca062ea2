"""Answers: pages with their policy, and values as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from proxy_addon.core.wording import visible
from proxy_addon.reporting.pages.embedding import json_text
from proxy_addon.reporting.pages.rendering import document, policy


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


_ENTRY = "document_page.js"
_ID = re.compile(r"\s*([0-9a-f]{16})\b")
"""How lines begin that list sessions or runs."""


def failure(
    request: Request,
    status: int,
    error: str,
    hint: str = "",
    *,
    is_served: bool = True,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error: a page for a browser that opens one, plain text for everybody else.

    Args:
        is_served: Whether the reader may see other pages, to which the page leads.
    """
    lines = [visible(line) for line in hint.splitlines()]
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse("\n".join([error, *lines]) + "\n", status, headers=headers)
    room = "runs" if request.url.path.startswith("/runs/") else "sessions"
    listed = [(line, f"/{room}/{found[1]}" if (found := _ID.match(line)) else None) for line in lines]
    pieces = document(
        "error.html", title=HTTPStatus(status).phrase, entry=_ENTRY, error=error, lines=listed, is_served=is_served
    )
    answer = html(pieces, _ENTRY)
    answer.status_code = status
    answer.headers.update(headers or {})
    return answer
