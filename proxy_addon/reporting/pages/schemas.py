"""The page of the schemas: what upstreams say an event may contain, in all versions that the store has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from proxy_addon.core.schemas import StoredSchema
from proxy_addon.reporting.documents import schema_document
from proxy_addon.reporting.pages.rendering import document

_SHOWN = 20_000
"""How many characters of a schema the page shows."""


@dataclass(frozen=True, kw_only=True)
class SchemasPage:
    """What the page of the schemas shows.

    Attributes:
        schemas: All versions, those of an upstream together.
    """

    schemas: tuple[StoredSchema, ...]

    def document(self) -> list[dict[str, Any]]:
        """Return it as JSON, as ``schemas list --json`` prints it."""
        return [dict(schema_document(schema)) for schema in self.schemas]

    def upstreams(self) -> Iterator[tuple[str, list[tuple[StoredSchema, str]]]]:
        """Yield each upstream with its schemas, and the text of each, laid out if it is JSON."""
        for upstream, group in groupby(self.schemas, key=lambda schema: schema.upstream):
            yield upstream, [(schema, _text(schema)) for schema in group]


def schemas_page(schemas: Iterable[StoredSchema]) -> SchemasPage:
    """Return what the page of the schemas shows."""
    return SchemasPage(schemas=tuple(sorted(schemas, key=lambda schema: schema.upstream)))


def html(page: SchemasPage) -> Iterator[str]:
    """Yield the page of the schemas."""
    return document("schemas.html", title="Schemas", entry="document_page.js", page=page)


def _text(schema: StoredSchema) -> str:
    try:
        text = json.dumps(json.loads(schema.body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = schema.body.decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n… and {len(text) - _SHOWN} more characters"
