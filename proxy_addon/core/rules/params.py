"""Rules for `params`. Source: Media Collection API, body rules, params."""

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
"""Params in which a placeholder merges contents or viewers; in addition, all ``visitor.*`` params do."""
_TEMPLATE = re.compile(r"<.*>|.*\{\{.*\}\}.*|.*\$\{.*\}.*", re.DOTALL)
_LONGEST_STAND_IN = 200
"""Longer values are not checked, so that a device cannot make matching slow."""
_ARTICLES = {"integer": "an integer", "object": "an object", "array": "an array"}


@event_rule("params-missing", ERROR, from_schema=True)
def params_missing(event: EventView) -> Iterable[Problem]:
    """The event requires `params` but has none.

    What it checks: `sessionStart`, `adBreakStart`, `adStart`, `chapterStart`, `stateStart`, `stateEnd` and
    `statesUpdate` must have the member `params`.

    Why it matters: The server refuses the event. The session is not opened, or the ad, chapter or state never appears
    in the reports.

    Source: Adobe's 2018 docs (the schema of `sessionStart`); Adobe's docs, `mc-api-req-params.md`. Confidence: high;
    medium for `statesUpdate`.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "adBreakStart"}`

    How to fix: Add `params` with the keys that the event requires. Once the object is there, `param-missing` names the
    missing keys.

    Known limits: An empty object satisfies this rule; the missing keys are then reported one by one. Events of unknown
    type are not checked.
    """
    if event.expected.needs_params and "params" not in event.value:
        yield Problem(f"params is missing; {event.type} needs it", event.pointer)


@event_rule("params-type", ERROR, from_schema=True, member="params")
def params_type(event: EventView) -> Iterable[Problem]:
    """`params` is not an object.

    What it checks: If an event has `params`, it must be a JSON object. `null` is not allowed.

    Why it matters: The schema requires an object, so the server refuses the event and everything in it is lost.

    Source: Adobe's 2018 docs (the schema); Adobe's Swagger file. Confidence: high.

    Example: `{"playerTime": {"playhead": 0, "ts": 1772366400000}, "eventType": "play", "params": null}`

    How to fix: Send an object, or leave the member out if it would be empty.

    Known limits: A list of names and values, or a string that contains JSON, is reported, but its contents are not
    checked.
    """
    if "params" in event.value and event.params is None:
        yield Problem(f"params is {shown(event.value['params'])}; expected an object", event.at("params"))


@event_rule("param-missing", ERROR, from_schema=True, member="params")
def param_missing(event: EventView) -> Iterable[Problem]:
    """A required param is missing.

    What it checks: `params` must have every key that the event type requires. Each item of `statesStart` and
    `statesEnd` must have `media.state.name`.

    Why it matters: The server refuses the event. If it is a `sessionStart`, nothing of the playback is counted.

    Source: Adobe's docs, `mc-api-req-params.md` and `mc-api-custom-meta.md`; Adobe's developer site, `parameters.md`.
    Confidence: high.

    Example: `"params": {"media.ad.podIndex": 1}` on `adBreakStart`, which lacks `media.ad.podSecond`

    How to fix: Add the key. For `sessionStart`, check the configuration first: it supplies the tracking server, report
    suite and organisation ID. The iOS SDK leaves out the channel and player name if they are not configured.

    Known limits: A key with a wrong value, such as `null`, is reported by `param-type` or `param-empty`. If a schema of
    the upstream is known, its list of required keys is used.
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

    What it checks: Each known param must have the JSON type that the tables give it, on any event. Each item of
    `statesStart` and `statesEnd` must be an object with a string in `media.state.name`.

    Why it matters: The server checks types strictly. A single number in quotation marks is enough for it to refuse the
    whole event.

    Source: Adobe's docs, `mc-api-req-params.md` and the quick start page; Adobe's developer site, `parameters.md`.
    Confidence: high.

    Example: `"params": {"media.length": "3600"}` on `sessionStart`, where a number is expected

    How to fix: Send numbers and booleans without quotation marks, but send season, episode and show type as strings.
    Leave out params without a value instead of sending `null`.

    Known limits: Whole numbers written as `5.0` count as integers. `null` for `visitor.aamLocationHint` is reported
    although one page describes it, because the SDKs leave the key out instead. The members of `visitor.customerIDs` are
    checked by `customer-ids-shape`.
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
    """A param is not in any table of the protocol.

    What it checks: Each param must be known for at least one event type. Items of `statesStart` and `statesEnd` must
    have no member other than `media.state.name`. The message suggests a similar name if there is one.

    Why it matters: The schema allows no other keys, so the server refuses the whole event.

    Source: Adobe's 2018 docs (the schema). Confidence: high for `sessionStart`; medium for other events, whose schemas
    are not published.

    Example: `"params": {"media.chanel": "Sports"}` on `sessionStart`

    How to fix: Correct the spelling, or move your own values to `customMetadata`. If your server accepts the key, allow
    it in the settings.

    Known limits: Keys that begin with `media.qoe.` are reported by `qoe-in-params`, and keys in the wrong case by
    `param-case`. Nothing is reported if the upstream's schema allows additional keys. The finding is lowered to info if
    the upstream accepted the request.
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
                yield Problem(f"{name} has the member {quoted(member)}; expected only {STATE_NAME}", where)


