"""Sessions leave a store as files and come back as they were."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy_addon.cli import cli
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.judging.exchanges import judge_exchange
from storage.engine import Store
from storage.saving import Judged, RecordingRun, save_batch
from tests import personal, stores
from tests.builders import BEGIN, batch, event, event_dict, preflight, response, start
from tests.processes import COMMAND, collector, printed, recorder, run
from tests.sdk_traffic import SdkRequest, load

DAY = timedelta(days=1)
EXACT = ["fixture", "har", "ndjson", "flow"]
"""Formats that hold all of a session."""
PLAIN = [
    start(id="a1", session_id="aaaa1111"),
    preflight(id="a2", session_id="aaaa1111", after_s=0.5),
    event("play", id="a3", session_id="aaaa1111", after_s=1, playhead=0.5, headers=(("X-A", "1"), ("x-a", "\xe4"))),
    event("ping", id="a4", session_id="aaaa1111", after_s=11.000123, body=b'{"eventType":"ping","ts":1,"ts":2}'),
    event("ping", id="a5", session_id="aaaa1111", after_s=21, body=gzip.compress(b"{}", mtime=0)),
    event("ping", id="a6", session_id="aaaa1111", after_s=31, body=b'\xff{"a":1}'),
    event("ping", id="a7", session_id="aaaa1111", after_s=41, outcome=Outcome.CLIENT_GONE, response=None),
    event("error", id="a8", session_id="aaaa1111", after_s=42, response=response(500, body=b'{"message": "no"}')),
    event("sessionEnd", id="a9", session_id="aaaa1111", after_s=43, playhead=2**60),
]
OTHERS = [
    start(id="b1", session_id=None, response=response(500), after_s=100),
    batch([event_dict("sessionStart"), event_dict("play", playhead=3), event_dict("sessionEnd")], id="c1", after_s=200),
]


def seeded(url: str, exchanges: list[Exchange], name: str | None = "tape", *, pseudonymised: bool = False) -> None:
    with closing(Store(url)) as store:
        stores.upgrade(store)
        id = f"{name} {pseudonymised}"
        recording = RecordingRun(id=id, name=name, started_at=BEGIN, version="1.0", pseudonymised=pseudonymised)
        # Tokens of addresses look like the one that tests use elsewhere.
        sent = [replace(each, client_address="198.18.0.7") for each in exchanges]
        save_batch(store, recording, [Judged(each, judge_exchange(each)) for each in sent])


@pytest.fixture
def url(sqlite_url: str) -> str:
    seeded(sqlite_url, PLAIN + OTHERS)
    return sqlite_url


@pytest.fixture
def other_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/other.db"


def export(url: str, output: Path, format: str, *options: str) -> bytes:
    done = run("export", "--all", "--format", format, "-o", str(output), "--store", url, *options)
    assert done.returncode == 0, done.stderr
    if output.is_dir():
        return b"".join(path.read_bytes() for path in sorted(output.iterdir()))
    return output.read_bytes()


def paths(output: Path) -> list[str]:
    return [str(path) for path in sorted(output.iterdir())] if output.is_dir() else [str(output)]


def shown(url: str) -> list[dict[str, Any]]:
    """Return all exchanges as ``show --json`` has them, without the names of recordings."""
    done = run("export", "--all", "--format", "ndjson", "--raw", "-o", "-", "--store", url)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        del line["session"]["recording"]
    assert len(lines) == len(PLAIN + OTHERS)
    return lines


@pytest.mark.parametrize(
    ("format", "name"), [*((format, "tape") for format in EXACT), ("ndjson", None), ("flow", None)]
)
def test_a_raw_export_comes_back_as_it_was(sqlite_url, other_url, tmp_path, format, name):
    seeded(url := sqlite_url, PLAIN + OTHERS, name)
    written = export(url, first := tmp_path / "first", format, "--raw")
    imported = printed("import", *paths(first), "--store", other_url)["files"]
    assert (sum(each["sessions"] for each in imported), sum(each["exchanges"] for each in imported)) == (3, 11)
    assert all(each["broken"] == each["skipped"] == each["incomplete"] == 0 for each in imported)
    assert shown(other_url) == shown(url)
    assert export(other_url, tmp_path / "second", format, "--raw") == written


@pytest.mark.parametrize("format", ["fixture", "flow"])
def test_what_was_recorded_is_counted_alike_when_it_is_imported(sqlite_url, other_url, tmp_path, format):
    with collector(tmp_path) as upstream, recorder(tmp_path, upstream.url, sqlite_url, "--name", "sdk") as proxy:
        for requests in _by_playback():
            new_id = None
            for request in requests:
                sent = request if new_id is None else request.with_session_id(new_id)
                answer = proxy.ask(request.method, sent.path, sent.body, dict(sent.headers))
                if request.opens:
                    new_id = (answer.header("Location") or "").rpartition("/")[2]
    export(sqlite_url, tmp_path / "files", format, "--raw")
    printed("import", *paths(tmp_path / "files"), "--store", other_url, "--name", "sdk")
    recorded, imported = (printed("sessions", "--store", url) for url in (sqlite_url, other_url))
    assert len(recorded) == 2
    for one, other in zip(recorded, imported, strict=True):
        del one["id"], other["id"]
        assert one == other


def _by_playback() -> list[list[SdkRequest]]:
    return [[each for each in load() if each.playback == number] for number in (0, 1)]


@pytest.mark.parametrize("format", ["har", "ndjson"])
def test_a_pseudonymised_export_stays_the_same_from_then_on(url, other_url, tmp_path, format):
    first = tmp_path / f"first.{format}"
    text = export(url, first, format).decode()
    assert "198.18.0.7" not in text
    printed("import", str(first), "--store", other_url)
    assert all(each["pseudonymised"] for each in printed("sessions", "--store", other_url))
    second = export(other_url, tmp_path / f"second.{format}", format)
    assert second == text.encode()


@pytest.mark.parametrize("format", [*EXACT, "csv"])
def test_no_personal_value_leaves_by_default(sqlite_url, tmp_path, format):
    two = [replace(each, id=f"b{n}", received_at=each.received_at + DAY) for n, each in enumerate(personal.playback())]
    seeded(sqlite_url, [replace(each, id=f"a{n}") for n, each in enumerate(personal.playback())] + two)
    export(sqlite_url, tmp_path / "out", format)
    texts = [Path(path).read_bytes() for path in paths(tmp_path / "out")]
    texts += [base64.b64decode(coded) for text in texts for coded in re.findall(rb'"base64": ?"([^"]*)"', text)]
    assert texts
    for text in texts:
        assert personal.found_in(text) == []
    assert personal.found_in(export(sqlite_url, tmp_path / "raw", format, "--raw")) != []


def test_one_visitor_has_one_token_in_an_export_and_for_ever_with_a_key_file(sqlite_url, tmp_path):
    two = [replace(each, id=f"b{n}", received_at=each.received_at + DAY) for n, each in enumerate(personal.playback())]
    seeded(sqlite_url, [replace(each, id=f"a{n}") for n, each in enumerate(personal.playback())] + two)

    def tokens(name: str, *options: str) -> list[str]:
        export(sqlite_url, tmp_path / name, "fixture", *options)
        starts = [json.loads(Path(path).read_text())["exchanges"][0] for path in paths(tmp_path / name)]
        return [each["request"]["body"]["json"]["params"]["analytics.visitorId"] for each in starts]

    one, other = tokens("plain")
    assert one == other
    key = ("--key-file", str(tmp_path / "key"))
    assert len({*tokens("first", *key), *tokens("second", *key)}) == 1
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert tokens("third", *key) != [one, other]


@pytest.mark.parametrize("options", [(), ("--raw",), ("--key-file", "key")])
def test_the_same_session_is_the_same_file(url, tmp_path, monkeypatch, options):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    one, two = (export(url, tmp_path / name, "fixture", *options) for name in ("one", "two"))
    assert one == two


def test_a_fixture_needs_no_store(url, tmp_path, monkeypatch):
    assert run("export", "aaaa1111", "-o", f"{tmp_path}/a.json", "--store", url).returncode == 0
    (empty := tmp_path / "empty").mkdir()
    monkeypatch.chdir(empty)
    document = printed("show", "../a.json")
    assert next(each["event_type"] for each in document["exchanges"] if each["operation"] == "events") == "play"
    again = run("export", "../a.json", "--format", "fixture", "-o", "-")
    assert again.stdout == (tmp_path / "a.json").read_text(encoding="utf-8")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("format", ["ndjson", "flow"])
def test_lines_with_personal_values_do_not_hide_behind_others(url, sqlite_url, other_url, tmp_path, format):
    raw = export(url, tmp_path / "raw", format, "--raw")
    (tmp_path / "both").write_bytes(export(url, tmp_path / "tokens", format) + raw)
    (file,) = printed("import", f"{tmp_path}/both", "--store", other_url)["files"]
    assert (file["exchanges"], file["broken"]) == (11, 11)
    assert "has personal values, unlike the first" in file["remarks"][0]
    assert len(printed("sessions", "--store", other_url)) == 3


def test_an_export_replaces_a_fixture_but_not_what_people_said_about_comparing(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("export", "aaaa1111", "--format", "fixture", "-o", "a.json", "--store", url)
    assert run(*command).returncode == 0
    document = json.loads(Path("a.json").read_text(encoding="utf-8"))
    Path("a.json").write_text(json.dumps(document | {"compare": {"ignore": ["qoeData"]}}), encoding="utf-8")
    done = run(*command)
    assert 'the "compare" member of a.json is kept' in done.stderr
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["compare"] == {"ignore": ["qoeData"]}


@pytest.mark.parametrize("format", [*EXACT, "csv"])
def test_what_is_told_of_a_session_has_no_personal_values_either(sqlite_url, tmp_path, format):
    params = {"media.id": "clip of ann@example.com", "media.name": "Ann <ann@example.com>", "media.playerName": "p"}
    sent = [preflight(id="a0", session_id=None), start(id="a1", session_id="aaaa1111", after_s=1, params=params)]
    seeded(sqlite_url, sent, name="run of ann@example.com")
    (tmp_path / "files").mkdir()
    written = export(sqlite_url, tmp_path / "files" if format == "fixture" else tmp_path / "one", format)
    named = "".join(paths(tmp_path / "files"))
    assert b"ann@example" not in written
    assert "ann-example" not in named
    assert b"@example.invalid" in written
    if format == "fixture":
        name = json.loads(written)["session"]["recording"]
        assert re.fullmatch(r"run of [0-9a-f]{16}@example.invalid", name), name
        assert "clip-of-" in named


@pytest.mark.parametrize("format", ["fixture", "csv"])
def test_raw_values_are_for_the_owner_of_the_file_alone(url, tmp_path, format):
    target = tmp_path / "out"
    command = ("export", "aaaa1111", "--format", format, "-o", str(target), "--store", url)
    assert run(*command).returncode == 0
    assert target.stat().st_mode & 0o077 != 0
    assert run(*command, "--raw").returncode == 0
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("format", ["har", "csv"])
def test_a_reader_that_leaves_early_is_no_error(url, format):
    command = f"'{COMMAND}' export --all --format {format} -o - --store '{url}' --raw | head -c 10 >/dev/null"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


def test_one_file_is_not_written_to_a_folder(url, tmp_path):
    for output in (f"{tmp_path}/new/", str(tmp_path)):
        done = run("export", "--all", "--format", "har", "-o", output, "--store", url)
        assert done.returncode == 2
        assert "is a folder, but this format is one file" in done.stderr
    unclear = CliRunner().invoke(cli, ["export", "--all", "-o", "fixtures/"]).output
    assert "the name of --output does not say a format: add --format fixture|har|" in unclear


def test_a_file_is_imported_once(url, other_url, tmp_path):
    export(url, tmp_path / "a.ndjson", "ndjson", "--raw")
    first = printed("import", f"{tmp_path}/a.ndjson", "--store", other_url)["files"][0]
    again = printed("import", f"{tmp_path}/a.ndjson", "--store", other_url)["files"][0]
    assert again.pop("remarks") == [
        "a file with the same content was imported before, as recording 'tape': nothing is stored twice"
    ]
    assert again == {name: value for name, value in first.items() if name != "remarks"}
    assert len(printed("sessions", "--store", other_url)) == 3


def test_what_was_recorded_too_is_another_session(url, tmp_path):
    export(url, tmp_path / "a.ndjson", "ndjson", "--raw")
    (file,) = printed("import", f"{tmp_path}/a.ndjson", "--store", url, "--name", "again")["files"]
    assert file["remarks"] == ["1 session of it is in the store once more, recorded or from another file"]
    sessions = printed("sessions", "--store", url)
    assert [(each["recording"], each["events"], each["exchanges"]) for each in sessions] == [
        (name, events, exchanges) for events, exchanges in ((3, 1), (1, 1), (7, 9)) for name in ("again", "tape")
    ] or len(sessions) == 6
    assert sorted(each["events"] for each in sessions) == sorted([3, 3, 1, 1, *[_events(PLAIN)] * 2])


def _events(exchanges: list[Exchange]) -> int:
    return sum(len(each.request.reading.events) for each in exchanges if each.request.method == "POST")


def test_broken_lines_are_listed_and_the_rest_is_kept(url, other_url, tmp_path):
    lines = export(url, tmp_path / "a.ndjson", "ndjson", "--raw").splitlines()
    lines[2] = lines[2][:50]
    lines[4] = b'{"received_at": 7, "outcome": "answered", "request": {}, "response": null}'
    (tmp_path / "a.ndjson").write_bytes(b"\n".join(lines))
    done = run("import", f"{tmp_path}/a.ndjson", "--store", other_url)
    assert done.returncode == 0
    assert "broken: line 3" in done.stdout
    assert "broken: line 5" in done.stdout
    assert len(printed("sessions", "--store", other_url)) == 3


def test_one_file_of_several_that_cannot_be_read_does_not_stop_the_others(url, other_url, tmp_path):
    export(url, tmp_path / "a.ndjson", "ndjson", "--raw")
    done = run("import", f"{tmp_path}/none.har", f"{tmp_path}/a.ndjson", "--json", "--store", other_url)
    assert done.returncode == 0
    first, second = json.loads(done.stdout)["files"]
    assert first["remarks"][0].startswith("cannot read ")
    assert second["sessions"] == 3


def test_nothing_imported_is_an_error_and_makes_no_store(tmp_path, other_url):
    (tmp_path / "a.har").write_text('{"log": {"version": "1.2", "creator": {"name": "x"}, "entries": []}}')
    done = run("import", f"{tmp_path}/a.har", "--store", other_url)
    assert done.returncode == 2
    assert "nothing was imported" in done.stderr
    assert not (tmp_path / "other.db").exists()


def test_filters_that_leave_nothing_are_an_error(url, tmp_path):
    options = ("export", "--all", "--media", "nothing", "--format", "csv", "-o", f"{tmp_path}/a.csv", "--store", url)
    done = run(*options)
    assert done.returncode == 2
    assert "--media nothing" in done.stderr
    assert not (tmp_path / "a.csv").exists()
    assert run(*options, "--allow-empty").returncode == 0


def test_several_fixtures_need_a_folder(url):
    done = run("export", "--all", "--format", "fixture", "-o", "-", "--store", url)
    assert done.returncode == 2
    assert "name a folder" in done.stderr


def test_an_export_that_fails_leaves_the_old_file(url, tmp_path):
    (target := tmp_path / "a.csv").write_text("old")
    done = run("export", "aaaa1111", "b0b0", "--format", "csv", "-o", str(target), "--store", url)
    assert done.returncode == 2
    assert target.read_text() == "old"
    done = run("export", "--all", "--format", "csv", "-o", f"{tmp_path}/no/a.csv", "--store", url)
    assert done.returncode == 2
    assert "does its folder exist" in done.stderr


@pytest.mark.parametrize("format", ["har", "ndjson"])
def test_imports_on_postgresql_are_as_on_sqlite(url, postgres_url, other_url, tmp_path, format):
    export(url, tmp_path / "a", format, "--raw")
    for store in (postgres_url, other_url):
        printed("import", *paths(tmp_path / "a"), "--store", store)
    assert shown(postgres_url) == shown(other_url)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"started_at": "9999-12-31T23:59:59.999Z"}, "started_at is the string '9999"),
        ({"started_at": "0001-01-01T00:00:00Z"}, "started_at is the string '0001"),
        ({"duration_ms": 1e300}, "exchange 1: duration_ms is"),
        ({"at_s": 1e300}, "exchange 1: at_s is"),
    ],
)
def test_numbers_out_of_this_world_are_told_in_a_sentence(url, other_url, tmp_path, change, says):
    path = tmp_path / "a.json"
    assert run("export", "aaaa1111", "--format", "fixture", "-o", str(path), "--store", url).returncode == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    place = document["session"] if "started_at" in change else document["exchanges"][0]
    place.update(change)
    path.write_text(json.dumps(document), encoding="utf-8")
    done = run("import", str(path), "--store", other_url)
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if "started_at" in change else 0)


def test_what_comes_from_pipes_is_told_apart(url, other_url, tmp_path):
    for name, options in (("tokens", ()), ("raw", ("--raw",))):
        export(url, tmp_path / name, "ndjson", *options)
    done = [
        subprocess.run(
            ["/bin/bash", "-c", f"'{COMMAND}' import --json --store '{other_url}' <(cat '{tmp_path / name}')"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for name in ("tokens", "raw")
    ]
    assert [json.loads(each.stdout)["files"][0]["exchanges"] for each in done] == [11, 11]
    assert sorted(each["pseudonymised"] for each in printed("sessions", "--store", other_url)) == [
        *[False] * 3,
        *[True] * 3,
    ]


@pytest.mark.parametrize("format", EXACT)
def test_what_a_tool_left_out_is_remembered_in_all_formats(sqlite_url, other_url, tmp_path, format):
    capture = Path(__file__).parents[1] / "samples" / "captures" / "chrome-har-1.3-cdp.har"
    printed("import", str(capture), "--store", sqlite_url)
    assert run("delete", "--all", "--yes", "--store", sqlite_url).returncode == 0
    printed("import", str(capture), "--store", sqlite_url)  # what was imported before is as it was
    export(sqlite_url, tmp_path / "files", format)
    printed("import", *paths(tmp_path / "files"), "--store", other_url)
    for store in (sqlite_url, other_url):
        assert all(each["has_holes"] for each in printed("sessions", "--store", store)), store


def test_events_of_a_file_do_not_join_the_recorded_session(url, tmp_path):
    """Not even where the file lacks the start, as the same traffic may have been captured twice."""
    assert (
        run("export", "aaaa1111", "--format", "ndjson", "--raw", "-o", f"{tmp_path}/a", "--store", url).returncode == 0
    )
    lines = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    (tmp_path / "a").write_bytes(b"".join(lines[1:]))
    printed("import", f"{tmp_path}/a", "--store", url, "--name", "again")
    found = {each["recording"]: each for each in printed("sessions", "--name", "again", "--store", url)}
    assert (found["again"]["state"], found["again"]["exchanges"]) == ("partial", len(PLAIN) - 1)
    assert max(each["exchanges"] for each in printed("sessions", "--name", "tape", "--store", url)) == len(PLAIN)
