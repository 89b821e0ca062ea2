"""Lists and the table of events in windows of any width: what names a row is read, and nothing lies on something else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages import joining
from proxy_addon.reporting.pages.report import report
from proxy_addon.reporting.pages.sessions import row_of, sessions_page
from tests import pictured

WIDTHS = (390, 641, 768, 820, 950, 1024, 1110, 1280, 1440)
ID_FROM = 768
"""Narrower lists show no ids."""
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


def _sessions():
    made = pictured.troubled(), pictured.film_with_ads()
    return [replace(held, session=replace(held.session, id=f"{n}4972113a16ac09f")) for n, held in enumerate(made)]


def _report(path):
    held = _sessions()
    at = as_of(held[0].session.last_event_at + timedelta(minutes=1), DEFAULT)
    pieces = report([of_held(each, at, DEFAULT) for each in held], made_at=at.now, pseudonymised=False)
    path.write_text("".join(pieces), encoding="utf-8")


def _live_list(path):
    held = _sessions()
    at = as_of(held[0].session.last_event_at + timedelta(minutes=1), DEFAULT)
    value = sessions_page([row_of(each.session, at) for each in held], at, store="here").document()
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><style>{joining.style()}</style><div id="root"></div>'
        f'<script type="module">{joining.script("sessions.js")}\n'
        f"window.row = {json.dumps(value['rows'][0])}; window.list = mountSessions(document.getElementById('root'), {json.dumps(value)}, {{ choose() {{}}, more() {{}} }});</script>",
        encoding="utf-8",
    )


@pytest.mark.parametrize("write", [_report, _live_list], ids=["report", "live"])
def test_a_list_shows_names_and_whole_ids(open_page, tmp_path, write):
    write(tmp_path / "list.html")
    page = open_page(tmp_path / "list.html")
    page.wait_for_selector(".sessions tbody tr")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert not page.evaluate(SIDEWAYS), width
        name = page.locator(".c-media a", has_text="Nordlicht").bounding_box()
        assert name is not None, width
        assert name["width"] > 60, width
        if width >= ID_FROM:
            # Its whole text lies inside its cell.
            assert page.evaluate(
                "() => [...document.querySelectorAll('td.c-media')].every(cell => { const id = cell.querySelector('.mono');"
                " return id.scrollWidth <= id.offsetWidth && id.getBoundingClientRect().right <= cell.getBoundingClientRect().right; })"
            ), width


def test_the_table_of_events_fits_beside_the_findings(open_page, tmp_path):
    (tmp_path / "session.html").write_text(pictured.html(pictured.troubled()), encoding="utf-8")
    page = open_page(tmp_path / "session.html")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.locator(".row[data-n='39']").scroll_into_view_if_needed()
        assert not page.evaluate(SIDEWAYS), width
        outside = page.evaluate(
            "() => { const end = document.querySelector('.grid').getBoundingClientRect().right;"
            " return [...document.querySelectorAll('.row.head > *, .row .signs .icon')]"
            ".filter(each => each.getBoundingClientRect().right > end + 0.5).map(each => each.outerHTML); }"
        )
        assert outside == [], width
        head = page.locator(".row.head > :last-child")
        assert head.evaluate("each => each.scrollWidth <= each.clientWidth"), width


def test_a_list_that_is_kept_has_dates_and_one_that_is_watched_has_seconds(open_page, tmp_path):
    for write, seen, so_far in (_report, "2026-03-01 12:00", 0), (_live_list, "12:00:00", 1):
        write(tmp_path / "list.html")
        page = open_page(tmp_path / "list.html")
        page.clock.set_fixed_time("2026-03-01T15:00:00Z")
        page.reload()
        started = page.locator("td.c-started").first
        expect(started).to_have_text("2026-03-01 12:00:00")
        assert started.inner_text() == seen
        assert page.get_by_label("so far").count() == so_far  # one of them is open
        page.emulate_media(media="print")
        assert started.inner_text() == "2026-03-01 12:00"


def test_the_button_for_new_sessions_covers_no_heading_and_moves_no_row(open_page, tmp_path):
    _live_list(tmp_path / "list.html")
    page = open_page(tmp_path / "list.html")
    page.locator("td.c-media").first.hover()
    head = page.locator(".sessions thead").bounding_box()
    page.evaluate("list.change({ whole: false, gone: [], rows: [{ ...row, id: 'another' }] })")
    button = page.get_by_role("button", name="Show 1 new").bounding_box()
    assert page.locator(".sessions thead").bounding_box() == head
    assert head is not None
    assert button is not None
    assert button["y"] + button["height"] <= head["y"]


def test_a_phone_is_told_of_no_keys(open_page, tmp_path):
    _live_list(tmp_path / "list.html")
    (tmp_path / "session.html").write_text(pictured.html(pictured.troubled()), encoding="utf-8")
    phone = {"viewport": {"width": 820, "height": 1100}, "is_mobile": True, "has_touch": True}
    assert open_page(tmp_path / "list.html", **phone).locator("input[name=q]").get_attribute("placeholder") == "Search"
    page = open_page(tmp_path / "session.html", **phone)
    expect(page.locator(".shown")).to_be_visible()
    for hint in ".keys", ".hint":
        expect(page.locator(hint)).to_be_hidden()
