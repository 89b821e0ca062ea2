"""The page of an audit, opened offline from a file and clicked through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.results import Audit, MetricSum, PlanBroken
from proxy_addon.core.audits.totals import ByGroup
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.reporting.pages import audit as pages
from tests import audited, versions
from tests.audited import GOOD
from tests.browser.conftest import Open
from tests.builders import at

AS_OF = as_of(at(10**6), DEFAULT)
EVIL = '</script><img src=x onerror="alert(1)">\u202e&s=' + "y" * 300
_COPIES = 20
LONG_NAMED = PlanBroken(
    rule="plan-missing",
    event="sessionStart",
    section="params",
    key="media.season",
    expected="required",
    sessions=3,
    share=0.3,
    times=3,
    first=None,
    last=None,
    look_at=tuple(f"exports/{'of one folder in another/' * 5}tv.har#{number:016}" for number in range(3)),
)
INEXACT = MetricSum(metric="dropped_frames", total=2**53 + 1, sessions=3, per_session=None)
QUIET = versions.Change(
    what="no pauses, and slower answers",
    said=frozenset(),
    cues=lambda cues: [cue for cue in cues if cue.type != "pauseStart"],
    exchange=lambda exchange: replace(exchange, duration_us=200_000),
)


def written(path: Path, audit: Audit, held: Iterable[HeldSession]) -> Path:
    """Write the page of an audit of sessions."""
    known = {each.session.id: each for each in held}
    found = (of_held(known[id], AS_OF, DEFAULT) for id in pages.to_look_at(audit) if id in known)
    path.write_text("".join(pages.html(audit, found, pseudonymised=False)), encoding="utf-8")
    return path


def totals(held: list[HeldSession]) -> ByGroup:
    auditor = Auditor(Grouping(by=By.PLAYER), AS_OF)
    for each in held:
        auditor.add_held(each, DEFAULT)
    return auditor.groups


def named(held: HeldSession, player: str | None) -> HeldSession:
    return replace(held, session=replace(held.session, player_name=player))


@pytest.fixture(scope="module")
def held() -> list[HeldSession]:
    """All sessions of the five players; one calls itself what wants to run, and one does not say its name."""
    return [
        named(each, {"Box Player": EVIL, "Phone Player": None}.get(player, player))
        for player in audited.PLAYERS
        for each in audited.sessions([player])
    ]


@pytest.fixture(scope="module")
def audit(held: list[HeldSession]) -> Audit:
    return audited.audited(held)


@pytest.fixture(scope="module")
def path(audit: Audit, held: list[HeldSession], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an audit of them."""
    return written(tmp_path_factory.mktemp("audit") / "audit.html", audit, held)


