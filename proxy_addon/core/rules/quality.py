"""Rules over `qoeData` and `customMetadata`. Source: Media Collection API, body rules, qoeData and customMetadata."""

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

    What it checks: `qoeData`, where an event has it, is a JSON object. `null`, an array, a string or a number is not
    one.

    Why it matters: The schema refuses such an event with 400, so that the event itself is lost and not only its quality
    data. No Adobe player looks at the answer to an event, so nobody notices.

    Source: docs, `mc-api-validate-reqs.md` (the published schema of `sessionStart`); Swagger. Sureness: high for
    `sessionStart`, and the other event types are taken to share the frame.

    Example: `{"eventType": "ping", "playerTime": {"playhead": 1, "ts": 1731672000000}, "qoeData": []}`

    How to fix: Send an object with `media.qoe.*` keys, or leave `qoeData` out when there is nothing to say.

    Known limits: An empty object is accepted, for third-party players send one with every event. How the live server
    treats `null` is not known; here it counts as a wrong type.
    """
    if "qoeData" in event.value and event.quality is None:
        yield Problem(f"qoeData is {shown(event.value['qoeData'])}; expected an object", event.at("qoeData"))


@event_rule("qoe-key-unknown", ERROR, from_schema=True, member="qoeData")
def qoe_key_unknown(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is unknown.

    What it checks: Each key of `qoeData` is one of the `media.qoe.*` keys of the protocol. Upper and lower case count:
    it is `media.qoe.errorID`, not `errorId`.

    Why it matters: The schema allows no other keys, so the whole event is refused with 400 and missing from the
    reports. Quality data of the player's own has a place in `customMetadata` only.

    Source: docs, `mc-api-validate-reqs.md` (no additional properties); 2018 docs, dev site and all SDKs for the error
    keys. Sureness: high.

    Example: `"qoeData": {"bitrate": 10000}` (it should be `media.qoe.bitrate`; timeline 2 of the docs has this slip)

    How to fix: Write the key as the message suggests, or drop it.

    Known limits: The keys of 2018 are known here and told by `qoe-key-legacy` instead. Keys that the live schema has
    gained since are not known; where the upstream accepts the event the finding is lowered to info.
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

    What it checks: Bitrate, dropped frames, frame rate and time to start are JSON integers; error ID and error source
    are strings.

    Why it matters: The schema tests types strictly, so `"3200"` or `29.97` makes it refuse the event with 400. The
    heartbeat or error that carried the value is lost with it.

    Source: docs, `mc-api-validate-reqs.md` (schema); 2018 docs for the error keys; all SDKs cut fractions off.
    Sureness: high.

    Example: `"qoeData": {"media.qoe.framesPerSecond": 29.97}`

    How to fix: Round numbers down to integers before sending, and send error codes as text.

    Known limits: A whole number written as `30.0` or `3e1` passes here, and `integer-as-float` tells it. The legacy
    keys may have any type.
    """
    for name, value, key in event.odd_quality:
        if key is not None and not has_type(value, key.type):
            wanted = "an integer" if key.type == "integer" else f"a {key.type}"
            yield Problem(f"{name} is {shown(value)}; expected {wanted}", event.at("qoeData", name))


@event_rule("qoe-value", WARNING, member="qoeData")
def qoe_value(event: EventView) -> Iterable[Problem]:
    """A number of `qoeData` is negative.

    What it checks: Bitrate, dropped frames, frame rate and time to start are 0 or more.

    Why it matters: A negative number is usually a player's mark for an unknown value. The server takes it, and it
    spoils averages and totals of the quality reports.

    Source: JS, Android and iOS check their arguments this way; no schema has a minimum. Sureness: medium.

    Example: `"qoeData": {"media.qoe.bitrate": -1}`

    How to fix: Leave a key out while its value is not known.

    Known limits: 0 is accepted for all of them. Values that are too high are not judged, since Adobe's documents
    disagree about the unit of the bitrate.
    """
    for name, value, key in event.odd_quality:
        if key is not None and key.minimum is not None and has_type(value, key.type) and value < key.minimum:
            yield Problem(f"{name} is {number(value)}; expected {key.minimum} or more", event.at("qoeData", name))


