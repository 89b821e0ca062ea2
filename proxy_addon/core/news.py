"""What happens to sessions while they are recorded, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from proxy_addon.core.findings import Finding
from proxy_addon.core.sessions import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A session is seen for the first time, with its start or, where that is missing, with an event."""

    at: datetime
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Its player has closed a session; told again if ``sessionEnd`` follows ``sessionComplete``."""

    at: datetime
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something was found of a session, or of an exchange.

    Attributes:
        session: None for an exchange that belongs to none.
        finding: Of an exchange, it has the exchange's ``seq`` as far as it is known while recording.
        event_type: Of the exchange that it was found of; None where it has none, or is of the session as a whole.
    """

    at: datetime
    session: Session | None
    finding: Finding
    event_type: str | None = None


News = Started | Ended | Found
