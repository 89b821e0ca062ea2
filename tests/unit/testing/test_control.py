"""The control API without a server: waiting for what is recorded."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from proxy_addon.collector.server import Address, serving
from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.findings import Judgement
from proxy_addon.core.sessions import Session, SessionState
from proxy_addon.testing.control import Control, refusal
from proxy_addon.testing.verdicts import Judged
from tests import builders


class Recording:
    """A recording that a test fills; it tells when it was read."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.read = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, since: datetime) -> Sequence[Judged]:
        found = [
            Judged(session=each, state=each.lasting_state, exchanges=(), judgement=Judgement())
            for each in self.sessions
            if each.started_at >= since
        ]
        self._loop.call_soon_threadsafe(self.read.set)
        return found


@pytest.fixture
async def recording() -> Recording:
    return Recording()


def control(recording: Recording) -> Control:
    return Control(recording, None, now=lambda: builders.BEGIN)


async def ask(control: Control, path: str) -> tuple[int, dict[str, Any]]:
    answer: Response = await control.handle(Request(method="GET", path=path, headers=(("Host", "127.0.0.1"),)))
    return answer.status, json.loads(answer.body)


async def test_who_waits_is_woken_by_each_change_until_it_is_what_is_waited_for(recording):
    asked = control(recording)
    waiting = asyncio.create_task(ask(asked, "/sessions?wait=ended&count=2&timeout=60"))
    for found in (
        [],
        [builders.session(id="a")],
        [builders.session(id="a", ended=True)],
        [builders.session(id="a", ended=True), builders.session(id="b")],
    ):
        await asyncio.wait_for(recording.read.wait(), 10)
        assert not waiting.done()
        recording.read.clear()
        recording.sessions = found
        asked.changed()
    await asyncio.wait_for(recording.read.wait(), 10)
    recording.sessions = [builders.session(id="a", ended=True), builders.session(id="b", completed=True)]
    asked.changed()
    status, answer = await asyncio.wait_for(waiting, 10)
    assert (status, [each["state"] for each in answer["sessions"]]) == (200, ["ended", "completed"])


@pytest.mark.parametrize(
    ("state", "is_over"),
    [
        ({"ended": True}, True),
        ({"failed": True}, False),
        ({"start_seen": False}, False),
        ({}, False),
    ],
)
async def test_a_failed_start_is_no_end_of_a_session(recording, state, is_over):
    recording.sessions = [builders.session(**state)]
    status, _ = await ask(control(recording), "/sessions?wait=ended&timeout=0")
    assert (status == 200) == is_over


async def test_a_failed_start_does_not_keep_others_waiting(recording):
    recording.sessions = [builders.session(id="a", failed=True), builders.session(id="b", ended=True)]
    assert recording(builders.BEGIN)[0].state is SessionState.FAILED
    assert (await ask(control(recording), "/sessions?wait=ended&timeout=0"))[0] == 200


async def test_while_a_session_is_open_not_all_have_ended(recording):
    recording.sessions = [builders.session(id="a", ended=True), builders.session(id="b")]
    status, answer = await ask(control(recording), "/sessions?wait=ended&timeout=0")
    assert status == 504
    assert answer["error"]["message"] == "after 0 s: waited for 1 session that has ended: 1 ended, 1 open"


async def test_sessions_belong_to_the_case_in_which_they_began(recording):
    times = iter([builders.at(0), builders.at(10), builders.at(20)])
    asked = Control(recording, None, now=lambda: next(times))
    for _ in range(2):
        headers = (("Host", "localhost"),)
        await asked.handle(Request(method="POST", path="/cases", headers=headers, body=b"{}"))
    seconds = (0, 9.9, 10, 19.9, 20, 99)
    assert [asked.case_of(builders.BEGIN + timedelta(seconds=each)) for each in seconds] == [0, 0, 1, 1, 2, 2]


async def test_a_failure_of_its_own_is_answered_like_any_error(caplog):
    def breaks(_: datetime) -> Sequence[Judged]:
        raise ZeroDivisionError

    status, document = await ask(Control(breaks, None), "/verdict")
    assert (status, document["error"]["message"]) == (500, "the control API failed: ZeroDivisionError")
    assert "the control API cannot answer GET /verdict" in caplog.text, "whoever has to mend it finds the traceback"
    assert "in breaks" in caplog.text


async def test_a_handler_that_fails_is_answered_for() -> None:
    async def breaks(_: Request) -> Response:
        raise ZeroDivisionError

    async with serving(breaks, Address(port=0), refusal) as url, httpx.AsyncClient() as client:
        answer = await client.get(url)
    assert (answer.status_code, "made the server fail" in answer.json()["error"]["message"]) == (500, True)
