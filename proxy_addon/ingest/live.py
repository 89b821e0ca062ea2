"""Keep the findings of live sessions up to date, in the transactions that store their exchanges.

The state of live sessions only is kept. What is not known of a session is read from the store, because its beginning was
filed by an earlier process, or by another one that files for other recorders. Findings are written when they change.

A session whose findings are not complete when a transaction ends is marked in it: its player may still send the event that
it lacks, counts have grown, or it takes long to judge. Whoever files next begins with what is marked. A failure to judge a
session leaves its mark, and disturbs nothing else.

After a transaction that was rolled back, make a new judge: this one knows what was never stored.

It also draws the strips of sessions (`proxy_addon.core.timelines.strips`), as it is the only one who has seen all of a
session while it grows. An event costs a few microseconds then; to draw and write a strip costs ten times as much, so that
is done when the session is closed or forgotten, and before only as often as somebody who looks at the list would notice.
"""

from __future__ import annotations

import math
import time
from bisect import bisect
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from proxy_addon.core.audits.arrivals import microseconds
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import CHECKER_FAILED, Finding, Place, Severity, Verdict
from proxy_addon.core.judging import net
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import SessionJudge, events_of, facts_of, is_batch
from proxy_addon.core.sessions import IDLE_TIMEOUT, AsOf, Session
from proxy_addon.core.timelines.strips import Drawing, Strip, StripWatch, ticks_of
from proxy_addon.errors import SessiontapeError
from proxy_addon.process.failures import Failures
from storage import exchanges, findings, sessions
from storage.engine import REFUSALS, Store
from storage.saving import Touched

if TYPE_CHECKING:
    from sqlalchemy import Connection

REST = 4
"""After catching up on a session, wait four times the time it took."""
FIRST_EVENT_S = 10.0
"""How long a session is young; until then, it does not matter that it has no event."""
ENDED_IS_KEPT = timedelta(seconds=60)
"""How long a session is kept after its end, because its last events may come late."""
MOST = 10_000
"""How many sessions are kept at most; the one that was quiet for longest is forgotten first."""
DRAWN_AFTER_S = 5.0, 30.0
"""How soon the strip of an open session in which something happened is drawn again: the older it is, the later."""
LULL_S = 15.0
"""After this long without an event, what is left to draw is drawn; pings come more often."""


