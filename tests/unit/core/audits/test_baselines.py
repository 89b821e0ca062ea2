"""A comparison with a baseline names exactly what changed, if there are enough sessions, and nothing that is chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.baselines import FEWEST, Changes, compared
from proxy_addon.core.audits.results import audit_of
from proxy_addon.core.audits.totals import ByGroup, merged
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from tests import audited
from tests.audited import DEFECTS, GOOD
from tests.builders import BEGIN_MS, at
from tests.played import Cue, again, film, pinged, recorded

SESSIONS = 30
_FRAMES = "media.qoe.framesPerSecond"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a new version does otherwise in some of its sessions.

    Attributes:
        part: One of so many sessions does it.
        said: All that must be said of it.
        cues: Changes what is played, before pings come between.
        every_s: Seconds from ping to ping.
        event: Changes each event in place.
        latency_s: How long events take to arrive.
    """

    what: str
    said: frozenset[str]
    part: int = 1
    cues: Callable[[list[Cue]], list[Cue]] = list
    every_s: float = 10
    event: Callable[[dict[str, Any]], object] = lambda value: None
    exchange: Callable[[Exchange], Exchange | None] = lambda exchange: exchange
    latency_s: float = 0


NOTHING = Change(what="nothing", said=frozenset())


def played(number: int, change: Change = NOTHING, player: str = GOOD) -> HeldSession:
    """Return one session of a version, each a little different from the others."""
    chance = random.Random(number)
    if number % change.part:
        change = NOTHING
    pings = iter(range(100))

    def changed(value: dict[str, Any]) -> None:
        if value["eventType"] == "sessionStart":
            value["params"]["media.playerName"] = player
        if value["eventType"] == "ping":
            value["qoeData"] = {_FRAMES: 25 + next(pings) % 3}
        change.event(value)

    cues = [cue for cue in audited.good_cues() if cue.type != "ping"]
    held = recorded(
        pinged(change.cues(cues), interval_s=change.every_s, jitter=lambda: chance.uniform(-0.5, 0.5)),
        begin_ms=BEGIN_MS,
        session_id=f"{number:064x}",
        latency=lambda: change.latency_s + chance.uniform(0.01, 0.05),
        changed=changed,
    )
    exchanges = [found for exchange in held.exchanges if (found := change.exchange(exchange)) is not None]
    (again_,) = fold([exchanges[0], *sorted(exchanges[1:], key=lambda each: each.received_at)])
    return replace(again_, session=replace(again_.session, id=f"{number:016x}"))


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
        for each in changes.changes
    }


