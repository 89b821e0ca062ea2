"""The contract that limits which libraries a room may import finds violations."""

from __future__ import annotations

from typing import Any

import grimp
import pytest
from importlinter import output

from tests.allowlist import AllowlistContract

OPTIONS: dict[str, Any] = {"room": "app.core", "rooms": ["app.errors"], "libraries": ["jsonpath"], "without": ["os"]}


def graph(imported: str, importer: str = "app.core.deep") -> grimp.ImportGraph:
    made = grimp.ImportGraph()
    for module in ("app", "app.core", "app.core.deep", "app.errors", "app.other"):
        made.add_module(module)
    if imported not in made.modules:
        made.add_module(imported, is_squashed=True)
    made.add_import(importer=importer, imported=imported, line_number=7, line_contents=f"import {imported}")
    return made


def check(graph: grimp.ImportGraph, **options: Any) -> Any:
    contract = AllowlistContract(name="core", session_options={}, contract_options=OPTIONS | options)
    return contract.check(graph, verbose=False)


@pytest.mark.parametrize("imported", ["json", "app.errors", "app.core", "jsonpath"])
def test_what_is_listed_and_the_standard_library_may_be_imported(imported):
    assert check(graph(imported)).kept


@pytest.mark.parametrize("imported", ["requests", "os", "app.other", "app"])
def test_what_is_not_listed_may_not(imported):
    found = check(graph(imported))
    assert not found.kept
    assert found.metadata["broken"] == [("app.core.deep", imported, [7])]


def test_what_is_broken_is_told_with_its_lines(monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(output, "print_error", lambda text, **_: told.append(text))
    contract = AllowlistContract(name="core", session_options={}, contract_options=OPTIONS)
    contract.render_broken_contract(contract.check(graph("requests"), verbose=False))
    assert told == ["app.core.deep imports requests (l.7), which app.core may not"]


def test_imports_of_other_rooms_are_ignored():
    assert check(graph("requests", importer="app.other")).kept


def test_a_room_that_is_gone_is_an_error():
    with pytest.raises(ValueError, match=r"app\.gone"):
        check(graph("json"), room="app.gone")
