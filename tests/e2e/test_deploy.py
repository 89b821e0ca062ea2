"""What ``docs/deploy/`` has works with this version, as far as that can be told without systemd or a container."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from proxy_addon.cli import cli
from tests.processes import COMMAND

ENDS_WITHIN_S = 10
"""In which time docs/guarantees.md promises that a recorder ends."""
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"
UNIT = (DEPLOY / "sessiontape.service").read_text(encoding="utf-8")


def variables() -> set[str]:
    """Return the environment variables that ``record`` knows."""
    record = cli.get_command(click.Context(cli), "record")
    assert record is not None
    return {str(option.envvar) for option in record.params if getattr(option, "envvar", None)}


def settings(name: str) -> list[str]:
    return [line.partition("=")[2] for line in UNIT.splitlines() if line.partition("=")[0] == name]


def assignments(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(?:ENV )?\s*(SESSIONTAPE_\w+|XDG_\w+)=(\S+)", text, re.MULTILINE))


def test_all_settings_are_options_with_values_that_can_be_used(monkeypatch, tmp_path):
    record: Any = cli.get_command(click.Context(cli), "record")
    for name in ("recorder.env", "Containerfile"):
        found = dict(assignments((DEPLOY / name).read_text(encoding="utf-8")).items())
        ours = {key: value for key, value in found.items() if key.startswith("SESSIONTAPE_")}
        assert ours.keys() <= variables(), name
        with monkeypatch.context() as environment:
            for key, value in ours.items():
                environment.setenv(key, value)
            environment.setenv("SESSIONTAPE_RECORD_UPSTREAM", "https://upstream.example")
            parsed = record.make_context("record", []).params
        assert parsed["log_format"] == "json"
        assert parsed["store_url"] == "sqlite:////var/lib/sessiontape/tape.db"


def test_the_unit_gives_the_recorder_time_to_end_and_lets_it_end_its_own_processes():
    assert settings("KillMode") == ["mixed"]
    (stop,) = settings("TimeoutStopSec")
    assert int(stop.removesuffix("s")) > ENDS_WITHIN_S
    (command,) = settings("ExecStart")
    assert shlex.split(command)[1:] == ["record"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    unit = tmp_path / "sessiontape.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={COMMAND}", UNIT), encoding="utf-8")
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectClock=yes", "ProtectClocks=yes"), encoding="utf-8")
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert "ProtectClocks" in done.stderr, "it would find a mistake"


INSTRUCTIONS = {
    "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line]


def test_the_containerfile_copies_what_is_there_and_runs_what_it_installs(tmp_path):
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    stages = {match[1] for name, rest in found if name == "FROM" and (match := re.search(r" AS (\w+)$", rest))}
    sources = []
    for name, rest in found:
        if name != "COPY":
            continue
        if (stage := re.match(r"--from=(\w+) ", rest)) is not None:
            assert stage[1] in stages
        else:
            *copied, _ = rest.split()
            sources += copied
    assert [source for source in sources if not (ROOT / source).exists()] == []
    # What the build needs beside the code: all that pyproject.toml names.
    for needed in ("pyproject.toml", "README.md", "LICENSE", "migrations", "proxy_addon", "storage"):
        assert needed in sources
    values = dict(found)
    assert (values["ENTRYPOINT"], values["CMD"]) == ('["sessiontape"]', '["record"]')
    ports = re.findall(r"=:(\d+)", dict(found)["ENV"])
    assert values["EXPOSE"].split() == ports
    assert f":{ports[1]}/healthz" in values["HEALTHCHECK"]
    assert values["USER"] in next(rest for name, rest in found if name == "RUN" and "useradd" in rest)


def test_the_constraints_of_the_image_are_the_versions_of_the_lock(tmp_path):
    (script,) = (rest for name, rest in instructions() if name == "RUN" and "constraints" in rest and "sed" in rest)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, timeout=60)
    made = (tmp_path / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = re.findall(
        r"^([A-Za-z0-9_.\-\[\]]+==\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [line.partition(" ;")[0].strip() for line in made if line and not line.startswith("#")] == locked
    assert len(locked) > 30


def test_a_backup_made_as_the_pages_say_is_its_owners_alone(migrated_file, tmp_path, monkeypatch):
    if shutil.which("sqlite3") is None:
        pytest.skip("there is no sqlite3 command here")
    monkeypatch.chdir(tmp_path)
    for page in ("deploy.md", "store.md"):
        (command,) = re.findall(r"`([^`]*\.backup [^`]*)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
        command = command.replace("/var/lib/sessiontape/", "").replace("/backup/tape.db", "copy.db")
        shutil.copy(migrated_file, "tape.db")
        subprocess.run(command, shell=True, check=True)
        assert Path("copy.db").stat().st_mode & 0o777 == 0o600, page
        Path("copy.db").unlink()
