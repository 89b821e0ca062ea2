"""An audit says the same of sessions however they are cut into parts, and in whatever order the parts are merged."""

from __future__ import annotations

import functools
import json
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_addon.core import jsontext
from proxy_addon.core.audits import coverage as coverage_module
from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.baselines import compared
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.coverage import LONGEST_NAME, MOST_KEYS, Coverage, KeySample, Section
from proxy_addon.core.audits.results import OTHERS_SHOWN, UNSEEN_SHOWN
from proxy_addon.core.audits.sketches import (
    LONGEST,
    MOST_KEPT,
    MOST_MEASURED,
    MOST_NAMED,
    Drawn,
    Histogram,
    PerSession,
    Sample,
    lot_of,
)
from proxy_addon.core.audits.totals import Apart, ByGroup, GroupName, merged
from proxy_addon.core.events import read_body
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.protocol import PARAMS
from proxy_addon.core.sessions import SessionState
from tests.builders import at, body, event_dict
from tests.property.exchanges import exchanges_of_a_session
from tests.versions import CHANGES, Change, played

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@functools.cache
def _version(change: Change) -> HeldSession:
    return played(0, change)


@st.composite
def held_sessions(draw: st.DrawFn) -> list[HeldSession]:
    found: list[HeldSession] = []
    several = [held for _ in range(draw(st.integers(1, 3))) for held in fold(draw(exchanges_of_a_session()))]
    several += map(_version, draw(st.lists(st.sampled_from(CHANGES), max_size=2)))  # whose events have keys
    for number, held in enumerate(several):
        name = draw(st.sampled_from(["One", "Two", "\0", "\1", "Apart.UNSEEN", None]))
        session = replace(
            held.session,
            id=f"{number:016x}",
            player_name=name,
            retry_of=draw(st.sampled_from([None, "a"])),
            has_holes=held.session.has_holes or draw(st.booleans()),
        )
        found.append(replace(held, session=session))
    return found


def audited(sessions: Sequence[HeldSession], grouping: Grouping) -> ByGroup:
    auditor = Auditor(grouping, as_of(at(10**6), DEFAULT))
    for held in sessions:
        auditor.add_held(held, DEFAULT)
    return auditor.groups


def told(groups: ByGroup, by: By | None) -> str:
    return json.dumps(audit_of(groups, by=by, now=at(0), source="here").document())


@st.composite
def parts_of[Item](draw: st.DrawFn, items: Sequence[Item]) -> list[list[Item]]:
    parts: list[list[Item]] = [[] for _ in range(draw(st.integers(1, 4)))]
    for item in draw(st.permutations(items)):
        draw(st.sampled_from(parts)).append(item)
    return parts


@given(st.data(), st.sampled_from([*By, None]), st.sampled_from([None, frozenset({"One", None})]))
def test_parts_of_an_audit_merge_to_the_same_result(data, by, names):
    sessions, grouping = data.draw(held_sessions()), Grouping(by=by, names=names)
    parts = [audited(part, grouping) for part in data.draw(parts_of(sessions))]
    between = data.draw(st.integers(0, len(parts)))
    nested = merged([merged(parts[:between]), merged(parts[between:])])
    whole = audited(sessions, grouping)
    assert told(nested, by) == told(whole, by)
    assert by_session(nested) == by_session(whole)


def by_session(groups: ByGroup) -> Any:
    """Return what is counted once a session, which a comparison with a baseline needs."""
    return {
        (name, kind): (
            {
                key: (seen.sessions, [*seen.named], seen.throughout, seen.partly, seen.by_kind, seen.by_value)
                for key, seen in totals.coverage.kept().items()
            },
            totals.coverage.numbers,
            totals.rhythm.medians,
            totals.rhythm.slow_sessions,
            totals.metrics.per_session,
            totals.metrics.zeros,
        )
        for name, group in groups.items()
        for kind, totals in (("whole", group.whole), ("holed", group.holed))
    }


