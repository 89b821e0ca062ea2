"""Recorders for tests: they record what was answered, and none outlives its caller."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from proxy_addon.errors import SessiontapeError
from proxy_addon.testing.recorders import RunningRecorder
from tests import builders, processes
from tests.leftovers import Family

START = builders.body(builders.event_dict("sessionStart", ts=1))


def test_all_that_was_answered_is_read_and_others_learn_of_it(tmp_path):
    told = threading.Event()
    with (
        processes.collector(tmp_path) as upstream,
        RunningRecorder(upstream.url, f"sqlite:///{tmp_path}/tape.db", name="mine", stored=told.set) as recorder,
    ):
        assert recorder.url == f"http://{recorder.host}"
        assert recorder.sessions() == []
        answer = httpx.post(f"{recorder.url}/api/v1/sessions", content=START)
        (held,) = recorder.sessions()
        assert told.wait(10)
    assert (held.session.session_id or "none") in answer.headers["location"]
    assert (held.session.recording, held.session.upstream) == ("mine", upstream.url)
    assert [each.request.body for each in held.exchanges] == [START]
    assert recorder.is_complete
    assert [each.exchanges for each in recorder.sessions(since=held.session.started_at)] == [held.exchanges]
    assert recorder.sessions(since=held.session.started_at + timedelta(microseconds=1)) == []


def test_several_run_at_once_each_into_its_own_store(tmp_path):
    def record(number: int) -> list[int]:
        with RunningRecorder("http://127.0.0.1:9", f"sqlite:///{tmp_path}/{number}.db") as recorder:
            for _ in range(number):
                httpx.post(f"{recorder.url}/api/v1/sessions", content=START)
            return [len(recorder.sessions()), sum("cannot reach" in each for each in recorder.warnings)]

    with ThreadPoolExecutor() as threads:
        assert list(threads.map(record, range(4))) == [[0, 0], [1, 1], [2, 1], [3, 1]]


def test_one_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(SessiontapeError, match=r"none/tape\.db"),
        RunningRecorder("http://127.0.0.1:9", f"sqlite:///{tmp_path}/none/tape.db"),
    ):
        pass


CALLER = """
import sys
from proxy_addon.testing.recorders import RunningRecorder
with RunningRecorder("http://127.0.0.1:9", sys.argv[1]) as recorder:  # at top level: nothing imports this file again
    print(recorder.url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_recorder_ends_when_its_caller_was_killed(tmp_path, number):
    family = Family()
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, f"sqlite:///{tmp_path}/tape.db"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | family.mark,
    ) as caller:
        assert caller.stdout is not None
        url = caller.stdout.readline().strip()
        httpx.post(f"{url}/api/v1/sessions", content=START)
        assert len(family.members()) == 4, "the caller, the process that forks, the recorder, and ingest"
        os.kill(caller.pid, number)
        caller.wait(10)
        assert not family.survivors()


def test_the_process_that_they_are_forked_from_imports_only_what_all_of_them_need() -> None:
    code = "import sys, proxy_addon.testing.forks; print({'aiohttp', 'psycopg', 'rich'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
