"""Sessions are held against a scenario: which of them count, in which order their events are, and what is told of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.findings import Severity
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.scenarios.judging import MOST_TOLD, Evidence, judge, told_with
from proxy_addon.core.scenarios.scenario import Scenario, read
from proxy_addon.core.timelines import pictures
from proxy_addon.core.timelines.marks import Mark, numbers_of
from proxy_addon.files.scenarios import scenarios
from tests import builders, sdk_traffic
from tests.pictured import picture
from tests.played import Cue
from tests.staged import Staged, sessions_of

Told = list[tuple[str, list[str]]]


def scenario(*expect: dict[str, Any], allows: list[str] | None = None, sessions: int = 1) -> Scenario:
    """Return a scenario with these expectations of its last session."""
    played = {"that": "It is played.", "count": {"event": "play", "number": {"at_least": 0}}}
    playbacks: list[dict[str, Any]] = [{"name": name, "expect": [played]} for name in ("One", "Two")[:sessions]]
    playbacks[-1]["expect"] = [{"that": f"{number}.", **each} for number, each in enumerate(expect or [played], 1)]
    if allows:
        playbacks[-1]["allows"] = allows
    return read({"title": "A", "about": "B", "sources": ["C"], "steps": ["D"], "sessions": playbacks}, "a")


def wrong(found: Evidence) -> Told:
    return [(line.that, [each.message for each in line.failures]) for line in found.lines if not line.holds]


def of(cues: list[Cue], *expect: dict[str, Any], **how: Any) -> Told:
    return wrong(judge(scenario(*expect, **how), [picture(held) for held in sessions_of([cues])]))


def test_a_sequence_holds_if_there_is_one_way_to_find_it():
    pauses = Staged().start().play(10).pause(3).play(10).pause(30).play(10).end()
    late = {
        "sequence": [{"event": "pauseStart"}, {"event": "play", "after_s": {"at_least": 20}}, {"event": "sessionEnd"}]
    }
    assert of(pauses, late) == [], "the first pause does not lead on, the second does"
    directly = {
        "sequence": [{"event": "pauseStart"}, {"event": "play", "after_s": {"at_least": 20}, "without": "play"}]
    }
    assert of(pauses, directly) == []
    short = Staged().start().play(10).pause(3).play(10).pause(9).play(10).end()
    assert of(short, directly) == [
        ("1.", ["#6 play (0:32.5) comes 9 s after #5 pauseStart (0:23.5), expected at least 20 s"])
    ], "the pause that comes closest is told"


def test_what_a_sequence_lacks_is_told_with_its_event():
    cues = Staged().start().play(10).pause(5).play(10).end()
    steps = [
        ([{"event": "adStart"}], "there is no adStart"),
        (
            [{"event": "pauseStart"}, {"event": ["adStart", "error"]}],
            "no adStart or error comes after #3 pauseStart (0:10.5)",
        ),
        (
            [{"event": "pauseStart"}, {"event": "play", "moved_s": {"at_least": 5}}],
            "#4 play (0:15.5) is at playhead 10, 0 s ahead of #3 pauseStart (0:10.5), expected at least 5 s ahead",
        ),
        (
            [{"event": "sessionEnd"}, {"event": "play"}],
            "no play comes after #5 sessionEnd (0:25.5)",
        ),
        (
            [{"event": "play", "playhead_s": 10}, {"event": "sessionEnd", "moved_s": {"at_most": -60}}],
            "#5 sessionEnd (0:25.5) is at playhead 20, 10 s ahead of #4 play (0:15.5), expected at least 60 s behind",
        ),
        (
            [{"event": "sessionStart"}, {"event": "sessionEnd", "without": ["error", "pauseStart"]}],
            "#3 pauseStart (0:10.5) comes between #1 sessionStart (0:00.0) and #5 sessionEnd (0:25.5)",
        ),
        (
            [{"event": "sessionStart", "params": {"media.length": {"at_most": 60}, "media.show": {"present": False}}}],
            "#1 sessionStart (0:00.0): media.length is the number 3600, expected at most 60",
        ),
        (
            [{"event": "sessionStart", "params": {"media.show": ["A", "B", "C"]}}],
            '#1 sessionStart (0:00.0): media.show was not sent, expected "A", "B" or "C"',
        ),
        (
            [{"event": "play", "playhead_s": {"at_least": 5, "at_most": 8}}],
            "#4 play (0:15.5): it has playhead 10, expected between 5 and 8",  # the one that is nearest
        ),
        (
            [{"event": "play", "params": {"media.show": {"matches": r"\S"}}}],
            "#2 play (0:00.5): media.show was not sent, expected a text",
        ),
    ]
    for sequence, message in steps:
        assert of(cues, {"sequence": sequence}) == [("1.", [message])]


def test_events_at_the_same_time_are_taken_as_they_are_meant():
    start, *rest = Staged().start().ads(10, 10).play(10).end()
    swapped = rest[::-1]
    swapped.sort(key=lambda cue: cue.at_s)  # those at the same time arrive the other way round
    sequence = scenarios()["ad-pod"].sessions[0].expect[0].that
    found = judge(scenarios()["ad-pod"], [picture(held) for held in sessions_of([[start, *swapped]])])
    assert sequence in [line.that for line in found.lines if line.holds]


def test_counts_and_ends_tell_what_was_seen():
    cues = Staged().start().play(10).pause(5).play(10).left()
    assert of(cues, {"count": {"event": "play", "number": 1}}) == [
        ("1.", ["there are 2 play events, the last is #4 play (0:15.5), expected 1"])
    ]
    assert of(cues, {"count": {"event": "play", "playhead_s": {"at_least": 50}, "number": {"at_least": 1}}}) == [
        ("1.", ["no such play, expected at least 1; #4 play (0:15.5): it has playhead 10, expected at least 50"])
    ]
    ended = "neither sessionComplete nor sessionEnd came; the last event is #4 play (0:15.5)"
    assert of(cues, {"end": ["completed", "ended"]}) == [
        ("1.", [f"{ended}, expected sessionComplete or sessionEnd alone"])
    ]


def test_a_line_tells_a_few_failures_and_how_many_more_there_are():
    cues = Staged().start().play(100).end()
    ((_, told),) = of(cues, {"never": "ping"})
    assert len(told) == MOST_TOLD + 1
    assert told[0] == "#3 ping (0:10.5) was sent"
    assert told[-1] == "and 4 more"


def test_the_events_of_a_long_session_are_numbered_once(monkeypatch):
    marks: list[Mark] = []

    def numbered(found: Sequence[Mark]) -> dict[tuple[int, str], int]:
        marks.extend(found)
        return numbers_of(found)

    monkeypatch.setattr(pictures, "numbers_of", numbered)
    drawn = [picture(held) for held in sessions_of([Staged().start().play(1000).end()])]
    marks.clear()
    assert wrong(judge(scenario({"never": "ping"}), drawn))
    assert len(marks) == len(drawn[0].marks) > 100


def test_what_the_server_refused_does_not_count():
    held = sessions_of([Staged().start().play(10).pause(5).play(10).end()])[0]
    refused = [
        replace(each, response=builders.response(400))
        if any(event.type == "pauseStart" for event in each.request.reading.events)
        else each
        for each in held.exchanges
    ]
    found = judge(scenario({"count": {"event": "pauseStart", "number": 0}}), [picture(fold(refused)[0])])
    assert wrong(found) == []


def test_the_protocol_is_kept_except_for_what_the_scenario_allows():
    cues = [*Staged().start().play(10).end()]
    cues[1] = replace(cues[1], playhead_s=-1)
    ((that, told),) = of(cues)
    assert that == "The rules of the protocol are kept."
    assert told[0].startswith("#2: ")
    assert told[0].endswith("(error playhead-negative)")
    assert of(cues, allows=["playhead-negative"]) == []
    drawn = [picture(held) for held in sessions_of([cues])]
    assert wrong(judge(scenario(), drawn, fail_on=None)) == []
    quiet = [picture(held) for held in sessions_of([Staged().start().play(10).say("sessionEnd").wait(1).end("play")])]
    assert wrong(judge(scenario(), quiet)) == []
    assert [that for that, _ in wrong(judge(scenario(), quiet, fail_on=Severity.WARNING))] == [that]


def test_starts_that_were_repeated_with_success_are_no_sessions():
    body = builders.body(builders.event_dict("sessionStart"))
    failed = builders.start(id="a", body=body, response=builders.response(500))
    begun = builders.start(id="b", body=body, after_s=0.5)
    rest = builders.event("sessionEnd", id="c", after_s=5)
    found = judge(scenario(), [picture(held) for held in fold([failed, begun, rest])])
    assert wrong(found) == []
    assert len(found.pictures) == 1
    lost = builders.start(id="a", body=body, response=None, outcome=Outcome.UPSTREAM_TIMEOUT)
    assert wrong(judge(scenario(), [picture(held) for held in fold([lost])])) == [
        ("The server accepts the start.", ["its start was not answered with 2xx and a session ID"])
    ]


def test_what_is_missing_in_the_recording_is_told():
    held = sessions_of([Staged().start().play(10).end()])[0]
    lossy = replace(held, session=replace(held.session, lost=2, has_holes=True))
    assert wrong(judge(scenario(), [picture(lossy)])) == [
        ("No request is missing in the recording.", ["2 requests could not be stored"])
    ]
    assert wrong(judge(scenario(sessions=2), [picture(held)])) == [
        ("The player opens 2 sessions.", ["1 session recorded, expected 2; not recorded, so not judged: “Two”"])
    ], "a session that is not there has no lines"
    assert wrong(judge(scenario(sessions=2), [])) == [("The player opens 2 sessions.", ["no session was recorded"])]


def test_the_second_session_is_held_against_the_first():
    first, second = Staged().start().play(10).end(), Staged(60, media__id="other").start().play(5).end()
    expect = {"after": {"same": ["media.id", "media.show"], "different": ["media.name"], "gap_s": {"at_most": 30}}}
    found = judge(scenario(expect, sessions=2), [picture(held) for held in sessions_of([first, second])])
    assert wrong(found) == [
        (
            "1.",
            [
                "the values of media.id differ: 'video-123' and 'other'",
                "the values of media.name are the same: 'A film'",
                "#1 sessionStart (0:00.0) comes 49.5 s after the last event of the session before, expected at most 30 s after it",
            ],
        )
    ]
    overlapping = [picture(held) for held in sessions_of([first, Staged(8).start().play(5).end()])]
    assert wrong(judge(scenario({"after": {"gap_s": {"at_least": 0}}}, sessions=2), overlapping)) == [
        (
            "1.",
            [
                "#1 sessionStart (0:00.0) comes 2.5 s before the last event of the session before, expected at least 0 s after it"
            ],
        )
    ]


def test_words_are_those_without_personal_values_and_the_verdict_is_that_of_what_was_sent():
    wanted = scenario({"each": {"event": "sessionStart", "params": {"analytics.visitorId": {"matches": "^v-"}}}})

    def found(visitor: str) -> Evidence:
        cues = Staged(analytics__visitorId=visitor).start().play(5).end()
        return judge(wanted, [picture(held) for held in sessions_of([cues])])

    sent, hidden, other = found("v-1"), found("token"), found("x")
    assert told_with(sent, hidden).is_passed
    assert wrong(told_with(other, hidden)) == wrong(hidden)
    assert wrong(told_with(other, sent)) == [
        ("1.", ["it holds only with tokens for personal values; --raw says why it does not"])
    ]


def test_real_traffic_of_an_sdk_fails_for_its_length_alone():
    sessions = [picture(held) for held in _sdk_sessions()]
    known = scenarios()
    assert wrong(judge(known["mid-roll"], sessions[1:])) == []
    assert wrong(judge(known["ad-pod"], sessions[1:])) == []
    for name in ("pre-roll", "skip-ad"):
        ((_, told),) = wrong(judge(known[name], sessions[1:]))
        assert told == ["Content time spent: 9.009 s, expected between 15 and 90 s"]


def _sdk_sessions() -> list[HeldSession]:
    exchanges = []
    for number, sent in enumerate(sdk_traffic.load()):
        if sent.method != "POST":
            continue
        id = f"{sent.playback:064x}"
        make: Any = builders.start if sent.opens else builders.event
        exchanges.append(make(id=f"x{number}", session_id=id, body=sent.body, after_s=sent.at_s))
    return fold(exchanges)
