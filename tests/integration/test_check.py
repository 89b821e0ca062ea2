"""``sessiontape check``: stored sessions, files and stdin, in every format, with the exit codes that scripts rely on."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.rules import RULES
from proxy_addon.core.rules.planned import KNOWN
from storage import saving
from storage.engine import Store
from storage.saving import Judged, RecordingRun
from tests import breaking, processes, sdk_traffic, stores
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, body, event, event_dict, exchange, response, start, unjudged
from tests.processes import printed, run

TIMELINES = Path(__file__).resolve().parents[1] / "samples" / "timelines"
FINDING_KEYS = [
    "rule",
    "severity",
    "message",
    "pointer",
    "seq",
    "count",
    "places",
    "until_seq",
    "lowered_by",
    "authority",
]


def at(after_s: float, **rest: Any) -> dict[str, Any]:
    return {"after_s": after_s, "ts": BEGIN_MS + round(after_s * 1000), **rest}


@pytest.fixture
def tape(sqlite_url: str) -> str:
    """A clean session, one with an error of a body and one of the session, and one that was left open."""
    exchanges = [
        start(id="a1", session_id="aaaa"),
        event("play", id="a2", session_id="aaaa", **at(1)),
        event("sessionComplete", id="a3", session_id="aaaa", **at(9, playhead=8)),
        start(id="b1", session_id="bbbb", after_s=100, body=body(event_dict("sessionStart", ts=BEGIN_MS + 100_000))),
        event("adStart", id="b2", session_id="bbbb", after_s=101, body=body(ad_start(BEGIN_MS + 101_000))),
        event("sessionEnd", id="b3", session_id="bbbb", **at(102)),
        start(id="c1", session_id="cccc", after_s=200, body=body(event_dict("sessionStart", ts=BEGIN_MS + 200_000))),
    ]
    write(sqlite_url, exchanges)
    return sqlite_url


def write(url: str, exchanges: list[Exchange]) -> None:
    """Make a store with exchanges in it."""
    with closing(Store(url)) as store:
        stores.upgrade(store)
        with store.write() as db:
            saving.save(db, RecordingRun(id="r", name="monday", started_at=BEGIN, version="0"), unjudged(exchanges))


def ad_start(ts: int) -> dict[str, Any]:
    params = {"media.ad.id": "a", "media.ad.length": "30", "media.ad.podPosition": 1, "media.ad.playerName": "x"}
    return event_dict("adStart", ts=ts, params=params)


def rules_of(session: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in session["findings"]]


def test_every_session_that_was_judged_is_listed_clean_ones_too(tape):
    document = printed("check", "--all", "--store", tape, code=1)
    assert set(document) == {"ok", "counts", "sessions"}
    assert document["ok"] is False
    left_open, faulty, clean = document["sessions"]
    assert clean["findings"] == []
    assert rules_of(left_open) == ["session-not-closed"]
    assert rules_of(faulty) == ["param-type", "ad-outside-break"]
    assert [list(finding) for finding in faulty["findings"]] == [FINDING_KEYS] * 2
    # The recorded upstream took the body, so its table is right and ours is not.
    assert faulty["findings"][0] == {
        "rule": "param-type",
        "severity": "info",
        "message": "media.ad.length is the string '30'; expected a number",
        "pointer": "/params/media.ad.length",
        "seq": 2,
        "count": 1,
        "places": [{"seq": 2, "pointer": "/params/media.ad.length"}],
        "until_seq": None,
        "lowered_by": "accepted-by-upstream",
        "authority": "built-in",
    }
    assert document["counts"] == {"error": 1, "warning": 0, "info": 2}


@pytest.mark.parametrize(
    ("options", "code", "found"),
    [
        (["bbbb"], 1, 2),
        (["aaaa"], 0, 0),
        (["cccc"], 0, 1),
        (["cccc", "--fail-on", "info"], 1, 1),
        (["cccc", "--fail-on", "warning"], 0, 1),
        (["bbbb", "--fail-on", "never"], 0, 2),
        (["bbbb", "--ignore", "ad-outside-break"], 0, 1),
        (["bbbb", "--select", "ad-outside-break"], 1, 1),
        (["bbbb", "--select", "accepted-by-upstream"], 0, 1),
        (["bbbb", "--ignore", "accepted-by-upstream"], 1, 1),
        (["--all", "--state", "ended", "--name", "monday"], 1, 2),
        (["--all", "--media", "nothing", "--allow-empty"], 0, 0),
        (["aaaa", "bbbb", "aaaa"], 1, 2),
    ],
)
def test_the_exit_code_follows_fail_on(tape, options, code, found):
    document = printed("check", *options, "--store", tape, code=code)
    assert sum(document["counts"].values()) == found
    assert document["ok"] is (code == 0)


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--select", "checker-failed"], 0)])
def test_rules_that_fail_are_told_and_the_others_judge_all_sessions(tape, options, code):
    command, environment = breaking.command("param-type", "session-not-closed")
    done = subprocess.run(
        [*command, "check", "--all", "--json", "--store", tape, *options],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    left_open, faulty, clean = json.loads(done.stdout)["sessions"]
    assert rules_of(clean) == ["checker-failed"] * 2
    assert sorted(rules_of(faulty)) == ["ad-outside-break"] * (not options) + ["checker-failed"] * 3
    assert rules_of(left_open) == ["checker-failed"] * 2
    assert [finding["message"].partition(" failed because of a bug in sessiontape: ZeroDivisionError('on purpose')")[0]
            for finding in left_open["findings"]] == ["rule param-type", "rule session-not-closed"]  # fmt: skip


def test_findings_outside_of_sessions_are_mentioned_and_listed_by_exchanges(tape):
    stray = [exchange("POST", f"/api/v1/no/{n}", id=f"o{n}", after_s=300 + n, response=response(404)) for n in (1, 2)]
    with closing(Store(tape)) as store, store.write() as db:
        judged = [Judged(each, judge_exchange(each)) for each in stray]
        saving.save(db, RecordingRun(id="s", name="tuesday", started_at=BEGIN, version="0"), judged)
    both = "2 exchanges outside of sessions have findings: 'sessiontape exchanges' lists them\n"
    for options, said in (
        ([], both),
        (["--json"], both),
        (
            ["--since", f"{BEGIN + timedelta(seconds=302):%Y-%m-%dT%H:%M:%SZ}"],
            both.replace("2 exchanges", "1 exchange").replace("have", "has").replace("them", "it"),
        ),
        (["--name", "monday"], ""),
        (["--state", "ended"], ""),
        (["--ignore", "http-path-unknown"], ""),
        (["--select", "http-path-unknown"], both),
    ):
        assert run("check", "--all", "--allow-empty", "--fail-on", "never", "--store", tape, *options).stderr == said
    assert run("check", "cccc", "--store", tape).stderr == ""
    listed = run("exchanges", "--store", tape).stdout.splitlines()
    assert [line.split()[0] for line in listed[:3]] == ["#", "1", "2"]
    assert listed[4] == "Findings"
    (line,) = listed[5:]
    assert line.startswith("  #1  warning http-path-unknown: path '/api/v1/no/1' is none of ")
    assert line.endswith("(2 times, with other values too: #1, #2)")


def test_text_is_grouped_by_session_with_place_time_and_event(tape):
    done = run("check", "--all", "--store", tape)
    assert done.returncode == 1
    assert "#2 +0:01.000 adStart" in done.stdout
    assert "ad-outside-break: adStart with no ad break open" in done.stdout
    assert "1 error, 0 warnings, 2 infos; 1 of 3 clean" in done.stdout
    nothing = run("check", "--all", "--media", "nothing", "--allow-empty", "--store", tape)
    assert nothing.stdout.strip() == "nothing to check"


def test_junit_has_a_case_for_each_session_and_a_failure_for_what_fails(tape):
    done = run("check", "--all", "--format", "junit", "--store", tape)
    document = ET.fromstring(done.stdout)
    for suite in (document, document[0]):
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    cases = document.findall(".//testcase")
    assert [len(case.findall("failure")) for case in cases] == [0, 1, 0]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("type") == "ad-outside-break"
    id = printed("sessions", "--store", tape)[1]["id"]
    assert cases[1].get("name") == f"{id} A film · HTML5 Player"


SARIF_WE_USE = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "shortDescription": {"$ref": "#/definitions/text"},
                                                "help": {"$ref": "#/definitions/text"},
                                                "defaultConfiguration": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {"level": {"$ref": "#/definitions/level"}},
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": {"$ref": "#/definitions/level"},
                                "message": {"$ref": "#/definitions/text"},
                                "occurrenceCount": {"type": "integer", "minimum": 1},
                                "properties": {"type": "object"},
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "additionalProperties": False,
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {"uri": {"type": "string"}},
                                                    }
                                                },
                                            },
                                            "logicalLocations": {
                                                "type": "array",
                                                "uniqueItems": True,
                                                "items": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {
                                                        "name": {"type": "string"},
                                                        "fullyQualifiedName": {"type": "string"},
                                                    },
                                                },
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    "definitions": {
        "text": {
            "type": "object",
            "required": ["text"],
            "additionalProperties": False,
            "properties": {"text": {"type": "string"}},
        },
        "level": {"enum": ["none", "note", "warning", "error"]},
    },
}
"""The part of SARIF 2.1.0 that we use, as strict as its schema is there."""


def test_sarif_is_what_the_standard_asks_for(tape):
    done = run("check", "--all", "--format", "sarif", "--store", tape)
    document = json.loads(done.stdout)
    jsonschema_rs.Draft4Validator(SARIF_WE_USE, validate_formats=True).validate(document)
    (only,) = document["runs"]
    assert [rule["id"] for rule in only["tool"]["driver"]["rules"]] == list(KNOWN)
    for result in only["results"]:
        assert only["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert [result["level"] for result in only["results"]] == ["note", "note", "error"]


def test_github_gets_annotations(tape, tmp_path):
    lines = run("check", "bbbb", "--format", "github", "--store", tape).stdout.splitlines()
    assert lines[1].startswith("::error title=ad-outside-break::adStart with no ad break open (")
    assert " A film · HTML5 Player, #2 +0:01.000 adStart" in lines[1]
    path = tmp_path / "a,b%.json"
    path.write_text("{}", encoding="utf-8")
    first = run("check", "--file", str(path), "--as", "events", "--format", "github").stdout.splitlines()[0]
    assert "a%2Cb%25.json" in first


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(folder: Path, kind: str, sent: bytes, code: int = 1) -> list[dict[str, Any]]:
    """Judge a body as a file, and see that no store is made or needed."""
    path = folder / "body.json"
    path.write_bytes(sent)
    document = printed("check", "--file", str(path), "--as", kind, "--store", "nonsense", code=code)
    assert [entry.name for entry in folder.iterdir()] == ["body.json"]
    assert [session["id"] for session in document["sessions"]] == [None]
    found: list[dict[str, Any]] = document["sessions"][0]["findings"]
    return found


@pytest.mark.parametrize("kind", ["sessions", "events", "downloaded", "session"])
@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (b"", "body-empty"),
        (b" \n", "body-empty"),
        (b"{", "body-not-json"),
        (b"\xff\xfe", "body-not-json"),
        (b"[NaN]", "body-not-json"),
    ],
)
def test_an_empty_or_broken_body_is_a_finding(folder, kind, sent, rule):
    assert [finding["rule"] for finding in judged(folder, kind, sent)] == [rule]


def test_a_valid_start_is_clean(folder):
    assert judged(folder, "sessions", body(event_dict("sessionStart")), code=0) == []


def test_the_endpoint_decides(folder):
    play = body(event_dict("play"))
    assert judged(folder, "events", play, code=0) == []
    assert [f["rule"] for f in judged(folder, "sessions", play)] == ["event-on-sessions"]
    assert [f["rule"] for f in judged(folder, "downloaded", play)] == ["downloads-not-array"]


def test_a_batch_is_judged_as_bodies_and_as_a_session(folder):
    batch = [
        event_dict("sessionStart", ts=BEGIN_MS),
        event_dict("adStart", ts=BEGIN_MS + 1, params={"media.ad.length": 1}),
        event_dict("sessionEnd", ts=BEGIN_MS + 999_000_000),  # days later: clocks say nothing in batches
    ]
    found = judged(folder, "downloaded", body(batch))
    assert [(f["rule"], f["pointer"]) for f in found] == [
        ("param-missing", "/1/params"), ("param-missing", "/1/params"), ("param-missing", "/1/params"),
        ("ad-outside-break", "/1"),
    ]  # fmt: skip


def session_file(*events: tuple[float, dict[str, Any]]) -> bytes:
    return body({"events": [{"t": t, **each} for t, each in events]})


def test_a_whole_session_may_say_when_its_events_arrived(folder):
    start_, late = event_dict("sessionStart", ts=BEGIN_MS), event_dict("sessionEnd", ts=BEGIN_MS + 1000)
    found = judged(folder, "session", session_file((0, start_), (700, late)))
    assert [(f["rule"], f["seq"], f["pointer"]) for f in found] == [("session-timeout-idle", 2, "/events/1")]
    assert judged(folder, "session", body([start_, late]), code=0) == []


def test_a_whole_session_is_over_at_its_end_and_has_no_clock(folder):
    found = judged(folder, "session", body([event_dict("sessionStart", ts=1_000_000_000_000)]), code=0)
    assert [f["rule"] for f in found] == ["session-not-closed"]


def test_bodies_of_a_whole_session_are_judged_where_they_stand(folder):
    found = judged(
        folder, "session", body([event_dict("sessionStart"), 7, event_dict("pause"), event_dict("sessionEnd")])
    )
    assert [(f["rule"], f["pointer"], f["seq"]) for f in found][:2] == [
        ("body-not-object", "/1", 2),
        ("event-type-unknown", "/2/eventType", 3),
    ]


@pytest.mark.parametrize("sent", [b"[]", b'{"events": []}'])
def test_a_session_without_events_is_a_finding(folder, sent):
    assert [f["rule"] for f in judged(folder, "session", sent)] == ["session-start-first"]


def test_a_file_in_no_known_form_is_a_finding(folder):
    assert [f["rule"] for f in judged(folder, "session", b'"text"')] == ["body-not-object"]


def test_stdin_is_read(folder):
    done = subprocess.run(
        [processes.COMMAND, "check", "--file", "-", "--as", "sessions", "--json"],
        input=body(event_dict("sessionStart", params={**START_PARAMS, "media.length": "3600"})),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)["sessions"][0]["findings"]
    assert finding["message"] == "media.length is the string '3600'; expected a number"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--file", "nowhere.json", "--as", "events"], "cannot read nowhere.json"),
        (["--file", ".", "--as", "events"], ". is a directory"),
        (["--file", "x.json", "--as", "event"], "--as"),
        (["--as", "events", "--all"], "--file"),
        (["--file", "x.json", "--as", "events", "--all"], "--file checks a file: leave out"),
        (["--file", "x.json", "--as", "events", "--state", "open"], "--file checks a file: leave out"),
        ([], "name the sessions"),
        (["--all", "--select", "ping-gab"], "did you mean ping-gap?"),
        (["--all", "--fail-on", "always"], "--fail-on"),
        (["--all", "--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_input_that_cannot_be_judged_exits_with_2(folder, arguments, says):
    done = run("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_settings_file_changes_what_counts(folder):
    sent = body(event_dict("sessionStart", params={**START_PARAMS, "media.custom": "x", "media.channel": ""}))
    assert [f["rule"] for f in judged(folder, "sessions", sent)] == ["param-unknown", "param-empty"]
    (folder / "sessiontape.toml").write_text(
        '[[params]]\nkey="media.custom"\ntype="string"\n[rules.param-empty]\nseverity="error"\nreason="we need it"\n',
        encoding="utf-8",
    )
    document = printed("check", "--file", "body.json", "--as", "sessions", code=1, cwd=folder)
    assert [(f["rule"], f["severity"]) for f in document["sessions"][0]["findings"]] == [("param-empty", "error")]


def test_the_counts_of_an_expired_session_follow_the_settings(tape, tmp_path):
    def listed(*options: str) -> dict[str, dict[str, int]]:
        found = printed("sessions", *options, "--store", tape, cwd=tmp_path)
        return {session["session_id"]: session["findings"] for session in found}

    assert listed("--with-findings") == {"cccc": {"error": 0, "warning": 0, "info": 1}}
    settings = tmp_path / "sessiontape.toml"
    settings.write_text('[rules.session-not-closed]\nseverity="error"\nreason="ours do"\n', encoding="utf-8")
    assert listed()["cccc"] == {"error": 1, "warning": 0, "info": 0}
    settings.write_text('[rules.session-not-closed]\nseverity="off"\nreason="ours never do"\n', encoding="utf-8")
    assert listed()["cccc"] == {"error": 0, "warning": 0, "info": 0}
    assert listed("--with-findings") == {}
    settings.rename(tmp_path / "other.toml")
    assert listed("--with-findings", "--config", "other.toml") == {}
    checked = run("check", "--all", "--with-findings", "--config", "other.toml", "--store", tape, cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert "no session matches the filters: --with-findings matches none of 3 sessions" in checked.stderr
    shown = printed("show", "cccc", "--store", tape, cwd=tmp_path)
    assert (shown["session"]["findings"]["info"], len(shown["findings"])) == (1, 1)


def test_in_every_command_the_settings_decide_when_a_session_expires(sqlite_url, tmp_path):
    begun_s = (datetime.now(UTC) - BEGIN).total_seconds() - 60
    write(sqlite_url, [start(id="a1", session_id="aaaa", after_s=begun_s)])
    (tmp_path / "short.toml").write_text("[thresholds]\nidle_timeout_s = 30\n", encoding="utf-8")
    (tmp_path / "long.toml").write_text("[thresholds]\nidle_timeout_s = 1e300\n", encoding="utf-8")

    def asked(*command: str) -> Any:
        return printed(*command, "--store", sqlite_url, cwd=tmp_path)

    for config, state, found in (("short.toml", "expired", ["session-not-closed"]), ("long.toml", "open", [])):
        options = ("--config", config)
        (session,) = asked("sessions", *options)
        assert (session["state"], session["findings"]["info"]) == (state, len(found))
        shown = asked("show", "aaaa", *options)
        assert shown["session"] == session
        assert rules_of(shown) == found
        (checked,) = asked("check", "--all", "--state", state, *options)["sessions"]
        assert rules_of(checked) == found
        assert f"  {state}  " in run("check", "aaaa", *options, "--closed", "--store", sqlite_url, cwd=tmp_path).stdout
        assert asked("diff", "aaaa", "aaaa", *options)["a"] == session
        other = "open" if state == "expired" else "expired"
        assert asked("sessions", "--state", other, *options) == []
        deleted = run("delete", "--all", "--yes", "--state", other, *options, "--store", sqlite_url, cwd=tmp_path)
        assert f"--state {other} matches none of 1 session" in deleted.stderr
    assert len(asked("sessions")) == 1


def test_a_session_that_goes_on_can_be_judged_as_if_it_were_over(sqlite_url):
    begun_s = (datetime.now(UTC) - BEGIN).total_seconds() - 60
    exchanges = [
        start(id="a1", session_id="aaaa", after_s=begun_s),
        event("play", id="b1", session_id="bbbb", after_s=begun_s),
        start(id="c1", after_s=begun_s, response=response(500)),
    ]
    write(sqlite_url, exchanges)

    def found(*options: str) -> list[list[str]]:
        sessions = printed("check", "--all", *options, "--store", sqlite_url, "--fail-on", "never")["sessions"]
        return [sorted(rule for rule in rules_of(each) if rule == "session-not-closed") for each in sessions]

    assert found() == [[], [], []]
    # One that failed has never begun.
    assert sorted(found("--closed")) == [[], ["session-not-closed"], ["session-not-closed"]]


# Real traffic --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("playback", [0, 1])
def test_the_sdks_sessions_have_no_error_and_no_warning(folder, playback):
    requests = [r for r in sdk_traffic.load() if r.playback == playback and r.method == "POST"]
    sent = session_file(*((r.at_s, json.loads(r.body)) for r in requests))
    assert {f["severity"] for f in judged(folder, "session", sent, code=0)} <= {"info"}


@pytest.mark.parametrize(("name", "errors"), [("timeline_1", []), ("timeline_2", ["qoe-key-unknown"] * 2)])
def test_the_documented_timelines_have_the_errors_of_their_own_oddities(folder, name, errors):
    found = judged(folder, "session", (TIMELINES / f"{name}.json").read_bytes(), code=1 if errors else 0)
    assert [f["rule"] for f in found if f["severity"] == "error"] == errors


def test_the_oldest_documented_sample_is_valid_with_one_info(folder):
    params = {
        "media.playerName": "sample-html5-api-player", "media.contentType": "VOD", "media.length": 60.39333333333333,
        "media.id": "VA API Sample Player", "media.name": "ClickMe", "media.channel": "sample-channel",
        "media.sdkVersion": "va-api-0.0.0", "analytics.trackingServer": "t.example", "analytics.reportSuite": "rsid",
        "analytics.visitorId": "v", "visitor.marketingCloudOrgId": "o@AdobeOrg", "analytics.enableSSL": False,
    }  # fmt: skip
    sample = event_dict("sessionStart", ts=1509045324153, params=params, customMetadata={"myCustomData": "x"})
    found = judged(folder, "sessions", body(sample), code=0)
    assert [f["rule"] for f in found] == ["stream-type-missing"]


def test_rules_are_listed_and_explained():
    listed = printed("rules")
    assert [list(rule) for rule in listed] == [["rule", "severity", "summary"]] * len(RULES)
    assert [rule["rule"] for rule in listed] == list(RULES)
    page = run("rules", "ping-gap")
    assert page.returncode == 0
    for heading in (
        "What it checks",
        "Why it matters in the reports",
        "Source",
        "Example",
        "How to fix",
        "Known limits",
    ):
        assert heading in page.stdout
    unknown = run("rules", "ping-gab")
    assert unknown.returncode == 2
    assert "did you mean ping-gap?" in unknown.stderr
