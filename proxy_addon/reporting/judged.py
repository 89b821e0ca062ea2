"""What was judged, as reports tell it: a stored session, a file, or stdin, with the findings on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.reporting.words import clock


@dataclass(frozen=True, slots=True)
class Moment:
    """Where an exchange stands in its session: seconds since the start, and what it reports."""

    offset_s: float
    name: str


def moment_of(exchange: Exchange, started_at: datetime) -> Moment:
    """Return where an exchange stands in its session."""
    events = exchange.request.reading.events
    name = events[0].type if events else None
    offset_s = (exchange.received_at - started_at).total_seconds()
    return Moment(offset_s, name or exchange.route.operation.value)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was judged.

    Attributes:
        session: None for a file.
        state: Of the session.
        file: None for a session, and for stdin.
        moments: Of the session's exchanges, by ``seq``.
    """

    judgement: Judgement
    session: Session | None = None
    state: SessionState | None = None
    file: str | None = None
    moments: Mapping[int, Moment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.session.id if self.session is not None else self.file or "stdin"

    def place(self, finding: Finding) -> str:
        """Return where a finding stands: place, time and event."""
        if finding.seq is None:
            return ""
        moment = self.moments.get(finding.seq)
        if moment is None:
            return f"#{finding.seq}"
        return f"#{finding.seq} {clock(moment.offset_s)} {moment.name}"


class Report(Protocol):
    """One format. `add` is called for each subject, between `begin` and `end`: memory does not grow with their number."""

    def begin(self) -> None:
        """Write what comes first."""

    def add(self, subject: Subject) -> None:
        """Write what is to be said of a subject."""

    def end(self, *, ok: bool) -> None:
        """Write what comes last."""
