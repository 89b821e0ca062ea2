"""The page of an audit through the installed command: of a store and of files, without personal values."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy_addon.cli import cli
from proxy_addon.core.exchange import Exchange
from tests import audited
from tests.audited import GOOD
from tests.integration.test_check import write
from tests.processes import run
from tests.reports import parts_of

VIEWER = "12345678901234567890123456789012345678"
KEY = "visitor.marketingCloudUserId"
CHARLES = Path(__file__).parents[1] / "samples" / "captures" / "hand-charles-4.6.har"


def of_viewer(exchange: Exchange) -> Exchange:
    """Return an exchange whose start says who the viewer is."""
    body = exchange.request.body.replace(b'"media.name"', f'"{KEY}":"{VIEWER}","media.name"'.encode())
    return replace(exchange, request=replace(exchange.request, body=body))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two sessions of a good player, and two of one that does not send the channel."""
    url = f"sqlite:///{tmp_path_factory.mktemp('audit')}/tape.db"
    exchanges = [
        of_viewer(replace(exchange, id=f"{player} {number} {exchange.id}"))
        for player in (GOOD, "Web Player")
        for number in range(2)
        for exchange in audited.played(player, number).exchanges
    ]
    write(url, exchanges)
    return url


def page_of(path: Path, *options: str) -> dict[str, Any]:
    done = run("audit", "-o", str(path), "--fail-on", "never", *options)
    assert done.returncode == 0, done.stderr
    assert f"written to {path}" in done.stderr
    return parts_of(path.read_text(encoding="utf-8"))


def test_a_viewer_has_the_same_token_in_the_audit_and_in_its_sessions(store, tmp_path):
    parts = page_of(tmp_path / "audit.html", "--by", "player", "--store", store)
    value = parts["value"]
    assert VIEWER not in json.dumps(parts)
    assert value["pseudonymised"]
    assert len(value["sessions"]) == value["to_look_at"] == 2
    assert {session["messages"]["param-missing"] for session in value["sessions"].values()} == {
        "media.channel is missing; sessionStart needs it"
    }
    (key,) = [key for key in parts["group-1"]["keys"] if key["key"] == KEY]
    (example,) = key["examples"]
    assert example["text"] in json.dumps(parts["traffic-0"])


def test_raw_pages_are_for_their_owner_and_say_so(store, tmp_path):
    parts = page_of(tmp_path / "audit.html", "--raw", "--store", store)
    assert VIEWER in json.dumps(parts["value"])
    assert VIEWER in json.dumps(parts["traffic-0"])
    assert not parts["value"]["pseudonymised"]
    assert parts["value"]["groups"] == []
    for name, more in {"audit.txt": [], "audit.csv": [], "plan.yaml": ["--make-plan"]}.items():
        command = ["audit", "--raw", "--fail-on", "never", *more, "-o", str(tmp_path / name), str(CHARLES)]
        assert CliRunner().invoke(cli, command).exit_code == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("audit.html", "audit.txt", "audit.csv", "plan.yaml"), 0o600)


def test_files_have_a_page_and_a_slip_of_the_hand_replaces_nothing(tmp_path):
    parts = page_of(tmp_path / "audit.html", "--by", "app-version", str(CHARLES))
    assert parts["value"]["audit"]["all"]["sessions"] == parts["group-0"]["sessions"] > 0
    precious = tmp_path / "tape.db"
    precious.write_bytes(b"precious")
    done = run("audit", "--format", "html", "-o", str(precious), str(CHARLES))
    assert (done.returncode, precious.read_bytes()) == (2, b"precious")
    assert "end the name" in done.stderr
