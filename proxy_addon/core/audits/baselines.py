"""What changed from one set of sessions to another, such as from one version of an app to the next.

Sessions are what is counted, because events of one session depend on each other: a player that forgets a key forgets it on
every ping. Nothing is called a change unless there are enough sessions to tell it from chance, and it is large enough to
matter; docs/audits.md says how much that is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from typing import NamedTuple

from proxy_addon.core.audits.auditing import OTHERS
from proxy_addon.core.audits.coverage import UNKNOWN_TYPE, Key, KeySample, place_of
from proxy_addon.core.audits.losses import Loss
from proxy_addon.core.audits.significance import discoveries, fisher, superiority
from proxy_addon.core.audits.sketches import Histogram
from proxy_addon.core.audits.totals import SUMMED, ByGroup, Totals
from proxy_addon.core.findings import Severity
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY

CHANCE = 0.01
"""The part of all that is called a change which may be chance (Benjamini and Hochberg)."""
FEWEST = 5
"""Both sides need so many sessions for anything to be called a change."""
MOST_DOUBTFUL = 20
"""How many differences that may be chance are kept of a group, or of all sessions."""
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
    }
)
"""Keys of the protocol whose values name a viewer, a content or an ad, and say nothing about the player."""
_NAMING_TOO = re.compile(
    r"(?:.*[._ -])?(?:id|uid|uuid|guid|hash|token)|.*[a-z0-9](?:I[dD]|U?UID|U?uid|GUID|Guid|Hash|Token)"
)
"""Names of other keys of which the same is to be expected."""
_UNIT = 1_000
"""Values of metrics are kept in thousandths."""
FISHER = "fisher"
MANN_WHITNEY = "mann-whitney"


class What(StrEnum):
    """What was compared; the value is its name in JSON."""

    EVENT = "event"
    """Events of a type."""
    NUMBER = "event-number"
    """How many events of a type a session has, among those that have any."""
    KEY = "key"
    """A key on events of a type."""
    THROUGHOUT = "key-throughout"
    """A key on all events of a type, among sessions that have it on one of them."""
    TYPE = "type"
    """A JSON type of the values of a key, among sessions that have the key; integers are numbers."""
    VALUE = "value"
    """A value of a key with few of them, among sessions that have the key."""
    FINDING = "finding"
    """Findings of a rule."""
    PLAN = "plan"
    """A deviation from the tracking plan."""
    LOSS = "loss"
    """A way in which something gets lost."""
    SLOW = "slow-answers"
    """Answers that took longer than 5 s."""
    RHYTHM = "rhythm"
    """What was measured: the median of each session."""
    METRIC = "metric"
    """A metric of reports, among sessions that have a value; if it is 0 or 1 in all of them, among how many it is 1."""


class Turn(StrEnum):
    """How something changed."""

    APPEARED = "appeared"
    """No session before, and some now."""
    VANISHED = "vanished"
    MORE = "more"
    """A larger share of sessions."""
    LESS = "less"
    HIGHER = "higher"
    """Higher values."""
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one set of sessions has.

    Attributes:
        sessions: How many sessions have it.
        of: Of how many; of what `What` says among which sessions.
        share: ``sessions`` of ``of``, from 0 to 1.
        mean: Of the values, one per session; None like all that follow if only sessions were counted.
        p5: The value below which 5 % are; this one, p50 and p95 are exact to 1/32.
    """

    sessions: int
    of: int
    share: float
    mean: float | None = None
    p5: float | None = None
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One thing before and after.

    Attributes:
        what: What was compared; see `What`.
        event: The type of the events; empty if it is not about events.
        section: ``params``, ``qoeData`` or ``customMetadata``; empty if it is not about a key.
        name: The key, rule, loss, metric or what was measured; empty for events.
        detail: The JSON type; the value, a string in quotes; or what the plan says.
        severity: Of a finding, the highest one; None otherwise.
        before: In the baseline.
        after: In the sessions of the audit.
        test: How the two were told from chance: ``fisher`` (exact test of two shares of sessions) or ``mann-whitney``
            (U test of values, one per session).
        p: How likely they are to differ so much by chance alone.
        change: How it changed; None if it is too little, too uncertain, or none at all.
    """

    what: str
    event: str = ""
    section: str = ""
    name: str = ""
    detail: str = ""
    severity: str | None = None
    before: Side
    after: Side
    test: str
    p: float
    change: str | None = None

    def same(self) -> tuple[str | None, ...]:
        """Return what the same change has in common in a group and in all together, where a key that vanished is rarer."""
        ways: dict[str | None, str] = {Turn.APPEARED: Turn.MORE, Turn.VANISHED: Turn.LESS}
        return ways.get(self.change, self.change), self.what, self.event, self.section, self.name, self.detail


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What changed in one group, or in all sessions together.

    Attributes:
        name: The name of the group, which both sides have; None if sessions do not say it, and for all of them.
        before: How many sessions the baseline has.
        after: How many sessions the audit has.
        changes: All that changed: errors, warnings, then in the order of `What`, and notes last.
        compared: How many comparisons were made.
        undecided: How many of them differ by enough to matter, and have not enough sessions to say that it is not chance.
        may_be_chance: The largest of these differences, `MOST_DOUBTFUL` at most.
        is_enough: Whether there are enough sessions to say that something changed which all sessions before have, and none
            after.
        enough: How many sessions on both sides are enough for that.
        findings: Each rule that a side breaks, changed or not.
        losses: Each loss that a side has, and slow answers.
        rhythm: What both sides have of the rhythm.
        metrics: What both sides have of the metrics.
    """

    name: str | None
    before: int
    after: int
    changes: tuple[Compared, ...]
    compared: int
    undecided: int
    may_be_chance: tuple[Compared, ...]
    is_enough: bool
    enough: int
    findings: tuple[Compared, ...]
    losses: tuple[Compared, ...]
    rhythm: tuple[Compared, ...]
    metrics: tuple[Compared, ...]

    @property
    def is_undecided(self) -> bool:
        """Whether something differs, and there are some sessions on each side, but too few to call anything a change."""
        return self.undecided > 0 and not self.is_enough and min(self.before, self.after) > 0

    def worse(self) -> Iterator[Compared]:
        """Yield the rules that no session of the baseline breaks, or that significantly more sessions break now."""
        for each in self.findings:
            if (each.after.sessions and not each.before.sessions) or each.change == Turn.MORE:
                yield each


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An audit beside its baseline.

    Attributes:
        baseline: Which sessions the baseline is, as it was asked for.
        all: All sessions together.
        groups: Groups that both sides have, in the order of the audit.
        only_before: Names of groups that only the baseline has; None for sessions that do not say theirs.
        only_after: Names of groups that only the audit has.
    """

    baseline: str
    all: Changes
    groups: tuple[Changes, ...] = ()
    only_before: tuple[str | None, ...] = ()
    only_after: tuple[str | None, ...] = ()

    def named(self) -> list[tuple[Changes, Compared]]:
        """Return all changes, each with where it is: in all sessions together, or in a group if not there, too."""
        return self._once(lambda of: of.changes)

    def doubtful(self) -> list[tuple[Changes, Compared]]:
        """Return the differences that may be chance, in the same way."""
        return self._once(lambda of: of.may_be_chance)

    def _once(self, listed: Callable[[Changes], tuple[Compared, ...]]) -> list[tuple[Changes, Compared]]:
        known = {each.same() for each in listed(self.all)}
        return [
            *((self.all, each) for each in listed(self.all)),
            *((of, each) for of in self.groups for each in listed(of) if each.same() not in known),
        ]


def compared(
    old: ByGroup,
    new: ByGroup,
    *,
    baseline: str,
    grouped: bool,
    shown: Callable[[str], str] = str,
    named: Callable[[str | None], str | None] = lambda name: name,
    is_public: Callable[[Key, str, str], bool] = lambda _key, _kind, _text: True,
) -> Comparison:
    """Return what changed from one set of sessions to another.

    Args:
        old: The baseline, by group.
        baseline: What it is called.
        grouped: Whether groups are compared, too.
        shown: Returns what is shown of the name of a key.
        named: The same of a group.
        is_public: Returns whether a value of a key may be shown, by its JSON type and text; others are not compared.
    """
    both = [name for name in _in_order(new) if name in old and name != OTHERS] if grouped else []
    pairs = [(None, _whole(old), _whole(new)), *((name, old[name], new[name]) for name in both)]
    show = _Showing(shown, is_public)
    found = [(name, before, after, list(_comparisons(before, after, show))) for name, before, after in pairs]
    p_values = [each.compared.p for *_, tested in found for each in tested if each.can_differ]
    # The highest that counts; or the highest that would if there was only one, as then nothing is in between.
    limit = max(discoveries(p_values, CHANCE), CHANCE / max(1, len(p_values)))

    def only(some: ByGroup, others: ByGroup) -> tuple[str | None, ...]:
        return tuple(named(name) for name in _in_order(some) if grouped and name not in others and name != OTHERS)

    whole, *groups = (_changes(named(name), before, after, tested, limit) for name, before, after, tested in found)
    return Comparison(
        baseline=baseline,
        all=whole,
        groups=tuple(groups),
        only_before=only(old, new),
        only_after=only(new, old),
    )


def _whole(groups: ByGroup) -> Totals:
    whole = Totals()
    for totals in groups.values():
        whole.merge(totals)
    return whole


def _in_order(groups: ByGroup) -> list[str | None]:
    return sorted(groups, key=lambda name: (-groups[name].sessions, name is None, name or ""))


class _Place(NamedTuple):
    """What a comparison is about: members of `Compared`."""

    event: str = ""
    section: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Tested:
    """A comparison, and how it would be called if there are enough sessions for it.

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


