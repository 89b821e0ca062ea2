"""Rules for `qoeData` and `customMetadata`. Source: Media Collection API, body rules, qoeData and customMetadata."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from proxy_addon.core import protocol
from proxy_addon.core.rules.body_views import EventView, has_type
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.wording import close_to, meant, number, quoted, shown

_SOURCE = "media.qoe.errorSource"


@event_rule("qoe-type", ERROR, from_schema=True, member="qoeData")
def qoe_type(event: EventView) -> Iterable[Problem]:
    """`qoeData` is not an object.

    What it checks: If an event has `qoeData`, it must be a JSON object. `null`, an array, a string or a number is not
    allowed.

    Why it matters: The schema refuses such an event with 400, so the event itself is lost, not only its quality data.
    Adobe's players do not look at the answer to an event, so nobody notices.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (the published schema of `sessionStart`); Adobe's Swagger file.
    Confidence: high for `sessionStart`; the other event types are assumed to have the same frame.

    Example: `{"eventType": "ping", "playerTime": {"playhead": 1, "ts": 1731672000000}, "qoeData": []}`

    How to fix: Send an object with `media.qoe.*` keys, or leave `qoeData` out if it would be empty.

    Known limits: An empty object is accepted, because third-party players send one with every event. It is not known
    how the live server treats `null`; here it counts as a wrong type.
    """
    if "qoeData" in event.value and event.quality is None:
        yield Problem(f"qoeData is {shown(event.value['qoeData'])}; expected an object", event.at("qoeData"))


@event_rule("qoe-key-unknown", ERROR, from_schema=True, member="qoeData")
def qoe_key_unknown(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is unknown.

    What it checks: Each key of `qoeData` must be one of the protocol's `media.qoe.*` keys. Keys are case-sensitive:
    `media.qoe.errorID`, not `media.qoe.errorId`.

    Why it matters: The schema allows no other keys, so the server refuses the whole event with 400 and it is missing
    from the reports. Your own quality data can only be sent in `customMetadata`.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (no additional properties); for the error keys, the 2018 docs,
    Adobe's developer site and all SDKs. Confidence: high.

    Example: `"qoeData": {"bitrate": 10000}`, which should be `media.qoe.bitrate`; timeline 2 in Adobe's docs has this
    mistake

    How to fix: Spell the key as the message suggests, or remove it.

    Known limits: Keys from 2018 are known and reported by `qoe-key-legacy` instead. Keys that the live schema has
    gained since then are not known. The finding is lowered to info if the upstream accepted the event.
    """
    for name, _, key in event.odd_quality:
        if key is None and not event.expected.allows_quality(name):
            suggest = partial(_meant, name, event)
            yield Problem(f"key {quoted(name)} of qoeData is unknown", event.at("qoeData", name), suggest)


def _meant(name: str, event: EventView) -> str:
    return meant(_right_key(name, event))


def _right_key(name: str, event: EventView) -> str | None:
    bare = {key.rpartition(".")[2].lower(): key for key in event.expected.quality}
    return bare.get(name.rpartition(".")[2].lower()) or close_to(name, event.expected.quality)


@event_rule("qoe-value-type", ERROR, from_schema=True, member="qoeData")
def qoe_value_type(event: EventView) -> Iterable[Problem]:
    """A value of `qoeData` has the wrong JSON type.

    What it checks: Bitrate, dropped frames, frame rate and time to start must be JSON integers. Error ID and error
    source must be strings.

    Why it matters: The schema checks types strictly, so a value such as `"3200"` or `29.97` makes the server refuse the
    event with 400. The ping or error that carries the value is lost with it.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (schema); the 2018 docs for the error keys; all SDKs drop the
    fraction. Confidence: high.

    Example: `"qoeData": {"media.qoe.framesPerSecond": 29.97}`

    How to fix: Round numbers down to integers before you send them, and send error codes as strings.

    Known limits: A whole number written as `30.0` or `3e1` is accepted here and reported by `integer-as-float`. Legacy
    keys may have any type.
    """
    for name, value, key in event.odd_quality:
        if key is not None and not has_type(value, key.type):
            wanted = "an integer" if key.type == "integer" else f"a {key.type}"
            yield Problem(f"{name} is {shown(value)}; expected {wanted}", event.at("qoeData", name))


@event_rule("qoe-value", WARNING, member="qoeData")
def qoe_value(event: EventView) -> Iterable[Problem]:
    """A number of `qoeData` is negative.

    What it checks: Bitrate, dropped frames, frame rate and time to start must be 0 or more.

    Why it matters: Players often use a negative number for an unknown value. The server accepts it, and it distorts the
    averages and totals in the quality reports.

    Source: The argument checks of the JavaScript, Android and iOS SDKs. No schema has a minimum. Confidence: medium.

    Example: `"qoeData": {"media.qoe.bitrate": -1}`

    How to fix: Leave a key out while its value is not known.

    Known limits: 0 is accepted for all of them. There is no upper limit, because Adobe's documents disagree about the
    unit of the bitrate.
    """
    for name, value, key in event.odd_quality:
        if key is not None and key.minimum is not None and has_type(value, key.type) and value < key.minimum:
            yield Problem(f"{name} is {number(value)}; expected {key.minimum} or more", event.at("qoeData", name))


