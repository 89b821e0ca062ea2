"""How two sessions are compared as tracking: which places count, and how far numbers may be apart.

A rule names a place in an event, as messages do, and optionally the type of event::

    [ "!" ] [ EVENT ":" ] PLACE

``PLACE`` is ``params/media.name``, ``customMetadata/page``, ``qoeData``, ``playhead``, ``distance``, ``status`` …, or
``*`` for the whole event; a rule covers everything inside its place. In names, ``*`` stands for any text. Of several
rules that cover a place, the last one counts; with ``!`` it makes the place count again.

>>> compare = Compare.parsed({"ignore": ["adStart:params/media.ad.id", "bitrateChange:*"]}, "film.json")
>>> compare.level("adStart", "params/media.ad.id"), compare.level("bitrateChange", "params"), compare.level("play", "qoeData")
(<Level.IGNORED: 'ignored'>, <Level.IGNORED: 'ignored'>, <Level.EXACT: 'exact'>)
>>> Compare.parsed({"ignore": ["params/media.sdkVersion", "!params/media.sdkVersion"]}, "film.json").level(
...     "sessionStart", "params/media.sdkVersion")
<Level.EXACT: 'exact'>
>>> Compare.parsed({"ignroe": []}, "film.json")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: film.json: unknown member 'ignroe' in "compare"; did you mean ignore?
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import translate
from itertools import pairwise
from typing import Any

from proxy_addon.core.protocol import EVENT_TYPES
from proxy_addon.core.pseudonyms.personal import PERSONAL, Personal
from proxy_addon.core.wording import close_to, meant, quoted, shown, suggestion, visible
from proxy_addon.errors import SettingsError

PLAYHEAD_TOLERANCE_S = 1.0
"""Many players report whole seconds: 59.9 and 60.1 then are 59 and 60, although they are 0.2 s apart."""
DISTANCE_TOLERANCE_S = 1.5
"""The SDKs look at the clock every 0.5 to 1.5 s. Source: Media Collection API, pings, gaps and timeouts."""
PING_TOLERANCE_S = 1.0
"""How early or late a ping may be, because timers are not exact."""
START_TOLERANCE_S = 5.0
"""How much the time from the start to the next event may differ, because the player waits for the network. The SDKs give
up on an answer after this time. Source: Media Collection API, timeouts."""


class Level(StrEnum):
    """How strictly a place is compared."""

    EXACT = "exact"
    ANY_VALUE = "any-value"
    """It has to be there, with a value of the same JSON type."""
    IGNORED = "ignored"


VOLATILE = (
    # who watches
    "params/analytics.visitorId",
    "params/analytics.aid",
    "params/visitor.*",
    "params/appInstallationId",
    # with what
    "params/media.sdkVersion",
    "params/media.libraryVersion",
    # how good network and device are at the time
    "qoeData/media.qoe.bitrate",
    "qoeData/media.qoe.droppedFrames",
    "qoeData/media.qoe.framesPerSecond",
    "qoeData/media.qoe.timeToStart",
)
"""Places whose values differ each time, or between versions of the same player. Only their presence and type count, as
in all other places of `core.pseudonyms.personal`."""
IGNORED = ("status",)
"""Places that do not count unless asked for: the player does not decide how upstream answers."""
TOLERANCES: Mapping[str, float] = {"params/media.uniqueTimePlayed": DISTANCE_TOLERANCE_S}
"""Numbers that measure time."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A place, and how strictly it is compared; see the module for the grammar."""

    text: str
    level: Level

    def covers(self, event_type: str | None, place: str) -> bool:
        """Whether the rule is about a place in an event, or about one that contains it."""
        event, _, parts = split(self.text.removeprefix("!"))
        if event is not None and not _fits(event, event_type or ""):
            return False
        asked = place.split("/")
        return len(parts) <= len(asked) and all(map(_fits, parts, asked))


def split(text: str) -> tuple[str | None, str, list[str]]:
    """Return the event type of a rule, its place, and the parts of the place."""
    event, mark, place = text.partition(":")
    if not mark or "/" in event:
        event, place = "", text
    return (event if mark and event else None), place, place.split("/")


