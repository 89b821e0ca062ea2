"""Tables on terminals of several widths and without a terminal, with the worst texts that devices can send."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.rules import RULES
from storage import saving
from storage.engine import Store
from storage.saving import Judged, RecordingRun
from tests import builders, forking, stores
from tests.builders import BEGIN, BEGIN_MS, OTHER_SESSION_ID, SESSION_ID, START_PARAMS, event_dict, response
from tests.integration.test_replay import MAX, arguments
from tests.processes import COMMAND, collector, on_terminal, printed, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")

NOWHERE = ("--target", "http://127.0.0.1:9")
WIDTHS = [60, 80, 100, 120, 200]
LONG = "a name that goes on and on " * 8
WIDE = "海の三秒間、とても長い題名の映画、第百二十三回"
EVIL = "\x1b[31mred\x1b]0;owned\x07\u202eevil\r\nline"
REFUSED = response(400, body=b'{"message": "Request had improper format."}')
BAD_SESSION = "bad0" * 16


def _playback(session_id: str, after_s: float, name: str, *, player: str = "HTML5 Player") -> list[Any]:
    params = {**START_PARAMS, "media.name": name, "media.playerName": player}
    device = (("Content-Type", "application/json"), ("User-Agent", f"Mozilla/5.0 ({LONG})"))
    of: dict[str, Any] = {"session_id": session_id}
    return [
        builders.start(id=f"{session_id}0", after_s=after_s, params=params, headers=device, **of),
        builders.event("play", id=f"{session_id}1", after_s=after_s + 1, **of),
        builders.event("ping", id=f"{session_id}2", after_s=after_s + 11, playhead=10, **of),
        builders.event("sessionEnd", id=f"{session_id}3", after_s=after_s + 15, playhead=14, **of),
    ]


def _refused(number: int) -> Any:
    body = event_dict("ping", playhead=str(number), ts=BEGIN_MS + 500_000 + number * 10_000)  # type: ignore[arg-type]
    of: dict[str, Any] = {"session_id": BAD_SESSION, "after_s": 500 + number * 10, "response": REFUSED}
    return builders.event(id=f"r{number}", body=builders.body(body), **of)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with what strains a table: long, wide, empty and hostile texts, and one mistake made 96 times."""
    url = f"sqlite:///{tmp_path_factory.mktemp('tables') / 'tape.db'}"
    pings = [event_dict("ping", ts=BEGIN_MS + 1 + i * 10_000, playhead=i, params={"media.x": 1}) for i in range(3)]
    exchanges = [
        *_playback(SESSION_ID, 0, LONG, player=LONG),
        *_playback(OTHER_SESSION_ID, 100, WIDE, player=WIDE),
        *_playback("e1" * 32, 200, EVIL, player=EVIL),
        builders.event("x" * 2000, id="e14", session_id="e1" * 32, after_s=212, playhead=1e308),
        builders.event("ping", id="e15", session_id="e1" * 32, after_s=213, playhead=-1e308),
        *_playback("e2" * 32, 300, "", player=""),
        builders.start(id="r0", after_s=500, session_id=BAD_SESSION),
        *(_refused(number) for number in range(1, 97)),
        builders.batch([event_dict("sessionStart", ts=BEGIN_MS, playhead=0), *pings], id="b", after_s=3000),
        builders.start(id="f1", session_id=None, after_s=4000, response=response(500)),
        builders.start(id="f2", after_s=4003, response=None, outcome=Outcome.UPSTREAM_UNREACHABLE),
        builders.exchange("GET", "/api/v1/schemas/play", id="o1", after_s=86440, response=response(200, body=b"{}")),
        builders.exchange("POST", f"/api/v1/{'x' * 300}", id="o2", after_s=86442, response=response(404)),
    ]
    store = Store(url)
    stores.upgrade(store)
    recording = RecordingRun(id="r", name="a recording with a long name", started_at=BEGIN, version="0")
    with store.write() as db:
        saving.save(db, recording, [Judged(exchange, judge_exchange(exchange)) for exchange in exchanges])
    store.close()
    return url


def heads(line: str) -> list[str]:
    return [head for head in line.split("  ") if head.strip()]


