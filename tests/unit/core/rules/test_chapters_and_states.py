from __future__ import annotations

import pytest

from proxy_addon.core.findings import Severity
from tests.unit.core.rules.played import breaks, film, judged, keeps, rules_in, says, the_only

WARNING, INFO = Severity.WARNING, Severity.INFO


def state(event_type: str, t_s: float, name: str):
    return event_type, t_s, t_s, {"media.state.name": name}


def update(t_s: float, *, starts: tuple[str, ...] = (), ends: tuple[str, ...] = ()):
    lists = {"statesStart": starts, "statesEnd": ends}
    return (
        "statesUpdate",
        t_s,
        t_s,
        {key: [{"media.state.name": name} for name in names] for key, names in lists.items()},
    )


def named(number: int):
    return [state("stateStart", n, f"state{n:02}") for n in range(1, number + 1)]


@breaks("chapter-not-closed")
def test_a_chapter_must_end_before_the_next_begins():
    finding = the_only(
        judged(film(("chapterStart", 5, 5), ("ping", 10, 10), ("chapterStart", 20, 20), ("chapterComplete", 29, 29)))
    )
    assert says(finding) == ("chapter-not-closed", WARNING, 1, 5)
    assert "chapterComplete or chapterSkip is missing" in finding.message


@keeps("chapter-not-closed")
@pytest.mark.parametrize("close", ["chapterComplete", "chapterSkip"])
@pytest.mark.parametrize("t_s", [19.999, 20])
def test_a_chapter_may_begin_where_another_ends_even_if_it_arrives_first(close, t_s):
    findings = judged(
        film(
            ("chapterStart", 5, 5),
            ("ping", 10, 10),
            ("chapterStart", 20, 20),
            (close, t_s, 20),
            ("chapterSkip", 29, 29),
        )
    )
    assert rules_in(findings) == {"ts-equal" if t_s == 20 else "ts-out-of-order"}


@breaks("chapter-close-without-start")
def test_a_chapter_ends_once():
    finding = the_only(
        judged(film(("chapterStart", 5, 5), ("chapterComplete", 10, 10), ("chapterSkip", 10.001, 10), ("ping", 20, 20)))
    )
    assert says(finding) == ("chapter-close-without-start", WARNING, 1, 5)
    assert finding.message == "chapterSkip with no chapter open"


@keeps("chapter-close-without-start")
def test_the_first_chapter_to_end_may_have_begun_before_the_recording():
    recorded = [("ping", 10, 10), ("chapterSkip", 12, 12), ("ping", 20, 20), ("sessionComplete", 30, 30)]
    assert judged(recorded, start_missing=True) == []
    again = [*recorded[:3], ("chapterSkip", 22, 22), recorded[3]]
    assert says(the_only(judged(again, start_missing=True))) == ("chapter-close-without-start", WARNING, 1, 4)


@breaks("chapter-open-at-end")
@pytest.mark.parametrize("end", [("sessionComplete", 25, 25), ("sessionEnd", 25, 25)])
def test_a_chapter_should_end_before_the_session(end):
    opened = film(("chapterStart", 5, 5), ("ping", 15, 15))[:-1]
    finding = the_only(judged([*opened, end]))
    assert says(finding) == ("chapter-open-at-end", INFO, 1, 5)
    assert finding.message == f"{end[0]} while a chapter is open"


def test_a_chapter_that_is_open_at_the_end_is_told_once_where_both_ends_are_sent():
    events = [*film(("chapterStart", 5, 5), ("ping", 15, 15), end_s=25), ("sessionEnd", 26, 25)]
    assert says(the_only(judged(events))) == ("chapter-open-at-end", INFO, 1, 5)


@keeps("chapter-open-at-end")
def test_a_chapter_may_end_with_the_ts_of_the_end_of_the_session():
    events = [*film(("chapterStart", 5, 5), ("ping", 15, 15), end_s=25), ("chapterSkip", 25, 25)]
    assert rules_in(judged(events)) == {"ts-equal"}


def test_chapters_after_the_end_of_the_session_are_dropped_and_not_judged():
    after = [("chapterComplete", 31, 30), ("chapterStart", 32, 30), ("chapterStart", 33, 30)]
    events = [*film(("ping", 10, 10), ("ping", 20, 20))[:-1], ("sessionEnd", 30, 30), *after]
    assert says(the_only(judged(events))) == ("event-after-session-end", WARNING, 3, 6)


@breaks("state-already-active")
def test_a_state_begins_once():
    finding = the_only(judged(film(state("stateStart", 5, "mute"), ("ping", 10, 10), state("stateStart", 20, "mute"))))
    assert says(finding) == ("state-already-active", WARNING, 1, 5)
    assert finding.message == "state 'mute' was started while it is active"


def test_two_spellings_of_full_screen_are_one_state():
    findings = judged(
        film(state("stateStart", 5, "fullScreen"), ("ping", 10, 10), state("stateStart", 20, "fullscreen"))
    )
    assert rules_in(findings) == {"state-already-active", "state-name-case-mix"}


@keeps("state-already-active")
def test_a_state_may_end_and_begin_in_one_event():
    events = film(
        state("stateStart", 5, "mute"),
        update(10, starts=("mute", "inFocus"), ends=("mute",)),
        state("stateEnd", 19.999, "mute"),
        state("stateStart", 20, "mute"),
    )
    assert judged(events) == []


@keeps("state-already-active")
def test_a_state_may_end_with_the_ts_at_which_it_begins_again_even_if_it_arrives_later():
    events = film(state("stateStart", 5, "mute"), state("stateStart", 15, "mute"), state("stateEnd", 15, "mute"))
    assert rules_in(judged(events)) == {"ts-equal"}