@event_rule("param-case", ERROR, from_schema=True, member="params")
def param_case(event: EventView) -> Iterable[Problem]:
    """A param differs from a known one only in upper and lower case.

    What it checks: An unknown param must not match a known one when case is ignored.

    Why it matters: Keys are case-sensitive. The server treats the key as unknown and refuses the event.

    Source: Adobe's 2018 docs (the schema); Adobe's docs, `mc-api-req-params.md`. Confidence: high for `sessionStart`;
    medium for other events.

    Example: `"params": {"media.ad.creativeUrl": "https://ads.example/1.mp4"}` on `adStart`, which should be
    `media.ad.creativeURL`

    How to fix: Spell the key as shown in the message.

    Known limits: A required key in the wrong case is also reported by `param-missing`. Quality keys in the wrong case
    are not recognised. This rule applies even if the upstream's schema allows additional keys.
    """
    for name, _, key in event.odd_params:
        if key is None and (right := _other_case(event, name)) is not None:
            yield Problem(f"param {quoted(name)} is unknown; expected {right}", event.at("params", name))


def _other_case(event: EventView, name: str) -> str | None:
    return event.expected.by_lower_case.get(name.lower())


@event_rule("param-not-on-event", WARNING, member="params")
def param_not_on_event(event: EventView) -> Iterable[Problem]:
    """A known param is used on an event that does not take it.

    What it checks: Each known param must be used on an event type whose table lists it. Event types without a table
    take no params.

    Why it matters: The value is not reported with this event, and a strict schema refuses the whole event.

    Source: Adobe's docs, `mc-api-req-params.md`, and Adobe's developer site, `parameters.md`, which say on which event
    each param is set. Confidence: medium, because the schemas are not published.

    Example: `{"eventType": "play", "params": {"media.length": 3600}, …}`

    How to fix: Send the param on one of the events that the message names. Params that describe the content belong on
    `sessionStart` and apply to the whole playback.

    Known limits: Params on `ping` are reported by `ping-has-params`, and events of unknown type are not checked.
    `media.ad.podFriendlyName` is accepted on `adStart`, because Adobe's samples use it there, although the tables do
    not list it. Params that the settings add without event types are accepted on all events.
    """
    if event.type not in protocol.EVENTS or event.type == "ping":  # ping-has-params reports all of them
        return
    for name, _, key in event.odd_params:
        if key is not None and name not in event.expected.listed:
            listed = ", ".join(sorted(key.events))
            yield Problem(f"{name} does not belong on {event.type}, but on {listed}", event.at("params", name))


