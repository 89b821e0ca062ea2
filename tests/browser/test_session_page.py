"""The page of one session in a browser: what it shows, how it is moved, and what devices cannot do to it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.fixtures.held import fold
from proxy_addon.reporting.pages import joining
from proxy_addon.reporting.pages.session import session_page, traffic
from tests import pictured
from tests.builders import START_PARAMS, event, response, start
from tests.played import Cue, recorded

PIXELS = "() => document.querySelector('canvas.plot').toDataURL()"
FRAME = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the page of a session."""

    def write(held, **how) -> Path:
        path: Path = tmp_path / "session.html"
        path.write_text(pictured.html(held, **how), encoding="utf-8")
        return path

    return write


def _pixels(page: Page) -> str:
    page.evaluate(FRAME)
    return str(page.evaluate(PIXELS))


def _told(page: Page) -> list[tuple[str, float, float]]:
    """Draw the lanes again; return the texts in them with their places."""
    page.evaluate(
        "() => { window.told = []; const kept = CanvasRenderingContext2D.prototype.fillText;"
        " CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) { told.push([text, x, y]);"
        " return kept.call(this, text, x, y, ...rest); }; }"
    )
    page.get_by_role("button", name="Fit").click()
    page.evaluate(FRAME)
    return [(text, x, y) for text, x, y in page.evaluate("told")]


def _colours(page: Page) -> int:
    """Return how many different colours the lanes have: an empty canvas has one."""
    return int(
        page.evaluate(
            "() => { const c = document.querySelector('canvas.plot'), d = new Uint32Array(c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data.buffer); return new Set(d).size }"
        )
    )


@pytest.mark.parametrize(
    ("held", "word", "events", "says"),
    [
        (pictured.timeline(1), "Warn", 27, ["ClickMe", "content completed at 12:01:28 UTC"]),
        (pictured.timeline(2), "Warn", 15, ["ClickMe", "ended at"]),
        (pictured.film_with_ads(), "Pass", 104, ["A film", "No errors or warnings."]),
        (
            pictured.troubled(),
            "Fail",
            42,
            ["Nordlicht S2 E6 · Stille", "media.chapter.offset is the string '0'", "never ended by the player"],
        ),
    ],
    ids=["timeline 1", "timeline 2", "film", "troubled"],
)
def test_a_session_is_drawn(open_page, written, held, word, events, says):  # noqa: PLR0917
    page = open_page(written(held))
    expect(page.locator(".word")).to_have_text(word)
    expect(page.locator(".nums b").first).to_have_text(str(events))
    expect(page.locator(".rows .row")).to_have_count(events)
    for text in says:
        expect(page.locator("header.top")).to_contain_text(text)
    assert _colours(page) > 20
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_reports_will_count_is_told_of_a_session_without_its_start_and_of_one_without_a_length(open_page, written):
    (begun_before,) = fold([event("play", id="a"), event("ping", id="b", after_s=11, playhead=0.5)])
    (pinged_only,) = fold([event("ping", id=f"p{k}", after_s=99 * k) for k in range(3)])
    told = {text for text, _, _ in _told(open_page(written(pinged_only)))}
    assert {"Pings", "99 s of silence"} <= told
    assert "Events" not in told  # a lane with nothing in it
    page = open_page(written(begun_before, now_s=12))
    expect(page.locator(".reports")).to_contain_text(
        "Nothing closed the session: these are the values up to its last event."
    )
    texts = [text for text, _, _ in _told(page)]
    assert [text for text in texts if text.startswith("0:00.")] == ["0:00.0", "0:00.2", "0:00.4"]
    refused = fold([start(response=response(500))])[0]
    page = open_page(written(refused))
    expect(page.locator(".reports")).to_contain_text("Nothing, because the server took no event.")
    expect(page.locator(".mrow")).to_have_count(0)  # not each value as undefined
    params = {**START_PARAMS, "media.length": 1e-320}
    (tiny,) = fold([start(params=params), event("play", id="a"), event("ping", id="b", after_s=11, playhead=10)])
    expect(open_page(written(tiny)).locator(".watch rect")).to_have_count(1)  # and nothing was logged


def test_a_narrow_page_has_no_sideways_scroll_and_opens_events_as_a_sheet(open_page, written):
    page = open_page(written(pictured.troubled()), viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator(".rail .event")).to_be_hidden()
    page.locator(".go").first.click()
    sheet = page.locator(".rail .event").bounding_box()
    assert sheet is not None
    assert sheet["y"] + sheet["height"] == pytest.approx(800, abs=1)
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".rail .findings")).to_be_visible()


