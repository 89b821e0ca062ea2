"""Summaries of many values that need little memory and can be merged.

Merging is associative and commutative, and a summary does not depend on the order in which values were added. So parts of
an audit may be worked out anywhere, and give the same result to the last byte. That is why everything is counted in
integers: sums of floats depend on their order.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from proxy_addon.core import jsontext

MOST_KEPT = 64
"""How many distinct values a `Sample` keeps; up to so many, all that it says is exact."""
LONGEST = 120
"""How many characters of a value are kept; longer ones that begin alike are told apart all the same."""
_PRECISION_BITS = 6


@dataclass(slots=True)
class Histogram:
    """Whole numbers, counted in buckets that are at most 1/32 of a number wide.

    Attributes:
        counts: How many numbers are in a bucket, by the number in it that is nearest to 0.
        total: The sum of all numbers, which is exact.
    """

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    lowest: int | None = None
    highest: int | None = None

    def add(self, number: int) -> None:
        """Count a number."""
        bucket = _bucket(number)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += number
        if self.lowest is None or number < self.lowest:
            self.lowest = number
        if self.highest is None or number > self.highest:
            self.highest = number

    def add_all(self, numbers: Collection[int]) -> None:
        """Count numbers."""
        if not numbers:
            return
        counts = self.counts
        for number in numbers:
            bucket = _bucket(number)
            counts[bucket] = counts.get(bucket, 0) + 1
        self.total += sum(numbers)
        self.lowest, self.highest = least(self.lowest, min(numbers)), greatest(self.highest, max(numbers))

    def merge(self, more: Histogram) -> None:
        """Add what another one has counted."""
        add_counts(self.counts, more.counts)
        self.total += more.total
        self.lowest = least(self.lowest, more.lowest)
        self.highest = greatest(self.highest, more.highest)

    @property
    def number(self) -> int:
        """How many numbers were counted."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float | None:
        """The mean, which is exact; None without numbers."""
        return self.total / self.number if self.counts else None

    def quantile(self, share: float) -> int | None:
        """Return the number below which a share of all numbers is, within 1/32 of it; None without numbers."""
        if self.lowest is None or self.highest is None:
            return None
        wanted, passed = share * self.number, 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= wanted:
                return min(max(bucket, self.lowest), self.highest)
        return self.highest

    def above(self, limit: int) -> int:
        """Return how many numbers are above a limit, which is rounded to the edge of its bucket."""
        return sum(count for bucket, count in self.counts.items() if bucket > limit)


def _bucket(number: int) -> int:
    size = -number if number < 0 else number
    shift = size.bit_length() - _PRECISION_BITS
    if shift > 0:
        size = size >> shift << shift
    return -size if number < 0 else size


class Told(NamedTuple):
    """A JSON value as a `Sample` keeps it: its type, its text, and the hash by which it is known."""

    kind: str
    text: str
    hash: int


