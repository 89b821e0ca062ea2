"""The page in a browser: served by this process, opened in Chromium, and closed when the test is over."""

import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest

PLAYER = Path(__file__).parents[1] / "player"
SPEED = 20  # the player's clock runs so many times as fast

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)


class Pages(SimpleHTTPRequestHandler):
    def guess_type(self, path):
        """Return the type that modules need; some systems have another one for .js."""
        return "text/javascript" if str(path).endswith(".js") else super().guess_type(path)

    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture(scope="session")
def pages():
    """The URL of the player's page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=PLAYER)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """The path of a browser that is built on Chromium; the variable BROWSER_PATH names another one."""
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium, Chrome or Edge is installed; BROWSER_PATH=… names one")
    return found


@pytest.fixture
def play(pages, browser, tmp_path):
    """A function that opens the page and plays the clip, reporting to a URL."""
    running = []

    def play(tracking_url):
        options = urlencode({"tracking": tracking_url, "speed": SPEED, "autoplay": ""})
        command = [browser, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # for root, Chromium does not start without it
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.append(subprocess.Popen([*command, f"{pages}?{options}"], **quiet))

    yield play
    for process in running:
        process.terminate()
        process.wait(10)
