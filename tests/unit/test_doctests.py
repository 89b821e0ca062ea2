"""The examples in docstrings work."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ONLY_FOR_MITMPROXY = "proxy_addon.addon"
"""Loaded by mitmproxy by its path; importing it makes a recorder."""


def modules_with_examples() -> list[str]:
    files = [*(ROOT / "proxy_addon").rglob("*.py"), *(ROOT / "storage").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    found = (
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if ">>> " in file.read_text(encoding="utf-8")
    )
    return sorted(set(found) - {ONLY_FOR_MITMPROXY})


def test_modules_with_examples_are_found():
    assert {"proxy_addon.core.routes", "tests.sdk_traffic"} <= set(modules_with_examples())


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_work(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
