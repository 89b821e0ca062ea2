"""Verdicts while recording: findings appear at once and can be withdrawn, invalid requests can be refused, pages see why."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.exchange import COLLECTOR
from tests import processes
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, body, event_dict, exchange, response, unjudged
from tests.processes import Server, printed, run
from tests.sdk_traffic import load

SOON_S = 30


class Device:
    """One playback, sent through a recorder."""

    def __init__(self, proxy: Server) -> None:
        self._proxy = proxy
        self._ts = round(time.time() * 1000)  # a clock that is minutes off would be one more finding
        answer = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", ts=self._ts)))
        assert answer.status == 201
        self.path = f"{answer.header('Location')}/events"
        self.id = self.path.split("/")[4]

    def send(self, event_type: str, after_ms: int, proxy: Server | None = None, **members: Any) -> int:
        sent = body(event_dict(event_type, ts=self._ts + after_ms, **members))
        return (proxy or self._proxy).ask("POST", self.path, sent).status


def rules(store_url: str, session: str) -> list[str]:
    """Rules of the findings about the session as a whole."""
    return [finding["rule"] for finding in printed("show", session, "--store", store_url)["findings"]]


def counts(store_url: str) -> list[dict[str, int]]:
    return [session["findings"] for session in printed("sessions", "--store", store_url)]


def wait_until(holds: Callable[[], bool], what: Callable[[], object]) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < SOON_S, what()
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def taking_everything() -> Iterator[str]:
    """Run a back end that is not our collector and accepts every request; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204 if self.path.endswith("/events") else 201)
            self.send_header("Location", "/api/v1/sessions/4a0f")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.every_version
def test_findings_appear_while_the_session_runs_and_a_late_event_withdraws_one(store_url, tmp_path):
    ad = {"media.ad.id": "a", "media.ad.length": 1, "media.ad.podPosition": 1, "media.ad.playerName": "x"}
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        device = Device(proxy)
        assert device.send("play", 1000) == 204
        assert counts(store_url) == [{"error": 0, "warning": 0, "info": 0}]
        assert device.send("adStart", 3000, params=ad) == 204
        wait_until(lambda: counts(store_url)[0]["error"] == 1, lambda: counts(store_url))
        assert rules(store_url, device.id) == ["ad-outside-break"]
        # The break began before; its event was only slow on the way.
        late = {"media.ad.podIndex": 1, "media.ad.podSecond": 0}
        assert device.send("adBreakStart", 2500, params=late) == 204
        wait_until(lambda: counts(store_url)[0] == {"error": 0, "warning": 0, "info": 1}, lambda: counts(store_url))
        assert rules(store_url, device.id) == ["ts-out-of-order"]
        listed = printed("sessions", "--store", store_url, "--with-findings")
        assert [session["session_id"] for session in listed] == [device.id]


def test_a_recorder_that_is_started_in_mid_session_knows_what_went_before(store_url, tmp_path):
    with processes.collector(tmp_path) as upstream:
        with processes.recorder(tmp_path, upstream.url, store_url) as proxy:
            device = Device(proxy)
            assert device.send("chapterStart", 1000, params=CHAPTER) == 204
        with processes.recorder(tmp_path, upstream.url, store_url) as proxy:
            assert device.send("chapterStart", 2000, proxy, params=CHAPTER) == 204
            wait_until(lambda: counts(store_url)[0]["warning"] == 1, lambda: counts(store_url))
    assert rules(store_url, device.id) == ["chapter-not-closed"]


CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}


def test_two_recorders_see_one_session_together(store_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, store_url) as first,
        processes.recorder(tmp_path, upstream.url, store_url) as second,
    ):
        device = Device(first)
        for number in range(1, 7):
            assert device.send("chapterStart", number * 1000, (first, second)[number % 2], params=CHAPTER) == 204
        wait_until(lambda: counts(store_url)[0]["warning"] == 1, lambda: counts(store_url))

        def told() -> list[int]:
            found = printed("show", device.id, "--store", store_url)["findings"]
            return [finding["count"] for finding in found]

        wait_until(lambda: told() == [5], told)


