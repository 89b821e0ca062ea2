"""In what two sets of sessions may differ, how far they do, and how likely that is by chance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Protocol

from proxy_addon.core.audits.changes import FISHER, MANN_WHITNEY, Compared, Side, Turn, What
from proxy_addon.core.audits.coverage import UNKNOWN_TYPE, Key, KeySample, place_of
from proxy_addon.core.audits.losses import Loss
from proxy_addon.core.audits.significance import fisher, superiority
from proxy_addon.core.audits.sketches import MOST_KEPT, MOST_NAMED, Drawn, Histogram, PerSession, Told
from proxy_addon.core.audits.totals import SUMMED, Totals
from proxy_addon.core.findings import Severity
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY

LEAST_SHARE = 0.01
"""Shares of sessions that differ less are no change, however certain it is."""
CLEAR_SHARE = 0.05
"""Shares of sessions that differ by so much are a change; those in between if the odds are at least `LEAST_ODDS`."""
LEAST_ODDS = 2.0
LEAST_SUPERIORITY = 0.1
"""How far values on one side must be above those on the other: see `significance.superiority`."""
LEAST_OF_MEAN = 0.1
"""The mean of a metric, or of a number of events, must differ by this part of it."""
LEAST_RHYTHM: Mapping[str, tuple[float, int]] = {
    "ping_gaps_ms": (0.05, 250),
    "playhead_speed": (0.05, 20),
    "clock_skew_ms": (0.0, 1_000),
    "latency_ms": (0.2, 50),
}
"""By which part of it, and by how much, p5, p50 or p95 of the medians of sessions must differ."""

LEAST_PER_VALUE = 3
"""Values of a key are compared if so many sessions have each of them, on average on both sides."""
_NAMING = frozenset(
    {
        *("analytics.visitorId", "analytics.aid", "visitor.marketingCloudUserId", "visitor.customerIDs"),
        *("visitor.aamLocationHint", "appInstallationId"),
        *("media.id", "media.name", "media.assetId", "media.show", "media.season", "media.episode"),
        *("media.firstAirDate", "media.firstDigitalDate", "media.artist", "media.album", "media.author"),
        *("media.ad.id", "media.ad.name", "media.ad.campaignId", "media.ad.creativeId", "media.ad.creativeURL"),
        *("media.ad.siteId", "media.ad.placementId", "media.chapter.friendlyName"),
        *("media.sdkVersion", "media.libraryVersion"),
    }
)
"""Keys of the protocol whose values name a viewer, a content, an ad or a version, and say nothing about what a player does."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAMING_LAST = frozenset({"id", "uid", "uuid", "guid", "hash", "token"})
_NAMING_WITHIN = frozenset({"version", "appversion", "sdkversion", "build"})
"""Words of the names of other keys of which the same is to be expected: behind all others, and anywhere."""
_UNIT = 1_000
"""Values of metrics are kept in thousandths."""


class _Place(NamedTuple):
    """What a comparison is about: members of `Compared`."""

    event: str = ""
    section: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing before and after, and how it would be called if there are enough sessions for it.

    Attributes:
        turn: None if it is too little to matter.
        size: How far shares of sessions are apart; or how much more often a value is higher on one side than lower.
    """

    compared: Compared
    turn: Turn | None
    size: float

    @property
    def can_differ(self) -> bool:
        """Whether there is anything to test: not if all sessions of both sides have it, which says nothing about chance."""
        before, after = self.compared.before, self.compared.after
        return self.compared.test != FISHER or before.sessions + after.sessions < before.of + after.of


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown of what devices made up; see `compared`."""

    name: Callable[[str], str]
    is_public: Callable[[Key, str, str], bool]


def differences(before: Totals, after: Totals, show: Showing) -> Iterator[Difference]:
    """Yield all that can be compared, in the order of `What`."""
    yield from _events(before, after)
    yield from _keys(before, after, show)
    yield from _findings(before, after)
    yield from _deviations(before, after, show)
    yield from _losses(before, after)
    yield from _rhythm(before, after)
    yield from _metrics(before, after)


class _Having(Protocol):
    """The sessions that have something."""

    @property
    def sessions(self) -> int:
        """How many."""

    @property
    def named(self) -> Iterator[str]:
        """Our ids of those to look at."""


