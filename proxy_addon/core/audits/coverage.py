"""Which keys are sent on which events, how often, and with which values."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

from proxy_addon.core.audits.sketches import MOST_KEPT, NUMBERS, Histogram, Sample, Told, add_counts, as_number
from proxy_addon.core.events import Body
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY

MOST_KEYS = 1_000
"""How many keys that the protocol does not know are kept; only a broken device, or a hostile one, sends more."""
LONGEST_NAME = 1_000
"""How many characters of the name of a key are kept; longer ones that begin alike are told apart all the same."""
_MOST_SHAPES = 100
"""How many shapes of bodies of a session wait to be added, which is a bound on memory."""
UNKNOWN_TYPE = "(unknown)"
"""Stands for all types of events that the protocol does not know, so that a hostile device cannot fill the memory."""


class Section(StrEnum):
    """The member of an event that a key is in."""

    PARAMS = "params"
    QUALITY = "qoeData"
    METADATA = "customMetadata"


_SECTIONS = tuple((section, section.value) for section in Section)


class Key(NamedTuple):
    """A key on an event of a type."""

    event: str
    section: Section
    name: str

    @property
    def is_made_up(self) -> bool:
        """Whether the protocol does not know it; of these, devices may make up any number."""
        match self.section:
            case Section.PARAMS:
                return self.name not in PARAMS
            case Section.QUALITY:
                return self.name not in QUALITY
            case Section.METADATA:
                return True

    @property
    def is_cut(self) -> bool:
        """Whether its name is cut off, and ends with what tells it from others that begin alike."""
        return len(self.name) > LONGEST_NAME


@dataclass(slots=True)
class KeySample(Sample):
    """The values of a key on events of a type, and the sessions that have them.

    Attributes:
        sessions: How many sessions have the key on such an event.
        throughout: How many of these have it on all such events.
        by_kind: How many sessions have a value of a type; ``number`` is the type of integers, too.
        by_value: How many sessions have a value; a number counts as the same however it is written. As in a `Sample`, those
            with the lowest hashes are kept, and their counts are exact.
    """

    sessions: int = 0
    throughout: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    by_value: dict[Told, int] = field(default_factory=dict)
    _here: dict[Told, int] = field(default_factory=dict)
    _beyond: dict[str, int] = field(default_factory=dict)

    def add_here(self, value: Any, times: int) -> bool:
        """Count a value of a session, and return whether it is the first one in this session."""
        here = self._here
        is_first = not here
        told = self.add(value, times)
        here[told] = here.get(told, 0) + times
        if len(here) > 2 * MOST_KEPT:
            self._trim_here()
        return is_first

    def end_session(self, events: int) -> None:
        """Count the session.

        Args:
            events: How many events of the type it has.
        """
        here, by_kind, by_value = self._here, self.by_kind, self.by_value
        self._here = {}
        self.sessions += 1
        if len(here) == 1:  # as most keys have in most sessions
            ((told, sent),) = here.items()
            if told.kind in NUMBERS:
                told = as_number(told)
            by_kind[told.kind] = by_kind.get(told.kind, 0) + 1
            by_value[told] = by_value.get(told, 0) + 1
        else:
            sent = sum(here.values()) + sum(self._beyond.values())
            values = {as_number(told) for told in here}
            for kind in {told.kind for told in values} | self._beyond.keys():
                by_kind[kind] = by_kind.get(kind, 0) + 1
            for told in values:
                by_value[told] = by_value.get(told, 0) + 1
            self._beyond = {}
        self.throughout += sent == events
        if len(by_value) > 2 * MOST_KEPT:
            self.by_value = _lowest(by_value)

    def merge_sessions(self, more: KeySample) -> None:
        """Add what another one has counted, of other sessions."""
        self.merge(more)
        self.sessions += more.sessions
        self.throughout += more.throughout
        add_counts(self.by_kind, more.by_kind)
        add_counts(self.by_value, more.by_value)
        if len(self.by_value) > MOST_KEPT + 1:
            self.by_value = _lowest(self.by_value)

    @property
    def has_all_values(self) -> bool:
        """Whether ``by_value`` has all values."""
        return len(self.by_value) <= MOST_KEPT

    def _trim_here(self) -> None:
        """Keep of a session with very many values what may be kept of it in the end, and of the others how many there are."""
        here: dict[Told, int] = {}
        for told, number in self._here.items():
            value = as_number(told)
            here[value] = here.get(value, 0) + number
        self._here = _lowest(here)
        for told, number in here.items():
            if told not in self._here:
                self._beyond[told.kind] = self._beyond.get(told.kind, 0) + number


def _lowest(values: dict[Told, int]) -> dict[Told, int]:
    """Return those with the lowest hashes; one more than `MOST_KEPT`, to know that there are more."""
    return {told: values[told] for told in sorted(values, key=_hash_of)[: MOST_KEPT + 1]}


_hash_of = attrgetter("hash")

type _Place = tuple[int, Key]
"""Where a key is among those that devices make up: its hash, and the key itself."""


@dataclass(slots=True)
class Coverage:
    """The keys that events have. Sessions are added one after the other.

    Attributes:
        events: How many events there are, by type.
        numbers: How many events of a type a session has, of the sessions that have any.
        unknown: The types of events that the protocol does not know; null for one that has none.
        keys: What was seen of each key: of all that the protocol knows, and of those that devices make up, of the `MOST_KEYS`
            with the lowest hashes, wherever they were seen. There may be others; `kept` is without them.
    """

    events: dict[str, int] = field(default_factory=dict)
    unknown: Sample = field(default_factory=Sample)
    keys: dict[Key, KeySample] = field(default_factory=dict)
    numbers: dict[str, Histogram] = field(default_factory=dict)
    _known: dict[str, dict[Section, dict[str, KeySample]]] = field(default_factory=dict)
    _events_here: dict[str, int] = field(default_factory=dict)
    _keys_here: list[tuple[str, KeySample]] = field(default_factory=list)
    _alike: dict[bytes, tuple[int, Body]] = field(default_factory=dict)
    _made_up: int = 0
    _highest: _Place | None = None

    def add(self, body: Body) -> None:
        """Count the events of a body."""
        shape = body.shape
        if shape is None:
            self._add_body(body, 1)
            return
        # Bodies of one shape have the same keys and values, so they are counted first and added together.
        known = self._alike.get(shape)
        if known is None:
            if len(self._alike) >= _MOST_SHAPES:
                self._add_alike()
            self._alike[shape] = 1, body
        else:
            self._alike[shape] = known[0] + 1, body

    def _add_alike(self) -> None:
        for number, body in self._alike.values():
            self._add_body(body, number)
        self._alike = {}

    def _add_body(self, body: Body, times: int) -> None:
        values = body.value if body.is_batch else (body.value,)
        for event, value in zip(body.events, values, strict=True):
            type_ = event.type
            if type_ is None or type_ not in EVENTS:
                self.unknown.add(type_, times)
                type_ = UNKNOWN_TYPE
            self.events[type_] = self.events.get(type_, 0) + times
            self._events_here[type_] = self._events_here.get(type_, 0) + times
            if isinstance(value, dict):
                for section, name in _SECTIONS:
                    members = value.get(name)
                    if isinstance(members, dict) and members:
                        self._add(type_, section, members, times)

    def _add(self, type_: str, section: Section, members: Mapping[str, Any], times: int) -> None:
        # Looked up by name in a dict of its own, which is faster than by a key made for each member.
        known = self._known.setdefault(type_, {}).setdefault(section, {})
        for name, value in members.items():
            sample = known.get(name)
            if sample is None:
                sample = self._find(Key(type_, section, _cut(name)))
                if sample is None:
                    continue
            if sample.add_here(value, times):
                self._keys_here.append((type_, sample))

    def _find(self, key: Key) -> KeySample | None:
        """Return what is seen of a key; None if it will not be kept, because there are enough that come before it."""
        sample = self.keys.get(key)
        if sample is None and not (self._highest is not None and key.is_made_up and _place(key) > self._highest):
            sample = self._keep(key)
            if self._made_up > 2 * MOST_KEYS:
                self._trim()
                sample = self.keys.get(key)
        return sample

    def end_session(self) -> None:
        """Count the session whose events were added since the last one ended."""
        self._add_alike()
        events = self._events_here
        for type_, number in events.items():
            self.numbers.setdefault(type_, Histogram()).add(number)
        for type_, sample in self._keys_here:
            sample.end_session(events[type_])
        self._events_here, self._keys_here = {}, []

    def merge(self, more: Coverage) -> None:
        """Add what another one has counted, of other sessions."""
        add_counts(self.events, more.events)
        for type_, numbers in more.numbers.items():
            self.numbers.setdefault(type_, Histogram()).merge(numbers)
        self.unknown.merge(more.unknown)
        for key, sample in more.keys.items():
            known = self.keys.get(key)
            if known is None:
                known = self._keep(key)
            known.merge_sessions(sample)
        self._trim()

    @property
    def has_all(self) -> bool:
        """Whether all keys were kept."""
        return self._made_up <= MOST_KEYS

    def kept(self) -> dict[Key, KeySample]:
        """Return the keys that were kept, by event as the protocol lists them, then by section and name."""
        beyond = set() if self.has_all else {*self._made_up_keys()[MOST_KEYS:]}
        return {key: self.keys[key] for key in sorted(self.keys.keys() - beyond, key=place_of)}

    def _keep(self, key: Key) -> KeySample:
        sample = self.keys[key] = self._known.setdefault(key.event, {}).setdefault(key.section, {})[key.name] = (
            KeySample()
        )
        self._made_up += key.is_made_up
        return sample

    def _trim(self) -> None:
        most = MOST_KEYS + 1  # one more, to know that there are more
        if self._made_up <= most:
            return
        in_order = self._made_up_keys()
        for key in in_order[most:]:
            del self.keys[key], self._known[key.event][key.section][key.name]
        self._made_up, self._highest = most, _place(in_order[most - 1])
        kept = set(map(id, self.keys.values()))
        self._keys_here = [(type_, sample) for type_, sample in self._keys_here if id(sample) in kept]

    def _made_up_keys(self) -> list[Key]:
        """Return the keys that devices made up, those first that stay; their places do not depend on where they were seen."""
        return sorted((key for key in self.keys if key.is_made_up), key=_place)


def place_of(key: Key) -> tuple[int, str, str]:
    """Return what sorts keys by event as the protocol lists them, then by section and name."""
    return _PLACES.get(key.event, len(_PLACES)), key.section, key.name


_PLACES = {event: place for place, event in enumerate(EVENTS)}


def _place(key: Key) -> _Place:
    return zlib.crc32(" ".join(key).encode(errors="surrogatepass")), key


def _cut(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{name[:LONGEST_NAME]}…{digest}"
