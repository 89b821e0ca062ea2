"""Rules over `qoeData` and `customMetadata`. Source: Media Collection API, body rules, qoeData and customMetadata."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core import protocol
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.rules.views import EventView, has_type
from proxy_addon.core.rules.wording import close_to, meant, number, quoted, shown

_SOURCE = "media.qoe.errorSource"


@event_rule("qoe-type", ERROR, from_schema=True)
def qoe_type(event: EventView) -> Iterable[Problem]:
    """`qoeData` is not an object."""
    if "qoeData" in event.value and event.quality is None:
        yield Problem(f"qoeData is {shown(event.value['qoeData'])}; expected an object", event.at("qoeData"))


@event_rule("qoe-key-unknown", ERROR, from_schema=True)
def qoe_key_unknown(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is unknown."""
    for name, _, key in event.odd_quality:
        if key is None:
            suggestion = meant(_right_key(name, event))
            yield Problem(f"key {quoted(name)} of qoeData is unknown{suggestion}", event.at("qoeData", name))


def _right_key(name: str, event: EventView) -> str | None:
    bare = {key.rpartition(".")[2].lower(): key for key in event.expected.quality}
    return bare.get(name.rpartition(".")[2].lower()) or close_to(name, event.expected.quality)


@event_rule("qoe-value-type", ERROR, from_schema=True)
def qoe_value_type(event: EventView) -> Iterable[Problem]:
    """A value of `qoeData` has the wrong JSON type."""
    for name, value, key in event.odd_quality:
        if key is not None and not has_type(value, key.type):
            wanted = "an integer" if key.type == "integer" else f"a {key.type}"
            yield Problem(f"{name} is {shown(value)}; expected {wanted}", event.at("qoeData", name))


@event_rule("qoe-value", WARNING)
def qoe_value(event: EventView) -> Iterable[Problem]:
    """A number of `qoeData` is negative."""
    for name, value, key in event.odd_quality:
        if key is not None and key.minimum is not None and has_type(value, key.type) and value < key.minimum:
            yield Problem(f"{name} is {number(value)}; expected {key.minimum} or more", event.at("qoeData", name))


@event_rule("qoe-key-legacy", WARNING)
def qoe_key_legacy(event: EventView) -> Iterable[Problem]:
    """A key of `qoeData` is only known from 2018."""
    for name, _, key in event.odd_quality:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("qoeData", name))


@event_rule("error-source-unknown", WARNING)
def error_source_unknown(event: EventView) -> Iterable[Problem]:
    """`media.qoe.errorSource` is neither `player` nor `external`."""
    for name, value, key in event.odd_quality:
        if name == _SOURCE and key is not None and isinstance(value, str) and value not in key.values:
            yield Problem(f"{name} is {shown(value)}; expected {' or '.join(key.values)}", event.at("qoeData", name))


@event_rule("error-without-details", INFO)
def error_without_details(event: EventView) -> Iterable[Problem]:
    """An `error` has no error ID."""
    in_params = "media.errorId" in (event.params or ())
    if event.type == "error" and "media.qoe.errorID" not in (event.quality or ()) and not in_params:
        yield Problem("error has no media.qoe.errorID in qoeData", event.pointer)


@event_rule("bitrate-change-without-qoe", INFO)
def bitrate_change_without_qoe(event: EventView) -> Iterable[Problem]:
    """A `bitrateChange` does not say to which bitrate."""
    if event.type == "bitrateChange" and "media.qoe.bitrate" not in (event.quality or ()):
        yield Problem("bitrateChange has no media.qoe.bitrate in qoeData", event.pointer)


@event_rule("custom-metadata-type", ERROR, from_schema=True)
def custom_metadata_type(event: EventView) -> Iterable[Problem]:
    """`customMetadata` is not an object."""
    if "customMetadata" in event.value and event.metadata is None:
        value = shown(event.value["customMetadata"])
        yield Problem(f"customMetadata is {value}; expected an object", event.at("customMetadata"))


@event_rule("custom-metadata-key", ERROR, from_schema=True)
def custom_metadata_key(event: EventView) -> Iterable[Problem]:
    """A key of `customMetadata` has other characters than letters, digits, underscores and dots."""
    for name in event.metadata or ():
        if not protocol.METADATA_KEY.fullmatch(name):
            yield Problem(
                f"key {quoted(name)} of customMetadata; expected letters, digits, underscores and dots alone",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-value-type", ERROR, from_schema=True)
def custom_metadata_value_type(event: EventView) -> Iterable[Problem]:
    """A value of `customMetadata` is not a string."""
    for name, value in (event.metadata or {}).items():
        if not isinstance(value, str):
            yield Problem(
                f"{quoted(name)} of customMetadata is {shown(value)}; expected a string",
                event.at("customMetadata", name),
            )


@event_rule("custom-metadata-not-on-event", WARNING)
def custom_metadata_not_on_event(event: EventView) -> Iterable[Problem]:
    """`customMetadata` stands on an event with which it is not reported."""
    known = protocol.EVENTS.get(event.type or "")
    if event.metadata and known is not None and not known.takes_metadata:
        yield Problem(
            f"customMetadata on {event.type} is not reported; expected it on sessionStart, adStart or chapterStart",
            event.at("customMetadata"),
        )


@event_rule("custom-metadata-reserved-prefix", INFO)
def custom_metadata_reserved_prefix(event: EventView) -> Iterable[Problem]:
    """A key of `customMetadata` begins as Adobe's own do."""
    for name in event.metadata or ():
        if name.startswith(protocol.RESERVED_PREFIXES):
            yield Problem(
                f"key {quoted(name)} of customMetadata begins with a prefix that is Adobe's (a. or media.)",
                event.at("customMetadata", name),
            )
