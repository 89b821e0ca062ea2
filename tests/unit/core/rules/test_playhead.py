from __future__ import annotations

import pytest

from proxy_addon.core.findings import Severity
from tests.unit.core.rules.played import breaks, film, judged, keeps, pings, rules_in, says, the_only

WARNING, INFO = Severity.WARNING, Severity.INFO


def live(*playheads: float, content_type: str = "Live"):
    """Events every 10 seconds."""
    first, *middle, last = playheads
    return [
        ("sessionStart", 0, first, {"media.contentType": content_type, "media.length": 86_400}),
        ("play", 0.5, first),
        *(("ping", 10 * n, playhead) for n, playhead in enumerate(middle, 1)),
        ("sessionEnd", 10 * len(middle) + 10, last),
    ]


@breaks("playhead-live-range")
@pytest.mark.parametrize("content_type", ["live", "Live", "LINEAR", "radio"])
def test_the_playhead_of_live_content_is_below_a_day(content_type):
    finding = the_only(judged(live(86_380, 86_390, 86_400, 86_410, content_type=content_type)))
    assert says(finding) == ("playhead-live-range", WARNING, 2, 4)
    assert finding.message.startswith("playhead 86400 s of live content; expected the second of the day, below 86400")


def test_unix_seconds_are_written_out():
    finding = the_only(judged(live(1_772_366_400.5, 1_772_366_410, 1_772_366_420)))
    assert says(finding) == ("playhead-live-range", WARNING, 4, 1)
    assert finding.message.startswith("playhead 1772366400.5 s")


@keeps("playhead-live-range")
def test_the_playhead_of_live_content_begins_anew_at_midnight():
    assert judged(live(86_380, 86_390, 86_399.999, 0, 10)) == []


@keeps("playhead-live-range")
def test_the_playhead_after_the_end_of_the_session_and_without_its_start_is_not_judged():
    ended = [*live(86_380, 86_390, 86_399), ("ping", 25, 86_400)]
    assert rules_in(judged(ended)) == {"event-after-session-end"}
    assert judged(live(86_380, 86_390, 86_400)[1:], start_missing=True) == []


@breaks("playhead-beyond-length")
def test_the_playhead_stays_within_the_length_and_a_second():
    events = film(("ping", 10, 10), ("ping", 20, 31.001), end_s=30, start={"media.length": 30})
    finding = the_only(judged(events))
    assert says(finding) == ("playhead-beyond-length", WARNING, 1, 4)
    assert finding.message == "playhead 31.001 s is beyond media.length, 30 s"


@keeps("playhead-beyond-length")
@pytest.mark.parametrize("length", [30, 29.5, 0, -1, "10"])
def test_the_playhead_may_lie_a_second_beyond_the_length_and_anywhere_if_that_is_not_known(length):
    assert judged(film(("ping", 10, 10), ("ping", 20, 30.5), end_s=30, start={"media.length": length})) == []


@keeps("playhead-beyond-length")
def test_a_second_beyond_the_length_is_not_beyond_it():
    assert judged(film(("ping", 10, 10), ("ping", 20, 31), end_s=30, start={"media.length": 30})) == []


@keeps("playhead-beyond-length")
@pytest.mark.parametrize("content_type", ["live", "Linear", "radio"])
def test_the_playhead_of_live_content_may_lie_beyond_the_length(content_type):
    events = film(("ping", 10, 40_000), ("ping", 20, 40_010), start={"media.contentType": content_type})
    assert judged(events) == []


@keeps("playhead-beyond-length")
def test_the_length_is_not_known_without_the_start_and_is_of_no_use_after_the_end():
    beyond = ("ping", 20, 4_000)
    assert rules_in(judged(film(("ping", 10, 10), beyond))) == {"playhead-beyond-length"}
    assert judged(film(("ping", 10, 10), beyond)[1:], start_missing=True) == []
    ended = [*film(("ping", 10, 10))[:-1], ("sessionEnd", 19, 20), beyond]
    assert rules_in(judged(ended)) == {"event-after-session-end"}


@breaks("playhead-frozen")
def test_three_pings_over_twenty_seconds_with_one_playhead_are_told_once():
    finding = the_only(judged(film(*pings(10, 50, 0), end_s=55)))
    assert says(finding) == ("playhead-frozen", WARNING, 1, 5)
    assert finding.until_seq == 7
    assert finding.message == "the playhead stayed at 0 s in 3 pings over 20 s of playing content"


