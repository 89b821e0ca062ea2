"""Scenarios in YAML files: those that come with us, and those of a user's folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from proxy_addon.core.scenarios.forms import Misfit
from proxy_addon.core.scenarios.scenario import Scenario, read
from proxy_addon.core.wording import suggestion
from proxy_addon.errors import SettingsError
from proxy_addon.files.yaml import Yaml, parse_yaml, read_yaml

_NUMBER = re.compile(r"\d+-")
"""How the name of a file may begin, for the order of the list; it is no part of the scenario's name."""


def scenarios(folder: Path | None = None) -> Mapping[str, Scenario]:
    """Return the scenarios by their names: those that come with us, then those of a folder.

    Args:
        folder: A scenario in it takes the place of one of ours that has the same name; None for no folder.

    Raises:
        SettingsError: There is no such folder, or none in it; a file in it cannot be read, or is no scenario: the message
            says where in the file; or two files have the same scenario.
    """
    return {**_shipped(), **({} if folder is None else _own(folder))}


@cache
def _shipped() -> Mapping[str, Scenario]:
    folder = files("proxy_addon") / "certifying"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    read = [scenario_of(parse_yaml(each.read_text("utf-8"), each.name)) for each in found]
    return {scenario.id: scenario for scenario in read}


def named(known: Mapping[str, Scenario], names: Iterable[str]) -> list[Scenario]:
    """Return scenarios by their names.

    Raises:
        SettingsError: There is none of that name.
    """
    for name in names:
        if name not in known:
            raise SettingsError(
                f"unknown scenario {name}{suggestion(name, known)}", hint="'sessiontape certify --list' lists them"
            )
    return [known[name] for name in names]


def scenario_of(document: Yaml) -> Scenario:
    """Return the scenario in a document; its name is that of the file, without a number in front.

    Raises:
        SettingsError: It is none; the message says where it is wrong.
    """
    if document.value is None:
        raise document.error((), "the file is empty", hint="docs/certify.md describes scenarios")
    try:
        return read(document.value, _NUMBER.sub("", Path(document.name).stem, count=1))
    except Misfit as e:
        raise document.error(e.path, str(e), hint="docs/certify.md describes scenarios", of_key=e.of_key) from e


def _own(folder: Path) -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    file_of: dict[str, Path] = {}
    for path in _files(folder):
        scenario = scenario_of(read_yaml(path))
        if scenario.id in found:
            raise SettingsError(
                f"{file_of[scenario.id]} and {path} are the same scenario, {scenario.id}",
                hint="a number in front of a name is no part of it: rename one of the files",
            )
        found[scenario.id], file_of[scenario.id] = scenario, path
    return found


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except OSError as e:
        raise SettingsError(f"cannot read {folder}: {e.strerror}", hint="--scenarios takes a folder") from e
    if not found:
        raise SettingsError(f"there are no scenarios in {folder}", hint="a scenario is a file that ends in .yaml")
    return found