class _Part(NamedTuple):
    """Sessions of one side that have something, and how many may have it."""

    having: _Having
    of: int

    def side(self) -> Side:
        return _side(self.having.sessions, self.of)


_NONE = Drawn()


def _events(before: Totals, after: Totals) -> Iterator[Difference]:
    old, new = before.coverage.numbers, after.coverage.numbers
    types = [type_ for type_ in (*EVENTS, UNKNOWN_TYPE) if type_ in old or type_ in new]
    for type_ in types:
        one, other = _Part(old.get(type_, _NONE), before.sessions), _Part(new.get(type_, _NONE), after.sessions)
        yield _counted(What.EVENT, _Place(type_), one, other)
    for type_ in types:
        if type_ in old and type_ in new:
            values = _Values.of_all(old[type_], before.sessions), _Values.of_all(new[type_], after.sessions)
            yield _spread(What.NUMBER, _Place(type_), *values, _differs_in_mean)


def _keys(before: Totals, after: Totals, show: Showing) -> Iterator[Difference]:
    old, new = before.coverage, after.coverage
    old_keys, new_keys = old.kept(), new.kept()
    nothing = KeySample()
    pairs = [
        (key, old_keys.get(key, nothing), new_keys.get(key, nothing))
        for key in sorted({*old_keys, *new_keys}, key=place_of)
        if key.event in old.numbers
        and key.event in new.numbers  # else the events say it
        # Of devices that make up keys, only some are kept: one that a side lacks may just not be kept there.
        and (key in old_keys or old.has_all or not key.is_made_up)
        and (key in new_keys or new.has_all or not key.is_made_up)
    ]
    places = {key: _Place(key.event, key.section.value, show.name(key.name)) for key, _, _ in pairs}
    for key, one, other in pairs:
        parts = _Part(one, old.numbers[key.event].sessions), _Part(other, new.numbers[key.event].sessions)
        yield _counted(What.KEY, places[key], *parts)
    pairs = [(key, one, other) for key, one, other in pairs if one.sessions and other.sessions]
    for key, one, other in pairs:
        parts = _Part(Drawn(one.throughout), one.sessions), _Part(Drawn(other.throughout), other.sessions)
        yield _counted(What.THROUGHOUT, places[key], *parts, shown=(other.partly, one.partly))
    for key, one, other in pairs:
        for kind in sorted({*one.by_kind, *other.by_kind}):
            of_kind = (_Part(each.by_kind.get(kind, _NONE), each.sessions) for each in (one, other))
            yield _counted(What.TYPE, places[key], *of_kind, detail=kind)
    for key, one, other in pairs:
        if not _is_naming(key.name):
            yield from _values_of(key, places[key], one, other, show)


def keys_of_many_values(before: Totals, after: Totals, show: Showing) -> tuple[str, ...]:
    """Return keys whose values are not compared because a side has too many: section and name, each once.

    Keys of which nothing may be shown are left out: their values would not be compared if they were few.
    """
    old, new = before.coverage.kept(), after.coverage.kept()
    both = ((key, old[key], new[key]) for key in old if key in new and not _is_naming(key.name))
    many = (
        key
        for key, *sides in both
        if any(side.by_value is None for side in sides)
        and any(show.is_public(key, kind, text) for side in sides for kind, text, _ in side.common(MOST_KEPT))
    )
    return tuple(dict.fromkeys(f"{key.section.value}/{show.name(key.name)}" for key in many))


def _is_naming(name: str) -> bool:
    """Whether values of a key are told from session to session, or from one content to the other, by its name."""
    if name in PARAMS or name in QUALITY:
        return name in _NAMING
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(words) and (words[-1] in _NAMING_LAST or not _NAMING_WITHIN.isdisjoint(words))


def _values_of(key: Key, place: _Place, one: KeySample, other: KeySample, show: Showing) -> Iterator[Difference]:
    if one.by_value is None or other.by_value is None or not (_repeats(one.by_value) and _repeats(other.by_value)):
        return
    kinds = one.by_kind.keys() & other.by_kind.keys()  # else the type says it
    for told in sorted({*one.by_value, *other.by_value}):
        kind, text, _ = told
        if kind in kinds and show.is_public(key, kind, text):
            parts = (
                _Part(one.by_value.get(told, _NONE), one.sessions),
                _Part(other.by_value.get(told, _NONE), other.sessions),
            )
            yield _counted(
                What.VALUE, place, *parts, detail=json.dumps(text, ensure_ascii=False) if kind == "string" else text
            )


