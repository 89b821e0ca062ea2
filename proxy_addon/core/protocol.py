"""The names that the protocol defines, with their types and values: event types, params and quality keys.

The tables come from the protocol's machine-readable description; a test compares both. Sources: Media Collection API
(documents of July 2026), event types, params per event type, qoeData and customMetadata, session rules (the ranks).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "OPTIONS,POST,PUT"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Expose-Headers", "Location"),
)
"""Headers of every answer. Without the last one a browser hides ``Location`` from the SDK, which then drops the
playback. Source: Media Collection API, responses in general."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of ``params`` or ``qoeData``.

    Attributes:
        type: JSON type of its value: ``string``, ``number``, ``integer``, ``boolean``, ``object``, ``array``, ``any``.
        events: Event types whose table lists it; empty for quality keys, which any event may have.
        required: Event types that must have it.
        not_empty: Whether a blank string makes no sense.
        minimum: Lowest value that makes sense.
        values: All values that make sense; empty if any value does.
        legacy: Whether it is known only from documents of 2018.
    """

    name: str
    type: str
    events: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    not_empty: bool = False
    minimum: int | None = None
    values: tuple[str, ...] = ()
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """A type of event.

    Attributes:
        meaning: What the event means, in one sentence.
        needs_params: Whether it must have a ``params`` object.
        rank: Position among events with the same ``ts``: SDKs close before they open, and open before they play.
        takes_metadata: Whether ``customMetadata`` is reported with it.
        expected_quality: Quality keys that the event needs to be useful.
    """

    name: str
    meaning: str
    needs_params: bool
    rank: int
    takes_metadata: bool = False
    expected_quality: tuple[str, ...] = ()


def _by_name[T: (Key, EventType)](*rows: T) -> Mapping[str, T]:
    return MappingProxyType({row.name: row for row in rows})


def _key(
    name: str,
    type: str,
    events: str = "",
    *,
    required: str = "",
    not_empty: bool = False,
    minimum: int | None = None,
    values: tuple[str, ...] = (),
    legacy: bool = False,
) -> Key:
    return Key(
        name=name,
        type=type,
        events=frozenset(events.split()),
        required=frozenset(required.split()),
        not_empty=not_empty,
        minimum=minimum,
        values=values,
        legacy=legacy,
    )


def _event(
    name: str, rank: int, meaning: str, *, needs_params: bool = False, takes_metadata: bool = False, expected: str = ""
) -> EventType:
    return EventType(
        name=name,
        meaning=meaning,
        needs_params=needs_params,
        rank=rank,
        takes_metadata=takes_metadata,
        expected_quality=tuple(expected.split()),
    )


EVENTS = _by_name(
    _event(
        "sessionStart",
        0,
        "Opens the playback session; the only event for the sessions endpoint.",
        needs_params=True,
        takes_metadata=True,
    ),
    _event("play", 10, "Content (or an ad) is playing: first start, after a pause, buffering, seek or error."),
    _event("ping", 11, "Heartbeat."),
    _event("pauseStart", 10, "Playback paused; SDKs also send it when a seek begins."),
    _event("bufferStart", 10, "Player waits for data; ended by the next play."),
    _event("bitrateChange", 9, "Bitrate changed; the new value goes in qoeData.", expected="media.qoe.bitrate"),
    _event("error", 9, "Player error; does not close the session.", expected="media.qoe.errorID media.qoe.errorSource"),
    _event("adBreakStart", 6, "An ad break opens.", needs_params=True),
    _event("adStart", 7, "An ad begins (only inside a break).", needs_params=True, takes_metadata=True),
    _event("adComplete", 1, "The ad played to its end."),
    _event("adSkip", 1, "The ad was left early."),
    _event("adBreakComplete", 2, "The ad break closes (also when it was skipped)."),
    _event("chapterStart", 5, "A chapter begins.", needs_params=True, takes_metadata=True),
    _event("chapterComplete", 3, "The chapter played to its end."),
    _event("chapterSkip", 3, "The chapter was left early."),
    _event("stateStart", 8, "One player state begins.", needs_params=True),
    _event("stateEnd", 4, "One player state ends.", needs_params=True),
    _event("statesUpdate", 8, "Ends and starts several player states at once.", needs_params=True),
    _event("sessionComplete", 12, "Main content reached its end; the session stays open until it times out."),
    _event("sessionEnd", 13, "Closes the session at once."),
)
"""All event types. Their names are case-sensitive."""
EVENT_TYPES = tuple(EVENTS)
PARAMS_REQUIRED = frozenset(name for name, event in EVENTS.items() if event.needs_params)
"""Event types that need a ``params`` object."""

PARAMS = _by_name(
    _key("analytics.trackingServer", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("analytics.reportSuite", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("analytics.enableSSL", "boolean", "sessionStart"),
    _key("analytics.visitorId", "string", "sessionStart"),
    _key("analytics.aid", "string", "sessionStart"),
    _key("analytics.optOutServerSideForwarding", "boolean", "sessionStart"),
    _key("analytics.optOutShare", "boolean", "sessionStart"),
    _key("visitor.marketingCloudOrgId", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("visitor.marketingCloudUserId", "string", "sessionStart"),
    _key("visitor.aamLocationHint", "integer", "sessionStart"),
    _key("visitor.customerIDs", "object", "sessionStart"),
    _key("appInstallationId", "string", "sessionStart"),
    _key("media.id", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("media.name", "string", "sessionStart"),
    _key("media.length", "number", "sessionStart", required="sessionStart", minimum=0),
    _key("media.contentType", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("media.streamType", "string", "sessionStart", values=("video", "audio")),
    _key("media.playerName", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("media.channel", "string", "sessionStart", required="sessionStart", not_empty=True),
    _key("media.resume", "boolean", "sessionStart"),
    _key("media.sdkVersion", "string", "sessionStart"),
    _key("media.libraryVersion", "string", "sessionStart"),
    _key("media.downloaded", "boolean", "sessionStart"),
    _key("media.publisher", "string", "sessionStart"),
    _key("media.streamFormat", "string", "sessionStart"),
    _key("media.show", "string", "sessionStart"),
    _key("media.season", "string", "sessionStart"),
    _key("media.episode", "string", "sessionStart"),
    _key("media.assetId", "string", "sessionStart"),
    _key("media.genre", "string", "sessionStart"),
    _key("media.firstAirDate", "string", "sessionStart"),
    _key("media.firstDigitalDate", "string", "sessionStart"),
    _key("media.rating", "string", "sessionStart"),
    _key("media.originator", "string", "sessionStart"),
    _key("media.network", "string", "sessionStart"),
    _key("media.showType", "string", "sessionStart", values=("0", "1", "2", "3")),
    _key("media.adLoad", "string", "sessionStart"),
    _key("media.pass.mvpd", "string", "sessionStart"),
    _key("media.pass.auth", "string", "sessionStart"),
    _key("media.dayPart", "string", "sessionStart"),
    _key("media.feed", "string", "sessionStart"),
    _key("media.artist", "string", "sessionStart"),
    _key("media.album", "string", "sessionStart"),
    _key("media.label", "string", "sessionStart"),
    _key("media.author", "string", "sessionStart"),
    _key("media.station", "string", "sessionStart"),
    _key("media.uniqueTimePlayed", "number", "sessionStart sessionComplete sessionEnd", legacy=True),
    _key("media.ad.podFriendlyName", "string", "adBreakStart adStart"),
    _key("media.ad.podIndex", "integer", "adBreakStart", required="adBreakStart"),
    _key("media.ad.podSecond", "number", "adBreakStart", required="adBreakStart", minimum=0),
    _key("media.ad.name", "string", "adStart"),
    _key("media.ad.id", "string", "adStart", required="adStart", not_empty=True),
    _key("media.ad.length", "number", "adStart", required="adStart", minimum=0),
    _key("media.ad.podPosition", "integer", "adStart", required="adStart"),
    _key("media.ad.playerName", "string", "adStart", required="adStart", not_empty=True),
    _key("media.ad.advertiser", "string", "adStart"),
    _key("media.ad.campaignId", "string", "adStart"),
    _key("media.ad.creativeId", "string", "adStart"),
    _key("media.ad.siteId", "string", "adStart"),
    _key("media.ad.creativeURL", "string", "adStart"),
    _key("media.ad.placementId", "string", "adStart"),
    _key("media.chapter.index", "integer", "chapterStart", required="chapterStart"),
    _key("media.chapter.offset", "number", "chapterStart", required="chapterStart", minimum=0),
    _key("media.chapter.length", "number", "chapterStart", required="chapterStart", minimum=0),
    _key("media.chapter.friendlyName", "string", "chapterStart"),
    _key("media.state.name", "string", "stateStart stateEnd", required="stateStart stateEnd"),
    _key("statesStart", "array", "statesUpdate"),
    _key("statesEnd", "array", "statesUpdate"),
    _key("media.errorId", "string", "error"),
    _key("media.errorSource", "string", "error", values=("player", "external")),
)
"""All keys of ``params``."""

QUALITY = _by_name(
    _key("media.qoe.bitrate", "integer", minimum=0),
    _key("media.qoe.droppedFrames", "integer", minimum=0),
    _key("media.qoe.framesPerSecond", "integer", minimum=0),
    _key("media.qoe.timeToStart", "integer", minimum=0),
    _key("media.qoe.errorID", "string"),
    _key("media.qoe.errorSource", "string", values=("player", "external")),
    _key("media.qoe.bitrateChange", "any", legacy=True),
    _key("media.qoe.playerSdkErrors", "any", legacy=True),
    _key("media.qoe.externalErrors", "any", legacy=True),
    _key("media.qoe.mediaSdkErrors", "any", legacy=True),
)
"""All keys of ``qoeData``."""

WRONG_EVENT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "pause": "pauseStart",
        "pausestart": "pauseStart",
        "resume": "play",
        "bufferComplete": "play",
        "bufferEnd": "play",
        "bufferResume": "play",
        "seekStart": "pauseStart",
        "seekComplete": "play",
        "start": "sessionStart",
        "sessionstart": "sessionStart",
        "complete": "sessionComplete",
        "contentComplete": "sessionComplete",
        "stop": "sessionEnd",
        "end": "sessionEnd",
        "heartbeat": "ping",
        "adBreakSkip": "adBreakComplete",
        "adBreakEnd": "adBreakComplete",
        "adEnd": "adComplete",
        "chapterEnd": "chapterComplete",
        "stateUpdate": "statesUpdate",
        "bitratechange": "bitrateChange",
    }
)
"""Common wrong names, and the event types that were meant."""

MEMBERS = ("playerTime", "eventType", "params", "customMetadata", "qoeData")
"""The top-level members that an event may have."""
PLAYER_TIME_MEMBERS = ("playhead", "ts")
"""The members of ``playerTime``; all are required."""

STAND_INS = frozenset({"n/a", "null", "undefined", "none", "nan", "unknown", "[object object]"})
"""What devices send, in any case, instead of a value that they do not know. Source: session rules."""
METADATA_KEY = re.compile(r"[a-zA-Z0-9_.]+")
"""Matches a whole key of ``customMetadata``."""
RESERVED_PREFIXES = ("a.", "media.")
"""Prefixes of metadata keys that Adobe reserves."""
STATE_NAME = re.compile(r"[a-zA-Z0-9_.]{1,64}")
"""Matches the whole name of a player state. All SDKs refuse other names."""
STANDARD_STATES = frozenset({"fullscreen", "fullScreen", "mute", "closedCaptioning", "pictureInPicture", "inFocus"})
"""The standard player states; both spellings of full screen mean the same."""
MOST_STATES = 10
"""How many names of player states count in a session."""


def rank_of(event_type: str | None) -> int:
    """Return the position of an event among those with the same ``ts``; an unknown type ranks like a ping."""
    return (EVENTS.get(event_type or "") or EVENTS["ping"]).rank
