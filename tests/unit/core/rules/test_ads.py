from __future__ import annotations

from typing import Any

import pytest

from proxy_addon.core.events import read_event
from proxy_addon.core.findings import Place, Severity
from proxy_addon.core.jsontext import loads
from proxy_addon.core.rules import ads
from proxy_addon.core.rules.session_view import session_event
from tests.unit.core.rules.whole import LIVE, Fires, NearMiss, Row, assert_fires, id_of, judged, rules, rules_of

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
START: Row = ("sessionStart", 0, 0)
PLAY: Row = ("play", 0.1, 0)


def _ad(t_s: float, playhead_s: float = 0, position: Any = 1) -> Row:
    return ("adStart", t_s, playhead_s, {"media.ad.podPosition": position})


def _ad_of(length_s: Any, t_s: float, playhead_s: float = 8) -> Row:
    return ("adStart", t_s, playhead_s, {"media.ad.podPosition": 1, "media.ad.length": length_s})


def _with_breaks(*params: dict[str, Any], playhead_s: float = 60, every_s: float = 60) -> list[Row]:
    """Return a session with breaks of these params, each 10 s after the last, the first one at a playhead."""
    events = [START, PLAY]
    for number, each in enumerate(params):
        t_s, at_s = 10 * number + 2, playhead_s + every_s * number
        events += [
            ("adBreakStart", t_s, at_s, each),
            _ad(t_s + 1, at_s),
            ("adComplete", t_s + 5, at_s),
            ("adBreakComplete", t_s + 6, at_s),
            ("play", t_s + 7, at_s),
        ]
    return [*events, ("sessionEnd", 10 * len(params) + 2, 0)]


def _mid_roll(*inside: Row) -> list[Row]:
    """Return a session with a break at second 8, its events given, between two stretches of content."""
    return [
        START,
        PLAY,
        ("adBreakStart", 8, 8),
        *inside,
        ("adBreakComplete", 20, 8),
        ("play", 20.1, 8),
        ("ping", 30, 18),
        ("sessionEnd", 31, 19),
    ]


