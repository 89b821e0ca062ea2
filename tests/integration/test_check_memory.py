"""Checking a store takes no more memory the more sessions it has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from storage import migrate, saving
from storage.engine import Store
from storage.saving import RecordingRun
from tests.builders import BEGIN, BEGIN_MS, event, start, unjudged

SESSIONS = (100, 1000)
EVENTS = 5

MEASURE = """
import json, resource, sys
from proxy_addon.cli import cli
try:
    cli.main(["check", "--all", "--format", "json", "--store", sys.argv[1]], standalone_mode=False)
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(json.dumps({"kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), file=sys.stderr)
"""


def fill(url: str, sessions: int) -> None:
    store = Store(url)
    migrate.upgrade(store)
    recording = RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
    for number in range(sessions):
        id, at_s = f"{number:064x}", number * 20
        exchanges = [start(id=f"s{number}", session_id=id, after_s=at_s, ts=BEGIN_MS + at_s * 1000)]
        for n in range(1, EVENTS):
            kind = "sessionEnd" if n == EVENTS - 1 else "play"
            ts = BEGIN_MS + (at_s + n) * 1000
            exchanges.append(event(kind, id=f"e{number}-{n}", session_id=id, after_s=at_s + n, ts=ts, playhead=n))
        with store.write() as db:
            saving.save(db, recording, unjudged(exchanges))
    store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in KiB on Linux alone")
def test_memory_does_not_grow_with_the_number_of_sessions(tmp_path):
    peaks = []
    for sessions in SESSIONS:
        url = f"sqlite:///{tmp_path / f'{sessions}.db'}"
        fill(url, sessions)
        done = subprocess.run([sys.executable, "-c", MEASURE, url], capture_output=True, text=True, check=True)
        assert len(json.loads(done.stdout)["sessions"]) == sessions
        peaks.append(json.loads(done.stderr)["kib"])
    assert peaks[1] - peaks[0] < 8 * 1024, f"{peaks} KiB for {SESSIONS} sessions"
