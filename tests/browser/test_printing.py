"""Pages on paper: printed by a real browser to PDF, and measured as they are laid out for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import pictured
from tests.browser.conftest import Open
from tests.browser.test_compare import compared
from tests.browser.test_compare import written as compare_written
from tests.browser.test_report import written as report_written
from tests.played import film, pinged, recorded

SHEETS_PX = {"upright": (718, 1046), "sideways": (1046, 718)}
"""The inside of a sheet of A4 with the margins of Chromium."""
# What is drawn for paper, at the moment at which the browser has prepared for it.
WATCH = """() => addEventListener("beforeprint", () => {
  window.printed = [...document.querySelectorAll("canvas.paper")].map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set(new Uint32Array(data.buffer));
    const isLight = colours.has(0xff1c1815); // what is black on a light page, as ABGR
    return { name: canvas.className, colours: colours.size, isLight };
  });
})"""
SCREEN = "() => [...document.querySelectorAll('canvas:not(.paper):not(.mark)')].map((canvas) => canvas.toDataURL())"
LAID_OUT = """() => { const isCut = (each) => each && (getComputedStyle(each).overflowX !== "visible" || isCut(each.parentElement)); return {
  isInside: document.documentElement.scrollWidth <= innerWidth,
  outside: [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility() && !each.closest(".sr, .skip, svg") &&
    !isCut(each.parentElement) && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 80)),
  papers: [...document.querySelectorAll("canvas.paper")].filter((each) => each.checkVisibility()).map((each) => each.className),
  tools: [...document.querySelectorAll("button, input, select")].filter((each) => each.checkVisibility() && !each.matches(".go, .rule, [data-fold]"))
    .map((each) => each.outerHTML.slice(0, 80)),
  heads: [...document.querySelectorAll("thead, [role=rowgroup]:has(> .head)")].map((each) => getComputedStyle(each).display),
}}"""


def pages_in(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def a_session(path: Path) -> None:
    path.write_text(pictured.html(pictured.troubled()), encoding="utf-8")


def a_report(path: Path) -> None:
    report_written(path, 60)


def a_comparison(path: Path) -> None:
    compare_written(path.parent, compared(recorded(pinged(film())), recorded(pinged(film()[:-3])))).rename(path)


@pytest.mark.parametrize(
    ("write", "lanes", "pages", "sideways"),
    [(a_session, 20, 4, 5), (a_report, None, 3, 4), (a_comparison, 10, 2, 3)],
    ids=["session", "report", "comparison"],
)
def test_a_page_is_printed_whole_and_the_screen_stays_as_it_was(  # noqa: PLR0917  # one of each kind of page
    open_page: Open, tmp_path: Path, write: Callable[[Path], None], lanes: int | None, pages: int, sideways: int
):
    write(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html", color_scheme="dark")
    if lanes is None:
        page.locator("tbody tr").first.wait_for()
    else:
        page.locator(".plotbox").focus()
        page.keyboard.press("+")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    screen = page.evaluate(SCREEN)
    folded = page.locator("details[open]").count()
    page.evaluate(WATCH)
    assert abs(pages_in(page.pdf(format="A4")) - pages) <= 1
    assert abs(pages_in(page.pdf(format="Letter", landscape=True)) - sideways) <= 1
    if lanes is not None:
        drawn = page.evaluate("window.printed")
        assert [each["name"] for each in drawn] == ["paper upright", "paper sideways"]
        assert min(each["colours"] for each in drawn) > lanes
        assert all(each["isLight"] for each in drawn)
    assert page.evaluate(SCREEN) == screen
    assert page.locator("canvas.paper").count() == 0
    assert page.locator("details[open]").count() == folded
    assert page.evaluate("document.documentElement.dataset.theme ?? ''") == ""
    _check_layout(page, has_lanes=lanes is not None)


def _check_layout(page: Page, *, has_lanes: bool) -> None:
    page.emulate_media(media="print")
    for way, (width, height) in SHEETS_PX.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        found = page.evaluate(LAID_OUT)
        assert found["isInside"]
        assert found["outside"] == []
        assert found["tools"] == []
        assert found["papers"] == ([f"paper {way}"] if has_lanes else [])
        assert set(found["heads"]) == {"table-header-group"}, "heads of tables come again on each page"
        if page.locator(".explained").count():
            expect(page.locator(".notes")).to_have_attribute("open", "")
            expect(page.locator(".marksof")).to_contain_text("ping that was due but did not come")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
