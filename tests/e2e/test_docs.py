"""Every command in the documents works, and prints what they show.

``console`` blocks are run in order, in a folder of their own. Lines without ``$`` are output that must appear; numbers
and ids may differ, and ``…`` stands for anything. A ``json`` block after one is the document that its last command
prints: the members must be the same, but not their values. ``sh`` blocks need servers or rights that tests lack, so
their commands are only parsed.

The README's commands start as a user's do. Those of the other documents are forked, which needs a tenth of the time, but
where a shell has to connect them to something.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from proxy_addon.cli import cli
from tests import forking
from tests.processes import COMMAND

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent
TIMEOUT_S = 180
SERVERS = ("sessiontape collector", "sessiontape record")


@dataclass
class Command:
    line: str
    shown: list[str] = field(default_factory=list)
    document: Any = None

    @property
    def serves(self) -> bool:
        return self.line.startswith(SERVERS)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(document: Path) -> list[Command]:
    found: list[Command] = []
    for language, block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if language == "json":
            if found:
                found[-1].document = json.loads(block)
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ ")))
            else:
                found[-1].shown.append(line)
    return found


_BLOCK = re.compile(r"^```(console|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def members(document: Any) -> Any:
    """Return which members a document has, at every depth; all items of a list as one, and None for what is not known."""
    if isinstance(document, dict):
        return {name: members(value) for name, value in document.items()}
    if isinstance(document, list):
        merged: Any = None
        for item in document:
            merged = _merged(merged, members(item))
        return [merged]
    return None


def _merged(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        return {name: _merged(a.get(name), b.get(name)) for name in {**a, **b}}
    if isinstance(a, list) and isinstance(b, list):
        return [_merged(a[0], b[0])]
    return b if a is None else a


def agree(a: Any, b: Any) -> bool:
    """Whether two documents have the same members, wherever both show what is inside them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(agree(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return agree(a[0], b[0])
    return a is None or b is None


def skeleton(text: str) -> list[str]:
    """Return lines without what differs between two runs."""
    text = re.sub(r"\b[0-9a-f]{4,}\b|\d+", "#", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


_DIFFERS = re.compile(r"\b[1-9][0-9]* changed|^not the same tracking|^FAIL ")
_PLAIN = re.compile(r"sessiontape ((?:'[^']*'|[^'`|&;<>$*?~(){}\n])*)")
"""A command of ours in which a shell has nothing to do."""
_PORT = re.compile(r"(?:(?<=127\.0\.0\.1:)|(?<=--listen ))[0-9]+\b(?![.:])")


class Place:
    """A folder in which a document's commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: dict[str, str] = {}
        # The documents show what a terminal of 100 columns does.
        self._environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}

    def line(self, line: str) -> str:
        """The command with free ports."""
        return _PORT.sub(lambda port: self._port(port[0]), line)

    def run(self, command: Command) -> None:
        done = self._done(self.line(command.line))
        refused = any(shown.startswith("sessiontape: refused") for shown in command.shown)
        differs = any(_DIFFERS.search(shown) for shown in command.shown)
        differs = differs and "--run" not in command.line  # what a run was told to change is no difference
        assert done.returncode == (2 if refused else 1 if differs else 0), f"{command.line}: {done.stderr}"
        if command.document is not None:
            printed_members, shown_members = members(json.loads(done.stdout)), members(command.document)
            assert agree(printed_members, shown_members), f"{command.line} prints {printed_members}"
        printed = skeleton(done.stderr if refused else done.stdout)
        for shown in skeleton("\n".join(command.shown)):
            assert shown == "…" or shown in printed, f"{command.line} does not print: {shown}"

    def _done(self, line: str) -> subprocess.CompletedProcess[str]:
        how: dict[str, Any] = {"cwd": self.folder, "env": self._environment, "text": True, "timeout": TIMEOUT_S}
        if plain := _PLAIN.fullmatch(line):
            return forking.run([COMMAND, *shlex.split(plain[1], comments=True)], **how)
        return subprocess.run(line, shell=True, capture_output=True, check=False, **how)

    @contextmanager
    def serve(self, command: Command) -> Iterator[None]:
        process = subprocess.Popen(
            shlex.split(self.line(f"{command.line}{'' if '--listen' in command.line else self._listen(command)}")),
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert skeleton(process.stdout.readline()) == skeleton("\n".join(command.shown))
            yield
        finally:
            process.terminate()
            process.communicate()
            watchdog.cancel()
        assert process.returncode == 0

    def _listen(self, command: Command) -> str:
        return f" --listen 127.0.0.1:{'8080' if ' record ' in command.line else '8081'}"

    def _port(self, shown: str) -> str:
        if shown not in self._ports:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self._ports[shown] = str(free.getsockname()[1])
        return self._ports[shown]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a user who has followed the README step by step."""
    folder = tmp_path_factory.mktemp("visit")
    follow(ROOT / "README.md", folder)
    return folder


def follow(document: Path, folder: Path) -> None:
    place = Place(folder)
    with ExitStack() as servers:
        for command in commands(document):
            if command.serves:
                servers.enter_context(place.serve(command))
            else:
                place.run(command)


def test_the_visit_of_the_readme_works_when_followed(visited):
    assert (visited / "sessiontape.db").exists()


@pytest.mark.parametrize("document", [d for d in DOCUMENTS[1:] if commands(d)], ids=lambda d: d.name)
def test_the_commands_of_a_document_work(document, visited, tmp_path):
    if document.name != "store.md":  # which begins with nothing
        shutil.copy(visited / "sessiontape.db", tmp_path)
    follow(document, tmp_path)


def parsed(line: str) -> None:
    """Parse a command as the command line would."""
    name, *arguments = shlex.split(line)[1:]
    context = click.Context(cli, info_name="sessiontape")
    command = cli.get_command(context, name)
    assert command is not None, f"there is no command {name}"
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context, info_name=name)
        name, *arguments = arguments
        subcommand = command.get_command(context, name)
        assert subcommand is not None, f"there is no command {name}"
        command = subcommand
    command.make_context(name, arguments, parent=context)


LINES = [
    pytest.param(line.partition(" #")[0], id=f"{document.name}: {line}")
    for document in DOCUMENTS
    for block in blocks(document, "sh")
    for line in block.splitlines()
    if line.startswith("sessiontape ")
]


@pytest.mark.parametrize("line", LINES)
def test_commands_that_cannot_be_run_here_can_be_parsed(line: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"\S+\.pem", line):
        Path(name).touch()
    parsed(line)


def test_an_unknown_option_would_be_found():
    with pytest.raises(click.NoSuchOption):
        parsed("sessiontape record --upstrem https://example.com")


def test_each_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: Any = cli.list_commands(click.Context(cli))
    assert [name for name in names if f"`{name}" not in text] == []


def test_links_between_documents_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
