"""What the worked examples do not show: chapters, states, quality, late events, timeouts, sessions without an end."""

from __future__ import annotations

import pytest

from proxy_addon.core.audits.metrics import ClosedBy
from proxy_addon.core.audits.ordering import Lost
from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.core.exchange import Outcome
from tests import builders
from tests.unit.core.audits.played import START, played


def test_a_chapter_has_the_content_time_while_it_is_open_and_no_ads():
    metrics = played(
        (0, "play", 0),
        (1, "chapterStart", 1, {"params": {"media.chapter.index": 1}}),
        (11, "adBreakStart", 11),
        (11, "adStart", 11),
        (16, "adComplete", 11),
        (16, "adBreakComplete", 11),
        (20, "chapterComplete", 15),
        (21, "chapterStart", 16, {"params": {"media.chapter.index": 2}}),
        (24, "chapterSkip", 19),
        (30, "sessionEnd", 25),
    ).values
    assert metrics["chapters"] == [
        {"index": 1, "completed": True, "time_spent_s": 14},
        {"index": 2, "completed": False, "time_spent_s": 3},
    ]
    assert (metrics["chapter_starts"], metrics["chapter_completes"], metrics["chapter_time_spent_s"]) == (2, 1, 17)


def test_states_run_through_pauses_and_are_the_same_in_any_case():
    def state(name: str) -> dict[str, object]:
        return {"params": {"media.state.name": name}}

    events = (
        (0, "stateStart", 0, state("fullScreen")),
        (1, "play", 0),
        (2, "stateStart", 1, state("fullscreen")),
        (3, "pauseStart", 2),
        (5, "stateEnd", 2, state("FullScreen")),
        (6, "statesUpdate", 2, {"params": {"statesStart": [{"media.state.name": f"s{each}"} for each in range(12)]}}),
        (9, "sessionEnd", 2),
    )
    metrics = played(*events)
    states = metrics.values["player_states"]
    assert states.pop("fullscreen") == {"set": 1, "count": 1, "time_s": 5}
    assert states == {f"s{each}": {"set": 1, "count": 1, "time_s": 3} for each in range(9)}  # ten at most
    assert metrics.other_readings["every-event"]["player_states"]["fullscreen"]["count"] == 2


def test_the_average_bitrate_is_weighted_by_content_time_and_rounded_half_up():
    def bitrate(value: object) -> dict[str, object]:
        return {"qoeData": {"media.qoe.bitrate": value}}

    metrics = played(
        (0, "play", 0),
        (10, "bitrateChange", 10, bitrate(1000)),
        (11, "ping", 11, bitrate("9000")),
        (12, "bitrateChange", 12, bitrate(1001)),
        (14, "pauseStart", 14, bitrate(5000)),
        (20, "sessionEnd", 14),
    ).values
    assert metrics["average_bitrate"] == 1001  # (2 * 1000 + 2 * 1001) / 4 = 1000.5
    assert metrics["average_bitrate_bucket"] == "1000-1099"
    assert metrics["bitrate_changes"] == 2


def test_errors_are_told_apart_by_their_source_and_named_once():
    def error(id: str, source: str | None = None) -> dict[str, object]:
        return {"qoeData": {"media.qoe.errorID": id, **({"media.qoe.errorSource": source} if source else {})}}

    metrics = played(
        (0, "error", 0, error("b", "player")),
        (1, "error", 0, error("a")),
        (2, "error", 0, error("b")),
        (3, "error", 0, error("x", "external")),
        (4, "error", 0),
    ).values
    assert (metrics["error_events"], metrics["player_sdk_error_ids"]) == (5, ["b", "a"])
    assert metrics["external_error_ids"] == ["x"]