def assert_fits(lines: list[str], columns: int) -> None:
    assert [line for line in lines if cell_len(line) > columns] == []
    assert [line for line in lines if "\x1b" in line or "\u202e" in line] == []


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_list_of_sessions_fits_and_an_id_that_is_shown_names_its_session(tape, columns):
    sessions = printed("sessions", "--store", tape)
    ids = [session["id"] for session in sessions]
    table = on_terminal("sessions", "--store", tape, columns=columns)
    assert_fits(table, columns)
    assert {"id", "state", "events", "findings"} <= {head.strip() for head in heads(table[0])}
    assert len(table) == 1 + len(sessions)
    for line, id in zip(table[1:], ids, strict=True):
        assert id.startswith(line.split()[0])
        assert len(line.split()[0]) >= 8


@pytest.mark.parametrize("columns", [80, 120])
def test_whatever_a_device_sent_lines_fit_the_terminal(tape, columns):
    for command, code in (
        (["show", SESSION_ID], 0), (["show", OTHER_SESSION_ID, "--bodies"], 0), (["show", "e1e1"], 0),
        (["show", BAD_SESSION], 0), (["exchanges"], 0), (["check", "--all"], 1),
        (["diff", SESSION_ID, BAD_SESSION], 1), (["replay", "--all", *NOWHERE, "--dry-run"], 0),
    ):  # fmt: skip
        assert_fits(on_terminal(*command, "--store", tape, columns=columns, code=code), columns)


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_of_rules_shows_each_rule_in_full(columns):
    lines = on_terminal("rules", columns=columns)
    assert_fits(lines, columns)
    rules = iter(RULES.values())
    for line in lines[1:]:
        if not line.startswith(" "):
            rule = next(rules)
            left = f"{rule.id} {rule.severity} {rule.summary}".split()
        words = line.split()
        assert words == left[: len(words)]
        left = left[len(words) :]
    assert (next(rules, None), left) == (None, [])


def test_at_80_columns_the_rank_decides_what_stays(tape):
    shown = {columns: heads(on_terminal("sessions", "--store", tape, columns=columns)[0]) for columns in (80, 100, 200)}
    assert [head.strip() for head in shown[80]][:6] == ["id", "started (UTC)", "lasted", "state", "events", "findings"]
    assert {"media", "session ID", "recording"}.isdisjoint(map(str.strip, shown[80]))
    assert {"session ID", "recording"}.isdisjoint(map(str.strip, shown[100]))
    assert [head.strip() for head in shown[200]][-4:] == ["player", "media", "session ID", "recording"]
    for session_id in (SESSION_ID, "e1e1"):
        timeline = on_terminal("show", session_id, "--store", tape)
        head = next(line for line in timeline if line.lstrip().startswith("#"))
        assert [name for name in ("playhead s", "Δ playhead", "answer", "found") if name not in head] == []


def test_without_a_terminal_everything_is_shown_unless_columns_is_set(tape):
    done = run("sessions", "--store", tape)
    (line,) = (line for line in done.stdout.splitlines() if SESSION_ID in line)
    assert line.count(LONG.strip()) == 2
    assert "…" not in done.stdout
    narrow = forking.run([COMMAND, "sessions", "--store", tape], env={**os.environ, "COLUMNS": "80"}, text=True)
    assert max(map(cell_len, narrow.stdout.splitlines())) <= 80
    assert LONG.strip() not in narrow.stdout
    check = run("check", BAD_SESSION, "--store", tape).stdout.splitlines()
    assert len(check) == 6, "each finding is one line"


def test_one_mistake_made_96_times_is_told_once_with_what_follows_from_it(tape):
    lines = run("check", BAD_SESSION, "--store", tape).stdout.splitlines()
    (place,) = (number for number, line in enumerate(lines) if "playhead-type" in line)
    assert lines[place].startswith("  #2 +0:10.000 ping  error   playhead-type: ")
    assert "(96 times, with other values too: #2, #3, #4, #5, #6, …)" in lines[place]
    assert lines[place + 1].strip().startswith("└ warning upstream-refused: ")
    assert "(96 times: #2, #3, #4, #5, #6, …)" in lines[place + 1]
    assert "96 errors, 96 warnings" in lines[-1]
    document = printed("check", BAD_SESSION, "--store", tape, code=1)
    assert document["counts"]["error"] == 96
    places = [finding["seq"] for finding in document["sessions"][0]["findings"] if finding["seq"]]
    assert places == sorted(places)
    shown = run("show", BAD_SESSION, "--store", tape).stdout
    assert shown.count("playhead-type") == 1
    assert shown.count("1E 1W") == 96, "each row says that something was found"


