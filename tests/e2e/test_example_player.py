"""The example project, as somebody who has copied it runs it: with pytest, and with Playwright for JavaScript."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import COMMAND

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "player"
WITHIN_S = 180
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

BREAKAGES = {
    "a param has another value": (
        "tracking.js",
        '"media.ad.playerName": "harbour-player"',
        '"media.ad.playerName": "harbour"',
        r'adStart #\d+: params/media\.ad\.playerName is "harbour", expected "harbour-player"',
    ),
    "a ping is not sent": (
        "tracking.js",
        'this.#report("ping");',
        'if (Math.floor(this.video.currentTime / 2) !== 5) this.#report("ping");',
        r"ping is missing: none for 1\d\.\d s after play #\d+, expected every 10\.0 s",
    ),
    "an ad comes later": (
        "programme.js",
        "at: 15",
        "at: 18",
        r"adBreakStart #\d+.*params/media\.ad\.podSecond is 18, expected 15",
    ),
}


def copied(to: Path) -> Path:
    skipped = shutil.ignore_patterns("node_modules", "__pycache__", "test-results")
    return Path(shutil.copytree(EXAMPLE, to, ignore=skipped))


def test_the_player_passes_and_each_breakage_of_its_tracking_is_named(tmp_path):
    copied(tmp_path / "good")
    for number, (file, old, new, _) in enumerate(BREAKAGES.values()):
        path = copied(tmp_path / f"bad{number}") / "player" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--import-mode=importlib", "--rootdir", str(tmp_path), "-rA", "."]
        + [f"--deselect=bad{n}/tests/test_tracking.py::{name}" for n in range(len(BREAKAGES)) for name in OTHERS],
        cwd=tmp_path,
        env={**os.environ, "BROWSER_PATH": str(CHROMIUM)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert "3 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    told = " ".join(re.sub(r"^E", " ", done.stdout, flags=re.MULTILINE).split())
    for expected in (message for *_, message in BREAKAGES.values()):
        assert re.search(expected, told), done.stdout


OTHERS = ("test_an_event_that_fails_is_sent_again", "test_the_recorded_visit_is_accepted_by_the_server")


def test_playwright_orders_faults_and_asserts_without_python(tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node is not installed")
    project = copied(tmp_path / "player")
    variables = os.environ | {"BROWSER_PATH": str(CHROMIUM), "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"}
    install = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        subprocess.run(install, cwd=project, env=variables, check=True, capture_output=True, timeout=60)
    except subprocess.SubprocessError as e:
        pytest.skip(f"Playwright cannot be installed: {e}")
    done = subprocess.run(
        [COMMAND, "run", "--expect", "tests/fixtures/visit.json", "--", "npx", "playwright", "test"],
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "reports what tests/fixtures/visit.json expects" in " ".join(done.stderr.split())
