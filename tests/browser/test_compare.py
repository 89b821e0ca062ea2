"""A comparison in a browser: all of it by keyboard, values of devices as text, and long sessions without waiting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages import report
from proxy_addon.reporting.pages.compare import ComparePage, Side, expectation_page, html, sessions_page
from tests import builders
from tests.browser.conftest import Open
from tests.played import Cue, film, pinged, recorded

NOW = builders.at(90_000)
EVIL = "<img src=x onerror=alert(1)></script>\u202e" + "x" * 10_000


def written(tmp_path: Path, page: ComparePage) -> Path:
    path = tmp_path / "compare.html"
    path.write_text("".join(html(page)), encoding="utf-8")
    return path


def compared(a: HeldSession, b: HeldSession) -> ComparePage:
    at = as_of(NOW, DEFAULT)
    one, other = (Side(picture=of_held(held, at, DEFAULT).picture(), name=EVIL[:99]) for held in (a, b))
    return sessions_page(one, other)


def current(page: Page) -> str:
    return page.locator("tr[aria-current]").inner_text().replace("\t", " ").replace("\n", " ")


def test_what_differs_is_found_by_keyboard_alone(open_page: Open, tmp_path: Path):
    def another(value: dict[str, Any]) -> None:
        if value["eventType"] == "adStart" and value["params"]["media.ad.id"] == "ad-1-2":
            value["params"]["media.ad.name"] = "Spot 1.7"

    expected, actual = recorded(pinged(film())), recorded(pinged(film()[:-3]), changed=another)
    made = expectation_page(compare_tracking(actual, expected), expected="film.json", actual="last", now=NOW)
    page = open_page(written(tmp_path, made))
    assert page.locator(".headline").inner_text() == made.verdict["headline"]
    assert page.locator("h1").inner_text() == "A film"
    assert "7:47 long" in page.locator(".sides p").first.inner_text()
    page.keyboard.press("f")
    row = current(page)
    assert "params/media.ad.name" in row
    assert page.locator("tr[aria-current] .was mark").inner_text() == "2"
    assert page.locator("tr[aria-current] .is mark").inner_text() == "7"
    assert "adStart" in page.locator("[aria-live]").inner_text()
    page.keyboard.press("f")
    assert "only in expected" in current(page)
    page.keyboard.press("Escape")
    assert page.locator("tr[aria-current]").count() == 0
    page.get_by_role("application").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator("tr[aria-current]").get_attribute("data-row") == "2"
    page.keyboard.press("/")
    page.keyboard.type("chapterStart")
    assert page.locator("tr[data-row]").count() == 2
    assert "What was ignored" in page.locator("main").inner_text()


def test_values_of_devices_are_text_and_never_widen_the_page(open_page: Open, tmp_path: Path):
    def evil(value: dict[str, Any]) -> None:
        if value["eventType"] == "sessionStart":
            value["params"] |= {"media.name": EVIL, "media.playerName": EVIL}
            value["customMetadata"] = {EVIL: EVIL}
        if value["eventType"] == "adStart":
            value["params"]["media.ad.name"] = EVIL
        if value["eventType"] == "error":
            value["eventType"] = EVIL

    page = open_page(
        written(tmp_path, compared(recorded(pinged(film())), recorded(pinged(film()), changed=evil))),
        viewport={"width": 420, "height": 800},
        color_scheme="dark",
    )
    page.get_by_role("button", name="Show what is the same").click()
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert "\\u202e" in page.locator("main").inner_text()


def test_playheads_meet_at_the_press_of_a_button(open_page: Open, tmp_path: Path):
    start, *rest = pinged([Cue(at_s=0, type="sessionStart", params=builders.START_PARAMS), *film()[9:]])
    later = [start, *(replace(cue, at_s=cue.at_s + 25) for cue in rest)]
    page = open_page(written(tmp_path, compared(recorded([start, *rest]), recorded(later))))
    canvas = page.locator("canvas").first
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="playhead").click()
    page.wait_for_function("before => document.querySelector('canvas').toDataURL() !== before", arg=before)
    assert page.get_by_role("button", name="playhead").get_attribute("aria-pressed") == "true"


def test_five_thousand_events_are_drawn_at_once(open_page: Open, tmp_path: Path):
    cues = pinged([film()[0], Cue(at_s=1, type="play"), Cue(at_s=50_000, type="sessionEnd", playhead_s=49_999)])
    page = open_page(written(tmp_path, compared(recorded(cues), recorded(cues[:2000] + cues[2003:]))))
    page.locator("tr[data-row]").first.wait_for()
    assert page.locator("tr[data-row]").count() == 3
    page.get_by_role("button", name="2,999 the same").click()
    page.locator(f'tr[data-row="{len(cues) - 1}"]').wait_for()
    assert page.locator("tr[aria-current]").get_attribute("data-row") == "2003"
    page.get_by_role("application").focus()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show what is the same").click()
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("tr[aria-current]").get_attribute("data-row") == str(len(cues) - 1), (
        "drawn when it is asked for"
    )


def test_a_report_leads_to_what_is_not_as_expected(open_page: Open, tmp_path: Path):
    expected, actual = recorded(pinged(film())), recorded(pinged(film()[:-3]))
    made = expectation_page(compare_tracking(actual, expected), expected="film.json", actual="last", now=NOW)
    sessions = [of_held(actual, as_of(NOW, DEFAULT), DEFAULT)]
    path = tmp_path / "report.html"
    pieces = report.report(sessions, made_at=NOW, pseudonymised=True, comparisons=[made.document()])
    path.write_text("".join(pieces), encoding="utf-8")
    page = open_page(path)
    assert page.locator(".compared h2").inner_text() == "1 session not as expected"
    page.get_by_role("link", name="film.json").click()
    assert page.locator(".compare h2").first.inner_text() == "Side by side"
    assert page.locator(".one .headline").inner_text() == made.verdict["headline"]
    page.keyboard.press("Escape")
    page.locator(".compared").wait_for()
    assert page.locator(".compare").count() == 0