def _changes(name: str | None, before: Totals, after: Totals, tested: Iterable[_Tested], limit: float) -> Changes:
    enough = min(before.sessions, after.sessions) >= FEWEST
    found: list[Compared] = []
    doubtful: list[_Tested] = []
    number = 0
    for each in tested:
        turn = each.turn if enough and each.compared.p <= limit else None
        number += each.can_differ
        if each.turn is not turn:
            doubtful.append(each)
        found.append(each.compared if turn is None else replace(each.compared, change=turn.value))
    changed = sorted((each for each in found if each.change is not None), key=_gravity)
    doubtful.sort(key=lambda each: (-each.size, _gravity(each.compared)))

    def of(*kinds: What) -> tuple[Compared, ...]:
        return tuple(each for each in found if each.what in kinds)

    return Changes(
        name=name,
        before=before.sessions,
        after=after.sessions,
        changes=tuple(changed),
        compared=number,
        undecided=len(doubtful),
        may_be_chance=tuple(each.compared for each in doubtful[:MOST_DOUBTFUL]),
        is_enough=enough and fisher(before.sessions, before.sessions, 0, after.sessions) <= limit,
        enough=next(each for each in count(FEWEST) if fisher(each, each, 0, each) <= limit),
        findings=of(What.FINDING),
        losses=of(What.LOSS, What.SLOW),
        rhythm=of(What.RHYTHM),
        metrics=of(What.METRIC),
    )