@event_rule("qoe-key-legacy", WARNING, member="qoeData")
def qoe_key_legacy(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is only known from 2018.

    What it checks: `qoeData` has none of `media.qoe.bitrateChange`, `media.qoe.playerSdkErrors`,
    `media.qoe.externalErrors` and `media.qoe.mediaSdkErrors`.

    Why it matters: The documents dropped these keys and no SDK sends them. At best a server ignores them; a schema
    without them refuses the event.

    Source: 2018 docs (request parameters). Sureness: low, because nothing says what the live schema does with them.

    Example: `"qoeData": {"media.qoe.playerSdkErrors": "E-17"}`

    How to fix: Send the error as `media.qoe.errorID` with `media.qoe.errorSource`, and a new bitrate as
    `media.qoe.bitrate` on `bitrateChange`.

    Known limits: The value of such a key is not looked at.
    """
    for name, _, key in event.odd_quality:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("qoeData", name))


@event_rule("error-source-unknown", WARNING, member="qoeData")
def error_source_unknown(event: EventView) -> Iterable[Problem]:
    """`media.qoe.errorSource` is neither `player` nor `external`.

    What it checks: `media.qoe.errorSource` in `qoeData` is exactly `player` or `external`.

    Why it matters: The reports tell errors of the player from errors around it by this value. Another one may be
    dropped, so that the error is counted on neither side.

    Source: 2018 docs; docs, `error.md`; all SDKs send `player` only. Sureness: medium.

    Example: `{"eventType": "error", …, "qoeData": {"media.qoe.errorID": "404", "media.qoe.errorSource": "network"}}`

    How to fix: Send `player` for what the player reports and `external` for everything else; put the details into the
    error ID.

    Known limits: A source that is no string is left to `qoe-value-type`, and `media.errorSource` in params to
    `error-details-in-params`. An absent source is accepted.
    """
    for name, value, key in event.odd_quality:
        if name == _SOURCE and key is not None and isinstance(value, str) and value not in key.values:
            yield Problem(f"{name} is {shown(value)}; expected {' or '.join(key.values)}", event.at("qoeData", name))


@event_rule("error-without-details", INFO, on="error")
def error_without_details(event: EventView) -> Iterable[Problem]:
    """An `error` has no error ID.

    What it checks: An `error` has `media.qoe.errorID` in its `qoeData`.

    Why it matters: The playback counts as one with an error, but the report of errors cannot say which one it was.

    Source: 2018 docs (required there), dev site and Swagger (optional); timeline 2 of the docs has a bare error; every
    SDK sends the ID. Sureness: high that both are accepted.

    Example: `{"eventType": "error", "playerTime": {"playhead": 30, "ts": 1731672030000}}`

    How to fix: Give the player's error code as a string in `media.qoe.errorID`, with `media.qoe.errorSource`.

    Known limits: `media.errorId` in params, as one page of the docs shows it, counts as an ID here;
    `error-details-in-params` tells it. Whether the ID says anything, or is blank, is not looked at.
    """
    in_params = "media.errorId" in (event.params or ())
    if event.type == "error" and "media.qoe.errorID" not in (event.quality or ()) and not in_params:
        yield Problem("error has no media.qoe.errorID in qoeData", event.pointer)


@event_rule("bitrate-change-without-qoe", INFO, on="bitrateChange")
def bitrate_change_without_qoe(event: EventView) -> Iterable[Problem]:
    """A `bitrateChange` does not say what the bitrate is now.

    What it checks: A `bitrateChange` has `media.qoe.bitrate` in its `qoeData`.

    Why it matters: The change is counted, but average bitrate and bitrate buckets keep the old value until another
    event says more.

    Source: docs, `bitrate-change.md` (events page); a test of Android sends it bare. Sureness: high.

    Example: `{"eventType": "bitrateChange", "playerTime": {"playhead": 12, "ts": 1731672012000}}`

    How to fix: Update the quality data first, then send `bitrateChange` with it.

    Known limits: A bitrate in params does not count, and is told by `qoe-in-params` as well. Whether the value differs
    from the one before is not checked.
    """
    if event.type == "bitrateChange" and "media.qoe.bitrate" not in (event.quality or ()):
        yield Problem("bitrateChange has no media.qoe.bitrate in qoeData", event.pointer)


@event_rule("custom-metadata-type", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_type(event: EventView) -> Iterable[Problem]:
    """`customMetadata` is not an object.

    What it checks: `customMetadata`, where an event has it, is a flat JSON object.

    Why it matters: The schema refuses the event with 400. On `sessionStart` that means no session at all, and the whole
    playback is lost.

    Source: docs, `mc-api-validate-reqs.md` (schema). Sureness: high.

    Example: `"customMetadata": [{"name": "team", "value": "red"}]` (the form of the Edge API)

    How to fix: Send one member per name, `{"team": "red"}`, or leave `customMetadata` out.

    Known limits: An empty object is accepted. How the live server treats `null` is not known; here it counts as a wrong
    type.
    """
    if "customMetadata" in event.value and event.metadata is None:
        value = shown(event.value["customMetadata"])
        yield Problem(f"customMetadata is {value}; expected an object", event.at("customMetadata"))


@event_rule("custom-metadata-key", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_key(event: EventView) -> Iterable[Problem]:
    """A key of `customMetadata` has other characters than letters, digits, underscores and dots.

    What it checks: Each key consists of ASCII letters, digits, underscores and dots, at least one of them.

    Why it matters: One such key makes the schema refuse the event with 400: on `sessionStart` the playback is lost, on
    `adStart` or `chapterStart` that ad or chapter.

    Source: docs, `mc-api-validate-reqs.md` (pattern in the schema); JS, Android and iOS drop such keys before sending.
    Sureness: high.

    Example: `"customMetadata": {"page-type": "article"}`

    How to fix: Rename the key, for instance to `page_type`, and the processing rules that read it.

    Known limits: A line break at the end counts as a wrong character, although some servers' regular expressions
    overlook it. There is no limit on length.
    """
    for name in event.metadata or ():
        if not protocol.METADATA_KEY.fullmatch(name):
            yield Problem(
                f"key {quoted(name)} of customMetadata; expected letters, digits, underscores and dots alone",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-value-type", ERROR, from_schema=True, member="customMetadata")
def custom_metadata_value_type(event: EventView) -> Iterable[Problem]:
    """A value of `customMetadata` is not a string.

    What it checks: Each value is a JSON string.

    Why it matters: Numbers, booleans, `null` and nested objects make the schema refuse the event with 400: on
    `sessionStart` the playback is lost.

    Source: docs, `mc-api-validate-reqs.md` (schema) and `mc-api-custom-meta.md`; JS turns values into strings.
    Sureness: high.

    Example: `"customMetadata": {"season": 3}`

    How to fix: Send it as text, `"3"`, and leave out what has no value.

    Known limits: The empty string is accepted. What the text says is not judged.
    """
    for name, value in (event.metadata or {}).items():
        if not isinstance(value, str):
            yield Problem(
                f"{quoted(name)} of customMetadata is {shown(value)}; expected a string",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-not-on-event", WARNING, member="customMetadata")
def custom_metadata_not_on_event(event: EventView) -> Iterable[Problem]:
    """`customMetadata` stands on an event with which it is not reported.

    What it checks: Only `sessionStart`, `adStart` and `chapterStart` carry `customMetadata` that is not empty.

    Why it matters: Metadata is attached to the content, an ad or a chapter when that begins. On any other event it is
    at best ignored, and a stricter schema of that event would refuse it.

    Source: docs, `mc-api-overview.md` (optional everywhere, but sent with these three only). Sureness: medium, because
    the schemas of the other events are not published.

    Example: `{"eventType": "adBreakStart", …, "customMetadata": {"campaign": "spring"}}`

    How to fix: Move it to the `adStart` of each ad, or to `sessionStart` or `chapterStart`.

    Known limits: An empty object is accepted on every event. Events of an unknown type are left to
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
    """A key of `customMetadata` begins as Adobe's own do.

    What it checks: No key begins with `a.` or `media.`.

    Why it matters: Such a name can meet a variable that Adobe fills itself: a value of the player's may take the place
    of a standard field in the reports.

    Source: docs, `mc-api-custom-meta.md`; a test of Android sends such keys on purpose. Sureness: high.

    Example: `"customMetadata": {"media.show": "News"}`

    How to fix: Use the standard key in `params` where there is one, otherwise a prefix of your own.

    Known limits: SDKs pass such keys through, so this is never more than info. Case counts: `Media.show` is not told.
    """
    for name in event.metadata or ():
        if name.startswith(protocol.RESERVED_PREFIXES):
            yield Problem(
                f"key {quoted(name)} of customMetadata begins with a prefix that is Adobe's (a. or media.)",
                event.at("customMetadata", name),
            )
