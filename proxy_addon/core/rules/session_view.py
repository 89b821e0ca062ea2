"""A session as the session rules see it: its events, reduced to what the rules need.

Source: Media Collection API, session rules, method.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy_addon.core import protocol
from proxy_addon.core.events import Event, integer
from proxy_addon.core.wording import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """What a ``sessionStart`` says about its session."""

    content_type: str | None
    length_s: float | None
    resumes: bool
    body_sha256: str | None


@dataclass(slots=True, kw_only=True)  # many are made, and frozen ones take three times as long
class SessionEvent:
    """One event of a session.

    Attributes:
        seq: Position of its exchange in the session, from 1.
        pointer: JSON Pointer to the event in the body: empty, or for instance ``/3`` in a batch.
        type: Its ``eventType``; None if that is missing or not a string.
        arrived_s: When it arrived, in Unix seconds or in seconds since an arbitrary moment; None if that is not known.
        started_states: Names of the player states that it starts, as written.
        ended_states: Names of the player states that it ends; ends take effect before starts.
        ad_length_s, pod_position: Only of an ``adStart``.
        pod_index, pod_second_s: Only of an ``adBreakStart``.
        start: Only of a ``sessionStart``.
    """

    seq: int
    pointer: str
    type: str | None
    ts_ms: int | None
    playhead_s: float | None
    arrived_s: float | None
    pod_position: int | None = None
    ad_length_s: float | None = None
    pod_index: int | None = None
    pod_second_s: float | None = None
    started_states: tuple[str, ...] = ()
    ended_states: tuple[str, ...] = ()
    dropped_frames: int | None = None
    time_to_start_ms: int | None = None
    start: StartFacts | None = None

    @property
    def name(self) -> str:
        """Its name in messages; a type that is not known is quoted, as it can be any string."""
        if self.type is None:
            return "an event without a type"
        return self.type if self.type in protocol.EVENTS else f"an event of type {quoted(self.type)}"

    @property
    def rank(self) -> int:
        """Its position among events with the same ``ts``."""
        return protocol.rank_of(self.type)


def session_event(
    event: Event, *, seq: int, pointer: str = "", arrived_s: float | None = None, body_sha256: str | None = None
) -> SessionEvent:
    """Return what the session rules need of an event.

    Args:
        body_sha256: Hash of the body that contained it, by which retries of a start are recognised.
    """
    params, quality = event.params, event.quality
    viewed = SessionEvent(
        seq=seq,
        pointer=pointer,
        type=event.type,
        ts_ms=event.ts_ms,
        playhead_s=_seconds(event.playhead_s),
        arrived_s=arrived_s,
    )
    match event.type:
        case "ping":
            pass
        case "adStart":
            viewed.pod_position = integer(params.get("media.ad.podPosition"))
            viewed.ad_length_s = _seconds(params.get("media.ad.length"))
        case "adBreakStart":
            viewed.pod_index = integer(params.get("media.ad.podIndex"))
            viewed.pod_second_s = _seconds(params.get("media.ad.podSecond"))
        case "sessionStart":
            viewed.start = StartFacts(
                content_type=event.text("media.contentType"),
                length_s=_seconds(params.get("media.length")),
                resumes=params.get("media.resume") is True,
                body_sha256=body_sha256,
            )
        case _:
            viewed.started_states, viewed.ended_states = states_in(event)
    if quality:
        viewed.dropped_frames = integer(quality.get("media.qoe.droppedFrames"))
        viewed.time_to_start_ms = integer(quality.get("media.qoe.timeToStart"))
    return viewed


def states_in(event: Event) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the player states that an event starts, and of those that it ends, as written."""
    params = event.params
    match event.type:
        case "stateStart":
            return _names([params]), ()
        case "stateEnd":
            return (), _names([params])
        case "statesUpdate":
            return _names(params.get("statesStart")), _names(params.get("statesEnd"))
    return (), ()


def _names(items: object) -> tuple[str, ...]:
    if not isinstance(items, list):
        return ()
    names = [item.get("media.state.name") for item in items if isinstance(item, dict)]
    return tuple(name for name in names if isinstance(name, str))


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # Larger floats cannot represent single seconds, and differences would overflow.
    return float(value) if abs(value) < 10**15 else None
