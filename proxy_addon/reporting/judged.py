"""The subjects of reports: what was judged, which is a stored session, a file, or stdin, with its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement, element_of
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.folding import as_list, in_order, place_of
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.reporting.words import clock

_LONGEST_NAME = 20
"""How many characters of an event type a place shows; the protocol's event types are shorter."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The place of an exchange in its session: seconds since the start, and its event type or operation."""

    offset_s: float
    name: str
    elements: tuple[str, ...] = ()
    """The event types of a batch."""


def moment_of(exchange: Exchange, started_at: datetime) -> Moment:
    """Return the place of an exchange in its session."""
    reading = exchange.request.reading
    offset_s = (exchange.received_at - started_at).total_seconds()
    if reading.is_batch:
        return Moment(offset_s, "batch", tuple(_short(event.type or "") for event in reading.events))
    name = reading.events[0].type if reading.events else None
    return Moment(offset_s, _short(name or exchange.route.operation.value))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def place_in(finding: Finding, moments: Mapping[int, Moment]) -> str:
    """Return a finding's place with its time and event; empty if it has no place.

    Args:
        moments: The moments of the session's exchanges, by ``seq``.
    """
    moment = moments.get(finding.seq or 0)
    if moment is None:
        return place_of(finding)
    element = element_of(finding.pointer)
    known = element is not None and element <= len(moment.elements)
    name = moment.elements[element - 1] if known and element is not None else moment.name
    return f"{place_of(finding)} {clock(moment.offset_s)} {name}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was judged.

    Attributes:
        session: The session; that of a file has the name by which commands find it as its id. None for a file that holds no
            session, or none whose requests are known.
        state: The state of the session; None without a session.
        file: The path of the file; None for a stored session or stdin.
        moments: The moments of the session's exchanges, by ``seq``.
        held: The session with its exchanges, if a file holds it.
    """

    judgement: Judgement
    session: Session | None = None
    state: SessionState | None = None
    file: str | None = None
    moments: Mapping[int, Moment] = field(default_factory=dict)
    held: HeldSession | None = None

    @property
    def name(self) -> str:
        """Its name in reports: the session's id, the file with the session, or ``stdin``."""
        return (self.file or "stdin") if self.session is None else self.session.id

    @property
    def about(self) -> str:
        """Its media and player; empty if they are unknown."""
        if self.session is None:
            return ""
        media = self.session.media_name or self.session.media_id
        return " · ".join(filter(None, (media, self.session.player_name)))

    @property
    def findings(self) -> list[Finding]:
        """Its findings, sorted by place."""
        found = self.judgement.findings
        return in_order(found if self.session is not None else map(as_list, found))

    def place(self, finding: Finding) -> str:
        """Return a finding's place with its time and event; empty if it has no place."""
        return place_in(finding, self.moments)


class Report(Protocol):
    """One format. `add` is called for each subject, between `begin` and `end`, so that subjects need not be kept."""

    def begin(self) -> None:
        """Write what comes before all subjects."""

    def add(self, subject: Subject) -> None:
        """Write a subject."""

    def end(self, *, ok: bool) -> None:
        """Write what comes after all subjects.

        Args:
            ok: Whether the check passed.
        """