def _fits(pattern: str, name: str) -> bool:
    return pattern == name or ("*" in pattern and re.match(translate(pattern.replace("[", "[[]")), name) is not None)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """How two sessions are compared.

    Attributes:
        rules: In addition to `VOLATILE` and `IGNORED`, which come first.
        playhead_tolerance_s: How far playheads may be apart.
        distance_tolerance_s: By how much the time between two events may differ.
        ping_tolerance_s: By how much a ping may be early or late.
        tolerances: How far numbers in a place may be apart, by rule without ``!``.
        personal: Members whose values tell who watches, so that only their presence and type count.
    """

    rules: tuple[Rule, ...] = ()
    playhead_tolerance_s: float = PLAYHEAD_TOLERANCE_S
    distance_tolerance_s: float = DISTANCE_TOLERANCE_S
    ping_tolerance_s: float = PING_TOLERANCE_S
    tolerances: tuple[tuple[str, float], ...] = ()
    personal: Personal = PERSONAL
    _levels: dict[tuple[str | None, str], Level] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parsed(cls, value: Any, where: str, personal: Personal = PERSONAL) -> Compare:
        """Return the options in the ``"compare"`` member of a fixture; the defaults for None.

        Args:
            where: The file, for messages.
            personal: As the attribute.

        Raises:
            SettingsError: A member is unknown or has a value that makes no sense.
        """
        if value is None:
            return cls(personal=personal)
        if not isinstance(value, dict):
            raise SettingsError(f'{where}: "compare" must be an object, not {shown(value)}')
        for name in value:
            if name not in _MEMBERS:
                raise SettingsError(
                    f'{where}: unknown member {quoted(name)} in "compare"{suggestion(name, _MEMBERS)}',
                    hint=f"it may have {', '.join(_MEMBERS)}",
                )
        made = cls(personal=personal)
        for name in ("any_value", "ignore"):
            made = made.with_rules(_texts(value, name, where), f'{where}: "compare" member {name}', _LEVELS[name])
        seconds: dict[str, Any] = {name: _seconds(value[name], name, where) for name in _SECONDS if name in value}
        numbers = value.get("tolerances", {})
        if not isinstance(numbers, dict):
            raise SettingsError(f'{where}: "compare" member tolerances must be an object, not {shown(numbers)}')
        for place in numbers:
            _checked(place, f'{where}: "compare" member tolerances')
        by_place = tuple((place, _seconds(number, f"tolerances/{place}", where)) for place, number in numbers.items())
        return replace(made, tolerances=by_place, **seconds)

    def with_rules(self, texts: Iterable[str], where: str, level: Level = Level.IGNORED) -> Compare:
        """Return the options with more rules, which come after those there are.

        Raises:
            SettingsError: A rule does not name a place; the message begins with ``where``.
        """
        more = tuple(
            Rule(text, Level.EXACT if text.startswith("!") else level) for text in (_checked(t, where) for t in texts)
        )
        return replace(self, rules=(*self.rules, *more), _levels={})

    def level(self, event_type: str | None, place: str) -> Level:
        """Return how strictly a place is compared."""
        known = self._levels.get((event_type, place))
        if known is None:
            if len(self._levels) > 10_000:
                self._levels.clear()
            rule = self._rule(event_type, place)
            usual = Level.ANY_VALUE if self._is_personal(place) else Level.EXACT
            known = usual if rule is None else rule.level
            self._levels[event_type, place] = known
        return known

    def why(self, event_type: str | None, place: str) -> str:
        """Return why not every difference in a place counts, as a clause.

        >>> Compare().why("sessionStart", "params/media.sdkVersion")
        'it differs each time, so only its presence and type count'
        >>> Compare.parsed({"ignore": ["qoeData"]}, "film.json").why("play", "qoeData/media.qoe.bitrate")
        'ignored by the rule qoeData'
        """
        rule = self._rule(event_type, place)
        if rule is None:
            return "it identifies the viewer, so only its presence and type count"
        if rule.text in IGNORED:
            return "the player does not decide how upstream answers"
        if rule.text in VOLATILE:
            return "it differs each time, so only its presence and type count"
        return f"{'ignored' if rule.level is Level.IGNORED else 'any value accepted'} by the rule {visible(rule.text)}"

    def _rule(self, event_type: str | None, place: str) -> Rule | None:
        rules = (rule for rule in reversed((*_DEFAULTS, *self.rules)) if rule.covers(event_type, place))
        return next(rules, None)

    def _is_personal(self, place: str) -> bool:
        names = place.split("/")
        return any(self.personal.is_member(name, above) for above, name in pairwise(names))

    def is_ignored(self, event_type: str | None) -> bool:
        """Whether events of a type do not count at all."""
        return self.level(event_type, "*") is Level.IGNORED

    def tolerance(self, event_type: str | None, place: str) -> float | None:
        """Return how far numbers in a place may be apart; None if they have to be equal."""
        fitting = (
            number
            for rule, number in (*reversed(self.tolerances), *TOLERANCES.items())
            if Rule(rule, Level.EXACT).covers(event_type, place)
        )
        return next(fitting, None)


