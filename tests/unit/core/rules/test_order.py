from __future__ import annotations

import pytest

from proxy_addon.core.findings import Severity
from tests.unit.core.rules.played import breaks, film, judged, keeps, pings, rules_in, says, the_only

WARNING, INFO = Severity.WARNING, Severity.INFO


def at(event_type: str, t_s: float, arrival_s: float):
    return event_type, t_s, t_s, None, None, arrival_s


def skewed(by_s: float):
    events = [("sessionStart", 0, 0), ("play", 0.5, 0), *pings(10, 20), ("sessionEnd", 30, 30)]
    return [(event_type, t_s, playhead_s, {}, None, t_s - by_s) for event_type, t_s, playhead_s in events]


@breaks("ts-equal")
def test_events_with_one_ts_are_told_with_their_number():
    finding = the_only(
        judged(
            film(
                ("ping", 10, 10),
                ("bitrateChange", 10, 10),
                ("error", 10, 10),
                ("ping", 20, 20),
                ("bitrateChange", 20, 20),
            )
        )
    )
    assert says(finding) == ("ts-equal", INFO, 3, 4)
    assert finding.message == "bitrateChange has the same ts as an earlier event, 1772366410000"
    assert [place.seq for place in finding.places] == [4, 5, 7]


def test_events_with_one_ts_need_not_arrive_one_after_the_other():
    events = film(at("ping", 10, 10), at("ping", 12, 12), at("bitrateChange", 10, 12.1), at("ping", 20, 20))
    assert rules_in(judged(events)) == {"ts-equal", "ts-out-of-order"}


@keeps("ts-equal")
def test_a_millisecond_keeps_two_events_apart():
    assert judged(film(("ping", 10, 10), ("bitrateChange", 10.001, 10), ("ping", 20, 20))) == []


def test_the_message_about_an_event_of_any_type_is_one_line_of_text():
    findings = judged(film(("ping", 10, 10), ("a\nb\ud83c", 10, 10), (None, 10, 10), ("ping", 20, 20)))
    assert the_only(findings).message == (
        r"an event of type 'a\nb\ud83c' has the same ts as an earlier event, 1772366410000"
    )


@breaks("ts-out-of-order")
@pytest.mark.parametrize(("t_s", "late_ms"), [(19.999, 1), (15, 5000)])
def test_a_ts_up_to_five_seconds_below_the_highest_is_told(t_s, late_ms):
    finding = the_only(judged(film(at("ping", 10, 10), at("ping", 20, 20), at("bitrateChange", t_s, 20.1))))
    assert says(finding) == ("ts-out-of-order", INFO, 1, 5)
    assert finding.message == f"ts of bitrateChange lies {late_ms} ms below the highest so far"


def test_each_late_event_is_measured_against_the_highest_ts():
    events = film(at("ping", 10, 10), at("ping", 20, 20), at("error", 16, 20.1), at("bitrateChange", 17, 20.2))
    finding = the_only(judged(events))
    assert says(finding) == ("ts-out-of-order", INFO, 2, 5)


@keeps("ts-out-of-order")
def test_the_ts_may_stay_and_the_requests_may_come_late():
    events = film(at("ping", 10, 10), at("ping", 20, 20), at("bitrateChange", 20, 24))
    assert rules_in(judged(events)) == {"ts-equal"}


@breaks("ts-backwards")
def test_a_ts_more_than_five_seconds_below_the_highest_is_told():
    finding = the_only(judged(film(at("ping", 10, 10), at("ping", 20, 20), at("bitrateChange", 14.999, 20.1))))
    assert says(finding) == ("ts-backwards", WARNING, 1, 5)
    assert finding.message == "ts of bitrateChange lies 5.001 s below the highest so far; the back end sorts within 5 s"


@keeps("ts-backwards")
def test_a_ts_of_five_seconds_below_the_highest_is_put_in_order():
    events = film(at("ping", 10, 10), at("ping", 20, 20), at("bitrateChange", 15, 20.1))
    assert rules_in(judged(events)) == {"ts-out-of-order"}


def test_a_batch_is_looked_at_in_the_order_of_its_elements():
    events = film(("ping", 10, 10), ("ping", 20, 20), ("bitrateChange", 14.999, 15))
    assert rules_in(judged(events, is_batch=True)) == {"ts-backwards"}


@breaks("ts-clock-skew")
@pytest.mark.parametrize(("by_s", "where"), [(300.001, "ahead of"), (-300.001, "behind"), (7200, "ahead of")])
def test_a_clock_that_is_wrong_by_more_than_five_minutes_is_told(by_s, where):
    finding = the_only(judged(skewed(by_s)))
    assert says(finding) == ("ts-clock-skew", INFO, 5, 1)
    assert f"clock is {abs(by_s):.0f} s {where} the time of arrival" in finding.message


@keeps("ts-clock-skew")
@pytest.mark.parametrize("by_s", [300, -300, 299.999])
def test_a_clock_may_be_wrong_by_five_minutes(by_s):
    assert judged(skewed(by_s)) == []


@keeps("ts-clock-skew")
@pytest.mark.parametrize("facts", [{"is_batch": True}, {"has_clock": False}])
def test_downloaded_playback_and_arrivals_without_a_time_of_day_say_nothing_about_the_clock(facts):
    assert judged(skewed(7200), **facts) == []
