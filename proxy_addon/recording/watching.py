"""Report sessions that start and end, and findings, to whoever watches a recording, as they are stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Verdict
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


class Watcher:
    """Makes news of what was stored. Its methods never fail, so that they cannot disturb recording."""

    def __init__(self, tell: Callable[[News], None] | None) -> None:
        """Make a watcher.

        Args:
            tell: Called with news, from our threads; it must not block. None if nobody watches.
        """
        self._tell = tell
        self._ended: OrderedDict[str, SessionState] = OrderedDict()
        self._unjudged: OrderedDict[str, Session | None] = OrderedDict()

    def stored(self, batch: Iterable[tuple[Exchange, Verdict]], touched: Iterable[Touched]) -> None:
        """Report the findings of stored exchanges, and the sessions that they started or ended."""
        self._each(self._of_stored(batch, touched))

    def found_of_exchange(self, exchange: Exchange, findings: Sequence[Finding]) -> None:
        """Report the findings of an exchange that this recorder stored before it was judged."""
        if exchange.id in self._unjudged:
            self._each(_of_exchange(exchange, findings, self._unjudged.pop(exchange.id)))

    def found_of_session(self, session: Session, findings: Iterable[Finding]) -> None:
        """Report new findings of a session as a whole."""
        self._each(Found(at=session.last_event_at, session=session, finding=finding) for finding in findings)

    def _each(self, news: Iterable[News]) -> None:
        if self._tell is None:
            return
        try:
            for each in news:
                self._tell(each)
        except Exception:
            logger.exception("a line about the recording could not be printed")

    def _of_stored(self, batch: Iterable[tuple[Exchange, Verdict]], touched: Iterable[Touched]) -> Iterable[News]:
        session_of: dict[str, Session] = {}
        closed: dict[str, Session] = {}
        for each in touched:
            session_of |= dict.fromkeys((exchange.id for exchange in each.exchanges), each.session)
            if each.session.exchanges == len(each.exchanges):
                yield Started(at=each.session.started_at, session=each.session)
            closing = [exchange for exchange in each.exchanges if _closes(exchange)]
            state = each.session.lasting_state
            if closing and each.session.is_closed and self._ended.get(each.session.id) is not state:
                closed[closing[-1].id] = each.session
                _remember(self._ended, each.session.id, state)
        for exchange, verdict in batch:
            session = session_of.get(exchange.id)
            if verdict is None:
                _remember(self._unjudged, exchange.id, session)
            else:
                yield from _of_exchange(exchange, verdict, session)
            if exchange.id in closed:
                yield Ended(at=exchange.received_at, session=closed[exchange.id])


NOBODY_WATCHES = Watcher(None)


def _of_exchange(exchange: Exchange, findings: Iterable[Finding], session: Session | None) -> Iterable[News]:
    events = exchange.request.reading.events
    event_type = events[0].type if events else None
    for finding in findings:
        yield Found(at=exchange.received_at, session=session, finding=finding, event_type=event_type)


def _closes(exchange: Exchange) -> bool:
    is_batch = exchange.route.operation is Operation.DOWNLOADED
    return is_batch or any(event.type in _CLOSING for event in exchange.request.reading.events)


def _remember[T](among: OrderedDict[str, T], id: str, value: T) -> None:
    among[id] = value
    if len(among) > MOST:
        among.popitem(last=False)