def test_places_in_a_batch_are_written_as_its_rows_are_named(tape):
    batch = next(session["id"] for session in printed("sessions", "--store", tape) if session["exchanges"] == 1)
    shown = next(
        run("show", session["id"], "--store", tape).stdout
        for session in printed("sessions", "--store", tape)
        if session["events"] == 4 and session["exchanges"] == 1
    )
    assert batch
    assert "#1/2 +0:00.000 ping" in shown
    assert "(3 times: #1/2, #1/3, #1/4)" in shown
    (row,) = (line for line in shown.splitlines() if line.strip().startswith("1/2 "))
    assert row.rstrip().endswith(("1W", "1I", "1W 1I"))


def test_what_a_file_lacks_is_told_once_with_the_exchanges_that_lack_it():
    file = Path(__file__).parents[1] / "samples" / "captures" / "playwright-1.65-chromium-bodies-missing.har"
    shown = run("show", str(file)).stdout
    assert shown.count("POST, body not in the file") == 4
    assert run("show", str(file), "--bodies").stdout.count("    request  not in the file\n") == 4
    notes = shown.partition("\nNotes\n")[2].partition("\n\n")[0].splitlines()
    assert notes == [
        "  #1  the tool says net::ERR_ABORTED, although there is an answer",
        "  #2, #3, #9  its body is not in the file: Chromium does not report a body that is a Blob or comes from a cloned Request",
        "  #7  its body is not in the file: Playwright does not keep a body without Content-Type",
        "  #9  the browser never sent it, because its preflight failed: net::ERR_FAILED",
    ]


def test_times_are_local_where_asked_for_and_the_zone_is_told(tape):
    berlin = {"TZ": "Europe/Berlin", "COLUMNS": "200"}
    for command, utc, local in (
        (["sessions"], "started (UTC)", "started (CET)"),
        (["show", SESSION_ID], "2026-03-01 12:00:00 UTC", "2026-03-01 13:00:00 CET"),
        (["diff", SESSION_ID, SESSION_ID], "2026-03-01 12:00:00 UTC", "2026-03-01 13:00:00 CET"),
        (["exchanges"], "2026-03-02 12:00:40.000", "2026-03-02 13:00:40.000"),
    ):
        assert utc in run(*command, "--store", tape).stdout
        done = forking.run([COMMAND, *command, "--local", "--store", tape], env=os.environ | berlin, text=True)
        assert local in done.stdout, done.stderr
    assert printed("sessions", "--local", "--limit", "1", "--store", tape)[0]["started_at"].endswith("Z")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_replay_fits_while_it_goes_on_and_when_it_is_listed(tape, tmp_path: Path, columns):
    with collector(tmp_path) as target:
        options = arguments(tape, target.url, BAD_SESSION, *MAX)
        shown = on_terminal(*options, columns=columns, code=1)
    pieces = [piece for line in shown for piece in line.split("\r")]
    assert any("/97 steps" in piece for piece in pieces)
    assert not any("sessions" in piece and "replaying" in piece for piece in pieces)
    assert [piece for piece in pieces if cell_len(piece) > columns] == []
    runs = on_terminal("runs", "--store", tape, columns=columns)
    assert_fits(runs, columns)
    assert heads(runs[0])[0].strip() == "run"
    assert target.url in runs[1]
    assert "96 different, 1 same" in runs[1]
    assert ("started (UTC)" in runs[0], "changes" in runs[0]) == (columns >= 80, columns >= 120)


def test_colours_are_left_out_where_nobody_wants_them(tape):
    coloured = on_terminal("sessions", "--store", tape, plain=False)
    assert any("\x1b[3" in line for line in coloured)
    plain = on_terminal("sessions", "--store", tape, plain=False, NO_COLOR="1")
    assert not any("\x1b[3" in line for line in plain)
