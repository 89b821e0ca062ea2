"""What is drawn of a session: spans, silences, the device's clock, and the verdict in a word and a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.timelines.marks import MOST_DUE, Mark, marks_of, placed, silences_of, skew_of
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.timelines.spans import Span
from proxy_addon.core.timelines.verdicts import Level
from tests import builders, pictured
from tests.builders import BEGIN_MS, START_PARAMS
from tests.pictured import picture
from tests.played import Cue, film, pinged, recorded


def _told(of: Picture, spans: list[Span]) -> list[tuple[float, float, str, str]]:
    return [
        ((span.begin_ms - of.begin_ms) / 1000, (span.end_ms - of.begin_ms) / 1000, span.name, span.fate.value)
        for span in spans
    ]


def _states(of: Picture) -> list[tuple[float, float, str]]:
    return [told[:3] for told in _told(of, of.spans.playback)]


def test_a_film_is_content_ads_a_pause_a_seek_and_buffering():
    drawn = picture(pictured.film_with_ads())
    assert _states(drawn) == [
        (0.4, 35.4, "ad"),
        (35.4, 97, "content"),
        (97, 131, "paused"),
        (131, 188, "content"),
        (188, 218, "ad"),
        (218, 262, "content"),
        (262, 264, "paused"),
        (264, 291, "content"),
        (291, 294, "buffering"),
        (294, 467.5, "content"),
        (467.5, 467.6, "over"),
    ]
    assert _told(drawn, drawn.spans.breaks) == [
        (0.4, 35.4, "break 1", "completed"),
        (188, 218, "break 2", "completed"),
    ]
    assert [told[2:] for told in _told(drawn, drawn.spans.ads)] == [
        ("Spot 1.1", "completed"),
        ("Spot 1.2", "completed"),
        ("Spot 2.1", "completed"),
    ]
    assert _told(drawn, drawn.spans.chapters)[1] == (246, 467.5, "Chapter 2", "completed")
    assert _told(drawn, drawn.spans.states) == [(72, 150, "fullScreen", "completed")]
    assert drawn.silences == []
    assert (drawn.glance.level, drawn.glance.headline) == (Level.PASS, "No errors or warnings.")
    numbered = {mark.type: mark.place for mark in drawn.marks}
    assert drawn.spans.after[numbered["bufferStart"]] == "buffering"
    assert numbered["adBreakStart"] in drawn.spans.in_break
    assert sorted(drawn.spans.rank.values()) == list(range(len(drawn.marks)))


def test_trouble_is_drawn_as_reports_count_it():
    drawn = picture(pictured.troubled())
    assert (232, 288, "stalled") in _states(drawn)
    assert _told(drawn, drawn.spans.ads) == [(0.3, 15, "Kaffee", "completed"), (96, 106, "Verirrt", "ignored")]
    assert drawn.spans.chapters == []  # upstream refused it
    assert _told(drawn, drawn.spans.states) == [(40, 370, "fullscreen", "open")]
    (silence,) = drawn.silences
    assert (silence.begin_ms - BEGIN_MS, silence.end_ms - BEGIN_MS) == (115_000, 192_000)
    assert [due - BEGIN_MS for due in silence.due_ms] == [125_000 + 10_000 * n for n in range(7)]
    assert [mark.type for mark in drawn.marks if mark.place == silence.ended] == ["ping"]
    refused = [mark.place for mark in drawn.marks if not mark.is_taken]
    assert refused == [(11, ""), (27, ""), (39, "")]
    assert not drawn.spans.rank.keys() & set(refused)


def test_what_upstream_said_stands_below_the_finding_that_explains_it():
    told = picture(pictured.troubled()).findings
    assert [(each.finding.rule, each.below) for each in told if each.finding.rule.startswith("upstream-refused")] == [
        ("upstream-refused", 0),
        ("upstream-refused", 2),
    ]
    assert [each.finding.rule for each in told[:3]] == ["param-type", "ad-outside-break", "event-type-unknown"]
    severities = [each.finding.severity.weight for each in told]
    assert severities == sorted(severities, reverse=True)


@pytest.mark.parametrize(
    ("cut_at", "ads", "breaks"),
    [
        ("adComplete", [("Spot 1.1", "open")], [("break 1", "open")]),
        ("adBreakComplete", [("Spot 1.1", "completed"), ("Spot 1.2", "completed")], [("break 1", "open")]),
    ],
)
def test_what_has_not_ended_is_open_until_the_last_event(cut_at, ads, breaks):
    cues = film()
    held = recorded(cues[: next(k for k, cue in enumerate(cues) if cue.type == cut_at)])
    drawn = picture(held)
    assert [told[2:] for told in _told(drawn, drawn.spans.ads)] == ads
    assert [told[2:] for told in _told(drawn, drawn.spans.breaks)] == breaks


def test_an_ad_ends_as_it_is_told_or_when_another_begins():
    ad = {"media.ad.id": "a", "media.ad.name": "A", "media.ad.length": 9, "media.ad.podPosition": 1}
    cues = [
        Cue(at_s=0, type="sessionStart", params=START_PARAMS),
        Cue(at_s=1, type="adBreakStart", params={"media.ad.podFriendlyName": "b"}),
        Cue(at_s=2, type="adStart", params=ad),
        Cue(at_s=4, type="adSkip"),
        Cue(at_s=5, type="adStart", params=ad | {"media.ad.name": "B"}),
        Cue(at_s=6, type="adStart", params=ad | {"media.ad.name": "C"}),
        Cue(at_s=8, type="adBreakComplete"),
        Cue(at_s=9, type="chapterStart", params={"media.chapter.index": 1}),
        Cue(at_s=10, type="chapterSkip"),
    ]
    drawn = picture(recorded(cues))
    assert [told[1:] for told in _told(drawn, drawn.spans.ads)] == [
        (4, "A", "skipped"),
        (6, "B", "cut"),
        (8, "C", "cut"),
    ]
    assert _told(drawn, drawn.spans.chapters) == [(9, 10, "chapterStart", "skipped")]


def _mark(at_s: float, *, later_s: float = 0, type: str = "ping") -> Mark:
    device_ms = BEGIN_MS + round(at_s * 1000)
    return Mark(seq=round(at_s * 10), type=type, device_ms=device_ms, arrived_ms=device_ms + later_s * 1000)


def test_a_silence_is_by_arrival_and_its_pings_are_due_by_the_device():
    assert list(silences_of([_mark(0), _mark(15)])) == []
    (silence,) = silences_of([_mark(0), _mark(15.1), _mark(10, later_s=100)][:2])
    assert silence.due_ms == (BEGIN_MS + 10_000,)
    (silence,) = silences_of([_mark(0), _mark(90_000)])
    assert len(silence.due_ms) == MOST_DUE
    assert list(silences_of([_mark(0, later_s=0), _mark(-1, later_s=60)])) == []  # the clock was set back


def test_a_clock_that_is_wrong_or_steps_once_slants_no_arrival():
    marks = [_mark(n * 10, later_s=3600 + n / 1000) for n in range(20)]
    skew = skew_of([*marks, *(_mark(300 + n, later_s=9000) for n in range(5))])
    assert skew.quickest == pytest.approx(3_600_002, abs=1)
    assert skew.median == pytest.approx(3_600_012, abs=1)
    assert skew_of([]).median == 0


def test_an_event_whose_ts_is_wrong_is_drawn_where_it_arrived():
    right = [_mark(n * 10, later_s=2) for n in range(1, 5)]
    in_seconds = replace(_mark(25, later_s=2), device_ms=(BEGIN_MS + 25_000) // 1000)
    drawn = placed([*right, in_seconds], is_batch=False)
    assert drawn[:-1] == right
    assert drawn[-1].device_ms == BEGIN_MS + 25_000
    assert drawn[-1].off_ms == in_seconds.device_ms - drawn[-1].device_ms
    a_day_early = replace(_mark(1, later_s=2), device_ms=BEGIN_MS - 86_400_000)
    assert placed([a_day_early, *right], is_batch=False)[0].device_ms == BEGIN_MS + 1_000


@pytest.mark.parametrize(
    "marks",
    [
        [_mark(n * 10, later_s=90_000) for n in range(4)],  # the clock of the device is wrong, all the time
        [_mark(0), _mark(10, later_s=3_000), _mark(20, later_s=2_990)],  # queued for 50 minutes
        [],
    ],
)
def test_a_clock_that_is_wrong_all_the_time_and_what_was_queued_are_drawn_by_the_device(marks):
    assert placed(marks, is_batch=False) == marks


def test_of_two_clocks_the_one_that_is_nearer_to_the_recorders_is_right():
    drawn = placed([_mark(0, later_s=90_000), _mark(10)], is_batch=False)
    assert [mark.off_ms != 0 for mark in drawn] == [True, False]


def test_events_of_a_batch_may_be_days_apart_but_not_years():
    sent = [replace(_mark(n * 86_400), arrived_ms=BEGIN_MS + 9 * 86_400_000) for n in range(4)]
    assert placed(sent, is_batch=True) == sent
    years_early = replace(sent[1], device_ms=sent[1].device_ms // 1000)
    drawn = placed([sent[0], years_early, *sent[2:]], is_batch=True)
    assert [mark.off_ms < 0 for mark in drawn] == [False, True, False, False]
    assert sent[0].device_ms <= drawn[1].device_ms <= sent[3].device_ms


def test_a_wrong_ts_bends_no_lane_and_counts_all_the_same():
    held = recorded(pinged(film()))
    wrong = [n for n, each in enumerate(held.exchanges) if b'"ping"' in each.request.body][9]
    body = json.loads(held.exchanges[wrong].request.body)
    body["playerTime"]["ts"] -= 86_400_000
    exchange = held.exchanges[wrong]
    changed = replace(exchange, request=replace(exchange.request, body=json.dumps(body).encode()))
    drawn = picture(replace(held, exchanges=(*held.exchanges[:wrong], changed, *held.exchanges[wrong + 1 :])))
    plain = picture(held)
    ends = [(each.spans.playback[0].begin_ms, each.spans.playback[-1].end_ms) for each in (plain, drawn)]
    assert ends[0] == ends[1]
    assert sum(drawn.spans.counted_ms.values()) > sum(plain.spans.counted_ms.values()) + 86_000_000
    assert drawn.spans.counted_ms["content"] == drawn.metrics.values["content_time_spent_s"] * 1000


def test_one_mark_stands_for_what_cannot_be_read_and_none_for_a_preflight():
    (unreadable,) = marks_of(builders.event(body=b"{", after_s=3), 7)
    assert (unreadable.type, unreadable.place, unreadable.device_ms) == ("(not readable)", (7, ""), BEGIN_MS + 3000)
    assert list(marks_of(builders.preflight(), 8)) == []
    events: list[Any] = [builders.event_dict("play", ts=None), {"eventType": 5}, "x"]
    assert [(mark.type, mark.pointer) for mark in marks_of(builders.batch(events), 1)] == [
        ("play", "/0"),
        ("(no event type)", "/1"),
        ("(no event type)", "/2"),
    ]


def test_a_batch_has_no_silences_and_its_own_order():
    drawn = picture(pictured.downloaded())
    assert drawn.is_batch
    assert drawn.silences == []
    assert [mark.pointer for mark in drawn.marks] == [f"/{n}" for n in range(len(drawn.marks))]
    assert _states(drawn)[0] == (0.4, 35.4, "ad")


@pytest.mark.parametrize(
    ("cues", "now_s", "ended"),
    [
        (film(), None, "ended at 12:07:47 UTC"),
        (film()[:-1], None, "content completed at 12:07:47 UTC"),
        (film()[:-2], None, "never ended by the player, so it expired"),
        (film()[:2], 100.4, "open, expires in 8:20 unless an event comes"),
        (
            [*film()[:2], Cue(at_s=700, type="ping")],
            None,
            "closed by the back end after 10 minutes of silence, 1 later event dropped",
        ),
    ],
)
def test_how_a_session_ended_or_will(cues, now_s, ended):
    assert picture(recorded(cues), now_s=now_s).glance.ended == ended


def test_a_start_that_was_refused_fails_and_a_call_that_was_refused_warns():
    refused = builders.start(response=builders.response(403), session_id=None)
    (held,) = fold([refused])
    drawn = picture(held)
    assert drawn.glance.level is Level.FAIL
    assert drawn.glance.headline.startswith("The start was answered 403, so nothing counts.")
    assert drawn.glance.ended == "no session was opened"

    held = recorded(pinged(film()))
    gone = replace(held.exchanges[30], response=builders.response(503))
    drawn = picture(replace(held, exchanges=(*held.exchanges[:30], gone, *held.exchanges[31:])))
    assert drawn.glance.level is Level.WARN
    assert ("failed", 1, "bad") in drawn.glance.counts
    assert drawn.glance.headline == "Some requests were refused, not answered or lost."


@pytest.mark.parametrize(
    ("opening", "headline", "counts"),
    [
        ({"session_id": None}, "The start was answered 201 without a session ID.", (0, 0)),
        ({"outcome": Outcome.UPSTREAM_TIMEOUT}, "The start got no answer.", (0, 1)),
        ({"outcome": Outcome.UPSTREAM_UNREACHABLE}, "The start got no answer, so nothing counts.", (0, 1)),
        ({"outcome": Outcome.UPSTREAM_CLOSED}, "The start has no answer in the recording.", (0, 1)),
        ({"outcome": Outcome.REJECTED}, "The start was refused by the recorder, so nothing counts.", (1, 0)),
    ],
)
def test_a_headline_says_of_a_start_that_nothing_counts_only_if_so(opening, headline, counts):
    drawn = picture(fold([builders.start(**opening)])[0])
    assert drawn.glance.headline.startswith(headline)
    assert drawn.metrics.is_empty is ("nothing counts" in headline)
    told = {name: number for name, number, _ in drawn.glance.counts}
    assert (told["refused"], told["no answer"]) == counts


@pytest.mark.parametrize(
    ("type", "ended"),
    [("sessionEnd", "ended at 12:00:05 UTC"), ("sessionComplete", "content completed at 12:00:05 UTC")],
)
def test_a_session_ended_when_it_said_so_whatever_came_afterwards(type, ended):
    late = builders.event("ping", id="late", after_s=11, playhead=9)
    drawn = picture(fold([builders.start(), builders.event(type, id="end", after_s=5), late])[0])
    assert drawn.glance.ended == ended


def test_a_headline_names_three_troubles_and_counts_the_others():
    headline = picture(pictured.troubled()).glance.headline
    assert headline == (
        "media.chapter.offset is the string '0'; expected a number. adStart with no ad break open. "
        "eventType 'sessionPause' is unknown. And 3 more."
    )
    held = pictured.film_with_ads()
    lost = picture(replace(held, session=replace(held.session, lost=2)))
    assert lost.glance.level is Level.WARN
    assert lost.glance.counts[-1] == ("lost", 2, "bad")


def test_a_session_without_events_can_be_drawn():
    (held,) = fold([builders.start(body=b"")])
    drawn = picture(held)
    assert drawn.spans.playback == []
    assert drawn.begin_ms == round(held.session.started_at.timestamp() * 1000)
    assert drawn.silences == []
    assert drawn.as_of.now - held.session.last_event_at == timedelta(days=1)