@event_rule("param-value", WARNING, member="params")
def param_value(event: EventView) -> Iterable[Problem]:
    """A param has a value outside its allowed set or range.

    What it checks: `media.streamType` must be `video` or `audio`, and `media.showType` must be `0`, `1`, `2` or `3`.
    `media.length`, `media.ad.length`, `media.ad.podSecond`, `media.chapter.offset` and `media.chapter.length` must be 0
    or more.

    Why it matters: The server probably accepts the event, but the reports cannot tell audio from video, or compute
    progress from a wrong length.

    Source: Adobe's docs, `stream-type.md`; the argument checks of the JavaScript, Android and iOS SDKs. The schema has
    no such limits. Confidence: medium.

    Example: `"params": {"media.streamType": "Video"}` on `sessionStart`

    How to fix: Send `video` or `audio` in lower case, and the show type as a digit in quotation marks. Send length 0 if
    the length is not known, and 86400 for live content without an end.

    Known limits: `media.contentType` and all other texts may have any value. Indexes and positions may be -1, 0 or 1,
    because clients count differently. `media.errorSource` is not checked here, because it does not belong in `params`;
    `error-details-in-params` reports it.
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
    """A param that identifies content or viewer holds a placeholder.

    What it checks: `media.id`, `media.name`, `media.channel`, `media.playerName`, `analytics.reportSuite`,
    `analytics.trackingServer`, `analytics.visitorId`, `analytics.aid` and all `visitor.*` params must not be `N/A`,
    `null`, `undefined`, `none`, `NaN`, `unknown`, `[object Object]` or `<…>`, and must not contain `{{…}}` or `${…}`.
    Upper and lower case do not matter.

    Why it matters: The reports merge all viewers, or all contents, into one.

    Source: Seen in the traffic of three third-party clients. Confidence: high.

    Example: `"params": {"media.id": "N/A"}` on `sessionStart`

    How to fix: Open the session only when the value is known. Leave out params that are neither required nor known.

    Known limits: Other placeholders, such as `test` or `0`, are not recognised. The JavaScript and Android SDKs send
    `unknown` as channel and player name if these are not configured, and this is reported. Values of more than 200
    characters are not checked.
    """
    params = event.params or {}
    for name, value in params.items():
        if (name in _IDENTIFYING or name.startswith("visitor.")) and _is_stand_in(value):
            yield Problem(f"{name} is {shown(value)}; expected a real value", event.at("params", name))
    ids = params.get(_CUSTOMER_IDS)
    for name, value in ids.items() if isinstance(ids, dict) else ():
        if isinstance(value, dict) and _is_stand_in(value.get("id")):
            message = f"the ID {quoted(name)} is {shown(value['id'])}; expected a real value"
            yield Problem(message, event.at("params", _CUSTOMER_IDS, name, "id"))


def _is_stand_in(value: object) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_STAND_IN:
        return False
    value = value.strip()
    return value.lower() in protocol.STAND_INS or _TEMPLATE.fullmatch(value) is not None


@event_rule("param-empty", WARNING, member="params")
def param_empty(event: EventView) -> Iterable[Problem]:
    """A required param is empty or blank.

    What it checks: The required strings of `sessionStart` and `adStart` must contain more than white space. These are
    the tracking server, report suite, organisation ID, content ID, content type, player name, channel, ad ID, and the
    player name of the ad.

    Why it matters: The server probably accepts the event, but then the data cannot be routed to a report suite, or
    appears there without a name.

    Source: The argument checks of the JavaScript, Android and iOS SDKs. The schema has no such limit. Confidence:
    medium.

    Example: `"params": {"media.channel": ""}` on `sessionStart`

    How to fix: Set the value in the configuration of the player. The JavaScript and Android SDKs send `unknown` if the
    channel or player name is not configured.

    Known limits: Placeholders such as `unknown` are reported by `placeholder-value`. Optional strings may be empty. The
    names of player states are checked by `state-name-pattern`.
    """
    for name, value, key in event.odd_params:
        if key is not None and key.not_empty and isinstance(value, str) and not value.strip():
            yield Problem(f"{name} is {shown(value)}; expected some text", event.at("params", name))


@event_rule("customer-ids-shape", ERROR, from_schema=True, member="params")
def customer_ids_shape(event: EventView) -> Iterable[Problem]:
    """A member of `visitor.customerIDs` is not `{id: string, authState: 0, 1 or 2}`.

    What it checks: Each member of `visitor.customerIDs` must be an object with a string `id`, an integer `authState` of
    0, 1 or 2, and no other members.

    Why it matters: The server may refuse the whole `sessionStart`. Otherwise the viewer is not recognised.

    Source: Adobe's docs, `mc-api-req-params.md`; the JavaScript, Android and iOS SDKs. Confidence: medium.

    Example: `"visitor.customerIDs": {"crm": {"id": 4711, "authState": 1}}`, where the ID must be a string

    How to fix: Send the ID as a string. Send `authState` 0 for unknown, 1 for authenticated or 2 for logged out. The
    JavaScript SDK drops entries without an ID and adds `authState` 0 where it is missing.

    Known limits: Only the first problem of each ID is reported. The names of the IDs are not checked, because no list
    of them is known. An empty ID and an empty object are accepted. A value that is not an object is reported by
    `param-type`.
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
    return None if other is None else f"it has the member {quoted(other)}; expected only id and authState"


