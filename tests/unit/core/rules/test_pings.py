from __future__ import annotations

from itertools import accumulate

import pytest

from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.rules.limits import Limits
from tests.unit.core.rules.played import breaks, film, judged, keeps, pings, rules_in, says, the_only

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def silent_for(gap_s: float):
    """A session with one gap, before its fourth event."""
    return film(("ping", 10, 10), ("ping", 10 + gap_s, 20), ("ping", 15 + gap_s, 30), end_s=20 + gap_s)


def arriving(*arrivals_s: float, t_s: tuple[float, ...]):
    """A session whose pings have times of their own and of arrival."""
    middle = [("ping", t, t, None, None, arrival) for t, arrival in zip(t_s, arrivals_s, strict=True)]
    end_s, last_s = max(t_s) + 5, max(arrivals_s) + 5
    return [*film(*middle)[:-1], ("sessionEnd", end_s, end_s, None, None, last_s)]


@breaks("ping-gap")
@pytest.mark.parametrize("gap_s", [15.001, 28, 60])
def test_a_silence_of_15_seconds_to_a_minute_is_told(gap_s):
    finding = the_only(judged(silent_for(gap_s)))
    assert says(finding) == ("ping-gap", INFO, 1, 4)
    assert finding.message == f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@keeps("ping-gap")
@pytest.mark.parametrize("first_s", [10, 10.1, 10.123])
def test_a_silence_of_15_seconds_is_fine(first_s):
    assert judged(film(("ping", first_s, 10), ("ping", first_s + 15, 20))) == []


@breaks("ping-gap-long")
@pytest.mark.parametrize("gap_s", [60.001, 180, 599.999])
def test_a_silence_of_minutes_is_told(gap_s):
    finding = the_only(judged(silent_for(gap_s)))
    assert says(finding) == ("ping-gap-long", WARNING, 1, 4)
    assert finding.message == f"{gap_s:.1f} s without an event; expected a ping every 10 s"


@keeps("ping-gap-long")
def test_a_silence_of_a_minute_is_no_long_one():
    assert rules_in(judged(silent_for(60))) == {"ping-gap"}


@breaks("session-timeout-idle")
@pytest.mark.parametrize("gap_s", [600, 1500])
def test_a_silence_of_ten_minutes_closes_a_session(gap_s):
    finding = the_only(judged(silent_for(gap_s)))
    assert says(finding) == ("session-timeout-idle", ERROR, 1, 4)
    assert (
        finding.message
        == f"ping after {gap_s / 60:.1f} minutes without an event; the session was closed and the event is dropped"
    )


@keeps("session-timeout-idle")
def test_a_session_outlives_a_silence_of_just_less_than_ten_minutes():
    assert rules_in(judged(silent_for(599.999))) == {"ping-gap-long"}


def test_silence_is_measured_by_arrival_when_live_and_by_ts_otherwise():
    held_back = arriving(10, 25.001, t_s=(10, 20))
    assert rules_in(judged(held_back)) == {"ping-gap"}
    assert judged(held_back, by_arrival=False, has_clock=False) == []
    sent_late = arriving(10, 20, t_s=(10, 25.001))
    assert judged(sent_late) == []
    assert rules_in(judged(sent_late, by_arrival=False, has_clock=False)) == {"ping-gap"}


def test_silence_by_ts_is_measured_in_the_order_of_times():
    events = film(("ping", 10, 10), ("ping", 30, 30), ("ping", 20, 20), end_s=40)
    assert rules_in(judged(events, by_arrival=False)) == {"ts-backwards"}


def test_a_gap_is_told_for_each_silence():
    finding = the_only(
        judged(film(*pings(20, 80, every_s=20), end_s=100, start={})[2:-1], start_missing=True, is_over=False)
    )
    assert says(finding) == ("ping-gap", INFO, 3, 2)
    assert finding.until_seq == 2


@keeps("ping-gap")
@keeps("ping-gap-long")
@keeps("session-timeout-idle")
@pytest.mark.parametrize("gap_s", [30, 300, 3000])
def test_silence_after_the_end_and_in_downloaded_playback_is_no_gap(gap_s):
    ended = [*film(*pings(10, 20))[:-1], ("sessionEnd", 30, 30), ("sessionEnd", 30 + gap_s, 30)]
    assert rules_in(judged(ended)) == {"session-end-duplicate"}
    assert judged(silent_for(gap_s), is_batch=True) == []