def _on(type_: str, change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda value: change(value) if value["eventType"] == type_ else None


def _said(*lines: str) -> frozenset[str]:
    return frozenset(lines)


CHANGES = (
    NOTHING,
    Change(
        what="a key less",
        event=_on("sessionStart", lambda value: value["params"].pop("media.channel")),
        said=_said("vanished key sessionStart params media.channel", "appeared finding param-missing"),
    ),
    Change(
        what="a key less in every other session",
        part=2,
        event=_on("sessionStart", lambda value: value["params"].pop("media.channel")),
        said=_said("less key sessionStart params media.channel", "appeared finding param-missing"),
    ),
    Change(
        what="a key more",
        event=_on("adStart", lambda value: value.update(customMetadata={"campaign": "c7"})),
        said=_said("appeared key adStart customMetadata campaign"),
    ),
    Change(
        what="a key on some of the pings of each session",
        event=_on("ping", lambda value: value["qoeData"][_FRAMES] == 25 and value.pop("qoeData")),
        said=_said(f"vanished key-throughout ping qoeData {_FRAMES}"),
    ),
    Change(
        what="a number that became text",
        event=_on("ping", lambda value: value["qoeData"].update({_FRAMES: "25"})),
        said=_said(
            f"vanished type ping qoeData {_FRAMES} integer",
            f"appeared type ping qoeData {_FRAMES} string",
            "appeared finding qoe-value-type",
        ),
    ),
    Change(
        what="an event less",
        cues=lambda cues: [cue for cue in cues if cue.type != "chapterComplete"],
        said=_said(
            "vanished event chapterComplete",
            "appeared finding chapter-open-at-end",
            "vanished metric chapter_completes",
        ),
    ),
    Change(
        what="an event more, and more of another",
        cues=lambda cues: [
            *(cue for cue in cues if cue.at_s < 90),
            Cue(at_s=90, type="bitrateChange", playhead_s=64.6, quality={"media.qoe.bitrate": 1_000_000}),
            Cue(at_s=91, type="bitrateChange", playhead_s=65.6, quality={"media.qoe.bitrate": 2_000_000}),
            Cue(at_s=92, type="stateStart", playhead_s=66.6, params={"media.state.name": "mute"}),
            *(cue for cue in cues if cue.at_s > 92),
        ],
        said=_said("appeared event stateStart", "higher event-number bitrateChange", "higher metric bitrate_changes"),
    ),
    Change(
        what="pings every 20 s",
        every_s=20,
        said=_said("higher rhythm ping_gaps_ms.content", "lower event-number ping", "appeared finding ping-gap"),
    ),
    Change(
        what="a clock that is late",
        event=lambda value: value["playerTime"].update(ts=value["playerTime"]["ts"] - 4_000),
        said=_said("higher rhythm clock_skew_ms"),
    ),
    Change(
        what="slower answers",
        exchange=lambda exchange: replace(exchange, duration_us=6_000_000),
        said=_said("higher rhythm latency_ms", "appeared slow-answers"),
    ),
    Change(
        what="no end",
        cues=lambda cues: [cue for cue in cues if cue.type not in {"sessionComplete", "sessionEnd"}],
        said=_said(
            "vanished event sessionComplete",
            "vanished event sessionEnd",
            "appeared finding session-not-closed",
            "appeared loss no-end",
            "vanished metric content_completes",
            "higher metric seconds_since_last_call_s",
        ),
    ),
    Change(
        what="a playhead at half speed",
        event=lambda value: value["playerTime"].update(playhead=value["playerTime"]["playhead"] / 2),
        said=_said(
            "lower rhythm playhead_speed",
            "lower metric unique_time_played_s",
            *(f"vanished metric progress_{percent}" for percent in (50, 75, 95)),
        ),
    ),
)


@pytest.fixture(scope="module")
def old() -> ByGroup:
    return version(first=0)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_exactly_what_changed_is_named_if_there_are_enough_sessions(old, change):
    found = compared(old, version(change, first=100), baseline="old", grouped=False).all
    assert said(found) == change.said
    assert (found.before, found.after) == (SESSIONS, SESSIONS)
    for each in found.changes:
        assert each.p < 0.001
        if each.test == "fisher":
            assert each.before.sessions != each.after.sessions


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_of_three_sessions_nothing_is_claimed(change):
    before, after = version(first=0, sessions=3), version(change, first=99, sessions=3)
    found = compared(before, after, baseline="old", grouped=False).all
    assert said(found) == set()
    assert (found.undecided >= len(change.said)) or change.part > 1
    assert all(each.change is None for each in (*found.findings, *found.losses, *found.rhythm, *found.metrics))


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


def defective(number: int, defect: audited.Defect) -> HeldSession:
    held = recorded(
        defect.cues(audited.good_cues()), begin_ms=BEGIN_MS, session_id=f"{number:064x}", changed=defect.event
    )
    exchanges = [kept for exchange in held.exchanges if (kept := defect.exchange(exchange)) is not None]
    (found,) = fold([exchanges[0], *sorted(exchanges[1:], key=lambda each: each.received_at)])
    return replace(found, session=replace(found.session, id=f"{number:016x}"))


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
    for seed in range(200):
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
    assert found.worst() == "info"
    document = audit.document()["baseline"]
    assert document["groups"][0]["changes"][0] == {
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
        "change": "appeared",
    }


def test_a_finding_that_was_there_before_is_not_worse():
    bad = CHANGES[1]
    both = [groups_of(played(number, bad) for number in range(first, first + 8)) for first in (0, 50)]
    assert compared(*both, baseline="old", grouped=False).worst() is None
    fewer = compared(version(first=0, sessions=8), both[1], baseline="old", grouped=False)
    assert fewer.worst() == "info"
    assert compared(both[0], version(first=0, sessions=8), baseline="old", grouped=False).worst() is None
