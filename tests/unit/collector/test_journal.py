from __future__ import annotations

import json
from typing import Any

import pytest

from proxy_addon.collector.backend import Decision
from proxy_addon.collector.faults import Fault
from proxy_addon.collector.journal import Journal, entry
from proxy_addon.core.exchange import Response
from proxy_addon.core.routes import Operation
from proxy_addon.errors import SettingsError
from tests.builders import at, request


def line(sent: bytes = b"", **decision) -> dict[str, Any]:
    return entry(
        request(body=sent),
        Decision(operation=Operation.SESSIONS, **decision),
        received_at=at(0.0015),
        monotonic_s=12.5,
    )


def test_an_entry_has_the_request_and_what_became_of_it():
    document = line(b"{}", session_id="id1", event_type="sessionStart", response=Response(status=201))

    assert document == {
        "received_at": "2026-03-01T12:00:00.001Z",
        "monotonic_s": 12.5,
        "method": "POST",
        "path": "/api/v1/sessions",
        "http_version": "HTTP/1.1",
        "headers": [["Content-Type", "application/json"], ["User-Agent", "TestPlayer/1.0"]],
        "operation": "sessions",
        "session_id": "id1",
        "event_type": "sessionStart",
        "status": 201,
        "fault": None,
        "complete": True,
        "body_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "body": {"text": "{}"},
    }


def test_a_request_without_an_answer_has_no_status_but_the_fault():
    document = line(fault=Fault.parse("any:drop"))

    assert (document["status"], document["fault"]) == (None, "any:drop")


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        (b"\xff\x00", {"base64": "/wA="}),
        (b'"\\ud83c"', {"text": '"\\ud83c"'}),
        ("é\u2028\0".encode(), {"text": "é\u2028\0"}),
        (b"", {"text": ""}),
    ],
)
def test_a_body_is_text_where_that_gives_its_bytes_back(sent, logged):
    assert line(sent)["body"] == logged


def test_the_log_is_appended_to_a_line_at_a_time(tmp_path):
    path = tmp_path / "log.jsonl"
    for number in (1, 2):
        with Journal(path) as journal:
            journal.write({"number": number, "event_type": "half \ud83c"})
            assert len(path.read_text().splitlines()) == number

    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot write the log .*nowhere"):
        Journal(tmp_path / "nowhere" / "log.jsonl")