FIRES = [
    Fires(
        "ad-outside-break",
        ERROR,
        [START, PLAY, _ad(5, 5), ("ping", 10, 10), ("sessionEnd", 11, 11)],
        3,
        "adStart with no ad break open",
    ),
    Fires(
        "ad-outside-break",
        ERROR,
        [*_mid_roll(_ad(9, 8), ("adComplete", 19, 8)), ("adComplete", 30.5, 19)],
        9,
        "adComplete with no ad break open",
    ),
    Fires(
        "ad-outside-break",
        ERROR,
        [START, PLAY, ("adSkip", 5, 5), ("sessionComplete", 10, 10)],
        3,
        "adSkip with no ad break open",
    ),
    *(
        Fires(
            "ad-close-without-start",
            WARNING,
            _mid_roll(_ad(9, 8), ("adComplete", 18, 8), (type, 19, 8)),
            6,
            f"{type} with no ad open",
        )
        for type in ["adComplete", "adSkip"]
    ),
    Fires(
        "ad-not-closed",
        WARNING,
        _mid_roll(_ad(9, 8), _ad(14, 8, 2), ("adComplete", 19, 8)),
        5,
        "adStart while an ad is open; adComplete or adSkip is missing",
    ),
    Fires("ad-not-closed", WARNING, _mid_roll(_ad(9, 8), ("ping", 15, 8)), 6, "adBreakComplete while an ad is open"),
    Fires(
        "ad-not-closed",
        WARNING,
        _mid_roll(_ad(9, 8), ("adBreakStart", 14, 8), _ad(14.1, 8), ("adComplete", 19, 8)),
        5,
        "adBreakStart while an ad is open",
        also=frozenset({"ad-break-not-closed"}),
    ),
    Fires(
        "ad-not-closed",
        WARNING,
        [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("sessionComplete", 15, 8)],
        5,
        "sessionComplete while an ad is open",
        also=frozenset({"ad-break-not-closed"}),
    ),
    Fires(
        "ad-break-not-closed",
        WARNING,
        _mid_roll(_ad(9, 8), ("adComplete", 13, 8), ("adBreakStart", 14, 8), _ad(14.1, 8), ("adComplete", 19, 8)),
        6,
        "adBreakStart while an ad break is open; adBreakComplete is missing",
    ),
    Fires(
        "ad-break-not-closed",
        WARNING,
        [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("adSkip", 14, 8), ("sessionComplete", 15, 8)],
        6,
        "sessionComplete while an ad break is open",
    ),
    # An ad is open in an open break only, so that of both is told.
    Fires(
        "ad-open-at-end",
        INFO,
        [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("ping", 15, 8), ("sessionEnd", 16, 8)],
        6,
        "sessionEnd while an ad is open",
        also=frozenset({"ad-break-open-at-end"}),
    ),
    Fires(
        "ad-break-open-at-end",
        INFO,
        [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("adSkip", 15, 8), ("sessionEnd", 15.001, 8)],
        6,
        "sessionEnd while an ad break is open",
    ),
    Fires(
        "ad-break-complete-without-start",
        WARNING,
        [START, PLAY, ("adBreakComplete", 5, 5), ("sessionEnd", 10, 10)],
        3,
        "adBreakComplete with no ad break open",
    ),
    Fires(
        "ad-break-complete-without-start",
        WARNING,
        [*_mid_roll(_ad(9, 8), ("adComplete", 19, 8)), ("adBreakComplete", 20.05, 8)],
        7,
        "adBreakComplete with no ad break open",
    ),
    Fires("ad-break-empty", INFO, _mid_roll(("ping", 15, 8)), 5, "the ad break had no ad"),
    *(
        Fires(
            "ad-pod-position-order",
            INFO,
            _mid_roll(_ad(9, 8, 2), ("adComplete", 13, 8), _ad(14, 8, second), ("adComplete", 19, 8)),
            6,
            f"podPosition {second} after 2 in the same ad break; expected it to increase",
        )
        for second in [2, 1]
    ),
    *(
        Fires(
            "playback-event-in-ad-break",
            WARNING,
            _mid_roll((type, 9, 8), _ad(10, 8), ("play", 10.1, 8), ("adComplete", 19, 8)),
            4,
            f"{type} in an ad break with no ad open; it counts as content",
        )
        for type in ["play", "pauseStart", "bufferStart"]
    ),
    Fires(
        "playback-event-in-ad-break",
        WARNING,
        _mid_roll(_ad(10, 8), ("play", 10.1, 8), ("adComplete", 19, 8), ("play", 19.999, 8)),
        7,
        "play in an ad break with no ad open",
    ),
    *(
        Fires(
            "play-before-preroll",
            INFO,
            [
                START,
                ("play", 0.1, 0.9),
                ("adBreakStart", 0.1 + after_s, 0.9),
                _ad(2, 0.9),
                ("adComplete", 9, 0.9),
                ("adBreakComplete", 9.1, 0.9),
                ("play", 9.2, 0.9),
                ("sessionEnd", 15, 6),
            ],
            3,
            f"adBreakStart {after_s * 1000:.0f} ms after the first play; the content began too early",
        )
        for after_s in [0.4, 1]
    ),
    *(
        Fires(
            "playhead-moved-in-ad",
            WARNING,
            _mid_roll(_ad(9, 8), ("ping", 15, moved_s), ("adComplete", 19, 8)),
            5,
            f"playhead {moved_s:g} s in an ad break that began at 8 s; expected it not to move",
        )
        for moved_s in [9.001, 6.5, 14]
    ),
    Fires(
        "playhead-moved-in-ad",
        WARNING,
        [
            START,
            PLAY,
            ("adBreakStart", 8, 8),
            _ad(9, 8),
            ("adSkip", 15, 99),
            ("adBreakComplete", 15.001, 99),
            ("play", 15.001, 99),
            ("sessionEnd", 20, 103),
        ],
        5,
        "playhead 99 s in an ad break that began at 8 s",
        also=frozenset({"ts-equal"}),
    ),
    Fires(
        "ad-too-short",
        WARNING,
        _mid_roll(_ad_of(15, 9), ("adComplete", 9.001, 8)),
        5,
        "adComplete 0.001 s after adStart; the ad lasts 15 s",
    ),
    Fires(
        "ad-too-short",
        WARNING,
        _mid_roll(_ad_of(20, 9), ("adComplete", 10.999, 8)),
        5,
        "adComplete 1.999 s after adStart; the ad lasts 20 s",
    ),
    *(
        Fires(
            "ad-pod-second-suspect",
            INFO,
            _with_breaks({"media.ad.podSecond": second}, playhead_s=60),
            3,
            f"podSecond is {second}; expected the playhead of the ad break, 60",
        )
        for second in [58.999, 61.001, 0, 2]
    ),
    Fires(
        "ad-pod-index-repeated",
        INFO,
        _with_breaks({"media.ad.podIndex": 1}, {"media.ad.podIndex": 2}, {"media.ad.podIndex": 1}),
        13,
        "the ad break at 180 s has podIndex 1, like the one at 60 s; expected another",
    ),
]

