"""Why reports do not count an event as it was sent, in one sentence each.

Rules and metrics need not agree: rules forgive an ad whose break has the same ``ts`` and arrived after it, but the ad is not
counted. Each sentence names the event that decides, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy_addon.core.audits.arrivals import Arrival
from proxy_addon.core.audits.ordering import WINDOW_EVENTS, WINDOW_US, Lost, Order, Taken
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


class _Explaining:
    def __init__(self, marks: Sequence[Mark], order: Order, spans: Spans) -> None:
        self._marks = marks
        self._order = order
        self._spans = spans
        self._numbers = numbers_of(marks)
        self._refused = [mark for mark in marks if mark.type == "adBreakStart" and mark.place not in spans.rank]

    def each(self) -> Iterator[tuple[Place, str]]:
        dropped = {place_of(event): why for event, why in self._order.dropped}
        for mark in self._marks:
            if mark.place in dropped:
                yield mark.place, f"Not counted: {_DROPPED[dropped[mark.place]]}."
            elif mark.place not in self._spans.rank:
                yield mark.place, f"Not counted: {_not_taken(mark)}."
        taken = [
            each for each in self._order.taken if place_of(each.event) in self._numbers
        ]  # others have no known body
        ended: Arrival | None = None
        for each, after in zip(taken, _followed(taken), strict=True):
            event, place = each.event, place_of(each.event)
            if place in self._spans.idle:
                why = self._without_break(event, after, ended) if event.type == "adStart" else _IDLE[event.type or ""]
                yield place, f"Not counted: {why}."
            elif each.is_late:
                yield place, _LATE
            if event.type == "adBreakComplete":
                ended = event

    def _without_break(self, ad: Arrival, after: Arrival | None, ended: Arrival | None) -> str:
        """Return why no ad break was open when an ad started.

        Args:
            after: What is taken after it and begins a break, or begins or ends an ad; None if nothing does.
            ended: What ended the last break; None if nothing did.
        """
        if after is not None and after.type == "adBreakStart" and ad.ts_ms is not None and after.ts_ms is not None:
            start = f"its adBreakStart #{self._numbers[place_of(after)]}"
            if after.ts_ms == ad.ts_ms:
                return f"{start} has the same ts but arrived after it, so the ad is taken before its break"
            return f"{start} {'arrived too late to be taken before it' if after.ts_ms < ad.ts_ms else 'has a later ts'}"
        since_ms = 0 if ended is None else ended.ts_ms or 0
        refused = [mark for mark in self._refused if since_ms <= mark.device_ms <= (ad.ts_ms or 0)]
        if refused:
            return (
                f"its adBreakStart #{self._numbers[refused[-1].place]} is not counted either, so no ad break was open"
            )
        if ended is not None:
            return f"no ad break was open since adBreakComplete #{self._numbers[place_of(ended)]}"
        return "no adBreakStart came before it, so no ad break was open"


def _followed(taken: Sequence[Taken]) -> list[Arrival | None]:
    """Return for each event what is taken after it and begins a break, or begins or ends an ad."""
    found: list[Arrival | None] = []
    after: Arrival | None = None
    for each in reversed(taken):
        found.append(after)
        if each.event.type in _ENDS_WAITING:
            after = each.event
    return found[::-1]


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
