"""Why reports do not count an event as it was sent, in one sentence each.

Rules and metrics need not agree: rules forgive an ad whose break has the same ``ts`` and arrived after it, but the ad is not
counted. Each sentence names the event that decides, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy_addon.core.audits.arrivals import Arrival
from proxy_addon.core.audits.ordering import WINDOW_EVENTS, WINDOW_US, Lost, Order
from proxy_addon.core.audits.walking import MOST_STATES
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.timelines.marks import Mark, numbers_of
from proxy_addon.core.timelines.spans import Place, Spans, place_of

_DROPPED = {
    Lost.TIMEOUT_IDLE: "the session had closed after 10 minutes without an event",
    Lost.TIMEOUT_PLAYHEAD: "the session had closed after 30 minutes without playhead movement",
    Lost.AFTER_SESSION_END: "sessionEnd had closed the session",
}
_IDLE = {
    "adBreakComplete": "no ad break was open",
    "adComplete": "no ad was open",
    "adSkip": "no ad was open",
    "chapterComplete": "no chapter was open",
    "chapterSkip": "no chapter was open",
    "stateStart": f"only {MOST_STATES} player states of a session count, and this is another one",
    "stateEnd": "this player state was not on",
}
_ENDS_WAITING = frozenset({"adBreakStart", "adStart", "adComplete", "adSkip"})
"""After these, a break that begins is not that of an ad before."""
_LATE = (
    f"Taken late: it came after the {WINDOW_US / 1_000_000:.0f} s or {WINDOW_EVENTS} events in which events are sorted, so it"
    " takes effect later than it happened, and its playhead does not count."
)


def uncounted(marks: Sequence[Mark], order: Order, spans: Spans) -> dict[Place, str]:
    """Return why events are not counted, or not as they were sent, by where they are.

    Args:
        marks: All events of the session, in the order of arrival.
    """
    return dict(_Explaining(marks, order, spans).each())


@dataclass(slots=True)
class _Explaining:
    marks: Sequence[Mark]
    order: Order
    spans: Spans

    def each(self) -> Iterator[tuple[Place, str]]:
        dropped = {place_of(event): why for event, why in self.order.dropped}
        for mark in self.marks:
            if mark.place in dropped:
                yield mark.place, f"Not counted: {_DROPPED[dropped[mark.place]]}."
            elif mark.place not in self.spans.rank:
                yield mark.place, f"Not counted: {_not_taken(mark)}."
        numbers = numbers_of(self.marks)
        for rank, each in enumerate(self.order.taken):
            place = place_of(each.event)
            if place not in numbers:
                continue  # its body is not known
            if place in self.spans.idle:
                is_ad = each.event.type == "adStart"
                why = self._without_break(rank, each.event, numbers) if is_ad else _IDLE[each.event.type or ""]
                yield place, f"Not counted: {why}."
            elif each.is_late:
                yield place, _LATE

    def _without_break(self, rank: int, ad: Arrival, numbers: Mapping[Place, int]) -> str:
        """Return why no ad break was open when an ad started."""
        taken = [each.event for each in self.order.taken]
        after = next((each for each in taken[rank + 1 :] if each.type in _ENDS_WAITING), None)
        if after is not None and after.type == "adBreakStart" and ad.ts_ms is not None and after.ts_ms is not None:
            start = f"its adBreakStart #{numbers[place_of(after)]}"
            if after.ts_ms == ad.ts_ms:
                return f"{start} has the same ts but arrived after it, so the ad is taken before its break"
            return f"{start} {'arrived too late to be taken before it' if after.ts_ms < ad.ts_ms else 'has a later ts'}"
        ended = next((each for each in reversed(taken[:rank]) if each.type == "adBreakComplete"), None)
        since_ms = 0 if ended is None else ended.ts_ms or 0
        for mark in reversed(self.marks):
            is_lost = mark.type == "adBreakStart" and mark.place not in self.spans.rank
            if is_lost and since_ms <= mark.device_ms <= (ad.ts_ms or 0):
                return f"its adBreakStart #{numbers[mark.place]} is not counted either, so no ad break was open"
        if ended is not None:
            return f"no ad break was open since adBreakComplete #{numbers[place_of(ended)]}"
        return "no adBreakStart came before it, so no ad break was open"


def _not_taken(mark: Mark) -> str:
    """Return why the server did not take an event."""
    if mark.outcome == Outcome.REJECTED:
        return "it was refused on its way and never reached the server"
    if mark.outcome == Outcome.UPSTREAM_UNREACHABLE:
        return "the server could not be reached"
    if not mark.is_taken:
        return f"the server answered {mark.status}"
    if mark.type == "(not readable)":
        return "its body is not an event that can be read"
    if mark.type == "sessionStart":
        return "the session had started already"
    return "the request did not arrive as a whole"
