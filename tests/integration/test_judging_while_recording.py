"""The recorder as a process: large bodies that belong to no session, and failing rules."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests import breaking, processes
from tests.builders import body, event_dict

LARGE = b"x" * 3_000_000
REQUESTS = 60
MAY_GROW_MB = 130
"""Sixty such bodies are 180 MB if each is kept."""


def memory_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024


def waiting(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        count: int = db.execute("SELECT count(*) FROM unjudged").fetchone()[0]
    return count


def test_large_bodies_outside_of_sessions_are_judged_and_not_kept_in_memory(tmp_path, sqlite_url):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        for _ in range(3):
            assert proxy.ask("POST", "/api/v1/other", LARGE).status == 404
        before = memory_mb(proxy.process.popen.pid)
        for _ in range(REQUESTS):
            proxy.ask("POST", "/api/v1/other", LARGE)
        deadline = time.monotonic() + 30
        while waiting(tmp_path / "tape.db"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert memory_mb(proxy.process.popen.pid) - before < MAY_GROW_MB
    found = processes.printed("exchanges", "--store", sqlite_url)
    assert [[finding["rule"] for finding in exchange["findings"]] for exchange in found] == (
        [["http-path-unknown"]] * (3 + REQUESTS)
    )
    assert {exchange["findings_due"] for exchange in found} == {False}


def test_what_was_not_judged_yet_is_shown_as_such(tmp_path, sqlite_url):
    with processes.collector(tmp_path) as upstream:
        with processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
            proxy.ask("POST", "/api/v1/other", b"x" * 70_000)
            proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")) + b" " * 70_000)
        with closing(sqlite3.connect(tmp_path / "tape.db")) as db:  # as a recorder leaves it that is killed
            db.execute("DELETE FROM findings")
            db.execute("INSERT INTO unjudged SELECT id FROM exchanges")
            db.commit()
        (outside,) = processes.printed("exchanges", "--store", sqlite_url)
        (inside,) = processes.printed("show", "last", "--store", sqlite_url)["exchanges"]
        assert [(each["findings"], each["findings_due"]) for each in (outside, inside)] == [([], True)] * 2
        assert "not judged" in processes.run("exchanges", "--store", sqlite_url).stdout
        assert "not judged" in processes.run("show", "last", "--store", sqlite_url).stdout
        with processes.recorder(tmp_path, upstream.url, sqlite_url):
            deadline = time.monotonic() + 30
            while waiting(tmp_path / "tape.db"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        (outside,) = processes.printed("exchanges", "--store", sqlite_url)
    assert [finding["rule"] for finding in outside["findings"]] == ["http-path-unknown"]


def test_what_is_recorded_without_judging_is_never_taken_for_faultless(tmp_path, sqlite_url):
    def shown() -> list[tuple[list[object], bool]]:
        exchanges = processes.printed("exchanges", "--store", sqlite_url)
        exchanges += processes.printed("show", "last", "--store", sqlite_url)["exchanges"]
        return [(each["findings"], each["findings_due"]) for each in exchanges]

    with processes.collector(tmp_path) as upstream:
        with processes.recorder(tmp_path, upstream.url, sqlite_url, "--no-check") as proxy:
            proxy.ask("POST", "/api/v1/other", b"x")
            proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")))
        assert shown() == [([], True)] * 2
        assert "not judged" in processes.run("exchanges", "--store", sqlite_url).stdout
        assert "not judged" in processes.run("show", "last", "--store", sqlite_url).stdout
        with processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
            proxy.ask("POST", "/api/v1/schemas", b"")
        assert waiting(tmp_path / "tape.db") == 0, "nobody asked for it to be judged"
        assert sorted(due for _, due in shown()) == [False, True, True]


def test_rules_that_fail_are_told_once_and_counted_and_the_others_go_on(tmp_path, sqlite_url):
    command, _ = breaking.command("param-type", "session-start-duplicate", "content-type-not-json")
    with processes.collector(tmp_path) as upstream:
        options = ["record", "--upstream", upstream.url, *processes.ANY_PORT, "--store", sqlite_url]
        with processes.serving([*command, *options], Path(breaking.ROOT)) as proxy:
            for _ in range(3):
                answer = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", params={"media.id": 5})))
            assert answer.status == 400
            proxy.ask("POST", "/api/v1/other", b"x" * 70_000)
        said = proxy.process.output
    (first,) = [line for line in proxy.process.lines if "rule param-type failed" in line]
    assert "because of a bug in sessiontape: ZeroDivisionError('on purpose')" in first
    assert first.endswith("; first on POST /api/v1/sessions")
    assert said.count("rule session-start-duplicate failed") == said.count("rule content-type-not-json failed") == 1
    assert re.search("4 exchanges stored, 0 lost; judging failed [0-9]+ times", said)
    rules = {
        finding["rule"]
        for exchange in processes.printed("show", "last", "--store", sqlite_url)["exchanges"]
        for finding in exchange["findings"]
    }
    assert {"checker-failed", "param-missing", "upstream-refused"} <= rules
