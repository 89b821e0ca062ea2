"""Rules over the frame of an event: its type and its time. Source: Media Collection API, body rules, frame."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from proxy_addon.core import protocol
from proxy_addon.core.jsontext import Number
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import EventView, has_type
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.wording import close_to, meant, number, quoted, shown, suggestion

START = "sessionStart"
_INT64 = range(-(2**63), 2**63)
_MILLISECONDS = range(946_684_800_000, 4_102_444_800_000)
"""The years 2000 to 2099."""


@event_rule("event-type-missing", ERROR, from_schema=True)
def event_type_missing(event: EventView) -> Iterable[Problem]:
    """The event has no `eventType`.

    What it checks: Whether the event has a member `eventType`, spelled exactly so.

    Why it matters: Nobody can tell what happened: the server refuses the request, and in a batch everything is
    discarded.

    Source: 2018 docs (the schema), Swagger; high.

    Example: `{"playerTime": {"playhead": 12.5, "ts": 1772366412500}}`

    How to fix: Name one of the 20 event types in `eventType`, at the top level of the body.

    Known limits: Without a type nothing is said about which params are required or belong there; the rest is judged all
    the same. A misspelled member such as `eventtype` is `body-unknown-member` as well.
    """
    if "eventType" not in event.value:
        yield Problem("eventType is missing", event.pointer)


@event_rule("event-type-unknown", ERROR, from_schema=True)
def event_type_unknown(event: EventView) -> Iterable[Problem]:
    """`eventType` is not a string, or names no event.

    What it checks: Whether `eventType` is one of the 20 known names. Upper and lower case count, and the message
    suggests what was probably meant.

    Why it matters: The schema lists the names, so the server refuses the event and the state it should have changed
    stays as it was.

    Source: 2018 docs (the schema), Swagger, dev site `events.md`; high.

    Example: `{"playerTime": {"playhead": 80, "ts": 1772366480000}, "eventType": "resume"}`; it is `play`

    How to fix: Use the suggested name. Resuming, the end of a seek and the end of buffering are all `play`, and a seek
    begins with `pauseStart`. Names that begin with `media.` are of the Media Edge API.

    Known limits: `statesUpdate` is taken although Swagger and the schema of 2018 lack it. Suggestions are guesses; what
    else the rules say about an event of unknown type is little.
    """
    if "eventType" not in event.value or event.type in protocol.EVENTS:
        return
    if event.type is None:
        yield Problem(f"eventType is {shown(event.value['eventType'])}; expected a string", event.at("eventType"))
    else:
        suggest = partial(_meant, event.type)
        yield Problem(f"eventType {quoted(event.type)} is unknown", event.at("eventType"), suggest)


def _meant(name: str) -> str:
    return meant(_right_name(name))


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
    """Another event than `sessionStart` was posted to sessions.

    What it checks: Whether a single event on `/api/v1/sessions` is `sessionStart`.

    Why it matters: The endpoint opens sessions and takes nothing else: the event is refused, for there is no session to
    which it could belong.

    Source: `mc-api-sessions-req.md`; high.

    Example: `POST /api/v1/sessions` with `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Post `sessionStart` first, wait for its answer, and send all other events to the path in `Location` plus
    `/events`. Until then queue them.

    Known limits: Arrays are left to the rules over batches, and events of unknown type to `event-type-unknown`.
    """
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type in protocol.EVENTS:
        if event.type != START:
            yield Problem(
                f"{event.type} was posted to /api/v1/sessions; it belongs to /api/v1/sessions/{{sid}}/events",
                event.at("eventType"),
            )


@event_rule("session-start-on-events", ERROR, on="sessionStart")
def session_start_on_events(event: EventView) -> Iterable[Problem]:
    """`sessionStart` was posted to events.

    What it checks: Whether a `sessionStart` went to `/api/v1/sessions/{sid}/events`.

    Why it matters: It opens no new session there. What follows is counted to the old playback, or not at all.

    Source: dev site `events.md`; high that it does not belong there, medium that the server refuses it.

    Example: `POST /api/v1/sessions/bfcca2ca597a3c71/events` with `{"eventType": "sessionStart", …}`

    How to fix: Post each `sessionStart` to `/api/v1/sessions`, and use the new ID for all events after it.

    Known limits: An array posted to events is not looked into; it is `body-not-object` as a whole.
    """
    if event.endpoint is Operation.EVENTS and event.type == START:
        yield Problem(
            "sessionStart was posted to events; it opens a session at /api/v1/sessions", event.at("eventType")
        )


@event_rule("player-time-missing", ERROR, from_schema=True)
def player_time_missing(event: EventView) -> Iterable[Problem]:
    """The event has no `playerTime`.

    What it checks: Whether the event has a member `playerTime`, whatever its type.

    Why it matters: Without time and position an event cannot be put in order or turned into time spent, and the schema
    does not let it pass.

    Source: 2018 docs (the schema), 2017 page, Swagger; high.

    Example: `{"eventType": "ping"}`

    How to fix: Add `"playerTime": {"playhead": …, "ts": …}` to each event, pings included.

    Known limits: One finding stands for both missing values; `playhead-missing` and `ts-missing` look inside of a
    `playerTime` that is there.
    """
    if "playerTime" not in event.value:
        yield Problem("playerTime is missing", event.pointer)


@event_rule("player-time-type", ERROR, from_schema=True, member="playerTime")
def player_time_type(event: EventView) -> Iterable[Problem]:
    """`playerTime` is not an object.

    What it checks: Whether `playerTime` is a JSON object. `null`, a number or an array are none.

    Why it matters: The server finds neither playhead nor time and refuses the event.

    Source: 2018 docs (the schema), Swagger; high.

    Example: `{"playerTime": 12.5, "eventType": "play"}`

    How to fix: Send `{"playhead": 12.5, "ts": 1772366412500}` in its place.

    Known limits: An object that was serialised twice, and so is a string, is reported but not looked into.
    """
    if "playerTime" in event.value and event.player_time is None:
        yield Problem(f"playerTime is {shown(event.value['playerTime'])}; expected an object", event.at("playerTime"))


@event_rule("player-time-unknown-member", ERROR, from_schema=True, member="playerTime")
def player_time_unknown_member(event: EventView) -> Iterable[Problem]:
    """`playerTime` has a member that is neither `playhead` nor `ts`.

    What it checks: Whether the members of `playerTime` are `playhead` and `ts` alone. Upper and lower case count.

    Why it matters: The schema allows no others, so the whole event is refused for a value that nobody reads.

    Source: 2018 docs (the schema); high.

    Example: `"playerTime": {"playhead": 12.5, "ts": 1772366412500, "timezone": "CET"}`

    How to fix: Leave it out; the length of the content belongs into `media.length`, your own values into
    `customMetadata` of `sessionStart`.

    Known limits: A name in the wrong case, such as `playHead`, is reported here and as missing. It is lowered to info
    where upstream took the request.
    """
    for name in event.player_time or ():
        if name not in protocol.PLAYER_TIME_MEMBERS:
            suggest = partial(suggestion, name, protocol.PLAYER_TIME_MEMBERS)
            yield Problem(f"playerTime.{quoted(name)} is not allowed", event.at("playerTime", name), suggest)


@event_rule("playhead-missing", ERROR, from_schema=True, member="playerTime")
def playhead_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `playhead`.

    What it checks: Whether a `playerTime` that is an object has the member `playhead`.

    Why it matters: The schema demands it; without it there is no progress, no resume point and no sign of a stall.

    Source: 2018 docs (the schema), 2017 page, Swagger; high.

    Example: `{"playerTime": {"ts": 1772366412500}, "eventType": "play"}`

    How to fix: Send the position in the main content in seconds with each event; 0 where the player has not begun.

    Known limits: Nothing is said where `playerTime` itself is missing or no object: that is told by its own rules.
    """
    if event.player_time is not None and "playhead" not in event.player_time:
        yield Problem("playerTime.playhead is missing", event.at("playerTime"))


@event_rule("playhead-type", ERROR, from_schema=True, member="playerTime")
def playhead_type(event: EventView) -> Iterable[Problem]:
    """`playhead` is not a number.

    What it checks: Whether `playhead` is a JSON number, with or without a fraction. Strings, `null` and booleans are
    none.

    Why it matters: Types are checked strictly: the server refuses the event, and position and time of it are lost.

    Source: 2018 docs (the schema), `mc-api-sessions-req.md`, Swagger; high.

    Example: `{"playerTime": {"playhead": "12.5", "ts": 1772366412500}, "eventType": "play"}`

    How to fix: Send the number without quotation marks, and 0 where the player gives none yet. A position that is not a
    number in the player (`NaN`) often arrives as `null`.

    Known limits: Any number passes, however long, fractions and exponents included; whether it is a sensible one is for
    other rules.
    """
    time = event.player_time
    if time is not None and "playhead" in time and not has_type(time["playhead"], "number"):
        yield Problem(f"playhead is {shown(time['playhead'])}; expected a number", event.at("playerTime", "playhead"))


@event_rule("playhead-negative", ERROR, member="playerTime")
def playhead_negative(event: EventView) -> Iterable[Problem]:
    """`playhead` is below 0.

    What it checks: Whether `playhead` is 0 or more.

    Why it matters: The schema lets it pass, but the position is before the content, so progress and the point where the
    viewer left become wrong.

    Source: `mc-api-sessions-req.md` (the range begins at 0), JS and Android (they ignore such values); high that it is
    a bug, low that it is refused.

    Example: `{"playerTime": {"playhead": -1, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Send 0 until the player knows its position. For live content send the second of the day, and not the
    distance to the live edge.

    Known limits: `-0` is 0. Upper limits depend on the content and are for the rules over sessions.
    """
    playhead = (event.player_time or {}).get("playhead")
    if has_type(playhead, "number") and playhead is not None and playhead < 0:
        yield Problem(f"playhead is {number(playhead)}; expected 0 or more", event.at("playerTime", "playhead"))


@event_rule("ts-missing", ERROR, from_schema=True, member="playerTime")
def ts_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `ts`.

    What it checks: Whether a `playerTime` that is an object has the member `ts`.

    Why it matters: The schema demands it, and it is all that the back end can put events in order by; time spent is
    computed from it.

    Source: 2018 docs (the schema), 2017 page, Swagger; high.

    Example: `{"playerTime": {"playhead": 12.5}, "eventType": "play"}`

    How to fix: Send the device's clock at the moment of the event, in milliseconds since 1970 in UTC.

    Known limits: Nothing is said where `playerTime` itself is missing or no object: that is told by its own rules.
    """
    if event.player_time is not None and "ts" not in event.player_time:
        yield Problem("playerTime.ts is missing", event.at("playerTime"))


@event_rule("ts-type", ERROR, from_schema=True, member="playerTime")
def ts_type(event: EventView) -> Iterable[Problem]:
    """`ts` is not an integer of 64 bits.

    What it checks: Whether `ts` is a JSON number without a fraction, from -2⁶³ to 2⁶³-1.

    Why it matters: Types are checked strictly: the server refuses the event, and durations around it are computed
    without it.

    Source: 2018 docs (the schema), Swagger (int64); high.

    Example: `{"playerTime": {"playhead": 12.5, "ts": "1772366412500"}, "eventType": "play"}`

    How to fix: Send whole milliseconds as a number, without quotation marks; round clocks that give fractions of them.

    Known limits: `1772366412500.0` and `1.7723664125e12` are whole numbers and pass, with an info (`integer-as-float`);
    whether the server takes them is not known.
    """
    time = event.player_time
    if time is not None and "ts" in time and _ts(event) is None:
        ts = time["ts"]
        wanted = "64 bits at most" if has_type(ts, "integer") else "an integer"
        yield Problem(f"ts is {shown(ts)}; expected {wanted}", event.at("playerTime", "ts"))


@event_rule("ts-not-milliseconds", ERROR, member="playerTime")
def ts_not_milliseconds(event: EventView) -> Iterable[Problem]:
    """`ts` looks like seconds, microseconds or nanoseconds.

    What it checks: Whether an integer `ts` has ten digits, which as seconds is a date from September 2001 on, or
    sixteen or more.

    Why it matters: The schema lets it pass and all durations come out a thousand times too short or too long, while the
    answer is 204.

    Source: docs and dev site (it must be milliseconds); high that it is a bug.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400}, "eventType": "play"}`

    How to fix: Send milliseconds since 1970: multiply seconds by 1,000, divide microseconds by 1,000 and nanoseconds by
    1,000,000.

    Known limits: The unit is guessed by size. Seconds before September 2001, and clocks that count from the start of
    the device, are `ts-implausible`.
    """
    ts = _ts(event)
    if ts is None:
        return
    if 10**9 <= ts < 10**10:
        yield Problem(f"ts {ts} looks like seconds; expected milliseconds: {ts * 1000}", event.at("playerTime", "ts"))
    elif ts >= 10**15:
        unit = "nanoseconds" if ts >= 10**17 else "microseconds"
        yield Problem(f"ts {ts} looks like {unit}; expected milliseconds", event.at("playerTime", "ts"))


@event_rule("ts-implausible", WARNING, member="playerTime")
def ts_implausible(event: EventView) -> Iterable[Problem]:
    """`ts` lies outside the years 2000 to 2099.

    What it checks: Whether an integer `ts` is at least 946684800000 and less than 4102444800000, unless
    `ts-not-milliseconds` explains it.

    Why it matters: The server takes it, but the playback is reported at a wrong date, or falls out of the reports.

    Source: common sense; Android and iOS tests have values such as 0 and 100; medium.

    Example: `{"playerTime": {"playhead": 0, "ts": 100}, "eventType": "play"}`

    How to fix: Use the wall clock in UTC and not a timer that starts with the device; test fixtures should have real
    times, too.

    Known limits: A device whose clock is wrong but in this century is not seen here: live sessions have
    `ts-clock-skew`.
    """
    ts = _ts(event)
    if ts is not None and ts not in _MILLISECONDS and not (10**9 <= ts < 10**10 or ts >= 10**15):
        yield Problem(f"ts {ts} lies outside the years 2000 to 2099", event.at("playerTime", "ts"))


@event_rule("integer-as-float", INFO)
def integer_as_float(event: EventView) -> Iterable[Problem]:
    """An integer is written with a fraction or an exponent.

    What it checks: Whether `ts`, params of type integer and quality numbers are written in digits alone. `5.0` and
    `1.7e12` are whole, but not written so.

    Why it matters: Many servers take it for an integer; one that reads draft-04 of JSON Schema to the letter refuses
    the event.

    Source: 2018 docs (the schema is draft-04), Android and iOS (both take care to write whole numbers as such); medium.

    Example: `"params": {"media.ad.podIndex": 1.0, "media.ad.podSecond": 0}` on `adBreakStart`

    How to fix: Convert to an integer type before the body is written.

    Known limits: Numbers that may have a fraction, `playhead` and lengths, are not looked at, nor is `authState` of
    customer IDs. A value that is not whole has the wrong type, which is an error.
    """
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
