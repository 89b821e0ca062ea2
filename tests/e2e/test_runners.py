"""`sessiontape run` around curl, pytest and Playwright: five exit codes each, and nothing left running."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import builders, forking, processes
from tests.leftovers import Family

ROOT = Path(__file__).resolve().parents[2]
START = builders.body(builders.event_dict("sessionStart")).decode()


def event(type: str, after_ms: int, **members) -> str:
    return builders.body(builders.event_dict(type, ts=builders.BEGIN_MS + after_ms, **members)).decode()


END = event("sessionEnd", 200)
EVENTS: dict[str, list[str] | None] = {
    "pass": [event("play", 100), END],
    "finding": [event("play", 100, playhead=-1), END],
    "difference": [event("pauseStart", 100), END],
    "failed": [event("play", 100), END],
    "nothing": None,
}
"""What the player reports in each case, after the start."""


def curl(case: str, folder: Path) -> list[str]:
    """Return a command that reports with curl, and fails in the case for that."""
    events = EVENTS[case]
    script = [
        "set -e",
        'post() { curl -sS -o /dev/null -D - -H \'Content-Type: application/json\' -d "$2" "$SESSIONTAPE_URL$1"; }',
    ]
    if events is not None:
        script.append(f"at=$(post /api/v1/sessions '{START}' | tr -d '\\r' | sed -n 's/^Location: //p')")
        script += [f"post \"$at/events\" '{each}'" for each in events]
    script.append(f"exit {5 if case == 'failed' else 0}")
    (folder / "test.sh").write_text("\n".join(script))
    return ["sh", "test.sh"]


def pytest_(case: str, folder: Path) -> list[str]:
    """Return a command that reports in a test of pytest, or collects none in the case for a failed command."""
    (folder / "test_it.py").write_text(f"""
import json, os, urllib.error, urllib.request

def post(path, text):
    url = os.environ["SESSIONTAPE_URL"] + path
    try:
        asked = urllib.request.Request(url, text.encode(), {{"Content-Type": "application/json"}})
        return urllib.request.urlopen(asked).headers["Location"]
    except urllib.error.HTTPError:
        return None

def test_it():
    events = {EVENTS[case]!r}
    if events is not None:
        at = post("/api/v1/sessions", {START!r})
        for each in events:
            post(at + "/events", each)
""")
    select = ["-k", "none"] if case == "failed" else []
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *select,
        "test_it.py",
    ]


def playwright(case: str, folder: Path) -> list[str]:
    """Return a command that reports in a test of Playwright, which fails in the case for that."""
    events = EVENTS[case]
    (folder / "node_modules").symlink_to(_modules() or "")
    (folder / "it.spec.js").write_text(f"""
const {{ test, expect }} = require("@playwright/test");
test("it", async ({{ request }}) => {{
  const post = (path, data) => request.post(process.env.SESSIONTAPE_URL + path, {{ data }});
  const events = {json.dumps(None if events is None else [json.loads(each) for each in events])};
  if (events) {{
    const at = (await post("/api/v1/sessions", {START})).headers()["location"];
    for (const each of events) await post(`${{at}}/events`, each);
  }}
  expect({json.dumps(case)}).not.toBe("failed");
}});
""")
    return ["npx", "playwright", "test"]


def _modules() -> str | None:
    """Return a folder of installed Node modules that has Playwright; None if there is none."""
    places = [os.environ.get("NODE_PATH", ""), str(ROOT / "docs/examples/player/node_modules")]
    return next((each for each in places if each and (Path(each) / "@playwright" / "test").is_dir()), None)


NO_PLAYWRIGHT = (
    "@playwright/test is not installed: 'npm install' in docs/examples/player, or name a folder in NODE_PATH"
)


@pytest.mark.parametrize(
    ("runner", "failed"),
    [
        pytest.param(curl, 5, marks=pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")),
        pytest.param(pytest_, 5),
        pytest.param(playwright, 1, marks=pytest.mark.skipif(_modules() is None, reason=NO_PLAYWRIGHT)),
    ],
)
def test_each_runner_ends_with_the_five_codes(runner: Callable[[str, Path], list[str]], failed: int, tmp_path: Path):
    expected = tmp_path / "expected.json"

    def run(case: str, *options: str) -> tuple[int, str]:
        folder = tmp_path / case
        folder.mkdir(exist_ok=True)
        family = Family()
        done = forking.run(
            [processes.COMMAND, "run", *options, "--", *runner(case, folder)],
            cwd=folder,
            env=os.environ | family.mark | {"CI": ""},
            text=True,
            timeout=120,
        )
        assert not family.survivors(), case
        return done.returncode, done.stdout + done.stderr

    code, said = run("pass", "--expect", str(expected), "--update")
    assert (code, expected.exists()) == (0, True), said
    (tmp_path / "pass").rename(tmp_path / "made")
    with ThreadPoolExecutor() as threads:
        done = dict(zip(EVENTS, threads.map(lambda case: run(case, "--expect", str(expected)), EVENTS), strict=True))
    codes = {case: code for case, (code, _) in done.items()}
    assert codes == {"pass": 0, "finding": 1, "difference": 1, "failed": failed, "nothing": 2}, done
    assert "playhead-negative" in done["finding"][1]
    assert "pauseStart" in done["difference"][1]
    assert "playhead-negative" not in done["difference"][1]
    assert "nothing was recorded" in done["nothing"][1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_script_in_the_documents_works(tmp_path):
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "play.sh").write_text(script)
    done = processes.run("run", "--report", "report.xml", "--", "sh", "play.sh", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'failures="0"' in (tmp_path / "report.xml").read_text()
