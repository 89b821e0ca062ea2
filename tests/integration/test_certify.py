"""`certify` on real processes: a command plays, a person plays, and sessions that were recorded before are judged."""

from __future__ import annotations

import errno
import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from itertools import takewhile
from pathlib import Path

import pytest

from proxy_addon.cli.output import while_heard
from tests import builders, processes
from tests.reports import parts_of
from tests.staged import Staged, sessions_of

CLIP = """\
title: The demo's clip
about: Three seconds of content after an ad.
sources: [the demo]
steps: [Let the clip play.]
sessions:
  - name: The clip
    expect:
      - that: The ad comes first.
        sequence:
          - event: sessionStart
          - event: adComplete
            after_s: {at_least: 1, at_most: 10}
            without: pauseStart
      - that: The content is counted.
        metrics: {content_time_spent_s: {at_least: 2, at_most: 10}}
      - that: The visitor is known.
        each: {event: sessionStart, params: {analytics.reportSuite: {present: true}}}
"""
START = builders.body(builders.event_dict("sessionStart", ts=builders.BEGIN_MS)).decode()
HASTY = f"""
import json, sys, time, urllib.request

def send(path, type, after_s):
    body = json.loads({START!r}) if type == "sessionStart" else {{"eventType": type}}
    body["playerTime"] = {{"playhead": 0, "ts": now + int(after_s * 1000)}}
    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode(), {{"Content-Type": "application/json"}})
    return urllib.request.urlopen(request).headers["Location"]

now = int(time.time() * 1000)
where = send("/api/v1/sessions", "sessionStart", 0)
for number, type in enumerate(("play", "pauseStart", "play", "sessionEnd"), 1):
    send(where + "/events", type, number / 10)
"""
"""A player that pauses for an instant."""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "clip.yaml").write_text(CLIP)
    return folder


def test_a_command_plays_two_scenarios_and_the_page_has_their_evidence(own, tmp_path):
    page, store = tmp_path / "evidence.html", f"sqlite:///{tmp_path}/kept.db"
    (tmp_path / "hasty.py").write_text(HASTY)
    shell = f"""
        echo "plays $SESSIONTAPE_SCENARIO"
        case $SESSIONTAPE_SCENARIO in clip) player='-m proxy_addon.demo.player';; *) player=hasty.py;; esac
        exec {sys.executable} $player "$SESSIONTAPE_URL"
    """
    options = ["--scenarios", str(own), "--report", str(page), "--store", store, "--json"]
    done = processes.run("certify", "clip", "short-pause", *options, "--", "sh", "-c", shell, cwd=tmp_path)

    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert [(each["scenario"], each["ok"]) for each in document["scenarios"]] == [
        ("clip", True),
        ("short-pause", False),
    ]
    failing = [line for line in document["scenarios"][1]["checklist"] if not line["ok"]]
    assert failing[0]["that"] == "The pause is reported, and playing on where it began."
    message = "#3 pauseStart (0:00.2) comes 0.1 s after #2 play (0:00.1), expected at least 15 s"
    assert failing[0]["failures"] == [{"message": message, "number": 3}]
    assert "plays clip\n" in done.stderr, "what the command prints goes to stderr"

    parts = parts_of(page.read_text("utf-8"))
    assert {"session-0", "traffic-0", "session-1", "traffic-1", "value"} <= parts.keys()
    value = parts["value"]
    assert value["pseudonymised"]
    assert [each["lines"] for each in value["scenarios"]] == [each["checklist"] for each in document["scenarios"]]
    verdicts = [parts[f"session-{number}"]["verdict"] for number in (0, 1)]
    assert [each["level"] for each in verdicts] == ["pass", "fail"], "a session has the verdict of its checklist"
    assert verdicts[0]["headline"] == "All 6 lines of the checklist hold."
    assert re.match(r"\d of 8 lines of the checklist fail: The pause is reported, and playing", verdicts[1]["headline"])

    # The same, of what is in the store now.
    session = document["scenarios"][0]["sessions"][0]
    again = processes.run("certify", "clip", "--scenarios", str(own), "--session", session, "--store", store)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("PASS  The demo's clip (clip)\n  ✓ The player opens 1 session.\n")


