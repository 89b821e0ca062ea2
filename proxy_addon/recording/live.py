"""Keep the findings of live sessions up to date, and judge large bodies, in a thread of its own.

The thread is told what was stored. It keeps the state of live sessions only. It reads from the store what it has not
seen of a session, because the recorder was restarted or another one writes to the same store. Findings are written when
they change.

A transaction that stores exchanges also marks the sessions and exchanges that still have to be judged. If a recorder is
killed, the next one first judges what is marked.

No failure ends the thread. What it failed on keeps its mark and is left to the next recorder.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import CHECKER_FAILED, Finding, Severity
from proxy_addon.core.judging import net
from proxy_addon.core.judging.sessions import SessionJudge, events_of, facts_of, is_batch
from proxy_addon.core.sessions import IDLE_TIMEOUT, AsOf, Session
from proxy_addon.errors import SessiontapeError
from proxy_addon.process import logs
from proxy_addon.recording.inspecting import Inspector
from proxy_addon.recording.watching import NOBODY_WATCHES, Watcher
from storage import exchanges, findings, sessions
from storage.engine import Store
from storage.saving import Saved, Touched

logger = logs.logger(__name__)

LINGER_S = 0.1
"""How long to wait for more exchanges before judging: waking a thread costs more than judging an event."""
REST = 4
"""After catching up on a session, wait four times the time it took."""
RETRY_S = 1.0
"""Pause after the store could not be reached."""
FIRST_EVENT_S = 10.0
"""How long a session is young; until then, it does not matter that it has no event."""
ENDED_IS_KEPT = timedelta(seconds=60)
"""How long a session is kept after its end, because its last events may come late."""
MOST = 10_000
"""How many sessions are kept at most; the one that was quiet for longest is forgotten first."""
_FORGOTTEN_AT_ONCE = 100
_FORGOTTEN_FOR_S = 10.0
"""The marks of forgotten sessions are removed together: after this number of sessions, or this time."""


@dataclass(slots=True)
class _Live:
    """A live session.

    Attributes:
        session: The session as it was last stored.
        judge: Has seen the exchanges in `known`, by arrival.
        known: Time of arrival and id of each exchange that ``judge`` has seen, sorted.
        fresh: Exchanges that ``judge`` has not seen yet.
        told: The findings last written; None if unknown.
        named: The findings last reported to the audience, by the id of the exchange that they name.
        grown: The current findings, if only their counts have grown; written with the next change.
        rests_until_s: Do not catch up before this time.
        is_young: An event may still come soon.
        opened_beside: See `storage.sessions.opened_beside`.
    """

    session: Session
    judge: SessionJudge
    known: list[tuple[datetime, str]] = field(default_factory=list)
    is_batch: bool = False
    fresh: list[Exchange] = field(default_factory=list)
    told: list[Finding] | None = None
    grown: list[Finding] | None = None
    named: dict[str, list[Finding]] = field(default_factory=dict)
    rests_until_s: float = 0.0
    is_young: bool = True
    opened_beside: str | None = None

    def hear(self) -> bool:
        """Judge the fresh exchanges; return whether all exchanges of the session are known."""
        for exchange in self.fresh:
            self.add(exchange)
        self.fresh = []
        return len(self.known) >= self.session.exchanges

    def add(self, exchange: Exchange) -> None:
        """Judge an exchange, inserted by its time of arrival."""
        key = (exchange.received_at, exchange.id)
        place = bisect(self.known, key)
        if place and self.known[place - 1] == key:
            return
        if place < len(self.known):
            self.judge.make_room(place + 1)
        self.known.insert(place, key)
        self.is_batch = self.is_batch or is_batch(exchange)
        for event in events_of(exchange, place + 1):
            self.judge.add(event)

    def findings(self) -> list[Finding]:
        """Return its findings so far; `Session.finding_counts` adds the one for a session that expires."""
        facts = facts_of(self.session, is_batch=self.is_batch, opened_beside=self.opened_beside)
        if self.judge.facts != facts:
            self.judge = self.judge.under(facts)
        return self.judge.findings(is_over=self.session.is_closed)

    def newly_named(self, found: Sequence[Finding]) -> dict[str, list[Finding]]:
        """Return the findings that name exchanges, by exchange id, where they differ from those reported before."""
        named: dict[str, list[Finding]] = {}
        for finding in found:
            alone = replace(finding, count=1, others=(), until_seq=None)  # growth alone is not reported
            for seq in dict.fromkeys(place.seq for place in finding.places):
                named.setdefault(self.known[seq - 1][1], []).append(alone)
        before, self.named = self.named, named
        changed = {id: said for id, said in named.items() if said != before.get(id)}
        return {**{id: [] for id in before if id not in named}, **changed}


class Audience(Protocol):
    """Gets findings, from a thread of ours."""

    def tell_of_exchange(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        """Get the findings of an exchange that was stored before it was judged."""

    def tell_of_session(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        """Get the session's findings that name exchanges, by exchange id, for those where they have changed."""


