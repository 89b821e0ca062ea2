"""After a recorder was killed, the next one judges what it has left, and goes on."""

from __future__ import annotations

import signal
import time
from typing import Any

from tests import processes
from tests.builders import BEGIN_MS, body, event_dict
from tests.processes import printed

SOON_S = 30
CHAPTER = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 5}


def chapter(number: int) -> bytes:
    """An event that leaves the chapter before it open: a finding of the session as a whole."""
    return body(event_dict("chapterStart", playhead=number, ts=BEGIN_MS + 1000 * number, params=CHAPTER))


def counted(findings: list[dict[str, Any]]) -> dict[str, int]:
    counts = {"error": 0, "warning": 0, "info": 0}
    for finding in findings:
        counts[finding["severity"]] += 1
    return counts


def settled(store_url: str) -> dict[str, Any]:
    """Return what `show` says of the only session once `sessions` counts the same."""
    deadline = time.monotonic() + SOON_S
    while True:
        (listed,) = printed("sessions", "--store", store_url)
        shown: dict[str, Any] = printed("show", listed["id"], "--store", store_url)
        found = [*shown["findings"], *(each for exchange in shown["exchanges"] for each in exchange["findings"])]
        if listed["findings"] == counted(found):
            return shown
        assert time.monotonic() < deadline, (listed["findings"], found)
        time.sleep(0.1)


def open_chapters(shown: dict[str, Any]) -> int:
    return sum(finding["count"] for finding in shown["findings"] if finding["rule"] == "chapter-not-closed")


def test_what_a_killed_recorder_has_left_is_judged_and_what_comes_then_too(store_url, tmp_path):
    with processes.collector(tmp_path) as upstream:
        with processes.recorder(tmp_path, upstream.url, store_url, ends_with=-signal.SIGKILL) as proxy:
            opened = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart")))
            path = f"{opened.header('Location')}/events"
            for number in range(1, 5):
                assert proxy.ask("POST", path, chapter(number)).status == 204
            proxy.process.popen.kill()
        with processes.recorder(tmp_path, upstream.url, store_url) as proxy:
            assert open_chapters(settled(store_url)) == 3
            for number in range(5, 8):
                assert proxy.ask("POST", path, chapter(number)).status == 204
            # Another finding: that an old one has more places is not counted.
            closed = body(event_dict("adComplete", playhead=8, ts=BEGIN_MS + 8000, params=None))
            assert proxy.ask("POST", path, closed).status == 204
            shown = settled(store_url)
    assert open_chapters(shown) == 6
    assert "ad-outside-break" in {finding["rule"] for finding in shown["findings"]}
    assert len(shown["exchanges"]) == 9
    assert open_chapters(settled(store_url)) == 6
