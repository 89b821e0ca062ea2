"""Sessions as one HTML file: what is in it, what is not, and that it is written whole or not at all."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.exchanges import judge_exchange
from storage import losses
from storage.engine import Store
from storage.saving import Judged, RecordingRun, save_batch
from tests import personal, stores
from tests.builders import BEGIN, SESSION_ID, START_PARAMS, UPSTREAM, event, response, start
from tests.processes import COMMAND, run
from tests.reports import parts_of, without_parts

EVIL = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m=cmd()'\"" + "x" * 10_000
MANY = 200


def stored(url: str, exchanges: list[Exchange], lost: list[Loss] | None = None) -> str:
    with closing(Store(url)) as store:
        stores.upgrade(store)
        recording = RecordingRun(id="r", name="tape", started_at=BEGIN, version="1.0")
        save_batch(store, recording, [Judged(each, judge_exchange(each)) for each in exchanges])
        if lost:
            with store.write() as db:
                losses.note(db, lost)
    return url


def playback(number: int, *, refused: int = 0, params: Mapping[str, object] | None = None) -> list[Exchange]:
    """A session that begins as many hours after the others as its number says.

    Args:
        refused: How many of its events are wrong, and refused.
    """
    begin_s, id = number * 3600, f"{number:064x}"
    sent = {**START_PARAMS, "media.id": f"film-{number}", **(params or {})}
    wrong: Any = "1"
    return [
        start(id=f"{number}a", session_id=id, after_s=begin_s, params=sent),
        event("play", id=f"{number}b", session_id=id, after_s=begin_s + 1, playhead=1),
        *(
            event(
                type, id=f"{number}c{type}", session_id=id, after_s=begin_s + 2, playhead=wrong, response=response(400)
            )
            for type in ("pauseStart", "bufferStart", "error", "ping")[:refused]
        ),
        event("sessionEnd", id=f"{number}d", session_id=id, after_s=begin_s + 9, playhead=9),
    ]


def written(output: Path, *arguments: str) -> tuple[str, str]:
    """Write a report; return it, and what was said."""
    done = run("report", *arguments, "-o", str(output))
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    return output.read_text(encoding="utf-8"), done.stderr


def test_two_hundred_sessions_are_one_file_with_the_worst_in_full(sqlite_url, tmp_path):
    evil = {"media.name": EVIL, "media.playerName": EVIL, "media.id": f"evil {EVIL}"}
    broken = {*range(20, 30)}
    sessions = [
        playback(number, refused=number in broken, params=evil if number % 2 else None) for number in range(MANY)
    ]
    stored(sqlite_url, [exchange for session in sessions for exchange in session])
    page, told = written(tmp_path / "all.html", "--all", "--store", sqlite_url)

    size = f"{len(page.encode()) / 1000:.0f} kB"
    assert told == f"200 sessions written to {tmp_path}/all.html, {size}: a list of all, and the worst 50 in full\n"
    parts = parts_of(page)
    value = parts.pop("value")
    assert (value["total"], value["in_full"], len(value["rows"])) == (MANY, 50, MANY)
    assert [row["started_at"] for row in value["rows"]] == sorted(
        (row["started_at"] for row in value["rows"]), reverse=True
    )
    whole = [row for row in value["rows"] if row["part"] is not None]
    assert {f"{kind}-{row['part']}" for row in whole for kind in ("session", "traffic")} == set(parts)
    names = {int(row["session_id"], 16) for row in whole}
    assert broken < names, "the worst"
    assert names - broken == {*range(MANY - 40, MANY)}, "and of the others the newest"
    assert value["verdicts"] == {"fail": 10, "warn": 0, "pass": 190}
    for row in whole:
        assert parts[f"session-{row['part']}"]["session"]["id"] == row["id"]
        assert len(parts[f"traffic-{row['part']}"]["rows"]) == 3 + (int(row["session_id"], 16) in broken)
        assert row["strip"]["playback"]

    outside = without_parts(page)
    assert "onerror=alert" not in outside
    assert "\u202e" not in outside
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?!data:)\w+:|@import|url\((?!["']?data:)""", outside.partition("<script")[0]
    )


