"""A comparison with a baseline names exactly what changed, if there are enough sessions, and nothing that is chance."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.baselines import FEWEST, MOST_DOUBTFUL, compared
from proxy_addon.core.audits.changes import Changes, Compared
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.hiding import Hiding
from proxy_addon.core.audits.losses import Loss
from proxy_addon.core.audits.sketches import MOST_KEPT, MOST_NAMED, Concerned, Histogram, PerSession, lot_of
from proxy_addon.core.audits.totals import SUMMED, Broken, ByGroup, GroupTotals, Totals, merged
from proxy_addon.core.events import read_body
from proxy_addon.core.findings import Deviation
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.reporting.audits import facts
from proxy_addon.reporting.audits.tables import as_text
from tests import audited
from tests.audited import DEFECTS
from tests.builders import BEGIN_MS, at, body
from tests.played import again, film, recorded
from tests.versions import CHANGES, NOTHING, Change, played

SESSIONS = 30
HIDE = Hiding(Pseudonymiser(bytes(32), PERSONAL))


def groups_of(held: Iterable[HeldSession], by: By | None = None) -> ByGroup:
    auditor = Auditor(Grouping(by=by), as_of(at(10**6), DEFAULT))
    for each in held:
        auditor.add_held(each, DEFAULT)
    return auditor.groups


def version(change: Change = NOTHING, *, first: int, sessions: int = SESSIONS) -> ByGroup:
    return groups_of(played(number, change) for number in range(first, first + sessions))


def said(changes: Changes) -> set[str]:
    return {
        " ".join(filter(None, (each.change, each.what, each.event, each.section, each.name, each.detail)))
        for each in changes.every()
    }


def told(each: Compared) -> str:
    """Return how something would be called if it were a change."""
    if each.before.p50 is not None and each.after.p50 is not None:
        return "higher" if (each.after.mean or 0) > (each.before.mean or 0) else "lower"
    if not each.before.sessions or not each.after.sessions:
        return "vanished" if each.before.sessions else "appeared"
    return "more" if each.after.share > each.before.share else "less"


@pytest.fixture(scope="module")
def old() -> ByGroup:
    return version(first=0)


@pytest.mark.one_version
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_exactly_what_changed_is_named_if_there_are_enough_sessions(old, change):
    found = compared(old, version(change, first=100), baseline="old", grouped=False).all
    assert said(found) == change.said
    assert len(found.changes) == change.things
    assert (found.before, found.after, found.is_enough) == (SESSIONS, SESSIONS, True)
    for each in found.every():
        assert each.p < 0.001
        if each.test == "fisher":
            assert each.before.sessions != each.after.sessions
        of_baseline = each.change in {"vanished", "less"} and each.what != "key-throughout"
        assert each.is_of_baseline == of_baseline
        numbers = [int(id, 16) for id in each.look_at]
        first = 0 if of_baseline else 100
        assert len({*numbers} & {*range(first, first + SESSIONS)}) == MOST_NAMED
        assert of_baseline or not any(number % change.part for number in numbers)
    assert len({id for each in found.every() for id in each.look_at}) <= 10 or change.part > 1


def test_sessions_to_look_at_of_lower_numbers_are_those_that_have_the_least():
    before, after = Totals(), Totals()
    for number in range(40):
        for totals, value in ((before, 7), (after, number % 4 or 9)):
            totals.sessions += 1
            totals.metrics.add(dict.fromkeys(SUMMED, 0) | {"pause_events": value % 9}, lot_of(f"{number}"))
    (found,) = compared(
        {None: GroupTotals(before)}, {None: GroupTotals(after)}, baseline="old", grouped=False
    ).all.changes
    assert (found.name, found.change) == ("pause_events", "lower")
    assert {int(id) % 4 for id in found.look_at} == {0}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_of_three_sessions_nothing_is_claimed(change):
    before, after = version(first=0, sessions=3), version(change, first=99, sessions=3)
    found = compared(before, after, baseline="old", grouped=False).all
    assert said(found) == set()
    assert (found.is_enough, found.is_undecided) == (False, found.undecided > 0)
    shown = replace(found, changes=tuple(replace(each, change=told(each)) for each in found.may_be_chance))
    assert said(shown) >= change.said or change.part > 1
    assert (found.undecided >= len(change.said)) or change.part > 1
    for each in found.may_be_chance:
        assert {int(id, 16) < 99 for id in each.look_at} == {each.is_of_baseline}
    assert all(each.change is None for each in (*found.findings, *found.losses, *found.rhythm, *found.metrics))


@pytest.mark.one_version
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what)
def test_each_defect_of_the_made_up_players_is_a_change(old, defect):
    """Each finding, loss, key and type by which an audit knows the defect has appeared, or the key has vanished."""
    new = groups_of(defective(number, defect) for number in range(100, 112))
    found = said(compared(old, new, baseline="old", grouped=False).all)
    for fact in defect.facts:
        kind, _, about = fact.partition(" ")
        match kind:
            case "finding" | "loss":
                assert f"appeared {fact}" in found
            case "lacking":
                assert f"vanished key {about}" in found
            case "unexpected":
                assert f"appeared key {about}" in found
            case "type" if about.startswith("unknown"):
                assert "appeared event (unknown)" in found
            case "type":
                assert f"appeared type {about}" in found
            case "slow":
                assert "appeared slow-answers" in found
    appeared = {line for line in found if line.startswith("appeared finding")}
    assert appeared == {f"appeared {fact}" for fact in defect.facts if fact.startswith("finding")}


APART = {
    "adBreakStart": {"appeared loss stalled"},
    "adStart": {"appeared loss stalled", "appeared finding playback-event-in-ad-break"},
    "adBreakComplete": {"appeared finding playback-event-in-ad-break", "appeared finding playhead-moved-in-ad"},
}
"""What else happens to a player that no longer sends an event, but not by definition."""


@pytest.mark.one_version
def test_an_event_that_is_gone_is_one_thing_with_all_that_follows():
    good, least = audited.good_cues(), {"sessionStart", "play"}
    ends = {"sessionComplete", "sessionEnd"}
    cases: list[tuple[str, set[str]]] = [(type_, set()) for type_ in {cue.type for cue in good} - least]
    for type_, gone_before in [*cases, *((end, ends - {end}) for end in ends)]:
        old, new = (
            many(recorded([cue for cue in good if cue.type not in gone], begin_ms=BEGIN_MS))
            for gone in (gone_before, gone_before | {type_})
        )
        found = compared(old, new, baseline="old", grouped=False).all
        heads = said(replace(found, changes=tuple(replace(each, beneath=()) for each in found.changes)))
        assert heads == {f"vanished event {type_}"} | APART.get(type_, set())


@pytest.mark.one_version
def test_a_loss_is_one_thing_with_the_rule_that_says_the_same():
    apart = {"never plays": {"ping-gap"}, "no answer": {"upstream-failed"}}
    good = many(recorded(audited.good_cues(), begin_ms=BEGIN_MS))
    for defect in DEFECTS:
        if any(fact.startswith("loss ") for fact in defect.facts):
            found = compared(good, many(defective(1, defect)), baseline="old", grouped=False).all
            rules = {each.name for each in found.changes if each.what == "finding"}
            assert rules == apart.get(defect.what, set()), defect.what


def many(held: HeldSession) -> ByGroup:
    """Return a session 32 times."""
    return _times(groups_of([held]), 5)


def defective(number: int, defect: audited.Defect) -> HeldSession:
    held = recorded(
        defect.cues(audited.good_cues()), begin_ms=BEGIN_MS, session_id=f"{number:064x}", changed=defect.event
    )
    exchanges = [kept for exchange in held.exchanges if (kept := defect.exchange(exchange)) is not None]
    (found,) = fold([exchanges[0], *sorted(exchanges[1:], key=lambda each: each.received_at)])
    return replace(found, session=replace(found.session, id=f"{number:016x}"))


@pytest.mark.one_version
def test_two_halves_of_the_same_sessions_have_no_changes():
    sessions = [
        *audited.sessions(),
        *(again(seed, film(), cumulative=bool(seed % 2)) for seed in range(30)),
        *(played(number, CHANGES[1 + number % (len(CHANGES) - 1)]) for number in range(40)),
    ]
    parts = [
        groups_of([replace(held, session=replace(held.session, id=f"{place:016x}"))])
        for place, held in enumerate(sessions)
    ]
    claimed = {}
    for seed in range(40):
        random.Random(seed).shuffle(parts)
        half = len(parts) // 2
        found = compared(merged(parts[:half]), merged(parts[half:]), baseline="old", grouped=False).all
        assert found.compared > 100
        if found.changes:
            claimed[seed] = said(found)
    assert claimed == {}


def test_a_change_of_one_tenth_of_a_percent_is_no_news():
    """With very many sessions, the smallest difference is certain."""
    good, bad = groups_of([played(0)]), groups_of([played(1, CHANGES[1])])
    before, after = _times(good, 17), merged([_times(good, 17), _times(bad, 7)])
    found = compared(before, after, baseline="old", grouped=False).all
    assert (found.before, found.after) == (2**17, 2**17 + 2**7)
    (rule,) = found.findings
    assert rule.p < 1e-20
    assert (rule.change, found.changes, found.undecided) == (None, (), 0)
    assert [each.name for each in found.worse()] == ["param-missing"]


def _times(groups: ByGroup, doubled: int) -> ByGroup:
    for _ in range(doubled):
        groups = merged([groups, groups])
    return groups


def test_groups_are_compared_with_those_of_their_name():
    before = groups_of(
        [
            *(played(number, player="One") for number in range(20)),
            *(played(number, player="Two") for number in range(20, 40)),
        ],
        By.PLAYER,
    )
    after = groups_of(
        [
            *(played(number, CHANGES[1], player="One") for number in range(40, 60)),
            *(played(number, player="Two") for number in range(60, 80)),
            *(played(number, player="Three") for number in range(80, 80 + FEWEST)),
        ],
        By.PLAYER,
    )
    audit = audit_of(after, by=By.PLAYER, now=at(0), source="new", baseline=("old", before))
    found = audit.baseline
    assert found is not None
    assert [changes.name for changes in found.groups] == ["One", "Two"]
    assert [said(changes) for changes in found.groups] == [set(CHANGES[1].said), set()]
    assert said(found.all) == {line.replace("vanished", "less") for line in CHANGES[1].said}
    assert (found.only_before, found.only_after) == ((), ("Three",))
    document = audit.document()["baseline"]
    (gone,) = document["groups"][0]["changes"]
    assert (gone["change"], gone["name"]) == ("vanished", "media.channel")
    assert gone["beneath"] == [
        {
            "what": "finding",
            "event": "",
            "section": "",
            "name": "param-missing",
            "detail": "",
            "severity": "info",
            "before": {"sessions": 0, "of": 20, "share": 0.0, "mean": None, "p5": None, "p50": None, "p95": None},
            "after": {"sessions": 20, "of": 20, "share": 1.0, "mean": None, "p5": None, "p50": None, "p95": None},
            "test": "fisher",
            "p": 1.45e-11,
            "look_at": [f"{number:016x}" for number in (59, 58, 57)],
            "change": "appeared",
            "beneath": [],
        }
    ]


def test_a_finding_that_was_there_before_is_not_worse():
    bad = CHANGES[1]
    both = [groups_of(played(number, bad) for number in range(first, first + 8)) for first in (0, 50)]
    assert [*compared(*both, baseline="old", grouped=False).all.worse()] == []
    fewer = compared(version(first=0, sessions=8), both[1], baseline="old", grouped=False)
    assert [each.name for each in fewer.all.worse()] == ["param-missing"]
    assert [*compared(both[0], version(first=0, sessions=8), baseline="old", grouped=False).all.worse()] == []


def test_what_may_be_chance_is_listed_the_largest_differences_first():
    def deviating(sessions: int) -> Changes:
        """Compare sessions of which all but one deviate in 25 ways where all did, and none in one of these ways."""
        before, after = Totals(sessions=sessions), Totals(sessions=sessions)
        for number in range(25):
            for totals, of in ((before, sessions), (after, 0 if number == 9 else sessions - 1)):
                key = Deviation("plan-missing", "ping", "params", f"{number:02}", "required")
                totals.plan.each[key] = Concerned(sessions=of)
        return compared({None: GroupTotals(before)}, {None: GroupTotals(after)}, baseline="old", grouped=False).all

    few = deviating(5)
    assert (few.changes, few.is_enough, few.is_undecided, few.undecided) == ((), False, True, 25)
    assert [each.name for each in few.may_be_chance] == ["09", *(f"{n:02}" for n in range(MOST_DOUBTFUL) if n != 9)]
    assert not deviating(few.enough - 1).is_enough
    enough = deviating(few.enough)
    assert [each.name for each in enough.changes] == ["09"]
    assert (enough.is_enough, enough.is_undecided, enough.undecided) == (True, False, 24)


@pytest.mark.parametrize(
    ("sessions", "change", "expected"), [(3, CHANGES[1], ["undecided"]), (3, NOTHING, []), (0, CHANGES[1], [])]
)
def test_too_few_sessions_are_a_failure_if_changes_are_and_something_differs(sessions, change, expected):
    old, new = version(first=0, sessions=3), version(change, first=99, sessions=sessions)
    audit = audit_of(new, by=None, now=at(0), source="new", baseline=("old", old))
    failures = [*ET.fromstring("".join(facts.suite(audit, "never", changes_fail=True))).iter("failure")]
    assert [failure.get("type") for failure in failures] == expected
    for failure in failures:
        first, *lines = (failure.text or "").splitlines()
        assert first == failure.get("message")
        assert lines[0] == "media.channel on sessionStart, before 3 of 3 (100 %), after 0 of 3 (0 %)"
    assert "<failure" not in "".join(facts.suite(audit, "never"))


def with_values(key: str, values: Iterable[object]) -> ByGroup:
    """Return sessions each of which sends one of the values in its metadata."""
    totals = Totals()
    for number, value in enumerate(values):
        totals.sessions += 1
        totals.coverage.add(read_body(body({"eventType": "play", "customMetadata": {key: value}})))
        totals.coverage.end_session(lot_of(f"{number}"))
    return {None: GroupTotals(totals)}


@pytest.mark.parametrize(
    ("key", "before", "after", "expected"),
    [
        ("tier", ["gold"] * 30, ["Gold"] * 30, ['vanished value "gold"', 'appeared value "Gold"']),
        ("tier", ["gold"] * 30, ["gold", "tin"] * 15, ['less value "gold"', 'appeared value "tin"']),
        ("tier", ["gold"] * 18 + [*range(10)], ["tin"] * 18 + [*range(10)], []),  # 28 sessions, 11 values
        ("visit", [f"v{number}" for number in range(30)], [f"w{number}" for number in range(30)], []),
        ("tier", ["gold"] * 200 + [*range(64)], ["tin"] * 200 + [*range(64)], []),  # more values than are kept
        ("deviceId", ["box-1"] * 30, ["box-2"] * 30, []),
        ("crm.id", [1] * 30, [2] * 30, []),
        *(
            (name, ["4.1"] * 30, ["4.2"] * 30, [])
            for name in ("VERSION", "APP_VERSION", "appversion", "buildVersionNumber")
        ),
        ("conversion", ["a"] * 30, ["b"] * 30, ['vanished value "a"', 'appeared value "b"']),
        ("paid", [True] * 30, [False] * 30, ["appeared value false", "vanished value true"]),
        ("contact", ["a@example.com"] * 30, ["b@example.com"] * 30, []),
        ("email", ["a"] * 30, ["b"] * 30, []),
        ("email", [f"a{number}" for number in range(99)], ["b"] * 30, []),
        ("speed", [3.0] * 30, [3_000] * 30, ["vanished value 3", "appeared value 3000"]),
        ("speed", [3] * 30, [3.0] * 30, []),
        ("speed", [3] * 30, ["3"] * 30, ["vanished type number", "appeared type string"]),
        ("speed", [3, 3.5] * 15, [3, "3"] * 15, ["less type number", "appeared type string", "vanished value 3.5"]),
    ],
)
def test_values_are_compared_where_sessions_share_them_and_they_name_nobody(key, before, after, expected):
    old, new = with_values(key, before), with_values(key, after)
    audit = audit_of(new, by=None, now=at(0), source="new", baseline=("old", old), hide=HIDE)
    assert audit.baseline is not None
    found = said(audit.baseline.all)
    assert sorted(line.replace(f" play customMetadata {key}", "") for line in found) == sorted(expected)
    is_told = len({*map(str, before)}) > MOST_KEPT and key != "email"
    assert audit.baseline.all.many_values == ((f"customMetadata/{key}",) if is_told else ())
    text = " ".join("".join(as_text(audit)).split())
    assert (f"not compared: values of 1 key with more than 64: customMetadata/{key}" in text) == is_told


def broken(sessions: int, of: int) -> ByGroup:
    """Return sessions of which some break a rule, deviate from a plan and lose something."""
    totals = Totals(sessions=of)
    if sessions:
        totals.findings["ping-gap"] = Broken(concerned=Concerned(sessions=sessions), severities={"error": sessions})
        totals.plan.each[Deviation("plan-missing", "ping", "params", "flavour", "required")] = Concerned(
            sessions=sessions
        )
        totals.losses.sessions[Loss.REFUSED] = Concerned(sessions=sessions)
    return {None: GroupTotals(totals)}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ((50_000, 100_000), (55_100, 100_000), "more"),
        ((50_000, 100_000), (54_000, 100_000), None),
        ((2_000, 100_000), (6_000, 100_000), "more"),
        ((6_000, 100_000), (2_000, 100_000), "less"),
        ((0, 100_000), (900, 100_000), None),
        ((0, 100_000), (1_100, 100_000), "appeared"),
        ((1_100, 100_000), (0, 100_000), "vanished"),
        ((0, 100_000), (4, 4), None),
        ((0, 100_000), (5, 5), "appeared"),
        ((5, 5), (0, 100_000), "vanished"),
    ],
)
def test_a_share_of_sessions_changes_if_it_differs_by_enough(before, after, change):
    found = compared(broken(*before), broken(*after), baseline="old", grouped=False).all
    assert [each.change for each in (*found.findings, *found.losses)] == [change, change]
    what = [] if change is None else [f"{change} finding ping-gap"]
    what += [] if change is None else [f"{change} plan ping params flavour plan-missing: required"]
    assert sorted(said(found)) == sorted([*what, *([] if change is None else [f"{change} loss refused"])])


@pytest.mark.parametrize(
    ("medians", "change"),
    [
        ({10_000: 95_500, 20_000: 4_500}, None),
        ({10_000: 94_500, 20_000: 5_500}, None),  # p95 doubles, because one session in a hundred differs
        ({10_000: 80_000, 20_000: 20_000}, "higher"),
        ({9_728: 100_000}, "lower"),
        ({10_752: 100_000}, "higher"),
        ({10_240: 100_000}, None),
    ],
)
def test_a_rhythm_changes_if_many_sessions_differ_by_enough(medians, change):
    def rhythm(counts: dict[int, int]) -> ByGroup:
        totals = Totals(sessions=sum(counts.values()))
        measured = Histogram(counts=counts, lowest=min(counts), highest=max(counts))
        totals.rhythm.medians["ping_gaps_ms.content"] = PerSession(measured)
        return {None: GroupTotals(totals)}

    before = {10_000: 95_500, 20_000: 4_500} if change != "lower" else {10_496: 100_000}
    (found,) = compared(rhythm(before), rhythm(medians), baseline="old", grouped=False).all.rhythm
    assert found.change == change
