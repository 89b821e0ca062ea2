"""A real browser that reports whatever a page must not do: ask another host, log an error, open a dialog."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WITHIN_MS = 30_000
"""How long an element may take to appear."""
expect.set_options(timeout=WITHIN_MS)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started for a module: Playwright's own event loop must not meet those of other tests."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: install 'chromium' to run the tests of the pages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Return a function that opens an HTML file or a URL in a context of its own; its options are those of the context.

    After the test it fails if a page asked for anything outside of its file or server, logged an error or opened a dialog.
    """
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def open_(target: Path | str, **options: Any) -> Page:
        url = target.resolve().as_uri() if isinstance(target, Path) else target
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        watch(page, url, troubles)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []


def watch(page: Page, url: str, troubles: list[str]) -> None:
    """Add to a list what a page does that it must not."""
    page.on("request", lambda request: None if _is_own(request.url, url) else troubles.append(f"asked {request.url}"))
    # A server that ends before its page is closed is no fault of the page, which asks for it again.
    page.on(
        "console",
        lambda message: (
            troubles.append(message.text) if message.type == "error" and _GONE not in message.text else None
        ),
    )
    page.on("pageerror", lambda error: troubles.append(f"threw {error}"))

    def dismiss(dialog: Any) -> None:
        troubles.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)


_GONE = "net::ERR_CONNECTION_REFUSED"


def _is_own(asked: str, page: str) -> bool:
    there, here = urlsplit(asked), urlsplit(page)
    if there.scheme in {"data", "blob"}:
        return True
    if here.scheme == "file":
        return there.scheme == "file" and there.path == here.path
    return (there.scheme, there.netloc) == (here.scheme, here.netloc)


AXE = "axe-core@4.10.3"
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checker's script, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node is not installed, and the accessibility checker comes from npm")
    folder = tmp_path_factory.mktemp("axe")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", AXE]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=60)
    except subprocess.SubprocessError as e:
        pytest.skip(f"the accessibility checker cannot be installed: {e}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def serious(page: Page, axe: str, *rules: str) -> list[str]:
    """Return what the accessibility checker finds serious on a page, by these of its rules or by all."""
    page.evaluate(axe)
    options = {"runOnly": rules} if rules else {}
    found: list[dict[str, Any]] = page.evaluate(
        "options => axe.run(options).then(({ violations }) => violations)", options
    )
    return [
        f"{each['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else node['html'][:80]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