@event_rule("param-legacy", INFO, member="params")
def param_legacy(event: EventView) -> Iterable[Problem]:
    """A param is known only from documents of 2018.

    What it checks: An event must not use `media.uniqueTimePlayed`, the only param that is known solely from Adobe's
    pages of 2018.

    Why it matters: It is not known whether the server still accepts the param. The server may ignore it or refuse the
    event.

    Source: Adobe's 2018 docs (the request parameters, where it is set at the end of a session). Confidence: low.

    Example: `"params": {"media.uniqueTimePlayed": 1740}` on `sessionEnd`

    How to fix: Leave it out. The back end computes the time played from the events.

    Known limits: The type of its value is checked in the same way as for other params.
    """
    for name, _, key in event.odd_params:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("params", name))


@event_rule("qoe-in-params", WARNING, member="params")
def qoe_in_params(event: EventView) -> Iterable[Problem]:
    """A quality key is in `params` instead of `qoeData`.

    What it checks: No key in `params` may begin with `media.qoe.`.

    Why it matters: The schema of `sessionStart` refuses such keys in `params`. Where they are accepted, they may not
    count as quality data.

    Source: Adobe's docs show it on pages of 2026, such as `bitrate.md` and `dropped-frames.md`, but the schema and the
    SDKs contradict them. Confidence: medium.

    Example: `{"eventType": "bitrateChange", "params": {"media.qoe.bitrate": 4500}, …}`

    How to fix: Move the key to `qoeData`, which every event may have.

    Known limits: The key and its value are not checked here, so a misspelled quality key is reported only after it is
    moved. Keys in which the prefix is spelled differently are reported by `param-unknown`.
    """
    for name, _, key in event.odd_params:
        if key is None and name.startswith(QUALITY_PREFIX):
            yield Problem(f"{quoted(name)} is in params; expected it in qoeData", event.at("params", name))


@event_rule("error-details-in-params", WARNING, member="params", on="error")
def error_details_in_params(event: EventView) -> Iterable[Problem]:
    """The details of an error are in `params` instead of `qoeData`.

    What it checks: An `error` must not have `media.errorId` or `media.errorSource` in `params`.

    Why it matters: The error reports are built from `qoeData`. In `params`, the ID may be ignored, or the server may
    refuse the event.

    Source: Adobe's docs show it in `error.md`, while the SDKs, Adobe's developer site and the 2018 docs use `qoeData`.
    Confidence: medium.

    Example: `{"eventType": "error", "params": {"media.errorId": "4012", "media.errorSource": "player"}, …}`

    How to fix: Send `"qoeData": {"media.qoe.errorID": "4012", "media.qoe.errorSource": "player"}` and no `params`.

    Known limits: The value of `media.errorSource` is not checked. On other events, `param-not-on-event` reports both
    keys.
    """
    if event.type != "error":
        return
    for name in _DETAILS_OF_ERROR:
        if name in (event.params or ()):
            right = "media.qoe.errorID" if name.endswith("Id") else "media.qoe.errorSource"
            yield Problem(f"{name} is in params; expected {right} in qoeData", event.at("params", name))


