"""Make news of what was stored: sessions that start and end, and findings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Verdict
from proxy_addon.core.folding import causes_first
from proxy_addon.core.news import Ended, Found, News, Started
from proxy_addon.core.routes import Operation
from proxy_addon.core.sessions import Session, SessionState
from storage.saving import Touched

MOST = 10_000
"""How many sessions are remembered whose end was reported, because it is reported again only if the state changes, as
from completed to ended. Also how many exchanges are remembered that still have to be judged."""
_CLOSING = ("sessionComplete", "sessionEnd")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was stored of a session: how many exchanges, and when the latest of them arrived."""

    exchanges: int
    latest: datetime


_NOTHING = _Seen(0, datetime.min.replace(tzinfo=UTC))


class Watcher:
    """Makes news of what was stored, in the order in which it was."""

    def __init__(self) -> None:
        self._ended: OrderedDict[str, SessionState] = OrderedDict()
        self._unjudged: OrderedDict[str, tuple[Session | None, int | None]] = OrderedDict()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def of_stored(self, batch: Iterable[tuple[Exchange, Verdict]], touched: Iterable[Touched]) -> Iterator[News]:
        """Return the findings of stored exchanges, and the sessions that they started or ended."""
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

    def of_late(self, exchange: Exchange, findings: Sequence[Finding]) -> Iterator[News]:
        """Return the findings of an exchange that was stored before it was judged."""
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
            return {}  # the others came before we were started
        return {each.id: seq for seq, each in enumerate(arrived, first) if each.received_at > before.latest}


def of_session(session: Session, findings: Iterable[Finding]) -> Iterator[News]:
    """Return new findings of a session as a whole as news."""
    for finding in causes_first(findings):
        yield Found(at=session.last_event_at, session=session, finding=finding)


def _of_exchange(
    exchange: Exchange, findings: Iterable[Finding], session: Session | None, seq: int | None
) -> Iterator[News]:
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
