from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from proxy_addon.core.events import read_body
from proxy_addon.core.protocol import EVENT_TYPES, PARAMS_REQUIRED
from proxy_addon.demo.player import CLIP, Cue, Sent, body_of, line_of, main, timed

START_MS = 1_700_000_000_000


def test_all_event_types_are_known():
    assert {cue.type for cue in CLIP} <= set(EVENT_TYPES)


def test_steps_are_in_order_and_last_about_six_seconds():
    offsets = [cue.at_s for cue in CLIP]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    assert 5 < offsets[-1] < 7


def test_there_is_one_start_and_one_end():
    types = [cue.type for cue in CLIP]
    assert types[0] == "sessionStart"
    assert types[-2:] == ["sessionComplete", "sessionEnd"]
    assert types.count("sessionStart") == types.count("sessionEnd") == 1


def test_the_ad_is_inside_its_break_and_nothing_plays_before_it():
    types = [cue.type for cue in CLIP]
    bookends = [types.index(name) for name in ("adBreakStart", "adStart", "play", "adComplete", "adBreakComplete")]
    assert bookends == sorted(bookends)
    assert types.index("adBreakComplete") < len(types) - 1 - types[::-1].index("play")


def test_the_playhead_moves_with_the_clock_while_content_plays_and_only_then():
    plays = False
    for before, after in pairwise(CLIP):
        if before.type in ("play", "pauseStart", "bufferStart", "sessionComplete"):
            plays = before.type == "play" and before.at_s > 2  # the first one plays the ad
        moved_s = after.at_s - before.at_s if plays else 0.0
        assert after.playhead_s - before.playhead_s == pytest.approx(moved_s), after


def test_events_that_need_params_have_them():
    assert all(cue.params for cue in CLIP if cue.type in PARAMS_REQUIRED)
    assert CLIP[0].params["media.length"] == CLIP[-1].playhead_s


@pytest.mark.parametrize("speed", [0.5, 1, 20, 1000])
def test_no_two_events_share_a_time(speed):
    times = [ts_ms for _, ts_ms in timed(CLIP, START_MS, speed)]
    assert times[0] == START_MS
    assert all(after > before for before, after in pairwise(times))


def test_a_body_has_no_empty_members():
    assert json.loads(body_of(Cue(at_s=0, type="play", playhead_s=1.5), START_MS)) == {
        "playerTime": {"playhead": 1.5, "ts": START_MS},
        "eventType": "play",
    }


def test_a_body_is_read_as_what_it_says():
    (event,) = read_body(body_of(CLIP[0], START_MS)).events
    assert (event.type, event.playhead_s, event.ts_ms) == ("sessionStart", 0.0, START_MS)
    assert event.text("media.id") == "demo-clip"


def test_a_line_tells_when_what_where_and_the_answer():
    at = datetime(2026, 1, 2, 12, 0, 1, 234000, UTC)
    ts_ms = int(at.timestamp() * 1000)
    sent = Sent(cue=Cue(at_s=0, type="sessionStart"), ts_ms=ts_ms, status=201, session_id="4a0f")
    assert line_of(sent) == "  12:00:01.234  sessionStart     playhead  0.0 s  201  session 4a0f"


@pytest.mark.parametrize("arguments", [[], ["localhost:8080"], ["http://127.0.0.1:1", "--speed", "0"]])
def test_bad_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as e:
        main(arguments)
    assert e.value.code == 2
    assert "usage:" in capsys.readouterr().err
