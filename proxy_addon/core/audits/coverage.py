"""Which keys are sent on which events, how often, and with which values."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from proxy_addon.core.audits.sketches import (
    MOST_KEPT,
    MOST_NAMED,
    NUMBERS,
    Drawn,
    Lot,
    PerSession,
    Sample,
    Told,
    add_counts,
    as_number,
    drawn_by,
    merge_drawn,
)
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
        throughout: How many sessions have the key on all such events.
        partly: The sessions that have it on some of them.
        by_kind: The sessions that have a value of a type; ``number`` is the type of integers, too.
        by_value: The sessions that have a value; a number counts as the same however it is written. None if there are more
            than `MOST_KEPT` values.
    """

    throughout: int = 0
    partly: Drawn = field(default_factory=Drawn)
    by_kind: defaultdict[str, Drawn] = field(default_factory=drawn_by)
    by_value: defaultdict[Told, Drawn] | None = field(default_factory=drawn_by)
    _here: dict[Told, int] = field(default_factory=dict)
    _beyond: dict[str, int] = field(default_factory=dict)

    def add_here(self, value: Any, times: int) -> bool:
        """Count a value of a session, and return whether it is the first one in this session."""
        here = self._here
        is_first = not here and not self._beyond
        told = self.add(value, times)
        here[told] = here.get(told, 0) + times
        if len(here) > 2 * MOST_KEPT:
            self._fold_here()
        return is_first

    def end_session(self, events: int, lot: Lot) -> None:
        """Count the session.

        Args:
            events: How many events of the type it has.
        """
        here, beyond, by_value = self._here, self._beyond, self.by_value
        self._here = {}
        if len(here) == 1 and not beyond:  # as most keys have in most sessions
            ((told, sent),) = here.items()
            if told.kind in NUMBERS:
                told = as_number(told)
            self.by_kind[told.kind].add(lot)
            if by_value is not None:
                by_value[told].add(lot)
        else:
            sent = sum(here.values()) + sum(beyond.values())
            values = {as_number(told) for told in here}
            for kind in {told.kind for told in values} | beyond.keys():
                self.by_kind[kind].add(lot)
            if by_value is not None:
                for told in values:
                    by_value[told].add(lot)
            self._beyond = {}
        if by_value is not None and len(by_value) > MOST_KEPT:
            self.by_value = None
        if sent == events:
            self.throughout += 1
        else:
            self.partly.add(lot)

    def merge_sessions(self, more: KeySample) -> None:
        """Add what another one has counted, of other sessions."""
        self.merge(more)
        self.throughout += more.throughout
        self.partly.merge(more.partly)
        merge_drawn(self.by_kind, more.by_kind)
        if self.by_value is None or more.by_value is None:
            self.by_value = None
            return
        merge_drawn(self.by_value, more.by_value)
        if len(self.by_value) > MOST_KEPT:
            self.by_value = None

    @property
    def sessions(self) -> int:
        """How many sessions have the key on such an event."""
        return self.throughout + self.partly.sessions

    @property
    def named(self) -> Iterator[str]:
        """Our ids of the sessions to look at."""
        lots = {lot for of_kind in self.by_kind.values() for lot in of_kind.lots}
        return (lot.id for lot in sorted(lots)[:MOST_NAMED])

    def _fold_here(self) -> None:
        """Keep of a session with very many values how many there are of each type."""
        here: dict[Told, int] = {}
        for told, number in self._here.items():
            value = as_number(told)
            here[value] = here.get(value, 0) + number
        if len(here) > MOST_KEPT:
            self.by_value = None
            for told, number in here.items():
                self._beyond[told.kind] = self._beyond.get(told.kind, 0) + number
            here = {}
        self._here = here


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
    numbers: dict[str, PerSession] = field(default_factory=dict)
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

    def end_session(self, lot: Lot) -> None:
        """Count the session whose events were added since the last one ended."""
        self._add_alike()
        events = self._events_here
        for type_, number in events.items():
            self.numbers.setdefault(type_, PerSession()).add(number, lot)
        for type_, sample in self._keys_here:
            sample.end_session(events[type_], lot)
        self._events_here, self._keys_here = {}, []

    def merge(self, more: Coverage) -> None:
        """Add what another one has counted, of other sessions."""
        add_counts(self.events, more.events)
        for type_, numbers in more.numbers.items():
            self.numbers.setdefault(type_, PerSession()).merge(numbers)
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