_ORDER = (
    *((What.FINDING.value, severity.value) for severity in Severity if severity is not Severity.INFO),
    *((what.value, None) for what in What if what is not What.FINDING),
    (What.FINDING.value, Severity.INFO.value),
)


def _gravity(compared: Compared) -> int:
    return _ORDER.index((compared.what, compared.severity))


@dataclass(frozen=True, slots=True)
class _Showing:
    """What is shown of what devices made up; see `compared`."""

    name: Callable[[str], str]
    is_public: Callable[[Key, str, str], bool]


def _comparisons(before: Totals, after: Totals, show: _Showing) -> Iterator[_Tested]:
    """Yield all that can be compared, in the order of `What`."""
    yield from _events(before, after)
    yield from _keys(before, after, show)
    yield from _findings(before, after)
    yield from _deviations(before, after, show)
    yield from _losses(before, after)
    yield from _rhythm(before, after)
    yield from _metrics(before, after)


def _events(before: Totals, after: Totals) -> Iterator[_Tested]:
    old, new = before.coverage.numbers, after.coverage.numbers
    types = [type_ for type_ in (*EVENTS, UNKNOWN_TYPE) if type_ in old or type_ in new]
    for type_ in types:
        numbers = [each[type_].number if type_ in each else 0 for each in (old, new)]
        yield _counted(What.EVENT, _Place(type_), _side(numbers[0], before.sessions), _side(numbers[1], after.sessions))
    for type_ in types:
        if type_ in old and type_ in new:
            one, other = _Values(old[type_], before.sessions), _Values(new[type_], after.sessions)
            yield _spread(What.NUMBER, _Place(type_), one, other, _differs_in_mean)