def test_what_is_counted_is_what_is_shown(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        device = Device(proxy)
        assert device.send("play", 1000, qoeData={"bitrate": 1}, params={"media.id": "x"}) == 400
        assert device.send("play", 1000) == 204
        assert device.send("sessionEnd", 2000) == 204
        assert device.send("ping", 3000) == 410
    shown = printed("show", device.id, "--store", sqlite_url)
    found = [finding for exchange in shown["exchanges"] for finding in exchange["findings"]] + shown["findings"]
    assert [(finding["rule"], finding["seq"]) for finding in found] == [
        ("upstream-refused", 2), ("param-not-on-event", 2), ("qoe-key-unknown", 2), ("upstream-session-lost", 5),
        ("event-after-session-end", 5), ("ts-equal", 3),
    ]  # fmt: skip
    severities = [finding["severity"] for finding in found]
    assert shown["session"]["findings"] == {each: severities.count(each) for each in ("error", "warning", "info")}
    assert counts(sqlite_url) == [shown["session"]["findings"]]


def test_the_sdks_sessions_are_recorded_without_error_or_warning(sqlite_url, tmp_path):
    from tests.e2e.test_sdk_traffic import play

    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        play(proxy.port)
    assert [(each["error"], each["warning"]) for each in counts(sqlite_url)] == [(0, 0), (0, 0)]
    assert run("check", "--all", "--fail-on", "warning", "--store", sqlite_url).returncode == 0


def test_an_upstream_that_takes_what_the_tables_refuse_lowers_the_findings(sqlite_url, tmp_path):
    with taking_everything() as url, processes.recorder(tmp_path, url, sqlite_url) as proxy:
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", playhead=-1, params={"media.new": 1})))
    session = printed("sessions", "--store", sqlite_url)[0]
    found = printed("show", session["id"], "--store", sqlite_url)["exchanges"][0]["findings"]
    lowered = {finding["rule"] for finding in found if finding["lowered_by"] == "accepted-by-upstream"}
    assert lowered == {"param-missing", "param-unknown"}
    assert [finding["rule"] for finding in found if finding["severity"] == "error"] == ["playhead-negative"]


def test_rules_can_be_left_out(sqlite_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, "--no-check") as proxy,
    ):
        proxy.ask("POST", "/api/v1/sessions", b"[]")
    assert counts(sqlite_url) == [{"error": 0, "warning": 0, "info": 0}]


def test_a_body_of_megabytes_is_judged_too(sqlite_url, tmp_path):
    batch = [event_dict("sessionStart")]
    batch += [event_dict("ping", ts=BEGIN_MS + n * 50_000, params={"x" * 40: n}) for n in range(1, 5000)]
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        assert proxy.ask("POST", "/api/v1/downloaded", body(batch)).status == 400
    session = printed("sessions", "--store", sqlite_url)[0]
    found = printed("show", session["id"], "--store", sqlite_url)["exchanges"][0]["findings"]
    unknown = [finding for finding in found if finding["rule"] == "param-unknown"]
    assert len(unknown) == 20
    assert sum(finding["count"] for finding in unknown) == 4999


def test_exchanges_outside_of_sessions_have_findings_too(store_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        proxy.ask("POST", "/api/v1/nonsense", b"x")
        proxy.ask("OPTIONS", "/api/v1/sessions")
    found = printed("exchanges", "--store", store_url)
    assert [[f["rule"] for f in each["findings"]] for each in found] == [["http-path-unknown"], []]
    assert len(printed("exchanges", "--with-findings", "--store", store_url)) == 1


# Refusing ------------------------------------------------------------------------------------------------------------


def test_an_invalid_request_is_refused_and_upstream_never_sees_it(store_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, store_url, "--reject-invalid") as proxy,
    ):
        refused = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", params={"media.id": "x"})))
        device = Device(proxy)
        assert device.send("play", 1000, params={"media.id": "a warning is no error"}) == 204
        assert device.send("pley", 2000) == 400
        assert proxy.ask("OPTIONS", "/api/v1/sessions").status == 204
        assert [each["status"] for each in upstream.received()] == [201, 204, 204]
    assert refused.status == 400
    assert json.loads(refused.body) == {
        "message": "sessiontape: analytics.trackingServer is missing; sessionStart needs it at /params (param-missing)"
    }
    for name, value in (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Access-Control-Allow-Methods", "OPTIONS,POST,PUT"),
        ("Access-Control-Expose-Headers", "Location"),
        ("Content-Type", "application/json"),
    ):
        assert refused.header(name) == value
    played, failed = printed("sessions", "--store", store_url)
    assert (failed["state"], played["exchanges"]) == ("failed", 3)
    (only,) = printed("show", failed["id"], "--store", store_url)["exchanges"]
    assert (only["outcome"], only["response"]) == ("rejected", None)
    assert {finding["rule"] for finding in only["findings"] if finding["severity"] == "error"} == {"param-missing"}
    last = printed("show", played["id"], "--store", store_url)["exchanges"][-1]
    assert (last["outcome"], last["findings"][0]["rule"]) == ("rejected", "event-type-unknown")