def test_two_fingers_zoom_and_one_moves(open_page, written):
    page = open_page(written(pictured.film_with_ads()), viewport={"width": 390, "height": 800}, has_touch=True)
    page.locator(".plotbox").scroll_into_view_if_needed()
    box = page.locator(".plotbox").bounding_box()
    assert box is not None
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *xs: int) -> None:
        points = [{"x": x, "y": box["y"] + 150, "id": id} for id, x in enumerate(xs)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    whole = _pixels(page)
    touch("touchStart", 150)
    touch("touchStart", 150, 200)
    touch("touchMove", 110, 280)
    touch("touchEnd")
    zoomed = _pixels(page)
    assert zoomed != whole
    touch("touchStart", 250)
    touch("touchMove", 170)
    touch("touchEnd")
    assert _pixels(page) not in {whole, zoomed}
    page.get_by_role("button", name="Fit").click()
    assert _pixels(page) == whole
    expect(page.get_by_role("tab", name="Findings")).to_have_attribute("aria-selected", "true")  # nothing was chosen


def test_keys_alone_reach_everything(open_page, written):
    page = open_page(written(pictured.troubled()))
    spoken = page.locator("[aria-live]")
    expect(page.locator(".rows .row")).to_have_count(42)
    page.keyboard.press("j")
    expect(spoken).to_contain_text("Event 1, sessionStart, at 0:00.0, answered 201")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.url.endswith("#e1")
    for number in (11, 17):  # the next errors
        page.keyboard.press("f")
        expect(page.get_by_role("tab", name=f"Event #{number}")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tab", name="Findings")).to_have_attribute("aria-selected", "true")
    assert "#" not in page.url

    page.keyboard.press("/")
    page.keyboard.type("ad")
    expect(page.locator(".rows .row")).to_have_count(6)
    page.keyboard.press("Escape")  # leaves the filter as it is
    expect(page.get_by_label("Filter events")).to_have_value("ad")
    page.keyboard.press("j")
    expect(page.locator(".row.on")).to_contain_text("adBreakStart")

    lanes = page.get_by_role("application")
    lanes.focus()
    expect(lanes).to_have_accessible_name(
        re.compile(r"Timeline of 42 events over 6:\d\d; the table below has the same data")
    )
    whole = _pixels(page)
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    assert _pixels(page) != whole
    page.keyboard.press("0")
    assert _pixels(page) == whole
    page.keyboard.press("ArrowRight")
    expect(spoken).to_contain_text("Event 3, play")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="previous")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(spoken).to_contain_text("Event 4, adStart")


def test_findings_that_say_the_same_share_a_card_and_all_are_counted(open_page, written):
    pings = [event("ping", id=f"p{k}", after_s=10 * k + 1.9, playhead=10 * k, response=response(500)) for k in range(6)]
    page = open_page(written(fold([start(), *pings])[0]))
    card = page.locator(".fi", has_text="upstream answered 500")
    expect(card).to_have_count(1)
    expect(card.locator(".go").first).to_have_text("#2 ping 0:01")  # a second that has begun is not over
    expect(card).to_contain_text("and 2 more")
    notes = page.locator(".ended").inner_text()
    assert "1 error, 7 notes · 51.9 s long" in notes
    expect(page.get_by_role("tab", name="Findings")).to_have_text("Findings 8")
    expect(page.get_by_role("group").get_by_text("7 notes")).to_be_visible()

    page = open_page(written(pictured.troubled()))  # here, two warnings follow from errors
    expect(page.locator(".ended")).to_contain_text("3 errors, 5 warnings, 5 notes")
    expect(page.get_by_role("tab", name="Findings")).to_have_text("Findings 13")
    expect(page.locator(".sub .i-warning")).to_have_count(2)


def test_each_jump_of_the_playhead_has_its_label(open_page, written):
    heads = {10: 10, 20: 20, 30: 42, 40: 52, 41: 39.4, 51: 49, 200: 80, 210: 67}
    cues = [Cue(at_s=0, type="sessionStart", params=START_PARAMS), Cue(at_s=0.1, type="play")]
    cues += [Cue(at_s=at_s, type="ping", playhead_s=playhead) for at_s, playhead in heads.items()]
    page = open_page(written(recorded(cues)), viewport={"width": 1280, "height": 900})
    told = {text: (x, y) for text, x, y in _told(page) if text.startswith("jump")}
    assert sorted(text.split()[1][1:] for text in told) == ["12.6", "13", "22"]
    places = sorted(told.values())
    assert all(abs(x - u) > 80 or abs(y - v) >= 14 for (x, y), (u, v) in pairwise(places))


def test_the_pointer_finds_names_and_opens_what_it_is_over(open_page, written):
    page = open_page(written(pictured.troubled()))
    box = page.locator(".plotbox").bounding_box()
    assert box is not None
    card = page.get_by_role("tooltip")

    def over(lane_y: float, text: str) -> float:
        for x in range(138, int(box["width"]) - 46, 5):
            page.mouse.move(box["x"] + x, box["y"] + lane_y)
            if card.is_visible() and text in card.inner_text():
                return x
        raise AssertionError(f"nothing at {lane_y} says {text}")

    over(60, "stalled")  # playback
    over(90, "Not counted: no ad break was open since adBreakComplete #6.")
    x = over(31, "expected a number")  # findings
    expect(card).to_contain_text("UTC")
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("tab", name="Event #11")).to_have_attribute("aria-selected", "true")

    before = _pixels(page)
    page.mouse.wheel(0, -200)  # the click has given the focus
    zoomed = _pixels(page)
    assert zoomed != before
    page.mouse.move(box["x"] + x, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 80, box["y"] + 200, steps=3)
    page.mouse.up()
    assert _pixels(page) != zoomed
    page.get_by_role("button", name="Fit").click()
    page.mouse.move(0, 0)
    expect(page.get_by_role("tab", name="Event #11")).to_have_attribute("aria-selected", "true")