def _keys(before: Totals, after: Totals, show: _Showing) -> Iterator[_Tested]:
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
        sides = _side(one.sessions, old.numbers[key.event].number), _side(other.sessions, new.numbers[key.event].number)
        yield _counted(What.KEY, places[key], *sides)
    pairs = [(key, one, other) for key, one, other in pairs if one.sessions and other.sessions]
    for key, one, other in pairs:
        sides = _side(one.throughout, one.sessions), _side(other.throughout, other.sessions)
        yield _counted(What.THROUGHOUT, places[key], *sides)
    for key, one, other in pairs:
        for kind in sorted({*one.by_kind, *other.by_kind}):
            sides = _side(one.by_kind.get(kind, 0), one.sessions), _side(other.by_kind.get(kind, 0), other.sessions)
            yield _counted(What.TYPE, places[key], *sides, detail=kind)
    for key, one, other in pairs:
        if not _is_naming(key.name) and _repeats(one) and _repeats(other):
            yield from _values_of(key, places[key], one, other, show)


def _is_naming(name: str) -> bool:
    """Whether values of a key are told from session to session, or from one content to the other, by its name."""
    return name in _NAMING if name in PARAMS or name in QUALITY else _NAMING_TOO.fullmatch(name) is not None


def _repeats(sample: KeySample) -> bool:
    """Whether a key has few values, which sessions share."""
    return sample.has_all_values and sum(sample.by_value.values()) >= LEAST_PER_VALUE * len(sample.by_value)


def _values_of(key: Key, place: _Place, one: KeySample, other: KeySample, show: _Showing) -> Iterator[_Tested]:
    kinds = one.by_kind.keys() & other.by_kind.keys()  # else the type says it
    for told in sorted({*one.by_value, *other.by_value}):
        kind, text, _ = told
        if kind in kinds and show.is_public(key, kind, text):
            sides = _side(one.by_value.get(told, 0), one.sessions), _side(other.by_value.get(told, 0), other.sessions)
            yield _counted(
                What.VALUE, place, *sides, detail=json.dumps(text, ensure_ascii=False) if kind == "string" else text
            )


def _findings(before: Totals, after: Totals) -> Iterator[_Tested]:
    found = []
    for rule in {*before.findings, *after.findings}:
        known = after.findings.get(rule) or before.findings[rule]
        severity = next(severity for severity in Severity if known.severities.get(severity.value))
        numbers = [
            totals.findings[rule].concerned.sessions if rule in totals.findings else 0 for totals in (before, after)
        ]
        found.append((-severity.weight, rule, severity, numbers))
    for _, rule, severity, (old, new) in sorted(found):
        sides = _side(old, before.sessions), _side(new, after.sessions)
        yield _counted(What.FINDING, _Place(name=rule), *sides, severity=severity.value)


def _deviations(before: Totals, after: Totals, show: _Showing) -> Iterator[_Tested]:
    if not before.plan.has_all or not after.plan.has_all:
        return  # one that a side lacks may just not be kept there
    old, new = before.plan.each, after.plan.each
    for deviation in sorted({*old, *new}):
        numbers = [each[deviation].sessions if deviation in each else 0 for each in (old, new)]
        yield _counted(
            What.PLAN,
            _Place(deviation.event, deviation.section, show.name(deviation.key)),
            _side(numbers[0], before.sessions),
            _side(numbers[1], after.sessions),
            detail=f"{deviation.rule}: {deviation.expected}",
        )


def _losses(before: Totals, after: Totals) -> Iterator[_Tested]:
    for loss in Loss:
        numbers = [
            totals.losses.sessions[loss].sessions if loss in totals.losses.sessions else 0 for totals in (before, after)
        ]
        if any(numbers):
            sides = _side(numbers[0], before.sessions), _side(numbers[1], after.sessions)
            yield _counted(What.LOSS, _Place(name=loss.value), *sides)
    if before.rhythm.slow_sessions or after.rhythm.slow_sessions:
        yield _counted(
            What.SLOW,
            _Place(),
            _side(before.rhythm.slow_sessions, before.sessions),
            _side(after.rhythm.slow_sessions, after.sessions),
        )