def test_a_late_event_takes_effect_from_the_moment_the_clock_has_reached():
    def arrived(at_s: float, **members: object) -> dict[str, object]:
        return {"t": at_s, **members}

    metrics = played(
        (1, "play", 0, arrived(1)),
        (11, "ping", 10, arrived(11)),
        (8, "pauseStart", 7, arrived(16.5)),  # 3 s too old, and its window has closed
        (21, "play", 10, arrived(21.6)),
        (31, "sessionEnd", 20, arrived(31)),
    )
    assert [event.type for event in metrics.late] == ["pauseStart"]
    assert (metrics.values["content_time_spent_s"], metrics.values["pause_time_s"]) == (20, 10)
    assert metrics.values["unique_time_played_s"] == 20


def test_a_clock_that_is_set_back_by_more_than_a_minute_starts_again():
    metrics = played(
        (0, "play", 0), (100, "ping", 100), (10, "ping", 110, {"t": 110}), (20, "sessionEnd", 120, {"t": 120})
    )
    assert not metrics.late
    assert metrics.values["content_time_spent_s"] == 110


@pytest.mark.parametrize(
    ("events", "closed_by", "since_last_call_s", "dropped"),
    [
        ([(0, "play", 0), (10, "ping", 10)], ClosedBy.TIMEOUT_IDLE, 600, []),
        ([(0, "pauseStart", 9), *((each, "ping", 9) for each in range(500, 2600, 500))],
         ClosedBy.TIMEOUT_PLAYHEAD, 300, [Lost.TIMEOUT_PLAYHEAD] * 2),
        ([(0, "pauseStart", 9), *((each, "ping", 9) for each in range(450, 1801, 450)), (1859, "sessionEnd", 9)],
         ClosedBy.SESSION_END, 0, []),
        ([(0, "pauseStart", 9), *((each, "ping", 9) for each in range(450, 1801, 450)), (1861, "sessionEnd", 9)],
         ClosedBy.TIMEOUT_PLAYHEAD, 0, [Lost.TIMEOUT_PLAYHEAD]),
        ([(0, "play", 0), (9, "sessionComplete", 9), (15, "ping", 9)], ClosedBy.SESSION_COMPLETE, 0, []),
        ([(0, "play", 0), (9, "sessionComplete", 9), (615, "ping", 9)], ClosedBy.TIMEOUT_IDLE, 600, [Lost.TIMEOUT_IDLE]),
    ],
)  # fmt: skip
def test_what_closes_a_session(events, closed_by, since_last_call_s, dropped):
    metrics = played(*events)
    assert metrics.closed_by is closed_by
    assert metrics.values["seconds_since_last_call_s"] == since_last_call_s
    assert [reason for _, reason in metrics.dropped] == dropped


def test_a_batch_has_no_timeouts_and_no_windows():
    metrics = played((0, "play", 0), (9000, "ping", 9000), (8999, "ping", 9001), (9001, "ping", 9002), is_batch=True)
    assert (metrics.closed_by, len(metrics.late), len(metrics.dropped)) == (ClosedBy.BATCH_END, 1, 0)
    assert metrics.values["downloaded"] == 1
    assert metrics.values["estimated_streams"] == 6


def test_content_after_its_end_counts_once_it_is_played_again():
    values = played(
        (0, "play", 0), (10, "sessionComplete", 10), (14, "ping", 10), (15, "play", 0), (18, "sessionEnd", 3)
    ).values
    assert (values["content_completes"], values["content_time_spent_s"]) == (1, 13)


def test_an_open_session_is_counted_up_to_its_last_event():
    metrics = played((0, "play", 0), (10, "ping", 10), is_over=False)
    assert metrics.closed_by is None
    assert metrics.values["content_time_spent_s"] == 10
    assert metrics.values["seconds_since_last_call_s"] is None


def test_without_its_start_a_session_lacks_what_the_start_says():
    metrics = played((0, "play", 0), (10, "ping", 10), start=None)
    missing = {name for name, value in metrics.values.items() if value is None}
    assert metrics.is_partial
    assert missing >= {"media_starts", "content_resumes", "authorized", "average_minute_audience", "progress_10"}
    assert metrics.values["content_time_spent_s"] == 10
    assert played((0, "play", 0)).is_partial is False


