"""A newcomer finds each room, and each module in it, in docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = set(re.findall(r"`([\w./]+)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
ROOMS = [path.parent for path in sorted((ROOT / "proxy_addon").rglob("__init__.py"))]
ANY_NAME = {"rules", "cli", "demo", "proxy_addon"}
"""Rooms whose modules are called after their subject, command or part of the tour; or that are no room."""


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_is_in_the_table(room):
    path = str(room.relative_to(ROOT))
    assert room.name == "proxy_addon" or NAMED & {f"{path}/", f"{path.removeprefix('proxy_addon/')}/"}


@pytest.mark.parametrize("room", [room for room in ROOMS if room.name not in ANY_NAME], ids=lambda room: room.name)
def test_each_module_of_a_room_is_named(room):
    modules = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert modules - NAMED == set()
