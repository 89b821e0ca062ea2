"""The list of sessions: `SessionsPage` is all that it draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from proxy_addon.core.books import Loss
from proxy_addon.core.devices import device_of
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.core.timelines import strips
from proxy_addon.core.timelines.verdicts import level_of
from proxy_addon.reporting.documents import lasted_s, listed_document

FORM = 1
"""The version of the document; scripts draw no other version."""


@dataclass(frozen=True, kw_only=True)
class SessionsPage:
    """What the list of sessions draws.

    Attributes:
        form: The version of this document.
        rows: Sessions, newest first, as of `row_of`.
        filters: The filters in effect: name and value as in the address; a filter with several values has a pair for each.
        older: The id of the last of these sessions if there are older ones, otherwise None.
        store: Where they are stored, without a password.
        made_at: When this was made.
    """

    form: int = FORM
    rows: Sequence[dict[str, Any]]
    filters: Sequence[tuple[str, str]]
    older: str | None
    store: str
    made_at: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def row_of(session: Session, as_of: AsOf, gaps: Iterable[Loss] = ()) -> dict[str, Any]:
    """Return a session as a row of the list.

    Args:
        gaps: Exchanges of it that were lost, by time of arrival.

    Returns:
        The members of ``sessions --json``, ``verdict`` (fail, warn, pass), ``device``, ``lasted_s``: the time from its first
        to its last event, and ``strip``, as of `proxy_addon.core.timelines.strips.document`.
    """
    return {
        **listed_document(session, as_of, gaps),
        "verdict": level_of(session, as_of).value,
        "device": device_of(session.user_agent),
        "lasted_s": lasted_s(session),
        "strip": strips.document(session.strip),
    }


def sessions_page(
    rows: Sequence[dict[str, Any]],
    as_of: AsOf,
    *,
    store: str,
    filters: Sequence[tuple[str, str]] = (),
    older: str | None = None,
) -> SessionsPage:
    """Return what the list of sessions draws.

    Args:
        rows: As of `row_of`, newest first.
        store: Where they are stored, without a password.
        filters: As of `SessionsPage.filters`.
        older: As of `SessionsPage.older`.
    """
    return SessionsPage(rows=rows, filters=filters, older=older, store=store, made_at=iso(as_of.now))