def test_content_that_plays_without_play_may_have_started():
    metrics = played(
        (0, "adBreakStart", 0), (0, "adStart", 0), (5, "adComplete", 0), (5, "adBreakComplete", 0), (25, "ping", 20)
    )
    assert (metrics.values["content_starts"], metrics.values["content_segment"]) == (0, None)
    assert metrics.other_readings["content-start-by-state"] == {
        "content_starts": 1,
        "content_segment_views": 1,
        "drops_before_start": 0,
        "content_segment": "[0-5]",
        "progress_10": 1,
    }


def test_live_content_plays_through_midnight():
    live = {**START, "media.contentType": "Linear", "media.length": 86400}
    values = played(
        (0, "play", 86390), (10, "ping", 86400), (20, "ping", 10), (30, "sessionEnd", 20), start=live
    ).values
    assert values["unique_time_played_s"] == 30
    assert values["content_segment"] == "[0-5]"


def test_a_flag_of_authorization_is_true_in_any_case():
    assert [
        played((0, "play", 0), start={**START, "media.pass.auth": flag}).values["authorized"]
        for flag in ("TRUE", True, "false", 1)
    ] == [1, 1, 0, 0]


def watched(*exchanges, is_over=True):
    watch = MetricsWatch()
    assert list(watch.watching(exchanges)) == list(exchanges)
    return watch.metrics(is_over=is_over)


def test_only_what_the_back_end_took_counts():
    metrics = watched(
        builders.start(),
        builders.event("play", after_s=0),
        builders.event("pauseStart", after_s=5, response=builders.response(400)),
        builders.event("bufferStart", after_s=6, response=None, outcome=Outcome.UPSTREAM_UNREACHABLE),
        builders.event("ping", after_s=10, response=None, outcome=Outcome.UPSTREAM_TIMEOUT),
        builders.event("sessionEnd", after_s=20),
    )
    assert (metrics.refused, metrics.values["pause_events"], metrics.values["buffer_events"]) == (2, 0, 0)
    assert metrics.values["content_time_spent_s"] + metrics.values["stall_time_s"] == 20


def test_a_start_that_was_refused_counts_nothing():
    metrics = watched(builders.start(response=builders.response(500)))
    values = metrics.values
    assert (metrics.closed_by, metrics.is_partial, metrics.is_empty, metrics.refused) == (None, False, True, 1)
    assert {name for name, value in values.items() if value} == set()
    assert (values["media_starts"], values["drops_before_start"], values["estimated_streams"]) == (0, 0, 0)


def test_a_start_whose_answer_was_not_seen_is_a_drop():
    values = watched(builders.start(outcome=Outcome.UPSTREAM_TIMEOUT)).values
    assert (values["media_starts"], values["drops_before_start"], values["estimated_streams"]) == (1, 1, 1)


def test_the_playhead_of_a_late_event_does_not_count():
    metrics = played(
        (0, "play", 0, {"t": 0}),
        (5, "ping", 0, {"t": 5}),
        (4, "ping", 3, {"t": 10.5}),
        (11, "ping", 0, {"t": 16}),
        (12, "sessionEnd", 1, {"t": 17}),
    )
    assert len(metrics.late) == 1
    assert (metrics.values["stall_events"], metrics.values["stall_time_s"]) == (1, 11)


def test_an_ad_break_closes_the_one_before_it():
    values = played(
        (0, "adBreakStart", 0), (0, "adStart", 0), (5, "adBreakStart", 0), (8, "adComplete", 0), (9, "sessionEnd", 0)
    ).values
    assert (values["ad_starts"], values["ad_completes"], values["ad_time_spent_s"]) == (1, 0, 5)
