"""The evidence for scenarios in a browser: checklists, the event of a failure in its timeline, and paper."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from proxy_addon.core.scenarios.judging import judge
from proxy_addon.files.scenarios import scenarios
from proxy_addon.reporting.pages.evidence import evidence_file
from tests.browser.conftest import Open
from tests.pictured import HOSTILE, hostile, picture
from tests.staged import Staged, sessions_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def written(path: Path) -> Path:
    """Write the evidence of a scenario that passed, of one with a session too many, and of one whose session is all markup."""
    known = scenarios()
    resumed = [Staged().start().play(60).end(), Staged(100, 60, media__resume=True).start().play(30).end()]
    paused = [Staged().start().play(30).pause(5).play(60).end(), Staged(200).start().play(5).end()]
    found = [
        judge(known[name], [picture(held) for held in held_sessions])
        for name, held_sessions in (
            ("resume", sessions_of(resumed)),
            ("short-pause", sessions_of(paused)),
            ("five-minutes", [hostile()]),
        )
    ]
    path.write_text("".join(evidence_file(found, made_at=NOW, pseudonymised=True)), encoding="utf-8")
    return path


def test_a_failure_leads_to_its_event_and_paper_shows_all(tmp_path, open_page):
    check(open_page, written(tmp_path / "evidence.html"))


def check(open_page: Open, path: Path) -> None:
    page = open_page(path, offline=True)
    page.locator(".evidence h1").wait_for()
    assert page.locator(".astray").inner_text() == ""
    page.evaluate("location.hash = '#s99/e1'")
    page.locator(".astray", has_text="not on this page: #s99/e1").wait_for()
    page.evaluate("location.hash = '#scenario-1'")
    page.locator(".astray:empty").wait_for(state="attached")
    assert page.locator("h1").inner_text() == "1 of 3 scenarios passed"
    assert page.locator("h2").all_inner_texts()[:2] == ["Resuming later", "A short pause"]
    assert page.locator(".top .word").inner_text() == "Fail"
    links = page.locator(".top .more a").all()
    assert [each.inner_text().strip() for each in links] == ["Resuming later", "A short pause", "Five minutes of play"]
    assert [each.get_by_role("img").get_attribute("aria-label") for each in links] == ["Pass", "Fail", "Fail"]
    numbers = [each.split() for each in page.locator(".top .nums > div").all_inner_texts()]
    assert numbers == [["1", "passed"], ["2", "failed"]]
    assert "Tokens stand for personal values." in page.locator("footer").inner_text()
    first, second, third = page.locator(".scenario").all()
    assert first.locator(".verdict .word").inner_text() == "Pass"
    assert second.locator(".verdict .word").inner_text() == "Fail"
    held, failed_ = (int(each.split()[0]) for each in second.locator(".nums > div").all_inner_texts())
    assert (held, failed_) == tuple(second.locator(f".{each}").count() for each in ("held", "failed"))
    assert {each.get_attribute("aria-label") for each in second.locator(".failed > .icon").all()} == {"Fails"}
    one, extra = second.locator(".played h3").all()
    assert "of the checklist fail: The pause is reported" in one.inner_text()
    assert extra.locator(".name").inner_text() == "A session that the scenario does not have"
    assert extra.get_by_role("img").first.get_attribute("aria-label") == "Fail"
    assert first.locator(".failed").count() == 0
    assert first.locator(".checks h3").all_inner_texts() == ["The first playback", "The playback that goes on"]
    assert page.locator(".session").count() == 0

    failed = second.locator(".failed").nth(1)
    assert "The pause is reported" in failed.inner_text()
    assert "play (0:35.5) comes 5 s after" in failed.inner_text()
    failed.get_by_role("link").click()
    page.locator(".played .rail h3", has_text="play").wait_for()  # the event is open beside its timeline
    assert page.evaluate("location.hash").startswith("#s2/e")
    assert page.locator(".session").count() == 1
    bar = second.locator(".session .verdict")
    assert "checklist fail: The pause is reported" in bar.inner_text()
    assert bar.locator(".word").inner_text() == "Fail", "no other verdict than that above"

    # Of several sessions one is open at a time, so that keys mean its events.
    first.get_by_role("button", name="The playback that goes on").click()
    page.locator(".played[data-part='1'] .stage canvas").first.wait_for()
    assert page.locator(".session").count() == 1
    page.keyboard.press("j")
    page.wait_for_function("location.hash === '#s1/e1'")
    page.keyboard.press("Escape")
    first.get_by_role("button", name="The playback that goes on").click()
    assert page.locator(".session").count() == 0

    assert "<img" not in third.inner_html().lower().replace("&lt;img", "")
    assert HOSTILE[:9] in third.inner_text()

    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".session .plotbox").count() == 5
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".session").count() == 0