@given(held_sessions())
def test_what_is_counted_once_a_session_is_at_most_all_sessions(sessions):
    for totals in (group.all() for group in audited(sessions, Grouping(by=By.PLAYER)).values()):
        numbers = totals.coverage.numbers
        assert {type_: of.numbers.total for type_, of in numbers.items()} == totals.coverage.events
        for key, seen in totals.coverage.kept().items():
            assert 1 <= seen.sessions <= numbers[key.event].sessions <= totals.sessions
            assert seen.sessions <= sum(each.sessions for each in seen.by_kind.values())
            assert seen.by_kind.keys() == {"number" if kind == "integer" else kind for kind in seen.kinds}
            assert seen.by_value is not None
            assert seen.by_kind.keys() == {told.kind for told in seen.by_value}
            assert all(1 <= each.sessions <= seen.sessions for each in seen.by_value.values())
            everywhere = seen.number == totals.coverage.events[key.event]
            assert everywhere == (seen.throughout == numbers[key.event].sessions)


def _shown(name: GroupName) -> str | None:
    return UNSEEN_SHOWN if isinstance(name, Apart) else name


@given(held_sessions(), st.integers(0, 5))
def test_sessions_have_no_changes_beside_themselves(sessions, doubled):
    groups = audited(sessions, Grouping(by=By.PLAYER))
    for _ in range(doubled):
        groups = merged([groups, groups])
    result = compared(groups, groups, baseline="", grouped=True, named=_shown)
    for changes in (result.all, *result.groups):
        assert (changes.changes, changes.undecided) == ((), 0)
        assert list(changes.worse()) == []
    assert [changes.name for changes in result.groups] == [
        group.name for group in audit_of(groups, by=By.PLAYER, now=at(0), source="here").groups
    ]
    assert result.only_before == result.only_after == ()


@given(held_sessions())
def test_groups_add_up_to_all_sessions(sessions):
    result = audit_of(audited(sessions, Grouping(by=By.PLAYER)), by=By.PLAYER, now=at(0), source="here")
    whole = audit_of(audited(sessions, Grouping()), by=None, now=at(0), source="here")
    assert result.all == whole.all
    names = {Grouping(by=By.PLAYER).name(held.session) for held in sessions}
    assert {group.name for group in result.groups} == {*map(_shown, names)}
    assert names - {Apart.UNSEEN} <= {held.session.player_name for held in sessions}
    for count in ("sessions", "exchanges", "events", "clean"):
        assert sum(getattr(group, count) for group in result.groups) == getattr(result.all, count)
    assert result.all.sessions == len(sessions)
    assert result.all.events == sum(len(held.events()) for held in sessions)
    assert sum(result.all.event_types.values()) == result.all.events
    assert sum(result.all.states.values()) == len(sessions)
    assert SessionState.OPEN not in result.all.states
    funnel = result.all.funnel
    assert funnel.sent >= funnel.answered >= funnel.accepted
    assert min(funnel.may_have_arrived, funnel.not_arrived, funnel.dropped) >= 0
    assert result.all.with_holes == sum(held.session.has_holes for held in sessions)


@given(held_sessions())
def test_groups_beyond_those_that_are_told_apart_are_one(sessions):
    groups = audited(sessions, Grouping(by=By.PLAYER, names=frozenset({"One"})))
    assert groups.keys() <= {"One", Apart.OTHERS}  # those of which it is not known, too
    result = audit_of(groups, by=By.PLAYER, now=at(0), source="here")
    assert {group.name for group in result.groups} <= {"One", OTHERS_SHOWN}


@given(st.data(), st.lists(_JSON, max_size=60))
def test_samples_merge_to_what_all_values_give(data, values):
    assert shown(merge(Sample, data.draw(parts_of(values)))) == shown(summary(Sample, values))


@given(st.data(), st.integers(MOST_KEPT - 3, 3 * MOST_KEPT))
def test_a_sample_of_very_many_values_says_the_same_in_any_order(data, distinct):
    values = [f"{number:05d}" for number in range(distinct) for _ in range(1 + number % 3)]
    sample = merge(Sample, data.draw(parts_of(values)))
    assert shown(sample) == shown(summary(Sample, values))
    assert sample.number == len(values)
    assert sample.has_all == (distinct <= MOST_KEPT)
    assert (sample.distinct == distinct) if sample.has_all else (distinct / 2 < sample.distinct < 2 * distinct)
    for _, text, count in sample.common(5):
        assert count == values.count(text)


