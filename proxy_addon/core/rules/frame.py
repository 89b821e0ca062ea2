"""Rules for the frame of an event: its type and its time. Source: Media Collection API, body rules, frame."""

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

    What it checks: Every event must have the member `eventType`, spelled exactly like this.

    Why it matters: Without a type nobody can tell what happened. The server refuses the request; in a batch, all events
    are discarded.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file. Confidence: high.

    Example: `{"playerTime": {"playhead": 12.5, "ts": 1772366412500}}`

    How to fix: Add `eventType` at the top level of the body, with one of the 20 event types as its value.

    Known limits: Without a type it is not known which params are required or allowed, so those checks are skipped.
    Everything else is checked. A misspelled member such as `eventtype` is also reported by `body-unknown-member`.
    """
    if "eventType" not in event.value:
        yield Problem("eventType is missing", event.pointer)


@event_rule("event-type-unknown", ERROR, from_schema=True)
def event_type_unknown(event: EventView) -> Iterable[Problem]:
    """`eventType` is not a string, or not the name of a known event.

    What it checks: `eventType` must be one of the 20 known names. Names are case-sensitive. The message suggests the
    name that was probably meant.

    Why it matters: The schema lists the valid names, so the server refuses the event. The change that it should have
    reported never happens in the reports.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file; Adobe's developer site, `events.md`. Confidence: high.

    Example: `{"playerTime": {"playhead": 80, "ts": 1772366480000}, "eventType": "resume"}`, which should be `play`

    How to fix: Use the suggested name. Send `play` when playback resumes and when a seek or buffering ends. Send
    `pauseStart` when a seek begins. Names that start with `media.` belong to the Media Edge API.

    Known limits: `statesUpdate` is accepted, although Adobe's Swagger file and the 2018 schema lack it. Suggestions are
    guesses. Few other rules apply to an event of unknown type.
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
    bare = name.removeprefix("media.")  # the Media Edge API uses these names
    by_case = {known.lower(): known for known in protocol.EVENTS}
    return (
        protocol.WRONG_EVENT_NAMES.get(bare)
        or by_case.get(bare.lower())
        or {wrong.lower(): right for wrong, right in protocol.WRONG_EVENT_NAMES.items()}.get(bare.lower())
        or close_to(bare, protocol.EVENTS)
    )


@event_rule("event-on-sessions", ERROR)
def event_on_sessions(event: EventView) -> Iterable[Problem]:
    """An event other than `sessionStart` was posted to `sessions`.

    What it checks: A single event on `/api/v1/sessions` must be a `sessionStart`.

    Why it matters: This endpoint only opens sessions. The server refuses any other event, because there is no session
    that it could belong to.

    Source: Adobe's docs, `mc-api-sessions-req.md`. Confidence: high.

    Example: `POST /api/v1/sessions` with `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Post `sessionStart` first and wait for the answer. Send all other events to the path in `Location`
    followed by `/events`. Queue events until the answer has arrived.

    Known limits: Arrays are checked by the rules for batches, and events of unknown type by `event-type-unknown`.
    """
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type in protocol.EVENTS:
        if event.type != START:
            yield Problem(
                f"{event.type} was posted to /api/v1/sessions; it belongs to /api/v1/sessions/{{sid}}/events",
                event.at("eventType"),
            )


@event_rule("session-start-on-events", ERROR, on="sessionStart")
def session_start_on_events(event: EventView) -> Iterable[Problem]:
    """`sessionStart` was posted to `events`.

    What it checks: A `sessionStart` must not be posted to `/api/v1/sessions/{sid}/events`.

    Why it matters: On this endpoint it does not open a new session. The events after it are counted towards the old
    playback, or not at all.

    Source: Adobe's developer site, `events.md`. Confidence: high that it does not belong there; medium that the server
    refuses it.

    Example: `POST /api/v1/sessions/bfcca2ca597a3c71/events` with `{"eventType": "sessionStart", …}`

    How to fix: Post each `sessionStart` to `/api/v1/sessions`, and use the new session ID for all events after it.

    Known limits: The elements of an array that is posted to `events` are not checked. Such an array is reported by
    `body-not-object`.
    """
    if event.endpoint is Operation.EVENTS and event.type == START:
        yield Problem(
            "sessionStart was posted to events; it opens a session at /api/v1/sessions", event.at("eventType")
        )