@event_rule("ping-has-params", WARNING, member="params", on="ping")
def ping_has_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has params.

    What it checks: The `params` of a `ping` must have no members.

    Why it matters: A ping only says that playback continues. The server ignores or refuses anything else in it, and the
    player sends it every ten seconds for nothing.

    Source: Adobe's docs, `ping.md`; Adobe's 2018 docs (event types). Confidence: medium.

    Example: `{"eventType": "ping", "params": {"media.name": "A film"}, …}`

    How to fix: Leave `params` out of pings. Quality values may be sent in `qoeData`.

    Known limits: There is one finding per ping, which names the first three keys; `param-not-on-event` then reports
    nothing. Unknown keys and wrong types are reported in addition.
    """
    if event.type == "ping" and event.params:
        names = ", ".join(quoted(name) for name in list(event.params)[:3])
        more = " …" if len(event.params) > 3 else ""
        yield Problem(f"ping has params ({names}{more}); expected none", event.at("params"))


@event_rule("ping-empty-params", INFO, member="params", on="ping")
def ping_empty_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has an empty `params` object.

    What it checks: The `params` of a `ping` must not be an empty object.

    Why it matters: Nothing is lost today, but a strict schema might refuse it one day.

    Source: Adobe's reference player of 2017, which sends them, and samples in Adobe's docs. Confidence: high that the
    server accepts it.

    Example: `{"playerTime": {"playhead": 10, "ts": 1772366410000}, "eventType": "ping", "params": {}}`

    How to fix: Leave the member out.

    Known limits: On other events that take no params, an empty object is not reported. `null` is reported by
    `params-type`.
    """
    if event.type == "ping" and event.params is not None and not event.params:
        yield Problem("ping has an empty params object; expected none", event.at("params"))


@event_rule("stream-type-missing", INFO, member="params", on="sessionStart")
def stream_type_missing(event: EventView) -> Iterable[Problem]:
    """A `sessionStart` does not say whether it is audio or video.

    What it checks: The `params` of a `sessionStart` must have `media.streamType`. This also applies to a `sessionStart`
    in a batch.

    Why it matters: The server accepts the request, but reports that separate audio from video lack this information for
    the playback.

    Source: Adobe's docs: `stream-type.md` calls it required, while the parameter tables and samples do not. Confidence:
    high that it is optional.

    Example: `"params": {"media.id": "video-123", "media.contentType": "vod", …}` on `sessionStart`

    How to fix: Send `video` or `audio`, as all SDKs do.

    Known limits: A wrong value or `null` is reported by other rules. If the upstream's schema requires the param,
    `param-missing` reports it as well.
    """
    if event.type == "sessionStart" and event.params is not None and "media.streamType" not in event.params:
        yield Problem("media.streamType is missing; expected video or audio", event.at("params"))


@event_rule("state-name-pattern", WARNING, member="params")
def state_name_pattern(event: EventView) -> Iterable[Problem]:
    """The name of a player state contains characters that SDKs do not allow, or is too long.

    What it checks: Each state name in `stateStart`, `stateEnd` and the lists of `statesUpdate` must consist of 1 to 64
    letters, digits, underscores and dots.

    Why it matters: The back end may drop the state, or report it under a name that cannot be searched for.

    Source: The JavaScript, Android and iOS SDKs, none of which sends other names. No published schema says so.
    Confidence: medium.

    Example: `"params": {"media.state.name": "picture in picture"}` on `stateStart`

    How to fix: Use a name without blanks, hyphens or accented letters, such as `pictureInPicture`.

    Known limits: Only ASCII letters are allowed. A name that is not a string is reported by `param-type`. A name on an
    event that does not take one is not checked.
    """
    for name, pointer in _state_names(event):
        if not protocol.STATE_NAME.fullmatch(name):
            yield Problem(f"state name {quoted(name)}; expected 1 to 64 letters, digits, underscores or dots", pointer)


