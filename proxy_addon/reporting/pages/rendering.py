"""Templates and assets: one environment for all pages, which escapes every text and needs no other file or host."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from proxy_addon.reporting import words

_BUFFERED = 100
"""Pieces of a page that are put together before they go out: templates yield a few characters at a time."""


def render(template: str, **values: Any) -> Iterator[str]:
    """Yield a page, piece by piece: what it iterates over is drawn as it is written.

    Args:
        values: What the template is given.
    """
    stream = _environment().get_template(template).stream(**values)
    stream.enable_buffering(_BUFFERED)
    return iter(stream)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("proxy_addon.reporting.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_legal,
    )
    environment.globals["asset"] = _asset
    environment.filters.update(moment=words.moment, ms=words.milliseconds, short=words.short)
    environment.filters.update(change=words.change_line, places=words.places)
    return environment


def _legal(value: Any) -> Any:
    """Take out what a page cannot hold; what is None is not there."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.legal(value)
    return value


@functools.cache
def _asset(name: str) -> Markup:
    """Return a style sheet or script of ours, to stand in the page itself."""
    return Markup((files(__package__) / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704  # our own file
