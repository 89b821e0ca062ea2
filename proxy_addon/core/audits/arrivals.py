"""Events as they arrive at the back end, with the values that metrics need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy_addon.core.events import Event, integer
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.rules.session_view import states_in

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LIVE = frozenset({"live", "linear", "radio"})
_LARGEST = 10**15
"""Larger numbers of seconds or of kilobits are nonsense, and differences of such floats would be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a ``sessionStart`` says about its session.

    Attributes:
        length_s: The length of the content; None if it is missing or not above 0.
        is_live: Whether the playhead may be a time of day.
        resumes: Whether it continues an earlier playback.
        is_authorized: Whether a subscription of the viewer was checked.
        is_downloaded: Whether it reports downloaded content.
    """

    length_s: float | None = None
    is_live: bool = False
    resumes: bool = False
    is_authorized: bool = False
    is_downloaded: bool = False


@dataclass(slots=True, kw_only=True)  # many are made, and frozen ones take three times as long
class Arrival:
    """One event as it arrives at the back end.

    Attributes:
        seq: Position of its exchange in the session, from 1.
        pointer: JSON Pointer to the event in the body; empty for a body that is an event.
        arrived_us: When it arrived, in microseconds since any moment.
        ts_ms: None if it is not a 64-bit integer.
        playhead_s: None if it is not a number.
        started_states: Names of the player states that it starts, as written.
        ended_states: Names of the player states that it ends; ends take effect before starts.
        name: The ID of an ad that starts, or the index of a chapter that starts.
        bitrate: As sent, whatever its unit is.
        error_is_external: Whether an error came from outside of the player.
        start: Only of a ``sessionStart``.
    """

    seq: int
    pointer: str = ""
    type: str | None
    arrived_us: int
    ts_ms: int | None
    playhead_s: float | None = None
    started_states: tuple[str, ...] = ()
    ended_states: tuple[str, ...] = ()
    name: str | int | None = None
    bitrate: float | None = None
    dropped_frames: int | None = None
    time_to_start_ms: int | None = None
    error_id: str | None = None
    error_is_external: bool = False
    start: Start | None = None


def arrivals_of(exchange: Exchange, seq: int) -> Iterator[Arrival]:
    """Yield the events in an exchange that the back end took.

    Left out are requests that the proxy rejected, that did not arrive completely, or that were answered with anything but
    2xx. A request whose answer was not seen counts. If a file lacks the body, only the time of arrival is known.
    """
    if not has_arrived(exchange):
        return
    reading = exchange.request.reading
    arrived_us = microseconds(exchange.received_at)
    if not reading.events and not exchange.request.body_state.is_known:
        yield Arrival(seq=seq, type=None, arrived_us=arrived_us, ts_ms=None)  # shows that the session is alive
    for index, event in enumerate(reading.events):
        yield arrival(event, seq=seq, pointer=f"/{index}" if reading.is_batch else "", arrived_us=arrived_us)


def has_arrived(exchange: Exchange) -> bool:
    """Whether the back end got the events in an exchange, or may have got them, and did not refuse them."""
    if exchange.route.operation not in TRACKING or not exchange.request.complete:
        return False
    if exchange.outcome in (Outcome.REJECTED, Outcome.UPSTREAM_UNREACHABLE):
        return False
    return exchange.response is None or exchange.response.is_success


def microseconds(at: datetime) -> int:
    """Return a time in Unix microseconds."""
    return (at - _EPOCH) // _MICROSECOND


def arrival(event: Event, *, seq: int, pointer: str = "", arrived_us: int) -> Arrival:
    """Return the values of an event that metrics need."""
    arrived = Arrival(
        seq=seq,
        pointer=pointer,
        type=event.type,
        arrived_us=arrived_us,
        ts_ms=event.ts_ms,
        playhead_s=playhead_of(event),
    )
    if event.type != "ping":
        _add_params(arrived, event)
    if event.quality:
        _add_quality(arrived, event.quality)
    return arrived


def _add_params(arrived: Arrival, event: Event) -> None:
    name: object = None
    match event.type:
        case "sessionStart":
            arrived.start = _start(event)
        case "adStart":
            name = event.params.get("media.ad.id")
        case "chapterStart":
            name = event.params.get("media.chapter.index")
    arrived.name = name if isinstance(name, str) else integer(name)
    arrived.started_states, arrived.ended_states = states_in(event)


def _add_quality(arrived: Arrival, quality: Mapping[str, Any]) -> None:
    error_id = quality.get("media.qoe.errorID")
    bitrate = _number(quality.get("media.qoe.bitrate"))
    arrived.bitrate = bitrate if bitrate is not None and bitrate >= 0 else None
    arrived.dropped_frames = integer(quality.get("media.qoe.droppedFrames"))
    arrived.time_to_start_ms = integer(quality.get("media.qoe.timeToStart"))
    arrived.error_id = error_id if isinstance(error_id, str) else None
    arrived.error_is_external = quality.get("media.qoe.errorSource") == "external"


def playhead_of(event: Event) -> float | None:
    """Return the playhead of an event; None if it is not a number."""
    return _number(event.playhead_s)


def _start(event: Event) -> Start:
    params = event.params
    length_s = _number(params.get("media.length"))
    return Start(
        length_s=length_s if length_s is not None and length_s > 0 else None,
        is_live=(event.text("media.contentType") or "").lower() in _LIVE,
        resumes=params.get("media.resume") is True,
        is_authorized=params.get("media.pass.auth") is True or (event.text("media.pass.auth") or "").lower() == "true",
        is_downloaded=params.get("media.downloaded") is True,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None