def test_a_finding_stands_below_its_line_in_the_body(open_page, written):
    page = open_page(written(pictured.troubled()))
    page.locator(".go", has_text="#11").click()
    hit = page.locator(".body .hit").first
    expect(hit).to_contain_text('"media.chapter.offset": "0",')
    expect(page.locator(".body .hit + .note")).to_contain_text("expected a number")
    expect(page.locator(".ev details[open] summary")).to_contain_text("Answer: 400")
    expect(page.locator(".ev")).to_contain_text("media.chapter.offset should be an integer")


def test_the_text_of_values_is_kept(open_page, written):
    held = pictured.film_with_ads()
    sent = b'{"eventType": "ping", "playerTime": {"ts": 1.0e3, "playhead": 5.0}, "n": 12345678901234567890123, "e": [], "o": {"a~/b": [1, {"x": "\\u0041"}]}}'
    exchanges = [*held.exchanges]
    place = len(exchanges) - 4
    odd = event(id="odd", after_s=467.2, body=sent, session_id=held.session.session_id or "", response=None)
    exchanges[place] = replace(odd, outcome=Outcome.UPSTREAM_CLOSED, reason="the file does not say why")
    page = open_page(written(fold(exchanges)[0]))
    page.locator(".rows .row", has_text=re.compile(rf"^{place + 1}\D")).first.click()
    lines = page.locator(".body > div:not(.note)").all_text_contents()
    assert [line.strip() for line in lines] == [
        "{",
        '"eventType": "ping",',
        '"playerTime": {',
        '"ts": 1.0e3,',
        '"playhead": 5.0',
        "},",
        '"n": 12345678901234567890123,',
        '"e": [],',
        '"o": {',
        '"a~/b": [',
        "1,",
        "{",
        '"x": "\\u0041"',
        "}",
        "]",
        "}",
        "}",
    ]
    expect(page.locator(".ev dl")).to_contain_text("the file does not say why")
    expect(page.locator(".ev")).to_contain_text("No answer is in the recording.")  # a file may not say why


def test_an_event_of_a_batch_shows_its_part_of_the_body(open_page, written):
    page = open_page(written(pictured.downloaded()))
    expect(page.locator(".legend")).to_contain_text("one request of 73 events, answered 201")
    place = page.locator(".go", has_text="adStart").first
    first = place.get_attribute("data-go")
    place.click()
    expect(page.locator(".ev .fi .m")).to_contain_text("adStart has the same ts as an earlier event")
    lines = page.locator(".body > div:not(.note)")
    expect(lines.first).to_have_text("{")
    expect(lines.nth(1)).to_contain_text('"adStart"')
    expect(lines.last).to_have_text("}")
    expect(page.locator(".ev")).to_contain_text("of 73")
    page.get_by_role("button", name="next").click()
    expect(page.locator(".ev .fi .m")).to_contain_text(f"like #{first}: adStart has the same ts")