@breaks("playhead-frozen")
def test_each_stand_is_told():
    interrupted = [*pings(40, 60, 40), ("bufferStart", 65, 40), ("play", 70, 40), *pings(80, 110, 40)]
    finding = the_only(judged(film(*pings(10, 30, 5), *interrupted, end_s=115)))
    assert says(finding) == ("playhead-frozen", WARNING, 3, 5)
    assert [place.seq for place in finding.places] == [5, 8, 13]
    assert finding.until_seq == 5


@pytest.mark.parametrize("behind", [("bitrateChange", 45, 0), ("ping", 45, 3), ("pauseStart", 45, 0)])
def test_a_stand_ends_at_the_last_ping_that_found_it(behind):
    played = film(*pings(10, 40, 0), behind, ("ping", 55, 3), end_s=60)
    assert judged(played)[0].until_seq == 6


def test_the_end_of_a_standstill_is_known_after_an_event_that_arrives_late():
    played = [*film(*pings(10, 1500, 0), end_s=1505)[:-1], ("bitrateChange", 700, 0, None, None, 1501)]
    [finding] = [finding for finding in judged(played, is_over=False) if finding.rule == "playhead-frozen"]
    assert finding.until_seq == len(played) - 1


@keeps("playhead-frozen")
def test_less_than_three_pings_or_twenty_seconds_are_no_stand():
    assert judged(film(*pings(10, 20, 0), ("ping", 29.999, 0), ("ping", 40, 40), end_s=45)) == []
    assert judged(film(("ping", 10, 0), ("ping", 25, 0), ("bitrateChange", 30, 0), ("ping", 40, 40), end_s=45)) == []


@keeps("playhead-frozen")
def test_a_playhead_that_stands_in_a_pause_or_while_buffering_is_fine():
    assert judged(film(("pauseStart", 5, 5), *pings(15, 65, 5), ("play", 70, 5), end_s=75)) == []
    assert judged(film(("bufferStart", 5, 5), *pings(15, 65, 5), ("play", 70, 5), end_s=75)) == []


@keeps("playhead-frozen")
def test_a_playhead_that_stands_in_an_ad_break_or_after_the_content_is_fine():
    ads = [("adBreakStart", 5, 5), ("adStart", 5.001, 5), ("play", 5.002, 5), *pings(15, 45, 5)]
    closed = [("adComplete", 50, 5), ("adBreakComplete", 50.001, 5), ("play", 50.002, 5)]
    assert judged(film(*ads, *closed, end_s=60)) == []
    assert judged([*film(*pings(10, 20)), *pings(40, 90, 30), ("sessionEnd", 95, 30)]) == []


@keeps("playhead-frozen")
def test_a_recording_that_begins_in_an_ad_break_is_not_taken_for_content():
    ads = [("ping", 0, 5), ("adComplete", 5, 5), ("adStart", 5.001, 5), ("play", 5.002, 5), *pings(15, 45, 5)]
    closed = [("adComplete", 50, 5), ("adBreakComplete", 50.001, 5), ("play", 50.002, 5), ("sessionEnd", 60, 15)]
    assert "playhead-frozen" not in rules_in(judged([*ads, *closed], start_missing=True))
    stands = [*closed[:-1], *pings(60, 80, 15), ("sessionEnd", 90, 15)]
    assert "playhead-frozen" in rules_in(judged([*ads, *stands], start_missing=True))


def test_the_playhead_of_live_content_and_of_downloaded_playback_has_to_move_too():
    assert rules_in(judged(live(5, 5, 5, 5, 5))) == {"playhead-frozen"}
    assert rules_in(judged(film(*pings(50, 150, 0, every_s=50), end_s=160), is_batch=True)) == {"playhead-frozen"}


def test_a_stand_is_measured_on_the_events_own_times():
    pings_at_once = [("ping", t_s, 0, None, None, 20 + t_s / 1000) for t_s in (10, 20, 30)]
    findings = judged([("sessionStart", 0, 0), ("play", 0.5, 0), *pings_at_once, ("sessionEnd", 31, 30)])
    assert rules_in(findings) == {"playhead-frozen", "ping-gap"}


def in_milliseconds(*pings_at: tuple[float, float]):
    return film(*(("ping", t_s, playhead_s) for t_s, playhead_s in pings_at), start={"media.length": 0})


@breaks("playhead-in-milliseconds")
@pytest.mark.parametrize("factor", [500, 1000, 1500])
def test_a_playhead_that_moves_a_thousand_times_as_fast_as_time_twice_is_told_once(factor):
    finding = the_only(judged(in_milliseconds(*((t_s, t_s * factor) for t_s in (8, 16, 24, 29)))))
    assert says(finding) == ("playhead-in-milliseconds", WARNING, 1, 5)
    assert "about 1000 times as fast" in finding.message