def _repeats(by_value: Mapping[Told, Drawn]) -> bool:
    """Whether sessions share the values of a key."""
    return sum(each.sessions for each in by_value.values()) >= LEAST_PER_VALUE * len(by_value)


def _findings(before: Totals, after: Totals) -> Iterator[Difference]:
    found = []
    for rule in {*before.findings, *after.findings}:
        known = after.findings.get(rule) or before.findings[rule]
        severity = next(severity for severity in Severity if known.severities.get(severity.value))
        found.append((-severity.weight, rule, severity))
    for _, rule, severity in sorted(found):
        one, other = (
            _Part(totals.findings[rule].concerned if rule in totals.findings else _NONE, totals.sessions)
            for totals in (before, after)
        )
        yield _counted(What.FINDING, _Place(name=rule), one, other, severity=severity.value)


def _deviations(before: Totals, after: Totals, show: Showing) -> Iterator[Difference]:
    if not before.plan.has_all or not after.plan.has_all:
        return  # one that a side lacks may just not be kept there
    old, new = before.plan.each, after.plan.each
    for deviation in sorted({*old, *new}):
        yield _counted(
            What.PLAN,
            _Place(deviation.event, deviation.section, show.name(deviation.key)),
            _Part(old.get(deviation, _NONE), before.sessions),
            _Part(new.get(deviation, _NONE), after.sessions),
            detail=f"{deviation.rule}: {deviation.expected}",
        )


def _losses(before: Totals, after: Totals) -> Iterator[Difference]:
    old, new = before.losses.sessions, after.losses.sessions
    for loss in Loss:
        if loss in old or loss in new:
            one, other = _Part(old.get(loss, _NONE), before.sessions), _Part(new.get(loss, _NONE), after.sessions)
            yield _counted(What.LOSS, _Place(name=loss.value), one, other)
    one, other = (_Part(totals.rhythm.slow_sessions, totals.sessions) for totals in (before, after))
    if one.having.sessions or other.having.sessions:
        yield _counted(What.SLOW, _Place(), one, other)


def _rhythm(before: Totals, after: Totals) -> Iterator[Difference]:
    old, new = before.rhythm.medians, after.rhythm.medians
    for name in sorted(old.keys() & new.keys()):
        values = _Values.of_all(old[name], before.sessions), _Values.of_all(new[name], after.sessions)
        differs = _differing(*LEAST_RHYTHM[name.partition(".")[0]])
        yield _spread(What.RHYTHM, _Place(name=name), *values, differs)


def _differing(part: float, least: int) -> Callable[[Side, Side], bool]:
    def differs(one: Side, other: Side) -> bool:
        quantiles = ((one.p5, other.p5), (one.p50, other.p50), (one.p95, other.p95))
        return any(abs(a - b) >= max(least, part * abs(a)) for a, b in quantiles if a is not None and b is not None)

    return differs


def _metrics(before: Totals, after: Totals) -> Iterator[Difference]:
    for name in SUMMED:
        old, new = before.metrics.distribution(name), after.metrics.distribution(name)
        if not (old.number and new.number and (old.total or new.total)):
            continue
        some = [sums.per_session.get(name, PerSession()) for sums in (before.metrics, after.metrics)]
        if _is_flag(old) and _is_flag(new):
            yield _counted(What.METRIC, _Place(name=name), _Part(some[0], old.number), _Part(some[1], new.number))
        else:
            one = _Values(old, some[0], before.sessions, _UNIT)
            other = _Values(new, some[1], after.sessions, _UNIT, zeros=after.metrics.zeros.get(name, _NONE))
            yield _spread(What.METRIC, _Place(name=name), one, other, _differs_in_mean)


