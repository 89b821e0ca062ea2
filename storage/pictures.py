"""Sessions in the store as reports draw them: judged anew, without personal values unless they are asked for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.sessions import masked, masked_loss
from proxy_addon.core.sessions import FindingCounts, Session
from proxy_addon.core.timelines.pictures import Picture, marking
from proxy_addon.core.timelines.reported import Reported, judged_picture
from storage import exchanges, losses
from storage.judging import Judging


class Pictures:
    """Draws sessions of a store, one at a time."""

    def __init__(
        self,
        db: Connection,
        policy: Policy,
        now: datetime,
        change: Pseudonymiser | None = None,
        *,
        closed: bool = False,
    ) -> None:
        """Draw sessions of a store.

        Args:
            now: The time by which unfinished sessions may have run into a timeout.
            change: Replaces personal values before anything is judged, because messages of findings quote values; None
                to keep them.
            closed: Judge unfinished sessions as over.
        """
        self._db = db
        self._judging = Judging(db, marking(policy), now, closed=closed)
        self._as_of = as_of(now, policy)
        self._change = change

    def reported(self, session: Session, *, is_judged: bool = False) -> Reported:
        """Return a session for a report; the store must stay open until the report is written.

        Args:
            is_judged: Whether its counts are those of all findings; by default, they are as stored.
        """
        return Reported(
            session=session,
            as_of=replace(self._as_of, unclosed=FindingCounts()) if is_judged else self._as_of,
            told=lambda: self._told(session),
            picture=lambda: self._picture(session),
        )

    def _told(self, session: Session) -> Session:
        if self._change is None:
            return session
        with closing(exchanges.of_session(self._db, session.id)) as recorded:
            return masked(session, recorded, self._change)[0]

    def _picture(self, session: Session) -> Picture:
        recorded = exchanges.of_session(self._db, session.id)
        gaps = losses.of_session(self._db, session.id) if session.lost else []
        with closing(recorded):
            if self._change is None:
                shown, kept = session, list(recorded)
            else:
                shown, changed = masked(session, recorded, self._change)
                kept = list(changed)
                if not session.pseudonymised:
                    gaps = [masked_loss(loss, self._change) for loss in gaps]
        watch = self._judging.watch(session)
        for _ in watch.judging(kept):
            pass
        return judged_picture(shown, kept, watch.judgement(), self._as_of, gaps)
