"""The user interface of the recorder inside mitmweb: marked and commented flows, a view of bodies, and commands."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest

from proxy_addon.journal.awaiting import await_filed
from tests import processes
from tests.builders import body, event_dict
from tests.e2e.test_sdk_traffic import command_of, free_port, inside, play

PASSWORD = "let-me-in"


class Web:
    """mitmweb's own interface, as its page uses it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        # The page sends its token twice, so that no other page can forge a request; any will do.
        token = {"Cookie": f"_mitmproxy_xsrf={'5e' * 16}", "X-XSRFToken": "5e" * 16}
        headers = {"Authorization": f"Bearer {PASSWORD}", "Content-Type": "application/json", **token}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(method, path, None if document is None else json.dumps(document), headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
            return json.loads(said)

    def flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/flows")
        return found

    def command(self, name: str, *arguments: str) -> Any:
        said = self.ask("POST", f"/commands/{name}", {"arguments": list(arguments)})
        assert "error" not in said, said
        return said["value"]


def test_mitmweb_shows_verdicts(sqlite_url, tmp_path):
    port = free_port()
    options = ("--no-web-open-browser", "--web-port", str(port), "--set", f"web_password={PASSWORD}")
    with (
        processes.collector(tmp_path) as upstream,
        inside("mitmweb", tmp_path, upstream.url, sqlite_url, *options) as proxy,
    ):
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", params={"media.id": 7})))
        proxy.ask("POST", "/api/v1/nonsense", b"x")
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")), {"Content-Type": "text/plain"})
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")))
        proxy.ask("GET", "/favicon.ico")
        web = Web(port)
        flows = web.flows()
        red, yellow, blue = "\N{LARGE RED CIRCLE}", "\N{LARGE YELLOW CIRCLE}", "\N{LARGE BLUE CIRCLE}"
        assert [flow["marked"] for flow in flows] == [red, yellow, blue, "", ""]
        assert [flow["comment"].partition(":")[0] for flow in flows[:3]] == [
            "warning upstream-refused",
            "warning http-path-unknown",
            "info content-type-not-json",
        ]
        assert (
            "error param-type: media.id is the number 7; expected a string at /params/media.id" in flows[0]["comment"]
        )

        seen = web.ask("GET", f"/flows/{flows[0]['id']}/request/content/auto.json")
        assert seen["view_name"] == "Media Collection API"
        assert "# error param-type: media.id is the number 7; expected a string at /params/media.id" in seen["text"]
        assert '"media.id": 7' in seen["text"]
        clean = web.ask("GET", f"/flows/{flows[3]['id']}/request/content/auto.json")
        assert clean["text"].startswith("# no findings\n")
        other = web.ask("GET", f"/flows/{flows[0]['id']}/response/content/auto.json")
        assert other["view_name"] != "Media Collection API"

        heading, *rows = web.command("tape.check", "@all")
        assert heading == ["path", "severity", "rule", "message", "pointer"]
        assert ["/api/v1/sessions", "info", "content-type-not-json"] in [row[:3] for row in rows]
        deadline = time.monotonic() + 20
        while await_filed(tmp_path / "tape.db", sqlite_url):  # it may only now be ready to file
            assert time.monotonic() < deadline
            time.sleep(0.05)
        heading, *rows = web.command("tape.sessions")
        assert heading[:3] == ["id", "started", "state"]
        assert [row[2] for row in rows] == ["open", "open", "failed"]

        location = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart"))).header("Location") or ""
        ad = {"media.ad.id": "a", "media.ad.length": 30, "media.ad.podPosition": 1, "media.ad.playerName": "x"}
        proxy.ask("POST", f"{location}/events", body(event_dict("adStart", params=ad)))
        deadline = time.monotonic() + 20
        while web.flows()[-1]["marked"] != "\N{LARGE RED CIRCLE}":
            assert time.monotonic() < deadline, web.flows()[-1]
            time.sleep(0.05)
        assert "error ad-outside-break #2: adStart with no ad break open" in web.flows()[-1]["comment"]
    assert f"recording into store {sqlite_url}" in proxy.process.output
    assert not [line for line in proxy.process.lines if "alembic" in line or "Running upgrade" in line]


@pytest.mark.parametrize(
    ("store_url", "options", "says"),
    [
        ("mysql://user:secret@host/db", [], "'mysql://user@host/db' is not the URL of a store"),
        ("sqlite:///tape.db", ["tape_stor=x"], "unknown option tape_stor; did you mean tape_store?"),
        ("sqlite:///tape.db", ["tape_check=perhaps"], "Failed to parse option tape_check"),
    ],
)
def test_an_invalid_option_ends_mitmdump_with_one_sentence(tmp_path, store_url, options, says):
    command = command_of("mitmdump", tmp_path, "http://127.0.0.1:9", store_url, 0)
    command += [part for option in options for part in ("--set", option)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout
    assert says in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_the_sdks_flows_are_not_marked_for_what_it_always_does(sqlite_url, tmp_path):
    port = free_port()
    options = ("--no-web-open-browser", "--web-port", str(port), "--set", f"web_password={PASSWORD}")
    with (
        processes.collector(tmp_path) as upstream,
        inside("mitmweb", tmp_path, upstream.url, sqlite_url, *options) as proxy,
    ):
        play(proxy.port)
        flows = Web(port).flows()
    assert {flow["marked"] for flow in flows} == {""}
    assert {flow["comment"].partition(" #")[0] for flow in flows} <= {"", "info ts-clock-skew", "info ts-equal"}


def test_settings_count_in_mitmproxy_too_and_large_bodies_are_marked_when_they_are_judged(sqlite_url, tmp_path):
    settings = '[rules.content-type-not-json]\nseverity = "error"\nreason = "ours is right"\n'
    (tmp_path / "sessiontape.toml").write_text(settings, encoding="utf-8")
    port = free_port()
    options = ("--no-web-open-browser", "--web-port", str(port), "--set", f"web_password={PASSWORD}")
    with (
        processes.collector(tmp_path) as upstream,
        inside("mitmweb", tmp_path, upstream.url, sqlite_url, *options) as proxy,
    ):
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")), {"Content-Type": "text/plain"})
        large = event_dict("sessionStart", params={f"{'x' * 40}{n}": n for n in range(3000)})
        proxy.ask("POST", "/api/v1/sessions", body(large))
        web = Web(port)
        deadline = time.monotonic() + 20
        while [flow["marked"] for flow in web.flows()] != ["\N{LARGE RED CIRCLE}"] * 2:
            assert time.monotonic() < deadline, web.flows()
            time.sleep(0.05)
        assert ["error", "content-type-not-json"] in [row[1:3] for row in web.command("tape.check", "@all")[1:]]
        assert "error content-type-not-json" in web.flows()[0]["comment"], "checked again by the same settings"


def test_a_device_that_sends_while_mitmdump_starts_waits_until_it_records(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # where mitmproxy's folder is, which it reads last if no option names it
    with processes.collector(tmp_path) as upstream:
        command = command_of("mitmdump", tmp_path, upstream.url, sqlite_url, 0)
        with processes.serving(command[: command.index(f"confdir={tmp_path}") - 1], tmp_path, "listening at") as proxy:
            socket.create_connection(
                ("127.0.0.1", proxy.port)
            ).close()  # as whoever only looks whether somebody listens
            assert proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart"))).status == 201
    output = proxy.process.output
    assert 0 < output.index("recording into store") < output.index("POST http")
    assert "error" not in output.lower()
    assert [each["state"] for each in processes.printed("sessions", "--store", sqlite_url)] == ["open"]