@breaks("state-not-active")
def test_only_a_state_that_is_active_ends():
    finding = the_only(
        judged(
            film(
                state("stateStart", 5, "mute"),
                state("stateEnd", 10, "mute"),
                update(20, starts=("inFocus",), ends=("mute",)),
            )
        )
    )
    assert says(finding) == ("state-not-active", WARNING, 1, 5)
    assert finding.message == "state 'mute' was ended while it is not active"


@keeps("state-not-active")
def test_a_state_may_end_under_the_other_spelling_of_full_screen():
    events = film(state("stateStart", 5, "fullScreen"), ("ping", 10, 10), state("stateEnd", 20, "fullscreen"))
    assert rules_in(judged(events)) == {"state-name-case-mix"}


@keeps("state-not-active")
def test_a_state_may_have_begun_before_the_recording():
    recorded = [("ping", 10, 10), state("stateEnd", 12, "mute"), ("ping", 20, 20), ("sessionComplete", 30, 30)]
    assert judged(recorded, start_missing=True) == []
    again = [*recorded[:3], state("stateEnd", 22, "mute"), recorded[3]]
    assert says(the_only(judged(again, start_missing=True))) == ("state-not-active", WARNING, 1, 4)


@breaks("state-limit")
def test_the_eleventh_name_of_a_state_does_not_count():
    finding = the_only(judged(film(*named(11), ("ping", 20, 20))))
    assert says(finding) == ("state-limit", WARNING, 1, 13)
    assert finding.message == "state 'state11' is state name number 11 of the session; only 10 count"


def test_each_later_name_is_told_and_one_that_has_ended_counts_too():
    toggled = [(state("stateStart", n, f"s{n}"), state("stateEnd", n + 0.5, f"s{n}")) for n in range(1, 13)]
    finding = the_only(judged(film(*(event for pair in toggled for event in pair), ("ping", 20, 20))))
    assert says(finding) == ("state-limit", WARNING, 2, 23)
    assert "'s11' is state name number 11" in finding.message


def test_the_name_that_is_one_too_many_in_a_list_is_told():
    finding = the_only(judged(film(*named(9), update(12, starts=("z", "a", "b")), ("ping", 20, 20))))
    assert says(finding) == ("state-limit", WARNING, 1, 12)
    assert "'a' is state name number 11" in finding.message


def test_of_very_many_names_only_the_first_are_followed_and_each_further_one_is_told():
    events = []
    for number in range(1, 301):
        t_s = number / 10
        events += [state("stateStart", t_s + 1, f"s{number}"), state("stateEnd", t_s + 1.05, f"s{number}")]
    finding = the_only(judged(film(*events, end_s=33)))
    assert says(finding) == ("state-limit", WARNING, 90 + 2 * 200, 23)
    assert "'s11' is state name number 11" in finding.message


@keeps("state-limit")
def test_ten_names_count_however_often_they_are_used():
    again = [state("stateEnd", 11, "state01"), state("stateStart", 12, "state01")]
    assert judged(film(*named(10), *again, ("ping", 20, 20))) == []


@keeps("state-limit")
def test_the_two_spellings_of_full_screen_take_one_place_of_the_ten():
    spelled = [
        state("stateStart", 12, "fullScreen"),
        state("stateEnd", 13, "fullscreen"),
        state("stateStart", 14, "fullscreen"),
    ]
    assert rules_in(judged(film(*named(9), *spelled, ("ping", 20, 20)))) == {"state-name-case-mix"}
    assert rules_in(judged(film(*named(10), *spelled, ("ping", 20, 20)))) == {"state-limit", "state-name-case-mix"}


@breaks("state-name-case-mix")
@pytest.mark.parametrize("spelling", ["fullscreen", "FullScreen"])
def test_one_state_has_one_spelling(spelling):
    events = film(
        state("stateStart", 5, "fullScreen"),
        state("stateEnd", 10, "fullScreen"),
        state("stateStart", 15, spelling),
        state("stateEnd", 20, spelling),
    )
    finding = the_only(judged(events))
    assert says(finding) == ("state-name-case-mix", INFO, 1, 5)
    assert finding.message == f"state '{spelling}' was spelled 'fullScreen' before"


def test_other_names_than_full_screen_are_two_states_when_spelled_in_two_ways():
    events = film(state("stateStart", 5, "mute"), state("stateStart", 10, "Mute"), state("stateEnd", 15, "mute"))
    assert says(the_only(judged(events))) == ("state-name-case-mix", INFO, 1, 4)


def test_two_spellings_in_one_event_are_told():
    finding = the_only(judged(film(update(5, starts=("mute", "Mute")), ("ping", 15, 15))))
    assert says(finding) == ("state-name-case-mix", INFO, 1, 3)


@keeps("state-name-case-mix")
def test_names_that_differ_in_more_than_case_are_two_states():
    events = film(state("stateStart", 5, "fullScreen"), state("stateStart", 10, "full_screen"), ("ping", 20, 20))
    assert judged(events) == []


def test_states_after_the_end_of_the_session_are_dropped_and_not_judged():
    after = [state("stateStart", 31, "mute"), state("stateEnd", 32, "Mute")]
    events = [*film(state("stateStart", 10, "mute"), ("ping", 20, 20))[:-1], ("sessionEnd", 30, 30), *after]
    assert says(the_only(judged(events))) == ("event-after-session-end", WARNING, 2, 6)
