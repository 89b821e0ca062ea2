"""Reports of replay runs as files: a page, JSON, JUnit. Of runs made by hand, with the worst names devices can send."""

from __future__ import annotations

import json
import re
import subprocess
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from proxy_addon.core.replays.runs import (
    Difference,
    ReplayRun,
    RunChange,
    RunSummary,
    Sent,
    SessionRun,
    Step,
    StepOutcome,
    count,
    percentiles,
)
from proxy_addon.errors import SettingsError
from proxy_addon.files import whole
from proxy_addon.reporting.run_files import check_path, pieces
from tests.builders import at
from tests.e2e.test_verdicts import CHROMIUM

EVIL = "</script><img src=x onerror=alert(1)>\x00\x1b\ud83c & \"'"


def step(seq: int, outcome: StepOutcome, **rest: Any) -> Step:
    values: dict[str, Any] = {"event_type": EVIL, "recorded_status": 204}
    if outcome is not StepOutcome.SKIPPED:
        values |= {"sent_at": at(seq), "drift_ms": seq / 10, "latency_ms": float(seq)}
    if outcome is StepOutcome.SAME:
        values["status"] = 204
    return Step(seq=seq, outcome=outcome, **values | rest)


DIFFERS = Difference(where=EVIL, a=EVIL, b=None)
SESSIONS = [
    SessionRun(source="s1", session_id="a", new_session_id=EVIL, steps=(step(1, StepOutcome.SAME),)),
    SessionRun(
        source="s2",
        session_id=None,
        new_session_id=None,
        steps=(step(1, StepOutcome.SAME), step(2, StepOutcome.DIFFERENT, status=500, differences=(DIFFERS,))),
    ),
    SessionRun(
        source="s3",
        session_id=None,
        new_session_id=None,
        steps=(step(1, StepOutcome.FAILED, reason=EVIL), step(2, StepOutcome.SKIPPED, reason="why")),
        reason=EVIL,
    ),
    SessionRun(source="s4", session_id=None, new_session_id=None, steps=(), reason="not begun"),
]


def summary(sessions: list[SessionRun], changes: tuple[RunChange, ...] = ()) -> RunSummary:
    steps = [each for session in sessions for each in session.steps]
    run = ReplayRun(
        id="r1", target=f"http://[::1]:1/{EVIL}", started_at=at(0), finished_at=None, speed="1", timestamps="now"
    )
    return RunSummary(
        run=run,
        totals=count(steps),
        drift_ms=percentiles(each.drift_ms for each in steps),
        latency_ms=percentiles(each.latency_ms for each in steps),
        sessions=len(sessions),
        changes=changes,
    )


