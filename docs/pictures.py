"""Make the pictures in ``docs/pictures/``; ``make pictures`` runs it, and it needs Chromium.

The demo's sample player reports its clip to a recorder several times: as it should, and with events left out. The pictures
show pages of these sessions: a list, a session with findings, a comparison of that session with one that is right, and an audit
of copies under the names of several players.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from proxy_addon.demo.processes import Workplace

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 1180
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SETTLED_MS = 400
"""After this long, a page has drawn what it has to draw."""
RIGHT: tuple[str, ...] = ()
FORGETFUL = ("--forget", "adBreakStart", "--forget", "adBreakComplete")
PLAYED = (RIGHT, ("--forget", "sessionEnd"), RIGHT, ("--forget", "adComplete"), FORGETFUL)
"""The options of the player, one time after the other."""
OFTEN = {"sample-player": (5, 0, 4, 0, 0), "web-player": (3, 2, 3, 1, 0), "tv-player": (2, 0, 1, 2, 4)}
"""How often a player has played so, in the sessions of the audit."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a page.

    Attributes:
        command: The command that writes the page.
        height: In CSS pixels.
        keys: What is pressed before the picture is taken.
    """

    name: str
    command: tuple[str, ...]
    height: int
    keys: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """The name of the page."""
        return self.command[-1]


def main() -> None:
    """Record sessions, write their pages, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium: install 'chromium' to make the pictures")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sessiontape-pictures-") as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for picture in written(folder):
            take(browser, folder, picture)
        browser.close()


def written(folder: Path) -> tuple[Picture, ...]:
    """Record sessions and write their pages into a folder; return what to take pictures of."""
    work = Workplace(folder, {"SESSIONTAPE_STORE": f"sqlite:///{folder}/pictures.db"})
    with (
        work.server("collector", "--listen", "127.0.0.1:0") as upstream,
        work.server("record", "--upstream", upstream.url, "--listen", "127.0.0.1:0", "--name", "demo") as recorder,
    ):
        for options in PLAYED:
            work.module("proxy_addon.demo.player", recorder.url, *options)
    newest_first = [session["id"] for session in json.loads(work.ask("sessions", "--json"))]
    ids = dict(zip(reversed(PLAYED), newest_first, strict=True))
    pictures = (
        Picture(name="sessions", command=("report", "--all", "-o", "sessions.html"), height=430),
        Picture(
            name="session",
            command=("report", ids[FORGETFUL], "-o", "session.html"),
            height=900,
            keys=("f",),
        ),
        Picture(
            name="comparison",
            command=("diff", ids[RIGHT], ids[FORGETFUL], "--report", "comparison.html"),
            height=900,
            keys=("f",),
        ),
        Picture(
            name="audit",
            command=(
                "audit",
                "audited",
                "--by",
                "player",
                "--format",
                "html",
                "--fail-on",
                "never",
                "-o",
                "audit.html",
            ),
            height=1000,
        ),
    )
    copy(work, folder / "audited", [ids[options] for options in PLAYED])
    for picture in pictures:
        work.run(*picture.command)
    return pictures


def copy(work: Workplace, folder: Path, ids: Iterable[str]) -> None:
    """Write the sessions into a folder for the audit, as often as players have them, under the names of these."""
    folder.mkdir()
    for played, id in enumerate(ids):
        text = work.ask("export", "--format", "fixture", "-o", "-", id)
        for player, often in OFTEN.items():
            for number in range(often[played]):
                path = folder / f"{player}-{played}-{number}.json"
                path.write_text(text.replace("sample-player", player), encoding="utf-8")


def take(browser: Browser, folder: Path, picture: Picture) -> None:
    """Take a picture of a page."""
    page = browser.new_page(viewport={"width": WIDTH, "height": picture.height})
    page.goto((folder / picture.page).as_uri())
    page.locator("header nav:visible").first.wait_for()
    for key in picture.keys:
        page.wait_for_timeout(SETTLED_MS)
        page.keyboard.press(key)
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=PICTURES / f"{picture.name}.png")
    page.close()


if __name__ == "__main__":
    main()
