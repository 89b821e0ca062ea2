"""Judge a recorded session, one exchange at a time and as a whole, while its exchanges stream by."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from datetime import datetime

from proxy_addon.core.exchange import BodyState, Exchange
from proxy_addon.core.findings import Finding, Holes, Judgement
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import SessionJudge, as_of, events_of, facts_of, is_batch, withheld
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.sessions import Session

_VOCABULARY = Vocabulary()


class SessionWatch:
    """Judges a recorded session, one exchange at a time and as a whole, while its exchanges stream by."""

    def __init__(
        self,
        session: Session,
        now: datetime,
        policy: Policy = DEFAULT,
        vocabulary: Vocabulary | None = _VOCABULARY,
        *,
        closed: bool = False,
        opened_beside: str | None = None,
    ) -> None:
        """Watch a session.

        Args:
            now: The time by which an unfinished session may have run into a timeout.
            vocabulary: What its events may contain; None to judge no exchange by itself, but the session alone.
            closed: Treat an unfinished session as over, whatever the time.
            opened_beside: Our id of another session of the same playback; see `storage.sessions.opened_beside`.
        """
        self._session = session
        self._closed = closed
        self._is_over = session.is_over(as_of(now, policy)) or (closed and not session.failed)
        self._policy = policy
        self._vocabulary = vocabulary
        self._opened_beside = opened_beside
        self._plan = None if policy.plan is None else policy.plan.judge(session, policy)
        self._judge: SessionJudge | None = None
        self._found: list[Finding] = []
        self._seq = self._requests = self._unknown = self._truncated = 0
        self._is_batch = False

    def go_on(self, session: Session, now: datetime, *, opened_beside: str | None = None) -> bool:
        """Watch the same session as it is later, so that only the exchanges that follow have to be judged.

        Returns:
            Whether that is possible; if not, what is known of it otherwise has changed, and all have to be judged anew.
        """
        before, then = (
            facts_of(each, is_batch=self._is_batch, opened_beside=beside)
            for each, beside in ((self._session, self._opened_beside), (session, opened_beside))
        )
        self._session, self._opened_beside = session, opened_beside
        self._is_over = session.is_over(as_of(now, self._policy)) or (self._closed and not session.failed)
        return before == then

    def judging(self, exchanges: Iterable[Exchange]) -> Generator[Exchange]:
        """Yield a session's exchanges, which must come in the order of arrival, and judge them.

        After `go_on`, these are the ones that follow those before.
        """
        for exchange in exchanges:
            self._seq = seq = self._seq + 1
            if self._vocabulary is not None:
                findings = judge_exchange(exchange, self._policy, self._vocabulary)
                self._found += [replace(finding, seq=seq) for finding in findings]
            if self._plan is not None:
                self._found += self._plan.take(exchange, seq)
            if exchange.route.operation in TRACKING:
                self._requests += 1
                state = exchange.request.body_state
                self._truncated += state is BodyState.TRUNCATED
                self._unknown += not state.is_known and state is not BodyState.TRUNCATED
            for event in events_of(exchange, seq):
                if self._judge is None:
                    self._is_batch = is_batch(exchange)
                    facts = facts_of(self._session, is_batch=self._is_batch, opened_beside=self._opened_beside)
                    self._judge = SessionJudge(facts, self._policy)
                self._judge.add(event)
            yield exchange

    def judgement(self) -> Judgement:
        """Return all findings; call it when all exchanges were yielded."""
        of_session = self._judge.findings(is_over=self._is_over) if self._judge else []
        of_plan, deviations = ([], {}) if self._plan is None else self._plan.judgement(is_over=self._is_over)
        return Judgement(
            of_exchanges=tuple(self._found),
            of_session=(*of_session, *of_plan),
            holes=self._holes(),
            deviations=deviations,
            plan_groups=() if self._plan is None else self._plan.groups,
        )

    def _holes(self) -> Holes | None:
        if not self._session.has_holes or self._is_batch:
            return None
        rules = withheld(self._policy)
        if not rules:
            return None
        return Holes(
            bodies=self._unknown,
            requests=self._requests,
            rules=rules,
            truncated=self._truncated,
            lost=self._session.lost,
        )
