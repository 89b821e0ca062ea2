"""What pages cost in a browser: a session of 5,000 events, one that fills while it is looked at, a report, and an audit.

The peer is an empty page in the same browser, whose frames take as long as the machine's do at least.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import parts, peers, stored
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages import audit
from tests import audited, builders, pictured
from tests.browser.conftest import CHROMIUM, FLAGS

ROUNDS = 7
FRAMES = 150
LIVE_PER_S, LIVE_S = 500, 10
REPORTED = 200
AUDITED, GROUPS = 10_000, 200
_DRAWN = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
_BLANK = "data:text/html,<title>empty</title>"
_ZOOMING = """async (count) => {
  const box = document.querySelector(".plotbox"), at = [];
  const press = (key) => box?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  for (let k = 0; k <= count; k++) {
    press(Math.floor(k / 15) % 2 ? "-" : "+");
    at.push(await new Promise(requestAnimationFrame));
  }
  return at.slice(1).map((t, k) => t - at[k]);
}"""


def run() -> Iterator[str]:
    """Measure, and yield lines to print."""
    if CHROMIUM is None:
        yield "there is no Chromium: install 'chromium' to measure pages"
        return
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield from _drawing(browser, Path(folder))
        yield from _live(browser, Path(folder))
        yield from _audit(browser, Path(folder))
        browser.close()
        yield from _report(Path(folder))


def _drawing(browser: Browser, folder: Path) -> Iterator[str]:
    path = folder / "session.html"
    path.write_text(pictured.html(pictured.marathon()), encoding="utf-8")
    drawn, page = [], None
    for _ in range(ROUNDS):
        if page is not None:
            page.close()
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_function("document.documentElement.dataset.drawnMs")
        drawn.append(int(page.evaluate("document.documentElement.dataset.drawnMs")))
    assert page is not None
    yield f"5,000 events drawn {statistics.median(drawn):.0f} ms after load   (goal: below 300)"
    ours = page.evaluate(_ZOOMING, FRAMES)
    page.goto(_BLANK)
    empty = page.evaluate(_ZOOMING, FRAMES)
    yield f"  zooming, ms from frame to frame: {_told(ours)}; an empty page: {_told(empty)}   (goal: 20)"
    yield f"  the file: {path.stat().st_size / 1024:.0f} KiB"
    page.close()


def _told(intervals: list[float]) -> str:
    quantiles = statistics.quantiles(intervals, n=20)
    return f"p50 {statistics.median(intervals):.1f}, p95 {quantiles[18]:.1f}"


def _live(browser: Browser, folder: Path) -> Iterator[str]:
    with _recorded_live(folder) as (record, pages):
        session = _opened(record)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(pages)
        page.locator("tbody a").first.click()
        page.locator("canvas.plot").wait_for()
        over = threading.Event()
        sender = threading.Thread(target=_play, args=(record, session, over))
        measured = page.context.new_cdp_session(page)
        measured.send("Performance.enable")
        sender.start()
        try:
            page.wait_for_timeout(2_000)
            began, busy = time.monotonic(), _busy_s(measured)
            page.wait_for_timeout(LIVE_S * 1_000)
            share = (_busy_s(measured) - busy) / (time.monotonic() - began)
            shown = _events(page)
        finally:
            over.set()
            sender.join()
        yield f"{LIVE_PER_S} live events a second: the page takes {share:.0%} of a core, {shown} events shown   (goal: a third)"
        page.close()


def _busy_s(measured: Any) -> float:
    metrics = measured.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _events(page: Page) -> str:
    return page.locator(".nums b").first.inner_text()


@contextmanager
def _recorded_live(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the address of a recorder, and that of its pages."""
    port, pages = peers.free_port(), peers.free_port()
    options = ("--ui", f"127.0.0.1:{pages}", "--listen", f"127.0.0.1:{port}", "--store", f"sqlite:///{folder}/live.db")
    with parts.upstream() as upstream:
        process = subprocess.Popen(
            [str(parts.BIN / "sessiontape"), "record", "--upstream", upstream, *options, "--quiet"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if f":{pages}" in line:
                    break
            yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{pages}"
        finally:
            process.terminate()
            process.communicate()


def _opened(record: str) -> str:
    """Open a session, and return its ID; the upstream answers with none, so it begins in the middle."""
    session = "f" * 64
    _post(http.client.HTTPConnection(urlsplit(record).netloc), session, 0)
    return session


def _post(connection: http.client.HTTPConnection, session: str, playhead: float) -> None:
    # Changes of the bitrate may come as often as they like: the rules have nothing to say about them.
    event = builders.event_dict("bitrateChange", playhead=playhead, ts=round(time.time() * 1000))
    event["qoeData"] = {"media.qoe.bitrate": 3_000 + round(playhead * LIVE_PER_S) % 7}
    connection.request("POST", f"/api/v1/sessions/{session}/events", builders.body(event))
    connection.getresponse().read()


def _play(record: str, session: str, over: threading.Event) -> None:
    with closing(http.client.HTTPConnection(urlsplit(record).netloc)) as connection:
        began_s, number = time.monotonic(), 0
        while not over.is_set():
            _post(connection, session, number / LIVE_PER_S)
            number += 1
            time.sleep(max(0.0, began_s + number / LIVE_PER_S - time.monotonic()))


def _audit(browser: Browser, folder: Path) -> Iterator[str]:
    held = {each.session.id: each for each in audited.sessions()}
    result = audited.with_groups(audited.audited(list(held.values()) * (AUDITED // len(held))), GROUPS)
    now = as_of(builders.at(10**6), DEFAULT)
    found = (of_held(held[id], now, DEFAULT) for id in audit.to_look_at(result))
    path, opened = folder / "audit.html", []
    path.write_text("".join(audit.html(result, found, pseudonymised=True)), encoding="utf-8")
    for _ in range(ROUNDS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        page.locator(".sums table").first.wait_for()
        opened.append(float(page.evaluate(_DRAWN)))
        page.close()
    size = path.stat().st_size / 2**20
    yield f"audit of {AUDITED:,} sessions in {GROUPS} groups: {size:.1f} MiB, open in {statistics.median(opened):.0f} ms   (goal: 2,000)"


def _report(folder: Path) -> Iterator[str]:
    command = [str(parts.BIN / "sessiontape")]
    store, path = f"sqlite:///{folder}/report.db", folder / "report.html"
    stored.fill(store, REPORTED * stored.PINGS)
    began_s = time.monotonic()
    subprocess.run([*command, "report", "--all", "-o", str(path), "--store", store], check=True, capture_output=True)
    took_s, size = time.monotonic() - began_s, path.stat().st_size / 2**20
    yield f"report of {REPORTED} sessions of {stored.PINGS} events: {size:.1f} MiB, written in {took_s:.1f} s"