TWO_ADS = [_ad(9, 8), ("adComplete", 13, 8), _ad(14, 8, 2), ("adSkip", 19, 8)]
NEAR_MISSES = [
    NearMiss("ad-outside-break", "the break has both its ends", _mid_roll(*TWO_ADS)),
    NearMiss(
        "ad-outside-break",
        "the recording may have begun in the break",
        [
            ("ping", 0, 8),
            ("adComplete", 5, 8),
            _ad(5.1, 8, 2),
            ("adSkip", 9, 8),
            ("adBreakComplete", 9.1, 8),
            ("play", 9.2, 8),
            ("sessionEnd", 10, 9),
        ],
        {"start_missing": True},
    ),
    NearMiss("ad-close-without-start", "one end for each ad", _mid_roll(*TWO_ADS)),
    NearMiss(
        "ad-not-closed",
        "closed 1 ms before",
        _mid_roll(_ad(9, 8), ("adSkip", 13.999, 8), _ad(14, 8, 2), ("adComplete", 19.999, 8)),
    ),
    NearMiss(
        "ad-break-not-closed",
        "closed 1 ms before",
        _mid_roll(
            _ad(9, 8),
            ("adComplete", 13, 8),
            ("adBreakComplete", 13.999, 8),
            ("adBreakStart", 14, 8),
            _ad(14.1, 8),
            ("adComplete", 19, 8),
        ),
    ),
    *(
        NearMiss(
            rule,
            "closed 1 ms before",
            [
                START,
                PLAY,
                ("adBreakStart", 8, 8),
                _ad(9, 8),
                ("adSkip", 15.998, 8),
                ("adBreakComplete", 15.999, 8),
                ("sessionEnd", 16, 8),
            ],
        )
        for rule in ["ad-open-at-end", "ad-break-open-at-end"]
    ),
    NearMiss("ad-break-complete-without-start", "one end for the break", _mid_roll(*TWO_ADS)),
    NearMiss(
        "ad-break-complete-without-start",
        "the recording may have begun in the break",
        [("ping", 0, 8), ("adBreakComplete", 1, 8), ("play", 1.1, 8), ("sessionEnd", 10, 16)],
        {"start_missing": True},
    ),
    NearMiss("ad-break-empty", "an ad was skipped at once", _mid_roll(_ad(15, 8), ("adSkip", 15.001, 8))),
    NearMiss("ad-pod-position-order", "it grows by one", _mid_roll(*TWO_ADS)),
    NearMiss(
        "ad-pod-position-order",
        "it begins anew in the next break",
        _mid_roll(
            _ad(9, 8, 3),
            ("adComplete", 13, 8),
            ("adBreakComplete", 13.5, 8),
            ("adBreakStart", 14, 8),
            _ad(14.1, 8, 0),
            ("adComplete", 19, 8),
        ),
    ),
    NearMiss(
        "ad-pod-position-order",
        "an ad has no integer position",
        _mid_roll(_ad(9, 8, 2), ("adComplete", 13, 8), _ad(14, 8, "1"), ("adComplete", 19, 8)),
    ),
    NearMiss(
        "playback-event-in-ad-break",
        "an ad is open",
        _mid_roll(
            _ad(9, 8),
            ("play", 9.001, 8),
            ("pauseStart", 11, 8),
            ("bufferStart", 12, 8),
            ("play", 13, 8),
            ("adComplete", 19, 8),
        ),
    ),
    *(
        NearMiss(
            "play-before-preroll",
            why,
            [
                START,
                ("play", 0.1, playhead_s),
                *plays,
                ("adBreakStart", 0.1 + after_s, playhead_s),
                _ad(2, playhead_s),
                ("adComplete", 9, playhead_s),
                ("adBreakComplete", 9.1, playhead_s),
                ("play", 9.2, playhead_s),
                ("sessionEnd", 15, playhead_s + 6),
            ],
        )
        for why, playhead_s, plays, after_s in [
            ("the break comes more than a second later", 0, [], 1.001),
            ("the content has played for a second", 1, [], 1),
            ("it is the second play", 0, [("play", 0.5, 0)], 0.9),
        ]
    ),
    NearMiss(
        "play-before-preroll",
        "play comes after the ad's start",
        [
            START,
            ("adBreakStart", 0.1, 0),
            _ad(0.2),
            ("play", 0.3, 0),
            ("adComplete", 9, 0),
            ("adBreakComplete", 9.1, 0),
            ("play", 9.2, 0),
            ("sessionEnd", 15, 6),
        ],
    ),
    *(
        NearMiss(
            "playhead-moved-in-ad",
            f"it moves by a second at most, to {moved_s} s",
            _mid_roll(_ad(9, 8), ("ping", 15, moved_s), ("adComplete", 19, 8)),
        )
        for moved_s in [9, 7]
    ),
    NearMiss("ad-too-short", "a tenth is enough", _mid_roll(_ad_of(20, 9), ("adComplete", 11, 8))),
    NearMiss("ad-too-short", "it was skipped", _mid_roll(_ad_of(20, 9), ("adSkip", 9.001, 8))),
    NearMiss("ad-too-short", "it is a very short ad", _mid_roll(_ad_of(1.999, 9), ("adComplete", 9.001, 8))),
    NearMiss("ad-too-short", "its length is no number", _mid_roll(_ad_of("20", 9), ("adComplete", 9.001, 8))),
    NearMiss("ad-pod-second-suspect", "it is off by a second", _with_breaks({"media.ad.podSecond": 59})),
    NearMiss("ad-pod-second-suspect", "it is no number", _with_breaks({"media.ad.podSecond": "2"})),
    NearMiss(
        "ad-pod-second-suspect",
        "it is the pre-roll of content that is resumed",
        [
            ("sessionStart", 0, 600, {"media.resume": True}),
            *_with_breaks({"media.ad.podSecond": 0}, playhead_s=600)[2:],
        ],
    ),
    NearMiss(
        "ad-pod-second-suspect",
        "it is live",
        [("sessionStart", 0, 600, LIVE), *_with_breaks({"media.ad.podSecond": 2}, playhead_s=600)[1:]],
    ),
    NearMiss(
        "ad-pod-index-repeated",
        "it is the same break",
        _with_breaks({"media.ad.podIndex": 1}, {"media.ad.podIndex": 1}, every_s=1),
    ),
    NearMiss(
        "ad-pod-index-repeated", "it has none", _with_breaks({"media.ad.podIndex": "1"}, {"media.ad.podIndex": "1"})
    ),
    NearMiss(
        "playhead-moved-in-ad",
        "live content runs on",
        [
            ("sessionStart", 0, 43200, LIVE),
            ("play", 0.1, 43200),
            ("adBreakStart", 8, 43208),
            _ad(9, 43209),
            ("ping", 15, 43215),
            ("adComplete", 19, 43219),
            ("adBreakComplete", 20, 43220),
            ("play", 20.1, 43220),
            ("sessionEnd", 25, 43225),
        ],
    ),
    NearMiss(
        "playhead-moved-in-ad",
        "nobody knows whether it is live",
        [
            ("adBreakStart", 8, 8),
            _ad(9, 8),
            ("ping", 15, 14),
            ("adComplete", 19, 18),
            ("adBreakComplete", 20, 19),
            ("sessionEnd", 21, 20),
        ],
        {"start_missing": True},
    ),
]


