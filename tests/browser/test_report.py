"""A report in a browser: opened offline from a file, and gone through by keys alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages.report import report
from tests.browser.conftest import Open
from tests.builders import START_PARAMS, event, response, start

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EVIL = "</script><img src=x onerror=alert(1)>\u202e{{x}}" + "y" * 10_000

WRONG: Any = "1"


def written(path: Path, number: int) -> Path:
    """Write a report of sessions, each a film that is called like its number; all texts of the newest one want to run."""
    sent = []
    for each in range(number):
        id, begin_s = f"{each:064x}", each * 3600
        params = {**START_PARAMS, "media.name": f"Film {each}"}
        sender: dict[str, Any] = {}
        if each == number - 1:
            params = {name: EVIL if isinstance(value, str) else value for name, value in params.items()} | {EVIL: EVIL}
            sender = {"headers": (("User-Agent", EVIL[:-9_000]), (EVIL[:40], EVIL))}
        sent += [
            start(id=f"{each}a", session_id=id, after_s=begin_s, params=params, **sender),
            event("play", id=f"{each}b", session_id=id, after_s=begin_s + 1, playhead=WRONG, response=response(400))
            if each % 2
            else event("play", id=f"{each}b", session_id=id, after_s=begin_s + 1, playhead=1),
            event("sessionEnd", id=f"{each}c", session_id=id, after_s=begin_s + 9, playhead=9),
        ]
    held = [of_held(each, as_of(NOW, DEFAULT), DEFAULT) for each in fold(sent)]
    path.write_text("".join(report(held, made_at=NOW, pseudonymised=False)), encoding="utf-8")
    return path


def test_a_report_is_gone_through_by_keys_and_asks_nobody(tmp_path, open_page):
    check_keys(open_page, written(tmp_path / "report.html", 60))


def check_keys(open_page: Open, path: Path) -> None:
    page = open_page(path, offline=True)
    page.wait_for_selector(".sessions tbody tr")
    assert page.locator(".sessions tbody tr").count() == 60
    assert page.locator(".sessions tbody a").count() == 50
    assert "worst 50" in page.locator(".headline").inner_text()

    seen = []
    for _ in range(3):
        page.keyboard.press("j")
        name = page.locator(".sessions tr:focus-within .c-media bdi").inner_text()
        page.keyboard.press("Enter")
        page.wait_for_selector(".one .verdict h1")
        seen.append(name)
        assert page.locator(".one h1").inner_text()[:30] == name[:30]
        assert not page.locator(".report").is_visible()
        page.keyboard.press("j")
        page.wait_for_function("location.hash.endsWith('/e1')")
        page.locator(".rail").get_by_text("eventType").locator("visible=true").first.wait_for()  # its body, unpacked
        page.keyboard.press("Escape")
        page.wait_for_function("!location.hash.includes('/')")
        page.keyboard.press("Escape")
        page.wait_for_selector(".report .sessions table")
        assert page.locator(".sessions tr:focus-within .c-media bdi").inner_text() == name, "back where one was"
    assert len(set(seen)) == 3
    page.keyboard.press("k")
    assert page.locator(".sessions tr:focus-within .c-media bdi").inner_text() == seen[1]

    page.go_back()  # to the session that was left last
    page.wait_for_selector(".one .verdict h1")
    assert page.locator(".one h1").inner_text()[:30] == seen[2][:30]
    page.reload()
    page.wait_for_selector(".one .verdict h1")
    page.keyboard.press("Escape")
    page.wait_for_selector(".report .sessions table")

    page.keyboard.press("/")
    page.keyboard.type("film 7")
    page.get_by_text("1 of 60").wait_for()
    assert page.locator(".sessions tbody tr").count() == 1
    page.keyboard.press("Escape")
    assert page.get_by_label("Search the sessions").input_value() == "film 7"
    page.keyboard.press("/")
    page.keyboard.press("Delete")  # what was searched is selected
    page.get_by_text("1 of 60").wait_for(state="detached")
    page.get_by_role("button", name="Pass", exact=True).click()
    assert page.locator(".sessions tbody tr").count() == 30
    page.get_by_role("button", name="Worst first").click()
    page.get_by_role("button", name="All", exact=True).click()
    assert page.locator(".sessions tbody tr .i-error").first.is_visible()
    page.get_by_role("button", name="playhead-type").click()
    assert page.locator(".sessions tbody tr").count() == 30


def test_a_report_of_one_session_is_its_page(tmp_path, open_page):
    page = open_page(written(tmp_path / "report.html", 1), offline=True)
    page.locator(".one h1").wait_for()
    assert not page.locator(".report").is_visible()
    assert page.locator(".one .raw").is_visible()
    page.keyboard.press("j")
    assert page.evaluate("location.hash").endswith("/e1")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.locator(".one h1").is_visible()
    page.evaluate("location.hash += '/e3'")
    page.locator(".rail").get_by_text("sessionEnd").locator("visible=true").first.wait_for()
