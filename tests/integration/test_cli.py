"""What the commands print and with which code they end; the documents are those that people script against."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from proxy_addon.cli import cli
from proxy_addon.core.exchange import Outcome
from storage import migrate, saving
from storage.engine import Store
from storage.saving import RecordingRun
from tests import forking, processes
from tests.builders import BEGIN, START_PARAMS, body, event, event_dict, exchange, response, start, unjudged
from tests.processes import printed, run

SESSION_KEYS = [
    "id", "session_id", "retry_of", "upstream", "recording", "started_at", "last_event_at", "state", "player_name",
    "media_id", "media_name", "content_type", "app_version", "library_version", "user_agent", "client_address",
    "exchanges", "events", "has_holes", "pseudonymised", "lost", "not_accepted", "findings", "gaps",
]  # fmt: skip
EXCHANGE_KEYS = [
    "seq", "operation", "event_type", "playhead_s", "ts_ms", "batch", "received_at", "received_us", "duration_ms", "outcome",
    "reason", "note", "upstream", "client_address", "request", "response", "findings", "findings_due",
]  # fmt: skip


def named(media: str, player: str) -> bytes:
    return body(event_dict("sessionStart", params={**START_PARAMS, "media.id": media, "media.playerName": player}))


@pytest.fixture
def tape(store: Store) -> str:
    """A store with one session of each kind, in two recordings, and two exchanges outside of sessions."""
    monday = [
        start(id="a1", session_id="aaaa1111", body=named("film-1", "Web player")),
        event("play", id="a2", session_id="aaaa1111", after_s=1, playhead=0.5),
        exchange("OPTIONS", "/api/v1/sessions/aaaa1111/events", id="a3", after_s=2),
        event("sessionEnd", id="a4", session_id="aaaa1111", after_s=3, playhead=2),
        exchange("OPTIONS", "/api/v1/sessions", id="o1", after_s=4),
    ]
    tuesday = [
        start(id="b1", session_id="aaaa2222", after_s=86400, body=named("film-2", "TV player")),
        start(id="c1", after_s=86410, body=named("film-3", "TV player"), response=response(500)),
        event("ping", id="d1", session_id="dddd", after_s=86420),
        start(
            id="e1",
            after_s=86430,
            body=b"\xff\x00no text",
            response=None,
            outcome=Outcome.UPSTREAM_CLOSED,
        ),
        exchange("GET", "/api/v1/schemas/play", id="o2", after_s=86440, response=response(200, body=b"{}")),
    ]
    for name, exchanges in (("monday", monday), ("tuesday", tuesday)):
        with store.write() as db:
            saving.save(db, RecordingRun(id=name, name=name, started_at=BEGIN, version="0"), unjudged(exchanges))
    return store.url


def listed(tape: str, *options: str) -> list[str]:
    return [session["session_id"] or session["state"] for session in printed("sessions", "--store", tape, *options)]


@pytest.mark.every_version
def test_sessions_are_listed_newest_first_with_all_that_is_promised(tape):
    sessions = printed("sessions", "--store", tape)
    assert [list(session) for session in sessions] == [SESSION_KEYS] * 5
    assert [session["state"] for session in sessions] == ["failed", "partial", "failed", "expired", "ended"]
    first = sessions[-1]
    assert first["started_at"] == "2026-03-01T12:00:00.000Z"
    assert first["last_event_at"] == "2026-03-01T12:00:03.000Z"
    assert (first["exchanges"], first["events"], first["recording"]) == (4, 3, "monday")
    assert first["findings"].keys() == {"error", "warning", "info"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--name", "monday"], ["aaaa1111"]),
        (["--since", "2026-03-02"], ["failed", "dddd", "failed", "aaaa2222"]),
        (["--until", "2026-03-02T00:00Z"], ["aaaa1111"]),
        (["--state", "ended"], ["aaaa1111"]),
        (["--state", "ended", "--state", "partial"], ["dddd", "aaaa1111"]),
        (["--state", "open"], []),
        (["--player", "tv"], ["failed", "aaaa2222"]),
        (["--media", "film-2"], ["aaaa2222"]),
        (["--media", "A FILM"], ["failed", "aaaa2222", "aaaa1111"]),
        (["--user-agent", "testplayer"], ["failed", "dddd", "failed", "aaaa2222", "aaaa1111"]),
        (["--limit", "1"], ["failed"]),
        (["--player", "tv", "--state", "failed", "--name", "tuesday"], ["failed"]),
        (["--player", "nobody"], []),
    ],
)
def test_filters_leave_what_they_say(tape, options, expected):
    assert listed(tape, *options) == expected


def test_show_has_every_member_in_order_of_arrival(tape):
    shown = printed("show", "aaaa1", "--store", tape)
    assert list(shown) == ["session", "exchanges", "findings", "holes", "metrics"]
    assert [list(each) for each in shown["exchanges"]] == [EXCHANGE_KEYS] * 4
    assert [(e["seq"], e["operation"], e["event_type"]) for e in shown["exchanges"]] == [
        (1, "sessions", "sessionStart"),
        (2, "events", "play"),
        (3, "preflight", None),
        (4, "events", "sessionEnd"),
    ]
    assert shown["metrics"]["values"]["media_starts"] == 1
    assert (shown["metrics"]["closed_by"], shown["metrics"]["dropped"]) == ("session_end", 0)
    play = shown["exchanges"][1]
    assert (play["playhead_s"], play["ts_ms"], play["batch"], play["outcome"]) == (
        0.5,
        BEGIN_MS + 1000,
        None,
        "answered",
    )
    assert list(play["request"]) == [
        "method",
        "path",
        "http_version",
        "headers",
        "body",
        "body_sha256",
        "complete",
        "body_state",
    ]
    assert list(play["response"]) == ["status", "reason_phrase", "http_version", "headers", "body", "body_sha256"]


BEGIN_MS = round(BEGIN.timestamp() * 1000)


def test_a_body_that_is_no_text_is_base64_and_no_answer_is_null(tape):
    failed = printed("sessions", "--store", tape)[0]
    shown = printed("show", failed["id"], "--store", tape)["exchanges"][0]
    assert shown["request"]["body"] == {"base64": "/wBubyB0ZXh0"}
    assert (shown["response"], shown["outcome"]) == (None, "upstream-closed")


def test_a_batch_lists_its_events(store):
    events = [
        event_dict("sessionStart", playhead=0, ts=BEGIN_MS),
        event_dict("sessionEnd", playhead=5, ts=BEGIN_MS + 5),
    ]
    batch = start(id="x1", body=body(events))
    with store.write() as db:
        saving.save(db, RecordingRun(id="r", name=None, started_at=BEGIN, version="0"), unjudged([batch]))
    session = printed("sessions", "--store", store.url)[0]
    assert (session["events"], session["state"]) == (2, "ended")
    shown = printed("show", session["id"], "--store", store.url)["exchanges"][0]
    assert shown["batch"] == [
        {"event_type": "sessionStart", "playhead_s": 0, "ts_ms": BEGIN_MS},
        {"event_type": "sessionEnd", "playhead_s": 5, "ts_ms": BEGIN_MS + 5},
    ]
    assert shown["event_type"] is None


def test_exchanges_of_no_session_are_listed(tape):
    found = printed("exchanges", "--store", tape)
    assert [(each["operation"], each["request"]["path"]) for each in found] == [
        ("preflight", "/api/v1/sessions"),
        ("schemas", "/api/v1/schemas/play"),
    ]
    assert [list(each) for each in found] == [EXCHANGE_KEYS] * 2
    assert len(printed("exchanges", "--store", tape, "--name", "tuesday")) == 1
    assert printed("exchanges", "--store", tape, "--state", "ended") == []


def test_tables_are_for_people_and_plain_where_nobody_can_see_colours(tape):
    done = run("sessions", "--store", tape)
    assert "\x1b" not in done.stdout
    assert "aaaa1111" in done.stdout
    assert "(retry)" not in done.stdout
    timeline = run("show", "aaaa1111", "--store", tape).stdout
    assert "sessionEnd" in timeline
    assert "+2.000" not in timeline
    assert "+1.500" in timeline  # from 0.5 s to 2 s
    assert "film-1" in run("show", "aaaa1111", "--store", tape, "--bodies").stdout
    assert "/api/v1/schemas/play" in run("exchanges", "--store", tape).stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("aaaa", "several sessions"),
        ("aaab", "similar ones are"),
    ],
)
def test_an_ambiguous_or_unknown_name_lists_the_close_ones(tape, name, says):
    done = run("show", name, "--store", tape)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "aaaa1111" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["zzzz", ""])
def test_a_name_that_none_comes_close_to_lists_none(tape, name):
    done = run("show", name, "--store", tape)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"sessiontape: no session matches '{name}'\n  'sessiontape sessions' lists all sessions\n")


@pytest.mark.parametrize(
    ("name", "what", "filter"),
    [
        ("film-1", "media", "--media film-1"),
        ("tv PLAYER", "player", "--player 'tv PLAYER'"),
        ("monday", "recording", "--name monday"),
    ],
)
def test_a_name_of_a_media_player_or_recording_leads_to_the_filter(tape, name, what, filter):
    done = run("show", name, "--store", tape)
    said = f"  to list the sessions with this {what}: sessiontape sessions {filter}\n"
    assert (done.returncode, done.stderr) == (2, f"sessiontape: no session matches '{name}'\n{said}")


def test_last_is_the_newest_session_for_every_command(tape):
    newest = printed("sessions", "--store", tape)[0]["id"]
    assert printed("show", "last", "--store", tape)["session"]["id"] == newest
    assert printed("check", "last", "--store", tape, "--fail-on", "never")["sessions"][0]["id"] == newest
    assert printed("diff", "last", newest, "--store", tape)["a"]["id"] == newest
    assert run("delete", "last", "--yes", "--store", tape).returncode == 0
    assert len(listed(tape)) == 4
    assert run("delete", "--all", "--yes", "--store", tape).returncode == 0
    assert "there is no last one" in run("show", "last", "--store", tape).stderr


@pytest.mark.every_version
def test_sessions_are_deleted_with_all_that_hangs_on_them(tape):
    assert run("delete", "aaaa1111", "--yes", "--store", tape).returncode == 0
    assert listed(tape) == ["failed", "dddd", "failed", "aaaa2222"]
    assert run("delete", "--all", "--state", "failed", "--yes", "--store", tape).returncode == 0
    assert listed(tape) == ["dddd", "aaaa2222"]
    assert len(printed("exchanges", "--store", tape)) == 2
    assert run("delete", "--all", "--yes", "--store", tape).returncode == 0
    assert listed(tape) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "aaaa1111", "--yes"], ["--state", "failed", "--yes"], ["aaaa1111"], ["nobody", "--yes"]],
)
def test_nothing_is_deleted_by_mistake(tape, arguments):
    done = run("delete", *arguments, "--store", tape)
    assert done.returncode == 2
    assert len(listed(tape)) == 5


@pytest.mark.parametrize("command", ["sessions", "exchanges", "check", "delete", "replay"])
def test_every_command_that_takes_sessions_has_all_filters(command):
    said = run(command, "--help").stdout
    for option in ("name", "since", "until", "state", "player", "media", "user-agent", "with-findings"):
        assert f"  --{option} " in said


WORK = ("check", "delete --yes", "replay --target http://127.0.0.1:9", "replay --target http://127.0.0.1:9 --dry-run")


@pytest.mark.parametrize("command", WORK)
def test_selecting_no_session_is_an_error_that_names_the_filter_that_leaves_none(tape, command, monkeypatch):
    def refused(*filters: str) -> str:
        done = run(*command.split(), "--all", *filters, "--store", tape)
        assert (done.returncode, done.stdout) == (2, "")
        assert "  add --allow-empty to exit with 0 nevertheless" in done.stderr
        return done.stderr.splitlines()[0]

    nothing = "sessiontape: no session matches the filters:"
    assert refused("--player", "Roku 3") == f"{nothing} --player 'Roku 3' matches none of 5 sessions"
    assert refused("--name", "", "--until", "2026-03-09") == f"{nothing} --name '' matches none of 5 sessions"
    assert refused("--player", "tv", "--name", "tuesday", "--state", "ended", "--state", "open") == (
        f"{nothing} --state ended --state open matches none of the 4 sessions with --name tuesday"
    )
    monkeypatch.setenv(f"SESSIONTAPE_{command.split()[0].upper()}_SINCE", "2027-01-01")
    assert refused() == (
        f"{nothing} SESSIONTAPE_{command.split()[0].upper()}_SINCE=2027-01-01T00:00:00.000Z matches none of 5 sessions"
    )
    assert run(*command.split(), "--all", "--allow-empty", "--store", tape).returncode == 0
    assert len(listed(tape)) == 5


@pytest.mark.parametrize("command", WORK)
def test_selecting_from_an_empty_store_is_an_error(store, command):
    done = run(*command.split(), "--all", "--store", store.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the store has no sessions" in done.stderr
    assert run(*command.split(), "--all", "--allow-empty", "--store", store.url).returncode == 0


@pytest.mark.parametrize("command", ["sessions", "exchanges", "show x", "delete x --yes", "runs", "db check"])
def test_a_store_that_is_not_there_is_said_and_not_made(tmp_path, command):
    done = run(*command.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no store at sqlite:///sessiontape.db" in done.stderr
    assert "sessiontape record" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_another_schema_is_said_with_the_command_that_mends_it(tape, store, revision):
    from sqlalchemy import text

    with store.write() as db:
        db.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    done = run("sessions", "--store", tape)
    assert done.returncode == 2
    assert revision in done.stderr
    assert ("pip install --upgrade" if revision == "9999" else "sessiontape db upgrade --store") in done.stderr


def test_a_store_without_a_schema_is_said(store_url):
    empty = Store(store_url)
    empty.create_file()
    empty.close()
    done = run("sessions", "--store", store_url)
    assert done.returncode == 2
    assert "has no schema yet" in done.stderr
    assert "sessiontape db upgrade --store" in done.stderr


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("this is no database, whatever its name is\n" * 100, encoding="utf-8")
    for command in ("sessions", "db upgrade"):
        done = run(*command.split(), "--store", f"sqlite:///{tmp_path / 'notes.txt'}")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "not a database" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "mysql://host/db",
        "nonsense",
        "sqlite://",
        "postgresql://me:hunter2@127.0.0.1:1/db",
        "sqlite:////no/such/folder/x",
    ],
)
def test_a_store_that_cannot_be_reached_ends_record_at_once(tmp_path, url):
    done = run("record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--store", url, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["record"],
        ["record", "--upstream", "ftp://host"],
        ["record", "--upstream", "http://127.0.0.1:9", "--listen", "nowhere"],
        ["record", "--upstream", "http://127.0.0.1:9", "--set", "no_such_option=1"],
        ["record", "--upstream", "http://127.0.0.1:9", "--mode", "reverse:http://x"],
        ["record", "--upstream", "http://127.0.0.1:9", "--upstream-timeout", "0"],
        ["record", "--upstream", "http://127.0.0.1:9", "--cert", "nowhere.pem"],
        ["record", "--upstream", "http://127.0.0.1:9", "--durability", "maybe"],
        ["sessions", "--since", "yesterday"],
        ["sessions", "--state", "happy"],
        ["sessions", "--limit", "0"],
        ["nonsense"],
        ["replay", "--all"],
    ],
)
def test_a_mistake_in_usage_is_2_with_a_message(tmp_path, arguments):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_ends_record(tmp_path):
    with processes.collector(tmp_path) as other:
        done = run("record", "--upstream", "http://127.0.0.1:9", "--listen", f"127.0.0.1:{other.port}", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "in use" in done.stderr


@pytest.mark.every_version
def test_the_store_goes_down_and_up_again(store_url):
    assert run("db", "upgrade", "--store", store_url).returncode == 0
    assert "clean" in run("db", "check", "--store", store_url).stdout
    newest = run("db", "current", "--store", store_url).stdout.strip()
    assert newest == migrate.known_revisions()[-1]
    assert run("db", "downgrade", "--store", store_url).returncode == 0
    assert run("db", "current", "--store", store_url).stdout == "none\n"
    assert run("db", "check", "--store", store_url).returncode == 2
    assert run("db", "upgrade", "--store", store_url).returncode == 0
    assert run("db", "check", "--store", store_url).returncode == 0


def test_a_downgrade_that_deletes_data_wants_a_yes(tape):
    refused = run("db", "downgrade", "--store", tape)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "everything in it would be deleted; stdin is not a terminal to ask at, so add --yes" in refused.stderr
    assert run("db", "downgrade", "0005", "--store", tape).returncode == 2
    assert run("db", "downgrade", migrate.known_revisions()[-1], "--store", tape).returncode == 0  # deletes nothing
    assert len(listed(tape)) == 5

    def asked(answer: bytes) -> subprocess.Popen[bytes]:
        """Ask for it at a terminal."""
        keyboard, terminal = pty.openpty()
        os.write(keyboard, answer)
        try:
            command = [processes.COMMAND, "db", "downgrade", "--store", tape]
            with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.communicate()
        finally:
            os.close(keyboard)
            os.close(terminal)
        return process

    assert asked(b"n\n").returncode == 0
    assert len(listed(tape)) == 5
    assert asked(b"y\n").returncode == 0
    assert run("db", "current", "--store", tape).stdout == "none\n"
    assert run("db", "downgrade", "--store", tape).returncode == 0


def test_a_changed_store_is_not_clean(store):
    from sqlalchemy import text

    with store.write() as db:
        db.execute(text("DROP INDEX ix_sessions_upstream"))
    done = run("db", "check", "--store", store.url)
    assert done.returncode == 1
    assert "ix_sessions_upstream" in done.stdout


def test_a_sqlite_store_is_its_owners_alone_and_keeps_a_write_ahead_log(tmp_path):
    old = os.umask(0)
    try:
        assert run("db", "upgrade", cwd=tmp_path).returncode == 0
    finally:
        os.umask(old)
    path = tmp_path / "sessiontape.db"
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_the_environment_names_the_store_and_every_option(tape, monkeypatch):
    monkeypatch.setenv("SESSIONTAPE_STORE", tape)
    monkeypatch.setenv("SESSIONTAPE_SESSIONS_LIMIT", "2")
    assert len(printed("sessions")) == 2


@pytest.mark.parametrize(
    ("variable", "value", "command"),
    [
        ("SESSIONTAPE_SESSIONS_LIMIT", "x", "sessions"),
        ("SESSIONTAPE_SESSIONS_STATE", "happy", "sessions"),
        ("SESSIONTAPE_SESSIONS_JSON", "perhaps", "sessions"),
        ("SESSIONTAPE_EXCHANGES_SINCE", "yesterday", "exchanges"),
        ("SESSIONTAPE_RECORD_LISTEN", "nowhere", "record"),
        ("SESSIONTAPE_CHECK_SELECT", "ping-gab", "check --all"),
        ("SESSIONTAPE_CHECK_PLAYER", "x", "check aaaa1111"),
        ("SESSIONTAPE_CHECK_FILE", "x", "check aaaa1111"),
        ("SESSIONTAPE_CHECK_AS", "events", "check aaaa1111"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(tmp_path, monkeypatch, variable, value, command):
    monkeypatch.setenv(variable, value)
    done = run(*command.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert variable in done.stderr
    option = f"--{variable.split('_')[2].lower()}"
    assert option not in done.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("rules", 0),
        ("rules --json", 0),
        ("show aaaa1111 --json", 0),
        ("check --all", 1),
        ("check --all --json", 1),
        ("check --all --fail-on never", 0),
        ("diff aaaa1111 aaaa2222", 1),
        ("diff aaaa1111 aaaa2222 --json", 1),
    ],
)
def test_output_that_nobody_reads_leaves_the_exit_code_as_it_is(tape, options, code, monkeypatch):
    monkeypatch.setenv("SESSIONTAPE_STORE", tape)
    read, write = os.pipe()
    os.close(read)
    command = [processes.COMMAND, *options.split()]
    with forking.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as process:
        os.close(write)
        assert process.communicate() == (None, "")
    assert process.returncode == code


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--version", 0),
        ("--help", 0),
        ("rules", 0),
        ("rules --json", 0),
        ("nope", 2),
        ("sessions", 0),
        ("check --all", 1),
        ("delete aaaa1111", 2),
    ],
)
def test_closed_output_is_output_that_nobody_wants(tape, options, code):
    environment = {**os.environ, "SESSIONTAPE_STORE": tape}
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):
        command = f"exec {processes.COMMAND} {options} {closed}"
        done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False, env=environment)
        assert "Traceback" not in done.stderr
        assert done.returncode == code


def test_a_reader_that_has_seen_enough_is_no_error(tape):
    command = f"{processes.COMMAND} show aaaa1111 --json --store '{tape}' | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    "command", ["", "sessions", "exchanges", "show", "delete", "record", "replay", "runs", "db", "demo"]
)
def test_help_comes_without_a_store_or_a_heavy_library(tmp_path, command):
    code = (
        "import sys; from proxy_addon.cli import cli\n"
        f"try: cli.main([*{command.split()!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('mitmproxy', 'sqlalchemy', 'aiohttp')))"
    )
    done = subprocess.run(
        [str(processes.BIN / "python"), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_whole_day_between_two_events_is_fine(store):
    late = [start(id="x1"), event("ping", id="x2", after_s=timedelta(days=2).total_seconds())]
    with store.write() as db:
        saving.save(db, RecordingRun(id="r", name=None, started_at=BEGIN, version="0"), unjudged(late))
    assert "48:00:00" in run("sessions", "--store", store.url).stdout


def test_versions_and_paths_are_said(tmp_path: Path):
    assert run("--version").stdout.startswith("sessiontape")
    path = Path(run("addon-path").stdout.strip())
    assert path.name == "addon.py"
    assert path.is_file()


def documents_are_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_json_is_one_document_also_where_there_is_nothing(store):
    for command in ("sessions", "exchanges", "runs"):
        assert documents_are_json(command, "--store", store.url) == []


def test_the_help_of_every_command_fits_80_columns_and_cuts_no_sentence():
    def helps(command: click.Command, *names: str) -> Iterator[str]:
        yield CliRunner(env={"COLUMNS": "80"}).invoke(cli, [*names, "--help"], prog_name="sessiontape").output
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield from helps(below, *names, name)

    shown = list(helps(cli))
    assert len(shown) > 20
    for text in shown:
        lines = text.splitlines()
        assert lines[0].startswith("Usage: sessiontape")
        assert [line for line in lines if len(line) > 80] == []
        assert [line for line in lines[1:] if line.endswith("...")] == []