def report(
    tmp_path: Path, name: str, sessions: list[SessionRun] = SESSIONS, changes: tuple[RunChange, ...] = ()
) -> str:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / name
    whole.write(path, pieces(path, summary(sessions, changes), lambda: sessions))
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [name]
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Holds that elements are closed in order, and gathers them."""

    VOID = frozenset({"meta", "input", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_is_whole_and_asks_for_nothing(tmp_path):
    text = report(tmp_path, "run.html")
    page = Page(text)
    assert not {"img", "iframe"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "onerror", "style")]
    targets = [attributes["href"] or "" for _, attributes in page.elements if "href" in attributes]
    assert [target.partition(":")[0] for target in targets] == ["data", "#main"]
    assert "unsafe" not in text
    assert not re.search(r"url\(|@import", text)
    assert "5 steps recorded: 4 sent, 1 skipped." in text
    assert [values["data-verdict"] for tag, values in page.elements if tag == "tr" and "data-verdict" in values] == [
        "same", "different", "failed", "skipped",
    ]  # fmt: skip
    assert len([1 for tag, _ in page.elements if tag == "circle"]) == 2 + 2  # steps of one time and value are one point
    assert "&lt;/script&gt;" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_page_and_runs_nothing_of_what_was_recorded(tmp_path):
    report(tmp_path, "run.html")
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, f"file://{tmp_path / 'run.html'}"], capture_output=True, text=True, timeout=90, check=False
    )
    assert '<html lang="en" class="js">' in done.stdout
    assert "<img" not in done.stdout


def test_an_empty_run_has_a_page_too(tmp_path):
    assert "Nothing was measured" in report(tmp_path, "run.html", [])


def test_junit_counts_sessions(tmp_path):
    document = ET.fromstring(report(tmp_path, "run.xml"))
    for suite in (document, document[0]):
        counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["4", "1", "1", "1"]
    cases = document.findall(".//testcase")
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["error"], ["skipped"]]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.text is not None
    assert failure.text.startswith("#2 </script><img")


def test_junit_names_a_step_that_the_error_is_about(tmp_path):
    steps = (step(1, StepOutcome.DIFFERENT, status=500), step(2, StepOutcome.FAILED, reason="timed out"))
    cut = SessionRun(source="s", session_id=None, new_session_id=None, steps=steps, reason="interrupted")
    (error,) = ET.fromstring(report(tmp_path, "run.xml", [cut])).iter("error")
    assert error.get("message", "").startswith("#2 ")
    assert [line[:3] for line in (error.text or "").splitlines()] == ["#2 ", "#1 ", "int"]


def test_every_report_shows_what_was_changed(tmp_path):
    sent = Sent(body_sha256="0f" * 32, places={1: 1}, differences=(Difference(where="/params/a", a=EVIL, b="2"),))
    changed = SessionRun(
        source="s", session_id=None, new_session_id=None, steps=(step(1, StepOutcome.SAME, sent=sent),)
    )
    secret = {"do": "set-header", "name": "Authorization", "value": "secret"}
    changes = (
        RunChange(number=0, option="--safe", change={}, places=2),
        RunChange(number=1, option="--set", change={"do": "set", "path": "$.params.a", "value": "2"}, places=1),
        RunChange(number=2, option="--changes <b>.toml", change=secret, places=None),
    )
    page, document, junit = (
        report(tmp_path / name[:1], name, [changed], changes) for name in ("a.html", "b.json", "c.xml")
    )
    Page(page)
    for text in ('<code>--set $.params.a=&#34;2&#34;</code></td><td class="n">1 place<', "sent <code>/params/a</code>"):
        assert text in page
    assert f'title="SHA-256: {"0f" * 32}"' in page
    assert "--changes &lt;b&gt;.toml: set-header Authorization=(not shown)" in page
    (json_run,) = (json.loads(document),)
    assert [(each["option"], each["path"], each["places"]) for each in json_run["changes"]] == [
        ("--safe", None, 2), ("--set", "$.params.a", 1), ("--changes <b>.toml", None, None),
    ]  # fmt: skip
    assert json_run["sessions"][0]["steps"][0]["sent"] == {
        "body_sha256": "0f" * 32,
        "differences": [{"where": "/params/a", "recorded": EVIL, "sent": "2"}],
    }
    suite = ET.fromstring(junit)[0]
    assert [each.get("value") for each in suite.iter("property")] == [
        "2 places",
        "1 place",
        "places that were not counted",
    ]
    assert (suite.findtext("testcase/system-out") or "").endswith(" -> 2")
    assert "secret" not in page + document + junit


def test_json_is_what_the_command_prints(tmp_path):
    document = json.loads(report(tmp_path, "run.json"))
    assert list(document) == [
        "id", "target", "started_at", "finished_at", "speed", "timestamps", "verdict", "exit_code", "changes", "sessions",
        "totals", "drift_ms", "latency_ms",
    ]  # fmt: skip
    assert [session["verdict"] for session in document["sessions"]] == ["same", "different", "failed", "skipped"]
    assert document["verdict"] == "failed"
    assert document["totals"]["recorded"] == 5
    assert json.loads(report(tmp_path, "run.json", SESSIONS[:2]))["verdict"] == "different"
    empty = json.loads(report(tmp_path, "run.json", []))
    assert (empty["sessions"], empty["verdict"]) == ([], "skipped")


@pytest.mark.parametrize("name", ["run.html", "run.xml", "run.json"])
def test_a_long_run_needs_no_more_memory_than_its_chart(tmp_path, name):
    session = SESSIONS[1]

    def many(number: int) -> int:
        def sessions() -> Iterator[SessionRun]:
            for _ in range(number):
                yield session

        tracemalloc.start()
        whole.write(tmp_path / name, pieces(tmp_path / name, summary([session]), sessions))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    many(100)
    assert many(10_000) < 2 * 2**20


@pytest.mark.parametrize("name", ["run", "run.txt", "no/such/folder/run.html", "."])
def test_a_report_that_cannot_be_written_is_an_error_before_sending(tmp_path, name):
    with pytest.raises(SettingsError) as caught:
        check_path(tmp_path / name)
    assert caught.value.hint


def test_a_report_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "run.json").write_text("before")

    def broken() -> Iterator[SessionRun]:
        yield SESSIONS[0]
        raise ZeroDivisionError

    path = tmp_path / "run.json"
    with pytest.raises(ZeroDivisionError):
        whole.write(path, pieces(path, summary(SESSIONS), broken))
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]
