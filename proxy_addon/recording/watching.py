"""Report sessions that start and end, and findings, to whoever watches a recording, as they are stored."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Verdict
from proxy_addon.core.folding import causes_first
from proxy_addon.core.news import Ended, Found, News, Started
from proxy_addon.core.routes import Operation
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.process import logs
from storage.saving import Touched

logger = logs.logger(__name__)

MOST = 10_000
"""How many sessions are remembered whose end was reported, because it is reported again only if the state changes, as
from completed to ended. Also how many exchanges are remembered that still have to be judged."""
_CLOSING = ("sessionComplete", "sessionEnd")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What this recorder has stored of a session: how many exchanges, and when the latest of them arrived."""

    exchanges: int
    latest: datetime


_NOTHING = _Seen(0, datetime.min.replace(tzinfo=UTC))


class Watcher:
    """Makes news of what was stored. Its methods never fail, so that they cannot disturb recording.

    The threads of the writer and of the judge call them; one at a time makes news.
    """

    def __init__(self, tell: Callable[[News], None] | None) -> None:
        """Make a watcher.

        Args:
            tell: Called with news, from our threads, one call at a time; it must not block. None if nobody watches.
        """
        self._lock = threading.Lock()
        self._tell = tell
        self._ended: OrderedDict[str, SessionState] = OrderedDict()
        self._unjudged: OrderedDict[str, tuple[Session | None, int | None]] = OrderedDict()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def stored(self, batch: Iterable[tuple[Exchange, Verdict]], touched: Iterable[Touched]) -> None:
        """Report the findings of stored exchanges, and the sessions that they started or ended."""
        self._each(self._of_stored(batch, touched))

    def found_of_exchange(self, exchange: Exchange, findings: Sequence[Finding]) -> None:
        """Report the findings of an exchange that this recorder stored before it was judged."""
        self._each(self._of_late(exchange, findings))

    def found_of_session(self, session: Session, findings: Iterable[Finding]) -> None:
        """Report new findings of a session as a whole."""
        self._each(
            Found(at=session.last_event_at, session=session, finding=finding) for finding in causes_first(findings)
        )

    def _each(self, news: Iterable[News]) -> None:
        if self._tell is None:
            return
        try:
            with self._lock:
                for each in news:
                    self._tell(each)
        except Exception:
            logger.exception("a line about the recording could not be printed")

    def _of_stored(self, batch: Iterable[tuple[Exchange, Verdict]], touched: Iterable[Touched]) -> Iterable[News]:
        session_of: dict[str, Session] = {}
        seqs: dict[str, int] = {}
        closed: dict[str, Session] = {}
        for each in touched:
            session_of |= dict.fromkeys((exchange.id for exchange in each.exchanges), each.session)
            seqs |= self._seqs(each)
            if each.session.exchanges == len(each.exchanges):
                yield Started(at=each.session.started_at, session=each.session)
            closing = [exchange for exchange in each.exchanges if _closes(exchange)]
            state = each.session.lasting_state
            if closing and each.session.is_closed and self._ended.get(each.session.id) is not state:
                closed[closing[-1].id] = each.session
                _remember(self._ended, each.session.id, state)
        for exchange, verdict in batch:
            session = session_of.get(exchange.id)
            seq = seqs.get(exchange.id)
            if verdict is None:
                _remember(self._unjudged, exchange.id, (session, seq))
            else:
                yield from _of_exchange(exchange, verdict, session, seq)
            if exchange.id in closed:
                yield Ended(at=exchange.received_at, session=closed[exchange.id])

    def _of_late(self, exchange: Exchange, findings: Sequence[Finding]) -> Iterable[News]:
        known = self._unjudged.pop(exchange.id, None)
        if known is not None:
            yield from _of_exchange(exchange, findings, *known)

    def _seqs(self, touched: Touched) -> dict[str, int]:
        """Return the numbers of the new exchanges of a session, by exchange id, as far as they are known."""
        session, arrived = touched.session, sorted(touched.exchanges, key=lambda each: each.received_at)
        before = self._seen.pop(session.id, _NOTHING)
        first = session.exchanges - len(arrived) + 1
        latest = max(session.last_event_at, before.latest, *(each.received_at for each in arrived))
        _remember(self._seen, session.id, _Seen(session.exchanges, latest))
        if before.exchanges != first - 1:
            return {}  # the others came before this recorder was started, or through another one
        return {each.id: seq for seq, each in enumerate(arrived, first) if each.received_at > before.latest}


NOBODY_WATCHES = Watcher(None)


def _of_exchange(
    exchange: Exchange, findings: Iterable[Finding], session: Session | None, seq: int | None
) -> Iterable[News]:
    events = exchange.request.reading.events
    event_type = events[0].type if events else None
    for finding in causes_first(findings):
        placed = replace(finding, seq=seq)
        yield Found(at=exchange.received_at, session=session, finding=placed, event_type=event_type)


def _closes(exchange: Exchange) -> bool:
    is_batch = exchange.route.operation is Operation.DOWNLOADED
    return is_batch or any(event.type in _CLOSING for event in exchange.request.reading.events)


def _remember[T](among: OrderedDict[str, T], id: str, value: T) -> None:
    among[id] = value
    if len(among) > MOST:
        among.popitem(last=False)
