"""The order in which a recorder does things, as the system sees it: this is all that can be told without cutting power."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.builders import body, event_dict
from tests.faults import raw
from tests.faults.servers import journal_of
from tests.faults.stage import Stage

REQUESTS = 10
_SYNCED = re.compile(r"fdatasync|fsync")
_PUBLISHED = re.compile(r'rename.*\.000002\.tape"')
_FOLDER_SYNCED = re.compile(r"fsync\(\d+<[^>]*\.journal>")
_COMMITTED = re.compile(r"fdatasync\(\d+<[^>]*\.000002\.tape-wal>")
_ANSWERED = re.compile(r'(?:sendto|sendmsg|write)\(\d+.*, .*"HTTP/1\.1 201 ')


def ask(device: raw.Peer, content: bytes = raw.START, times: int = REQUESTS) -> None:
    for _ in range(times):
        device.send(raw.post(content=content))
        assert device.message().startswith(b"HTTP/1.1 201")


def traced(stage: Stage, store_url: str, *options: str, talk: Callable[[raw.Peer], object] = ask) -> list[str]:
    """Return what a recorder asks of the system while a device talks to it: a line for each call."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    log = stage.folder / "strace"
    with stage.recorder(store_url, *options) as proxy, raw.device(proxy.port) as device:
        pid = str(proxy.process.popen.pid)
        watched = "trace=fsync,fdatasync,sendto,sendmsg,write,rename,renameat,renameat2"
        command = ["strace", "-f", "-y", "-p", pid, "-o", str(log), "-e", watched]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            if "attached" not in (said := tracer.stderr.readline()):
                pytest.skip(f"no process can be traced here: {said.strip()}")
            talk(device)
            tracer.terminate()
        proxy.stop()
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def calls(stage: Stage, store_url: str, *options: str) -> list[str]:
    """Return what a recorder does to answer some requests: each sync, and each answer."""
    lines = traced(stage, store_url, *options)
    return ["sync" if _SYNCED.search(line) else "answer" for line in lines if _SYNCED.search(line) or is_answer(line)]


def is_answer(line: str) -> bool:
    return _ANSWERED.search(line) is not None


def test_an_exchange_is_on_the_disk_before_the_device_has_its_answer(stage: Stage, sqlite_url: str) -> None:
    found = calls(stage, sqlite_url)
    assert found.count("answer") == REQUESTS
    before = ["sync", *found]
    assert all(before[at] == "sync" for at, each in enumerate(found) if each == "answer"), found


def test_with_durability_async_no_answer_waits_for_the_disk(stage: Stage, sqlite_url: str) -> None:
    found = calls(stage, sqlite_url, "--durability", "async")
    assert found.count("answer") == REQUESTS
    assert "sync" not in found


def test_a_segment_has_its_name_on_the_disk_before_anything_is_committed_to_it(stage: Stage, sqlite_url: str) -> None:
    def fill_a_segment(device: raw.Peer) -> None:
        start = body(event_dict("sessionStart", customMetadata={"x": "y" * 200_000}))  # the first one takes a mebibyte
        deadline = time.monotonic() + raw.WITHIN_S
        while not [*journal_of(sqlite_url).glob("*.000002.tape")]:  # it is made meanwhile
            assert time.monotonic() < deadline
            ask(device, start, times=1)

    lines = traced(stage, sqlite_url, talk=fill_a_segment)
    (published,) = (at for at, line in enumerate(lines) if _PUBLISHED.search(line))
    committed = next(at for at, line in enumerate(lines) if _COMMITTED.search(line))
    assert published < committed
    assert any(_FOLDER_SYNCED.search(line) for line in lines[published:committed])
