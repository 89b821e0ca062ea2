"""Sessions as a report needs them: what the list shows without reading a session, and all of it once it is drawn."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange, Request
from proxy_addon.core.findings import Finding, Judgement
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.sessions import masked
from proxy_addon.core.sessions import AsOf, FindingCounts, Session, SessionState
from proxy_addon.core.timelines.pictures import Picture, marking, picture_of
from proxy_addon.core.timelines.strips import strip_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A session of a report, which may be one of thousands, so its exchanges are not read until they are needed.

    Attributes:
        session: As it is stored, perhaps with personal values: only for choosing the worst.
        as_of: The time and the limits by which its state is determined.
        told: Returns the session for the list, without personal values if they are to be replaced;
            with its strip, if it has one.
        picture: Returns the session for its page, likewise.
    """

    session: Session
    as_of: AsOf
    told: Callable[[], Session]
    picture: Callable[[], Picture]

    @property
    def badness(self) -> tuple[bool, int, int, int]:
        """How bad it is, for choosing the worst: greater is worse."""
        counts = self.session.finding_counts(self.as_of)
        has_failed = self.session.state(self.as_of) is SessionState.FAILED
        return has_failed or counts.error > 0, counts.error, counts.warning, counts.info


def worst(sessions: Sequence[Reported], most: int) -> set[str]:
    """Return our ids of the worst sessions; of sessions that are as bad as each other, the newest.

    Args:
        most: How many at most.
    """
    chosen = heapq.nlargest(most, sessions, key=lambda each: (each.badness, each.session.started_at))
    return {each.session.id for each in chosen}


def of_held(
    held: HeldSession,
    as_of: AsOf,
    policy: Policy,
    change: Pseudonymiser | None = None,
    *,
    is_judged: bool = False,
) -> Reported:
    """Return a session out of a file for a report; unlike one in a store, it is judged at once.

    Args:
        change: Replaces its personal values, before it is judged: messages of findings quote values.
        is_judged: Whether its counts are those of its findings already.
    """
    if not is_judged:
        counts = FindingCounts().plus(judge_held(held, policy).findings)
        held = replace(held, session=replace(held.session, findings=counts))
    as_of = replace(as_of, unclosed=FindingCounts())  # that would be among its findings

    def clean() -> HeldSession:
        if change is None:
            return held
        session, exchanges = masked(held.session, held.exchanges, change)
        written = held.written
        if written is not None and not held.session.pseudonymised:
            written = change.request(Request(method="POST", path="/", body=written)).body
        return replace(held, session=session, exchanges=tuple(exchanges), written=written)

    def picture() -> Picture:
        shown = clean()
        return judged_picture(shown.session, shown.exchanges, judge_held(shown, marking(policy)), as_of)

    def told() -> Session:
        return replace(clean().session, strip=strip_of(picture()).text)

    return Reported(session=held.session, as_of=as_of, told=told, picture=picture)


def judged_picture(
    session: Session, exchanges: Sequence[Exchange], judgement: Judgement, as_of: AsOf, gaps: Sequence[Loss] = ()
) -> Picture:
    """Return the picture of a session that was judged anew, as a whole and exchange by exchange.

    Args:
        exchanges: In the order of arrival.
        gaps: What was lost of it.
    """
    of_session, found = _apart(judgement.of_exchanges, exchanges)
    return picture_of(
        replace(session, findings=FindingCounts().plus(judgement.findings)),
        exchanges,
        found,
        replace(judgement, of_session=(*judgement.of_session, *of_session)),
        replace(as_of, unclosed=FindingCounts()),  # already among the session's findings
        gaps,
    )


def _apart(
    findings: Iterable[Finding], exchanges: Sequence[Exchange]
) -> tuple[list[Finding], dict[str, list[Finding]]]:
    """Return findings that have no place, and the others by the ids of their exchanges."""
    whole: list[Finding] = []
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.seq is None:
            whole.append(finding)
        else:
            found.setdefault(exchanges[finding.seq - 1].id, []).append(finding)
    return whole, found
