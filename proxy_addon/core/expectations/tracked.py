"""The events of a session in the order in which they count, with their times and playheads made comparable.

Repeated attempts count once, and preflights, schemas and answers do not count. The order is that of ``ts``, because the
back end sorts by it; events with the same ``ts`` have no order of their own, and stand as SDKs make their calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange, Request
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.protocol import rank_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.replays.comparing import unlike
from proxy_addon.core.routes import TRACKING

_LIVE = frozenset({"live", "linear", "radio"})
"""Content types, in lower case, whose playheads may be the second of the day. Source: Media Collection API, playhead."""
_DAY_S = 86_400.0
_UNREAD: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """One event of a session.

    Attributes:
        seq: Position of its exchange in the session, from 1, as ``show`` counts.
        element: Position in a batch, from 0; None for a body with one event.
        at_s: Seconds since the first event by the device's clock; by arrival if it has no usable ``ts``.
        ts_ms: Its ``ts``; None if it has no usable one.
        playhead_s: Its playhead; for live content, seconds since the playhead at the start. None if it has none.
        value: The decoded event; empty for a body that is not JSON.
        text: A body that is not an event; None for an event.
        status: The status of the answer; None if there was none.
        is_hole: Whether nobody knows what it was, because the file lacks the body.
        masked: Values that are personal or contain something personal, by place, without it; empty if that does not matter.
    """

    seq: int
    element: int | None = None
    type: str | None = None
    at_s: float
    ts_ms: int | None = None
    playhead_s: float | None = None
    value: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    status: int | None = None
    is_hole: bool = False
    masked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its type and number, as messages name it: ``adStart #12``, in batches ``adStart #1/12``."""
        return f"{self.type or '(no event type)'} {self.number}"

    @property
    def number(self) -> str:
        """Its number, such as ``#12``."""
        return f"#{self.seq}" if self.element is None else f"#{self.seq}/{self.element}"

    @property
    def arrival(self) -> tuple[int, int]:
        """What events can be sorted by in the order of their arrival."""
        return self.seq, self.element or 0

    @property
    def params(self) -> Mapping[str, Any]:
        """Its ``params``; empty if it has none."""
        found = self.value.get("params")
        return found if isinstance(found, dict) else _UNREAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What a player reported of one playback.

    Attributes:
        events: In the order in which they count.
        live_base_s: The playhead at which live content began, second of the day; None for other content.
    """

    events: tuple[Tracked, ...]
    live_base_s: float | None = None


def tracking(held: HeldSession, *, live: bool, mask: Pseudonymiser | None = None) -> Tracking:
    """Return what a player reported in a session.

    Args:
        live: Whether its playheads are clocks.
        mask: Replaces all personal values by the same token; None not to look for them.
    """
    events = _ordered(list(_events(held, mask)))
    base_s = next((event.playhead_s - event.at_s for event in events if event.playhead_s), None) if live else None
    if base_s is not None:
        events = [
            replace(event, playhead_s=since(event.playhead_s, base_s)) if event.playhead_s else event
            for event in events
        ]
    return Tracking(events=tuple(events), live_base_s=base_s)


def is_live(held: HeldSession) -> bool:
    """Whether the playheads of a session are clocks."""
    return (held.session.content_type or "").lower() in _LIVE


def since(playhead_s: float, base_s: float) -> float:
    """Return the seconds of a day between two live playheads; a few may be negative."""
    return (playhead_s - base_s + _DAY_S / 2) % _DAY_S - _DAY_S / 2


def _events(held: HeldSession, mask: Pseudonymiser | None) -> Iterator[tuple[int, Tracked]]:
    """Yield events by arrival, each with its time in milliseconds."""
    begin_ms: int | None = None
    first_at = held.exchanges[0].received_at if held.exchanges else None
    at_ms = 0
    told = [] if mask is None else list(mask.session(held.exchanges))
    for seq, exchange in enumerate(_once(held), 1):
        if exchange is None or first_at is None:
            continue
        masked = [value for _, _, value, _ in _in_body(told[seq - 1].request)] if told else []
        for number, (element, event, value, text) in enumerate(_in_body(exchange.request)):
            if event.ts_ms is not None:
                begin_ms = event.ts_ms if begin_ms is None else begin_ms
                at_ms = event.ts_ms - begin_ms
            elif begin_ms is None:
                at_ms = round((exchange.received_at - first_at).total_seconds() * 1000)
            answered = held.has_answers and exchange.response is not None
            yield (
                at_ms,
                Tracked(
                    seq=seq,
                    element=element,
                    type=event.type,
                    at_s=at_ms / 1000,
                    ts_ms=event.ts_ms,
                    playhead_s=None if event.playhead_s is None else float(event.playhead_s),
                    value=value,
                    text=text,
                    status=exchange.response.status if answered and exchange.response is not None else None,
                    is_hole=not exchange.request.body_state.is_known,
                    masked=_changed(value, masked[number]) if len(masked) > number else {},
                ),
            )


def _once(held: HeldSession) -> list[Exchange | None]:
    """Return the exchanges that report something, None for the others; of repeated attempts only the last counts."""
    last: dict[tuple[str, str], int] = {}
    found: list[Exchange | None] = []
    for place, exchange in enumerate(held.exchanges):
        counts = exchange.route.operation in TRACKING
        found.append(exchange if counts else None)
        if not counts or not exchange.request.body:
            continue
        key = (exchange.request.path, exchange.request.body_sha256)
        before = last.get(key)
        if before is not None and held.has_answers and not held.exchanges[before].is_accepted:
            found[before] = None  # sent again because it was not taken
        last[key] = place
    return found


def _changed(value: Mapping[str, Any], masked: Mapping[str, Any]) -> dict[str, Any]:
    return {where.removeprefix("/"): new for where, _, new in unlike("", value, masked)}


def _in_body(request: Request) -> Iterator[tuple[int | None, Event, Mapping[str, Any], str | None]]:
    reading = request.reading
    if reading.is_batch and reading.events:
        for element, (event, value) in enumerate(zip(reading.events, reading.value, strict=True)):
            yield element, event, *_content(value)
    elif reading.events:
        yield None, reading.events[0], *_content(reading.value)
    elif reading.problem is None:
        yield None, Event(), *_content(reading.value)
    else:
        yield None, Event(), _UNREAD, request.body.decode("utf-8", "backslashreplace")


def _content(value: Any) -> tuple[Mapping[str, Any], str | None]:
    return (value, None) if isinstance(value, dict) else (_UNREAD, repr(value))


def _ordered(events: list[tuple[int, Tracked]]) -> list[Tracked]:
    first = next((place for place, (_, event) in enumerate(events) if event.type == "sessionStart"), None)
    places = sorted(
        range(len(events)),
        # The back end takes the start at once, whatever its ts.
        key=lambda place: (place != first, events[place][0], rank_of(events[place][1].type), place),
    )
    return [events[place][1] for place in places]