@event_rule("state-name-nonstandard", INFO, member="params")
def state_name_nonstandard(event: EventView) -> Iterable[Problem]:
    """The name of a player state is not one of the standard names.

    What it checks: Each state name should be `fullscreen`, `fullScreen`, `mute`, `closedCaptioning`, `pictureInPicture`
    or `inFocus`. The message suggests a similar standard name if there is one.

    Why it matters: Custom states are allowed, but reports for standard states such as full screen do not include them.
    A misspelled standard name also uses up one of the ten state names of a session.

    Source: Adobe's docs, player state page: custom states are allowed. Confidence: high.

    Example: `"params": {"media.state.name": "muted"}` on `stateStart`

    How to fix: Use the standard name if that is what you meant. Otherwise there is nothing to fix.

    Known limits: Both spellings of full screen count as standard, because SDKs differ. Names that do not match the
    pattern are reported only by `state-name-pattern`.
    """
    for name, pointer in _state_names(event):
        if name not in protocol.STANDARD_STATES and protocol.STATE_NAME.fullmatch(name):
            suggest = partial(suggestion, name, protocol.STANDARD_STATES)
            yield Problem(f"state {quoted(name)} is not a standard state", pointer, suggest)


@event_rule("states-update-empty", WARNING, member="params", on="statesUpdate")
def states_update_empty(event: EventView) -> Iterable[Problem]:
    """A `statesUpdate` neither starts nor ends a state.

    What it checks: `statesStart` or `statesEnd` of a `statesUpdate` must have at least one item.

    Why it matters: The event reports nothing, and the state that it should have changed stays as it was.

    Source: Adobe's docs, `multiple-player-states.md` of 2022. Confidence: low.

    Example: `{"eventType": "statesUpdate", "params": {"statesStart": []}, …}`

    How to fix: Send the event only when a state changes, with items such as `{"media.state.name": "mute"}`.

    Known limits: One of the two lists may be empty. A list whose items are wrong, or a value that is not a list, is not
    reported here, because it has the wrong type.
    """
    if event.type == "statesUpdate" and event.params is not None:
        if not any(event.params.get(name) for name in _LISTS):
            yield Problem("statesUpdate neither starts nor ends a state", event.at("params"))


@event_rule("downloaded-flag-on-live", ERROR, member="params", on="sessionStart")
def downloaded_flag_on_live(event: EventView) -> Iterable[Problem]:
    """A single `sessionStart` is marked as downloaded playback.

    What it checks: A single `sessionStart` on `/api/v1/sessions` must not have `media.downloaded` set to true.

    Why it matters: The server refuses it, so the session is not opened and nothing of the playback is counted.

    Source: Adobe's docs, `track-downloaded-content.md`: the answer is 400. `media-downloaded-flag.md` shows the flag
    without that limit. Confidence: medium.

    Example: `POST /api/v1/sessions` with `{"eventType": "sessionStart", "params": {"media.downloaded": true, …}, …}`

    How to fix: Leave the flag out when you start a live session, or send false as the Android and iOS SDKs do. Collect
    the events of downloaded playback and send them as one array.

    Known limits: Only the boolean counts; `"true"` is reported by `param-type`. A `sessionStart` on the wrong endpoint
    is not checked.
    """
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type == "sessionStart":
        if (event.params or {}).get("media.downloaded") is True:
            yield Problem(
                "media.downloaded is true on a single start; downloaded playback is sent as an array",
                event.at("params", "media.downloaded"),
            )


def _list(event: EventView, name: str) -> list[Any]:
    """Return the list of states with this name; empty if the event has none."""
    key: Key | None = event.expected.params.get(name)
    value = (event.params or {}).get(name) if key is not None and key.type == "array" else None
    return value if isinstance(value, list) else []


def _states(event: EventView) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the states in a ``statesUpdate``, each as name of the list, index and item."""
    for name in _LISTS:
        for index, item in enumerate(_list(event, name)):
            if isinstance(item, dict):
                yield name, index, item


def _state_names(event: EventView) -> Iterator[tuple[str, str]]:
    """Yield the name of each state, and the JSON Pointer to it."""
    name = (event.params or {}).get(STATE_NAME)
    if isinstance(name, str) and STATE_NAME in event.expected.listed:
        yield name, event.at("params", STATE_NAME)
    for member, index, item in _states(event):
        if isinstance(item.get(STATE_NAME), str):
            yield item[STATE_NAME], event.at("params", member, str(index), STATE_NAME)
