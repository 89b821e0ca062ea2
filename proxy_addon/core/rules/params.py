"""Rules over `params`. Source: Media Collection API, body rules, params."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from proxy_addon.core import protocol
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import STATE_NAME, EventView, has_type
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.wording import number, quoted, shown, suggestion

QUALITY_PREFIX = "media.qoe."
_LISTS = ("statesStart", "statesEnd")
_CUSTOMER_IDS = "visitor.customerIDs"
_DETAILS_OF_ERROR = ("media.errorId", "media.errorSource")
_IDENTIFYING = frozenset(
    {
        "media.id",
        "media.name",
        "media.channel",
        "media.playerName",
        "analytics.reportSuite",
        "analytics.trackingServer",
        "analytics.visitorId",
        "analytics.aid",
    }
)
"""Params of which a stand-in makes all contents or viewers one, beside those of the visitor."""
_STAND_IN = re.compile(
    r"n/a|null|undefined|none|nan|unknown|\[object object\]|<.*>|.*\{\{.*\}\}.*|.*\$\{.*\}.*",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_STAND_IN = 200
"""Longer values are not looked at: how long matching takes must not be for devices to say."""
_ARTICLES = {"integer": "an integer", "object": "an object", "array": "an array"}


@event_rule("params-missing", ERROR, from_schema=True)
def params_missing(event: EventView) -> Iterable[Problem]:
    """The event needs `params` and has none.

    What it checks: Whether `sessionStart`, `adBreakStart`, `adStart`, `chapterStart`, `stateStart`, `stateEnd` and
    `statesUpdate` have the member `params`.

    Why it matters: The server refuses the event: the session is not opened, or the ad, chapter or state never shows up
    in the reports.

    Source: 2018 docs (the schema of `sessionStart`), `mc-api-req-params.md`; high, for `statesUpdate` medium.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "adBreakStart"}`

    How to fix: Add `params` with the keys which the event requires; `param-missing` names them once the object is
    there.

    Known limits: An empty object satisfies this rule; what is missing in it is then told key by key. Events of unknown
    type are not judged.
    """
    if event.expected.needs_params and "params" not in event.value:
        yield Problem(f"params is missing; {event.type} needs it", event.pointer)


@event_rule("params-type", ERROR, from_schema=True, member="params")
def params_type(event: EventView) -> Iterable[Problem]:
    """`params` is not an object.

    What it checks: Whether `params`, where it is there, is a JSON object; `null` is none.

    Why it matters: The schema wants an object, so the event is refused with all that it reports.

    Source: 2018 docs (the schema), Swagger; high.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play", "params": null}`

    How to fix: Send an object, or leave the member out where there is nothing to say.

    Known limits: Params as a list of names and values, or as a string of JSON, are reported but not looked into.
    """
    if "params" in event.value and event.params is None:
        yield Problem(f"params is {shown(event.value['params'])}; expected an object", event.at("params"))


@event_rule("param-missing", ERROR, from_schema=True, member="params")
def param_missing(event: EventView) -> Iterable[Problem]:
    """A required param is absent.

    What it checks: Whether `params` has every key that its event type requires, and each item of `statesStart` and
    `statesEnd` its `media.state.name`.

    Why it matters: The server refuses the event. Without a session start nothing of the playback is counted.

    Source: `mc-api-req-params.md`, `mc-api-custom-meta.md`, dev site `parameters.md`; high.

    Example: `"params": {"media.ad.podIndex": 1}` on `adBreakStart`, where `media.ad.podSecond` is missing

    How to fix: Add the key. For `sessionStart` look at the configuration first: tracking server, report suite and
    organisation ID come from there, and iOS leaves channel and player name out when nobody set them.

    Known limits: A key that is there with a wrong value, `null` included, is `param-type` or `param-empty`. Where an
    upstream's schema is known, its list counts.
    """
    if event.params is None:
        return
    for name in event.expected.required:
        if name not in event.params:
            yield Problem(f"{name} is missing; {event.type} needs it", event.at("params"))
    for name, index, item in _states(event):
        if STATE_NAME not in item:
            yield Problem(f"{STATE_NAME} is missing", event.at("params", name, str(index)))


@event_rule("param-type", ERROR, from_schema=True, member="params")
def param_type(event: EventView) -> Iterable[Problem]:
    """A param has the wrong JSON type.

    What it checks: Whether each known param has the type of its table, on whatever event it stands, and each item of
    `statesStart` and `statesEnd` is an object with a string in `media.state.name`.

    Why it matters: Types are checked strictly: one number in quotation marks is enough for the whole event to be
    refused.

    Source: `mc-api-req-params.md`, dev site `parameters.md`, the quick start page of the docs; high.

    Example: `"params": {"media.length": "3600"}` on `sessionStart`; a number is expected

    How to fix: Send numbers and booleans without quotation marks, and season, episode and show type with them. Leave
    out what has no value instead of sending `null`.

    Known limits: Whole numbers written as `5.0` count as integers. `null` for `visitor.aamLocationHint` is reported
    although one page describes it, for SDKs leave the key out; members of `visitor.customerIDs` are for
    `customer-ids-shape`.
    """
    for name, value, key in event.odd_params:
        if key is not None and not has_type(value, key.type):
            wanted = _ARTICLES.get(key.type, f"a {key.type}")
            yield Problem(f"{name} is {shown(value)}; expected {wanted}", event.at("params", name))
    for name in _LISTS:
        for index, item in enumerate(_list(event, name)):
            if not isinstance(item, dict):
                where = event.at("params", name, str(index))
                yield Problem(f"{name} has {shown(item)}; expected an object with {STATE_NAME}", where)
            elif STATE_NAME in item and not isinstance(item[STATE_NAME], str):
                where = event.at("params", name, str(index), STATE_NAME)
                yield Problem(f"{STATE_NAME} is {shown(item[STATE_NAME])}; expected a string", where)


@event_rule("param-unknown", ERROR, from_schema=True, member="params")
def param_unknown(event: EventView) -> Iterable[Problem]:
    """A param is unknown: no table lists it.

    What it checks: Whether each param, and each member of an item of `statesStart` and `statesEnd`, is known for any
    event. The message suggests a name that is close.

    Why it matters: The schema allows no other keys, so the whole event is refused, and what the key should report never
    arrives.

    Source: 2018 docs (the schema); high for `sessionStart`, medium for other events, whose schemas are not published.

    Example: `"params": {"media.chanel": "Sports"}` on `sessionStart`

    How to fix: Correct the spelling, or move values of your own to `customMetadata`. Keys that your server takes can be
    allowed in the settings.

    Known limits: Keys that begin with `media.qoe.` are `qoe-in-params`, those in the wrong case `param-case`. Nothing
    is said where an upstream's schema leaves keys open, and it is lowered to info where upstream took the request.
    """
    allows = event.expected.allows
    for name, _, key in event.odd_params:
        if key is None and not (name.startswith(QUALITY_PREFIX) or _other_case(event, name) or allows(name)):
            suggest = partial(suggestion, name, event.expected.params)
            yield Problem(f"param {quoted(name)} is unknown", event.at("params", name), suggest)
    for name, index, item in _states(event):
        for member in item:
            if member != STATE_NAME:
                where = event.at("params", name, str(index), member)
                yield Problem(f"{name} has the member {quoted(member)}; expected {STATE_NAME} alone", where)


@event_rule("param-case", ERROR, from_schema=True, member="params")
def param_case(event: EventView) -> Iterable[Problem]:
    """A param is spelled in another case than a known one.

    What it checks: Whether a param that is unknown becomes a known one when upper and lower case are ignored.

    Why it matters: Keys are case-sensitive. The server takes it for an unknown one and refuses the event.

    Source: 2018 docs (the schema), `mc-api-req-params.md`; high for `sessionStart`, medium for other events.

    Example: `"params": {"media.ad.creativeUrl": "https://ads.example/1.mp4"}` on `adStart`; it is
    `media.ad.creativeURL`

    How to fix: Spell the key as the message does.

    Known limits: A required key in the wrong case is `param-missing`, too. Quality keys in the wrong case are not
    recognised here, and an open schema of an upstream does not silence this rule.
    """
    for name, _, key in event.odd_params:
        if key is None and (right := _other_case(event, name)) is not None:
            yield Problem(f"param {quoted(name)} is unknown; {right} is known", event.at("params", name))


def _other_case(event: EventView, name: str) -> str | None:
    return event.expected.by_lower_case.get(name.lower())


@event_rule("param-not-on-event", WARNING, member="params")
def param_not_on_event(event: EventView) -> Iterable[Problem]:
    """A known param stands on an event whose table does not list it.

    What it checks: Whether each known param belongs on the type of its event. Event types without a table take none.

    Why it matters: The value is not reported with this event, and a strict schema refuses the whole of it.

    Source: `mc-api-req-params.md` and dev site `parameters.md` (they say on which event each is set); medium, as the
    schemas are not published.

    Example: `{"eventType": "play", "params": {"media.length": 3600}, …}`

    How to fix: Send the param on the event that the message names: what is known of the content belongs on
    `sessionStart`, and holds for the whole playback.

    Known limits: `ping` is left to `ping-has-params`, and events of unknown type are not judged.
    `media.ad.podFriendlyName` is fine on `adStart`, where only samples have it; params added in the settings without
    event types are fine everywhere.
    """
    if event.type not in protocol.EVENTS or event.type == "ping":  # ping-has-params says it of all
        return
    for name, _, key in event.odd_params:
        if key is not None and name not in event.expected.listed:
            listed = ", ".join(sorted(key.events))
            yield Problem(f"{name} does not belong on {event.type}, but on {listed}", event.at("params", name))


@event_rule("param-value", WARNING, member="params")
def param_value(event: EventView) -> Iterable[Problem]:
    """A param's value lies outside of what it can be.

    What it checks: Whether `media.streamType` is `video` or `audio` and `media.showType` `0` to `3`, and whether `media.length`, `media.ad.length`,
    `media.ad.podSecond`, `media.chapter.offset` and `media.chapter.length` are 0 or more.

    Why it matters: The server most likely takes it, but the reports cannot count the playback as audio or video, or
    compute progress from a wrong length.

    Source: `stream-type.md`, JS, Android and iOS (they check their arguments so); the schema has no such limits;
    medium.

    Example: `"params": {"media.streamType": "Video"}` on `sessionStart`

    How to fix: Send `video` or `audio` in lower case, and the kind of show as a digit in quotation marks. Send length 0 where it is not known, and 86400 for live content
    without an end.

    Known limits: `media.contentType` and all other texts are free. Indexes and positions may be -1, 0 or 1,
    for clients count differently; `media.errorSource` is in the wrong place anyway and told by
    `error-details-in-params`.
    """
    for name, value, key in event.odd_params:
        if key is None or not has_type(value, key.type):
            continue
        if key.values and value not in key.values and name not in _DETAILS_OF_ERROR:
            yield Problem(f"{name} is {shown(value)}; expected {' or '.join(key.values)}", event.at("params", name))
        elif key.minimum is not None and value < key.minimum:
            yield Problem(f"{name} is {number(value)}; expected {key.minimum} or more", event.at("params", name))


@event_rule("placeholder-value", WARNING, member="params", on="sessionStart")
def placeholder_value(event: EventView) -> Iterable[Problem]:
    """A param that identifies content or viewer holds a stand-in.

    What it checks: Whether `media.id`, `media.name`, `media.channel`, `media.playerName`, `analytics.reportSuite`,
    `analytics.trackingServer`, `analytics.visitorId`, `analytics.aid` or a `visitor.*` param is `N/A`, `null`,
    `undefined`, `none`, `NaN`, `unknown`, `[object Object]` or `<…>`, or has `{{…}}` or `${…}` in it, in upper or lower
    case.

    Why it matters: All viewers, or all contents, become one in the reports.

    Source: seen in traffic of three third-party clients. Sureness: high.

    Example: `"params": {"media.id": "N/A"}` on `sessionStart`

    How to fix: Wait for the value before the session is opened, and leave out what is not required and not known.

    Known limits: Other stand-ins, such as `test` or `0`, pass. JS and Android send `unknown` as channel and player name
    if nobody has set them, and are told. Values of more than 200 characters are not looked at.
    """
    params = event.params or {}
    for name, value in params.items():
        if (name in _IDENTIFYING or name.startswith("visitor.")) and _is_stand_in(value):
            yield Problem(f"{name} is {shown(value)}; expected a value of its own", event.at("params", name))
    ids = params.get(_CUSTOMER_IDS)
    for name, value in ids.items() if isinstance(ids, dict) else ():
        if isinstance(value, dict) and _is_stand_in(value.get("id")):
            message = f"the ID {quoted(name)} is {shown(value['id'])}; expected a value of its own"
            yield Problem(message, event.at("params", _CUSTOMER_IDS, name, "id"))


def _is_stand_in(value: object) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_STAND_IN:
        return False
    return _STAND_IN.fullmatch(value.strip()) is not None


@event_rule("param-empty", WARNING, member="params")
def param_empty(event: EventView) -> Iterable[Problem]:
    """A required param is empty or blank.

    What it checks: Whether the required texts of `sessionStart` and `adStart` hold more than white space: tracking
    server, report suite, organisation ID, content ID, content type, player name, channel, ad ID, and the ad's player
    name.

    Why it matters: The server most likely takes it, and then the data cannot be routed to a report suite, or turns up
    there without a name.

    Source: JS, Android and iOS (they check their arguments so); the schema has no such limit; medium.

    Example: `"params": {"media.channel": ""}` on `sessionStart`

    How to fix: Set a value in the configuration of the player. SDKs for JavaScript and Android send `unknown` where
    nobody has set a channel or a player name.

    Known limits: Stand-ins such as `unknown` have `placeholder-value`. Texts that are not required may be empty, and the
    state's name has `state-name-pattern`.
    """
    for name, value, key in event.odd_params:
        if key is not None and key.not_empty and isinstance(value, str) and not value.strip():
            yield Problem(f"{name} is {shown(value)}; expected some text", event.at("params", name))


@event_rule("customer-ids-shape", ERROR, from_schema=True, member="params")
def customer_ids_shape(event: EventView) -> Iterable[Problem]:
    """A member of `visitor.customerIDs` is not `{id: string, authState: 0, 1 or 2}`.

    What it checks: Whether each member of `visitor.customerIDs` is an object with a string `id`, a whole number
    `authState` of 0, 1 or 2, and nothing else.

    Why it matters: The whole `sessionStart` can be refused for it; otherwise the viewer is not recognised.

    Source: `mc-api-req-params.md`, JS, Android and iOS; medium.

    Example: `"visitor.customerIDs": {"crm": {"id": 4711, "authState": 1}}`; the ID must be a string

    How to fix: Send the ID as a string, and 0 for unknown, 1 for authenticated or 2 for logged out. The JavaScript SDK
    drops entries without an ID and adds `authState` 0 where it is missing.

    Known limits: Of each ID only the first problem is told. Which names IDs may have is not known, and an empty ID or
    an empty object passes; a value that is no object is `param-type`.
    """
    ids = (event.params or {}).get(_CUSTOMER_IDS)
    if not isinstance(ids, dict):
        return
    for name, value in ids.items():
        problem = _customer_id_problem(value)
        if problem is not None:
            yield Problem(f"customer ID {quoted(name)}: {problem}", event.at("params", _CUSTOMER_IDS, name))


def _customer_id_problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"it is {shown(value)}; expected an object"
    if not isinstance(value.get("id"), str):
        return f"id is {shown(value['id']) if 'id' in value else 'missing'}; expected a string"
    state = value.get("authState")
    if not has_type(state, "integer") or state not in (0, 1, 2):
        return f"authState is {shown(state) if 'authState' in value else 'missing'}; expected 0, 1 or 2"
    other = next((name for name in value if name not in ("id", "authState")), None)
    return None if other is None else f"it has the member {quoted(other)}; expected id and authState alone"


@event_rule("param-legacy", INFO, member="params")
def param_legacy(event: EventView) -> Iterable[Problem]:
    """A param is only known from documents of 2018.

    What it checks: Whether a param is in the tables only because pages of 2018 name it: `media.uniqueTimePlayed`.

    Why it matters: Nobody knows whether the server still takes it. It may be ignored, or the event may be refused.

    Source: 2018 docs (the request parameters, as set on the end of a session); low.

    Example: `"params": {"media.uniqueTimePlayed": 1740}` on `sessionEnd`

    How to fix: Leave it out: the back end computes time played from the events.

    Known limits: It is the only such param. Its type is checked as that of any other.
    """
    for name, _, key in event.odd_params:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("params", name))


@event_rule("qoe-in-params", WARNING, member="params")
def qoe_in_params(event: EventView) -> Iterable[Problem]:
    """A quality key stands in `params`.

    What it checks: Whether a name in `params` begins with `media.qoe.`.

    Why it matters: The schema of `sessionStart` refuses such keys in `params`, and where they pass they may not be
    counted as quality.

    Source: `bitrate.md`, `dropped-frames.md` and other pages of 2026 show it; schema and SDKs contradict them; medium.

    Example: `{"eventType": "bitrateChange", "params": {"media.qoe.bitrate": 4500}, …}`

    How to fix: Move the key to `qoeData`, which every event may have.

    Known limits: The key and its value are not checked here, so a misspelled quality key is only found once it has
    moved. Other spellings of the prefix are `param-unknown`.
    """
    for name, _, key in event.odd_params:
        if key is None and name.startswith(QUALITY_PREFIX):
            yield Problem(f"{quoted(name)} stands in params; expected it in qoeData", event.at("params", name))


@event_rule("error-details-in-params", WARNING, member="params", on="error")
def error_details_in_params(event: EventView) -> Iterable[Problem]:
    """The details of an error stand in `params`.

    What it checks: Whether an `error` has `media.errorId` or `media.errorSource` in `params`.

    Why it matters: Reports of errors are made from `qoeData`. In `params` the ID may be ignored, or the event refused.

    Source: `error.md` shows it, while SDKs, dev site and 2018 docs have them in `qoeData`; medium.

    Example: `{"eventType": "error", "params": {"media.errorId": "4012", "media.errorSource": "player"}, …}`

    How to fix: Send `"qoeData": {"media.qoe.errorID": "4012", "media.qoe.errorSource": "player"}` and no params.

    Known limits: The value of `media.errorSource` is not judged. On other events both keys are `param-not-on-event`.
    """
    if event.type != "error":
        return
    for name in _DETAILS_OF_ERROR:
        if name in (event.params or ()):
            right = "media.qoe.errorID" if name.endswith("Id") else "media.qoe.errorSource"
            yield Problem(f"{name} stands in params; expected {right} in qoeData", event.at("params", name))


@event_rule("ping-has-params", WARNING, member="params", on="ping")
def ping_has_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has params.

    What it checks: Whether `params` of a `ping` has any member.

    Why it matters: A ping says only that the playback goes on, so what it carries is ignored at best and refused at
    worst; it is also sent every ten seconds for nothing.

    Source: `ping.md`, 2018 docs (event types); medium.

    Example: `{"eventType": "ping", "params": {"media.name": "A film"}, …}`

    How to fix: Leave `params` out of pings. Quality values may go into `qoeData`.

    Known limits: One finding for all of them, which names the first three; `param-not-on-event` then says nothing.
    Unknown keys and wrong types are told as well.
    """
    if event.type == "ping" and event.params:
        names = ", ".join(quoted(name) for name in list(event.params)[:3])
        more = " …" if len(event.params) > 3 else ""
        yield Problem(f"ping has params ({names}{more}); expected none", event.at("params"))


