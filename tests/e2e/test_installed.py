"""The wheel as a user gets it: installed into an empty environment without the lock, run outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Process

ROOT = Path(__file__).resolve().parents[2]
INSTALL_WITHIN_S = 600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=INSTALL_WITHIN_S)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_two_packages_at_its_top_and_the_migrations_inside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"proxy_addon", "storage"}
    assert "storage/_migrations/env.py" in names
    assert "proxy_addon/addon.py" in names
    pages = ROOT / "proxy_addon" / "reporting" / "pages"
    assets = {f"proxy_addon/reporting/pages/{path.relative_to(pages)}" for path in pages.rglob("*.*")}
    assert {name for name in assets if name.endswith((".html", ".css", ".js"))} <= set(names)
    assert "proxy_addon/py.typed" in names
    scenarios = {f"proxy_addon/certifying/{path.name}" for path in (ROOT / "proxy_addon" / "certifying").glob("*.yaml")}
    assert len(scenarios) == 24
    assert scenarios <= set(names)
    versions = {path.name for path in (ROOT / "migrations" / "versions").glob("*.py")}
    assert {name.rpartition("/")[2] for name in names if "_migrations/versions/" in name} == versions


class Installed:
    """The installed command, in a folder that is no checkout and with an environment that knows of none."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin = environment / "bin"
        self.folder = folder
        self._variables = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(self.bin / "sessiontape"), *arguments],
            cwd=self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))

    def serve(self, *arguments: str) -> tuple[Process, str]:
        command = [str(self.bin / "sessiontape"), *arguments, "--listen", "127.0.0.1:0"]
        process = Process(command, self.folder, "listening on ")
        return process, process.wait_until_ready().partition("listening on ")[2].split()[0]

    def play(self, url: str) -> None:
        command = [str(self.bin / "python"), "-m", "proxy_addon.demo.player", url, "--speed", "10"]
        subprocess.run(command, cwd=self.folder, env=self._variables, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    pip = [
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "-q",
        "--disable-pip-version-check",
        "install",
        "--no-compile",
    ]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=INSTALL_WITHIN_S)
    return Installed(environment, tmp_path_factory.mktemp("elsewhere"))


def test_record_show_and_replay_work_from_the_wheel(installed, sqlite_url, postgres_url):
    upstream, upstream_url = installed.serve("collector")
    proxy, proxy_url = installed.serve("record", "--upstream", upstream_url, "--store", sqlite_url)
    try:
        installed.play(proxy_url)
    finally:
        assert proxy.stop() == 0
    session = installed.json("sessions", "--store", sqlite_url)[0]
    assert (session["state"], session["events"]) == ("ended", 15)
    shown = installed.json("show", session["session_id"], "--store", sqlite_url)
    assert [exchange["seq"] for exchange in shown["exchanges"]] == list(range(1, 16))
    target, target_url = installed.serve("collector")
    try:
        replay = ("replay", session["id"], "--store", sqlite_url, "--speed", "max", "--target")
        page = installed.folder / "run.html"
        assert installed.json(*replay, target_url, "--report", str(page))["totals"]["same"] == 15
        assert "15 steps recorded: 15 sent, 0 skipped" in page.read_text(encoding="utf-8")
        installed.run(*replay, upstream_url, code=2)
    finally:
        assert target.stop() == upstream.stop() == 0
    installed.run("db", "upgrade", "--store", postgres_url)
    for url in (sqlite_url, postgres_url):
        assert "clean" in installed.run("db", "check", "--store", url)
    addon = installed.run("addon-path").strip()
    assert Path(addon).is_relative_to(installed.bin.parent)