def in_intervals(*intervals_s: float):
    times = list(accumulate(intervals_s, initial=10))
    return film(*(("ping", t_s, t_s) for t_s in times), end_s=times[-1] + 5)


@breaks("ping-cadence")
@pytest.mark.parametrize(
    "intervals_s",
    [(12.001, 12.001, 12.001), (10, 12.001, 13), (13, 10, 14, 10, 12.001), (10, 12, 12.001, 13), (10, 13, 13, 13)],
)
def test_pings_whose_median_distance_is_above_12_seconds_are_too_seldom(intervals_s):
    finding = the_only(judged(in_intervals(*intervals_s)))
    assert says(finding) == ("ping-cadence", WARNING, 1, None)
    assert finding.message == f"the median of {len(intervals_s)} intervals between pings of content is above 12 s"


@keeps("ping-cadence")
@pytest.mark.parametrize(
    "intervals_s",
    [
        (12, 12, 12),
        (10, 12, 15),
        (10, 11.998, 12.002, 15),
        (12, 12, 12, 15),
        (15, 15, 9, 9),
        (15, 15),
        (10, 10, 15, 15, 5),
    ],
)
def test_pings_whose_median_distance_is_12_seconds_are_frequent_enough(intervals_s):
    assert judged(in_intervals(*intervals_s)) == []


@keeps("ping-cadence")
@pytest.mark.parametrize("interruption", ["play", "bufferStart"])
def test_distances_over_an_interruption_do_not_count(interruption):
    """SDKs start their timer again with each event about playback."""
    middle = []
    for t_s in (10, 24, 38, 52):
        middle += [("ping", t_s, t_s), (interruption, t_s + 4, t_s + 4)]
    told = {"play": set(), "bufferStart": {"play-missing"}}
    assert rules_in(judged(film(*middle, end_s=60))) == told[interruption]


def test_other_events_do_not_hide_that_pings_are_too_seldom():
    middle = []
    for t_s in (10, 24, 38, 52):
        middle += [("ping", t_s, t_s), ("bitrateChange", t_s + 4, t_s + 4)]
    assert rules_in(judged(film(*middle, end_s=60))) == {"ping-cadence"}


@keeps("ping-cadence")
def test_pings_in_pauses_and_ads_and_after_the_content_may_be_seldom():
    slow = tuple(pings(20, 76, 5, every_s=14))
    assert judged(film(("pauseStart", 8, 5), *slow, ("play", 80, 5), end_s=85)) == []
    ads = [("adBreakStart", 7, 5), ("adStart", 8, 5), ("play", 8.5, 5), *slow]
    assert judged(film(*ads, ("adComplete", 80, 5), ("adBreakComplete", 81, 5), end_s=85)) == []
    after = [("sessionStart", 0, 0), ("play", 0.5, 0), ("sessionComplete", 8, 5), *slow, ("sessionEnd", 80, 5)]
    assert judged(after) == []


@keeps("ping-cadence")
def test_pings_of_downloaded_playback_come_every_50_seconds():
    assert judged(film(*pings(50, 350, every_s=50), end_s=360), is_batch=True) == []


def test_pings_in_ads_are_judged_where_the_settings_say_so():
    policy = Policy(limits=Limits(ad_ping_median_s=1.5))
    ads = [("adBreakStart", 7, 5), ("adStart", 8, 5), *pings(10, 16, 5, every_s=2)]
    events = film(*ads, ("adComplete", 20, 5), ("adBreakComplete", 21, 5))
    finding = the_only(judged(events, policy=policy))
    assert finding.message == "the median of 3 intervals between pings in ads is above 1.5 s"
    assert judged(events) == []


def test_the_rhythm_of_pings_is_measured_by_arrival_when_live_and_by_ts_otherwise():
    events = arriving(10, 23, 36, 49, t_s=(10, 20, 30, 40))
    assert rules_in(judged(events)) == {"ping-cadence"}
    assert judged(events, by_arrival=False, has_clock=False) == []