@settings(max_examples=20)
@given(st.data(), st.integers(MOST_KEPT + 1, 4 * MOST_KEPT))
def test_values_count_once_a_session_however_many_there_are(data, distinct):
    spelt = jsontext.loads(f"[{', '.join(f'{n}, {n}.0, {n}.00' for n in range(MOST_KEPT - 1))}]".encode())
    sessions: list[list[Any]] = [
        [*range(distinct), *map(float, range(distinct))],
        [f"{number}" for number in range(distinct)],
        [*range(0, distinct, 2), *range(distinct)],
        [1, 1.0, "1"],
        [True],
        spelt,
    ]
    lots = [lot_of(f"{number}") for number in range(len(sessions))]

    def kept(numbers: Sequence[int]) -> KeySample:
        whole = KeySample()
        for part in data.draw(parts_of(numbers)):
            sample = KeySample()
            for number in part:
                for value in sessions[number]:
                    sample.add_here(value, 1)
                sample.end_session(len(sessions[number]) if sessions[number] != [True] else 2, lots[number])
            whole.merge_sessions(sample)
        return whole

    def drawn(*numbers: int) -> Drawn:
        return Drawn(len(numbers), tuple(sorted(lots[number] for number in numbers)[:MOST_NAMED]))

    whole = kept(range(6))
    assert (whole.throughout, whole.partly, whole.sessions) == (5, drawn(4), 6)
    assert [*whole.named] == [lot.id for lot in drawn(*range(6)).lots]
    assert whole.by_kind == {"number": drawn(0, 2, 3, 5), "string": drawn(1, 3), "boolean": drawn(4)}
    assert whole.by_value is None
    few = kept([4, 5])
    assert few.by_value is not None
    assert len(few.by_value) == MOST_KEPT
    assert {told.text: sessions for told, sessions in few.by_value.items()} == {
        **{f"{number}": drawn(5) for number in range(MOST_KEPT - 1)},
        "true": drawn(4),
    }


@given(st.data(), st.lists(st.integers(-5, 5), max_size=30))
def test_sessions_to_look_at_are_the_same_however_parts_are_cut(data, numbers):
    of_sessions = [(number, lot_of(f"{place}")) for place, number in enumerate(numbers)]
    whole = PerSession()
    for part in data.draw(parts_of(of_sessions)):
        some = PerSession()
        for number, lot in part:
            some.add(number, lot)
        whole.merge(some)
    in_order = sorted((lot, number) for number, lot in of_sessions)
    assert whole.numbers == summary(Histogram, numbers)
    assert whole.drawn == tuple(in_order[:MOST_MEASURED])
    assert [*whole.named] == [lot.id for lot, _ in in_order[:MOST_NAMED]]
    of_ids = {lot.id: number for lot, number in in_order[:MOST_MEASURED]}
    for highest in (True, False):
        found = [of_ids[id] for id in whole.furthest(highest=highest)]
        assert found == sorted(of_ids.values(), reverse=highest)[:MOST_NAMED]