@dataclass(slots=True)
class _Live:
    """A live session.

    Attributes:
        session: The session as it was last stored.
        judge: Has seen the exchanges in `known`, by arrival.
        known: Time of arrival and id of each exchange that ``judge`` has seen, sorted.
        fresh: Exchanges that ``judge`` has not seen yet.
        told: The findings in the store; None if unknown.
        named: The findings last told to those who record, by the id of the exchange that they name.
        grown: The current findings, if only their counts have grown; written with the next change.
        rests_until_s: Do not catch up before this time.
        is_young: An event may still come soon.
        has_failed: Judging it has failed, and not succeeded since.
        is_marked: Whether the store marks its findings as due; None if unknown.
        opened_beside: See `storage.sessions.opened_beside`.
        drawing: Has seen what `judge` has.
        drawn: Its strip as it is stored; None if unknown.
        drawn_s: When that was drawn.
        drawn_of: How many exchanges it had then.
        is_drawn: Whether nothing has happened since.
    """

    session: Session
    judge: SessionJudge
    known: list[tuple[datetime, str]] = field(default_factory=list)
    is_batch: bool = False
    fresh: list[tuple[Exchange, Verdict]] = field(default_factory=list)
    told: list[Finding] | None = None
    grown: list[Finding] | None = None
    named: dict[str, list[Finding]] = field(default_factory=dict)
    rests_until_s: float = 0.0
    is_young: bool = True
    has_failed: bool = False
    is_marked: bool | None = None
    opened_beside: str | None = None
    drawing: Drawing = field(default_factory=Drawing)
    drawn: str | None = None
    drawn_s: float = -math.inf
    drawn_of: int = 0
    is_drawn: bool = False

    def hear(self) -> bool:
        """Judge the fresh exchanges; return whether all exchanges of the session are known."""
        if not self.known and len(self.fresh) < self.session.exchanges:
            self.fresh = []  # they will be read with those before them, in order, which is much cheaper
            return False
        for exchange, found in self.fresh:
            self.add(exchange, found)
        self.fresh = []
        return len(self.known) >= self.session.exchanges

    def add(self, exchange: Exchange, found: Verdict = None) -> None:
        """Judge an exchange, inserted by its time of arrival.

        Args:
            found: What was found in it by itself.
        """
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
        self.drawing.add(exchange, found)
        self.is_drawn = False

    def knows(self, exchange: Exchange) -> bool:
        """Whether it has judged an exchange."""
        key = (exchange.received_at, exchange.id)
        place = bisect(self.known, key)
        return place > 0 and self.known[place - 1] == key

    def is_worth_drawing(self, now_s: float) -> bool:
        """Whether its strip has become so different that it should be drawn again."""
        drawing = self.drawing
        if self.session.is_closed:
            return not self.is_drawn
        if drawing.is_behind:  # then it has to be read, which must not cost the square of its events
            return len(self.known) >= 2 * self.drawn_of
        soonest_s, latest_s = DRAWN_AFTER_S
        rested_s = now_s - self.drawn_s
        if rested_s < soonest_s:
            return False
        return drawing.has_grown or (drawing.has_news and rested_s >= min(latest_s, drawing.length_ms / 4000))

    @property
    def current(self) -> Sequence[Finding]:
        """The findings of it as a whole, as they were judged last."""
        return (self.told if self.grown is None else self.grown) or ()

    def strip(self) -> Strip:
        """Return its strip, drawn from what was followed."""
        return self.drawing.strip(ticks_of(self.current, self._time_of))

    def is_drawn_now(self, now_s: float) -> None:
        """Note that its strip is drawn."""
        self.drawing.is_drawn()
        self.drawn_s, self.drawn_of, self.is_drawn = now_s, len(self.known), True

    def _time_of(self, place: Place) -> int | None:
        ts_ms = self.judge.ts_ms(place)
        if ts_ms is not None or not 0 < place.seq <= len(self.known):
            return ts_ms
        return microseconds(self.known[place.seq - 1][0]) // 1000

    def findings(self) -> list[Finding]:
        """Return its findings so far; `Session.finding_counts` adds the one for a session that expires."""
        facts = facts_of(self.session, is_batch=self.is_batch, opened_beside=self.opened_beside)
        if self.judge.facts != facts:
            self.judge = self.judge.under(facts)
        return self.judge.findings(is_over=self.session.is_closed)

    def newly_named(self, found: Sequence[Finding]) -> dict[str, list[Finding]]:
        """Return the findings that name exchanges, by exchange id, where they differ from those told before."""
        named: dict[str, list[Finding]] = {}
        for finding in found:
            alone = replace(finding, count=1, others=(), until_seq=None)  # growth alone is not told
            for seq in dict.fromkeys(place.seq for place in finding.places):
                named.setdefault(self.known[seq - 1][1], []).append(alone)
        before, self.named = self.named, named
        changed = {id: said for id, said in named.items() if said != before.get(id)}
        return {**{id: [] for id in before if id not in named}, **changed}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a transaction has changed, to be told once it is committed.

    Attributes:
        named: The session's findings that name exchanges, by exchange id, for those where they have changed.
        found: New findings of sessions as a whole.
    """

    named: dict[str, Sequence[Finding]] = field(default_factory=dict)
    found: list[tuple[Session, Sequence[Finding]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Late:
    """An exchange that was judged after it had been stored."""

    exchange: Exchange
    findings: Sequence[Finding]


class LiveJudge:
    """Keeps the findings of sessions as a whole up to date, and judges exchanges with large bodies."""

    def __init__(
        self, failures: Failures, inspect: Callable[[Exchange], list[Finding]], *, looks_behind: bool = True
    ) -> None:
        """Make a judge that has seen nothing.

        Args:
            inspect: Returns the findings of an exchange by itself; never fails.
            looks_behind: Whether to take up what earlier judges have left.
        """
        self._failures = failures
        self._inspect = inspect
        self._policy = DEFAULT
        self._now = datetime.now(UTC)
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._due: dict[str, float] = {}
        self._young: deque[tuple[float, str]] = deque()
        self._unjudged: deque[str] = deque()
        self._left_behind: deque[str] | None = None if looks_behind else deque()
        self._changed: dict[str, list[Finding]] = {}
        self._moved: set[str] = set()
        self._marks: dict[str, bool] = {}
        self._strips: dict[str, str] = {}
        self._undrawn: OrderedDict[str, float] = OrderedDict()  # when there may be a lull, the soonest first

    # In the transaction of a batch -------------------------------------------------------------------------------------

    def see(
        self,
        touched: Iterable[Touched],
        unjudged: Iterable[str],
        policy: Policy,
        found: Mapping[str, Verdict] = MappingProxyType({}),
    ) -> None:
        """Take up what was stored.

        Args:
            unjudged: Ids of exchanges that were stored without their findings.
            policy: How strictly to judge sessions that are not known yet.
            found: The findings of the exchanges, by exchange id; one that is not there has none.
        """
        self._policy = policy
        self._unjudged.extend(unjudged)
        for each in touched:
            self._net("taking up a session", each.session.id, self._take, each, found)

    def judge(self, db: Connection, now: datetime, *, is_settling: bool = False, is_closing: bool = False) -> Heard:
        """Write the findings that have changed, and the marks, in a transaction of `storage.engine.Store.write`.

        Args:
            now: Up to when it is known what has come. If old entries are filed, that is a time long ago.
            is_settling: Leave nothing for later but what needs an event that may still come.
            is_closing: Nothing will come any more.

        Raises:
            StorageUnavailable: The store cannot be used; so do the errors in `storage.engine.REFUSALS`.
        """
        heard = Heard()
        self._now = now
        now_s = time.monotonic()
        is_settling = is_settling or is_closing
        while self._young and (self._young[0][0] <= now_s or is_closing):
            self._grow_up(self._young.popleft()[1])
        for id in [id for id, due_s in self._due.items() if due_s <= now_s or is_settling]:
            if not self._net("judging a session", id, self._bring_up_to_date, db, id, heard, is_settling=is_settling):
                self._start_anew(id, now_s)
        while self._undrawn and next(iter(self._undrawn.values())) <= now_s:
            id, _ = self._undrawn.popitem(last=False)
            if id in self._live:
                self._net("drawing a session", id, self._draw_rest, db, id, self._live[id])
        if is_settling:
            for id, live in self._live.items():
                self._take_grown(id, live)
                self._net("drawing a session", id, self._draw_rest, db, id, live)
        for id, live in self._forget():
            self._net("drawing a session", id, self._draw_rest, db, id, live)
        if self._strips:
            sessions.draw(db, self._strips)
            self._strips = {}
        if self._changed:
            findings.replace_of_sessions(db, self._changed)
            self._changed = {}
        self._mark(db)
        return heard

    def until_due_s(self) -> float | None:
        """Return in how many seconds `judge` has something to do; None if nothing is due until more is stored."""
        due = [*self._due.values(), *(due_s for due_s, _ in islice(self._young, 1))]
        due += islice(self._undrawn.values(), 1)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def has_something_to_settle(self) -> bool:
        """Whether `judge` would find anything to do to leave nothing for later."""
        return bool(self._due) or any(live.grown is not None for live in self._live.values())

    # Between batches ---------------------------------------------------------------------------------------------------

    @property
    def has_more(self) -> bool:
        """Whether `work_off_one` has something to do."""
        return bool(self._left_behind is None or self._left_behind or self._unjudged)

    def work_off_one(self, store: Store) -> Late | None:
        """Do one piece of less urgent work: take up what an earlier process has left, or judge a large body.

        Raises:
            StorageUnavailable: The store cannot be used; the work is left for later.
        """
        if self._left_behind is None:
            self._find_left_behind(store)
        elif self._left_behind:
            id = self._left_behind[0]
            self._net("taking up a session", id, self._take_up, store, id)
            self._left_behind.popleft()
        elif self._unjudged:
            id = self._unjudged[0]
            late: list[Late] = []
            self._net("judging a large body", f"exchange {id}", self._judge_stored, store, id, late)
            self._unjudged.popleft()
            return late[0] if late else None
        return None

    # -------------------------------------------------------------------------------------------------------------------

    def _net[**P](self, what: str, where: str, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Do a piece of work; return whether it succeeded. A failure of ours is counted and disturbs nothing else."""
        try:
            work(*args, **kwargs)
        except (SessiontapeError, *REFUSALS):
            raise
        except Exception as e:  # noqa: BLE001  # filing goes on, and so does the judging of the rest
            self._failures.of_ours(what, where, e)
            return False
        return True

    def _take(self, touched: Touched, found: Mapping[str, Verdict] = MappingProxyType({})) -> None:
        session = touched.session
        live = self._live.get(session.id)
        if live is None:
            live = self._live[session.id] = self._begun(session)
            live.is_marked = False if session.exchanges == len(touched.exchanges) else None
            age_s = (self._now - session.started_at).total_seconds()
            self._young.append((time.monotonic() + max(0.0, FIRST_EVENT_S - age_s), session.id))
        if session.exchanges >= live.session.exchanges:
            live.session = session
        live.fresh.extend((exchange, found.get(exchange.id)) for exchange in touched.exchanges)
        self._live.move_to_end(session.id)
        self._due.setdefault(session.id, 0.0)

    def _begun(self, session: Session) -> _Live:
        return _Live(session, SessionJudge(facts_of(session, is_batch=False), self._policy))

    def _grow_up(self, id: str) -> None:
        """Judge a session without events once more, because by now an event should have come."""
        live = self._live.get(id)
        if live is not None:
            live.is_young = False
            if live.session.events <= 1:
                self._due.setdefault(id, 0.0)

    def _look_beside(self, db: Connection, live: _Live) -> None:
        is_early = live.is_young or live.session.events > 1
        live.opened_beside = None if is_early else sessions.opened_beside(db, live.session)

    def _start_anew(self, id: str, since_s: float) -> None:
        """Forget the state of a session whose judging failed; with its next event, it is read from the store."""
        del self._due[id]
        before = self._live[id]
        live = self._live[id] = self._begun(before.session)
        now_s = time.monotonic()
        live.rests_until_s = now_s + REST * (now_s - since_s)
        live.has_failed, live.is_marked = True, before.is_marked
        self._moved.add(id)

    def _bring_up_to_date(self, db: Connection, id: str, heard: Heard, *, is_settling: bool) -> None:
        live = self._live[id]
        started_s = time.monotonic()
        has_all = live.hear()
        goes_back = not has_all or live.judge.is_behind
        self._moved.add(id)
        if goes_back and started_s < live.rests_until_s and not is_settling:
            self._due[id] = live.rests_until_s
            return
        if not has_all:
            self._read(db, live)
        self._look_beside(db, live)
        self._judge(id, live, heard)
        live.has_failed = False
        if live.is_worth_drawing(started_s):
            self._net("drawing a session", id, self._draw, db, id, live)
        elif not live.is_drawn:
            self._undrawn[id] = started_s + LULL_S
            self._undrawn.move_to_end(id)
        del self._due[id]
        if goes_back:
            done_s = time.monotonic()
            live.rests_until_s = done_s + REST * (done_s - started_s)

    def _judge(self, id: str, live: _Live, heard: Heard) -> None:
        found = live.findings()
        heard.named.update(live.newly_named(found))
        known = _kinds(live.told or [])
        if _kinds(found) == known:
            # Some findings grow with each event, such as a wrong clock; do not write them at each event.
            live.grown = found if found != (live.told or []) else None
            return
        new = [finding for finding in found if _kind(finding) not in known]
        heard.found.append((live.session, new))
        self._change(id, live, found)

    def _draw_rest(self, db: Connection, id: str, live: _Live) -> None:
        if live.known and not live.is_drawn:
            self._draw(db, id, live)

    def _draw(self, db: Connection, id: str, live: _Live) -> None:
        self._undrawn.pop(id, None)
        if live.drawing.is_behind:
            watch = StripWatch()
            with closing(exchanges.of_session(db, id)) as stored:
                for _ in watch.watching(stored, findings.of_exchanges(db, id)):
                    pass
            strip = watch.strip(live.current)
        else:
            strip = live.strip()
        live.is_drawn_now(time.monotonic())
        if strip.text != live.drawn:
            self._strips[id] = live.drawn = strip.text

    def _change(self, id: str, live: _Live, found: list[Finding]) -> None:
        self._changed[id] = found
        live.told, live.grown, live.is_drawn = found, None, False

    def _take_grown(self, id: str, live: _Live) -> None:
        if live.grown is not None:
            self._change(id, live, live.grown)
            self._moved.add(id)

    def _read(self, db: Connection, live: _Live) -> None:
        """Read the unknown exchanges of a session from the store."""
        current = sessions.get(db, [live.session.id])
        known = set(live.known)
        unknown = [id for at, id in exchanges.keys_of_session(db, live.session.id) if (at, id) not in known]
        found = findings.of_exchanges(db, live.session.id)
        for exchange in exchanges.get(db, unknown):
            live.add(exchange, found.get(exchange.id))
        if live.told is None:
            live.told = findings.of_session(db, live.session.id)
        live.session = current[0] if current else live.session

    def _forget(self) -> list[tuple[str, _Live]]:
        """Forget sessions that are no longer live, and return them."""
        forgotten: list[tuple[str, _Live]] = []
        while self._live:
            id, live = next(iter(self._live.items()))
            quiet = self._now - live.session.last_event_at
            over = quiet > (ENDED_IS_KEPT if live.session.is_over(AsOf(now=self._now)) else IDLE_TIMEOUT)
            if id in self._due or not (over or len(self._live) > MOST):
                break
            self._take_grown(id, live)
            live.is_young = False
            self._note_mark(id, live)
            del self._live[id]
            forgotten.append((id, live))
        return forgotten

    def _mark(self, db: Connection) -> None:
        """Mark sessions whose findings are not complete, and remove the marks of those whose findings are."""
        for id in self._moved:
            live = self._live.get(id)
            if live is not None:
                self._note_mark(id, live)
        self._moved.clear()
        changed, self._marks = self._marks, {}
        findings.mark_due(db, changed)

    def _note_mark(self, id: str, live: _Live) -> None:
        is_early = live.is_young and live.session.events <= 1
        is_due = id in self._due or live.grown is not None or is_early or live.has_failed
        if is_due is not live.is_marked:
            self._marks[id] = live.is_marked = is_due

    def _find_left_behind(self, store: Store) -> None:
        with store.read() as db:
            due, unjudged = sessions.findings_due(db), findings.unjudged(db)
        known = set(self._unjudged)
        self._unjudged.extend(id for id in unjudged if id not in known)
        self._left_behind = deque(id for id in due if id not in self._live)

    def _take_up(self, store: Store, id: str) -> None:
        """Take over a session from an earlier process."""
        with store.read() as db:
            found = sessions.get(db, [id])
        for session in found:
            if id not in self._live:
                self._take(Touched(session=session, exchanges=[]))
                self._live[id].is_marked = True
                self._live.move_to_end(id, last=False)  # so that it is forgotten soon unless it continues

    def _judge_stored(self, store: Store, id: str, late: list[Late]) -> None:
        with store.read() as db:
            exchange = next(exchanges.get(db, [id]), None)
        if exchange is None:
            return  # its session was deleted
        found = self._inspect(exchange)
        with store.write() as db:
            findings.replace_of_exchange(db, id, found)
        for live in self._live.values():
            if live.knows(exchange):
                live.drawing.find(exchange, found)
                live.is_drawn = False
        late.append(Late(exchange, found))


def _kinds(found: Iterable[Finding]) -> list[tuple[str, Severity, str]]:
    return [_kind(finding) for finding in found]


def _kind(finding: Finding) -> tuple[str, Severity, str]:
    return finding.rule, finding.severity, net.kind(finding) if finding.rule == CHECKER_FAILED else ""
