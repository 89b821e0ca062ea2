"""``sessiontape expect`` and ``diff --as-test`` as people use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests import builders, processes
from tests.builders import OTHER_SESSION_ID, SESSION_ID
from tests.integration.test_replay import fill
from tests.processes import printed, run

PERSONAL = {"visitor.marketingCloudUserId": "71234567890123456789012345678901234567"}


@pytest.fixture
def tape(sqlite_url: str) -> str:
    """A session, and one an hour later with another name, another visitor and another channel."""
    params: dict[str, Any] = {**builders.START_PARAMS, **PERSONAL}
    changed = {
        **params,
        "media.channel": "News\x1b[2J",
        "visitor.marketingCloudUserId": "9" * 38,
        "media.name": "Other",
    }
    other: dict[str, Any] = {"session_id": OTHER_SESSION_ID}
    return fill(
        sqlite_url,
        [
            builders.start(id="a1", params=params),
            builders.event("play", id="a2", after_s=1),
            builders.event("sessionEnd", id="a3", after_s=9, playhead=8),
            builders.start(id="b1", after_s=3600, params=changed, **other),
            builders.event("play", id="b2", after_s=3601.4, **other),
            builders.event("sessionEnd", id="b3", after_s=3609, playhead=7.5, **other),
        ],
    )


def test_a_session_is_written_as_an_expectation_and_tested_with_it(tape, tmp_path):
    path = tmp_path / "expected.json"
    assert (
        run("expect", SESSION_ID[:8], "-o", str(path), "--ignore", "params/media.name", "--store", tape).returncode == 0
    )
    text = path.read_text(encoding="utf-8")
    assert PERSONAL["visitor.marketingCloudUserId"] not in text
    assert json.loads(text)["compare"] == {
        "ignore": ["params/media.name"], "any_value": [], "playhead_tolerance_s": 1.0, "distance_tolerance_s": 1.5,
        "ping_tolerance_s": 1.0, "tolerances": {},
    }  # fmt: skip
    same = run("diff", str(path), SESSION_ID, "--as-test", "--store", tape)
    assert (same.returncode, same.stdout.startswith("same tracking: ")) == (0, True)

    test = ["diff", str(path), OTHER_SESSION_ID, "--as-test", "--store", tape]
    told = r'sessionStart #1: params/media.channel is "News\u001b[2J", expected "Sports"'
    done = run(*test)
    assert done.returncode == 1
    assert f"1. {told}\n" in done.stdout
    verdict, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"not the same tracking: .* \(3 expected events\)", verdict), (
        "whole, for those who search for it"
    )
    assert max(map(len, lines)) <= 80
    assert max(map(len, processes.on_terminal(*test, columns=100, code=1))) <= 80
    document = printed(*test, "--json", code=1)
    assert [(each["event_type"], each["place"], each["message"]) for each in document["differences"]] == [
        ("sessionStart", "params/media.channel", told)
    ]
    suite = ET.fromstring(run(*test, "--format", "junit").stdout)
    assert [failure.get("message") for failure in suite.iter("failure")] == [told]
    assert run(*test, "--format", "github").stdout.startswith(
        f"::error file={path},title=tracking changed%3A value::{told}"
    )
    assert run(*test, "--ignore", "sessionStart:params/media.channel").returncode == 0
    close = ["--ignore", "sessionStart:params/media.channel", "--playhead-tolerance", "0.2"]
    assert "sessionEnd #3: playhead is 7.5, expected 8" in run(*test, *close).stdout


def test_an_expectation_is_replaced_on_purpose_only_and_keeps_how_it_is_compared(tape, tmp_path):
    path = tmp_path / "expected.json"
    write = ["expect", "last", "-o", str(path), "--store", tape]
    assert run(*write, "--any-value", "params/media.id", "--playhead-tolerance", "3").returncode == 0
    before = path.read_bytes()
    refused = run(*write)
    assert (refused.returncode, path.read_bytes()) == (2, before)
    assert "already exists" in refused.stderr
    assert run(*write, "--force", "--raw", "--ignore", "qoeData").returncode == 0
    document = json.loads(path.read_bytes())
    assert document["compare"]["any_value"] == ["params/media.id"]
    assert (document["compare"]["ignore"], document["compare"]["playhead_tolerance_s"]) == (["qoeData"], 3)
    assert "9" * 38 in path.read_text(encoding="utf-8")
    again = tmp_path / "again.json"
    assert run("expect", str(path), "-o", str(again)).returncode == 0
    assert json.loads(again.read_bytes())["compare"] == document["compare"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("diff", "a.json", "--run", "last", "--as-test"), "--as-test compares two sessions"),
        (("diff", "last", "last", "--ignore", "qoeData"), "--ignore is for --as-test"),
        (("diff", "last", "last", "--playhead-tolerance", "0"), "--playhead-tolerance is for --as-test"),
        (("diff", "last", "last", "--as-test", "--ignore", "media.ad.id"), "write 'params/media.ad.id'"),
        (("diff", "no.json", "last", "--as-test"), "cannot read no.json"),
        (("diff", "odd.json", "last", "--as-test"), 'unknown member \'ignores\' in "compare"; did you mean ignore?'),
        (("expect", "last", "-o", "e.json", "--ignore", "ping"), "write 'ping:*'"),
        (("expect", "list.json", "-o", "e.json"), "list.json has no answers"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_in_a_sentence(tape, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    if "odd.json" in arguments:
        assert run("expect", "last", "-o", "odd.json", "--store", tape).returncode == 0
        document = json.loads(Path("odd.json").read_bytes())
        Path("odd.json").write_text(json.dumps(document | {"compare": {"ignores": []}}), encoding="utf-8")
    Path("list.json").write_text(json.dumps([builders.event_dict("play")]), encoding="utf-8")
    done = run(*arguments, "--store", tape)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
