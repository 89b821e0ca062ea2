"""Files of other tools as they come: every sample gives what its tool kept, however it is packed, cut or joined."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from proxy_addon.cli import sources
from proxy_addon.core.exchange import BodyState, Outcome
from proxy_addon.core.fixtures import har_writing
from proxy_addon.core.fixtures.captures import Tally
from proxy_addon.core.fixtures.held import HeldSession, fold, may_go_on, sessions_in
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.sessions import Session
from proxy_addon.errors import SettingsError
from proxy_addon.files import unpacking
from proxy_addon.recording import flow_files
from tests import audited, builders
from tests.processes import BIN, COMMAND, printed, run

SAMPLES = Path(__file__).parents[1] / "samples" / "captures"
COUNTS: dict[str, dict[str, Any]] = json.loads((SAMPLES / "counts.json").read_text(encoding="utf-8"))
HAR = SAMPLES / "hand-http-toolkit-1.24.har"


def read(path: Path) -> tuple[list[HeldSession], Tally, int]:
    """Return the sessions of a file, what became of its entries, and how many exchanges it has."""
    opened = sources.capture(str(path))
    exchanges = list(opened.exchanges)
    return sessions_in(replace(opened, exchanges=iter(exchanges))), opened.tally, len(exchanges)


def without_ids(found: list[HeldSession]) -> list[Session]:
    return [replace(held.session, id="") for held in found]


@pytest.mark.parametrize("name", COUNTS)
def test_a_sample_gives_what_its_tool_kept(name):
    found, tally, number = read(SAMPLES / name)
    by_session = [[held.session.events, len(held.exchanges)] for held in found]
    counts = {
        "sessions": len(found),
        "events": sum(events for events, _ in by_session),
        "exchanges": number,
        "outside": number - sum(exchanges for _, exchanges in by_session),
        "skipped": tally.skipped.total(),
        "incomplete": tally.incomplete,
        "by_session": by_session,
    }
    assert {member: counts[member] for member in COUNTS[name]} == COUNTS[name]
    assert tally.broken == []


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


PLAIN = HAR.read_bytes()
COMPACT = json.dumps(json.loads(PLAIN), separators=(",", ":"), ensure_ascii=False).encode()
ENTRIES = json.loads(PLAIN)["log"]["entries"]


@pytest.mark.parametrize(
    "packed",
    [
        codecs.BOM_UTF8 + PLAIN,
        PLAIN.decode().encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.decode().encode("utf-16-be"),
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:5000]) + gzip.compress(PLAIN[5000:]),
        zlib.compress(PLAIN),
        zipped({"a/__MACOSX": b"", "a/session.har": PLAIN, "a/b.txt": b"x"}),
        zipped({"a": gzip.compress(PLAIN)}),
        b"onInputData(" + PLAIN + b");\n",
        COMPACT.replace(b"/", b"\\/"),
        json.dumps(json.loads(PLAIN), indent=2).replace("\n", "\r\n").encode(),
        json.dumps({"x": [{"log": 1}], "log": dict(reversed(json.loads(PLAIN)["log"].items()))}).encode(),
    ],
    ids=[
        "bom",
        "utf-16",
        "utf-16-be",
        "gzip",
        "gzips",
        "zlib",
        "zip",
        "zip-gzip",
        "jsonp",
        "slashes",
        "crlf",
        "reversed",
    ],
)
def test_a_file_is_the_same_however_it_is_packed(tmp_path, packed):
    (tmp_path / "plain").write_bytes(PLAIN)
    (tmp_path / "packed").write_bytes(packed)
    expected, tally, number = read(tmp_path / "plain")
    found, other_tally, other_number = read(tmp_path / "packed")
    assert without_ids(found) == without_ids(expected)
    assert (number, tally.skipped) == (other_number, other_tally.skipped)
    assert other_tally.broken == []


@pytest.mark.parametrize("form", ["lines", "array"])
def test_entries_of_a_har_may_stand_alone(tmp_path, form):
    """Lines end at line feeds alone: U+2028 and U+0085 may be in a string."""
    entries = json.loads(json.dumps(ENTRIES))
    entries[0]["comment"] = "one\u2028two\u0085three"
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    text = "\r\n\n".join(lines) + "\r\n" if form == "lines" else f"[{','.join(lines)}]"
    (tmp_path / "a").write_text(text, encoding="utf-8", newline="")
    found, tally, number = read(tmp_path / "a")
    expected = COUNTS[HAR.name]
    assert (len(found), number, tally.skipped.total()) == (1, expected["exchanges"], expected["skipped"])
    assert tally.broken == []
    if form == "lines":
        (tmp_path / "a").write_text(text[:-40], encoding="utf-8", newline="")
        _, tally, _ = read(tmp_path / "a")
        begin = len("\r\n\n".join(lines[:-1]).encode()) + 3
        assert [each.partition(": ")[0] for each in tally.broken] == [f"line {2 * len(lines) - 1}, at byte {begin}"]


@pytest.mark.parametrize("packing", ["none", "gzip"])
def test_a_har_that_is_cut_off_keeps_its_whole_entries(tmp_path, packing):
    last = COMPACT.index(json.dumps(ENTRIES[-1], separators=(",", ":"), ensure_ascii=False).encode())
    cut = COMPACT[: last + 200]
    if packing == "gzip":
        whole = gzip.compress(cut)
        cut = whole[:-8]
    (tmp_path / "a.har").write_bytes(cut)
    _, tally, _ = read(tmp_path / "a.har")
    assert tally.broken_count == 1
    assert re.match(
        rf"entry {len(ENTRIES) - 1}: the file ends at byte {last + 200}, within what begins at", tally.broken[0]
    )


def test_broken_entries_are_listed_and_the_rest_is_kept(tmp_path):
    entries = [json.dumps(entry).encode() for entry in ENTRIES]
    entries.insert(1, b'{"request": tru}')
    entries.insert(3, b'{"request": "\xff"}')
    entries.insert(5, b"null")
    (tmp_path / "a.har").write_bytes(b'{"log": {"entries": [' + b",".join(entries) + b"]}}")
    found, tally, number = read(tmp_path / "a.har")
    assert (len(found), number) == (1, COUNTS[HAR.name]["exchanges"])
    assert tally.broken_count == 3
    assert [each.split(":")[0].split(",")[0] for each in sorted(tally.broken)] == ["entry 1", "entry 3", "entry 5"]


@pytest.mark.parametrize(
    ("content", "says", "way_out"),
    [
        (b"\xac\xed\x00\x05sr", "a session of Charles (.chls)", "JSON session file (.chlsj)"),
        (b'<?xml version="1.0"?>\n<charles-session>', "(.chlsx)", "JSON session file (.chlsj)"),
        (b"<!doctype html>", "XML or HTML", "export the session as HAR"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "a packet capture", "record with a proxy"),
        (b"\x0a\x0d\x0d\x0a" + bytes(20), "a packet capture", "record with a proxy"),
        (zipped({"raw/1_c.txt": b"", "raw/1_s.txt": b"", "_index.htm": b""}), "(.saz)", "HTTPArchive"),
        (zipped({"a.har": PLAIN, "b.har": PLAIN}), "holds 2 files that are HARs", "unpack it"),
        (zipped({"a.har": PLAIN}, zipfile.ZIP_LZMA), "a method that sessiontape does not know", "unpack it"),
        (zipped({"a.har": PLAIN})[:-30], "damaged or cut off", "copy or export it again"),
        (b"SQLite format 3\0" + bytes(90), "a database", "--store sqlite:///FILE"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"{}")))), "packed more than", "unpack it"),
        (b"hello", "does not hold sessions in a known format", "known formats are"),
        (b"", "file is empty", "export it again"),
        (b'{"sessiontape": {"fixture": 1}, "ses', "file is cut off, and nothing in it can be read", "export it again"),
        (b"\x1f\x8b" + bytes(20), "file cannot be read: the compressed data are damaged", "export it again"),
    ],
    ids=[
        "chls",
        "chlsx",
        "html",
        "pcap",
        "pcapng",
        "saz",
        "hars",
        "lzma",
        "cut-zip",
        "sqlite",
        "layers",
        "text",
        "empty",
        "cut-fixture",
        "damaged-gzip",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(tmp_path, content, says, way_out):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        sources.capture(str(tmp_path / "file"))
    assert says in str(raised.value)
    assert way_out in raised.value.hint


def test_an_encrypted_zip_is_refused(tmp_path):
    packed = bytearray(zipped({"a.har": PLAIN}))
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(packed)
    with pytest.raises(SettingsError, match="is encrypted"):
        sources.capture(str(tmp_path / "a.zip"))


ATTACHED = SAMPLES / "playwright-1.65-chromium-attach"


def test_only_plain_files_beside_a_har_are_read(tmp_path, monkeypatch):
    """What is in a file that names others is somebody else's word: it must not make us read what it likes."""
    body = next(path for path in ATTACHED.glob("*.json") if b"sessionStart" in path.read_bytes())
    text = (ATTACHED / "session.har").read_text(encoding="utf-8")
    folder = tmp_path / "har"
    folder.mkdir()
    (tmp_path / "secret.json").write_bytes(body.read_bytes())
    (folder / "linked.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(folder / "pipe.json")
    (folder / "there.json").write_bytes(body.read_bytes())
    outside = ["../secret.json", str(tmp_path / "secret.json"), "linked.json", "pipe.json", "gone.json", ".."]
    for name in ["there.json", *outside]:
        (folder / "a.har").write_text(text.replace(body.name, name.replace("\\", "\\\\")), encoding="utf-8")
        _, tally, _ = read(folder / "a.har")
        others = 4 if name == "there.json" else 5  # none of the other bodies was copied
        assert tally.incomplete == others, name
    (folder / "a.har").write_text(text.replace(body.name, "there.json"), encoding="utf-8")
    monkeypatch.setattr(unpacking, "MOST_ATTACHED", 0)
    assert read(folder / "a.har")[1].incomplete == 5
    monkeypatch.undo()
    link = zipfile.ZipInfo("linked.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/har.har", text.replace(body.name, "linked.json"))
        archive.writestr("linked.json", body.read_bytes())
        archive.writestr("x/../linked.json", body.read_bytes())
        link.filename = "x/linked.json"
        archive.writestr(link, body.read_bytes())
    (tmp_path / "a.zip").write_bytes(packed.getvalue())
    assert read(tmp_path / "a.zip")[1].incomplete == 5


def test_what_unpacks_to_too_much_is_not_read_to_its_end(tmp_path, monkeypatch):
    limits = {
        "MOST_UNPACKED": "unpacked, it is larger than 0 GiB; the rest of the file is not read",
        "SUSPICIOUS": "unpacked, it is more than 100 times as large, which no capture is; the rest of the file is not read",
    }
    bomb = COMPACT[:-3] + b" " * 50_000_000 + COMPACT[-3:]
    for packed in (gzip.compress(bomb), zipped({"a.har": bomb})):
        for limit, says in limits.items():
            (tmp_path / "a").write_bytes(packed)
            with monkeypatch.context() as patched:
                patched.setattr(unpacking, limit, 10_000_000)
                _, tally, number = read(tmp_path / "a")
            assert number == COUNTS[HAR.name]["exchanges"]
            assert [re.sub(".*: ", "", each) for each in tally.broken] == [says]


PICTURE = json.dumps(
    {
        "startedDateTime": "2026-03-01T12:00:00Z",
        "request": {"method": "GET", "url": "https://cdn.example/a.jpg", "headers": []},
        "response": {"status": 200, "headers": [], "content": {"encoding": "base64", "text": "@"}},
    }
).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in KiB on Linux alone")
@pytest.mark.parametrize("packing", ["none", "gzip"])
def test_a_large_har_full_of_pictures_needs_little_memory(tmp_path, packing):
    """60 MB of pictures, and one body of the API that is as large as one of them, which is kept."""
    picture = PICTURE.replace(b"@", b"QUJD" * 5_000_000)
    entry = json.loads(json.dumps(ENTRIES[0]))
    long = json.dumps({"eventType": "play", "playerTime": {"playhead": 1, "ts": 1}, "x": "y" * 2_000_000})
    api = next(each for each in ENTRIES if "/events" in each["request"]["url"] and each["request"]["method"] == "POST")
    entry = {**api, "request": {**api["request"], "headers": [], "postData": {"mimeType": "", "text": long}}}
    begin = COMPACT.index(b'"entries":[') + len(b'"entries":[')
    opener = gzip.open if packing == "gzip" else open
    path = tmp_path / "large.har"
    with opener(path, "wb") as file:
        file.write(COMPACT[:begin])
        for _ in range(3):
            file.write(picture + b",")
        file.write(json.dumps(entry).encode() + b"," + COMPACT[begin:])
    small, large = (measured("show", "--json", str(each)) for each in (HAR, path))
    assert large[1] - small[1] < 25
    bodies = [len(each["request"]["body"].get("text", "")) for each in json.loads(large[0])["exchanges"]]
    assert max(bodies) == len(long)


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def measured(*arguments: str) -> tuple[str, float]:
    """Return what a command printed, and the most memory it took, in MB.

    A process counts the memory of the one that it was forked from, so that one has to be small.
    """
    command = [sys.executable, "-c", MEASURE, COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, int(done.stderr.split()[-1]) / 1024


def test_flows_that_are_not_requests_of_the_api_are_counted_by_kind(tmp_path):
    connect = tflow.tflow()
    connect.request.method = "CONNECT"
    large = tflow.tflow(resp=True)
    assert large.response is not None
    large.response.raw_content = bytes(2_000_000)
    api = tflow.tflow(resp=True)
    assert api.response is not None
    api.request.path, api.response.raw_content = "/api/v1/schemas/play", bytes(2_000_000)
    flows = [tflow.ttcpflow(), tflow.tudpflow(), tflow.tdnsflow(), tflow.twebsocketflow(), connect, large, api]
    content = b"".join(tnetstring.dumps(flow.get_state()) for flow in flows)
    (tmp_path / "a.flow").write_bytes(content + (SAMPLES / "mitmproxy-12.3.1-http2.flows").read_bytes())
    _, tally, number = read(tmp_path / "a.flow")
    kinds = {"TCP": 1, "UDP": 1, "DNS": 1, "WebSocket": 1, "CONNECT": 1, "not the API": 1}
    assert (tally.skipped, number) == (Counter(kinds), 11)


def test_a_list_of_bodies_is_no_recording(tmp_path):
    (tmp_path / "a.json").write_text('[{"eventType": "play"}]', encoding="utf-8")
    with pytest.raises(SettingsError, match="is a list of bodies: it has requests but no answers"):
        sources.capture(str(tmp_path / "a.json"))


def test_flows_of_a_newer_mitmproxy_are_refused_with_the_version_that_is_needed(tmp_path):
    state = tflow.tflow().get_state() | {"version": 99}
    (tmp_path / "a.flow").write_bytes(tnetstring.dumps(state))
    with pytest.raises(
        SettingsError, match=r"flows of format 99, and mitmproxy [0-9.]+ reads formats up to [0-9]+"
    ) as raised:
        sources.capture(str(tmp_path / "a.flow"))
    assert "pip install --upgrade mitmproxy" in raised.value.hint


def test_a_flow_whose_body_was_streamed_is_incomplete(tmp_path):
    flow = tflow.tflow(resp=True)
    flow.request.path, flow.request.method = "/api/v1/sessions", "POST"
    flow.request.raw_content = None
    gone = tflow.tflow(err=True)
    assert gone.error is not None
    gone.request.path, gone.error.msg = "/api/v1/sessions", "Client disconnected."
    (tmp_path / "a.flow").write_bytes(b"".join(tnetstring.dumps(each.get_state()) for each in (flow, gone)))
    opened = sources.capture(str(tmp_path / "a.flow"))
    first, second = opened.exchanges
    assert (first.request.body_state, opened.tally.incomplete) == (BodyState.MISSING, 1)
    assert (second.outcome, second.reason, second.response) == (Outcome.CLIENT_GONE, "Client disconnected.", None)


@pytest.mark.parametrize("name", ["mitmproxy-12.3.1-curl.flows", "chromium-156-devtools-http2.har"])
def test_mitmdump_opens_our_flows_and_writes_what_we_read_again(tmp_path, name):
    found, _, _ = read(SAMPLES / name)
    content = b"".join(piece for held in found for piece in flow_files.pieces(held.session, held.exchanges))
    (tmp_path / "ours.flow").write_bytes(content)
    options = ["-nr", "ours.flow", "-w", "theirs.flow", "--set", f"confdir={tmp_path}"]
    done = subprocess.run([BIN / "mitmdump", *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    number = sum(len(held.exchanges) for held in found)
    assert (done.stdout.count("/api/v1/"), done.stderr) == (number, "")
    ours, theirs = (list(sources.capture(str(tmp_path / f"{who}.flow")).exchanges) for who in ("ours", "theirs"))
    assert (len(ours), theirs) == (number, ours)
    assert [each.session for each in read(tmp_path / "theirs.flow")[0]] == [
        replace(held.session, id=again.session.id, retry_of=again.session.retry_of)
        for held, again in zip(found, read(tmp_path / "ours.flow")[0], strict=True)
    ]


HOLES = {
    "playwright-1.65-chromium-bodies-missing.har": [(4, 9)],
    "hand-proxyman-5.har": [(2, 7)],
    "hand-safari-17.har": [(1, 6)],
    "hand-browserup-2.1.har": [(1, 8)],
    "chrome-har-1.3-cdp.har": [(0, 3), (0, 1)],
    "firefox-153-devtools-refused.har": [(1, 1), None],
    "chromium-156-devtools-http1.har": [None, None],
    "hand-charles-4.6.har": [None],
}


@pytest.mark.parametrize("name", HOLES)
def test_a_player_is_not_blamed_for_what_its_tool_did_not_keep(name):
    found = sources.sessions_of(str(SAMPLES / name))
    judged = [judge_held(held) for held in found]
    holes = [judgement.holes for judgement in judged]
    assert [each and (each.bodies, each.requests) for each in holes] == HOLES[name]
    for held, judgement in zip(found, judged, strict=True):
        assert held.session.has_holes is (judgement.holes is not None)
        if judgement.holes is not None:
            assert not judgement.of_session
            known = {"stream-type-missing", "content-type-not-json", "upstream-failed", "upstream-session-lost"}
            assert {finding.rule for finding in judgement.of_exchanges} <= known
    if not any(holes):
        assert any(judgement.of_session for judgement in judged)  # what is complete is judged as ever


def cut_off(held: HeldSession) -> str:
    """Return a HAR of a session that ends in the middle of its last exchange but one."""
    text = "".join(har_writing.document(held.exchanges[:-2], version="1.0"))
    return text[: text.rindex('"startedDateTime"')]


@pytest.mark.parametrize(
    ("type", "waits_s", "expected"),
    [("ping", 0, True), ("sessionComplete", 0, True), ("sessionEnd", 0, False), ("ping", 600, False)],
)
def test_a_session_may_go_on_behind_the_cut_unless_it_ended_or_was_silent_for_too_long(type, waits_s, expected):
    (held,) = fold([builders.start(id="1"), builders.event(type, id="2", after_s=10)])
    assert may_go_on(held.session, builders.at(10 + waits_s)) is expected
    assert not may_go_on(held.session, None)
    assert not may_go_on(replace(held.session, failed=True), builders.at(10))


def test_commands_say_what_was_not_judged(tmp_path, sqlite_url):
    file = str(SAMPLES / "hand-proxyman-5.har")
    line = "34 rules (--json names them), because the file lacks 2 of 7 bodies"
    (tmp_path / "cut.har").write_text(cut_off(audited.played(audited.GOOD, 0)))
    assert run("import", file, f"{tmp_path}/cut.har", "--store", sqlite_url).returncode == 0
    for name in (file, "last"):
        assert f"not applied {line}" in run("show", name, "--store", sqlite_url).stdout
        assert f"not applied: {line}" in run("check", name, "--store", sqlite_url).stdout
        (checked,) = printed("check", name, "--store", sqlite_url)["sessions"]
        shown = printed("show", name, "--store", sqlite_url)
        assert checked["holes"] == shown["holes"]
        assert (shown["holes"]["missing_bodies"], shown["holes"]["requests"]) == (2, 7)
        assert "ping-gap" in shown["holes"]["rules_not_applied"]
        assert shown["metrics"]["unknown"] == 2
    listed, going_on = printed("sessions", "--store", sqlite_url)
    assert (listed["has_holes"], listed["findings"]) == (True, {"error": 0, "warning": 0, "info": 2})
    assert (going_on["has_holes"], going_on["state"]) == (True, "expired")
    assert going_on["findings"] == {"error": 0, "warning": 0, "info": 0}  # it may have ended behind the cut
    (again,) = sources.sessions_of(f"{tmp_path}/cut.har")
    assert again.session.has_holes
    assert judge_held(again).findings == ()
    only = run("check", file, "--select", "ping-gap").stdout
    assert "not applied: rule ping-gap, because the file lacks 2 of 7 bodies" in only