def paused_until(last_s: float, *after):
    """A pause whose playhead is reached at 10 seconds, with pings and a last event."""
    steady = pings(20, (last_s - 5) // 10 * 10, 10)
    return [
        ("sessionStart", 0, 0),
        ("play", 0.5, 0),
        ("pauseStart", 10, 10),
        *steady,
        ("ping", last_s, 10),
        *after,
        ("sessionEnd", last_s + 10, 10),
    ]


@breaks("session-timeout-playhead")
def test_a_playhead_that_stands_for_31_minutes_has_closed_the_session():
    finding = the_only(judged(paused_until(1870, ("play", 1875, 10))))
    assert says(finding) == ("session-timeout-playhead", WARNING, 1, 189)
    assert finding.message == "the playhead has stayed at 10 s for 31 minutes or more; the session was closed"
    assert finding.until_seq == 191


def test_each_standstill_is_told_once():
    again = [("play", 1875, 10), ("pauseStart", 1880, 11), *pings(1890, 3750, 11)]
    finding = the_only(judged([*paused_until(1870)[:-1], *again, ("sessionEnd", 3760, 11)]))
    assert says(finding) == ("session-timeout-playhead", WARNING, 2, 189)


@keeps("session-timeout-playhead")
def test_a_playhead_may_stand_for_just_less_than_31_minutes_and_the_session_end_then():
    assert judged(paused_until(1869.999)) == []


@keeps("session-timeout-playhead")
def test_a_playhead_that_moves_a_little_stands_anew():
    events = paused_until(1865)
    events[100] = ("ping", events[100][1], 10.5)
    assert judged([*events[:-1], *pings(1870, 2500, 10), ("sessionEnd", 2505, 10)]) == []


@keeps("session-timeout-playhead")
def test_a_standstill_in_downloaded_playback_and_after_the_end_closes_nothing():
    assert judged(paused_until(1870), is_batch=True) == []
    ended = [*paused_until(1800), *pings(1870, 1900, 10)]
    assert rules_in(judged(ended)) == {"event-after-session-end"}


def test_a_standstill_is_measured_by_arrival_when_live_and_by_ts_otherwise():
    events = [(*event, None, None, event[1] * 0.9) for event in paused_until(1870)]
    assert judged(events) == []
    assert rules_in(judged(events, by_arrival=False)) == {"session-timeout-playhead"}


DAY_S = 86_400


def a_day_until(last_s: float):
    steady = pings(10, DAY_S + 50)
    return film(
        *steady, ("ping", last_s, last_s), ("ping", last_s + 5, last_s), end_s=last_s + 10, start={"media.length": 0}
    )


@breaks("session-over-24h")
def test_a_session_longer_than_a_day_and_a_minute_is_told_once():
    finding = the_only(judged(a_day_until(DAY_S + 60.001)))
    assert says(finding) == ("session-over-24h", INFO, 1, 2 + 8645 + 1)
    assert finding.message == "the session lasts more than 24 hours; SDKs begin a new one"


@keeps("session-over-24h")
def test_a_session_may_last_a_day_and_a_minute():
    steady = film(*pings(10, DAY_S + 50), start={"media.length": 0})[:-1]
    assert judged([*steady, ("sessionEnd", DAY_S + 60, DAY_S + 60)]) == []


@keeps("session-over-24h")
def test_events_after_the_end_and_downloaded_playback_make_no_long_session():
    assert judged(a_day_until(DAY_S + 61), is_batch=True) == []
    ended = [*film(*pings(10, 20))[:-1], ("sessionEnd", 30, 30), ("sessionEnd", DAY_S + 61, 30)]
    assert rules_in(judged(ended)) == {"session-end-duplicate"}


def test_an_event_without_ts_does_not_make_a_long_session_told_twice():
    events = [
        ("play", 0, 0),
        ("play", DAY_S + 61, 5),
        ("play", None, 6, None, None, DAY_S + 62),
        ("play", DAY_S + 63, 7),
    ]
    (finding,) = (found for found in judged(events, start_missing=True) if found.rule == "session-over-24h")
    assert says(finding) == ("session-over-24h", INFO, 1, 2)
