"""News of a recording as lines: for people, with each rule only once per session, and for programs.

>>> from datetime import datetime, UTC
>>> from proxy_addon.core.findings import Finding, Severity
>>> finding = Finding(rule="ts-type", severity=Severity.ERROR, message="ts is a string", seq=5)
>>> TextNews().line(Found(at=datetime(2026, 3, 1, 12, tzinfo=UTC), session=None, finding=finding, event_type="ping"))
'12:00:00Z  -                 -              error      ts-type #5 ping: ts is a string'
"""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC

from proxy_addon.core.findings import Finding, finding_parts
from proxy_addon.core.folding import place_of
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.news import Ended, Found, News, Started
from proxy_addon.core.sessions import Session
from proxy_addon.core.wording import counted, visible
from proxy_addon.reporting.documents import Document, finding_document
from proxy_addon.reporting.words import duration

MOST = 10_000
"""For how many sessions it is remembered which rules were printed."""
_ID, _PLAYER, _WHAT = 16, 13, 9
"""Widths of columns; longer text pushes the rest to the right."""


class TextNews:
    """Lines for people: time in UTC, session, player, and what happened."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, set[str]] = OrderedDict()

    def line(self, news: News) -> str | None:
        """Return the line of a piece of news; None for a finding of a rule that was printed for this session before."""
        match news:
            case Started(session=session):
                what, text = _begun(session)
            case Ended(session=session):
                lasted = duration((session.last_event_at - session.started_at).total_seconds())
                what, text = session.lasting_state.value, f"{counted(session.events, 'event')} in {lasted}"
            case Found():
                if not self._is_new(news):
                    return None
                what, text = news.finding.severity.value, _finding(news.finding, news.event_type)
        id, player = (news.session.id, news.session.player_name or "-") if news.session is not None else ("-", "-")
        at = f"{news.at.astimezone(UTC):%H:%M:%S}Z"
        return f"{at}  {id:<{_ID}}  {visible(player):<{_PLAYER}}  {what:<{_WHAT}}  {visible(text)}".rstrip()

    def _is_new(self, news: Found) -> bool:
        if news.session is None:
            return True
        told = self._told.setdefault(news.session.id, set())
        self._told.move_to_end(news.session.id)
        if len(self._told) > MOST:
            self._told.popitem(last=False)
        is_new = news.finding.rule not in told
        told.add(news.finding.rule)
        return is_new


def _begun(session: Session) -> tuple[str, str]:
    media = session.media_name or session.media_id or ""
    if session.failed:
        return "failed", f"no session was opened for {media}" if media else "no session was opened"
    if not session.start_seen:
        return "partial", "its start was not seen"
    return "start", media


def _finding(finding: Finding, event_type: str | None) -> str:
    place = " ".join(filter(None, (place_of(finding), event_type)))
    return "".join(text for kind, text in finding_parts(finding, place) if kind != "severity").lstrip()


def json_line(news: News) -> str:
    """Return a piece of news as a JSON object.

    It has ``kind`` (``start``, ``end`` or ``finding``), ``at``, and ``session`` (null for an exchange without one). A
    finding also has ``event_type`` and ``finding``, which is as in ``check --json``.
    """
    document: Document = {"kind": _KINDS[type(news)], "at": iso(news.at), "session": _session(news.session)}
    if isinstance(news, Found):
        document |= {"event_type": news.event_type, "finding": finding_document(news.finding)}
    return json.dumps(document)


_KINDS = {Started: "start", Ended: "end", Found: "finding"}


def _session(session: Session | None) -> Document | None:
    if session is None:
        return None
    return {
        "id": session.id,
        "session_id": session.session_id,
        "retry_of": session.retry_of,
        "state": session.lasting_state.value,
        "player_name": session.player_name,
        "media_id": session.media_id,
        "media_name": session.media_name,
        "events": session.events,
    }