def _rhythm(before: Totals, after: Totals) -> Iterator[_Tested]:
    old, new = before.rhythm.medians, after.rhythm.medians
    for name in sorted(old.keys() & new.keys()):
        one, other = _Values(old[name], before.sessions), _Values(new[name], after.sessions)
        yield _spread(What.RHYTHM, _Place(name=name), one, other, _differing(*LEAST_RHYTHM[name.partition(".")[0]]))


def _differing(part: float, least: int) -> Callable[[Side, Side], bool]:
    def differs(one: Side, other: Side) -> bool:
        quantiles = ((one.p5, other.p5), (one.p50, other.p50), (one.p95, other.p95))
        return any(abs(a - b) >= max(least, part * abs(a)) for a, b in quantiles if a is not None and b is not None)

    return differs


def _metrics(before: Totals, after: Totals) -> Iterator[_Tested]:
    for name in SUMMED:
        old, new = before.metrics.distribution(name), after.metrics.distribution(name)
        if not (old.number and new.number and (old.total or new.total)):
            continue
        if _is_flag(old) and _is_flag(new):
            sides = _side(old.total // _UNIT, old.number), _side(new.total // _UNIT, new.number)
            yield _counted(What.METRIC, _Place(name=name), *sides)
        else:
            one, other = _Values(old, before.sessions, _UNIT), _Values(new, after.sessions, _UNIT)
            yield _spread(What.METRIC, _Place(name=name), one, other, _differs_in_mean)


def _is_flag(values: Histogram) -> bool:
    """Whether all values of a metric are 0 or 1."""
    return (values.highest or 0) <= _UNIT and values.total == _UNIT * (values.number - values.counts.get(0, 0))


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of sessions.

    Attributes:
        of: How many sessions there are, with and without a value.
        unit: What 1 is in these numbers.
    """

    numbers: Histogram
    of: int
    unit: int = 1

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
    before: Side,
    after: Side,
    *,
    detail: str = "",
    severity: str | None = None,
) -> _Tested:
    """Test whether a share of sessions has changed."""
    by = after.share - before.share
    turn: Turn | None = None
    if abs(by) >= CLEAR_SHARE or (abs(by) >= LEAST_SHARE and _odds_differ(before, after)):
        turn = Turn.MORE if by > 0 else Turn.LESS
        if not before.sessions:
            turn = Turn.APPEARED
        elif not after.sessions:
            turn = Turn.VANISHED
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
    )
    return _Tested(found, turn, abs(by))


def _odds_differ(one: Side, other: Side) -> bool:
    a, b = one.sessions * (other.of - other.sessions), other.sessions * (one.of - one.sessions)
    return max(a, b) >= LEAST_ODDS * min(a, b)


def _spread(what: What, place: _Place, old: _Values, new: _Values, differs: Callable[[Side, Side], bool]) -> _Tested:
    """Test whether values have changed.

    Args:
        differs: Returns whether they differ by enough to matter.
    """
    before, after = old.side(), new.side()
    above, p = superiority(old.numbers.counts, new.numbers.counts)
    turn: Turn | None = None
    if abs(above) >= LEAST_SUPERIORITY and differs(before, after):
        turn = Turn.HIGHER if above > 0 else Turn.LOWER
    found = Compared(
        what=what.value,
        event=place.event,
        name=place.name,
        before=before,
        after=after,
        test=MANN_WHITNEY,
        p=_rounded(p),
    )
    return _Tested(found, turn, abs(above))


def _differs_in_mean(one: Side, other: Side) -> bool:
    a, b = one.mean or 0.0, other.mean or 0.0
    return abs(a - b) >= LEAST_OF_MEAN * max(abs(a), abs(b))


def _side(sessions: int, of: int) -> Side:
    return Side(sessions=sessions, of=of, share=round(sessions / of, 6) if of else 0.0)


def _rounded(p: float) -> float:
    return float(f"{p:.3g}")