@dataclass(slots=True)
class Sample:
    """JSON values of one key: how many, of which types, and which.

    Of the distinct values, those with the lowest hashes are kept, so that the same ones stay wherever they were seen.
    The counts of the values that are kept are exact, and so is the number of distinct values up to `MOST_KEPT`.

    Attributes:
        kinds: How many values there are of a type: ``string``, ``integer``, ``number``, ``boolean``, ``null``, ``object``,
            ``array``.
        kept: Type, text and count of values, by hash.
        lowest: The lowest number; None if there is none.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    kept: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    lowest: float | None = None
    highest: float | None = None

    def add(self, value: Any, times: int = 1) -> Told:
        """Count a decoded JSON value, and return it as it is kept."""
        told_ = told(value)
        kind, text, hash_ = told_
        self.kinds[kind] = self.kinds.get(kind, 0) + times
        known = self.kept.get(hash_)
        self.kept[hash_] = (kind, text, times if known is None else known[2] + times)
        if known is None and len(self.kept) > 2 * MOST_KEPT:
            self._trim(MOST_KEPT + 1)  # one more, to know that there are more
        if kind in NUMBERS:
            number = _as_float(value)
            if self.lowest is None or number < self.lowest:
                self.lowest = number
            if self.highest is None or number > self.highest:
                self.highest = number
        return told_

    def merge(self, more: Sample) -> None:
        """Add what another one has counted."""
        add_counts(self.kinds, more.kinds)
        for hash_, (kind, text, count) in more.kept.items():
            known = self.kept.get(hash_)
            self.kept[hash_] = (kind, text, count if known is None else known[2] + count)
        self._trim(MOST_KEPT + 1)
        self.lowest = least(self.lowest, more.lowest)
        self.highest = greatest(self.highest, more.highest)

    @property
    def number(self) -> int:
        """How many values were counted."""
        return sum(self.kinds.values())

    @property
    def has_all(self) -> bool:
        """Whether all distinct values were kept."""
        return len(self.kept) <= MOST_KEPT

    @property
    def distinct(self) -> int:
        """How many distinct values there are: exact up to `MOST_KEPT`, an estimate above."""
        if self.has_all:
            return len(self.kept)
        hashes = sorted(self.kept)[:MOST_KEPT]
        return round((MOST_KEPT - 1) * 2**64 / hashes[-1])

    def common(self, number: int) -> list[tuple[str, str, int]]:
        """Return type, text and count of the values that are most frequent among those kept, most frequent first."""
        kept = (self.kept[hash_] for hash_ in sorted(self.kept)[:MOST_KEPT])
        return sorted(kept, key=lambda value: (-value[2], value[0], value[1]))[:number]

    def _trim(self, most: int) -> None:
        if len(self.kept) > most:
            self.kept = {hash_: self.kept[hash_] for hash_ in sorted(self.kept)[:most]}


NUMBERS = frozenset({"integer", "number"})
_EXACT = 2**53
"""Smaller whole numbers are exact as floats."""


def _as_float(number: float) -> float:
    """Return the nearest number that JSON has, too: it has no infinity."""
    try:
        return min(max(float(number), -sys.float_info.max), sys.float_info.max)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def told(value: Any) -> Told:
    """Return a decoded JSON value as samples keep it."""
    if value.__class__ is str:
        return _told_of(value, "string")
    kind = kind_of(value)
    if value is None or value is True or value is False:
        return _told_of(json.dumps(value), kind)
    if isinstance(value, jsontext.Number):
        return _told_of(value.written, kind)
    if isinstance(value, int | float):
        return _told_of(repr(value), kind)
    if isinstance(value, str):
        return _told_of(str(value), kind)
    return _told_of(json.dumps(value, sort_keys=True, default=repr), kind)


def as_number(value: Told) -> Told:
    """Return a value without how it was written, if it is a number: JSON has one type for 3 and 3.0, which are the same."""
    return _number(value) if value.kind in NUMBERS else value


@lru_cache(maxsize=4_096)
def _number(value: Told) -> Told:
    _, text, hash_ = value
    if len(text) >= LONGEST:  # perhaps cut off
        return Told("number", text, hash_)
    number = float(text)
    if number.is_integer() and abs(number) < _EXACT:
        text = str(int(number))
    elif math.isfinite(number) and "." in text:
        text = repr(number)
    return _told_of(text, "number")


def kind_of(value: Any) -> str:
    """Return the JSON type of a decoded value; a number is an ``integer`` if it is written as one."""
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, jsontext.Number):
        return "integer" if value.is_integer_text else "number"
    if isinstance(value, float):
        return "number"
    return "object" if isinstance(value, dict) else "array"


def _told_of(text: str, kind: str) -> Told:
    return _known(text, kind) if len(text) <= LONGEST else _told_anew(text, kind)


def _told_anew(text: str, kind: str) -> Told:
    digest = hashlib.blake2b(f"{kind} {text}".encode(errors="surrogatepass"), digest_size=8).digest()
    return Told(kind, text[:LONGEST], int.from_bytes(digest))


_known = lru_cache(maxsize=16_384)(_told_anew)
"""Devices say the same again and again; long texts are not kept, because so many of them would fill the memory."""


def add_counts[Key](counts: dict[Key, int], more: dict[Key, int]) -> None:
    """Add counts to others."""
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count


def least[Ordered: (int, float)](one: Ordered | None, other: Ordered | None) -> Ordered | None:
    """Return the smaller of two values; None counts as no value."""
    return other if one is None else one if other is None else min(one, other)


def greatest[Ordered: (int, float)](one: Ordered | None, other: Ordered | None) -> Ordered | None:
    """Return the larger of two values; None counts as no value."""
    return other if one is None else one if other is None else max(one, other)


MOST_NAMED = 3
"""How many sessions to look at are named."""


@dataclass(slots=True)
class Concerned:
    """The sessions that something concerns.

    Attributes:
        sessions: How many.
        times: How often it occurs in them.
        first_us: When the first of them began, in microseconds since 1970; None without sessions.
        last_us: When the last of them began.
        worst: Those in which it occurs most often, the newest first among equals, then by id: times, beginning, id.
    """

    sessions: int = 0
    times: int = 0
    first_us: int | None = None
    last_us: int | None = None
    worst: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, id: str, began_us: int, times: int = 1) -> None:
        """Count a session; each may be counted once."""
        self.sessions += 1
        self.times += times
        self.first_us, self.last_us = least(self.first_us, began_us), greatest(self.last_us, began_us)
        self._name([(times, began_us, id)])

    def merge(self, more: Concerned) -> None:
        """Add other sessions."""
        self.sessions += more.sessions
        self.times += more.times
        self.first_us, self.last_us = least(self.first_us, more.first_us), greatest(self.last_us, more.last_us)
        self._name(more.worst)

    @property
    def named(self) -> Iterator[str]:
        """Our ids of the sessions to look at."""
        return (id for _, _, id in self.worst)

    def _name(self, more: Iterable[tuple[int, int, str]]) -> None:
        self.worst = sorted([*self.worst, *more], reverse=True)[:MOST_NAMED]


class Lot(NamedTuple):
    """What is drawn for a session: of those that have something in common, the ones with the lowest numbers are named.

    The number is made of the id, so the same sessions are drawn wherever they are audited, and a session that is named for
    one thing is likely to be named for others.
    """

    number: int
    id: str


def lot_of(id: str) -> Lot:
    """Return the lot of a session.

    Args:
        id: Our id of it.
    """
    return Lot(zlib.crc32(id.encode(errors="surrogatepass")), id)


@dataclass(slots=True)
class Drawn:
    """The sessions that have something in common.

    Attributes:
        sessions: How many.
        lots: The lowest `MOST_NAMED` of their lots, sorted.
    """

    sessions: int = 0
    lots: tuple[Lot, ...] = ()

    def add(self, lot: Lot) -> None:
        """Count a session; each may be counted once."""
        self.sessions += 1
        lots = self.lots
        if len(lots) < MOST_NAMED or lot < lots[-1]:
            self.lots = _lowest(lots, (lot,))

    def merge(self, more: Drawn) -> None:
        """Add other sessions."""
        self.sessions += more.sessions
        self.lots = _lowest(self.lots, more.lots)

    @property
    def named(self) -> Iterator[str]:
        """Our ids of the sessions to look at."""
        return (lot.id for lot in self.lots)


@lru_cache(maxsize=4_096)
def _lowest(one: tuple[Lot, ...], other: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """Return the lowest of some lots; what has the same sessions shares them, as most keys of a player do."""
    if not other or one == other or (len(one) == MOST_NAMED and one[-1] < other[0]):
        return one
    return tuple(sorted({*one, *other})[:MOST_NAMED])


def drawn_by() -> defaultdict[Any, Drawn]:
    """Return an empty dict of sessions by what they have in common, to which they are added by ``drawn[key].add(lot)``."""
    return defaultdict(Drawn)


def merge_drawn[Key](drawn: defaultdict[Key, Drawn], more: Mapping[Key, Drawn]) -> None:
    """Add other sessions."""
    for key, sessions in more.items():
        drawn[key].merge(sessions)


MOST_MEASURED = 6
"""Of how many sessions a `PerSession` knows the number."""


@dataclass(slots=True)
class PerSession:
    """Whole numbers, one for each session that has any.

    Attributes:
        numbers: How they are distributed.
        drawn: The `MOST_MEASURED` sessions with the lowest lots, sorted by these, and the number of each. The highest of these
            are high, but not what no other session has, as the highest of all would be.
    """

    numbers: Histogram = field(default_factory=Histogram)
    drawn: tuple[tuple[Lot, int], ...] = ()

    def add(self, number: int, lot: Lot) -> None:
        """Count the number of a session."""
        self.numbers.add(number)
        if len(self.drawn) < MOST_MEASURED or lot < self.drawn[-1][0]:
            self._draw(((lot, number),))

    def merge(self, more: PerSession) -> None:
        """Add those of other sessions."""
        self.numbers.merge(more.numbers)
        self._draw(more.drawn)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return self.numbers.number

    @property
    def named(self) -> Iterator[str]:
        """Our ids of the sessions to look at, whatever their numbers."""
        return (lot.id for lot, _ in self.drawn[:MOST_NAMED])

    def furthest(self, *, highest: bool) -> Iterator[str]:
        """Return our ids of the sessions with the highest numbers of those drawn, or with the lowest ones."""
        sign = -1 if highest else 1
        in_order = sorted(self.drawn, key=lambda each: (sign * each[1], each[0]))
        return (lot.id for lot, _ in in_order[:MOST_NAMED])

    def _draw(self, more: Iterable[tuple[Lot, int]]) -> None:
        self.drawn = tuple(sorted({*self.drawn, *more})[:MOST_MEASURED])
