"""Live pages in a browser: they fill while a player plays, and nothing moves under the hand of who reads them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from proxy_addon.core.exchange import Exchange
from storage import migrate, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.saving import RecordingRun
from tests import builders, processes
from tests.browser.conftest import Open, serious

EVENT_TO_PIXEL_MS = 10_000
"""Generously: it takes a twentieth of that where nothing else runs."""
EVIL = "</script><img src=x onerror=alert(1)>\u202e"
RUN = RecordingRun(id="r1", name="smoke", started_at=builders.BEGIN, version="1")
# When a text first stands somewhere, by the page's clock.
SEEN_AT = """([selector, text]) => new Promise((resolve) => {
  const look = () => [...document.querySelectorAll(selector)].some((found) => found.textContent.trim() === text);
  const seen = () => requestAnimationFrame(() => setTimeout(() => resolve(Date.now())));
  if (look()) return seen();
  const watching = new MutationObserver(() => look() && (watching.disconnect(), seen()));
  watching.observe(document.documentElement, { childList: true, characterData: true, subtree: true });
})"""


def a_start(number: int, **params: str) -> Exchange:
    given = {**builders.START_PARAMS, "media.name": f"Film {number}", **params}
    return builders.start(id=f"x{number}", session_id=f"sid-{number}", after_s=number, params=given)


def save(store: Store, *values: Exchange) -> None:
    with store.write() as db:
        saving.save(db, RUN, builders.unjudged(values))


@contextmanager
def serving(store: Store, cwd: Path):
    migrate.upgrade(store)
    with processes.serving([processes.COMMAND, "ui", *processes.ANY_PORT, "--store", store.url], cwd) as server:
        yield server


def media(page: Page) -> list[str]:
    return [text.split("\n")[0] for text in page.locator("tbody td.c-media a").all_inner_texts()]


def test_the_list_shows_what_playback_did_and_nothing_serious_is_wrong_with_it(
    open_page: Open, tmp_path: Path, sqlite_url: str, axe: str
):
    with closing(Store(sqlite_url)) as store, serving(store, tmp_path) as server:
        save(store, a_start(1), a_start(2))
        with store.write() as db:
            (id,) = [
                each.id for each in sessions.newest(db, Filters(), now=builders.at(9)) if each.session_id == "sid-1"
            ]
            sessions.draw(db, {id: "c0 t1500 E1000 =2000"})
        for scheme in ("light", "dark"):
            page = open_page(server.url, color_scheme=scheme)
            strips = page.locator("tbody td.c-strip svg")
            expect(strips).to_have_count(1)
            assert strips.locator("rect:not(.track)").count() == 2
            assert page.locator("tbody .s-error").evaluate("(tick) => getComputedStyle(tick).stroke") != "none"
            assert serious(page, axe) == []
        with store.write() as db:
            sessions.draw(db, {id: "c0 t1500 p1800 E1000 =2000"})
        expect(strips.locator("rect:not(.track)")).to_have_count(3)


def test_a_page_fills_while_a_player_plays(open_page: Open, tmp_path: Path, sqlite_url: str):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, "--ui=127.0.0.1:0") as recorder,
    ):
        said = "pages are at "
        _until(lambda: any(said in line for line in recorder.process.lines))
        url = next(line for line in recorder.process.lines if said in line).partition(said)[2]
        page = open_page(url)
        expect(page.locator(".nothing")).to_have_text("No sessions yet. They appear here as they are recorded.")
        now = round(time.time() * 1000)
        body = builders.event_dict("sessionStart", ts=now, params={**builders.START_PARAMS, "media.name": EVIL})
        answer = recorder.ask("POST", "/api/v1/sessions", builders.body(body))
        assert answer.status == 201
        session = (answer.header("location") or "").rpartition("/")[2]
        link = page.locator("tbody a")
        expect(link).to_have_text(EVIL.replace("\u202e", "\\u202e"))
        expect(page.locator("tbody .c-state")).to_have_text("open")
        link.click()
        expect(page.locator(".word")).to_contain_text("so far")
        took_ms = []
        for number in range(2, 8):
            began_ms = time.time() * 1000
            event = builders.event_dict("play" if number == 2 else "ping", playhead=number, ts=round(began_ms))
            assert recorder.ask("POST", f"/api/v1/sessions/{session}/events", builders.body(event)).status == 204
            seen_ms = page.evaluate(SEEN_AT, [".nums b", str(number)])
            took_ms.append(seen_ms - began_ms)
        print(f"event to pixel: {', '.join(f'{ms:.0f}' for ms in took_ms)} ms")
        assert max(took_ms) < EVENT_TO_PIXEL_MS
        # What is chosen stays, and an event that came a moment ago opens with its body.
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(page.get_by_role("tab", name="Event #2")).to_be_visible()
        ended = builders.event_dict("sessionEnd", playhead=8, ts=round(time.time() * 1000))
        assert recorder.ask("POST", f"/api/v1/sessions/{session}/events", builders.body(ended)).status == 204
        expect(page.locator(".ended")).to_contain_text("ended at")
        expect(page.get_by_role("tab", name="Event #2")).to_be_visible()
        expect(page.locator(".rail")).to_contain_text("playhead")
        page.get_by_role("link", name="Sessions").click()
        expect(page.locator("tbody .c-state")).to_have_text("ended")
        page.close()  # before its server ends: a browser logs each attempt to come back


def test_the_list_moves_nothing_under_the_hand_of_its_reader(open_page: Open, tmp_path: Path, sqlite_url: str):
    with closing(Store(sqlite_url)) as store, serving(store, tmp_path) as server:
        save(store, a_start(1), a_start(2))
        page = open_page(f"{server.url}/")
        expect(page.locator("tbody tr")).to_have_count(2)
        save(store, a_start(3))
        expect(page.locator("tbody tr")).to_have_count(3)  # nobody is in the list
        page.locator("tbody tr").nth(1).hover()
        save(store, a_start(4), a_start(5))
        new = page.get_by_role("button", name="Show 2 new")
        expect(new).to_be_visible()
        save(store, builders.event(id="y3", session_id="sid-3", after_s=4))
        expect(page.locator("tbody tr").first.locator(".c-events")).to_have_text("2")  # values change in place
        assert media(page) == ["Film 3", "Film 2", "Film 1"]
        new.click()
        assert media(page)[:3] == ["Film 5", "Film 4", "Film 3"]
        page.mouse.move(5, 5)
        page.keyboard.press("j")
        page.keyboard.press("j")
        save(store, a_start(6))
        expect(page.get_by_role("button", name="Show 1 new")).to_be_visible()
        assert page.evaluate("document.activeElement.textContent") == "Film 4"
        page.keyboard.press("k")
        with store.write() as db:
            sessions.remove(db, [sessions.find(db, "sid-1").id])
        expect(page.get_by_text("Film 1", exact=True)).to_have_count(0)
        page.keyboard.press("Escape")
        expect(page.locator("tbody tr").first).to_contain_text("Film 6")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Film 6")
        page.close()  # before its server ends: a browser logs each attempt to come back


def test_filters_stand_in_the_address_and_can_be_taken_away(open_page: Open, tmp_path: Path, sqlite_url: str):
    with closing(Store(sqlite_url)) as store, serving(store, tmp_path) as server:
        ended = builders.event("sessionEnd", id="y1", session_id="sid-1", after_s=2)
        save(store, a_start(1), a_start(2), a_start(3, **{"media.id": "other"}), ended)
        page = open_page(f"{server.url}/?media=video-123")
        assert media(page) == ["Film 2", "Film 1"]
        page.keyboard.press("/")
        page.keyboard.type("film 1")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert page.evaluate("location.search") == "?q=film+1&media=video-123"
        assert page.locator(".filters button").all_inner_texts() == ["media: video-123 ✕", "search: film 1 ✕"]
        page.locator(".filters button").first.click()
        page.get_by_label("State").select_option("ended")
        _until(lambda: page.evaluate("location.search") == "?q=film+1&state=ended")
        save(store, a_start(10), a_start(11))  # passes no filter, so it is not shown
        page.go_back()
        _until(lambda: page.evaluate("location.search") == "?q=film+1")
        expect(page.locator("tbody tr")).to_have_count(3)
        expect(page.get_by_label("State")).to_have_value("")
        page.get_by_text("More filters").click()
        page.get_by_label("Until").fill("2026-03-01T12:00:02Z")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.goto(f"{server.url}/?state=ended&state=failed")
        page.get_by_label("with findings").check()
        _until(lambda: page.evaluate("location.search") == "?state=ended&state=failed&with-findings=1")
        page.close()  # before its server ends: a browser logs each attempt to come back


def test_the_open_event_stays_when_one_that_took_long_comes_before_it(open_page: Open, tmp_path: Path, sqlite_url: str):
    def an_event(name: str, after_s: float, **others: Any) -> Exchange:
        quality = builders.event_dict("error", ts=builders.BEGIN_MS, qoeData={"media.qoe.errorID": name})
        return builders.event(id=name, session_id="sid-1", after_s=after_s, body=builders.body(quality), **others)

    with closing(Store(sqlite_url)) as store, serving(store, tmp_path) as server:
        save(store, a_start(1), an_event("first", 3), an_event("second", 4))
        with store.read() as db:
            id = sessions.find(db, "sid-1").id
        page = open_page(f"{server.url}/sessions/{id}#e2")
        body = page.locator(".rail .ev")
        expect(body).to_contain_text('"first"')
        page.keyboard.press("j")
        expect(body).to_contain_text('"second"')
        save(store, an_event("slow", 2, duration_us=9_000_000))
        expect(page.get_by_role("tab", name="Event #4")).to_be_visible()
        expect(body).to_contain_text('"second"')
        assert page.evaluate("location.hash") == "#e4"
        page.keyboard.press("k")
        expect(page.get_by_role("tab", name="Event #3")).to_be_visible()
        expect(body).to_contain_text('"first"')
        page.keyboard.press("k")
        expect(body).to_contain_text('"slow"')
        page.close()  # before its server ends: a browser logs each attempt to come back


def _until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.05)
