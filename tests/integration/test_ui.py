"""``sessiontape ui``: real servers over loopback, asked as a browser asks, and as one asks who may not."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.replays.runs import ReplayRun, RunOptions
from storage import findings, migrate, runs, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.models import SessionRow
from storage.saving import RecordingRun
from tests import processes, stores
from tests.builders import BEGIN, at, event, start, unjudged
from tests.processes import ANY_PORT, COMMAND, Server

RUN = RecordingRun(id="r1", name="smoke", started_at=BEGIN, version="1")
WITHIN_S = 60


def save(store: Store, *values: Exchange) -> None:
    with store.write() as db:
        saving.save(db, RUN, unjudged(values))


def a_session(number: int, media: str = "video-123", **params: Any) -> Exchange:
    """The start of a session; each begins a second after the one before."""
    given = {"media.id": media, "media.name": f"Film {number}", "media.playerName": "Web player"} | params
    return start(id=f"x{number:05}", session_id=f"sid-{number:05}", after_s=number, params=given)


def an_event(number: int, count: int, type: str = "play") -> Exchange:
    after_s = number + count
    return event(type, id=f"y{number:05}-{count}", session_id=f"sid-{number:05}", after_s=after_s, playhead=count)


def ids(store: Store) -> dict[str, str]:
    """Our ids by those of the back end."""
    with store.read() as db:
        return {each.session_id or "": each.id for each in sessions.newest(db, Filters(), now=at(60))}


@contextmanager
def serving(store_url: str, cwd: Path, *options: str) -> Iterator[Server]:
    command = [COMMAND, "ui", *(() if "--listen" in options else ANY_PORT), "--store", store_url, *options]
    with processes.serving(command, cwd) as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> processes.Answer:
    return server.ask(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def value_of(answer: processes.Answer) -> Any:
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def embedded_in(page: bytes) -> Any:
    """The value that an HTML page draws."""
    packed = re.search(rb'data-part="value">([^<]*)<', page)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


class Stream:
    """Server-sent events, as they come."""

    def __init__(self, server: Server, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN_S)
        self._connection.request("GET", path, headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()

    def next(self) -> tuple[str, Any]:
        name = ""
        while line := self._answer.readline().decode():
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        raise EOFError

    def until(self, wanted: str) -> Any:
        """The value of the next event of a kind."""
        while True:
            name, value = self.next()
            if name == wanted:
                return value

    def close(self) -> None:
        self._connection.close()


# Who may read


def test_what_is_no_visit_to_our_own_address_is_refused(store, tmp_path):
    save(store, a_session(1))
    with serving(store.url, tmp_path) as server:
        port = server.port
        for host in (f"127.0.0.1:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", "localhost:9"):
            assert ask(server, "/sessions.json", Host=host).status == 200, host
        for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""):
            assert ask(server, "/sessions.json", Host=host).status == 421, host
        page = ask(server, "/", Host="evil.example", Accept="text/html")
        assert (page.status, b"<h1>" in page.body, b'<a href="/">Sessions</a>' in page.body) == (421, True, False)
        page = ask(server, "/sessions/%3Cb%3E", Accept="text/html")
        assert (page.status, b"<b>&" in page.body, b'<a href="/">Sessions</a>' in page.body) == (404, False, True)
        assert b"&lt;b&gt;" in page.body
        moved = ask(server, "/sessions?state=open")
        assert (moved.status, moved.header("location")) == (307, "/?state=open")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            refused = ask(server, "/sessions.json", method)
            assert (refused.status, refused.header("allow")) == (405, "GET, HEAD"), method
        assert ask(server, "/sessions.json", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
        assert ask(server, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
        head = ask(server, "/", "HEAD")
        assert (head.status, head.body) == (200, b"")


def test_each_answer_forbids_browsers_what_it_can(sqlite_url, tmp_path):
    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
        save(store, a_session(1))
        (id,) = ids(store).values()
    with serving(sqlite_url, tmp_path) as server:
        pages = ["/", f"/sessions/{id}"]
        others = [
            "/sessions.json",
            f"/sessions/{id}.json",
            f"/sessions/{id}/traffic.json",
            "/nothing",
            "/sessions/none",
        ]
        for path in (*pages, *others):
            answer = ask(server, path, Origin="https://evil.example")
            names = {name.lower() for name, _ in answer.headers}
            assert not any(name.startswith("access-control-") for name in names), path
            assert "server" not in names
            assert answer.header("x-content-type-options") == "nosniff"
            assert answer.header("referrer-policy") == "no-referrer"
            assert answer.header("cache-control") == "no-store"
            policy = answer.header("content-security-policy") or ""
            assert policy.startswith("default-src 'none'"), path
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert ("connect-src 'self'" in policy) is (path in pages)


def test_where_others_reach_the_pages_the_token_is_needed_once(sqlite_url, tmp_path):
    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
    command = [COMMAND, "ui", "--listen", "0.0.0.0:0", "--store", sqlite_url]
    process = processes.Process(command, tmp_path, "listening on")
    try:
        url = urlsplit(process.wait_until_ready().removeprefix("listening on "))
        token = url.query.removeprefix("token=")
        assert url.port is not None
        assert len(token) >= 32
        server = Server(process, url.port, "")
        for path in ("/", "/sessions.json", "/live", "/?token=", f"/?token={token[:-1]}x", "/nothing"):
            assert ask(server, path).status == 401, path
        assert ask(server, "/", Cookie=f"sessiontape-{url.port}=x").status == 401
        welcome = ask(server, f"//evil.example/%3Cb%3E?q=%22%3E&token={token}&state=open")
        assert welcome.status == 200
        assert token.encode() not in welcome.body
        assert b'content="0; url=/evil.example/%3Cb%3E?q=%22%3E&amp;state=open"' in welcome.body
        cookie = welcome.header("set-cookie") or ""
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
        assert ask(server, "/", Cookie=cookie.partition(";")[0]).status == 200
    finally:
        assert process.stop(signal.SIGINT) == 0
    assert "anyone who can reach the pages and has their whole address" in process.output


# What there is


def test_the_list_has_what_the_command_lists_filtered_and_in_pages(store, tmp_path):
    save(store, *(a_session(number, media=f"clip-{number % 3}") for number in range(1, 453)))
    save(store, an_event(452, 1, "sessionEnd"))
    with serving(store.url, tmp_path) as server:
        first = value_of(ask(server, "/sessions.json"))
        assert first == embedded_in(ask(server, "/").body) | {"made_at": first["made_at"]}
        listed = processes.printed("sessions", "--limit", "200", "--store", store.url)
        assert [{name: row[name] for name in listed[0]} for row in first["rows"]] == listed
        assert first["rows"][0]["verdict"] == "pass"
        pages = [first]
        while pages[-1]["older"]:
            pages.append(value_of(ask(server, f"/sessions.json?before={pages[-1]['older']}")))
        assert [len(page["rows"]) for page in pages] == [200, 200, 52]
        names = [row["session_id"] for page in pages for row in page["rows"]]
        assert names == [f"sid-{number:05}" for number in range(452, 0, -1)]

        def number_of(query: str) -> int:
            value = value_of(ask(server, f"/sessions.json?{query}"))
            assert value["filters"]
            return len(value["rows"])

        assert number_of("state=ended") == 1
        assert number_of("state=ended&state=expired&q=sid-0045") == 3
        assert number_of("media=clip-1&player=WEB&since=2026-03-01T12:06") == 31
        assert number_of(f"q={first['rows'][3]['id'][:12]}") == 1
        assert number_of("q=nothing-like-it") == 0
        assert number_of("name=smoke&since=2026-03-01T12:07:30Z&until=2026-03-01T12:07:32Z") == 2
        for query, said in (
            ("medium=x", "unknown filter 'medium'"),
            ("since=yesterday", "'yesterday' is not a time"),
            ("state=closed", "'closed' is not a state"),
            ("media=a&media=b", "media is given twice"),
            ("with-findings=yes", "with-findings='yes'"),
        ):
            refused = ask(server, f"/sessions.json?{query}")
            assert (refused.status, said in json.loads(refused.body)["error"]) == (400, True), refused.body
        assert ask(server, "/sessions.json?before=gone").status == 404


def test_a_session_has_its_page_its_value_and_its_traffic(store, tmp_path):
    hostile = "</script><script>alert(1)</script>\u202e"
    save(store, a_session(1, **{"media.name": hostile}), an_event(1, 1), a_session(2), a_session(3))
    of = ids(store)
    with serving(store.url, tmp_path) as server:
        page = ask(server, f"/sessions/{of['sid-00001']}")
        assert b"alert(1)</script>" not in page.body
        value = value_of(ask(server, f"/sessions/{of['sid-00001']}.json"))
        assert embedded_in(page.body)["events"] == value["events"]
        assert value["session"]["media_name"] == hostile
        assert value["events"]["n"] == [1, 2]
        assert value_of(ask(server, f"/sessions/{of['sid-00002']}.json"))["links"] == [
            ["previous", of["sid-00001"]],
            ["next", of["sid-00003"]],
        ]
        path = f"/sessions/{of['sid-00001']}/traffic"
        whole, one = value_of(ask(server, f"{path}.json")), value_of(ask(server, f"{path}/2.json"))
        assert sorted(whole["rows"]) == ["1", "2"]
        assert list(one["rows"]) == list(value_of(ask(server, f"{path}.json?after=1"))["rows"]) == ["2"]
        assert one["rows"]["2"][4] == whole["rows"]["2"][4]
        by_name = ask(server, "/sessions/sid-00001")
        assert (by_name.status, by_name.header("location")) == (307, f"/sessions/{of['sid-00001']}")
        unknown = ask(server, "/sessions/sid-0000")
        assert unknown.status == 404
        assert unknown.body.startswith(b"several sessions match 'sid-0000'")
        for missing in ("/sessions/none.json", "/sessions/none/live", "/sessions/none/traffic.json"):
            assert ask(server, missing).status == 404


# What changes


def test_an_open_list_hears_of_what_is_new_changed_and_deleted(store, tmp_path):
    save(store, a_session(1), a_session(2, media="other"))
    of = ids(store)
    with serving(store.url, tmp_path) as server:
        with closing(Stream(server, "/live")) as stream, closing(Stream(server, "/live?media=other")) as filtered:
            first = stream.until("sessions")
            assert (first["whole"], [row["session_id"] for row in first["rows"]]) == (True, ["sid-00002", "sid-00001"])
            assert [row["id"] for row in filtered.until("sessions")["rows"]] == [of["sid-00002"]]
            save(store, an_event(1, 1))
            (changed,) = stream.until("sessions")["rows"]
            assert (changed["id"], changed["events"]) == (of["sid-00001"], 2)
            save(store, a_session(3))
            (new,) = stream.until("sessions")["rows"]
            assert new["session_id"] == "sid-00003"
            with store.write() as db:
                sessions.remove(db, [of["sid-00002"]])
            assert stream.until("sessions") == {"whole": False, "rows": [], "gone": [of["sid-00002"]]}
            # The other list heard of nothing in between: nothing there had changed.
            assert filtered.until("sessions")["gone"] == [of["sid-00002"]]
        assert server.process.popen.poll() is None


def test_an_open_session_hears_what_makes_its_value_out_of_the_one_before(store, tmp_path):
    save(store, a_session(1), an_event(1, 1))
    id = ids(store)["sid-00001"]
    with serving(store.url, tmp_path) as server, closing(Stream(server, f"/sessions/{id}/live")) as stream:
        value = stream.until("session")["value"]
        for count in range(2, 5):
            save(store, an_event(1, count, "ping"))
            change = stream.until("session")
            assert change["whole"] is False
            assert change["events"]["n"] == [count, [count + 1]]
            for name, (begin, rest) in change["events"].items():
                value["events"][name][begin:] = rest
            value |= change["set"]
        # One that was on its way for long comes before those that are there.
        save(store, event("ping", id="late", session_id="sid-00001", after_s=2.5, playhead=1))
        for name, (begin, rest) in (change := stream.until("session"))["events"].items():
            value["events"][name][begin:] = rest
        value |= change["set"]
        assert value["events"]["n"] == [1, 2, 3, 4, 5, 6]
        now = value_of(ask(server, f"/sessions/{id}.json"))
        drifting = ("made_at", "now_s")
        assert {k: v for k, v in value.items() if k not in drifting} == {
            k: v for k, v in now.items() if k not in drifting
        }
        with store.write() as db:
            sessions.remove(db, [id])
        assert stream.until("session") == {"whole": True, "value": None}


def test_a_finding_that_comes_later_is_told(sqlite_url, tmp_path):
    from proxy_addon.core.findings import Finding, Severity

    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
        save(store, a_session(1))
        id = ids(store)["sid-00001"]
        found = Finding(rule="ping-gap", severity=Severity.ERROR, message="no ping", seq=1)
        with serving(sqlite_url, tmp_path) as server, closing(Stream(server, "/live")) as stream:
            stream.until("sessions")
            with store.write() as db:
                findings.replace_of_session(db, id, [found])
            (row,) = stream.until("sessions")["rows"]
            assert (row["verdict"], row["findings"]["error"]) == ("fail", 1)


def test_pages_stay_open_while_their_store_is_away_and_show_the_one_that_takes_its_place(
    sqlite_url, tmp_path, migrated_file
):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    other = tmp_path / "other.db"
    shutil.copy(migrated_file, path)
    shutil.copy(migrated_file, other)
    for url, number in ((sqlite_url, 1), (f"sqlite:///{other}", 2)):
        with closing(Store(url)) as store:
            save(store, a_session(number))
    with serving(sqlite_url, tmp_path) as server, closing(Stream(server, "/live")) as stream:
        assert stream.until("sessions")["rows"][0]["session_id"] == "sid-00001"
        path.rename(tmp_path / "away.db")
        assert "there is no store at" in stream.until("store")["trouble"]
        refused = ask(server, "/sessions.json")
        assert (refused.status, "there is no store" in refused.body.decode()) == (503, True)
        other.rename(path)
        assert stream.until("store") == {"trouble": None}
        news = stream.until("sessions")
        assert [row["session_id"] for row in news["rows"]] == ["sid-00002"]
        assert value_of(ask(server, "/sessions.json"))["rows"][0]["session_id"] == "sid-00002"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_pages_beside_a_recorder_end_with_it_however_it_ends(number, sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream:
        command = [COMMAND, "record", "--upstream", upstream.url, *ANY_PORT, "--store", sqlite_url, "--ui=127.0.0.1:0"]
        recorder = processes.Process(command, tmp_path, "pages are at")
        try:
            port = urlsplit(recorder.wait_until_ready().removeprefix("pages are at ")).port
            assert port is not None
            pages = Server(recorder, port, "")
            assert value_of(ask(pages, "/sessions.json"))["rows"] == []
        finally:
            recorder.stop(number)
        until_s = time.monotonic() + WITHIN_S
        while _answers(pages):
            assert time.monotonic() < until_s
            time.sleep(0.1)


def test_pages_that_crash_beside_a_recorder_are_there_again_at_the_same_address_and_with_the_same_token(
    sqlite_url, tmp_path
):
    with processes.collector(tmp_path) as upstream:
        command = ["record", "--upstream", upstream.url, *ANY_PORT, "--store", sqlite_url, "--ui=0.0.0.0:0"]
        recorder = processes.Process([COMMAND, *command], tmp_path, "pages are at")
        try:
            url = urlsplit(recorder.wait_until_ready().removeprefix("pages are at "))
            assert url.port is not None
            pages = Server(recorder, url.port, "")
            proxy = Server(recorder, _port_of(recorder.wait_for("listening on ")), "")
            cookie = {"Cookie": f"sessiontape-{url.port}={url.query.removeprefix('token=')}"}
            with closing(Stream(pages, "/live", **cookie)) as stream:
                assert stream.until("sessions")["rows"] == []
                os.kill(_pages_of(recorder.popen.pid), signal.SIGKILL)
                with pytest.raises((EOFError, OSError)):
                    stream.until("nothing else")
            assert proxy.ask("POST", "/api/v1/sessions", b"{}").status == 400  # it passes on meanwhile
            assert recorder.wait_for("started again").endswith(
                "the pages stopped with exit code -9, and were started again"
            )
            with closing(Stream(pages, "/live", **cookie)) as stream:
                assert stream.until("sessions")["rows"]
        finally:
            code = recorder.stop()
        assert (code, recorder.output.count("pages are at")) == (0, 1), recorder.output


def _pages_of(recorder: int) -> int:
    """The process of the pages beside a recorder."""
    (found,) = [
        int(each.parent.name)
        for each in Path("/proc").glob("[0-9]*/cmdline")
        if b"proxy_addon.ui" in each.read_bytes().split(b"\0")
        and f"\nPPid:\t{recorder}\n" in each.with_name("status").read_text()
    ]
    return found


def _port_of(line: str) -> int:
    port = urlsplit(line.removeprefix("listening on ").split()[0]).port
    assert port is not None
    return port


def test_pages_that_stop_at_once_again_and_again_are_given_up_in_one_line(monkeypatch):
    from proxy_addon.ui import process

    said = "import json; print(json.dumps({'url': 'http://127.0.0.1:7/', 'port': 7, 'is_public': False}))"
    popen, started = subprocess.Popen, list[list[str]]()
    logged, ready = SimpleQueue[str](), SimpleQueue[str]()

    def start(command: list[str], **options: Any) -> Any:
        started.append(command)
        return popen([sys.executable, "-S", "-c", said if len(started) == 1 else "raise SystemExit(3)"], **options)

    monkeypatch.setattr(process, "AGAIN_S", (0.001, 60.0))
    monkeypatch.setattr(process, "logger", SimpleNamespace(error=logged.put, warning=logged.put))
    monkeypatch.setattr(subprocess, "Popen", start)
    pages = process.Beside("sqlite:///x", ("127.0.0.1", 0), None)
    pages.start(lambda url, _: ready.put(url))
    assert ready.get(timeout=WITHIN_S) == "http://127.0.0.1:7/"
    why = "the last time with exit code 3; the recording continues"
    assert logged.get(timeout=WITHIN_S) == f"the pages stop as soon as they are started, {why}"
    pages.end()
    assert logged.empty()
    assert ready.empty()
    assert {command[command.index("--port") + 1] for command in started[1:]} == {"7"}


# What it refuses


def test_a_store_that_is_not_there_or_is_older_is_left_alone_and_the_message_says_what_to_do(store_url, tmp_path):
    if store_url.startswith("sqlite"):
        missing = processes.run("ui", *ANY_PORT, "--store", store_url, cwd=tmp_path)
        assert (missing.returncode, missing.stdout) == (2, "")
        assert "there is no store at" in missing.stderr
        assert "'sessiontape record'" in missing.stderr
        assert not Path(store_url.removeprefix("sqlite:///")).exists()
    with closing(Store(store_url)) as store:
        stores.upgrade(store)
        migrate.downgrade(store, "0010")
        refused = processes.run("ui", *ANY_PORT, "--store", store_url, cwd=tmp_path)
        assert refused.returncode == 2
        assert "is at revision 0010" in refused.stderr
        assert "sessiontape db upgrade" in refused.stderr
        from storage import revision

        with store.read() as db:
            assert revision.found(db) == "0010"


def test_a_store_that_is_only_read_takes_no_change(store):
    save(store, a_session(1))
    with closing(Store(store.url, read_only=True)) as read:
        with read.read() as db:
            before = db.execute(select(SessionRow.__table__)).all()
        with pytest.raises(Exception, match=r"(?i)read-?only"), read.write() as db:
            sessions.remove(db, [row.id for row in before])
        with read.read() as db:
            assert db.execute(select(SessionRow.__table__)).all() == before


def test_a_port_that_is_taken_is_told(sqlite_url, tmp_path):
    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
    with serving(sqlite_url, tmp_path) as server:
        refused = processes.run("ui", "--listen", str(server.port), "--store", sqlite_url, cwd=tmp_path)
        assert (refused.returncode, "Address already in use" in refused.stderr) == (2, True)
        with processes.collector(tmp_path) as upstream:
            also = processes.run(
                "record",
                "--upstream",
                upstream.url,
                *ANY_PORT,
                "--store",
                sqlite_url,
                f"--ui={server.port}",
                cwd=tmp_path,
            )
            assert (also.returncode, "name another address with --ui" in also.stderr) == (2, True)


def test_a_browser_may_watch_for_long_and_go_at_any_time(sqlite_url, tmp_path):
    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
        save(store, a_session(1))
        with serving(sqlite_url, tmp_path) as server:
            streams = [Stream(server, f"/live?rows={200 + number}") for number in range(48)]
            refused = ask(server, "/live")
            assert (refused.status, json.loads(refused.body)["error"]) == (503, "too many pages are open")
            for stream in streams:
                stream.close()
            save(store, a_session(2))
            again = None
            for _ in range(100):
                if ask(server, "/live?rows=x").status == 400 and (again := _opened(server)):
                    break
            assert again is not None
            assert len(again.until("sessions")["rows"]) == 2
            again.close()


async def test_a_browser_that_takes_nothing_is_let_go(sqlite_url, monkeypatch):
    from proxy_addon.core.judging.policy import DEFAULT
    from proxy_addon.ui import pages
    from proxy_addon.ui.reading import Reading
    from proxy_addon.ui.threads import Threads
    from proxy_addon.ui.watching import Watching

    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
    monkeypatch.setattr(pages, "SEND_S", 0.1)
    asked = asyncio.Queue[dict[str, Any]]()
    asked.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with closing(Reading(sqlite_url)) as reading, closing(Reading(sqlite_url)) as watched:
        watching = Watching(watched, DEFAULT)
        running = asyncio.create_task(watching.run())
        path = {"path": "/live", "raw_path": b"/live", "query_string": b"", "headers": []}
        scope = {"type": "http", "method": "GET", "root_path": "", "http_version": "1.1", "scheme": "http", **path}
        await asyncio.wait_for(pages.app(reading, watching, DEFAULT, Threads())(scope, asked.get, send), WITHIN_S)
        assert watching.watchers == 0
        running.cancel()


def test_who_connects_and_asks_for_nothing_is_let_go(sqlite_url, monkeypatch):
    from proxy_addon.core.judging.policy import DEFAULT
    from proxy_addon.ui import server

    with closing(Store(sqlite_url)) as store:
        stores.upgrade(store)
    monkeypatch.setattr(server, "HEAD_S", 1.0)
    alive, end = os.pipe()
    said: list[bytes] = []
    asking: list[threading.Thread] = []

    def visit(opened: server.Opened) -> None:
        def ask() -> None:
            with os.fdopen(end, "wb"):  # closed, it ends the server
                for sent in (b"", b"GET / HTTP/1.1\r\nHost:", b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"):
                    with socket.create_connection(("127.0.0.1", opened.port), timeout=WITHIN_S) as connection:
                        connection.sendall(sent)
                        said.append(b"".join(iter(lambda: connection.recv(65536), b"")))

        asking.append(threading.Thread(target=ask))
        asking[0].start()

    options = server.Options(store_url=sqlite_url, listen=("127.0.0.1", 0), policy=DEFAULT)
    with os.fdopen(alive, "rb") as ends_with:
        server.run(options, visit, ends_with=ends_with)
    asking[0].join(WITHIN_S)
    assert said[:2] == [b"", b""]
    assert b"404" in said[2].splitlines()[0]
    assert len(said) == 3


def _answers(server: Server) -> bool:
    try:
        ask(server, "/sessions.json")
    except OSError:
        return False
    return True


def _opened(server: Server) -> Stream | None:
    try:
        return Stream(server, "/live")
    except AssertionError:
        return None


def test_a_rule_leads_to_the_last_sessions_that_broke_it(store, tmp_path):
    save(store, *(a_session(number) for number in range(1, 26)), an_event(1, 1))
    ours = ids(store)
    with store.write() as db:
        for number in range(1, 25):
            found = Finding(rule="ping-gap", severity=Severity.ERROR, message="no ping", seq=1)
            findings.replace_of_session(db, ours[f"sid-{number:05}"], [found])
        sessions.draw(db, {ours["sid-00024"]: "c0 t1500 E1000 =2000"})
    with serving(store.url, tmp_path) as server:
        rows = value_of(ask(server, "/rules/ping-gap.json"))["sessions"]
        assert [row["session_id"] for row in rows] == [f"sid-{number:05}" for number in range(24, 4, -1)]
        assert rows[0]["strip"] == value_of(ask(server, "/sessions.json"))["rows"][1]["strip"]
        assert rows[0]["strip"] == {
            "end_s": 2.0,
            "playback": [{"a": 0.0, "b": 1.5, "k": "content"}, {"a": 1.5, "b": 2.0, "k": "stalled"}],
            "ticks": [[1.0, "error"]],
        }
        page = ask(server, "/rules/ping-gap").body
        assert page.count(b'<a href="/sessions/') == 20
        assert page.count(b'<rect class="c-stalled" x="120.0"') == 1
        assert len(value_of(ask(server, "/rules/session-not-closed.json"))["sessions"]) == 20, "no finding is stored"
        assert value_of(ask(server, "/rules/ad-not-closed.json"))["sessions"] == []
        assert b"No session in this store has." in ask(server, "/rules/ad-not-closed").body


def test_comparisons_replays_rules_and_schemas_have_pages_too(store, tmp_path):
    save(store, a_session(1), an_event(1, 1), a_session(2, media="video-9"), an_event(2, 1, "pauseStart"))
    ours = ids(store)
    one, other = ours["sid-00001"], ours["sid-00002"]
    replay = ReplayRun(
        id="5bc61c7f9baf20b2",
        target="http://127.0.0.1:9",
        started_at=at(30),
        finished_at=at(31),
        speed="1",
        timestamps="now",
    )
    with store.write() as db:
        runs.begin(db, replay, RunOptions())
        runs.choose(db, replay.id, [(one, "sid-00001")])
    with serving(store.url, tmp_path) as server:
        compared = value_of(ask(server, f"/compare/{one}/sid-00002.json"))
        assert compared["verdict"]["headline"] == "1 of 3 events differs, 1 only in A, 1 only in B."
        assert embedded_in(ask(server, f"/compare/{one}/{other}").body)["rows"] == compared["rows"]
        assert [each["id"] for each in value_of(ask(server, "/runs.json"))] == [replay.id]
        assert value_of(ask(server, f"/runs/{replay.id[:6]}.json"))["sessions"][0]["source"] == one
        assert value_of(ask(server, f"/sessions/{one}.json"))["links"][-1] == ["run", replay.id]
        assert f'href="/runs/{replay.id}/{one}"'.encode() in ask(server, f"/runs/{replay.id}").body
        assert value_of(ask(server, f"/runs/{replay.id}/{one}.json"))["verdict"]["headline"] == "2 not sent."
        assert value_of(ask(server, "/rules/ping-gap.json"))["page"]["What it checks"]
        assert value_of(ask(server, "/schemas.json")) == []
        for path in ("/runs", f"/runs/{replay.id}/{one}", "/rules", "/rules/ping-gap", "/schemas"):
            answer = ask(server, path)
            policy = answer.header("content-security-policy") or ""
            assert (answer.status, "connect-src" in policy, "unsafe" in policy) == (200, False, False), path
        assert b"did you mean ping-gap?" in ask(server, "/rules/ping-gaps").body
        assert [ask(server, path).status for path in ("/compare/x/y", f"/runs/{replay.id}/{other}", "/runs/x")] == [
            404
        ] * 3
