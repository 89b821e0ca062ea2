"""The `run` command on real processes: what the command gets, how it ends, and that nothing is left behind."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import jsonschema_rs
import pytest

from proxy_addon.core.expectations import compare
from proxy_addon.process import children
from tests import builders, forking, processes
from tests.leftovers import Family
from tests.reports import parts_of

START = builders.body(builders.event_dict("sessionStart", ts=builders.BEGIN_MS)).decode()
SOON_S = 60
ON_PATH = os.environ | {"PATH": f"{Path(processes.COMMAND).parent}:{os.environ['PATH']}"}
"""The environment of a shell in which `sessiontape` is found."""
PLAYER = f"""
import json, os, sys, time, urllib.request
url = os.environ["SESSIONTAPE_URL"]
assert url == "http://" + os.environ["SESSIONTAPE_HOST"]

def send(path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {{"Content-Type": "application/json"}})
    return urllib.request.urlopen(request).headers["Location"]

def event(type, after_s, playhead=0):
    return {{"eventType": type, "playerTime": {{"playhead": playhead, "ts": now + int(after_s * 1000)}}}}

now = int(time.time() * 1000)
start = json.loads({START!r})
start["playerTime"]["ts"] = now
"""
WHOLE = """
where = send("/api/v1/sessions", start)
send(where + "/events", event("play", 0.1))
send(where + "/events", event("sessionEnd", 0.2))
"""
BROKEN = """
where = send("/api/v1/sessions", start)
send(where + "/events", event("play", 0.1) | {"params": {"media.nmae": "x", "media.ad.name": "an ad"}})
send(where + "/events", event("sessionEnd", 0.2, playhead=-1))
"""


def played(how: str, *options: str, then: str = "", **variables: str) -> tuple[int, str, str]:
    """Run a player under `run`; return its exit code, its output, and what was said on stderr.

    Args:
        then: More of the player, after what it reports.
        **variables: Of the environment.
    """
    family = Family()
    done = forking.run(
        [processes.COMMAND, "run", *options, "--", sys.executable, "-c", PLAYER + how + then],
        env=os.environ | family.mark | variables,
        text=True,
        timeout=60,
    )
    assert not family.survivors()
    return done.returncode, done.stdout, done.stderr


class TestExitCodes:
    def test_a_clean_recording_passes_and_stdout_belongs_to_the_command(self):
        assert played(WHOLE, then="print('mine')") == (0, "mine\n", "0 errors, 0 warnings, 0 infos\n")

    def test_findings_fail_the_run_unless_it_does_not_check(self, tmp_path):
        options = ("--fault", "events:status=204:first=9")  # accepts what the collector would refuse
        code, _, said = played(BROKEN, *options, "--fail-on", "info")
        assert code == 1
        assert "media.nmae" in said
        assert played(BROKEN, *options, "--no-check")[0] == 0

    def test_the_code_of_a_failed_command_comes_first(self):
        assert played(BROKEN, "--fault", "any:status=204:after=1", "--fail-on", "info", then="sys.exit(7)")[0] == 7
        assert played("", then="os.kill(os.getpid(), 15)")[0] == 143

    def test_nothing_recorded_is_no_success(self):
        code, _, said = played("")
        assert (code, "nothing was recorded" in said) == (2, True)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--", "no-such-command"], "command not found: no-such-command"),
            (["--", "/dev/null"], "/dev/null may not be run"),
            (["--", "/tmp/"], "/tmp/ is a folder"),
            (["--"], "Missing argument"),
            (["--upstream", "http://127.0.0.1:1", "--fault", "any:drop", "--", "true"], "leave out one of them"),
            (["--fault", "any:drip", "--", "true"], "unknown action 'drip'"),
        ],
    )
    def test_what_cannot_be_started_is_said_in_a_sentence(self, options, said):
        done = processes.run("run", *options)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_an_upstream_is_recorded_instead_and_the_store_is_kept(tmp_path, sqlite_url):
    with processes.collector(tmp_path) as upstream:
        code, _, said = played(WHOLE, "--upstream", upstream.url, "--store", sqlite_url)
        assert (code, len(upstream.received())) == (0, 3)
    (session,) = processes.printed("sessions", "--store", sqlite_url)
    assert (session["state"], session["upstream"]) == ("ended", upstream.url)
    listing = said.rpartition("1 session kept; to list: ")[2]
    assert session["id"][:8] in subprocess.check_output(listing, shell=True, text=True, env=ON_PATH)


def test_a_page_has_all_sessions_judged_as_the_run_judges_them(tmp_path):
    page, document = tmp_path / "a.html", tmp_path / "a.json"
    accepting = ("--fault", "events:status=204:first=9")
    # The last one is left open, and so is judged as over.
    code, _, said = played(
        WHOLE + BROKEN + WHOLE.rpartition("send(")[0], *accepting, "--report", str(page), "--report", str(document)
    )
    assert (code, f"sessiontape: 3 sessions written to {page}, " in said) == (1, True), said
    parts = parts_of(page.read_text(encoding="utf-8"))
    assert (parts["value"]["level"], parts["value"]["remarks"]) == ("fail", [])
    rows = {row["id"]: row for row in parts["value"]["rows"]}
    for session in json.loads(document.read_text())["sessions"]:
        told = parts[f"session-{rows[session['id']]['part']}"]["findings"]
        assert sorted(each["rule"] for each in told) == sorted(each["rule"] for each in session["findings"])
    assert any(each["rule"] == "session-not-closed" for part in parts.values() for each in part.get("findings", ()))
    code, _, said = played(WHOLE, "--report", str(tmp_path / "a.pdf"))
    assert (code, "end its name with .html, .json or .xml" in said) == (2, True)


def test_the_collector_answers_from_a_session(tmp_path, sqlite_url):
    played(WHOLE, "--store", sqlite_url, "--fault", "events:status=202:nth=1")
    code, _, said = played(WHOLE, "--from", "last", "--store", sqlite_url)
    assert code == 0, said
    first, second = processes.printed("sessions", "--store", sqlite_url)
    shown = [processes.printed("show", each["id"], "--store", sqlite_url)["exchanges"] for each in (first, second)]
    assert [[each["response"]["status"] for each in every] for every in shown] == [[201, 202, 204]] * 2


def test_a_user_without_a_home_can_run_it_and_the_verdict_stands_if_nobody_reads_it(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = forking.Popen(
        [processes.COMMAND, "run", "--fault", "events:status=204", "--", sys.executable, "-c", PLAYER + BROKEN],
        env=os.environ | {"HOME": "/dev/null"},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    assert process.wait(60) == 1


def test_the_tracking_is_held_to_fixtures_which_are_rewritten_on_purpose_only(tmp_path):
    fixture, report, junit = tmp_path / "visit.json", tmp_path / "report.json", tmp_path / "report.xml"
    options = ("--expect", str(fixture), "--report", str(report), "--report", str(junit))

    code, _, said = played(WHOLE, *options, "--update", CI="true")
    assert (code, "CI is set" in said, fixture.exists()) == (2, True, False)
    code, _, said = played(WHOLE, *options)
    assert (code, f"there is no {fixture}" in said, "add --update" in said) == (2, True, True), said
    assert played(WHOLE, *options, "--update", CI="")[0] == 0
    made = json.loads(fixture.read_text())
    assert made["sessiontape"]["pseudonymised"]
    assert made["compare"] == compare.document(None), "all that can be changed is there"
    fixture.write_text(json.dumps({**made, "compare": {"ignore": ["params/media.id"]}}))

    code, _, said = played(WHOLE, *options)
    assert code == 0
    assert re.search(r"^same tracking: .* expects \([0-9]+ expected events\)$", said, re.MULTILINE), said
    page = tmp_path / "report.html"
    code, _, said = played(WHOLE.replace('"play"', '"pauseStart"'), *options, "--report", str(page))
    assert (code, "pauseStart" in said) == (1, True), said
    parts = parts_of(page.read_text())
    (listed,) = parts["value"]["comparisons"]
    assert listed["names"] == [str(fixture), parts["value"]["rows"][0]["id"]]
    assert listed["verdict"] == parts["comparison-0"]["verdict"]
    assert listed["verdict"]["level"] == "fail"
    (expectation,) = json.loads(report.read_text())["expectations"]
    assert expectation["comparison"]["differences"]
    assert "pauseStart" in junit.read_text()

    late = ("--update", "--report", str(page))
    assert played(WHOLE, *options, *late, CI="", then="sys.exit(3)")[0] == 3
    value = parts_of(page.read_text())["value"]
    assert (value["level"], value["remarks"][0]) == ("fail", "The command ended with exit code 3.")
    code, _, said = played(BROKEN + BROKEN, *options, "--fault", "events:status=204", "--update", CI="")
    assert (code, "2 sessions recorded, but --expect names 1 file" in said) == (2, True), said
    assert "media.nmae" in said, "what the rules find is told nevertheless"
    document = json.loads(report.read_text())
    assert (document["ok"], document["exit_code"], len(document["sessions"])) == (False, 2, 2)
    assert document["error"].startswith("nothing was updated")
    assert 'type="not-updated"' in junit.read_text()
    assert json.loads(fixture.read_text())["exchanges"] == made["exchanges"], "nothing was written"
    assert played(WHOLE.replace('"play"', '"pauseStart"'), *options, "--update", CI="")[0] == 0
    again = json.loads(fixture.read_text())
    assert again["compare"] == {"ignore": ["params/media.id"]}
    assert "pauseStart" in fixture.read_text()
    assert list(tmp_path.glob(".*")) == []

    har = tmp_path / "other.json"
    har.write_text(json.dumps({"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": []}}))
    assert played(WHOLE, "--expect", str(har), "--update", CI="")[0] == 2
    assert "entries" in har.read_text()


@contextmanager
def running(how: str, *, terminal: bool = False, **variables: str):
    """Start a player under `run`, on a terminal of its own or without one; yield the process, its family, its output."""
    family = Family()
    parent, child = pty.openpty() if terminal else os.pipe()
    command = [processes.COMMAND, "run", "--", sys.executable, "-c", PLAYER + how]
    env = os.environ | family.mark | variables
    process: subprocess.Popen[bytes] | forking.Popen
    if terminal:
        # The interpreter of this one makes the terminal its own before it becomes the command.
        takes = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", takes, *command],
            env=env,
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
    else:
        # A forked process would keep the folder for temporary files that it was forked with.
        make = subprocess.Popen if variables else forking.Popen
        process = make(command, env=env, stdin=subprocess.DEVNULL, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    output = os.fdopen(parent, "rb", buffering=0)
    try:
        yield process, family, output, parent
    finally:
        process.kill()
        process.wait()
        output.close()


def read_until(output, text: bytes) -> bytes:
    read = b""
    while text not in read:
        piece = output.read(1024)
        assert piece, read
        read += piece
    return read


WAITS = WHOLE + "print('playing', os.getpid(), sys.stdin.isatty(), flush=True)\n"
SLEEPS = WAITS + "time.sleep(60)\n"


class TestEndings:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_goes_to_the_command_and_ends_everything(self, number):
        # Not `sys.exit`, which Python ignores if the signal comes while it clears something away.
        tells = f"import os, signal\nsignal.signal({int(number)}, lambda *_: os._exit(5))\n"
        with running(tells + SLEEPS) as (process, family, output, _):
            read_until(output, b"playing")
            process.send_signal(number)
            assert process.wait(SOON_S) == 5
            assert not family.survivors()

    @pytest.mark.parametrize("repeated", [False, True])
    def test_a_command_that_does_not_end_is_killed_with_all_that_it_has_started(self, repeated):
        deaf = "import signal, subprocess\nsignal.signal(15, signal.SIG_IGN)\nsubprocess.Popen(['env', '-i', 'sleep', '60'])\n"
        with running(deaf + SLEEPS) as (process, family, output, _):
            pid = int(read_until(output, b"\n").split()[1])
            began_s = time.monotonic()
            (child,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            process.send_signal(signal.SIGTERM)
            if repeated:
                time.sleep(0.4)  # later than what counts as the same signal
                process.send_signal(signal.SIGTERM)
            assert process.wait(SOON_S) == 128 + signal.SIGKILL
            assert (time.monotonic() - began_s < children.GRACE_S) == repeated, (
                "killed by the second signal, or after five seconds"
            )
            assert not Path(f"/proc/{child}").exists()
            assert not family.survivors()

    def test_ctrl_c_ends_both(self):
        with running(SLEEPS, terminal=True) as (process, family, output, terminal):
            assert b"True" in read_until(output, b"\n"), "the command has the terminal"
            os.write(terminal, b"\x03")
            told = read_until(output, b"sessiontape: interrupted, so there is no verdict")
            assert b"nothing was recorded" not in told
            assert process.wait(SOON_S) == 130
            assert not family.survivors()

    def test_a_command_that_goes_on_after_ctrl_c_is_left_alone(self):
        tries = "try:\n    print('playing', flush=True)\n    time.sleep(60)\n"
        goes_on = "except KeyboardInterrupt:\n    print('still here', input(), flush=True)\n"
        with running(WHOLE + tries + goes_on, terminal=True) as (process, family, output, terminal):
            read_until(output, b"playing")
            os.write(terminal, b"\x03")
            os.write(terminal, b"yes\n")
            read_until(output, b"still here yes")
            assert process.wait(SOON_S) == 0
            assert not family.survivors()

    def test_it_notices_that_its_command_was_killed(self):
        child = "import subprocess\nsubprocess.Popen(['sh', '-c', 'trap : TERM; sleep 60 & wait; wait'])\n"
        with running(child + SLEEPS) as (process, family, output, _):
            pid = int(read_until(output, b"\n").split()[1])
            os.kill(pid, signal.SIGKILL)
            assert process.wait(SOON_S) == 128 + signal.SIGKILL
            assert not family.survivors(0), "nor does what the command has started"

    def test_nothing_survives_when_it_is_killed_itself(self, tmp_path):
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        child = "import subprocess\nsubprocess.Popen(['sleep', '60'])\n"
        with running(child + SLEEPS, TMPDIR=str(temporary)) as (process, family, output, _):
            read_until(output, b"\n")
            assert list(temporary.glob("*/run.db"))
            process.kill()
            process.wait()
            assert not family.survivors(), "nor does the command, or what it has started"
            assert list(temporary.iterdir()) == [], "nor does the recording"

    def test_what_the_command_leaves_running_is_ended(self):
        # In a session and with an environment of its own, it ignores SIGTERM, and its parent has ended.
        hides = "exec env -i sh -c 'trap \"\" TERM; echo $$ > /dev/stderr; sleep 60 & wait'"
        daemon = f"import subprocess\nsubprocess.Popen(['sh', '-c', {f'({hides}) & :'!r}], start_new_session=True)\n"
        with running(WHOLE + daemon + "sys.exit(4)\n") as (process, family, output, _):
            pid = int(read_until(output, b"\n"))
            assert process.wait(SOON_S) == 4
            assert not Path(f"/proc/{pid}").exists()
            assert not family.survivors(0)

    def test_the_command_sees_what_it_has_started_end(self):
        ends = "pid=$(sleep 60 > /dev/null & echo $!); kill $pid; while kill -0 $pid; do sleep 0.05; done; echo gone"
        shell = f"import subprocess\nsubprocess.run({ends!r}, shell=True)\n"
        with running(WHOLE + shell) as (process, _, output, _):
            read_until(output, b"gone")
            assert process.wait(SOON_S) == 0


@pytest.fixture(scope="module")
def control():
    """The control API of a command that runs until this module's tests have asked enough."""
    told = "print(os.environ['SESSIONTAPE_CONTROL'], url, flush=True)\nsys.stdin.read()\n"
    with forking.Popen(
        [processes.COMMAND, "run", "--", sys.executable, "-c", PLAYER + told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address, url = process.stdout.readline().split()
        yield Api(address), url
        process.communicate()


class Api:
    """Asks the control API, and checks every answer against its own description."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.description = httpx.get(f"{address}/openapi.json").json()
        self.used: set[str] = set()

    def __call__(self, method: str, path: str, *, status: int = 200, headers: dict[str, str] | None = None, **body):
        answer = httpx.request(method, self.address + path, headers=headers, json=body or None, timeout=20)
        assert answer.status_code == status, answer.text
        plain = path.partition("?")[0]
        paths = self.description["paths"]
        operation = next((paths[each].get(method.lower()) for each in paths if _is_like(each, plain)), None)
        if operation is not None:
            described = operation["responses"][str(status)]
            self.used.add(operation["operationId"])
            if "content" in described:
                self.check(described["content"]["application/json"]["schema"], answer.json())
        elif answer.content:
            self.check({"$ref": "#/components/schemas/Error"}, answer.json())
        return answer.json() if answer.content else answer

    def check(self, schema, value) -> None:
        jsonschema_rs.Draft202012Validator({**schema, "components": self.description["components"]}).validate(value)


def _is_like(pattern: str, path: str) -> bool:
    parts, asked = pattern.split("/"), path.split("/")
    return len(parts) == len(asked) and all(a == b or a.startswith("{") for a, b in zip(parts, asked, strict=True))


def test_the_control_api_tells_of_sessions_and_orders_faults(control):
    api, url = control

    def post(path, event):
        return httpx.post(url + path, json=event, timeout=20)

    start = json.loads(START)

    case = api("POST", "/cases", status=201, name="it plays")["case"]
    assert case["name"] == "it plays"
    assert api("GET", "/sessions") == {"case": case, "sessions": []}
    assert api("GET", "/sessions?wait=started&timeout=0", status=504)["error"]["message"].endswith("none was recorded")

    where = post("/api/v1/sessions", start).headers["Location"] + "/events"
    (session,) = api("GET", "/sessions?wait=started")["sessions"]
    assert (session["state"], session["media_id"]) == ("open", "video-123")
    assert api("GET", "/sessions?media=other")["sessions"] == []
    said = api("GET", "/sessions?wait=ended&timeout=0.1", status=504)["error"]["message"]
    assert said == "after 0.1 s: waited for 1 session that has ended: 1 open"

    api("POST", "/faults", status=201, fault="events:status=503:nth=2")
    assert [post(where, builders.event_dict("ping")).status_code for _ in range(3)] == [204, 503, 204]
    events = api("GET", "/events?type=ping&wait=3")["events"]
    assert [(each["status"], each["seq"], each["body"]["eventType"]) for each in events] == [
        (204, 2, "ping"), (503, 3, "ping"), (204, 4, "ping")
    ]  # fmt: skip
    said = api("GET", "/events?type=play&wait=1&timeout=0", status=504)["error"]["message"]
    assert said == "after 0 s: 0 of 1 events of type 'play'; received: 1 sessionStart, 3 ping"

    api("POST", "/faults", status=201, fault="events:status=500")
    assert api("DELETE", "/faults", status=204).status_code == 204
    assert post(where, builders.event_dict("sessionEnd")).status_code == 204
    (session,) = api("GET", "/sessions?wait=ended")["sessions"]
    shown = api("GET", f"/sessions/{session['id']}")
    assert shown == api("GET", f"/sessions/{session['session_id']}") == api("GET", "/sessions/last")
    assert [each["event_type"] for each in shown["exchanges"]] == ["sessionStart", "ping", "ping", "ping", "sessionEnd"]
    verdict = api("GET", "/verdict")
    assert {each["rule"] for each in verdict["sessions"][0]["findings"]} > {"upstream-failed"}
    assert verdict["counts"] == session["findings"]

    api("POST", "/faults", status=201, fault="any:status=500")
    api("POST", "/cases", status=201)
    assert api("GET", "/verdict")["sessions"] == []
    assert post("/api/v1/schemas/play", {}).status_code == 405, "the fault went with its case"
    api("GET", f"/sessions/{session['id']}", status=404)

    assert api("GET", "/openapi.json") == api.description
    described = {each["operationId"] for path in api.description["paths"].values() for each in path.values()}
    assert api.used == described, "every operation was used here"


def test_a_waiting_request_is_answered_as_soon_as_it_can_be(control):
    from concurrent.futures import ThreadPoolExecutor

    api, url = control
    api("POST", "/cases", status=201)
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(api, "GET", "/sessions?wait=started&timeout=20") for _ in range(12)]
        began_s = time.monotonic()
        httpx.post(url + "/api/v1/sessions", content=START)
        assert all(len(each.result()["sessions"]) == 1 for each in waiting)
        assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/session", 404, "there is no /session"),
        ("PUT", "/sessions", 405, "/sessions takes GET"),
        ("POST", "/faults", 400, "the fault is missing"),
        ("GET", "/sessions?wiat=ended", 400, "unknown parameter 'wiat'; did you mean wait?"),
        ("GET", "/sessions?wait=over", 400, "started or ended"),
        ("GET", "/sessions?timeout=never", 400, "write seconds from 0 to 600"),
        ("GET", "/events?wait=-1", 400, "write a whole number"),
        ("GET", "/events?wait=2&timeout=0&type=%ff%00", 504, r"0 of 2 events of type '�\x00'"),
    ],
)
def test_errors_have_one_form(control, method, path, status, said):
    assert said in control[0](method, path, status=status)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 200_000, "not JSON: nested too deep"),
        (b'{"name": NaN}', "not JSON: NaN is not a JSON value"),
        (b'{"name": "\xff"}', "not JSON: invalid UTF-8"),
        (b'{"name": "\\ud83d"}', r"name has a lone surrogate, which is no character: '\ud83d'"),
        (b"[]", "not a JSON object"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(control, body, said):
    answer = httpx.post(f"{control[0].address}/cases", content=body)
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (400, True), answer.text


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"rubbish\r\n\r\n", "this is not HTTP"),
        (b"POST /cases HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n", "the body is larger than"),
    ],
)
def test_what_the_server_refuses_itself_has_the_same_form(control, request_, said):
    host, _, port = control[0].address.rpartition("//")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rwb") as file:
        file.write(request_)
        file.flush()
        head, _, body = file.read().partition(b"\r\n\r\n")
    control[0].check({"$ref": "#/components/schemas/Error"}, json.loads(body))
    assert said in json.loads(body)["error"]["message"]
    assert b"Access-Control-Allow-Origin" not in head


def test_a_fault_that_cannot_be_understood_says_what_can(control):
    error = control[0]("POST", "/faults", status=400, fault="evnts:drop")["error"]
    assert ("unknown place 'evnts'" in error["message"], "places are" in error["hint"]) == (True, True)
    assert "unknown member" in control[0]("POST", "/cases", status=400, nmae="x")["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.example:80"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://127.0.0.1"}, 200),
    ],
)
def test_only_pages_of_this_machine_may_use_it(control, headers, status):
    api, _ = control
    api("GET", "/verdict", status=status, headers=headers)
    answer = httpx.get(f"{api.address}/verdict", headers=headers)
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    assert allowed == (headers.get("Origin") if status == 200 else None)
    if allowed is not None:
        asked = httpx.options(f"{api.address}/faults", headers=headers | {"Access-Control-Request-Method": "DELETE"})
        assert (asked.status_code, asked.headers["Access-Control-Allow-Methods"]) == (204, "POST, DELETE")


def test_a_real_upstream_takes_no_orders():
    asks = """
for method in ("POST", "DELETE"):
    request = urllib.request.Request(
        os.environ["SESSIONTAPE_CONTROL"] + "/faults", b'{"fault": "any:drop"}', method=method
    )
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as e:
        print(e.code, json.load(e)["error"]["message"])
"""
    code, out, _ = played("", "--upstream", "http://127.0.0.1:9", then=asks)
    assert (code, out.count("409 faults can be ordered only from the collector")) == (2, 2)
