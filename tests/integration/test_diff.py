"""``sessiontape diff`` as people use it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.reporting.pages import embedding
from tests import builders
from tests.builders import OTHER_SESSION_ID, SESSION_ID
from tests.integration.test_replay import MAX, fill, replayed
from tests.processes import collector, printed, run


@pytest.fixture
def tape(sqlite_url: str) -> str:
    """Two sessions of one film; the second has an ad that the first has not, and another name."""
    params = {**builders.START_PARAMS, "media.name": "Another film"}
    other: dict[str, Any] = {"session_id": OTHER_SESSION_ID}
    return fill(
        sqlite_url,
        [
            builders.start(id="a1"),
            builders.event("play", id="a2", after_s=1),
            builders.event("sessionEnd", id="a3", after_s=9),
            builders.start(id="b1", after_s=100, params=params, **other),
            builders.event("play", id="b2", after_s=101, **other),
            builders.event("adBreakStart", id="b3", after_s=102, **other),
            builders.event("sessionEnd", id="b4", after_s=109, **other),
        ],
    )


def test_two_sessions_are_laid_side_by_side(tape):
    document = printed("diff", SESSION_ID[:8], OTHER_SESSION_ID, "--store", tape, code=1)
    assert [(pair["a"], pair["b"], pair["kind"], pair["event_type"]) for pair in document["pairs"]] == [
        (1, 1, "changed", "sessionStart"), (2, 2, "same", "play"), (None, 3, "only-b", "adBreakStart"),
        (3, 4, "same", "sessionEnd"),
    ]  # fmt: skip
    assert document["pairs"][0]["differences"] == [
        {"where": "/params/media.name", "a": '"A film"', "b": '"Another film"'}
    ]
    assert document["counts"] == {"same": 2, "changed": 1, "moved": 0, "only-a": 0, "only-b": 1}
    done = run("diff", SESSION_ID, OTHER_SESSION_ID, "--store", tape)
    assert done.returncode == 1
    assert "/params/media.name" in done.stdout
    assert "2 same, 1 changed, 0 moved, 0 only-a, 1 only-b" in done.stdout
    assert run("diff", SESSION_ID, SESSION_ID, "--store", tape).returncode == 0


def test_a_session_is_laid_beside_its_replay(tape, tmp_path):
    with collector(tmp_path, "--fault", "events:status=500:nth=2") as target:
        document = replayed(tape, target.url, SESSION_ID, *MAX, code=1)
    found = printed("diff", SESSION_ID, "--run", document["id"], "--store", tape, code=1)
    assert [pair["kind"] for pair in found["pairs"]] == ["same", "same", "changed"]
    assert found["pairs"][2]["differences"] == [{"where": "status", "a": "204", "b": "500"}]
    with collector(tmp_path) as target:
        changed = replayed(tape, target.url, SESSION_ID, *MAX, "--set", "$.params['media.name']=B", "--only-present")
    found = printed("diff", SESSION_ID, "--run", changed["id"], "--store", tape)
    assert [pair["differences"] for pair in found["pairs"]] == [
        [{"where": "/params/media.name", "a": '"A film"', "b": '"B"'}], [], [],
    ]  # fmt: skip
    said = run("diff", OTHER_SESSION_ID, "--run", document["id"], "--store", tape)
    assert (said.returncode, "did not replay session" in said.stderr) == (2, True)


def test_bodies_that_are_no_event_are_laid_side_by_side_too(sqlite_url, tmp_path):
    odd = (b"", b"garbage", b"5", b"null", b"\xff\x00", b'[5, null, {"eventType": "ping"}]', b"[]")
    tape = fill(
        sqlite_url,
        [
            builders.start(id="a", body=b"garbage"),
            *(builders.event(id=f"a{n}", after_s=n, body=body) for n, body in enumerate(odd, 1)),
            builders.start(id="b", body=b"null", session_id=OTHER_SESSION_ID, after_s=50),
            *(
                builders.event(id=f"b{n}", after_s=50 + n, body=body, session_id=OTHER_SESSION_ID)
                for n, body in enumerate(reversed(odd), 1)
            ),
        ],
    )
    document = printed("diff", SESSION_ID, OTHER_SESSION_ID, "--store", tape, code=1)
    assert sum(document["counts"].values()) == len(document["pairs"])
    assert document["counts"] == {"same": 2, "changed": 1, "moved": 6, "only-a": 1, "only-b": 1}
    assert printed("diff", SESSION_ID, SESSION_ID, "--store", tape)["counts"]["same"] == 10
    table = run("diff", OTHER_SESSION_ID, SESSION_ID, "--store", tape, "--report", str(tmp_path / "odd.html"))
    assert (table.returncode, table.stderr) == (1, "")
    with collector(tmp_path) as target:
        document = replayed(tape, target.url, SESSION_ID, *MAX, code=1)
    found = printed("diff", SESSION_ID, "--run", document["id"], "--store", tape, code=1)
    assert len(found["pairs"]) == 10


@pytest.mark.parametrize(
    "arguments", [[SESSION_ID], [SESSION_ID, OTHER_SESSION_ID, "--run", "x"], ["nobody", SESSION_ID]]
)
def test_what_cannot_be_compared_is_told(tape, arguments):
    done = run("diff", *arguments, "--store", tape)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def page_of(path: Path) -> dict[str, Any]:
    """Return the value that a page draws."""
    packed = re.search(r'data-part="value">([\w+/=]*)<', path.read_text(encoding="utf-8"))
    assert packed is not None
    value: dict[str, Any] = embedding.read(packed[1])
    return value


def test_a_comparison_is_written_as_a_page_that_names_nobody(tape, tmp_path):
    path = tmp_path / "compared.html"
    pair = SESSION_ID, OTHER_SESSION_ID, "--store", tape, "--report", str(path)
    assert run("diff", *pair).returncode == 1
    page = page_of(path)
    assert page["verdict"]["headline"] == "1 of 4 events differs, 1 only in B."
    assert [row[2] for row in page["rows"]] == ["changed", "same", "only-b", "same"]
    assert "192.0.2.7" not in json.dumps(page)
    assert run("diff", *pair, "--raw").returncode == 1
    assert "192.0.2.7" in json.dumps(page_of(path))
    with collector(tmp_path, "--fault", "events:status=500:nth=2") as target:
        replay = replayed(tape, target.url, SESSION_ID, *MAX, code=1)
    assert run("diff", SESSION_ID, "--run", replay["id"], "--store", tape, "--report", str(path)).returncode == 1
    page = page_of(path)
    assert (page["kind"], page["verdict"]["headline"]) == ("replay", "1 of 3 events differs.")
    assert page["sides"][1]["page"]["events"]["s"] == [201, 204, 500]
    prefixes = (SESSION_ID[:8], OTHER_SESSION_ID[:8], *pair[2:])
    assert run("diff", *prefixes, "--as-test").returncode == 1
    page = page_of(path)
    assert page["kind"] == "expectation"
    assert [side["name"] for side in page["sides"]] == [side["page"]["session"]["id"] for side in page["sides"]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--report", "x.txt"), "end its name with .html"),
        (("--report", "no/such/folder/x.html"), "cannot write"),
        (("--raw",), "add --report FILE.html"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_compared(tmp_path, options, told):
    done = run("diff", "a", "b", "--store", f"sqlite:///{tmp_path}/none.db", *options)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
