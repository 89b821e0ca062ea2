"""The same tracking passes however often it is played, and a single change of it does not."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy_addon.core.exchange import BodyState, Outcome
from proxy_addon.core.expectations.compare import Compare, Level
from proxy_addon.core.expectations.comparison import Kind
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.errors import SettingsError
from proxy_addon.reporting.tracking import text
from tests import builders
from tests.played import Cue, again, film, pinged, recorded

EXPECTED = recorded(pinged(film()))
LIVE = recorded(pinged(film("live", playhead_s=63_000)))


def messages(actual: HeldSession, expected: HeldSession = EXPECTED, **compare: Any) -> list[str]:
    options = Compare.parsed(compare or None, "expected.json")
    return [each.message for each in compare_tracking(actual, expected, options).differences]


@pytest.mark.one_version
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"cumulative": True},  # a late ping makes the next ones late, too
        {"restarts": False},  # pings on a fixed grid
        {"restarts": False, "cumulative": True},
        {"ad_interval_s": 1.0},
    ],
    ids=str,
)
def test_a_film_that_is_played_50_times_is_tracked_the_same(how: dict[str, Any]):
    timers = {name: value for name, value in how.items() if name != "cumulative"}
    expected = recorded(pinged(film(), **timers))
    for seed in range(50):
        assert messages(again(seed, film(), **how), expected) == [], f"seed {seed}"


@pytest.mark.one_version
@pytest.mark.parametrize("how", [{}, {"cumulative": True}, {"restarts": False}], ids=str)
def test_so_it_is_if_the_expectation_was_recorded_with_a_jitter_of_its_own(how: dict[str, Any]):
    for base in range(100, 103):
        expected = again(base, film(), **how)
        for seed in range(15):
            assert messages(again(seed, film(), **how), expected) == [], f"seeds {base} and {seed}"


def test_a_live_stream_that_is_watched_at_other_times_of_the_day_is_tracked_the_same():
    for seed in range(20):
        later = again(seed, film("live", playhead_s=(63_000 + seed * 4_321) % 86_400))
        assert messages(later, LIVE) == [], f"seed {seed}"


Rewrite = Callable[[dict[str, Any]], object]
Replay = Callable[[list[Cue]], list[Cue]]


def nothing(value: dict[str, Any]) -> None:
    """Change nothing."""


def on(event_type: str, member: str = "params", /, **values: Any) -> Rewrite:
    """Return what sets or, for None, removes values in the first event of a type; dots are written as ``__``."""
    done: list[bool] = []

    def rewrite(value: dict[str, Any]) -> None:
        if value["eventType"] != event_type or done:
            return
        done.append(True)
        inside = value.setdefault(member, {})
        for name, new in values.items():
            key = name.replace("__", ".")
            if new is None:
                inside.pop(key)
            else:
                inside[key] = new

    return rewrite


def typed(event_type: str, new: str) -> Rewrite:
    return lambda value: value.update(eventType=new) if value["eventType"] == event_type else None


def without(is_gone: Callable[[int, Cue], bool]) -> Replay:
    return lambda cues: [cue for number, cue in enumerate(cues) if not is_gone(number, cue)]


def number_of(cues: list[Cue], event_type: str, nth: int = 1) -> int:
    return [number for number, cue in enumerate(cues) if cue.type == event_type][nth - 1]


def dropped(event_type: str, nth: int = 1) -> Replay:
    return lambda cues: [cue for number, cue in enumerate(cues) if number != number_of(cues, event_type, nth)]


def doubled(event_type: str, after_s: float, nth: int = 1) -> Replay:
    def replay(cues: list[Cue]) -> list[Cue]:
        cue = cues[number_of(cues, event_type, nth)]
        return sorted([*cues, replace(cue, at_s=cue.at_s + after_s)], key=lambda each: each.at_s)

    return replay


def moved(is_it: Callable[[Cue], bool], by_s: float, playhead_s: float = 0.0) -> Replay:
    def replay(cues: list[Cue]) -> list[Cue]:
        start, *rest = (
            replace(cue, at_s=cue.at_s + by_s, playhead_s=cue.playhead_s + playhead_s) if is_it(cue) else cue
            for cue in cues
        )
        return [start, *sorted(rest, key=lambda cue: cue.at_s)]

    return replay


def in_second_break(cue: Cue) -> bool:
    return abs(cue.playhead_s - 118.6) < 0.5 and cue.type != "ping"


def swapped(cues: list[Cue]) -> list[Cue]:
    """Report the ad before its break, a millisecond apart."""
    at = number_of(cues, "adBreakStart", 2)
    first, second = cues[at], cues[at + 1]
    pair = [replace(second, at_s=first.at_s - 0.001), first]
    return [*cues[:at], *pair, *cues[at + 2 :]]


def late_ads(cues: list[Cue]) -> list[Cue]:
    """Play the second ad break after the seek."""
    ads = [cue for cue in cues if in_second_break(cue)]
    later = [replace(cue, at_s=cue.at_s + 80) for cue in ads]
    return sorted([*(cue for cue in cues if cue not in ads), *later], key=lambda cue: cue.at_s)


def slow(cues: list[Cue]) -> list[Cue]:
    """Ping half as often in content."""
    seen = [number for number, cue in enumerate(cues) if cue.type == "ping"]
    return [cue for number, cue in enumerate(cues) if number not in set(seen[1::2])]


MUTATIONS: dict[str, tuple[Rewrite, Replay, str]] = {
    "a param has another value": (
        on("adStart", media__ad__name="Other"), list,
        r'^adStart #\d+: params/media\.ad\.name is "Other", expected "Spot 1\.1"$',
    ),
    "a param is missing": (
        on("sessionStart", media__channel=None), list,
        r'^sessionStart #1: params/media\.channel is missing, expected "Sports"$',
    ),
    "a param is new": (
        on("play", media__extra=1), list, r"^play #\d+: params/media\.extra is 1, expected none$",
    ),
    "a param is spelled differently": (
        lambda value: value["params"].update({"media.ID": value["params"].pop("media.id")})
        if value["eventType"] == "sessionStart" else None,
        list, r'^sessionStart #1: params/media\.id is missing, expected "video-123"$',
    ),
    "a number becomes a string": (
        on("chapterStart", media__chapter__index="1"), list,
        r'^chapterStart #\d+: params/media\.chapter\.index is "1", expected 1$',
    ),
    "a length changes by one": (
        on("adStart", media__ad__length=16), list, r"^adStart #\d+: params/media\.ad\.length is 16, expected 15$",
    ),
    "a visitor ID is missing": (
        on("sessionStart", visitor__marketingCloudUserId=None), list,
        r"^sessionStart #1: params/visitor\.marketingCloudUserId is missing",
    ),
    "metadata has another value": (
        on("sessionStart", "customMetadata", plan="silver"), list,
        r'^sessionStart #1: customMetadata/plan is "silver", expected "gold"$',
    ),
    "metadata is missing": (
        on("chapterStart", "customMetadata", part=None), list,
        r'^chapterStart #\d+: customMetadata/part is missing, expected "1"$',
    ),
    "an error has another ID": (
        on("error", "qoeData", media__qoe__errorID="drm-8"), list,
        r'^error #\d+: qoeData/media\.qoe\.errorID is "drm-8", expected "drm-7"$',
    ),
    "quality data is missing": (
        on("bitrateChange", "qoeData", media__qoe__bitrate=None), list,
        r"^bitrateChange #\d+: qoeData/media\.qoe\.bitrate is missing, expected 3200000$",
    ),
    "quality data has another type": (
        on("bitrateChange", "qoeData", media__qoe__bitrate="3200"), list,
        r'^bitrateChange #\d+: qoeData/media\.qoe\.bitrate is "3200", expected 3200000$',
    ),
    "a playhead is off": (
        on("bitrateChange", "playerTime", playhead=29.6), list,
        r"^bitrateChange #\d+: playhead is 29\.6, expected 24\.6 \(5 s ahead\)$",
    ),
    "a playhead is a string": (
        on("bitrateChange", "playerTime", playhead="24.6"), list,
        r'^bitrateChange #\d+: playerTime/playhead is "24\.6", expected 24\.6$',
    ),
    "a ts is missing": (
        on("stateStart", "playerTime", ts=None), list, r"^stateStart #\d+: playerTime/ts is missing, expected \d+$",
    ),
    "an event has a wrong type": (
        typed("error", "failure"), list, r'^failure #\d+: eventType is "failure", expected "error"$',
    ),
    "an event is missing": (
        nothing, dropped("pauseStart"), r"^pauseStart is missing: expected as #22, 25\.0 s after stateStart #18$",
    ),
    "the end is missing": (
        nothing, dropped("sessionEnd"), r"^sessionEnd is missing: expected as #73, 0\.1 s after sessionComplete #72$",
    ),
    "an event is sent twice": (
        nothing, doubled("adComplete", 0.02), r"^adComplete #\d+ is not expected, 0\.0 s after ",
    ),
    "an ad is missing": (
        nothing, without(lambda _, cue: in_second_break(cue)),
        r"^adBreakStart is missing: expected as #33, .* after stateEnd #28; so are adStart, play, adComplete, .* and 1 more",
    ),
    "an ad break comes four seconds late": (
        nothing, moved(in_second_break, 4, 4),
        r"^adBreakStart #\d+ comes [34]\.\d s late: 4[12]\.\d s after stateEnd #\d+, expected 38\.0 s; the ad break moved as a whole, up to play #\d+; playhead is 122",
    ),
    "an ad is reported before its break": (
        nothing, swapped, r"^(adStart #\d+ comes before adBreakStart|adBreakStart #\d+ comes after adStart) #\d+, expected ",
    ),
    "an ad break comes after a seek": (
        nothing, late_ads, r"^adBreakStart #\d+ comes (79|80)\.\d s late: 1\d\d\.\d s after stateEnd #\d+, expected 38\.0 s$",
    ),
    "a pause takes longer": (
        nothing, moved(lambda cue: cue.at_s > 125, 6), r"^play #\d+ comes [56]\.\d s late: .* after pauseStart #\d+, expected 34\.0 s$",
    ),
    "a state has another name": (
        on("stateStart", media__state__name="mute"), list,
        r'^stateStart #\d+: params/media\.state\.name is "mute", expected "fullScreen"$',
    ),
    "a ping is missing": (
        nothing, dropped("ping", 20), r"^ping is missing: none for (18|19|2\d)\.\d s after (play|ping) #\d+, expected every 10\.0 s$",
    ),
    "a ping is too many": (
        nothing, doubled("ping", 4.5, 20), r"^ping #\d+ is one too many: [3-6]\.\d s after ping #\d+, expected every 10\.0 s$",
    ),
    "pings are half as frequent": (
        nothing, slow, r"^pings come every (19|2\d)\.\d s from ping #\d+ on, expected every 10\.0 s$",
    ),
    "a ping has params": (
        on("ping", media__id="video-123"), list, r'^ping #\d+: params/media\.id is "video-123", expected none$',
    ),
    "a ping stands still": (
        lambda value: value["playerTime"].update(playhead=466.0)
        if value["eventType"] == "ping" and value["playerTime"]["playhead"] > 500 else None,
        list, r"^ping #\d+: playhead is 466, expected \d+\.?\d* \([\d.]+ s behind\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_single_change_is_told_with_event_and_param(name: str):
    """Also in a playback that differs naturally."""
    rewritten, replayed, told = MUTATIONS[name]
    for seed in (None, 3, 4):
        if isinstance(rewritten, type(nothing)) and (cells := rewritten.__closure__):
            for cell in cells:  # the first event of each playback is changed
                if isinstance(cell.cell_contents, list):
                    cell.cell_contents.clear()
        if seed is None:
            actual = recorded(replayed(pinged(film())), changed=rewritten)
        else:
            actual = again(seed, film(), replayed=replayed, rewritten=rewritten)
        found = messages(actual)
        assert [message for message in found if re.search(told, message)], (seed, found)


def test_a_message_is_about_what_happened_and_not_about_what_follows():
    """A playhead that stays off is told once, and so are events that are missing together."""
    actual = recorded(moved(lambda cue: cue.at_s > 263, 0, 10)(pinged(film())))
    found = compare_tracking(actual, EXPECTED).differences
    assert [each.kind for each in found] == [Kind.PLAYHEAD]
    assert re.search(
        r"^play #48: playhead is 410, expected 400 \(10 s ahead\); so in the \d\d events after it$", found[0].message
    )
    [lost] = compare_tracking(
        recorded(without(lambda _, cue: 97 < cue.at_s < 133)(pinged(film()))), EXPECTED
    ).differences[:1]
    assert lost.event_type == "ping"


def played(*events: tuple[float, str] | tuple[float, str, dict[str, Any]]) -> list[Cue]:
    """Return cues from times, types and params."""
    return [
        Cue(at_s=0, type="sessionStart", params=builders.START_PARAMS),
        *(Cue(at_s=at_s, type=type, params=params[0] if params else {}) for at_s, type, *params in events),
    ]


def test_ads_that_are_played_elsewhere_have_moved():
    pauses = [(at_s, type) for n in range(4) for at_s, type in ((20 + 10 * n, "pauseStart"), (25 + 10 * n, "play"))]

    def break_at(at_s: float) -> list[Any]:
        ads = {"media.ad.podIndex": 1, "media.ad.podSecond": at_s}
        return [
            *((at_s, "adBreakStart", ads), (at_s, "adStart"), (at_s, "play")),
            *((at_s + 2, "adComplete"), (at_s + 2, "adBreakComplete"), (at_s + 2, "play")),
        ]

    one = recorded(played((1, "play"), *break_at(10), *pauses, (70, "sessionEnd")))
    other = recorded(played((1, "play"), *pauses, *break_at(60), (70, "sessionEnd")))
    for actual, expected, told in (
        (other, one, "#11 moved, 50.0 s later: 60.0 s after the start, expected 10.0 s"),
        (one, other, "#3 moved, 50.0 s earlier: 10.0 s after the start, expected 60.0 s"),
    ):
        (difference,) = compare_tracking(actual, expected).differences
        assert difference.message.startswith(f"adBreakStart {told}; the ad break moved as a whole, up to play #")
        assert re.search(r"; params/media\.ad\.podSecond is \d0, expected \d0$", difference.message)
        assert (difference.kind, difference.rows) == (Kind.MOVED, 6)


def with_break(
    late_s: float = 0, playhead_s: float = 0, second: float = 19, advertiser: str = "Sea Ltd"
) -> HeldSession:
    """Return a playback with an ad break and a state that begins in it, pings and all."""
    at_s, ad = 20 + late_s, 19 + playhead_s
    break_params = {"media.ad.podIndex": 1, "media.ad.podSecond": second}
    ad_params = {"media.ad.id": "ad-1", "media.ad.podPosition": 1, "media.ad.advertiser": advertiser}
    cues = [
        Cue(at_s=0, type="sessionStart", params=builders.START_PARAMS),
        Cue(at_s=1, type="play"),
        Cue(at_s=at_s, type="adBreakStart", playhead_s=ad, params=break_params),
        Cue(at_s=at_s, type="adStart", playhead_s=ad, params=ad_params),
        Cue(at_s=at_s, type="play", playhead_s=ad),
        Cue(at_s=24, type="stateStart", playhead_s=19, params={"media.state.name": "mute"}),
        Cue(at_s=at_s + 15, type="adComplete", playhead_s=ad),
        Cue(at_s=at_s + 15, type="adBreakComplete", playhead_s=ad),
        Cue(at_s=at_s + 15, type="play", playhead_s=ad),
        Cue(at_s=60, type="pauseStart", playhead_s=44),
        Cue(at_s=62, type="play", playhead_s=44),
        Cue(at_s=75, type="sessionComplete", playhead_s=57),
        Cue(at_s=75.1, type="sessionEnd", playhead_s=57),
    ]
    return recorded(pinged(cues))


@pytest.mark.parametrize(
    ("by_s", "told"),
    [
        (2, "comes 2.0 s late: 21.0 s after play, expected 19.0 s|21, expected 19|21, expected 19 (2 s ahead)"),
        (2.2, "comes 2.2 s late: 21.2 s after play, expected 19.0 s|21.2, expected 19|21.2, expected 19 (2.2 s ahead)"),
        (-2.5, "comes 2.5 s early: 16.5 s after play, expected 19.0 s|16.5, expected 19|16.5, expected 19 (2.5 s behind)"),
    ],
)  # fmt: skip
def test_an_ad_break_that_moved_is_one_difference(by_s: float, told: str):
    """What comes after it is where it was, and its own podSecond and playheads moved with it."""
    come, second, playhead = told.split("|")
    moved = f"the ad break moved as a whole, up to play; params/media.ad.podSecond is {second}; playhead is {playhead}"
    found = compare_tracking(with_break(by_s, by_s, 19 + by_s), with_break()).differences
    assert unnumbered([each.message for each in found]) == [f"adBreakStart {come}; {moved}"]
    assert (found[0].kind, found[0].event_type, found[0].place) == (Kind.DISTANCE, "adBreakStart", "distance")
    assert found[0].rows == 8, "the six events of the break, the play after it, and a state and a ping in between"


def unnumbered(messages: list[str]) -> list[str]:
    return [re.sub(r" #\d+", "", message) for message in messages]


def test_nothing_else_is_lost_in_what_moved():
    expected = with_break()
    late = (
        "adBreakStart comes 4.0 s late: 23.0 s after play, expected 19.0 s; the ad break moved as a whole, up to play"
    )
    advertiser = 'adStart: params/media.ad.advertiser is "Ltd", expected "Sea Ltd"'
    assert unnumbered(messages(with_break(4, advertiser="Ltd"), expected)) == [late, advertiser]
    second = "adBreakStart: params/media.ad.podSecond is 39, expected 19"
    assert unnumbered(messages(with_break(4, second=39), expected)) == [second, late]
    contents = [
        "adBreakStart: params/media.ad.podSecond is 23, expected 19",
        "adBreakStart: playhead is 23, expected 19 (4 s ahead); so in the 2 events after it",
        "adComplete: playhead is 23, expected 19 (4 s ahead); so in the 2 events after it",
    ]
    assert unnumbered(messages(with_break(0, 4, 23), expected))[:2] == contents[:2]
    assert unnumbered(messages(with_break(4, 4, 23), expected, ignore=["distance"]))[:2] == contents[:2]


def test_a_ping_of_a_playback_that_is_too_short_for_a_rhythm_counts_too():
    cues = played((1, "play"), (1.5, "ping"), (2, "pauseStart"), (3, "play"), (3.5, "ping"), (4, "sessionEnd"))
    for place, told in ((2, "#3, 0.5 s after play #2"), (5, "#6, 0.5 s after play #5")):
        actual = recorded(cues[:place] + cues[place + 1 :])
        assert messages(actual, recorded(cues)) == [f"ping is missing: expected as {told}"]


def test_pings_of_an_ad_that_is_missing_are_missing_with_it():
    expected, actual = with_ad(*SHORT_AD), recorded(played((0.1, "play"), (10.1, "ping"), (24, "sessionEnd")))
    rest = "14.9 s after play #2; so are adStart, adComplete, adBreakComplete, play after it"
    assert messages(actual, expected) == [f"adBreakStart is missing: expected as #4, {rest}"]
    assert messages(expected, actual) == [f"adBreakStart #4 is not expected, {rest}"]


SHORT_AD = (1.05, 2.12, 3.21)
"""When pings come in an ad of four seconds."""


def with_ad(*pings_s: float) -> HeldSession:
    """Return a playback whose ad has pings so long after its begin."""
    params = {"media.ad.id": "ad-1", "media.ad.podPosition": 1}
    pings = [(15 + after_s, "ping") for after_s in pings_s]
    events = [(15, "adBreakStart"), (15, "adStart", params), *pings, (19, "adComplete"), (19, "adBreakComplete")]
    return recorded(played((0.1, "play"), (10.1, "ping"), *events, (19, "play"), (24, "sessionEnd")))  # type: ignore[arg-type]


def test_a_ping_that_is_missing_in_a_short_ad_is_told_where_it_is_missing():
    """Its pings come every second, give or take some hundredths."""
    expected = with_ad(*SHORT_AD)
    for place, told in enumerate(("#6, 1.1 s after adStart #5", "#7, 1.1 s after ping #6", "#8, 1.1 s after ping #7")):
        rest = [*SHORT_AD[:place], *SHORT_AD[place + 1 :]]
        assert messages(with_ad(*rest), expected) == [f"ping is missing: expected as {told}"]
    assert messages(with_ad(1.05), expected) == ["2 pings are missing: expected from #7 to #8, 1.1 s after ping #6"]
    four = with_ad(0.2, *(each + 0.2 for each in SHORT_AD))
    for place in range(4):
        rest = [0.2, *(each + 0.2 for each in SHORT_AD)]
        del rest[place]
        (told,) = messages(with_ad(*rest), four)
        assert told.startswith("ping is missing: none for "), told
        assert f" s after {'ping' if place else 'adStart'} #{5 + place}, expected every 1.1 s" in told, (place, told)


def test_a_timer_that_is_a_tenth_off_is_regular():
    chance = random.Random(7)
    for _ in range(20):
        one, other = ([0.7 * n + chance.uniform(-0.07, 0.07) for n in range(1, 5)] for _ in range(2))
        assert messages(with_ad(*other), with_ad(*one)) == []
        for place in range(3):
            rest = [*other[:place], *other[place + 1 :]]
            (told,) = messages(with_ad(*rest), with_ad(*one))
            assert f" s after {'ping' if place else 'adStart'} #{5 + place}, expected every 0." in told, (
                place,
                told,
            )


def test_which_ping_is_missing_is_left_open_if_their_times_do_not_tell():
    expected = with_ad(0.4, 2.2, 3.2)
    assert messages(with_ad(1.4, 2.7), expected) == ["ping is missing: one of #6-8, expected after adStart #5"]
    assert messages(expected, with_ad(1.4, 2.7)) == [
        "ping is one too many: one of #6-8, after adStart #5, expected every 1.3 s"
    ]


def test_events_with_the_same_ts_have_no_order_and_independent_ones_none_within_the_tolerance():
    name = {"media.state.name": "mute"}
    chapter = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 60}
    one = recorded(played((1, "play"), (1, "chapterStart", chapter), (9, "stateStart", name), (9.2, "bitrateChange")))
    other = recorded(played((1, "chapterStart", chapter), (1, "play"), (9, "bitrateChange"), (9.1, "stateStart", name)))
    apart = recorded(
        played((1, "chapterStart", chapter), (1.1, "play"), (9, "bitrateChange"), (9.1, "stateStart", name))
    )
    assert messages(other, one) == messages(one, other) == messages(apart, one) == []
    pause = recorded(played((1, "play"), (2, "pauseStart"), (2.01, "play"), (9, "sessionEnd")))
    play = recorded(played((1, "play"), (2, "play"), (2.01, "pauseStart"), (9, "sessionEnd")))
    assert messages(play, pause), "playing is not being paused"


def test_what_comes_after_the_end_is_not_what_comes_before_it():
    one = recorded(played((1, "play"), (9, "chapterComplete"), (9, "sessionEnd")))
    other = recorded(played((1, "play"), (9, "sessionEnd"), (9.2, "chapterComplete")))
    assert messages(other, one) == ["chapterComplete #4 comes after sessionEnd #3, expected before it"]


def test_events_that_arrive_in_another_order_are_the_same():
    exchanges = list(EXPECTED.exchanges)
    exchanges[10:13] = reversed(exchanges[10:13])
    assert messages(replace(EXPECTED, exchanges=tuple(exchanges))) == []


def test_an_attempt_that_was_not_answered_does_not_count_and_one_that_was_does():
    again = [*EXPECTED.exchanges[:5], EXPECTED.exchanges[4], *EXPECTED.exchanges[5:]]
    assert messages(replace(EXPECTED, exchanges=tuple(again))) == [
        "ping #6 is one too many: 0.0 s after ping #5, expected every 10.0 s"
    ]
    again[4] = replace(again[4], response=None, outcome=Outcome.CLIENT_GONE)
    assert messages(replace(EXPECTED, exchanges=tuple(again))) == []
    again[4] = replace(again[4], response=builders.response(500), outcome=Outcome.ANSWERED)
    beside = [builders.preflight(), *again]
    assert messages(replace(EXPECTED, exchanges=tuple(beside))) == []


def test_a_batch_is_compared_with_the_same_playback_sent_live():
    values = [exchange.request.reading.value for exchange in EXPECTED.exchanges]
    [batch] = fold([builders.batch(values)])
    assert messages(batch) == []
    del values[21]
    [batch] = fold([builders.batch(values)])
    assert messages(batch) == ["pauseStart is missing: expected as #22, 25.0 s after stateStart #18"]


def test_what_a_file_lacks_is_said_and_is_no_difference():
    for place in (21, 23):  # a pause and a ping
        hole = replace(
            EXPECTED.exchanges[place],
            request=replace(EXPECTED.exchanges[place].request, body=b"", body_state=BodyState.MISSING),
        )
        exchanges = (*EXPECTED.exchanges[:place], hole, *EXPECTED.exchanges[place + 1 :])
        for comparison in (
            compare_tracking(replace(EXPECTED, exchanges=exchanges), EXPECTED),
            compare_tracking(EXPECTED, replace(EXPECTED, exchanges=exchanges)),
        ):
            assert [each.message for each in comparison.differences] == []
            assert re.search(
                rf"^1 (expected|recorded) body is not in the file, .*: #{place + 1}$", comparison.remarks[0]
            )


def test_tokens_are_what_they_stand_for():
    """An email address in metadata is replaced, too, although nothing in its name says that it is personal."""
    cues = film()
    cues[0] = replace(cues[0], metadata={"contact": "somebody@example.com", "plan": "gold", "deviceId": "d-1"})
    raw = recorded(pinged(cues))
    change = Pseudonymiser(b"key")
    told = HeldSession(session=replace(raw.session, pseudonymised=True), exchanges=tuple(map(change, raw.exchanges)))
    assert b"somebody" not in told.exchanges[0].request.body
    assert messages(raw, told) == messages(told, raw) == messages(told, told) == []
    cues[0] = replace(cues[0], metadata={"plan": "silver", "deviceId": "d-2"})
    assert messages(recorded(pinged(cues)), told) == [
        'sessionStart #1: customMetadata/contact is missing, expected "' + value_of(told, "contact") + '"',
        'sessionStart #1: customMetadata/plan is "silver", expected "gold"',
    ]


@pytest.mark.parametrize(
    ("one", "alike", "other"),
    [
        ("/v?token=abc&c=7", "/v?token=xyz&c=7", "/v?token=xyz&c=8"),
        ("https://cdn/?uid=1", "https://cdn/?uid=2", "https://elsewhere/?uid=1"),
        ("seen by d-4711-ab", "seen by d-4712-ab", "bought by d-4711-ab"),
        ("ask a@shop.example", "ask b@shop.example", "ask b@shop.example now"),
        ('{"uid": "a", "n": 1}', '{"uid": "b", "n": 1}', '{"uid": "a", "n": 2}'),
    ],
)
def test_beside_a_token_the_rest_of_a_text_counts(one, alike, other):
    def played(text: str, device: str, *places: int) -> HeldSession:
        cues = pinged(film())
        for place in places:
            cues[place] = replace(cues[place], metadata={"text": text, "deviceId": device})
        return recorded(cues)

    cues = pinged(film())
    pings = [place for place, cue in enumerate(cues) if cue.type == "ping"]
    for places in ([0], pings):
        raw = played(one, "d-4711-ab", *places)
        exchanges = tuple(map(Pseudonymiser(b"key"), raw.exchanges))
        told = HeldSession(session=replace(raw.session, pseudonymised=True), exchanges=exchanges)
        assert messages(played(alike, "d-4712-ab" if "4712" in alike else "d-4711-ab", *places), told) == []
        found = messages(played(other, "d-4711-ab", *places), told)
        assert len(found) == 1
        assert "customMetadata/text is " in found[0]


def value_of(held: HeldSession, name: str) -> str:
    return str(held.exchanges[0].request.reading.value["customMetadata"][name])


def test_rules_say_what_counts():
    other = recorded(
        dropped("bitrateChange")(pinged(film())),
        changed=lambda value: (
            value.get("params", {}).update({"media.ad.id": "ad-9"}) if value["eventType"] == "adStart" else None
        ),
    )
    assert len(messages(other)) == 4
    assert messages(other, ignore=["params/media.ad.id"]) == [
        "bitrateChange is missing: expected as #16, 24.6 s after play #12"
    ]
    assert messages(other, ignore=["bitrateChange:*", "*:params/media.ad.*"]) == []
    assert messages(other, ignore=["bitrateChange:*"], any_value=["adStart:params/media.ad.id"]) == []
    version = recorded(
        pinged(film()),
        changed=lambda value: (
            value.get("params", {}).update({"media.sdkVersion": "9"}) if value["eventType"] == "sessionStart" else None
        ),
    )
    assert messages(version) == []
    assert messages(version, ignore=["!params/media.sdkVersion"]) == [
        'sessionStart #1: params/media.sdkVersion is "9", expected "app-1.2"'
    ]
    refused = replace(
        EXPECTED, exchanges=(*EXPECTED.exchanges[:-1], replace(EXPECTED.exchanges[-1], response=builders.response(500)))
    )
    assert messages(refused) == []
    assert messages(refused, ignore=["!status"]) == ["sessionEnd #73: status is 500, expected 204"]


def test_tolerances_can_be_set():
    other = recorded(
        [
            replace(cue, at_s=cue.at_s + 3, playhead_s=cue.playhead_s + 3) if cue.type == "error" else cue
            for cue in pinged(film())
        ]
    )
    assert len(messages(other)) == 1
    assert len(messages(other, ignore=["distance"])) == 1
    assert len(messages(other, playhead_tolerance_s=3)) == 1
    assert messages(other, playhead_tolerance_s=3, distance_tolerance_s=3) == []
    length = recorded(
        pinged(film()),
        changed=lambda value: (
            value["params"].update({"media.length": 601}) if value["eventType"] == "sessionStart" else None
        ),
    )
    assert len(messages(length)) == 1
    assert messages(length, tolerances={"params/media.length": 1}) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], 'f.json: "compare" must be an object, not an array'),
        ({"ignored": []}, "f.json: unknown member 'ignored' in \"compare\"; did you mean ignore?"),
        ({"ignore": "qoeData"}, 'f.json: "compare" member ignore must be a list of strings, such as ["qoeData"]'),
        ({"ignore": ["media.ad.id"]}, "f.json: \"compare\" member ignore: 'media.ad.id' names no member of an event"),
        ({"ignore": ["ping"]}, "f.json: \"compare\" member ignore: 'ping' is a type of event, not a place"),
        ({"ignore": ["ping:"]}, "f.json: \"compare\" member ignore: 'ping:' names no place"),
        ({"ignore": ["parms"]}, "f.json: \"compare\" member ignore: 'parms' names no member of an event; did you mean params?"),
        ({"ignore": ["qeoData/x"]}, "f.json: \"compare\" member ignore: 'qeoData/x' names no member of an event; did you mean qoeData?"),
        ({"ignore": ["!adStrt:params/x"]}, "f.json: \"compare\" member ignore: '!adStrt:params/x' names no known type of event; did you mean adStart?"),
        ({"tolerances": {"pong:playhead": 1}}, "f.json: \"compare\" member tolerances: 'pong:playhead' names no known type of event; did you mean ping?"),
        ({"playhead_tolerance_s": -1}, 'f.json: "compare" member playhead_tolerance_s must be a number from 0 on, not the number -1'),
        ({"tolerances": {"params/media.length": "1"}}, "f.json: \"compare\" member tolerances/params/media.length must be a number from 0 on, not the string '1'"),
    ],
)  # fmt: skip
def test_what_a_fixture_says_wrongly_is_told(value: Any, message: str):
    with pytest.raises(SettingsError) as caught:
        Compare.parsed(value, "f.json")
    assert str(caught.value) == message


def test_types_of_events_of_ones_own_can_be_named():
    compare = Compare.parsed({"ignore": ["rebuffer:params/x", "adStarted*:playhead", "*:qoeData"]}, "f.json")
    assert [
        compare.level(*each) for each in (("rebuffer", "params/x"), ("adStarted", "playhead"), ("any", "qoeData"))
    ] == [Level.IGNORED] * 3
    with pytest.raises(SettingsError) as caught:
        compare.with_rules(["!adStarted:playhead"], "--ignore")
    assert caught.value.hint == "if it is a type of your own, write '!adStarted*:playhead'"


def test_text_of_all_scripts_is_shown_as_it_is():
    names = {"media.name": "Straße", "media.channel": "a\u202eb\x7f\n漢字 \u00a0\ud800"}
    other = recorded(
        pinged(film()),
        changed=lambda value: value["params"].update(names) if value["eventType"] == "sessionStart" else None,
    )
    assert messages(other) == [
        'sessionStart #1: params/media.name is "Straße", expected "A film"',
        'sessionStart #1: params/media.channel is "a\\u202eb\\x7f\\n漢字 \u00a0\\ud800", expected "Sports"',
    ]
    assert "Stra\\u" not in text(compare_tracking(other, EXPECTED))


@pytest.mark.one_version
def test_four_times_as_many_events_take_little_more_than_four_times_as_many_steps():
    """Also if hardly anything in them agrees."""
    few, many = (_steps_of_comparing(number) for number in (300, 1_200))
    for one, other in zip(few, many, strict=True):
        assert other < 6 * one


def _steps_of_comparing(number: int) -> list[int]:
    """Return how many calls it takes to compare sessions that agree, and sessions that do not."""
    pings = [Cue(at_s=10.0 * n, type="ping", playhead_s=10.0 * n) for n in range(1, number)]
    plays = [Cue(at_s=n, type=("play", "pauseStart", "bufferStart")[n % 3]) for n in range(1, number)]
    odd = [Cue(at_s=7.0 * n, type=("play", "adStart", f"x{n}")[n % 3], playhead_s=n * 3) for n in range(1, number)]
    begin = Cue(at_s=0, type="sessionStart")
    sessions = [recorded([begin, *cues]) for cues in (pings, plays, odd)]
    for each in sessions:
        compare_tracking(each, each)  # bodies are read once
    return [_calls(sessions[one], sessions[other]) for one, other in ((0, 0), (1, 2), (2, 1))]


def _calls(one: HeldSession, other: HeldSession) -> int:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        compare_tracking(one, other)
    finally:
        sys.setprofile(before)
    return calls