@pytest.mark.parametrize("row", FIRES, ids=id_of)
def test_a_session_breaks_one_rule_over_ads(row):
    assert_fires(row)


@pytest.mark.parametrize("row", NEAR_MISSES, ids=id_of)
def test_nothing_is_said_of_a_session_that_comes_close(row):
    assert judged(row.events, **row.facts) == []


def test_each_rule_over_ads_has_a_session_that_breaks_it_and_a_near_miss():
    assert {row.rule for row in FIRES} == rules_of(ads)
    assert {row.rule for row in NEAR_MISSES} == rules_of(ads)


@pytest.mark.parametrize("content_type", ["Live", "linear", "RADIO"])
def test_all_kinds_of_live_content_move_their_playhead_in_ads(content_type):
    rows = _mid_roll(_ad(9, 9), ("ping", 15, 15), ("adComplete", 19, 19))
    rows[0] = ("sessionStart", 0, 0, {"media.contentType": content_type})
    assert judged(rows) == []


def test_once_a_break_was_seen_a_recording_that_began_late_knows_what_is_open():
    rows: list[Row] = [
        ("adBreakComplete", 0, 8),
        ("play", 0.1, 8),
        ("adComplete", 1, 9),
        ("adBreakComplete", 2, 10),
        ("sessionEnd", 3, 11),
    ]
    found = judged(rows, start_missing=True)
    assert [(finding.rule, finding.seq) for finding in found] == [
        ("ad-outside-break", 3),
        ("ad-break-complete-without-start", 4),
    ]


