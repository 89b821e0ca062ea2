"""Sessions in files, named in the place of stored ones: no store is opened, and the verdicts are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.cli.held_files import HeldFiles
from tests import builders
from tests.builders import BEGIN_MS, OTHER_SESSION_ID, SESSION_ID, event_dict
from tests.integration.test_replay import fill
from tests.processes import collector, printed, run

PLAY = event_dict("play", ts=BEGIN_MS + 1000, params={"media.unknown": 1})
SAMPLES = Path(__file__).parents[1] / "samples"
BODIES = [event_dict("sessionStart"), PLAY, event_dict("sessionEnd", ts=BEGIN_MS + 9000)]


NONE = '{"log": {"entries": [{"request": {"method": "GET", "url": "http://x/"}}, {"a'


@pytest.fixture
def tape(sqlite_url: str) -> str:
    return fill(
        sqlite_url,
        [
            builders.start(id="a1"),
            builders.event(id="a2", after_s=1, body=builders.body(PLAY)),
            builders.event("sessionEnd", id="a3", after_s=9),
        ],
    )


@pytest.fixture
def folder(tape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `show` printed, a log with two sessions, and lists of the same bodies."""
    (tmp_path / "shown.json").write_text(json.dumps(printed("show", "last", "--store", tape)), encoding="utf-8")
    with collector(tmp_path, name="log") as server:
        for _ in range(2):
            start, *events = map(builders.body, BODIES)
            location = server.ask("POST", "/api/v1/sessions", start).header("Location")
            for body in events:
                server.ask("POST", f"{location}/events", body)
    (tmp_path / "list.json").write_text(json.dumps(BODIES), encoding="utf-8")
    (tmp_path / "events.json").write_text(json.dumps({"events": BODIES}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSIONTAPE_STORE", "nonsense")
    return tmp_path


def rules(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["rule"], each["seq"]) for each in found if each["rule"] == "param-unknown"]


@pytest.mark.parametrize(
    ("file", "sessions"), [("shown.json", 1), ("log.jsonl", 2), ("list.json", 1), ("events.json", 1)]
)
def test_a_file_is_judged_as_its_session_would_be(folder, file, sessions):
    for options in ([file], ["--file", file, "--as", "session"], ["--file", file]):
        done = run("check", *options, "--json", "--fail-on", "info")
        assert done.returncode == 1
        found = json.loads(done.stdout)["sessions"]
        assert [each["id"] for each in found] == [None] * sessions
        assert [rules(each["findings"]) for each in found] == [[("param-unknown", 2)]] * sessions
        guessed = f"sessiontape: checking {file} with --as session: " in done.stderr
        assert guessed == ("--as" not in options and "--file" in options)


def test_a_file_is_shown_like_a_stored_session(folder, tape):
    shown = printed("show", "shown.json")
    stored = printed("show", "last", "--store", tape)
    assert shown["exchanges"][1]["findings"][0]["pointer"] == "/params/media.unknown"
    for document in (shown, stored):
        document["session"].pop("findings")
        for exchange in document["exchanges"]:
            exchange.pop("findings")  # those of the store were not judged when they were recorded
    assert shown == stored
    for file in ("list.json", "events.json"):
        listed = printed("show", file)
        assert [each["response"] for each in listed["exchanges"]] == [None] * 3
        assert (listed["session"]["state"], listed["session"]["findings"]["error"]) == ("ended", 1)
        assert rules(listed["exchanges"][1]["findings"]) == [("param-unknown", 2)]
    assert "param 'media.unknown' is unknown" in run("show", "list.json").stdout


def test_show_estimates_what_reports_will_count(folder):
    examples = json.loads((SAMPLES / "metrics.json").read_text(encoding="utf-8"))["sessions"]
    for example in examples:
        (folder / "example.json").write_text(json.dumps({"events": example["events"]}), encoding="utf-8")
        metrics = printed("show", "example.json")["metrics"]
        names = ("values", "other_readings", "closed_by", "dropped")
        assert {name: metrics[name] for name in names} == {name: example[name] for name in names}
    swapped, silence = (
        next(each for each in examples if each["name"] == name) for name in ("equal-ts-swapped", "silence")
    )
    (folder / "example.json").write_text(json.dumps({"events": swapped["events"]}), encoding="utf-8")
    lines = run("show", "example.json").stdout
    assert "reports     estimate: 1 media start · content started · content 15 s · no ads" in lines
    assert "doubts      content 30 s if time without playhead movement counts" in lines
    (folder / "example.json").write_text(json.dumps({"events": silence["events"]}), encoding="utf-8")
    assert printed("show", "example.json")["metrics"]["dropped_events"] == [
        {"seq": 5, "pointer": None, "reason": "timeout_idle"},
        {"seq": 6, "pointer": None, "reason": "timeout_idle"},
    ]


def test_files_are_laid_beside_stored_sessions_and_each_other(folder, tape):
    everything = {"same": 3, "changed": 0, "moved": 0, "only-a": 0, "only-b": 0}
    assert printed("diff", "shown.json", SESSION_ID, "--store", tape)["counts"] == everything
    assert printed("diff", "list.json", "shown.json")["counts"] == everything  # answers that nobody knows do not count
    pairs = printed("diff", "shown.json", "log.jsonl#last", code=1)["pairs"]
    assert [pair["differences"] for pair in pairs] == [[], [{"where": "status", "a": "204", "b": "400"}], []]
    assert run("diff", "shown.json", "--run", "x").returncode == 2


def test_one_of_several_sessions_in_a_file_is_named_after_a_hash_sign(folder):
    judged = printed("check", "log.jsonl", code=1)["sessions"]
    assert [(each["id"], each["file"]) for each in judged] == [(None, "log.jsonl")] * 2
    names = [each["name"] for each in judged]
    assert names == [held.session.id for held in HeldFiles(["log.jsonl"])]  # as an audit calls them
    assert printed("show", names[0])["session"]["session_id"] == judged[0]["session_id"]
    first, second = (each["session_id"] for each in judged)
    assert printed("show", f"log.jsonl#{first[:8]}")["session"]["session_id"] == first
    assert printed("show", "log.jsonl#last")["session"]["session_id"] == second
    (only,) = printed("check", f"log.jsonl#{second}", code=1)["sessions"]
    assert only["session_id"] == second
    said = run("show", "log.jsonl")
    assert (said.returncode, said.stdout) == (2, "")
    assert "log.jsonl holds 2 sessions" in said.stderr
    assert f"    {names[0]}  A film\n    {names[1]}  A film\n" in said.stderr
    assert f"{names[0]}  ended" in run("check", "log.jsonl").stdout


def test_the_collector_gives_the_answers_in_a_file(folder):
    with collector(folder, "--from", "shown.json", name="again") as server:
        answer = server.ask("POST", "/api/v1/sessions", builders.body(BODIES[0]))
        unknown = server.ask("POST", f"{answer.header('Location')}/events", builders.body(BODIES[1]))
        assert (answer.status, unknown.status) == (201, 204)  # without the recording it would refuse an unknown param
        assert SESSION_ID not in str(answer.header("Location"))
    said = run("collector", "--from", "list.json", "--listen", "127.0.0.1:0")
    assert (said.returncode, "list.json has requests but no answers" in said.stderr) == (2, True)


FORMATS = ("fixture", "har", "ndjson", "flow")


@pytest.fixture
def exported(folder: Path, tape: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the stored session in all formats that come back, and no store."""
    for name in FORMATS:
        done = run("export", "last", "--format", name, "--raw", "-o", f"a.{name}", "--store", tape)
        assert done.returncode == 0, done.stderr
    monkeypatch.setenv("SESSIONTAPE_STORE", "sqlite:///nowhere.db")
    return folder


def test_every_exported_format_is_the_session_again_for_every_command(exported, tape):
    stored = printed("show", "last", "--store", tape)
    with collector(exported, name="target") as target:
        to = ("--target", target.url, "--speed", "max")
        plans = (*to, "--timestamps", "keep", "--dry-run", "--json")
        planned = printed("replay", "last", *plans, "--store", tape)["sessions"]
        for name in FORMATS:
            file = f"a.{name}"
            shown = printed("show", file)
            assert [each["request"] for each in shown["exchanges"]] == [each["request"] for each in stored["exchanges"]]
            assert [each["received_at"] for each in shown["exchanges"]] == [
                each["received_at"] for each in stored["exchanges"]
            ]
            assert shown["session"]["session_id"] == SESSION_ID
            (judged,) = printed("check", file, "--fail-on", "info", code=1)["sessions"]
            assert rules(judged["findings"]) == [("param-unknown", 2)]
            assert printed("diff", file, SESSION_ID, "--store", tape)["counts"]["same"] == 3
            (plan,) = printed("replay", f"{file}#{SESSION_ID[:6]}", *plans)["sessions"]
            assert plan["steps"] == planned[0]["steps"]
            report = exported / f"{name}.json"
            (sent,) = printed("replay", file, *to, "--report", str(report), code=1)["sessions"]
            # The recorded answer to the unknown param was 204; the collector refuses it.
            assert [step["outcome"] for step in sent["steps"]] == ["same", "different", "same"]
            assert json.loads(report.read_text(encoding="utf-8"))["totals"]["sent"] == 3
    with collector(exported, "--from", "a.flow", name="from-flow") as server:
        assert server.ask("POST", "/api/v1/sessions", builders.body(BODIES[0])).status == 201
    assert not (exported / "nowhere.db").exists()


def test_a_list_of_bodies_is_replayed_as_one_session_whose_answers_nobody_knows(exported):
    with collector(exported, name="target") as target:
        options = ("--target", target.url, "--speed", "max")
        (sent,) = printed("replay", "list.json", *options)["sessions"]
    assert [(step["outcome"], step["status"]) for step in sent["steps"]] == [
        ("same", 201),
        ("same", 400),
        ("same", 204),
    ]
    assert len(sent["new_session_id"]) == 64


def test_a_replay_of_a_file_does_not_go_to_its_upstream_or_to_those_of_the_store(exported, tape):
    """Both may be production, whichever address they have."""
    with collector(exported, name="target") as target:
        text = (exported / "a.fixture").read_text(encoding="utf-8")
        upstream = json.loads(text)["session"]["upstream"]
        (exported / "b.json").write_text(text.replace(upstream, target.url), encoding="utf-8")
        for arguments in (("b.json",), ("a.fixture", "b.json"), (f"b.json#{SESSION_ID}",)):
            said = run("replay", *arguments, "--target", target.url)
            assert said.returncode == 2
            assert f"it is the upstream of recorded sessions ({target.url})" in said.stderr
        url = fill(f"sqlite:///{exported}/other.db", [builders.start(id="z1", upstream=target.url)])
        said = run("replay", "a.fixture", "--target", target.url, "--store", url)
        assert (said.returncode, "it is the upstream of recorded sessions" in said.stderr) == (2, True)
        assert not target.log.exists() or target.received() == []


def test_files_and_stored_sessions_may_be_judged_together(folder, tape):
    document = printed("check", "list.json", SESSION_ID, "./shown.json", "--store", tape, code=1)
    assert sorted(each["session_id"] or "" for each in document["sessions"]) == ["", SESSION_ID, SESSION_ID]
    (of_list,) = (each for each in document["sessions"] if each["session_id"] is None)
    assert (of_list["name"], of_list["file"]) == ("list.json", "list.json")


def test_what_cannot_be_read_in_a_file_is_said_and_the_rest_is_judged(folder):
    whole = (folder / "log.jsonl").read_text(encoding="utf-8")
    (folder / "cut.jsonl").write_text(whole + "{", encoding="utf-8")
    done = run("check", "--file", "cut.jsonl", "--json")
    assert (done.returncode, len(json.loads(done.stdout)["sessions"])) == (1, 2)
    said = f"cut.jsonl: 1 entry cannot be read\n  line 7, at byte {len(whole.encode())}: not JSON"
    assert (
        f"sessiontape: checking cut.jsonl with --as session: it is a collector's log\nsessiontape: {said}"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("show nowhere.json", "cannot read nowhere.json: No such file or directory"),
        (
            "check tapes",
            "tapes is a directory\n  name a file in it, or read all of them with: sessiontape audit tapes\n",
        ),
        ("check --file .", ". is a directory\n  name a file in it, or read all of them with: sessiontape audit .\n"),
        ("check number.json", "for one request body: sessiontape check --file number.json"),
        ("show empty.json", "empty.json: the session has no events"),
        (
            "show none.har",
            "the file has 1 other entry; the first part that cannot be read is entry 1: the file ends at byte 76",
        ),
        ("show broken.json", "broken.json: exchange 1: request is null; expected an object"),
        (f"show shown.json#{OTHER_SESSION_ID}", "shown.json has no session called"),
        ("delete shown.json --yes", "shown.json is the name of a file; only sessions in the store can be deleted"),
        ("replay shown.json last --target http://127.0.0.1:9", "shown.json is a file and last is not"),
        ("replay nowhere.har --target http://127.0.0.1:9", "cannot read nowhere.har: No such file or directory"),
    ],
)
def test_mistakes_in_a_file_are_errors(folder, arguments, says):
    (folder / "tapes").mkdir(exist_ok=True)
    (folder / "number.json").write_text("5", encoding="utf-8")
    (folder / "empty.json").write_text("[]", encoding="utf-8")
    (folder / "none.har").write_text(NONE, encoding="utf-8")
    broken = {"session": {"id": "a", "upstream": "x"}, "exchanges": [{"received_at": "2026-03-01"}]}
    (folder / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    done = run(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format", ["fixture", "har", "ndjson", "flow"])
def test_an_exported_session_counts_and_is_judged_as_in_the_store(tape, tmp_path, format):
    path = tmp_path / f"session.{format}"
    assert run("export", "last", "--format", format, "-o", str(path), "--store", tape).returncode == 0
    stored, exported = (printed("show", name, "--store", tape) for name in ("last", str(path)))
    for member in ("findings", "holes", "metrics"):
        assert exported[member] == stored[member]
    assert stored["metrics"]["values"]["media_starts"] == 1
