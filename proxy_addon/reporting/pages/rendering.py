"""Pages as one file each: the document, its style, its script and the values that it draws.

Templates share one environment, which escapes every text. Pages need no other file or host, and a policy inside each of
them refuses all but its own style and script.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from proxy_addon.core.wording import visible
from proxy_addon.reporting import words
from proxy_addon.reporting.pages import joining
from proxy_addon.reporting.pages.embedding import embedded

_BUFFERED = 100
"""How many pieces of a page are joined before they are written, because templates yield a few characters at a time."""


def page(
    *, title: str, entry: str, parts: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), is_live: bool = False
) -> Iterator[str]:
    """Yield a page in pieces.

    Args:
        title: In plain text.
        entry: The module in ``assets/`` that draws it, such as ``session_page.js``.
        parts: JSON values that ``embedded.js`` reads by their names; consumed as the page is written.
        is_live: Whether it may load more from its own server.
    """
    named = parts.items() if isinstance(parts, Mapping) else parts
    packed = ((name, embedded(value)) for name, value in named)
    return document("page.html", title=title, entry=entry, is_live=is_live, parts=packed)


def document(template: str, *, title: str, entry: str, is_live: bool = False, **values: Any) -> Iterator[str]:
    """Yield a page that a template writes, in pieces; it can be read without its script.

    Args:
        template: One that extends ``base.html``.
        title: As for `page`.
        entry: The module in ``assets/`` that the page runs.
        is_live: As for `page`.
        values: The values that the template uses.
    """
    return render(
        template,
        title=title,
        policy=policy(entry, is_live=is_live),
        style=Markup(style()),  # noqa: S704  # our own files
        script=Markup(script(entry)),  # noqa: S704
        **values,
    )


def script(entry: str) -> str:
    """Return the script of a page; see `joining.script`."""
    return joining.script(entry)


def style() -> str:
    """Return the style sheet of the family."""
    return joining.style()


@functools.cache
def policy(entry: str, *, is_live: bool = False) -> str:
    """Return the Content-Security-Policy of a page, which a server should send as a header too.

    >>> policy("session_page.js").split("; ")[0], policy("session_page.js", is_live=True).split("; ")[-1]
    ("default-src 'none'", "connect-src 'self'")
    """
    allowed = [
        "default-src 'none'",
        f"script-src {_hash(script(entry))}",
        f"style-src {_hash(style())}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if is_live:
        allowed.append("connect-src 'self'")
    return "; ".join(allowed)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


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
    environment.filters.update(moment=words.moment, ms=words.milliseconds, short=words.short)
    environment.filters.update(visible=visible, lasted=words.duration)
    environment.filters.update(change=words.change_line, places=words.places, prose=_prose)
    return environment


def _legal(value: Any) -> Any:
    """Return a value for a page: None becomes empty, and characters that a page cannot contain are replaced."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.legal(value)
    return value


def _prose(text: str, links: Mapping[str, str] = MappingProxyType({})) -> Markup:
    """Return a text of ours for a page: what stands in backticks is set as code, and is a link if it has an address."""

    def code(name: str) -> Markup:
        shown = Markup("<code>{}</code>").format(name)
        return Markup('<a href="{}">{}</a>').format(links[name], shown) if name in links else shown

    pieces = (words.legal(piece) for piece in text.split("`"))
    return Markup("").join(code(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces))