def test_the_table_folds_filters_and_sorts(open_page, written):
    page = open_page(written(pictured.marathon(900)))
    rows = page.locator(".rows .row")
    expect(page.locator(".shown")).to_contain_text(re.compile(r"^1,\d\d\d events, \d\d\d rows"))
    expect(page.locator(".row.fold").first).to_contain_text("90 pings, every 10.0 s, playhead to 15:00")
    page.locator(".row.fold button").first.press("Enter")
    expect(rows.nth(3)).to_contain_text("ping")
    page.get_by_label("Filter events").fill("episode 3")
    expect(rows).to_have_count(1)
    page.get_by_label("Filter events").fill("")
    page.get_by_label("only with findings").check()
    expect(rows.first).to_contain_text("chapterStart")
    page.get_by_label("only with findings").uncheck()
    page.get_by_role("button", name="hide").click()
    expect(page.locator(".row.ping")).to_have_count(0)

    page = open_page(written(pictured.troubled()))
    orders = {}
    for order in ("device", "arrival", "as taken"):
        page.get_by_role("button", name=order, exact=True).click()
        orders[order] = page.locator(".rows .row > :first-child").all_text_contents()
    assert orders["arrival"] == [str(number) for number in range(1, 43)]
    assert sorted(map(int, orders["device"])) == list(range(1, 43))
    assert orders["device"].index("36") < orders["device"].index("35")  # it was overtaken
    assert orders["as taken"][-3:] == ["11", "27", "39"]  # those that were refused


def test_what_devices_send_is_text(open_page, written):
    page = open_page(written(pictured.hostile()))
    elements = page.evaluate("document.querySelectorAll('img, script, iframe, [onerror]').length")
    for number in range(1, 17):
        page.locator(f'.row[data-n="{number}"]').click()
        expect(page.get_by_role("tab", name=f"Event #{number}")).to_have_attribute("aria-selected", "true")
        expect(page.locator(".ev .reading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('img, script, iframe, [onerror]').length") == elements
    box = page.locator(".plotbox").bounding_box()
    assert box is not None
    for y in range(10, int(box["height"]), 40):
        for x in range(100, int(box["width"]), 120):
            page.mouse.move(box["x"] + x, box["y"] + y)
    assert "\u202e" not in page.locator("body").inner_text()
    expect(page.locator("header.top")).to_contain_text("\\u202e\\u0000")


def test_5000_events_are_drawn_and_can_be_moved(open_page, written):
    """How fast is measured by `benchmarks.pages`."""
    page = open_page(written(pictured.marathon()))
    page.wait_for_function("document.documentElement.dataset.drawnMs")
    seen = {_pixels(page)}
    page.locator(".plotbox").focus()
    for key in "++-":
        page.keyboard.press(key)
        seen.add(_pixels(page))
    assert len(seen) == 3
    assert _colours(page) > 5


def test_light_or_dark_is_remembered(open_page, written):
    page = open_page(written(pictured.timeline(2)))
    expect(page.locator(".rows .row")).to_have_count(15)
    light = _pixels(page)
    page.get_by_role("button", name="Light or dark").click()
    dark = _pixels(page)
    assert dark != light
    page.reload()
    page.wait_for_function(f"was => ({PIXELS})() === was", arg=dark)
    page.get_by_role("button", name="Light or dark").click()
    assert _pixels(page) == light
    page.reload()
    page.wait_for_function(f"was => ({PIXELS})() === was", arg=light)


def test_a_new_value_keeps_what_the_reader_does(open_page, tmp_path):
    """As in the live page: more events come while one is read."""
    held = pictured.live()
    values = [_value(held, events) for events in (20, 42)]
    seen = traffic(held.exchanges)
    path = tmp_path / "mounted.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><style>{joining.style()}</style><div id="root"></div>'
        f'<script type="module">{joining.script("session.js")}\n'
        f"window.values = {json.dumps(values)};\n"
        f"window.mounted = mountSession(document.getElementById('root'), values[0],"
        f" {{ loadTraffic: async () => ({json.dumps(seen)}), links: {{ event: (n) => n === null ? '#' : `#at${{n}}` }}, isLive: true, number: 3 }});"
        "</script>",
        encoding="utf-8",
    )
    page = open_page(path)
    expect(page.get_by_role("tab", name="Event #3")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".ev .body")).to_contain_text('"ping"')
    page.get_by_label("Filter events").fill("ping")
    page.get_by_text("Headers of the request").click()
    expect(page.locator(".rows .row")).to_have_count(18)
    page.evaluate("mounted.update(values[1])")
    expect(page.locator(".rows .row")).to_have_count(35)
    expect(page.locator(".nums b").first).to_have_text("42")
    expect(page.get_by_role("tab", name="Event #3")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".ev .hd").first).to_be_visible()
    expect(page.locator(".ended")).to_contain_text(re.compile(r"expires in 9:[0-5]\d unless an event comes"))
    was = page.locator(".ended").inner_text()
    page.wait_for_function("was => document.querySelector('.ended').innerText !== was", arg=was)
    page.evaluate("mounted.destroy()")
    page.keyboard.press("j")
    assert page.evaluate("document.getElementById('root').childElementCount") == 0


def _value(held, events):
    (part,) = fold(held.exchanges[:events])
    last_s = (part.exchanges[-1].received_at - part.exchanges[0].received_at).total_seconds()
    return session_page(pictured.picture(part, now_s=last_s + 2)).document()