def test_an_audit_is_clicked_through_and_asks_nobody(audit, path, open_page: Open):
    page = open_page(path, offline=True)
    main = page.locator(".audit main")
    expect(page.locator(".verdict h1")).to_have_text("50 sessions in 5 groups by player")
    headline = page.locator(
        ".headline"
    ).inner_text()  # in the words of the rule, with one of its findings as an example
    assert headline.startswith(
        "An ad event is sent outside of an ad break (ad-outside-break, 1 session). For example: adStart with no ad break open."
    )
    numbers = page.locator(".nums").inner_text().split()
    assert " ".join(numbers) == "50 sessions 11 without findings 4 errors 33 warnings 1,126 events 16 not counted"

    # Groups: sorted, searched, chosen.
    groups = main.get_by_role("region", name="Table of groups").locator("tbody tr")
    assert groups.count() == 1 + 5
    main.get_by_role("button", name="Warnings").click()
    assert [row.split("\t")[0] for row in groups.all_inner_texts()][:3] == ["all", "Web Player", shown(EVIL)]
    assert page.locator("th[aria-sort=descending]").inner_text().strip() == "Warnings"
    page.keyboard.press("/")
    page.keyboard.type("TV")
    expect(groups).to_have_count(1)
    assert main.get_by_text("1 of 5 groups").is_visible()
    groups.first.click()
    page.wait_for_function("location.hash === '#g=TV%20Player'")
    expect(page.locator(".verdict h1")).to_have_text("TV Player")

    # All parts follow, and the address brings them back.
    matrix = page.get_by_role("grid", name="Findings")
    assert matrix.locator("thead .chosen").inner_text() == "TV Player"
    assert [row.split("\t")[1:4] for row in matrix.locator("tr[data-rule=ping-gap]").all_inner_texts()] == [
        ["4", "8", "40"]
    ]
    (tv,) = [group for group in audit.groups if group.name == "TV Player"]
    gaps = main.get_by_role("region", name="Ping to ping").locator("td").first
    assert gaps.inner_text() == str(tv.rhythm.ping_gaps_ms["content"].number)
    assert main.locator(".funnel b").all_inner_texts()[1::2] == [str(tv.events)] * 4
    quality = main.get_by_role("region", name="Quality").get_by_role("row", name="Time to start")
    assert quality.locator("td").all_inner_texts() == ["", "", "0"]
    page.reload()
    expect(page.locator(".verdict h1")).to_have_text("TV Player")

    # A cell says which sessions to look at, and these are in the file.
    cell = matrix.locator("tr[data-rule=play-missing] td.chosen")
    cell.click()
    look = page.locator(".look")
    assert "TV Player: 2 of 10 (20 %) sessions" in look.inner_text()
    assert "the playhead advanced by 20 s in 20.1 s, but no play" in look.locator("li").first.inner_text()
    assert look.locator("a").count() == 2
    cell.click()
    expect(look).to_have_count(0)
    cell.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(look).to_contain_text("no session has this finding")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(look).to_contain_text("TV Player: 2 of 10")
    look.locator("a").first.click()
    page.locator(".one .verdict h1").wait_for()
    assert not main.is_visible()
    assert page.locator(".one nav a").inner_text() == "Audit"
    assert page.locator(".one nav").inner_text().endswith("0000000000000018")
    page.keyboard.press("j")
    page.wait_for_function("location.hash.endsWith('/e1')")
    page.locator(".rail").get_by_text("eventType").locator("visible=true").first.wait_for()  # its body, unpacked
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    main.wait_for()
    assert page.evaluate("location.hash") == "#g=TV%20Player"
    assert page.locator("a:focus").inner_text() == "0000000000000018", "back where one was"

    # What wants to run is text, as a group, in the address and as a key.
    select = page.get_by_role("combobox", name="Group")
    select.select_option(label=f"{shown(EVIL)} (10 sessions)")
    expect(page.locator(".verdict h1")).to_have_text(shown(EVIL))
    (evil,) = [group.funnel for group in audit.groups if group.name == EVIL]
    expect(main.locator(".funnel li").last).to_contain_text(f"; {evil.dropped} events fewer: arrived")
    page.reload()
    expect(page.locator(".verdict h1")).to_have_text(shown(EVIL))
    select.select_option(label="(not sent) (10 sessions)")
    expect(page.locator(".verdict h1")).to_have_text("(not sent)")
    page.go_back()
    expect(page.locator(".verdict h1")).to_have_text(shown(EVIL))
    select.select_option(index=0)
    expect(page.locator(".verdict h1")).to_have_text("50 sessions in 5 groups by player")
    astray = page.locator(".astray")
    for address, told in (
        ("#g=TV%20Plover", "The address names a group that is not in this audit: TV Plover"),
        (
            "#g=TV%20Player&s=tapes%2Fa.har%234a0f",
            "The address names a session that is not on this page: tapes/a.har#4a0f",
        ),
        ("#s=toString", "The address names a session that is not on this page: toString"),
        ("#g=100%", "The address names a group that is not in this audit: 100%"),
        ("#g=TV%20Player", ""),
    ):
        page.evaluate("hash => { location.hash = hash }", address)
        expect(astray).to_have_text(told)
    expect(page.locator(".verdict h1")).to_have_text("TV Player")

    # Nothing is cut where there is little room.
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("location.hash = '#all'")
    losses = page.get_by_role("region", name="Table of losses")
    expect(losses).to_contain_text("never-played")
    assert losses.evaluate(_IS_CUT) is False


def shown(name: str) -> str:
    return f"{name[:119]}…".replace("\u202e", "\\u202e")