def _is_flag(values: Histogram) -> bool:
    """Whether all values of a metric are 0 or 1."""
    return (values.highest or 0) <= _UNIT and values.total == _UNIT * (values.number - values.counts.get(0, 0))


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of sessions.

    Attributes:
        numbers: All of them.
        some: Those of which sessions are known.
        of: How many sessions there are, with and without a value.
        unit: What 1 is in these numbers.
        zeros: Sessions with a value that is 0.
    """

    numbers: Histogram
    some: PerSession
    of: int
    unit: int = 1
    zeros: Drawn = field(default_factory=Drawn)

    @classmethod
    def of_all(cls, values: PerSession, of: int) -> _Values:
        return cls(values.numbers, values, of)

    def furthest(self, turn: Turn) -> Iterator[str]:
        """Yield sessions in which one sees that values became higher or lower."""
        if turn is Turn.LOWER:
            yield from self.zeros.named
        yield from self.some.furthest(highest=turn is Turn.HIGHER)

    def side(self) -> Side:
        mean = self.numbers.mean
        return replace(
            _side(self.numbers.number, self.of),
            mean=None if mean is None else round(mean / self.unit, 3),
            p5=self._quantile(0.05),
            p50=self._quantile(0.5),
            p95=self._quantile(0.95),
        )

    def _quantile(self, share: float) -> float | None:
        number = self.numbers.quantile(share)
        return number if number is None or self.unit == 1 else number / self.unit


def _counted(
    what: What,
    place: _Place,
    one: _Part,
    other: _Part,
    *,
    detail: str = "",
    severity: str | None = None,
    shown: tuple[_Having, _Having] | None = None,
) -> Difference:
    """Test whether a share of sessions has changed.

    Args:
        shown: The sessions in which one sees it: if the share became smaller, and if it became larger. By default, those that
            have it, before and now.
    """
    before, after = one.side(), other.side()
    by = after.share - before.share
    turn: Turn | None = None
    look_at: Iterable[str] = ()
    matters = abs(by) >= CLEAR_SHARE or (abs(by) >= LEAST_SHARE and _odds_differ(before, after))
    if matters and before.of and after.of:
        turn = Turn.MORE if by > 0 else Turn.LESS
        if not before.sessions:
            turn = Turn.APPEARED
        elif not after.sessions:
            turn = Turn.VANISHED
        fallen, risen = shown or (one.having, other.having)
        look_at = (risen if by > 0 else fallen).named
    found = Compared(
        what=what.value,
        event=place.event,
        section=place.section,
        name=place.name,
        detail=detail,
        severity=severity,
        before=before,
        after=after,
        test=FISHER,
        p=_rounded(fisher(before.sessions, before.of, after.sessions, after.of)),
        look_at=tuple(look_at),
    )
    return Difference(found, turn, abs(by))


def _odds_differ(one: Side, other: Side) -> bool:
    a, b = one.sessions * (other.of - other.sessions), other.sessions * (one.of - one.sessions)
    return max(a, b) >= LEAST_ODDS * min(a, b)


def _spread(what: What, place: _Place, old: _Values, new: _Values, differs: Callable[[Side, Side], bool]) -> Difference:
    """Test whether values have changed.

    Args:
        differs: Returns whether they differ by enough to matter.
    """
    before, after = old.side(), new.side()
    above, p = superiority(old.numbers.counts, new.numbers.counts)
    turn: Turn | None = None
    look_at: Iterable[str] = ()
    if abs(above) >= LEAST_SUPERIORITY and differs(before, after):
        turn = Turn.HIGHER if above > 0 else Turn.LOWER
        look_at = islice(new.furthest(turn), MOST_NAMED)
    found = Compared(
        what=what.value,
        event=place.event,
        name=place.name,
        before=before,
        after=after,
        test=MANN_WHITNEY,
        p=_rounded(p),
        look_at=tuple(look_at),
    )
    return Difference(found, turn, abs(above))


def _differs_in_mean(one: Side, other: Side) -> bool:
    a, b = one.mean or 0.0, other.mean or 0.0
    return abs(a - b) >= LEAST_OF_MEAN * max(abs(a), abs(b))


def _side(sessions: int, of: int) -> Side:
    return Side(sessions=sessions, of=of, share=round(sessions / of, 6) if of else 0.0)


def _rounded(p: float) -> float:
    return float(f"{p:.3g}")