def one_visitor() -> list[Exchange]:
    """Two sessions of a visitor, with a personal value wherever one can stand, and in messages of findings too."""
    found: list[Exchange] = []
    for number in range(2):
        id = f"{number:064x}"
        for each in personal.playback():
            path = each.request.path.replace(SESSION_ID, id)
            request = replace(each.request, path=path)
            answer = each.response
            if answer is not None:
                headers = tuple((name, text.replace(SESSION_ID, id)) for name, text in answer.headers)
                answer = replace(answer, headers=headers)
            at = each.received_at + timedelta(days=number)
            found.append(replace(each, id=f"p{number}{len(found)}", received_at=at, request=request, response=answer))
        bad = {"visitor.marketingCloudUserId": [personal.VISITOR], "analytics.visitorId": {"id": personal.VISITOR}}
        found.append(
            event("ping", id=f"q{number}", session_id=id, after_s=number * 86_400 + 11, playhead=11, params=bad)
        )
    return found


def one_loss() -> Loss:
    query = f"?visitorId={personal.VISITOR}&mail=query.9916%40shop.example.org"
    return Loss(
        id="lost",
        recorder="r",
        upstream=UPSTREAM,
        received_at=BEGIN + timedelta(seconds=12),
        method="POST",
        path=f"/api/v1/sessions/{0:064x}/events{query}",
        is_refused=True,
        reason="no room for zoe.customer@shop.example.org",
    )


@pytest.mark.parametrize("others", [0, 60], ids=["in full", "and in rows alone"])
def test_no_personal_value_is_in_a_report_unless_it_is_asked_for(sqlite_url, tmp_path, others):
    more = [exchange for number in range(2, others + 2) for exchange in playback(number, refused=4)]
    stored(sqlite_url, one_visitor() + more, [one_loss()])
    raw, _ = written(tmp_path / "raw.html", "--all", "--raw", "--store", sqlite_url)
    if not others:
        parts = parts_of(raw)
        messages = json.dumps([finding["message"] for k in (0, 1) for finding in parts[f"session-{k}"]["findings"]])
        assert personal.VISITOR in messages, "there is something to hide in findings"
        assert personal.VISITOR in json.dumps(parts["session-1"]["gaps"])
        assert {*personal.found_in(json.dumps(parts))} >= {personal.ECID, personal.VISITOR, "cookie-value-9901"}
        assert stat.S_IMODE((tmp_path / "raw.html").stat().st_mode) == 0o600
    found = _rules_of(parts_of(raw))

    exported = tmp_path / "two.json"
    assert (
        run("export", "--all", "--raw", "--format", "har", "-o", str(exported), "--store", sqlite_url).returncode == 0
    )
    checked = tmp_path / "checked.html"
    assert run("check", "--all", "--report", str(checked), "--store", sqlite_url).returncode == 1
    of_file = written(tmp_path / "of-file.html", str(exported))[0]
    of_store = written(tmp_path / "stored.html", "--all", "--store", sqlite_url)[0]
    for page in (of_store, checked.read_text(encoding="utf-8"), of_file):
        parts = parts_of(page)
        assert parts["value"]["pseudonymised"]
        assert personal.found_in(json.dumps(parts, ensure_ascii=False)) == []
        assert personal.found_in(page) == []
        if page is not of_file:  # all sessions of a HAR have holes if one has
            assert _rules_of(parts) == found, "tokens change nothing that is judged"
        mine = [row for row in parts["value"]["rows"] if int(row["session_id"], 16) < 2]
        assert len({row["client_address"] for row in mine}) == 1, "a visitor has one token"
        assert {row["part"] is None for row in mine} == {bool(others)}
        if not others:
            ids = [_visitor_of(parts[f"traffic-{row['part']}"]) for row in mine]
            assert ids[0] == ids[1]
    if not others:
        key = ("--key-file", str(tmp_path / "tape.key"), "--store", sqlite_url)
        parts = parts_of(written(tmp_path / "keyed.html", "--all", *key)[0])
        run("export", "--all", "--format", "har", "-o", str(exported), *key)
        assert _visitor_of(parts["traffic-0"]) in exported.read_text(encoding="utf-8"), "as in exports by this key"