def test_the_keys_are_a_matrix_that_tells_what_was_sent(path, open_page: Open):
    page = open_page(path, offline=True)
    keys = page.get_by_role("grid", name="Keys")

    def cell(key: str, event: str) -> Locator:
        heads = keys.locator("thead th").all_inner_texts()
        return keys.locator("tr", has=page.get_by_text(key, exact=True)).locator("> *").nth(heads.index(event))

    assert cell("media.channel", "sessionStart").inner_text() == "94"
    expect(cell("media.channel", "sessionStart")).to_contain_class("due")
    expect(cell("media.flavour", "sessionStart")).to_contain_class("odd")
    cell("media.length", "sessionStart").hover()
    card = page.locator(".tell")
    for fact in ("50 of 50 (100 %) events", "integer 49, string 1", "104 to 104", '"104" 1'):
        expect(card).to_contain_text(fact)
    cell("media.channel", "sessionStart").focus()
    expect(card).to_contain_text("requires it on all of them")
    page.keyboard.press("ArrowLeft")
    expect(card).to_be_hidden()
    page.get_by_label("only what is missing or unknown").check()
    assert {row.split("\t")[0].split()[0] for row in keys.locator("tbody tr").all_inner_texts()} == {
        "media.channel",
        "media.flavour",
        "media.qoe.bitrate",
    }
    page.get_by_label("Search the keys").fill("flav")
    expect(keys.locator("tbody tr")).to_have_count(1)
    assert page.get_by_text("Types of events that the protocol does not know: pause 1").is_visible()


def test_a_plan_and_a_baseline_have_their_parts_and_changes_are_in_the_verdict(tmp_path, open_page: Open):
    good, bad = list(audited.sessions([GOOD])), list(audited.sessions(["Web Player"]))
    before = [named(each, "Web Player") for each in good] * _COPIES
    calm = [versions.played(number, player="Phone Player") for number in range(1, 10)]
    calm.append(versions.played(0, versions.CHANGES[1], "Phone Player"))
    quiet = [versions.played(number, QUIET, "Phone Player") for number in range(10, 20)]
    audit = audit_of(
        totals([*bad * _COPIES, *quiet, *(named(each, "New Player") for each in good)]),
        by=By.PLAYER,
        now=at(0),
        source="files",
        baseline=("4.1", totals([*before, *calm])),
        plan="plan.yaml",
        plan_groups=("player Radio*",),
    )
    groups = {each.name: each for each in audit.groups}
    new = groups["New Player"]
    groups[new.name] = replace(
        new,
        plan=(LONG_NAMED, replace(LONG_NAMED, rule="plan-rate", section="", key="content")),
        metrics=(*new.metrics, INEXACT),
    )
    audit = replace(audit, groups=tuple(groups.values()))
    page = open_page(written(tmp_path / "audit.html", audit, [*bad, *before]), offline=True)
    changes = page.get_by_role("region", name="Changes", exact=True)
    row = changes.locator("tr", has=page.get_by_text("param-unknown", exact=True)).inner_text().split("\t")
    assert row[1:4] == ["0 of 210 (0 %)", "40 of 220 (18 %)", "▲ appeared"]
    assert audit.baseline is not None
    (rarer,) = [each for each in audit.baseline.all.changes if each.name == "media.channel"]
    links = changes.get_by_role("row", name="media.channel").get_by_role("link")
    assert set(links.all_inner_texts()) == {*rarer.look_at}
    within = page.get_by_role("region", name="Changes in groups").locator("tbody tr").all_inner_texts()
    assert [line.rpartition("\t")[0] for line in within] == [
        "time to the answer\tPhone Player\tmedian 12 ms\tmedian 200 ms\t▲ higher\t< 0.001"
    ]
    matrix = page.get_by_role("grid", name="Findings")
    assert matrix.locator("tr[data-rule=param-unknown] td").all_inner_texts() == ["40", "18▲", "20▲", "", ""]
    said = page.locator(".verdict .headline").all_inner_texts()
    assert said[0].startswith("The body is not a well-formed JSON text (body-not-json, 20 sessions).")
    assert audit.all.verdict.text.endswith(said[1])
    assert "Events no longer sent: pauseStart in Phone Player. " in said[1]
    assert page.get_by_text("All is as planned.").is_visible()
    assert page.get_by_text("No session is in these groups of the plan: player Radio*.").is_visible()

    verdict = page.locator(".verdict")
    group = page.get_by_role("combobox", name="Group")
    group.select_option(label="Phone Player (10 sessions)")
    expect(verdict.locator(".word")).to_have_text("Changed")
    expect(verdict).to_contain_text(
        "2 changes since 4.1, and 2 differences may be chance. Events no longer sent: pauseStart."
    )
    page.get_by_text("Differs, but may be chance").click()
    doubtful = page.get_by_role("region", name="Differs, but may be chance").locator("tbody tr")
    assert doubtful.first.inner_text().split("\t")[1:4] == ["1 of 10 (10 %)", "0 of 10 (0 %)", "may be chance"]
    group.select_option(label="New Player (10 sessions)")
    expect(verdict.locator(".word")).to_have_text("Undecided")
    assert "4.1 has no sessions of this group" in verdict.inner_text()
    plan = page.get_by_role("region", name="Deviations from the plan")
    assert plan.get_by_text("sessionStart").first.evaluate(_LINES) == 1
    expect(plan.get_by_role("row", name="plan-rate")).to_contain_text("content (state)")
    assert page.get_by_role("row", name="Dropped frames").locator("td").first.inner_text() == "9.01e+15"

    # Nothing is cut where there is little room.
    page.set_viewport_size({"width": 390, "height": 844})
    assert plan.evaluate(_IS_CUT) is False
    group.select_option(index=0)
    assert changes.evaluate(_IS_CUT) is False
    assert [name for name in matrix.locator("th.head bdi").all() if name.evaluate(_IS_CUT)] == []


