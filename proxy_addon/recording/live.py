"""Findings of sessions that are going on: worked out beside the recording, written when they change.

One thread of its own takes what was stored. It keeps the state of sessions that are alive, and no others; where it
has not seen all of one, because the recorder was started anew or another one writes into the store too, it reads the
session from the store. A walk through a whole session that keeps being needed is put off for a moment that grows with
its cost, so that no session can keep the recorder busy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.judging import SessionFacts, SessionJudge, events_of, facts_of, is_batch
from proxy_addon.core.policy import Policy
from proxy_addon.core.sessions import IDLE_TIMEOUT, Session
from proxy_addon.errors import SessiontapeError
from storage import exchanges, findings, sessions
from storage.engine import Store
from storage.saving import Touched

logger = logging.getLogger(__name__)

LINGER_S = 0.1
"""How long news waits for company: to wake a thread costs more than to judge an event."""
REST = 20
"""After a walk through a whole session, so many times as long passes before the next one of it."""
LONGEST_REST_S = 30.0
RETRY_S = 1.0
"""Pause after the store could not be reached."""
ENDED_IS_KEPT = timedelta(seconds=60)
"""How long a session is remembered that has ended: its last events may come late."""
MOST = 10_000
"""Sessions whose state is kept at most; the one that was quiet for longest is forgotten first."""


@dataclass(slots=True)
class _Live:
    """A session that is alive.

    Attributes:
        session: As it was stored last.
        judge: None until the session has been read.
        exchanges: How many exchanges the judge has seen.
        fresh: Exchanges that it has not seen yet.
        told: What was written last; None before.
        grown: What is known now, where that is the same findings with higher counts; written with the next change.
        rests_until_s: No walk through the whole session before then.
    """

    session: Session
    judge: SessionJudge | None = None
    exchanges: int = 0
    latest_at: datetime | None = None
    is_batch: bool = False
    fresh: list[Exchange] = field(default_factory=list)
    told: list[Finding] | None = None
    grown: list[Finding] | None = None
    rests_until_s: float = 0.0


class LiveJudge:
    """Keeps the findings of sessions as a whole up to date."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy
        self._waiting: list[Touched] = []
        self._changed = threading.Condition()
        self._closing = False
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._due: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="sessiontape-judge", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def see(self, touched: Iterable[Touched]) -> None:
        """Tell of sessions that were stored. Never blocks."""
        with self._changed:
            if not self._waiting:
                self._changed.notify()
            self._waiting.extend(touched)

    def close(self, timeout_s: float) -> None:
        """Bring up to date what is waiting, for so long at most, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._closing:
                    self._changed.wait(self._until_due_s())
                self._changed.wait_for(lambda: self._closing, LINGER_S)
                touched, self._waiting = self._waiting, []
                closing = self._closing
            for each in touched:
                self._take(each)
            now_s = time.monotonic()
            for id in [id for id, due_s in self._due.items() if due_s <= now_s or closing]:
                self._bring_up_to_date(id, closing=closing)
            self._forget()
            if closing:
                for live in self._live.values():
                    self._write_grown(live)
                return

    def _until_due_s(self) -> float | None:
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _take(self, touched: Touched) -> None:
        live = self._live.setdefault(touched.session.id, _Live(touched.session))
        live.session = touched.session
        live.fresh.extend(touched.exchanges)
        self._live.move_to_end(touched.session.id)
        self._due.setdefault(touched.session.id, 0.0)

    def _bring_up_to_date(self, id: str, *, closing: bool) -> None:
        live = self._live[id]
        started_s = time.monotonic()
        walks = self._adds(live)
        if walks and started_s < live.rests_until_s and not closing:
            self._due[id] = live.rests_until_s
            return
        try:
            self._judge(live)
        except SessiontapeError as e:
            logger.debug(f"findings of session {id} have to wait: {e}")
            self._due[id] = started_s + RETRY_S
            return
        except Exception:
            # The recording goes on whatever happens here; `check` will meet the same session with a user before it.
            logger.exception(f"the rules over session {id} failed")
        del self._due[id]
        if walks:
            took_s = time.monotonic() - started_s
            live.rests_until_s = time.monotonic() + min(LONGEST_REST_S, REST * took_s)

    def _adds(self, live: _Live) -> bool:
        """Add what is fresh where that is all that is new; tell whether a walk through the whole session is needed."""
        judge, session = live.judge, live.session
        if judge is None and len(live.fresh) == session.exchanges:
            judge = live.judge = SessionJudge(self._facts(live, live.fresh), self._policy)
        if judge is None or live.exchanges + len(live.fresh) != session.exchanges:
            return True
        fresh = sorted(live.fresh, key=lambda exchange: exchange.received_at)
        overtaken = live.latest_at is not None and fresh and fresh[0].received_at < live.latest_at
        if overtaken or judge.facts != self._facts(live, fresh):
            return True
        self._add(live, judge, fresh)
        live.fresh = []
        return judge.is_stale

    def _judge(self, live: _Live) -> None:
        if live.judge is None or live.fresh:
            self._read(live)
        assert live.judge is not None
        found = live.judge.findings(is_over=live.session.is_over(datetime.now(UTC)))
        if _kinds(found) == _kinds(live.told or []):
            # Some rules find each event of a session, as that a clock is wrong: no reason to write at each event.
            live.grown = found if found != live.told else None
            return
        self._write(live, found)

    def _write(self, live: _Live, found: list[Finding]) -> None:
        with self._store.write() as db:
            findings.replace_of_session(db, live.session.id, found)
        live.told, live.grown = found, None

    def _write_grown(self, live: _Live) -> None:
        if live.grown is not None:
            try:
                self._write(live, live.grown)
            except SessiontapeError as e:
                logger.debug(f"counts of findings of session {live.session.id} are not up to date: {e}")

    def _read(self, live: _Live) -> None:
        """Read a session from the store, all of it."""
        with self._store.read() as db:
            current = sessions.get(db, [live.session.id])
            recorded = list(exchanges.of_session(db, live.session.id))
            told = findings.of_session(db, live.session.id)
        live.session = current[0] if current else live.session
        live.is_batch, live.exchanges, live.latest_at = False, 0, None
        judge = live.judge = SessionJudge(self._facts(live, recorded), self._policy)
        self._add(live, judge, recorded)
        live.fresh = []
        live.told = told

    def _add(self, live: _Live, judge: SessionJudge, found: list[Exchange]) -> None:
        for exchange in found:
            live.exchanges += 1
            live.latest_at = exchange.received_at
            for event in events_of(exchange, live.exchanges):
                judge.add(event)

    def _facts(self, live: _Live, found: list[Exchange]) -> SessionFacts:
        live.is_batch = live.is_batch or any(is_batch(exchange) for exchange in found)
        return facts_of(live.session, is_batch=live.is_batch)

    def _forget(self) -> None:
        """Forget sessions that are no longer alive."""
        now = datetime.now(UTC)
        while self._live:
            id, live = next(iter(self._live.items()))
            quiet = now - live.session.last_event_at
            over = quiet > (ENDED_IS_KEPT if live.session.is_over(now) else IDLE_TIMEOUT)
            if id in self._due or not (over or len(self._live) > MOST):
                return
            self._write_grown(live)
            del self._live[id]


def _kinds(found: list[Finding]) -> list[tuple[str, Severity]]:
    return [(finding.rule, finding.severity) for finding in found]