def test_mitmdump_refuses_as_well(sqlite_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.mitmdump(tmp_path, upstream.url, sqlite_url, "--set", "tape_reject_invalid=true") as proxy,
    ):
        refused = proxy.ask("POST", "/api/v1/sessions", b"{}")
        assert refused.status == 400
        assert json.loads(refused.body)["message"].startswith("sessiontape: ")
        assert upstream.received() == []


def test_what_was_refused_is_no_part_of_the_playback(store_url, tmp_path):
    ad = {"media.ad.id": "a", "media.ad.length": 1, "media.ad.podPosition": 1, "media.ad.playerName": "x"}
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, store_url, "--reject-invalid") as proxy,
    ):
        device = Device(proxy)
        assert device.send("adBreakStart", 1000, params={"media.ad.podIndex": 1}) == 400
        assert device.send("adStart", 2000, params=ad) == 204
        assert device.send("sessionEnd", 3000, params={"nonsense": 1}) == 400
        assert device.send("ping", 4000) == 204
        wait_until(lambda: "ad-outside-break" in rules(store_url, device.id), lambda: rules(store_url, device.id))
    assert rules(store_url, device.id) == ["ad-outside-break"]
    assert printed("sessions", "--store", store_url)[0]["state"] == "open"


def test_refusing_needs_the_rules(tmp_path):
    done = run("record", "--upstream", "http://127.0.0.1:9", "--no-check", "--reject-invalid", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_an_array_posted_to_events_makes_no_batch_of_a_live_session(sqlite_url, tmp_path):
    with taking_everything() as url, processes.recorder(tmp_path, url, sqlite_url) as proxy:
        device = Device(proxy)
        an_hour_ahead = round(time.time() * 1000) + 3_600_000
        proxy.ask("POST", device.path, body([event_dict("ping", ts=an_hour_ahead)]))
        # Clocks say nothing in a batch; the live judge has to know that this is none.
        wait_until(lambda: counts(sqlite_url)[0]["info"] == 1, lambda: counts(sqlite_url))
        assert rules(sqlite_url, device.id) == ["ts-clock-skew"]


def test_the_first_request_after_a_start_is_judged_by_the_schemas_that_are_known(sqlite_url, tmp_path):
    from datetime import UTC, datetime

    from proxy_addon.core.schemas import schema_of
    from storage import migrate, schemas
    from storage.engine import Store

    known = schema_of("sessionStart")
    known["definitions"]["sessionStart"]["properties"]["params"]["properties"]["media.newKey"] = {"type": "string"}
    sent = body(event_dict("sessionStart", params={**START_PARAMS, "media.newKey": "x"}))
    with taking_everything() as url:
        store = Store(sqlite_url)
        migrate.upgrade(store)
        with store.write() as db:
            schemas.keep(db, url, "sessionStart", body(known), datetime.now(UTC))
        store.close()
        with processes.recorder(tmp_path, url, sqlite_url, "--reject-invalid") as proxy:
            assert proxy.ask("POST", "/api/v1/sessions", sent).status == 201


@pytest.mark.parametrize("answered", [b"<html>busy</html>", b"\x1f\x8b\x08", b"{}"])
def test_what_is_no_schema_does_not_take_the_place_of_one(store, answered):
    from storage import saving

    path = "/api/v1/schemas/sessionStart"
    got = exchange("GET", path, id="x", response=response(200, body=answered))
    with store.write() as db:
        saving.save(db, saving.RecordingRun(id="r", name=None, started_at=BEGIN, version="0"), unjudged([got]))
    assert printed("schemas", "list", "--store", store.url) == []


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = """<!doctype html><title>player</title><pre id="told">waiting</pre><script>
fetch("%s/api/v1/sessions", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"})
  .then(answer => answer.json().then(said => answer.status + " " + said.message))
  .catch(error => "nothing: " + error)
  .then(text => { document.getElementById("told").textContent = text; });
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_page_in_a_browser_reads_why_its_start_was_refused(sqlite_url, tmp_path):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write((PAGE % proxy.url).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    assert CHROMIUM is not None
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, "--reject-invalid") as proxy,
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as pages,
    ):
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
            "--disable-component-update", "--no-first-run", "--disable-quic", f"--user-data-dir={tmp_path / 'browser'}",
            "--virtual-time-budget=10000", "--dump-dom",
        ]  # fmt: skip
        done = subprocess.run(
            [CHROMIUM, *flags, f"http://127.0.0.1:{pages.server_port}/"],
            capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        pages.shutdown()
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told is not None, done.stderr
    assert told[1] == "400 sessiontape: eventType is missing (event-type-missing)"


# Schemas -------------------------------------------------------------------------------------------------------------


def test_schemas_that_pass_by_are_kept_and_preferred(store_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        assert proxy.ask("GET", "/api/v1/schemas/sessionStart").status == 200
        assert proxy.ask("GET", "/api/v1/schemas/nonsense").status == 404
        proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", params={**START_PARAMS, "media.x": 1})))
    (schema,) = printed("schemas", "list", "--store", store_url)
    assert (schema["upstream"], schema["event_type"]) == (upstream.url, "sessionStart")
    session = printed("sessions", "--store", store_url)[0]
    (refused, unknown) = printed("show", session["id"], "--store", store_url)["exchanges"][0]["findings"]
    assert (refused["rule"], refused["authority"]) == ("upstream-refused", "built-in")
    assert unknown["rule"] == "param-unknown"
    assert unknown["authority"] == f"schema {schema['version'][:12]} of {upstream.url}"
    checked = printed("check", session["id"], "--store", store_url, code=1)["sessions"][0]["findings"]
    assert checked[1]["authority"] == unknown["authority"]


@pytest.mark.every_version
def test_schemas_are_fetched_shown_and_compared(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream:
        pull = ("schemas", "pull", "--upstream", upstream.url, "--store", sqlite_url)
        assert run(*pull).stdout.count(": new") == 20
        assert run(*pull, "play").stdout == "play: unchanged\n"
        assert run(*pull, "pley").returncode == 2
    assert run(*pull, "play").returncode == 2, "nothing answers any more"
    assert json.loads(run("schemas", "show", "play", "--store", sqlite_url).stdout)["$ref"] == "#/definitions/play"
    assert "draft-04" in run("schemas", "show", "sessionStart", "--store", sqlite_url).stdout
    done = run("schemas", "diff", "play", "--store", sqlite_url)
    assert (done.returncode, "only one version" in done.stderr) == (2, True)
    keep_another(sqlite_url, upstream.url)
    done = run("schemas", "diff", "play", "--store", sqlite_url)
    assert done.returncode == 1
    assert (
        '-      "additionalProperties": false' in done.stdout.replace("  ", " ").replace("  ", " ")
        or "-" in done.stdout
    )
    assert len(printed("schemas", "list", "--store", sqlite_url)) == 21


def keep_another(store_url: str, upstream: str) -> None:
    """Keep another version of a schema, as if the upstream had been changed."""
    from datetime import UTC, datetime

    from proxy_addon.core.schemas import schema_of
    from storage import schemas
    from storage.engine import Store

    changed = schema_of("play")
    del changed["definitions"]["play"]["additionalProperties"]
    store = Store(store_url)
    with store.write() as db:
        assert schemas.keep(db, upstream, "play", body(changed), datetime.now(UTC))
    store.close()


def test_the_collector_is_known_by_the_name_it_gives(tmp_path):
    """Otherwise, its answers would count as those of a real back end."""
    with processes.collector(tmp_path) as upstream:
        assert upstream.ask("POST", "/api/v1/sessions", b"{}").header("Server") == COLLECTOR


def test_the_samples_are_what_the_sdk_sent() -> None:
    assert len([request for request in load() if request.method == "POST"]) == 28


def test_settings_are_read_by_the_recorder(sqlite_url, tmp_path):
    path = Path(tmp_path) / "mine.toml"
    path.write_text('[rules.stream-type-missing]\nseverity = "error"\nreason = "we need it"\n', encoding="utf-8")
    params = {name: value for name, value in START_PARAMS.items() if name != "media.streamType"}
    options = ("--config", str(path), "--reject-invalid")
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, *options) as proxy,
    ):
        answer = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", params=params)))
    assert (answer.status, b"stream-type-missing" in answer.body) == (400, True)
    path.write_text("[rulez]\n", encoding="utf-8")
    done = run(
        "record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--config", str(path), cwd=tmp_path
    )
    assert done.returncode == 2
    assert "did you mean rules?" in done.stderr