class LiveJudge:
    """Keeps the findings of sessions as a whole up to date, and judges exchanges with large bodies."""

    def __init__(
        self, store: Store, inspector: Inspector, audience: Audience, watcher: Watcher = NOBODY_WATCHES
    ) -> None:
        """Make a judge; `start` starts its thread."""
        self._store = store
        self._inspector = inspector
        self._audience = audience
        self._watcher = watcher
        self._waiting: list[Saved] = []
        self._changed = threading.Condition()
        self._closing = False
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._due: dict[str, float] = {}
        self._young: deque[tuple[float, str]] = deque()
        self._unjudged: deque[str] = deque()
        self._left_behind: deque[str] | None = None
        self._forgotten: list[tuple[str, int]] = []
        self._forgets_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="sessiontape-judge", daemon=True)

    def start(self) -> None:
        """Start the thread, which begins with what an earlier recorder has left."""
        self._thread.start()

    def see(self, saved: Saved) -> None:
        """Queue what was stored for judging. Never blocks."""
        with self._changed:
            if not self._waiting:
                self._changed.notify()
            self._waiting.append(saved)

    def close(self, timeout_s: float) -> None:
        """Judge what is waiting, for at most ``timeout_s``, and stop."""
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
                if not self._unjudged and not self._left_behind:
                    self._changed.wait_for(lambda: self._closing, LINGER_S)
                waiting, self._waiting = self._waiting, []
                closing = self._closing
            for saved in waiting:
                self._unjudged.extend(saved.unjudged)
                for touched in saved.touched:
                    self._net("taking up a session", touched.session.id, self._take, touched)
            now_s = time.monotonic()
            while self._young and (self._young[0][0] <= now_s or closing):
                self._grow_up(self._young.popleft()[1])
            for id in [id for id, due_s in self._due.items() if due_s <= now_s or closing]:
                if not self._net("judging a session", id, self._bring_up_to_date, id, closing=closing):
                    self._start_anew(id, now_s)
            self._net("forgetting sessions", "those that are over", self._forget)
            if not closing:
                self._work_off_one()
                continue
            while self._unjudged and self._judge_one():
                pass
            for live in self._live.values():
                self._net("writing findings", live.session.id, self._write_grown, live)
            self._forgotten += [(id, len(live.known)) for id, live in self._live.items() if id not in self._due]
            self._net("unmarking sessions", "those that were judged", self._take_marks)
            return

    def _net[**P](self, what: str, where: str, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Do a piece of work; return whether it succeeded. A failure is counted and does not stop the thread."""
        try:
            work(*args, **kwargs)
        except Exception as e:  # noqa: BLE001  # the recording goes on, and so does the judging of the rest
            self._inspector.failures.of_ours(what, where, e)
            return False
        return True

    def _until_due_s(self) -> float | None:
        """Return for how many seconds there is nothing to do; None until something is stored."""
        if self._unjudged or self._left_behind:
            return 0.0
        due = [
            *self._due.values(),
            *(due_s for due_s, _ in islice(self._young, 1)),
            *([self._forgets_at_s] if self._forgotten or self._left_behind is None else []),
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _take(self, touched: Touched) -> None:
        session = touched.session
        live = self._live.get(session.id)
        if live is None:
            live = self._live[session.id] = self._begun(session)
            age_s = (datetime.now(UTC) - session.started_at).total_seconds()
            self._young.append((time.monotonic() + max(0.0, FIRST_EVENT_S - age_s), session.id))
        if session.exchanges >= live.session.exchanges:
            live.session = session
        live.fresh.extend(touched.exchanges)
        self._live.move_to_end(session.id)
        self._due.setdefault(session.id, 0.0)

    def _begun(self, session: Session) -> _Live:
        return _Live(session, SessionJudge(facts_of(session, is_batch=False), self._inspector.policy))

    def _grow_up(self, id: str) -> None:
        """Judge a session without events once more, because by now an event should have come."""
        live = self._live.get(id)
        if live is not None:
            live.is_young = False
            if live.session.events <= 1:
                self._due.setdefault(id, 0.0)

    def _look_beside(self, live: _Live) -> None:
        if live.is_young or live.session.events > 1:
            live.opened_beside = None
        else:
            with self._store.read() as db:
                live.opened_beside = sessions.opened_beside(db, live.session)

    def _start_anew(self, id: str, since_s: float) -> None:
        """Forget the state of a session whose judging failed; with its next event, it is read from the store."""
        self._due.pop(id, None)
        live = self._live[id] = self._begun(self._live[id].session)
        now_s = time.monotonic()
        live.rests_until_s = now_s + REST * (now_s - since_s)

    def _bring_up_to_date(self, id: str, *, closing: bool) -> None:
        live = self._live[id]
        started_s = time.monotonic()
        try:
            has_all = live.hear()
            goes_back = not has_all or live.judge.is_behind
            if goes_back and started_s < live.rests_until_s and not closing:
                self._due[id] = live.rests_until_s
                return
            if not has_all:
                self._read(live)
            self._look_beside(live)
            self._judge(live)
        except SessiontapeError as e:
            logger.debug(f"findings of session {id} are delayed: {e}")
            self._due[id] = started_s + RETRY_S
            return
        del self._due[id]
        if goes_back:
            done_s = time.monotonic()
            live.rests_until_s = done_s + REST * (done_s - started_s)

    def _judge(self, live: _Live) -> None:
        found = live.findings()
        named = live.newly_named(found)
        if named:
            self._audience.tell_of_session(named)
        if _kinds(found) == _kinds(live.told or []):
            # Some findings grow with each event, such as a wrong clock; do not write them at each event.
            live.grown = found if found != live.told else None
            return
        self._write(live, found)

    def _write(self, live: _Live, found: list[Finding]) -> None:
        with self._store.write() as db:
            findings.replace_of_session(db, live.session.id, found)
        known = _kinds(live.told or [])
        new = [finding for finding in found if _kind(finding) not in known]
        self._inspector.failures.of_rules(new, f"session {live.session.id}")
        live.told, live.grown = found, None
        self._watcher.found_of_session(live.session, new)

    def _write_grown(self, live: _Live) -> None:
        if live.grown is not None:
            try:
                self._write(live, live.grown)
            except SessiontapeError as e:
                logger.debug(f"counts of findings of session {live.session.id} are not up to date: {e}")

    def _read(self, live: _Live) -> None:
        """Read the unknown exchanges of a session from the store."""
        with self._store.read() as db:
            current = sessions.get(db, [live.session.id])
            known = set(live.known)
            unknown = [id for at, id in exchanges.keys_of_session(db, live.session.id) if (at, id) not in known]
            for exchange in exchanges.get(db, unknown):
                live.add(exchange)
            if live.told is None:
                live.told = findings.of_session(db, live.session.id)
        live.session = current[0] if current else live.session

    def _work_off_one(self) -> None:
        """Do one piece of less urgent work: what an earlier recorder has left, or a large body."""
        if self._left_behind is None:
            if time.monotonic() >= self._forgets_at_s:
                self._forgets_at_s = time.monotonic() + RETRY_S
                self._net("looking for what is due", "the store", self._find_left_behind)
        elif self._left_behind:
            id = self._left_behind.popleft()
            self._net("taking up a session", id, self._take_up, id)
        elif self._unjudged:
            self._judge_one()

    def _find_left_behind(self) -> None:
        try:
            with self._store.read() as db:
                due, unjudged = sessions.findings_due(db), findings.unjudged(db)
        except SessiontapeError as e:
            logger.debug(f"cannot read which findings are due: {e}")
            return
        known = set(self._unjudged)
        self._unjudged.extend(id for id in unjudged if id not in known)
        self._left_behind = deque(due)

    def _take_up(self, id: str) -> None:
        """Take over a session from an earlier recorder."""
        try:
            with self._store.read() as db:
                found = sessions.get(db, [id])
        except SessiontapeError as e:
            logger.debug(f"findings of session {id} are delayed: {e}")
            return  # its mark stays
        for session in found:
            if id not in self._live:
                self._take(Touched(session=session, exchanges=[]))
                self._live.move_to_end(id, last=False)  # so that it is forgotten soon unless it continues

    def _judge_one(self) -> bool:
        """Judge one exchange that was stored before it was judged; return False if it has to wait for the store."""
        id = self._unjudged.popleft()
        self._net("judging a large body", f"exchange {id}", self._judge_stored, id)
        return not self._unjudged or self._unjudged[0] != id

    def _judge_stored(self, id: str) -> None:
        try:
            with self._store.read() as db:
                exchange = next(exchanges.get(db, [id]), None)
            if exchange is None:
                return  # its session was deleted
            found = self._inspector.findings(exchange)
            with self._store.write() as db:
                findings.replace_of_exchange(db, id, found)
        except SessiontapeError as e:
            logger.debug(f"findings of exchange {id} are delayed: {e}")
            self._unjudged.appendleft(id)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, RETRY_S)
        else:
            self._audience.tell_of_exchange(id, found)
            self._watcher.found_of_exchange(exchange, found)

    def _forget(self) -> None:
        """Forget sessions that are no longer live."""
        now = datetime.now(UTC)
        while self._live:
            id, live = next(iter(self._live.items()))
            quiet = now - live.session.last_event_at
            over = quiet > (ENDED_IS_KEPT if live.session.is_over(AsOf(now=now)) else IDLE_TIMEOUT)
            if id in self._due or not (over or len(self._live) > MOST):
                break
            del self._live[id]
            self._write_grown(live)
            if not self._forgotten:
                self._forgets_at_s = time.monotonic() + _FORGOTTEN_FOR_S
            self._forgotten.append((id, len(live.known)))
        if len(self._forgotten) >= _FORGOTTEN_AT_ONCE or (self._forgotten and time.monotonic() >= self._forgets_at_s):
            self._take_marks()

    def _take_marks(self) -> None:
        """Remove the marks from forgotten sessions."""
        forgotten, self._forgotten = self._forgotten, []
        try:
            with self._store.write() as db:
                findings.no_longer_due(db, forgotten)
        except SessiontapeError as e:
            logger.debug(f"marks of sessions stay: {e}")  # the next recorder judges these sessions again


def _kinds(found: list[Finding]) -> list[tuple[str, Severity, str]]:
    return [_kind(finding) for finding in found]


def _kind(finding: Finding) -> tuple[str, Severity, str]:
    return finding.rule, finding.severity, net.kind(finding) if finding.rule == CHECKER_FAILED else ""