def _rules_of(parts: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """Return what was found in each session in full, by its back-end ID."""
    pages = [part for name, part in parts.items() if name.startswith("session-")]
    return {
        page["session"]["session_id"]: sorted((each["rule"], each["count"]) for each in page["findings"])
        for page in pages
    }


def _visitor_of(traffic: dict[str, Any]) -> str:
    body = json.loads(traffic["rows"]["1"][4]["text"])
    return str(body["params"]["analytics.visitorId"])


def test_a_list_of_bodies_is_judged_without_its_personal_values(tmp_path):
    bodies = [json.loads(each.request.body) for each in one_visitor()[:4]]
    path = tmp_path / "bodies.json"
    path.write_text(json.dumps({"events": bodies}))
    for page, _ in (written(tmp_path / "a.html", str(path)), (checked(tmp_path / "b.html", path), "")):
        parts = parts_of(page)
        assert len(parts["session-0"]["findings"]) > 1
        assert personal.found_in(json.dumps(parts)) == []


def checked(output: Path, path: Path) -> str:
    assert run("check", "--file", str(path), "--report", str(output)).returncode == 1
    return output.read_text(encoding="utf-8")


def test_check_writes_to_files_what_it_prints(sqlite_url, tmp_path):
    stored(sqlite_url, [each for number in range(3) for each in playback(number, refused=number == 1)])
    names = {"json": "a.json", "junit": "b.xml", "sarif": "c.sarif"}
    reports = [option for name in names.values() for option in ("--report", str(tmp_path / name))]
    page = tmp_path / "page.html"
    done = run("check", "--all", "--store", sqlite_url, *reports, "--report", str(page))
    assert done.returncode == 1
    assert "1 of 3" not in done.stdout
    for format, name in names.items():
        printed = run("check", "--all", "--store", sqlite_url, "--format", format)
        assert (tmp_path / name).read_text(encoding="utf-8") == printed.stdout
    value = parts_of(page.read_text(encoding="utf-8"))["value"]
    assert value["verdicts"] == {"fail": 1, "warn": 0, "pass": 2}

    nobody_reads = f"{COMMAND} check --all --store {sqlite_url} --report {tmp_path}/d.json | true"
    subprocess.run(nobody_reads, shell=True, check=True, timeout=60)
    assert (tmp_path / "d.json").read_bytes() == (tmp_path / "a.json").read_bytes()

    rules = [rule for rule, severity, _ in value["rules"] if severity == "error"]
    ignored = [option for rule in rules for option in ("--ignore", rule)]
    assert run("check", "--all", "--store", sqlite_url, *ignored, "--report", str(page)).returncode == 0
    assert parts_of(page.read_text(encoding="utf-8"))["value"]["verdicts"]["fail"] == 0, "by the rules of the check"


def test_a_page_of_what_is_no_session_is_refused(tmp_path):
    body = tmp_path / "event.json"
    body.write_text('{"eventType": "pause"}')
    done = run("check", "--file", str(body), "--report", str(tmp_path / "a.html"), "--report", str(tmp_path / "a.json"))
    assert done.returncode == 2
    assert "shows sessions" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"event.json", "a.json"}


def test_a_report_is_written_whole_or_not_at_all(sqlite_url, tmp_path):
    stored(sqlite_url, playback(1))
    output = tmp_path / "a.html"
    _, told = written(output, "last", "--store", sqlite_url)
    assert "replaces" not in told
    before = output.read_bytes()
    for arguments, words in (
        (("nothing-like-it", "--store", sqlite_url), "no session matches"),
        (("--all", "--player", "Roku", "--store", sqlite_url), "--player Roku matches none"),
        (("--all", "last", "--store", sqlite_url), "not both"),
        (("last", "--raw", "--key-file", "k", "--store", sqlite_url), "--key-file"),
    ):
        done = run("report", *arguments, "-o", str(output))
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    for name, words in (
        ("a.json", "end the name"),
        ("tape.db", "end the name"),
        ("", "is a folder"),
        ("none/a.html", "cannot write"),
    ):
        done = run("report", "last", "-o", f"{tmp_path}/{name}", "--store", sqlite_url)
        assert done.returncode == 2
        assert words in done.stderr
    assert output.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "tape.db"}
    _, told = written(output, "last", "--store", sqlite_url)
    assert "it replaces an older file" in told
    empty, _ = written(tmp_path / "b.html", "--all", "--player", "Roku", "--allow-empty", "--store", sqlite_url)
    assert parts_of(empty)["value"]["total"] == 0
    done = run("report", "last", "-o", "-", "--store", sqlite_url)
    assert done.stdout.startswith("<!doctype html>")