@event_rule("player-time-missing", ERROR, from_schema=True)
def player_time_missing(event: EventView) -> Iterable[Problem]:
    """The event has no `playerTime`.

    What it checks: Every event must have the member `playerTime`. Its type is checked by `player-time-type`.

    Why it matters: Without a time and a position, the event cannot be put in order or turned into time spent. The
    schema refuses it.

    Source: Adobe's 2018 docs (the schema); Adobe's help page of 2017; Adobe's Swagger file. Confidence: high.

    Example: `{"eventType": "ping"}`

    How to fix: Add `"playerTime": {"playhead": …, "ts": …}` to every event, including pings.

    Known limits: This one finding covers both missing values. `playhead-missing` and `ts-missing` apply only to an
    event that has a `playerTime`.
    """
    if "playerTime" not in event.value:
        yield Problem("playerTime is missing", event.pointer)


@event_rule("player-time-type", ERROR, from_schema=True, member="playerTime")
def player_time_type(event: EventView) -> Iterable[Problem]:
    """`playerTime` is not an object.

    What it checks: `playerTime` must be a JSON object. `null`, a number or an array is not allowed.

    Why it matters: The server finds neither a playhead nor a time, and refuses the event.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file. Confidence: high.

    Example: `{"playerTime": 12.5, "eventType": "play"}`

    How to fix: Send an object such as `{"playhead": 12.5, "ts": 1772366412500}`.

    Known limits: An object that was serialised twice is a string. It is reported, but its contents are not checked.
    """
    if "playerTime" in event.value and event.player_time is None:
        yield Problem(f"playerTime is {shown(event.value['playerTime'])}; expected an object", event.at("playerTime"))


@event_rule("player-time-unknown-member", ERROR, from_schema=True, member="playerTime")
def player_time_unknown_member(event: EventView) -> Iterable[Problem]:
    """`playerTime` has a member other than `playhead` and `ts`.

    What it checks: The only members of `playerTime` are `playhead` and `ts`. Names are case-sensitive.

    Why it matters: The schema allows no other members, so the server refuses the whole event because of a value that
    nobody reads.

    Source: Adobe's 2018 docs (the schema). Confidence: high.

    Example: `"playerTime": {"playhead": 12.5, "ts": 1772366412500, "timezone": "CET"}`

    How to fix: Remove the member. The length of the content belongs in `media.length`, and your own values belong in
    the `customMetadata` of `sessionStart`.

    Known limits: A name in the wrong case, such as `playHead`, is reported both here and as missing. The finding is
    lowered to info if the upstream accepted the request.
    """
    for name in event.player_time or ():
        if name not in protocol.PLAYER_TIME_MEMBERS:
            suggest = partial(suggestion, name, protocol.PLAYER_TIME_MEMBERS)
            yield Problem(f"playerTime.{quoted(name)} is not allowed", event.at("playerTime", name), suggest)