@event_rule("qoe-key-legacy", WARNING, member="qoeData")
def qoe_key_legacy(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is known only from documents of 2018.

    What it checks: `qoeData` must not have `media.qoe.bitrateChange`, `media.qoe.playerSdkErrors`,
    `media.qoe.externalErrors` or `media.qoe.mediaSdkErrors`.

    Why it matters: Adobe's docs no longer mention these keys and no SDK sends them. At best the server ignores them; a
    schema without them refuses the event.

    Source: Adobe's 2018 docs (request parameters). Confidence: low, because nothing says what the live schema does with
    them.

    Example: `"qoeData": {"media.qoe.playerSdkErrors": "E-17"}`

    How to fix: Send the error as `media.qoe.errorID` with `media.qoe.errorSource`, and a new bitrate as
    `media.qoe.bitrate` on `bitrateChange`.

    Known limits: The value of such a key is not checked.
    """
    for name, _, key in event.odd_quality:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("qoeData", name))


@event_rule("error-source-unknown", WARNING, member="qoeData")
def error_source_unknown(event: EventView) -> Iterable[Problem]:
    """`media.qoe.errorSource` is neither `player` nor `external`.

    What it checks: `media.qoe.errorSource` in `qoeData` must be exactly `player` or `external`.

    Why it matters: The reports use this value to separate errors of the player from other errors. Another value may be
    dropped, and the error is then counted in neither group.

    Source: Adobe's 2018 docs; Adobe's docs, `error.md`; all SDKs send only `player`. Confidence: medium.

    Example: `{"eventType": "error", …, "qoeData": {"media.qoe.errorID": "404", "media.qoe.errorSource": "network"}}`

    How to fix: Send `player` for errors that the player reports and `external` for everything else. Put the details
    into the error ID.

    Known limits: A source that is not a string is reported by `qoe-value-type`, and `media.errorSource` in `params` by
    `error-details-in-params`. A missing source is accepted.
    """
    for name, value, key in event.odd_quality:
        if name == _SOURCE and key is not None and isinstance(value, str) and value not in key.values:
            yield Problem(f"{name} is {shown(value)}; expected {' or '.join(key.values)}", event.at("qoeData", name))


@event_rule("error-without-details", INFO, on="error")
def error_without_details(event: EventView) -> Iterable[Problem]:
    """An `error` has no error ID.

    What it checks: An `error` must have `media.qoe.errorID` in its `qoeData`.

    Why it matters: The playback counts as one with an error, but the error report cannot say which error it was.

    Source: Adobe's 2018 docs (required); Adobe's developer site and Swagger file (optional); timeline 2 in Adobe's docs
    has an error without details; every SDK sends the ID. Confidence: high that both are accepted.

    Example: `{"eventType": "error", "playerTime": {"playhead": 30, "ts": 1731672030000}}`

    How to fix: Send the player's error code as a string in `media.qoe.errorID`, together with `media.qoe.errorSource`.

    Known limits: `media.errorId` in `params`, which one page of Adobe's docs shows, counts as an ID here;
    `error-details-in-params` reports it. The rule does not check whether the ID is blank or meaningful.
    """
    in_params = "media.errorId" in (event.params or ())
    if event.type == "error" and "media.qoe.errorID" not in (event.quality or ()) and not in_params:
        yield Problem("error has no media.qoe.errorID in qoeData", event.pointer)


@event_rule("bitrate-change-without-qoe", INFO, on="bitrateChange")
def bitrate_change_without_qoe(event: EventView) -> Iterable[Problem]:
    """A `bitrateChange` does not contain the new bitrate.

    What it checks: A `bitrateChange` must have `media.qoe.bitrate` in its `qoeData`.

    Why it matters: The change is counted, but the average bitrate and the bitrate buckets keep the old value until
    another event contains the new one.

    Source: Adobe's docs, `bitrate-change.md` (events page); a test of the Android SDK sends it without a bitrate.
    Confidence: high.

    Example: `{"eventType": "bitrateChange", "playerTime": {"playhead": 12, "ts": 1731672012000}}`

    How to fix: Update the quality data first, then send `bitrateChange` with it.

    Known limits: A bitrate in `params` does not count and is also reported by `qoe-in-params`. The rule does not check
    whether the bitrate differs from the previous one.
    """
    if event.type == "bitrateChange" and "media.qoe.bitrate" not in (event.quality or ()):
        yield Problem("bitrateChange has no media.qoe.bitrate in qoeData", event.pointer)


@event_rule("custom-metadata-type", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_type(event: EventView) -> Iterable[Problem]:
    """`customMetadata` is not an object.

    What it checks: If an event has `customMetadata`, it must be a flat JSON object.

    Why it matters: The schema refuses the event with 400. If it is a `sessionStart`, there is no session and the whole
    playback is lost.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (schema). Confidence: high.

    Example: `"customMetadata": [{"name": "team", "value": "red"}]`, the format of the Media Edge API

    How to fix: Send one member per name, such as `{"team": "red"}`, or leave `customMetadata` out.

    Known limits: An empty object is accepted. It is not known how the live server treats `null`; here it counts as a
    wrong type.
    """
    if "customMetadata" in event.value and event.metadata is None:
        value = shown(event.value["customMetadata"])
        yield Problem(f"customMetadata is {value}; expected an object", event.at("customMetadata"))


@event_rule("custom-metadata-key", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_key(event: EventView) -> Iterable[Problem]:
    """A key of `customMetadata` contains characters that are not allowed.

    What it checks: Each key must consist of one or more ASCII letters, digits, underscores and dots.

    Why it matters: A single wrong key makes the schema refuse the event with 400. On `sessionStart` the playback is
    lost; on `adStart` or `chapterStart` that ad or chapter is lost.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (pattern in the schema); the JavaScript, Android and iOS SDKs drop
    such keys before sending. Confidence: high.

    Example: `"customMetadata": {"page-type": "article"}`

    How to fix: Rename the key, for instance to `page_type`, and adapt the processing rules that read it.

    Known limits: A line break at the end counts as a wrong character, although the regular expressions of some servers
    ignore it. The length is not limited.
    """
    for name in event.metadata or ():
        if not protocol.METADATA_KEY.fullmatch(name):
            yield Problem(
                f"key {quoted(name)} of customMetadata; expected only letters, digits, underscores and dots",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-value-type", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_value_type(event: EventView) -> Iterable[Problem]:
    """A value of `customMetadata` is not a string.

    What it checks: Each value in `customMetadata` must be a JSON string.

    Why it matters: Numbers, booleans, `null` and nested objects make the schema refuse the event with 400. On
    `sessionStart` the whole playback is lost.

    Source: Adobe's docs, `mc-api-validate-reqs.md` (schema) and `mc-api-custom-meta.md`; the JavaScript SDK converts
    values to strings. Confidence: high.

    Example: `"customMetadata": {"season": 3}`

    How to fix: Send the value as a string, such as `"3"`, and leave out keys without a value.

    Known limits: The empty string is accepted. The content of the string is not checked.
    """
    for name, value in (event.metadata or {}).items():
        if not isinstance(value, str):
            yield Problem(
                f"{quoted(name)} of customMetadata is {shown(value)}; expected a string",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-not-on-event", WARNING, member="customMetadata")
def custom_metadata_not_on_event(event: EventView) -> Iterable[Problem]:
    """`customMetadata` is used on an event for which it is not reported.

    What it checks: Only `sessionStart`, `adStart` and `chapterStart` may have `customMetadata` that is not empty.

    Why it matters: Metadata is attached to the content, an ad or a chapter when it begins. On any other event the
    server ignores it at best, and a stricter schema would refuse the event.

    Source: Adobe's docs, `mc-api-overview.md`: optional everywhere, but sent only with these three events. Confidence:
    medium, because the schemas of the other events are not published.

    Example: `{"eventType": "adBreakStart", …, "customMetadata": {"campaign": "spring"}}`

    How to fix: Move it to the `adStart` of each ad, or to `sessionStart` or `chapterStart`.

    Known limits: An empty object is accepted on every event. Events of unknown type are reported by
    `event-type-unknown`.
    """
    known = protocol.EVENTS.get(event.type or "")
    if event.metadata and known is not None and not known.takes_metadata:
        yield Problem(
            f"customMetadata on {event.type} is not reported; expected it on sessionStart, adStart or chapterStart",
            event.at("customMetadata"),
        )


@event_rule("custom-metadata-reserved-prefix", INFO, member="customMetadata")
def custom_metadata_reserved_prefix(event: EventView) -> Iterable[Problem]:
    """A key of `customMetadata` begins with a prefix that Adobe uses itself.

    What it checks: No key may begin with `a.` or `media.`.

    Why it matters: The key can collide with a variable that Adobe fills, so that your value replaces a standard field
    in the reports.

    Source: Adobe's docs, `mc-api-custom-meta.md`; a test of the Android SDK sends such keys on purpose. Confidence:
    high.

    Example: `"customMetadata": {"media.show": "News"}`

    How to fix: Use the standard key in `params` if there is one. Otherwise use a prefix of your own.

    Known limits: SDKs pass such keys on, so this is never more than an info. The prefix is case-sensitive: `Media.show`
    is not reported.
    """
    for name in event.metadata or ():
        if name.startswith(protocol.RESERVED_PREFIXES):
            yield Problem(
                f"key {quoted(name)} of customMetadata begins with a prefix that Adobe reserves (a. or media.)",
                event.at("customMetadata", name),
            )
