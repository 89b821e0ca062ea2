"""The order in which a recorder does things, as the system sees it: this is all that can be told without cutting power."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.faults import raw
from tests.faults.stage import Stage

REQUESTS = 10
_SYNCED = re.compile(r"fdatasync|fsync")
_ANSWERED = re.compile(r'(?:sendto|sendmsg|write)\(\d+, .*"HTTP/1\.1 201 ')


def calls(stage: Stage, store_url: str, *options: str) -> list[str]:
    """Return what a recorder asks of the system while it answers: each sync, and each answer to a device."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    log = stage.folder / "strace"
    with stage.recorder(store_url, *options) as proxy, raw.device(proxy.port) as device:
        pid = str(proxy.process.popen.pid)
        command = ["strace", "-f", "-p", pid, "-o", str(log), "-e", "trace=fsync,fdatasync,sendto,sendmsg,write"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            if "attached" not in (said := tracer.stderr.readline()):
                pytest.skip(f"no process can be traced here: {said.strip()}")
            for _ in range(REQUESTS):
                device.send(raw.post())
                assert device.message().startswith(b"HTTP/1.1 201")
            tracer.terminate()
        proxy.stop()
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
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