@event_rule("ping-empty-params", INFO, member="params", on="ping")
def ping_empty_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has empty params.

    What it checks: Whether `params` of a `ping` is an empty object.

    Why it matters: Nothing is lost; a strict schema might refuse it one day.

    Source: 2017 player (it sends them) and samples of the docs; high that it works.

    Example: `{"playerTime": {"playhead": 10, "ts": 1772366410000}, "eventType": "ping", "params": {}}`

    How to fix: Leave the member out.

    Known limits: Other events without a table may have an empty object, and nothing is said about it. `null` is
    `params-type`.
    """
    if event.type == "ping" and event.params is not None and not event.params:
        yield Problem("ping has an empty params object; expected none", event.at("params"))


@event_rule("stream-type-missing", INFO, member="params", on="sessionStart")
def stream_type_missing(event: EventView) -> Iterable[Problem]:
    """A `sessionStart` does not say whether it is audio or video.

    What it checks: Whether `params` of a `sessionStart`, in a batch too, has `media.streamType`.

    Why it matters: The request is taken; reports that tell audio from video lack what they need for this playback.

    Source: `stream-type.md` calls it required, the parameter tables and samples do not; high that it is optional.

    Example: `"params": {"media.id": "video-123", "media.contentType": "vod", …}` on `sessionStart`

    How to fix: Send `video` or `audio`, as all SDKs do.

    Known limits: A value that is wrong or `null` is for other rules. Where an upstream's schema makes it required,
    `param-missing` says so as well.
    """
    if event.type == "sessionStart" and event.params is not None and "media.streamType" not in event.params:
        yield Problem("media.streamType is missing; expected video or audio", event.at("params"))


@event_rule("state-name-pattern", WARNING, member="params")
def state_name_pattern(event: EventView) -> Iterable[Problem]:
    """A player state has a name that SDKs refuse.

    What it checks: Whether each state's name, in `stateStart`, `stateEnd` and the lists of `statesUpdate`, is made of 1
    to 64 letters, digits, underscores and dots.

    Why it matters: The back end may drop the state, or report it under a name that cannot be looked for.

    Source: JS, Android and iOS (none of them sends others); no published schema says so; medium.

    Example: `"params": {"media.state.name": "picture in picture"}` on `stateStart`

    How to fix: Use a name without blanks, hyphens or accents, such as `pictureInPicture`.

    Known limits: Letters are those of ASCII. A name that is no string is `param-type`; a name on an event that takes
    none is not looked at.
    """
    for name, pointer in _state_names(event):
        if not protocol.STATE_NAME.fullmatch(name):
            yield Problem(f"state name {quoted(name)}; expected 1 to 64 letters, digits, underscores or dots", pointer)


@event_rule("state-name-nonstandard", INFO, member="params")
def state_name_nonstandard(event: EventView) -> Iterable[Problem]:
    """A player state has none of the standard names.

    What it checks: Whether each state's name is `fullscreen`, `fullScreen`, `mute`, `closedCaptioning`,
    `pictureInPicture` or `inFocus`. A close one is suggested.

    Why it matters: Custom states are allowed, but what is reported for the standard ones, such as full screen, does not
    include them. A misspelled standard name is counted as one of the ten states of a session.

    Source: player-state page of the docs (custom states are allowed); high.

    Example: `"params": {"media.state.name": "muted"}` on `stateStart`

    How to fix: Use the standard name if that is what is meant; otherwise nothing.

    Known limits: Both spellings of full screen count as standard, for SDKs differ. Names outside of the pattern are
    told by `state-name-pattern` alone.
    """
    for name, pointer in _state_names(event):
        if name not in protocol.STANDARD_STATES and protocol.STATE_NAME.fullmatch(name):
            suggest = partial(suggestion, name, protocol.STANDARD_STATES)
            yield Problem(f"state {quoted(name)} is none of the standard ones", pointer, suggest)


@event_rule("states-update-empty", WARNING, member="params", on="statesUpdate")
def states_update_empty(event: EventView) -> Iterable[Problem]:
    """A `statesUpdate` neither starts nor ends a state.

    What it checks: Whether `statesStart` or `statesEnd` of a `statesUpdate` has an item.

    Why it matters: The event reports nothing; the state that it should have changed stays as it was.

    Source: `multiple-player-states.md` of 2022; low.

    Example: `{"eventType": "statesUpdate", "params": {"statesStart": []}, …}`

    How to fix: Send the event only when a state changes, with items such as `{"media.state.name": "mute"}`.

    Known limits: One empty list is fine beside one that is not. A list of wrong items, or a value that is no list,
    counts as an attempt and has the wrong type.
    """
    if event.type == "statesUpdate" and event.params is not None:
        if not any(event.params.get(name) for name in _LISTS):
            yield Problem("statesUpdate neither starts nor ends a state", event.at("params"))


@event_rule("downloaded-flag-on-live", ERROR, member="params", on="sessionStart")
def downloaded_flag_on_live(event: EventView) -> Iterable[Problem]:
    """A live `sessionStart` says that it is downloaded playback.

    What it checks: Whether a single `sessionStart` on `/api/v1/sessions` has `media.downloaded` true.

    Why it matters: The server refuses it, so the session is not opened and nothing of the playback is counted.

    Source: `track-downloaded-content.md` (it is answered 400); `media-downloaded-flag.md` shows it without that limit;
    medium.

    Example: `POST /api/v1/sessions` with `{"eventType": "sessionStart", "params": {"media.downloaded": true, …}, …}`

    How to fix: Leave the flag out of live starts, or send false as Android and iOS do. Collect downloaded playback and
    send it as one array.

    Known limits: Only the boolean counts; `"true"` is `param-type`. A start on the wrong endpoint is not looked at.
    """
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type == "sessionStart":
        if (event.params or {}).get("media.downloaded") is True:
            yield Problem(
                "media.downloaded is true on a single start; downloaded playback is sent as an array",
                event.at("params", "media.downloaded"),
            )


def _list(event: EventView, name: str) -> list[Any]:
    """Return a list of states, where the event has one of that name."""
    key: Key | None = event.expected.params.get(name)
    value = (event.params or {}).get(name) if key is not None and key.type == "array" else None
    return value if isinstance(value, list) else []


def _states(event: EventView) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the states that a ``statesUpdate`` names: list, index, item."""
    for name in _LISTS:
        for index, item in enumerate(_list(event, name)):
            if isinstance(item, dict):
                yield name, index, item


def _state_names(event: EventView) -> Iterator[tuple[str, str]]:
    """Yield each state's name and where it stands."""
    name = (event.params or {}).get(STATE_NAME)
    if isinstance(name, str) and STATE_NAME in event.expected.listed:
        yield name, event.at("params", STATE_NAME)
    for member, index, item in _states(event):
        if isinstance(item.get(STATE_NAME), str):
            yield item[STATE_NAME], event.at("params", member, str(index), STATE_NAME)