def document(
    value: Mapping[str, Any] | None,
    *,
    ignore: Iterable[str] = (),
    any_value: Iterable[str] = (),
    playhead_tolerance_s: float | None = None,
) -> dict[str, Any]:
    """Return the ``"compare"`` member to write.

    Args:
        value: The member so far, valid, which is kept; None for one that names every option, so that people see what
            they can change.
        ignore, any_value: Rules to add.
        playhead_tolerance_s: Replaces the one there is; None keeps it.
    """
    made: dict[str, Any]
    if value is None:
        made = {
            "ignore": [],
            "any_value": [],
            "playhead_tolerance_s": PLAYHEAD_TOLERANCE_S,
            "distance_tolerance_s": DISTANCE_TOLERANCE_S,
            "ping_tolerance_s": PING_TOLERANCE_S,
            "tolerances": {},
        }
    else:
        made = dict(value)
    for name, more in (("ignore", tuple(ignore)), ("any_value", tuple(any_value))):
        if more:
            made[name] = list(dict.fromkeys([*made.get(name, []), *more]))
    if playhead_tolerance_s is not None:
        made["playhead_tolerance_s"] = playhead_tolerance_s
    return made


_DEFAULTS = (
    *(Rule(text, Level.ANY_VALUE) for text in VOLATILE),
    *(Rule(text, Level.IGNORED) for text in IGNORED),
)
_LEVELS = {"any_value": Level.ANY_VALUE, "ignore": Level.IGNORED}
_SECONDS = ("playhead_tolerance_s", "distance_tolerance_s", "ping_tolerance_s")
_MEMBERS = ("ignore", "any_value", *_SECONDS, "tolerances")
_TOP = ("params", "customMetadata", "qoeData", "playerTime", "eventType", "playhead", "distance", "status", "body")
"""First parts of places in events of the protocol."""


def _texts(value: Mapping[str, Any], name: str, where: str) -> list[str]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise SettingsError(f'{where}: "compare" member {name} must be a list of strings, such as ["qoeData"]')
    return found


def _seconds(value: Any, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SettingsError(f'{where}: "compare" member {name} must be a number from 0 on, not {shown(value)}')
    return float(value)


def _checked(text: str, where: str) -> str:
    event, place, parts = split(text.removeprefix("!"))
    if not place or not all(parts):
        raise SettingsError(f"{where}: {quoted(text)} names no place", hint=_HINT)
    if event is None and len(parts) == 1 and parts[0] in EVENT_TYPES:
        raise SettingsError(
            f"{where}: {quoted(text)} is a type of event, not a place", hint=f"for all of its events write '{text}:*'"
        )
    if len(parts) == 1 and "." in parts[0]:
        member = "qoeData" if parts[0].startswith("media.qoe.") else "params"
        raise SettingsError(f"{where}: {quoted(text)} names no member of an event", hint=f"write '{member}/{parts[0]}'")
    if event is not None and event not in EVENT_TYPES and "*" not in event and (near := close_to(event, EVENT_TYPES)):
        raise SettingsError(
            f"{where}: {quoted(text)} names no known type of event{meant(near)}",
            hint=f"if it is a type of your own, write '{'!' * text.startswith('!')}{visible(event)}*:{visible(place)}'",
        )
    if "*" not in parts[0] and parts[0] not in _TOP and (suggested := suggestion(parts[0], _TOP)):
        raise SettingsError(f"{where}: {quoted(text)} names no member of an event{suggested}", hint=_HINT)
    return text


_HINT = "write a place as messages do, such as params/media.name, or EVENT:PLACE, such as adStart:params/media.ad.id"