def test_what_is_open_at_the_end_is_told_at_the_first_session_end_only():
    rows: list[Row] = [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("sessionEnd", 16, 8), ("sessionEnd", 17, 8)]
    assert [(finding.rule, finding.seq, finding.count) for finding in judged(rows)] == [
        ("session-end-duplicate", 6, 1),
        ("ad-open-at-end", 5, 1),
        ("ad-break-open-at-end", 5, 1),
    ]


def test_a_pod_position_written_with_a_fraction_of_zero_is_one():
    event = read_event(loads(b'{"eventType": "adStart", "params": {"media.ad.podPosition": 2.0}}'))
    assert session_event(event, seq=1).pod_position == 2


def test_a_restart_may_play_in_a_break_whose_ad_is_not_open():
    # An SDK's restart after a long pause: all of it at one time.
    resumed: Row = ("sessionStart", 0, 8, {"media.resume": True})
    rows: list[Row] = [resumed, ("adBreakStart", 0, 8), ("play", 0, 8), _ad(1, 8), ("adComplete", 5, 8)]
    assert rules(judged([*rows, ("adBreakComplete", 6, 8), ("sessionEnd", 7, 8)])) == ["ts-equal"]
    rows[2] = ("play", 0.001, 8)
    found = rules(judged([*rows, ("adBreakComplete", 6, 8), ("sessionEnd", 7, 8)]))
    assert found == ["playback-event-in-ad-break", "ts-equal"]


def test_each_event_that_leaves_an_ad_open_counts():
    found = judged(
        [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), _ad(10, 8, 2), _ad(11, 8, 3), ("sessionComplete", 12, 8)]
    )
    assert [(finding.rule, finding.seq, finding.count) for finding in found] == [
        ("ad-not-closed", 5, 3),
        ("ad-break-not-closed", 7, 1),
    ]


def test_a_seek_out_of_an_ad_closes_the_break_at_the_new_position():
    """All that one call of an SDK causes has one time; a move before it is told all the same."""
    closing: list[Row] = [("adSkip", 15, 99), ("stateStart", 15, 99, {"media.state.name": "mute"}, 15.1)]
    after: list[Row] = [("adBreakComplete", 15, 99, {}, 15.2), ("play", 15, 99, {}, 15.3), ("sessionEnd", 20, 103)]
    played: list[Row] = [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8)]
    assert rules(judged([*played, *closing, *after])) == ["ts-equal"]
    [found] = [each for each in judged([*played, *closing]) if each.rule == "playhead-moved-in-ad"]
    assert found.places == (Place(5), Place(6))
    moved: list[Row] = [("ping", 13, 14), *closing]
    [found] = [each for each in judged([*played, *moved, *after]) if each.rule == "playhead-moved-in-ad"]
    assert (found.count, found.places, found.message[:13]) == (1, (Place(5),), "playhead 14 s")


def test_an_ad_that_an_sdk_starts_anew_with_the_session_may_be_short():
    restart: list[Row] = [("sessionStart", 0, 8, {"media.resume": True}), ("adBreakStart", 0, 8, {}, 0.1)]
    restart += [("adStart", 0, 8, {"media.ad.podPosition": 1, "media.ad.length": 20}, 0.2)]
    ended: list[Row] = [("adComplete", 1, 8), ("adBreakComplete", 1.1, 8), ("sessionEnd", 2, 9)]
    assert rules(judged([*restart, *ended])) == ["ts-equal"]


def test_a_break_that_is_closed_twice_withdraws_once():
    played: list[Row] = [START, PLAY, ("adBreakStart", 8, 8), _ad(9, 8), ("ping", 13, 14), ("adSkip", 15, 99)]
    closed: list[Row] = [("adBreakComplete", 15, 99, {}, 15.1), ("adBreakComplete", 15, 99, {}, 15.2)]
    [found] = [each for each in judged([*played, *closed]) if each.rule == "playhead-moved-in-ad"]
    assert (found.count, found.places) == (1, (Place(5),))