@given(_JSON, _JSON)
def test_a_sample_tells_values_of_different_types_and_long_ones_apart(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (summary(Sample, [one, other]).distinct == 1) == same
    assert summary(Sample, ["x" * LONGEST + "1", "x" * LONGEST + "2"]).distinct == 2


@given(st.data(), st.lists(st.integers(-(10**12), 10**12), max_size=50), st.floats(0, 1))
def test_a_histogram_knows_quantiles_within_a_thirty_second(data, numbers, share):
    histogram = merge(Histogram, data.draw(parts_of(numbers)))
    assert histogram == summary(Histogram, numbers)
    assert (histogram.total, histogram.number) == (sum(numbers), len(numbers))
    found = histogram.quantile(share)
    if not numbers:
        assert found is None
        return
    exact = sorted(numbers)[max(0, -int(-share * len(numbers) // 1) - 1)]
    assert abs(found - exact) <= abs(exact) / 32


_NAMES = st.sampled_from([*PARAMS][:3]) | st.integers(0, 30).map(str)
_MEMBERS = st.dictionaries(_NAMES | st.integers(0, 3).map(lambda number: "k" * LONGEST_NAME + f"{number}"), st.just(1))


@settings(max_examples=50)
@given(st.data())
def test_the_same_keys_are_kept_however_sessions_are_cut(data):
    of_events = st.lists(st.tuples(_MEMBERS, _MEMBERS), min_size=1, max_size=3)
    sessions = data.draw(st.lists(of_events, max_size=5))
    parts = data.draw(parts_of(sessions))
    with mock.patch.object(coverage_module, "MOST_KEYS", 5):
        whole, merged_ = covered(sessions), Coverage()
        for part in parts:
            merged_.merge(covered(part))
        whole_kept = whole.kept()
        assert merged_.kept() == whole_kept
        assert merged_.has_all == whole.has_all
        assert len(whole.keys) <= 3 + 2 * 5
    sent = Counter(
        (section, name) for each in sessions for event in each for section in (0, 1) for name in event[section]
    )
    kept = {(key.section, key.name): sample for key, sample in whole_kept.items()}
    for (section, name), number in sent.items():
        if name in PARAMS and section == 0:
            assert kept.pop((Section.PARAMS, name)).number == number
    assert len(kept) == min(5, len(sent.keys() - {(0, name) for name in PARAMS}))
    for (in_section, name), sample in kept.items():
        place = [Section.PARAMS, Section.METADATA].index(in_section)
        if len(name) <= LONGEST_NAME:  # else it was cut
            assert sample.number == sent[place, name]
            assert sample.sessions == sum(any(name in event[place] for event in each) for each in sessions)


def covered(sessions: Sequence[Sequence[tuple[Any, Any]]]) -> Coverage:
    coverage = Coverage()
    for each in sessions:
        for params, metadata in each:
            coverage.add(read_body(body(event_dict("play", params=params, customMetadata=metadata))))
        coverage.end_session(lot_of("1"))
    return coverage


def test_no_device_fills_the_memory_with_keys_or_types_that_it_makes_up():
    names = sorted(map(str, range(20_000)), key=lambda name: zlib.crc32(f"play customMetadata {name}".encode()))
    many = read_body(
        body(event_dict("play", customMetadata=dict.fromkeys(reversed(names), 1)))
    )  # each comes before the last
    flooded = Coverage()
    tracemalloc.start()
    try:
        for number in range(200):
            flooded.add(read_body(body(event_dict(params={f"{'k' * 100_000}{number}": 1}))))
        flooded.add(many)
        flooded.end_session(lot_of("1"))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    coverage, other = Coverage(), Coverage()
    for number in range(3 * MOST_KEYS):
        event = event_dict(f"made up {number}", params={f"key {number}": number})
        (coverage if number % 2 else other).add(read_body(body(event)))
    for each in (coverage, other):
        each.end_session(lot_of("1"))
    coverage.merge(other)
    assert len(coverage.keys) <= 2 * MOST_KEYS
    assert not coverage.has_all
    assert len(coverage.kept()) == MOST_KEYS
    assert coverage.events == {"(unknown)": 3 * MOST_KEYS}
    assert coverage.unknown.number == 3 * MOST_KEYS


def summary[Summary](kind: Callable[[], Summary], values: Sequence[Any]) -> Any:
    made: Any = kind()
    for value in values:
        made.add(value)
    return made


def merge(kind: Callable[[], Any], parts: Sequence[Sequence[Any]]) -> Any:
    whole = kind()
    for part in parts:
        whole.merge(summary(kind, part))
    return whole


def shown(sample: Sample) -> tuple[Any, ...]:
    return sample.kinds, sample.distinct, sample.has_all, sample.common(MOST_KEPT), sample.lowest, sample.highest
