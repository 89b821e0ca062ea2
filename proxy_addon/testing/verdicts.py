"""The sessions of a recording, judged as by `sessiontape check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import FindingCounts, Session, SessionState
from proxy_addon.journal.awaiting import await_filed
from proxy_addon.reporting.judged import Subject, moment_of
from storage import sessions
from storage.engine import hide_password, sqlite_path
from storage.filters import Filters
from storage.judging import Judging
from storage.opening import reading


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A recorded session with its findings.

    Attributes:
        session: Its counts of findings are those of ``judgement``.
        state: Its state when it was judged.
    """

    session: Session
    state: SessionState
    exchanges: tuple[Exchange, ...]
    judgement: Judgement

    @property
    def held(self) -> HeldSession:
        """The session as one that a file holds."""
        return HeldSession(session=self.session, exchanges=self.exchanges)

    @property
    def subject(self) -> Subject:
        """The session as the subject of a report."""
        moments = {seq: moment_of(each, self.session.started_at) for seq, each in enumerate(self.exchanges, 1)}
        return Subject(judgement=self.judgement, session=self.session, state=self.state, moments=moments)

    @cached_property
    def verdicts(self) -> Mapping[str, list[Finding]]:
        """The findings of each exchange, by its id; exchanges without findings have an empty list."""
        found: dict[str, list[Finding]] = {each.id: [] for each in self.exchanges}
        for finding in self.judgement.of_exchanges:
            if finding.seq is not None:
                found[self.exchanges[finding.seq - 1].id].append(finding)
        return found


def judged(store_url: str, filters: Filters, policy: Policy, *, now: datetime, closed: bool = False) -> list[Judged]:
    """Return the sessions that pass the filters, oldest first, judged as of now, with all that was answered.

    Args:
        closed: Judge unfinished sessions as over.

    Raises:
        StorageError: The store cannot be read.
    """
    await_filed(sqlite_path(store_url), hide_password(store_url))
    with reading(store_url) as db:
        judging = Judging(db, policy, now, closed=closed)
        found = []
        for session, watch, recorded in judging.each(sessions.newest(db, filters, now=now, oldest_first=True)):
            held = tuple(recorded)
            judgement = watch.judgement()
            counts = FindingCounts().plus(judgement.findings)
            found.append(
                Judged(
                    session=replace(session, findings=counts),
                    state=session.state(as_of(now, policy)),
                    exchanges=held,
                    judgement=judgement,
                )
            )
        return found