@keeps("playhead-in-milliseconds")
@pytest.mark.parametrize("factor", [499.9, 1500.1, -1000])
def test_a_playhead_that_moves_faster_or_slower_than_that_is_something_else(factor):
    playheads = ((t_s, 100_000 + t_s * factor) for t_s in (8, 16, 24, 29))
    assert judged(in_milliseconds(*playheads)) == []


@keeps("playhead-in-milliseconds")
def test_one_jump_is_a_seek():
    assert judged(in_milliseconds((8, 8), (16, 8_008), (24, 8_016), (29, 8_021))) == []


@keeps("playhead-in-milliseconds")
def test_jumps_over_an_interruption_are_seeks():
    jumps = [("ping", 8, 8), ("ping", 16, 8_008), ("ping", 24, 16_008)]
    assert rules_in(judged(film(*jumps, start={"media.length": 0}))) == {"playhead-in-milliseconds"}
    sought = [*jumps[:2], ("pauseStart", 22, 8_014), ("play", 23, 16_007), jumps[2]]
    assert judged(film(*sought, start={"media.length": 0})) == []


def test_downloaded_playback_is_in_seconds_too():
    events = film(*(("ping", t_s, t_s * 1000) for t_s in (50, 100, 150)), end_s=160, start={"media.length": 0})
    assert rules_in(judged(events, is_batch=True)) == {"playhead-in-milliseconds"}


def paused(*while_paused, start=None):
    return film(("ping", 10, 10), ("pauseStart", 15, 15), *while_paused, ("play", 28, 15), start=start)


MUTE = {"media.state.name": "mute"}


@breaks("playhead-moved-in-pause")
@pytest.mark.parametrize(
    "moved",
    [
        ("ping", 20, 16.001),
        ("stateStart", 20, 16.001, MUTE),
        ("statesUpdate", 20, 16.001, {"statesStart": [MUTE]}),
    ],
)
def test_the_playhead_stays_in_a_pause(moved):
    finding = the_only(judged(paused(moved)))
    assert says(finding) == ("playhead-moved-in-pause", INFO, 1, 5)
    assert finding.message == "playhead moved from 15 s to 16.001 s in a pause"


@breaks("playhead-moved-in-pause")
def test_each_move_in_a_pause_is_counted():
    moves = [("stateStart", 16, 15, MUTE), ("stateEnd", 20, 95.5, MUTE), ("ping", 21, 95.5), ("ping", 25, 180)]
    finding = the_only(judged(paused(*moves)))
    assert says(finding) == ("playhead-moved-in-pause", INFO, 2, 6)
    assert finding.message == "playhead moved from 15 s to 95.5 s in a pause"
    assert [place.seq for place in finding.places] == [6, 8]


@keeps("playhead-moved-in-pause")
@pytest.mark.parametrize("moved_s", [14, 15.3, 16])
def test_a_playhead_that_is_cached_is_off_by_a_second_at_most(moved_s):
    assert judged(paused(("ping", 20, moved_s))) == []


@keeps("playhead-moved-in-pause")
def test_the_playhead_may_move_with_the_play_that_ends_a_pause():
    events = film(("ping", 10, 10), ("pauseStart", 15, 15), ("ping", 20, 15), ("play", 21, 200), ("ping", 29, 208))
    assert judged(events) == []


@keeps("playhead-moved-in-pause")
def test_the_playhead_of_live_content_moves_in_a_pause_and_without_the_start_nobody_knows():
    assert judged(paused(("ping", 20, 20), start={"media.contentType": "linear"})) == []
    assert judged(paused(("ping", 20, 20))[1:], start_missing=True) == []
    ended = [*paused()[:4], ("sessionEnd", 20, 15), ("ping", 21, 40)]
    assert rules_in(judged(ended)) == {"event-after-session-end"}


def started(playhead_s: float, **params):
    named = {f"media.{name}": value for name, value in params.items()}
    return [
        ("sessionStart", 0, playhead_s, named),
        ("play", 0.5, playhead_s),
        ("ping", 10, playhead_s + 10),
        ("sessionEnd", 20, playhead_s + 20),
    ]


@breaks("resume-flag-suspect")
@pytest.mark.parametrize(("playhead_s", "params"), [(1, {}), (1200, {"resume": False}), (1200, {"resume": "true"})])
def test_content_that_starts_in_its_middle_has_the_resume_flag(playhead_s, params):
    finding = the_only(judged(started(playhead_s, **params)))
    assert says(finding) == ("resume-flag-suspect", INFO, 1, 1)
    assert finding.message == f"content begins at {playhead_s} s; expected media.resume true"


