"""``record --workers``: several processes on one port, with one journal folder, one ingest and one set of books."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import processes
from tests.builders import body, event_dict
from tests.processes import printed, run

START = body(event_dict("sessionStart"))


def workers_of(pid: int) -> list[int]:
    """The workers among the children of a process, whichever thread started them."""
    children = " ".join(path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/children"))
    names = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children.split()}
    return sorted(child for child, name in names.items() if b"recording.workers" in name)


def test_workers_share_port_store_and_books_and_one_that_dies_is_replaced(sqlite_url, tmp_path):
    command = [processes.COMMAND, "record", *processes.ANY_PORT, "--store", sqlite_url, "--workers", "2"]
    with (
        processes.collector(tmp_path) as upstream,
        processes.serving([*command, "--upstream", upstream.url], tmp_path) as proxy,
    ):
        pid = proxy.process.popen.pid
        first = workers_of(pid)
        assert len(first) == 2
        assert ":0 " not in proxy.ready, "the port was chosen before it was told"

        def play(_: int) -> int:
            return proxy.ask("POST", "/api/v1/sessions", START).status

        with ThreadPoolExecutor(8) as devices:
            assert list(devices.map(play, range(40))) == [201] * 40
        os.kill(first[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(now := workers_of(pid)) < 2 or first[0] in now:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert first[1] in now
        with ThreadPoolExecutor(8) as devices:
            assert list(devices.map(play, range(20))) == [201] * 20
        assert len(printed("sessions", "--store", sqlite_url)) == 60
    assert re.search("worker [01] has ended with code -9; another one takes its place", proxy.process.output)
    assert "60 exchanges stored, 0 lost" in proxy.process.output
    assert len(upstream.received()) == 60


def test_what_keeps_a_worker_from_starting_is_told_once(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as other:
        done = run(
            *("record", "--workers", "2", "--upstream", "http://127.0.0.1:9", "--store", sqlite_url),
            *("--listen", f"127.0.0.1:{other.port}"),
        )
    assert done.returncode == 2
    assert done.stderr.count("Address already in use") == 1
    for options in (("--pseudonymise",), ("--mode", "regular")):
        done = run("record", "--workers", "2", "--upstream", "http://127.0.0.1:9", *options, cwd=tmp_path)
        assert (done.returncode, "--workers" in done.stderr) == (2, True)
    assert not (tmp_path / "sessiontape.db").exists()
