"""Templates and assets: one environment for all pages, which escapes every text. Pages need no other file or host."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from proxy_addon.reporting import words

_BUFFERED = 100
"""How many pieces of a page are joined before they are written, because templates yield a few characters at a time."""


def render(template: str, **values: Any) -> Iterator[str]:
    """Yield a page in pieces; iterators among the values are consumed as the page is written.

    Args:
        values: The values that the template uses.
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
    """Return a value for a page: None becomes empty, and characters that a page cannot contain are replaced."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.legal(value)
    return value


@functools.cache
def _asset(name: str) -> Markup:
    """Return one of our style sheets or scripts, to be included in the page."""
    return Markup((files(__package__) / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704  # our own file