@event_rule("playhead-missing", ERROR, from_schema=True, member="playerTime")
def playhead_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `playhead`.

    What it checks: If `playerTime` is an object, it must have the member `playhead`.

    Why it matters: The schema requires it. Without it there is no progress, no resume point and no way to detect a
    stall.

    Source: Adobe's 2018 docs (the schema); Adobe's help page of 2017; Adobe's Swagger file. Confidence: high.

    Example: `{"playerTime": {"ts": 1772366412500}, "eventType": "play"}`

    How to fix: Send the position in the main content, in seconds, with every event. Send 0 before playback begins.

    Known limits: If `playerTime` is missing or is not an object, `player-time-missing` or `player-time-type` reports it
    instead.
    """
    if event.player_time is not None and "playhead" not in event.player_time:
        yield Problem("playerTime.playhead is missing", event.at("playerTime"))


@event_rule("playhead-type", ERROR, from_schema=True, member="playerTime")
def playhead_type(event: EventView) -> Iterable[Problem]:
    """`playhead` is not a number.

    What it checks: `playhead` must be a JSON number, with or without a fraction. Strings, `null` and booleans are not
    allowed.

    Why it matters: The server checks types strictly. It refuses the event, and both the position and the time of the
    event are lost.

    Source: Adobe's 2018 docs (the schema); Adobe's docs, `mc-api-sessions-req.md`; Adobe's Swagger file. Confidence:
    high.

    Example: `{"playerTime": {"playhead": "12.5", "ts": 1772366412500}, "eventType": "play"}`

    How to fix: Send the number without quotation marks. Send 0 while the player does not know its position. If the
    value is `null`, check for `NaN` in the player: JSON libraries often write `NaN` as `null`.

    Known limits: Any number is accepted, however long, including fractions and exponents. Other rules check whether it
    is plausible.
    """
    time = event.player_time
    if time is not None and "playhead" in time and not has_type(time["playhead"], "number"):
        yield Problem(f"playhead is {shown(time['playhead'])}; expected a number", event.at("playerTime", "playhead"))


@event_rule("playhead-negative", ERROR, member="playerTime")
def playhead_negative(event: EventView) -> Iterable[Problem]:
    """`playhead` is below 0.

    What it checks: `playhead` must be 0 or more.

    Why it matters: The schema accepts the value, but it lies before the beginning of the content. The reports of
    progress, and of where viewers left, become wrong.

    Source: Adobe's docs, `mc-api-sessions-req.md` (the range begins at 0); the JavaScript and Android SDKs, which
    ignore negative values. Confidence: high that it is a bug; low that the server refuses it.

    Example: `{"playerTime": {"playhead": -1, "ts": 1772366400000}, "eventType": "play"}`

    How to fix: Send 0 until the player knows its position. For live content, send the second of the day, not the
    distance to the live edge.

    Known limits: `-0` counts as 0. The upper limit depends on the content and is checked by the session rules.
    """
    playhead = (event.player_time or {}).get("playhead")
    if has_type(playhead, "number") and playhead is not None and playhead < 0:
        yield Problem(f"playhead is {number(playhead)}; expected 0 or more", event.at("playerTime", "playhead"))


@event_rule("ts-missing", ERROR, from_schema=True, member="playerTime")
def ts_missing(event: EventView) -> Iterable[Problem]:
    """`playerTime` has no `ts`.

    What it checks: If `playerTime` is an object, it must have the member `ts`.

    Why it matters: The schema requires it. The back end has nothing else to sort events by, and computes time spent
    from it.

    Source: Adobe's 2018 docs (the schema); Adobe's help page of 2017; Adobe's Swagger file. Confidence: high.

    Example: `{"playerTime": {"playhead": 12.5}, "eventType": "play"}`

    How to fix: Send the time of the device's clock at the moment of the event, in milliseconds since 1970 (UTC).

    Known limits: If `playerTime` is missing or is not an object, `player-time-missing` or `player-time-type` reports it
    instead.
    """
    if event.player_time is not None and "ts" not in event.player_time:
        yield Problem("playerTime.ts is missing", event.at("playerTime"))


@event_rule("ts-type", ERROR, from_schema=True, member="playerTime")
def ts_type(event: EventView) -> Iterable[Problem]:
    """`ts` is not a 64-bit integer.

    What it checks: `ts` must be a JSON number without a fraction, from -2⁶³ to 2⁶³-1.

    Why it matters: The server checks types strictly. It refuses the event, and computes durations as if the event had
    never happened.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file (int64). Confidence: high.

    Example: `{"playerTime": {"playhead": 12.5, "ts": "1772366412500"}, "eventType": "play"}`

    How to fix: Send whole milliseconds as a number without quotation marks. Round the value if the clock returns
    fractions.

    Known limits: `1772366412500.0` and `1.7723664125e12` are whole numbers and are accepted here, but
    `integer-as-float` reports them as info. It is not known whether the server accepts them.
    """
    time = event.player_time
    if time is not None and "ts" in time and _ts(event) is None:
        ts = time["ts"]
        wanted = "64 bits at most" if has_type(ts, "integer") else "an integer"
        yield Problem(f"ts is {shown(ts)}; expected {wanted}", event.at("playerTime", "ts"))


@event_rule("ts-not-milliseconds", ERROR, member="playerTime")
def ts_not_milliseconds(event: EventView) -> Iterable[Problem]:
    """`ts` looks like seconds, microseconds or nanoseconds.

    What it checks: An integer `ts` must not have ten digits, because these look like seconds since 1970 (a date after
    September 2001). It must not have sixteen or more digits, because these look like microseconds or nanoseconds.

    Why it matters: The schema accepts the value and the server answers 204, but all durations are too short or too long
    by a factor of at least a thousand.

    Source: Adobe's docs and developer site: `ts` must be in milliseconds. Confidence: high that it is a bug.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400}, "eventType": "play"}`

    How to fix: Send milliseconds since 1970. Multiply seconds by 1,000, divide microseconds by 1,000, and divide
    nanoseconds by 1,000,000.

    Known limits: The unit is guessed from the size of the number. Seconds before September 2001, and clocks that count
    from the start of the device, are reported by `ts-implausible`.
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

    What it checks: An integer `ts` must be at least 946684800000 and less than 4102444800000. Values that
    `ts-not-milliseconds` reports are skipped.

    Why it matters: The server accepts the event, but the playback is reported on a wrong date or is missing from the
    reports.

    Source: Common sense; the tests of the Android and iOS SDKs contain values such as 0 and 100. Confidence: medium.

    Example: `{"playerTime": {"playhead": 0, "ts": 100}, "eventType": "play"}`

    How to fix: Use the wall clock in UTC, not a timer that starts with the device. Use real times in test fixtures,
    too.

    Known limits: A wrong clock that still shows a date in these years is not reported here. In live sessions,
    `ts-clock-skew` reports it.
    """
    ts = _ts(event)
    if ts is not None and ts not in _MILLISECONDS and not (10**9 <= ts < 10**10 or ts >= 10**15):
        yield Problem(f"ts {ts} lies outside the years 2000 to 2099", event.at("playerTime", "ts"))


@event_rule("integer-as-float", INFO)
def integer_as_float(event: EventView) -> Iterable[Problem]:
    """An integer is written with a fraction or an exponent.

    What it checks: `ts`, params of type integer, and the numbers in `qoeData` must be written with digits only. `5.0`
    and `1.7e12` are whole numbers, but not written this way.

    Why it matters: Many servers accept such a number as an integer. A server that takes JSON Schema draft-04 literally
    refuses the event.

    Source: Adobe's 2018 docs (the schema is draft-04); the Android and iOS SDKs, which both take care to write whole
    numbers without a fraction. Confidence: medium.

    Example: `"params": {"media.ad.podIndex": 1.0, "media.ad.podSecond": 0}` on `adBreakStart`

    How to fix: Convert the value to an integer type before you serialise the body.

    Known limits: Numbers that may have a fraction, such as `playhead` and lengths, are not checked, and neither is
    `authState` in customer IDs. A value that is not a whole number has the wrong type, which is reported as an error.
    """
    ts = (event.player_time or {}).get("ts")
    if isinstance(ts, Number) and ts.whole_value() is not None:
        yield Problem(f"ts is written {number(ts)}; expected digits only", event.at("playerTime", "ts"))
    for member, odd in (("params", event.odd_params), ("qoeData", event.odd_quality)):
        for name, value, key in odd:
            if key is not None and key.type == "integer" and isinstance(value, Number) and value.is_whole:
                if not value.is_integer_text:
                    yield Problem(f"{name} is written {number(value)}; expected digits only", event.at(member, name))


def _ts(event: EventView) -> int | None:
    """Return ``ts`` if it is a 64-bit integer, else None."""
    ts = (event.player_time or {}).get("ts")
    if isinstance(ts, Number):
        return ts.whole_value()
    return ts if isinstance(ts, int) and not isinstance(ts, bool) and ts in _INT64 else None