PRE_ROLL = [("adBreakStart", 0.2, 0), ("adStart", 0.3, 0), ("play", 0.4, 0), ("adComplete", 30, 0)]


@breaks("resume-flag-suspect")
@pytest.mark.parametrize(
    ("events", "begins_s"),
    [
        ([("sessionStart", 0, 0), ("play", 2, 3)], "1"),
        ([("sessionStart", 0, 0), ("play", 2, 1200), ("play", 3, 1201)], "1198"),
        ([("sessionStart", 0, 0), *PRE_ROLL, ("adBreakComplete", 30, 0), ("play", 30, 630)], "600"),
        ([("sessionStart", 10, 0), ("play", 8, 1200)], "1200"),
    ],
)
def test_content_that_starts_at_0_and_plays_from_its_middle_has_the_resume_flag(events, begins_s):
    [finding] = [finding for finding in judged(events, is_over=False) if finding.rule == "resume-flag-suspect"]
    assert says(finding) == ("resume-flag-suspect", INFO, 1, finding.seq)
    assert finding.message == f"content begins at {begins_s} s; expected media.resume true"


@keeps("resume-flag-suspect")
@pytest.mark.parametrize(
    ("playhead_s", "params"),
    [
        (0, {}),
        (0.999, {"resume": False}),
        (0, {"resume": True}),
        (1200, {"resume": True}),
        (1200, {"contentType": "LIVE"}),
        (0, {"contentType": "radio", "resume": True}),
    ],
)
def test_a_session_with_the_flag_may_start_anywhere_and_live_content_at_any_second(playhead_s, params):
    assert judged(started(playhead_s, **params)) == []


@keeps("resume-flag-suspect")
@pytest.mark.parametrize(
    "events",
    [
        [("sessionStart", 0, 0), ("play", 20, 20.999)],
        [("sessionStart", 0, 0), ("adBreakStart", 0.2, 0), ("adStart", 0.3, 0), ("play", 0.4, 900)],
        [("sessionStart", 0, 0.5), ("play", 2, 1200)],
        [("sessionStart", 0, 0), ("play", 0.1, 0), ("pauseStart", 5, 5), ("play", 6, 1200)],
        [("sessionStart", 0, 0), *PRE_ROLL, ("play", 31, 0)],
        [("sessionStart", 0, 0), ("play", 2, None)],
        [("sessionStart", 0, None), ("play", 2, 1200)],
    ],
)
def test_what_passes_before_the_first_play_is_no_resumed_content(events):
    assert "resume-flag-suspect" not in rules_in(judged(events, is_over=False))


def measured(key: str, *values: object):
    return film(*(("ping", 5 + 5 * n, 5 + 5 * n, None, {key: value}) for n, value in enumerate(values)))


@breaks("dropped-frames-decreased")
def test_the_number_of_dropped_frames_does_not_fall():
    finding = the_only(judged(measured("media.qoe.droppedFrames", 0, 12, 11, 3)))
    assert says(finding) == ("dropped-frames-decreased", INFO, 2, 5)
    assert finding.message.startswith("media.qoe.droppedFrames fell from 12 to 11; it is a running total")


@keeps("dropped-frames-decreased")
@pytest.mark.parametrize("values", [(12, 12, 13), (12, "3", 12), (12, None, 12), (12, True, 12), (12, 10**30, 12)])
def test_the_number_of_dropped_frames_may_stay_and_what_is_no_number_is_passed_over(values):
    assert judged(measured("media.qoe.droppedFrames", *values)) == []


@breaks("time-to-start-changed")
def test_the_time_to_start_does_not_change():
    finding = the_only(judged(measured("media.qoe.timeToStart", 850, 851, 850, 0)))
    assert says(finding) == ("time-to-start-changed", INFO, 2, 4)
    assert finding.message.startswith("media.qoe.timeToStart changed from 850 to 851")


@keeps("time-to-start-changed")
@pytest.mark.parametrize("values", [(0, 850, 850), (0, 0, 850), (850, "851", 850)])
def test_the_time_to_start_may_become_known(values):
    assert judged(measured("media.qoe.timeToStart", *values)) == []


@keeps("time-to-start-changed")
@keeps("dropped-frames-decreased")
@pytest.mark.parametrize("key", ["media.qoe.timeToStart", "media.qoe.droppedFrames"])
def test_quality_after_the_end_of_the_session_is_not_judged(key):
    ended = [*measured(key, 12, 12)[:-1], ("sessionEnd", 20, 20), ("ping", 21, 21, None, {key: 3})]
    assert rules_in(judged(ended)) == {"event-after-session-end"}
