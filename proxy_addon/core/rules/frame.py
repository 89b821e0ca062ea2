"""Rules over the frame of an event: its type and its time. Source: Media Collection API, body rules, frame."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core import protocol
from proxy_addon.core.jsontext import Number
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.rules.views import EventView, has_type
from proxy_addon.core.rules.wording import close_to, meant, number, quoted, shown

START = "sessionStart"
_INT64 = range(-(2**63), 2**63)
_MILLISECONDS = range(946_684_800_000, 4_102_444_800_000)
"""The years 2000 to 2099."""


@event_rule("event-type-missing", ERROR, from_schema=True)
def event_type_missing(event: EventView) -> Iterable[Problem]:
    """The event has no `eventType`."""
    if "eventType" not in event.value:
        yield Problem("eventType is missing", event.pointer)


@event_rule("event-type-unknown", ERROR, from_schema=True)
def event_type_unknown(event: EventView) -> Iterable[Problem]:
    """`eventType` is not a string, or names no event."""
    if "eventType" not in event.value or event.type in protocol.EVENTS:
        return
    if event.type is None:
        yield Problem(f"eventType is {shown(event.value['eventType'])}; expected a string", event.at("eventType"))
    else:
        yield Problem(
            f"eventType {quoted(event.type)} is unknown{meant(_right_name(event.type))}", event.at("eventType")
        )


def _right_name(name: str) -> str | None:
    bare = name.removeprefix("media.")  # so called in the Media Edge API
    by_case = {known.lower(): known for known in protocol.EVENTS}
    return (
        protocol.WRONG_EVENT_NAMES.get(bare)
        or by_case.get(bare.lower())
        or {wrong.lower(): right for wrong, right in protocol.WRONG_EVENT_NAMES.items()}.get(bare.lower())
        or close_to(bare, protocol.EVENTS)
    )


@event_rule("event-on-sessions", ERROR)
def event_on_sessions(event: EventView) -> Iterable[Problem]:
    """Another event than `sessionStart` was posted to sessions."""
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type in protocol.EVENTS:
        if event.type != START:
            yield Problem(
                f"{event.type} was posted to /api/v1/sessions; it belongs to /api/v1/sessions/{{sid}}/events",
                event.at("eventType"),
            )


@event_rule("session-start-on-events", ERROR)
def session_start_on_events(event: EventView) -> Iterable[Problem]:
    """`sessionStart` was posted to events."""
    if event.endpoint is Operation.EVENTS and event.type == START:
        yield Problem(
            "sessionStart was posted to events; it opens a session at /api/v1/sessions", event.at("eventType")
        )


@event_rule("player-time-missing", ERROR, from_schema=True)
def player_time_missing(event: EventView) -> Iterable[Problem]:
    """The event has no `playerTime`."""
    if "playerTime" not in event.value:
        yield Problem("playerTime is missing", event.pointer)


@event_rule("player-time-type", ERROR, from_schema=True)
def player_time_type(event: EventView) -> Iterable[Problem]:
    """`playerTime` is not an object."""
    if "playerTime" in event.value and event.player_time is None:
        yield Problem(f"playerTime is {shown(event.value['playerTime'])}; expected an object", event.at("playerTime"))


@event_rule("player-time-unknown-member", ERROR, from_schema=True)
def player_time_unknown_member(event: EventView) -> Iterable[Problem]:
    """`playerTime` has a member that is neither `playhead` nor `ts`."""
    for name in event.player_time or ():
        if name not in protocol.PLAYER_TIME_MEMBERS:
            suggestion = meant(close_to(name, protocol.PLAYER_TIME_MEMBERS))
            yield Problem(f"playerTime.{quoted(name)} is not allowed{suggestion}", event.at("playerTime", name))


@event_rule("playhead-missing", ERROR, from_schema=True)
def playhead_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `playhead`."""
    if event.player_time is not None and "playhead" not in event.player_time:
        yield Problem("playerTime.playhead is missing", event.at("playerTime"))


@event_rule("playhead-type", ERROR, from_schema=True)
def playhead_type(event: EventView) -> Iterable[Problem]:
    """`playhead` is not a number."""
    time = event.player_time
    if time is not None and "playhead" in time and not has_type(time["playhead"], "number"):
        yield Problem(f"playhead is {shown(time['playhead'])}; expected a number", event.at("playerTime", "playhead"))


@event_rule("playhead-negative", ERROR)
def playhead_negative(event: EventView) -> Iterable[Problem]:
    """`playhead` is below 0."""
    playhead = (event.player_time or {}).get("playhead")
    if has_type(playhead, "number") and playhead is not None and playhead < 0:
        yield Problem(f"playhead is {number(playhead)}; expected 0 or more", event.at("playerTime", "playhead"))


@event_rule("ts-missing", ERROR, from_schema=True)
def ts_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `ts`."""
    if event.player_time is not None and "ts" not in event.player_time:
        yield Problem("playerTime.ts is missing", event.at("playerTime"))


@event_rule("ts-type", ERROR, from_schema=True)
def ts_type(event: EventView) -> Iterable[Problem]:
    """`ts` is not an integer of 64 bits."""
    time = event.player_time
    if time is not None and "ts" in time and _ts(event) is None:
        ts = time["ts"]
        wanted = "64 bits at most" if has_type(ts, "integer") else "an integer"
        yield Problem(f"ts is {shown(ts)}; expected {wanted}", event.at("playerTime", "ts"))


@event_rule("ts-not-milliseconds", ERROR)
def ts_not_milliseconds(event: EventView) -> Iterable[Problem]:
    """`ts` looks like seconds, microseconds or nanoseconds."""
    ts = _ts(event)
    if ts is None:
        return
    if 10**9 <= ts < 10**10:
        yield Problem(f"ts {ts} looks like seconds; expected milliseconds: {ts * 1000}", event.at("playerTime", "ts"))
    elif ts >= 10**15:
        unit = "nanoseconds" if ts >= 10**17 else "microseconds"
        yield Problem(f"ts {ts} looks like {unit}; expected milliseconds", event.at("playerTime", "ts"))


@event_rule("ts-implausible", WARNING)
def ts_implausible(event: EventView) -> Iterable[Problem]:
    """`ts` lies outside the years 2000 to 2099."""
    ts = _ts(event)
    if ts is not None and ts not in _MILLISECONDS and not (10**9 <= ts < 10**10 or ts >= 10**15):
        yield Problem(f"ts {ts} lies outside the years 2000 to 2099", event.at("playerTime", "ts"))


@event_rule("integer-as-float", INFO)
def integer_as_float(event: EventView) -> Iterable[Problem]:
    """An integer is written with a fraction or an exponent."""
    ts = (event.player_time or {}).get("ts")
    if isinstance(ts, Number) and ts.whole_value() is not None:
        yield Problem(f"ts is written {number(ts)}; expected digits alone", event.at("playerTime", "ts"))
    for member, odd in (("params", event.odd_params), ("qoeData", event.odd_quality)):
        for name, value, key in odd:
            if key is not None and key.type == "integer" and isinstance(value, Number) and value.is_whole:
                if not value.is_integer_text:
                    yield Problem(f"{name} is written {number(value)}; expected digits alone", event.at(member, name))


def _ts(event: EventView) -> int | None:
    """Return ``ts`` where it is an integer of 64 bits."""
    ts = (event.player_time or {}).get("ts")
    if isinstance(ts, Number):
        return ts.whole_value()
    return ts if isinstance(ts, int) and not isinstance(ts, bool) and ts in _INT64 else None
