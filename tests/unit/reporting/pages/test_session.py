"""The value of a session's page: what its script draws, and the requests that it reads when an event is opened."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.sessions import AsOf
from proxy_addon.reporting.pages.session import session_page, traffic
from proxy_addon.reporting.pages.sessions import row_of
from tests import builders, pictured
from tests.builders import START_PARAMS
from tests.played import Cue, film, recorded


def test_a_place_of_a_finding_is_a_number_and_a_pointer_into_its_event():
    value = session_page(pictured.picture(pictured.troubled()))
    wrong = value.findings[0]
    assert (wrong["rule"], wrong["places"], wrong["pointers"]) == ("param-type", [11], ["/params/media.chapter.offset"])
    assert value.events["f"][value.events["n"].index(11)] == [0, 6]  # and what upstream said of it
    assert wrong["fix"]

    batch = session_page(pictured.picture(pictured.downloaded()))
    typed = next(each for each in batch.findings if "media.ad.length" in each["message"])
    assert len(typed["places"]) == 1
    place = batch.events["n"].index(typed["places"][0])
    assert typed["pointers"] == ["/params/media.ad.length"]
    assert (batch.kinds[batch.events["k"][place]], batch.events["x"][place]) == ("adStart", "Spot 1.2")
    assert (batch.events["q"][place], batch.events["e"][place]) == (1, typed["places"][0])


def test_columns_are_of_one_length_and_the_document_is_json():
    for held in (pictured.timeline(1), pictured.troubled(), pictured.hostile(), pictured.downloaded()):
        value = session_page(pictured.picture(held))
        assert {len(column) for column in value.events.values()} == {len(value.events["n"])}
        document = value.document()
        assert json.loads(json.dumps(document, allow_nan=False))["form"] == 1
        assert max(map(len, value.events["x"])) <= 200
        assert value.end_s >= max(value.events["t"])


@pytest.mark.parametrize(
    ("length", "drawn"),
    [(600.5, 600.5), (0, None), (-1, None), (True, None), ("600", None), (10**400, None), (1e300, None)],
)
def test_only_a_length_that_can_be_drawn_is_one(length, drawn):
    cues = [Cue(at_s=0, type="sessionStart", params={**START_PARAMS, "media.length": length}), Cue(at_s=1, type="play")]
    assert session_page(pictured.picture(recorded(cues))).media_length_s == drawn


def test_what_is_not_counted_has_a_reason_and_no_rank():
    cues = [*film()[:2], Cue(at_s=700, type="ping")]
    value = session_page(pictured.picture(recorded(cues)))
    assert value.events["st"][-1] == "dropped: after 10 minutes of silence"
    assert value.events["r"][-1] == -1
    assert value.dropped == [(3, "dropped: after 10 minutes of silence")]
    assert value.closed_by == "timeout_idle"


def test_an_open_session_has_a_present_and_says_when_it_expires():
    value = session_page(pictured.picture(pictured.live(), now_s=400))
    assert value.now_s == pytest.approx(400, abs=0.1)
    assert value.live
    assert value.verdict["expires_at"] == "2026-03-01T12:16:26.050Z"
    assert session_page(pictured.picture(pictured.live())).now_s is None


def test_a_page_that_is_kept_does_not_talk_of_an_open_session_as_if_time_went_on():
    kept = session_page(pictured.picture(pictured.live(), now_s=400), if_open="left open")
    assert (kept.now_s, kept.verdict["expires_at"], kept.verdict["ended"]) == (None, None, "left open")
    over = session_page(pictured.picture(pictured.film_with_ads()), if_open="left open")
    assert over.verdict["ended"].startswith("ended at")


def test_a_session_lasts_as_long_as_lists_say_and_has_a_date():
    held = pictured.troubled()
    value = session_page(pictured.picture(held))
    assert value.lasted_s == row_of(held.session, AsOf(now=held.session.last_event_at))["lasted_s"] != value.end_s
    assert ("Started", "2026-03-01 12:00:00 UTC", "") in value.identity


@pytest.mark.parametrize(
    ("start_s", "arrives_s"), [(0, 15), (-3000, 0.1)], ids=["a late start", "a clock that was set"]
)
def test_the_present_is_not_before_what_has_arrived(start_s, arrives_s):
    begin_ms = builders.BEGIN_MS + 1000 * start_s
    pings = [builders.event("ping", id=f"p{k}", after_s=16 + k, playhead=k) for k in range(5)]
    (held,) = fold([builders.start(after_s=arrives_s, ts=begin_ms), *pings])
    value = session_page(pictured.picture(held, now_s=21 - arrives_s))
    assert value.now_s == pytest.approx(21 - start_s, abs=0.2)
    assert value.now_s > max(value.events["a"])


def test_headers_that_are_the_same_are_told_once():
    held = pictured.film_with_ads()
    told = traffic(held.exchanges)
    assert len(told["rows"]) == len(held.exchanges)
    assert len(told["headers"]) <= 3
    start = told["rows"]["1"]
    assert start[:2] == ["POST", "/api/v1/sessions"]
    assert start[7][2][1] == [["Location", f"/api/v1/sessions/{held.session.session_id}"]]
    assert traffic([builders.preflight(), *held.exchanges[:1]])["rows"].keys() == {"2"}
    assert traffic(held.exchanges[4:5], numbers=[5])["rows"].keys() == {"5"}


def test_each_place_of_a_finding_is_marked_up_to_a_bound():
    value = session_page(pictured.picture(pictured.marathon(2200)))
    (tied,) = (each for each in value.findings if each["rule"] == "ts-equal")
    assert (
        100
        < tied["count"]
        == len(tied["places"])
        == sum(value.findings.index(tied) in each for each in value.events["f"])
    )
    cues = [Cue(at_s=0, type="sessionStart", params=START_PARAMS), *(Cue(at_s=1, type="play") for _ in range(600))]
    (tied,) = (each for each in session_page(pictured.picture(recorded(cues))).findings if each["rule"] == "ts-equal")
    assert (tied["count"], len(tied["places"])) == (599, 500)


def test_identity_says_what_is_known_and_leaves_out_what_is_not():
    held = pictured.film_with_ads()
    value = session_page(pictured.picture(replace(held, session=replace(held.session, player_name=None))))
    said = {label: shown for label, shown, _ in value.identity}
    assert said["Type"] == "vod · video"
    assert said["page"] == "film"
    assert said["Player"] == "app-1.2"
    (bare,) = fold([builders.start(body=b"{}")])
    assert "Channel" not in {label for label, _, _ in session_page(pictured.picture(bare)).identity}


def test_totals_are_the_lengths_of_what_is_drawn():
    value = session_page(pictured.picture(pictured.troubled()))
    assert math.isclose(value.totals["stalled"], 56)
    assert sum(value.totals.values()) == pytest.approx(sum(span["b"] - span["a"] for span in value.spans["playback"]))


def test_the_parts_that_were_played_are_those_that_metrics_count():
    for held in (pictured.timeline(1), pictured.timeline(2), pictured.troubled(), pictured.film_with_ads()):
        value = session_page(pictured.picture(held))
        (counted,) = (row["value"] for row in value.metrics if row["id"] == "unique_time_played_s")
        assert sum(b - a for a, b in value.played) == pytest.approx(counted)
    (jumped,) = fold(
        [builders.start(), builders.event("play"), builders.event("ping", id="p", after_s=11, playhead=3000)]
    )
    value = session_page(pictured.picture(jumped))
    assert value.played == [(0, 10)], "what is behind a jump without a pause came right before it"