def test_an_audit_of_200_groups_scrolls_sideways_below_its_heads(audit, held, tmp_path, open_page: Open):
    many = audited.with_groups(audit, 200)
    alike = [f"Mozilla/5.0 (X11; Linux x86_64) Player of {version} in a Smart TV" for version in ("10.4", "12.2")]
    alike += [
        f"Mozilla/5.0 (X11; Linux x86_64) Player in a room of {1000 + k} people, of a hotel by the sea" for k in (1, 2)
    ]
    groups = (*many.groups[:-4], *(replace(many.groups[0], name=name) for name in alike))
    page = open_page(written(tmp_path / "audit.html", replace(many, groups=groups), held), offline=True)
    matrix = page.get_by_role("grid", name="Findings")
    head, last = matrix.locator("tbody th").first, matrix.locator("tbody tr").first.locator("td").last
    heads = matrix.locator("thead th").all_inner_texts()
    assert [heads[10], *heads[-4:-2]] == ["…Player/7", "…of 10.4 in a Smart TV", "…of 12.2 in a Smart TV"]
    assert heads[-2:] == ["…room of 1001 people,…", "…room of 1002 people,…"], "which differ in their middle"
    left = head.evaluate(_LEFT)
    last.scroll_into_view_if_needed()
    assert head.evaluate(_LEFT) == left
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert matrix.is_visible()
    assert page.get_by_role("grid", name="Keys").is_visible()


def test_paper_has_charts_of_its_own_in_light_colours(path, open_page: Open):
    page = open_page(path, color_scheme="dark")
    page.locator(".rhythms canvas").first.wait_for()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("canvas.paper").count() == page.locator(".rhythms figure").count() > 0
    assert page.locator("canvas.paper").first.evaluate(_DARKEST) < 100  # letters in ink, which are light on the screen
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("canvas.paper").count() == 0


_IS_CUT = "box => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight"
_LINES = """text => {
  const range = document.createRange();
  range.selectNodeContents(text);
  return new Set([...range.getClientRects()].map(({ top }) => top)).size;
}"""
_LEFT = "cell => cell.getBoundingClientRect().left"
_DARKEST = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let least = 255;
  for (let k = 0; k < data.length; k += 4) if (data[k + 3] > 250) least = Math.min(least, data[k]);
  return least;
}"""
