"""News of sessions as JSON can hold them, on their way from the process that files to those that record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from proxy_addon.core.findings import Finding
from proxy_addon.core.news import Ended, Found, News, Started

_KINDS: dict[str, type[News]] = {"start": Started, "end": Ended, "finding": Found}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_document(news: News) -> dict[str, Any]:
    """Return news as `from_document` reads them."""
    document: dict[str, Any] = msgspec.to_builtins(news)
    return {"kind": _NAMES[type(news)], **document}


def from_document(document: dict[str, Any]) -> News:
    """Return the news in a document of `to_document`.

    Raises:
        msgspec.ValidationError: It is none.
    """
    kind = _KINDS.get(document.get("kind", ""))
    if kind is None:
        raise msgspec.ValidationError(f"there are no news of the kind {document.get('kind')!r}")
    return msgspec.convert({name: value for name, value in document.items() if name != "kind"}, kind)


def findings_to_documents(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as `findings_from_documents` reads them."""
    return [msgspec.to_builtins(finding) for finding in findings]


def findings_from_documents(documents: Iterable[dict[str, Any]]) -> list[Finding]:
    """Return the findings in documents of `findings_to_documents`.

    Raises:
        msgspec.ValidationError: They are none.
    """
    return msgspec.convert(list(documents), list[Finding])
