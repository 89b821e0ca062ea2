"""A tracking plan through the installed command: made from good sessions, and what other sessions are held against."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.fixtures import har_own
from tests import audited
from tests.audited import GOOD
from tests.integration.test_check import write
from tests.integration.test_run import PLAYER, WHOLE
from tests.processes import printed, run
from tests.reports import parts_of

WEB = "Web Player"
UNSENT = dict(zip(By, ("error", "adSkip", "chapterSkip", "stateStart", "stateEnd", "statesUpdate"), strict=True))
"""A type of event for each kind of group; the good player sends none of them."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """Three sessions of a good player, and three of one that does not send the channel."""
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/tape.db"
    exchanges = [
        replace(exchange, id=f"{player} {number} {exchange.id}")
        for player in (GOOD, WEB)
        for number in range(3)
        for exchange in audited.played(player, number).exchanges
    ]
    write(url, exchanges)
    return url


@pytest.fixture(scope="module")
def plan(store, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("plan") / "PLAN.yaml"
    done = run("audit", "--make-plan", "-o", str(path), "--player", GOOD, "--store", store)
    assert (done.returncode, "plan of 3 sessions written to" in done.stderr) == (0, True), done.stderr
    made = path.read_bytes()
    done = run("audit", "--make-plan", "-o", str(path), "--store", store)
    assert (done.returncode, path.read_bytes() == made) == (2, True), done.stderr
    assert f"sessiontape: {path} exists and says something else\n  --force replaces it" in done.stderr
    return path


def test_an_audit_names_what_is_not_as_planned_by_group(store, plan):
    document = printed("audit", "--plan", str(plan), "--by", "player", "--store", store, code=1)
    assert document["plan"] == "PLAN.yaml"
    deviations = {group["name"]: group["plan"] for group in document["groups"]}
    assert deviations[GOOD] == []
    (missing,) = deviations[WEB]
    assert len(missing.pop("look_at")) == 3
    assert {
        name: missing[name] for name in ("rule", "event", "section", "key", "expected", "sessions", "share", "times")
    } == {
        "rule": "plan-missing",
        "event": "sessionStart",
        "section": "params",
        "key": "media.channel",
        "expected": "required",
        "sessions": 3,
        "share": 1.0,
        "times": 3,
    }
    (of_all,) = document["all"]["plan"]
    assert (of_all["sessions"], of_all["share"]) == (3, 0.5)
    more = plan.with_name("more.yaml")
    more.write_text(
        "extends: PLAN.yaml\ngroups:\n  - where: {player: Radio*}\n"
        "    events: {play: {params: {optional: [media.lenght, media.length, flavour]}}}\n"
        "  - where: {player: [Web*, null]}\n",
        encoding="utf-8",
    )
    done = run(
        *("audit", "--plan", str(more), "--format", "csv", "--store", store),
        *("--select", "plan-missing", "--select", "plan-unexpected", "--ignore", "plan-unexpected"),
    )
    told = csv.DictReader(io.StringIO(done.stdout))
    assert {fact["name"] for fact in told if fact["kind"] == "finding"} == {"plan-missing"}
    assert "No session is in this group of the plan: player Radio*." in done.stdout
    assert done.stderr.splitlines()[:1] == [
        f"sessiontape: {more}:4:41: the protocol has no 'media.lenght' in params; did you mean media.length?"
    ]


def test_groups_hold_for_the_same_sessions_in_audits_and_checks_of_a_store_and_of_files(store, tmp_path):
    path = tmp_path / "PLAN.yaml"
    groups = [
        f"  - {{where: {{{by}: {name}}}, events: {{{type}: {{occurs: {{min: {least}}}}}}}}}"
        for by, type in UNSENT.items()
        for least, name in ((1, '"*"'), (2, '"*.json"'), (3, "null"))
    ]
    path.write_text("\n".join(["groups:", *groups]), encoding="utf-8")
    bodies = [exchange.request.reading.value for exchange in audited.played(GOOD, 0).exchanges]
    (tmp_path / "list.json").write_text(json.dumps(bodies), encoding="utf-8")
    done = run("export", "last", "--format", "har", "-o", "tape.json", "--raw", "--store", store, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    har = json.loads((tmp_path / "tape.json").read_text(encoding="utf-8"))
    del har["log"][har_own.MEMBER]  # it names the recording
    (tmp_path / "tape.json").write_text(json.dumps(har), encoding="utf-8")
    audits, checks = {}, {}
    for sources in (["list.json", "tape.json"], ["--all", "--player", GOOD, "--store", store]):
        audit = ("audit", *sources[sources[0] == "--all" :], "--by", "recording")
        for group in printed(*audit, "--plan", str(path), code=1, cwd=tmp_path)["groups"]:
            audits[group["name"]] = {each["event"]: each["expected"] for each in group["plan"]}
        check = ("check", *sources, "--select", "plan-occurs")
        for session in printed(*check, "--plan", str(path), code=1, cwd=tmp_path)["sessions"]:
            told = [finding["message"].split(" is never sent in this session; ") for finding in session["findings"]]
            checks[session["file"] or "monday"] = {type: says.removeprefix("the plan says ") for type, says in told}
    least = {number: f"at least {number} in a session" for number in (1, 2, 3)}
    of_store = dict.fromkeys(UNSENT.values(), least[1])
    of_file = of_store | {UNSENT[By.RECORDING]: least[2]}
    of_list = of_file | {UNSENT[By.USER_AGENT]: least[3]}
    assert audits == {"monday": of_store, "tape.json": of_file, "list.json": of_list}
    assert checks == audits


def test_a_check_reports_it_like_any_finding(store, plan, tmp_path):
    report = tmp_path / "report.html"
    options = ("--select", "plan-missing", "--plan", str(plan), "--store", store)
    document = printed("check", "--all", *options, "--report", str(report), code=1)
    found = [finding for session in document["sessions"] for finding in session["findings"]]
    assert [(each["rule"], each["severity"], each["seq"], each["pointer"]) for each in found] == [
        ("plan-missing", "error", 1, "/params")
    ] * 3
    more = tmp_path / "more.yaml"
    more.write_text(f"extends: {plan}\ngroups: [{{where: {{player: Radio*}}}}, {{where: {{player: Good*}}}}]")
    done = run("check", "--all", "--plan", str(more), "--store", store, "--player", GOOD)
    assert done.returncode == 0
    assert done.stderr == "sessiontape: no session is in this group of the plan: player Radio*\n"
    page = json.dumps(parts_of(report.read_text(encoding="utf-8")))
    assert "plan-missing" in page
    assert "Reports that break down by this key have no value" in page
    assert run("check", "--all", "--plan", str(plan), "--ignore", "plan-mising").returncode == 2


def test_a_run_is_held_against_it_and_a_bad_plan_ends_it_at_once(tmp_path):
    path = tmp_path / "PLAN.yaml"
    path.write_text(
        "rules: {plan-missing: warning, plan-occurs: warning}\n"
        "events: {play: {params: {required: [tier]}}, error: {occurs: always}}\n"
        f"groups: [{{where: {{{', '.join(f'{by}: "*"' for by in By)}}}, events: {{adSkip: {{occurs: {{min: 2}}}}}}}}]",
        encoding="utf-8",
    )
    command = ("--", sys.executable, "-c", PLAYER + WHOLE)
    done = run("run", "--plan", str(path), "--fail-on", "warning", *command)
    assert (done.returncode, "plan-missing" in done.stderr) == (1, True), done.stderr
    for type, least in (("error", 1), ("adSkip", 2)):
        assert f"{type} is never sent in this session; the plan says at least {least} in a session" in done.stderr
    path.write_text("events:\n  play: {params: {required: {tier: {pattern: '(a'}}}}", encoding="utf-8")
    done = run("run", "--plan", str(path), *command)
    assert done.returncode == 2
    assert f"{path}:2:46: bad pattern '(a': a ( is not closed" in done.stderr