def test_a_person_plays_until_enter_or_ctrl_c_is_pressed(own, tmp_path):
    master, slave = pty.openpty()
    command = [processes.COMMAND, "certify", "clip", "live", "seek", "--scenarios", str(own), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as certify:
        os.close(slave)
        watchdog = threading.Timer(60, certify.kill)
        watchdog.start()
        assert certify.stderr is not None
        url = re.search(r"listening on (http://\S+) -> a collector", certify.stderr.readline().decode())
        assert url is not None
        assert [certify.stderr.readline() for _ in range(3)] == [
            b"The demo's clip (clip)\n",
            b"  1. Let the clip play.\n",
            b"Press Enter when you are done. It also ends five seconds after the player has closed its last session.\n",
        ]
        subprocess.run([sys.executable, "-c", HASTY, url[1]], check=True)
        assert certify.stderr.readline().startswith(b"sessiontape: session 1 of 1 has begun: Python-urllib/")
        os.write(master, b"\n\n")
        assert certify.stdout is not None
        first = b"".join(takewhile(b"\n".__ne__, certify.stdout)).decode()  # before the next scenario is asked for
        assert any(b"Press Enter" in line for line in certify.stderr), "what was typed before does not answer"
        lost = http.client.HTTPConnection(url[1].removeprefix("http://"))
        lost.request("POST", "/api/v1/sessions/gone/events", builders.body(builders.event_dict("ping")))
        assert lost.getresponse().status == 404
        lost.close()
        goes_on = (
            b"a playback goes on that began before: a device without User-Agent; stop it, and begin the scenario again"
        )
        assert certify.stderr.readline() == b"sessiontape: " + goes_on + b"\n"
        certify.send_signal(signal.SIGINT)
        out, err = certify.communicate()
        watchdog.cancel()
    os.close(master)
    assert certify.returncode == 128 + signal.SIGINT
    assert "✗ The ad comes first.\n      no adComplete comes after #1 sessionStart (0:00.0)\n" in first
    assert "      its start was not recorded\n" in out.decode()
    assert out.decode().endswith("\n0 of 2 scenarios passed, 1 not played; failed: clip, live\n")
    assert err == b"sessiontape: interrupted; not played: seek\n"


def test_a_command_that_fails_leaves_its_exit_code_and_the_evidence_and_others_are_played(tmp_path):
    (tmp_path / "hasty.py").write_text(HASTY)
    shell = f"""
        case $SESSIONTAPE_SCENARIO in
            live) {sys.executable} hasty.py "$SESSIONTAPE_URL"; exit 2;;
            resume) exit 3;;
            pre-roll) kill -INT $PPID; exec sleep 60;;
        esac
    """
    names = ("live", "resume", "seek", "pre-roll", "mid-roll")
    done = processes.run("certify", *names, "--", "sh", "-c", shell, cwd=tmp_path)
    assert done.returncode == 2, "that of the first one"
    assert done.stdout.startswith(
        "FAIL  Live content (live)\n  ✗ The command that plays it succeeds.\n      it ended with exit code 2\n"
    )
    assert done.stdout.endswith(
        "FAIL  Seeking forward and backward (seek)\n  ✓ The command that plays it succeeds.\n"
        "  ✗ The player opens 1 session.\n      no session was recorded\n\n"
        "0 of 3 scenarios passed, 2 not played; failed: live, resume, seek\n"
    )
    assert done.stderr == (
        "sessiontape: the command that plays live ended with exit code 2\n"
        "sessiontape: the command that plays resume ended with exit code 3\n"
        "sessiontape: the command that plays pre-roll ended with exit code 130\n"
        "sessiontape: interrupted; not played: pre-roll, mid-roll\n"
    )


def test_a_terminal_that_is_closed_ends_nothing_and_a_full_disk_does():
    def fails(number: int) -> None:
        raise OSError(number, os.strerror(number))

    with while_heard():
        fails(errno.EIO)  # as a terminal that has gone
    with pytest.raises(OSError, match="No space"), while_heard():
        fails(errno.ENOSPC)


def test_sessions_in_files_are_judged_the_oldest_first(tmp_path):
    names = []
    for number, each in enumerate(
        sessions_of(
            [
                Staged().start().play(60).end(),
                Staged(100, 60, media__resume=True).start().play(30).end(),
            ]
        )
    ):
        bodies = [json.loads(exchange.request.body) for exchange in each.exchanges]
        names.append(str(tmp_path / f"{number}.json"))
        Path(names[-1]).write_text(json.dumps(bodies))
    copy = tmp_path / "a copy.json"
    copy.write_bytes(Path(names[0]).read_bytes())
    done = processes.run("certify", "resume", "--session", names[1], "--session", names[0], "--session", str(copy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f": session {names[0]}\n" in done.stdout
    assert f"a copy.json counts once: it is the same as {names[0]}\n" in done.stderr


def test_scenarios_are_listed_and_one_is_told_in_full(own):
    every = processes.run("certify", "--list", "--scenarios", str(own)).stdout.splitlines()
    assert len(every) == 25
    assert every[0] == "five-minutes     Five minutes of play"
    assert every[-1] == "clip             The demo's clip"
    one = processes.run("certify", "--list", "clip", "--scenarios", str(own)).stdout
    assert one.startswith("The demo's clip (clip)\n  1. Let the clip play.\n  Three seconds of content after an ad.\n")
    assert "  - The ad comes first.\n" in one
    (document,) = processes.printed("certify", "--list", "clip", "--scenarios", str(own), "--json")
    assert document["sessions"][0]["name"] == "The clip"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["certify"], "name scenarios, which --list lists, or give --all"),
        (["certify", "seke"], "unknown scenario seke; did you mean seek?"),
        (["certify", "seek", "--"], "the command is missing"),
        (["certify", "--all", "--session", "last"], "--session judges by one scenario: name one"),
        (["certify", "seek", "--session", "last", "--", "true"], "nothing is played"),
        (["certify", "seek", "--report", "a.json"], "end the name a.json with .html"),
        (["certify", "seek", "--report", "no/e.html", "--", "true"], "cannot write no/e.html: there is no folder no"),
        (["certify", "--list", "--scenarios", "own"], "own/broken.yaml:1:1: unknown key 'titel'; did you mean title?"),
        (
            ["certify", "--all", "--", "sh", "-c", "exit 2"],
            "the command that plays downloaded ended with exit code 2\nsessiontape: nothing was recorded",
        ),
    ],
)
def test_what_cannot_be_done_is_told(arguments, told, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "broken.yaml").write_text("titel: x\n")
    done = processes.run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
