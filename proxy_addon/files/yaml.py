"""The one reader of YAML files: plain values, and where in the file each of them is written.

    document = read_yaml(Path("plan.yaml"))
    document.value                                     # as of JSON: objects, lists, texts, numbers, true, false, null
    raise document.error(("events", 2, "on"), "…")     # plan.yaml:14:5: …

YAML 1.2 as far as JSON goes: ``on``, ``no`` and dates are texts, keys are texts, and no key is written twice. Anchors and
aliases are allowed, tags and merge keys are not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from proxy_addon.errors import SettingsError

Steps = tuple[str | int, ...]
"""The keys and indexes that lead to a value; empty for the whole document."""

DEEPEST = 50
"""How many lists and mappings may stand in one another; the parser takes time with the square of it."""
MOST_VALUES = 100_000
"""How many values a file may have, aliases resolved, so that a small file cannot fill the memory."""
_LONGEST_TOLD = 60
_HINTS = {
    "mapping values are not allowed": "a text with a colon in it needs quotation marks; or is the indentation wrong?",
    "expected <block end>": "is the indentation right? What belongs together begins in one column",
    "found character '\\t'": "indent with spaces: YAML does not allow tabs",
    "found unknown escape": r"put the text in single quotes, in which \ stands for itself",
    "expected ',' or": "is a bracket open? A text with brackets, commas or colons in it needs quotation marks",
    "found character": "a text that begins with this character needs quotation marks",
}
"""What to do about what the parser says, by its beginning."""


class NotYaml(SettingsError):
    """A file is there and can be read, but is not YAML, or has more in it than values."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Yaml:
    """A document.

    Attributes:
        name: Of its file, for messages.
        value: As of JSON.
        keys: Where keys are written, by the path to the value.
        values: Where values are written, by the same.
    """

    name: str
    value: Any
    keys: Mapping[Steps, Position]
    values: Mapping[Steps, Position]

    def position(self, path: Steps, *, of_key: bool = False) -> Position:
        """Return where a value is written, or its key; what is not in the file stands where it would be looked for."""
        while path:
            found = (self.keys.get(path) if of_key else None) or self.values.get(path)
            if found is not None:
                return found
            path = path[:-1]
        return self.values.get((), Position(1, 1))

    def error(self, path: Steps, problem: str, *, hint: str = "", of_key: bool = False) -> SettingsError:
        """Return an error that says where in the file something is wrong, as ``FILE:LINE:COLUMN: problem``.

        Args:
            path: The value that is wrong, or that lacks something.
            of_key: Whether its key is wrong, not its value.
        """
        at = self.position(path, of_key=of_key)
        return SettingsError(f"{self.name}:{at.line}:{at.column}: {problem}", hint=hint)


def read_yaml(path: Path) -> Yaml:
    """Return the document in a file.

    Raises:
        NotYaml: The file is not YAML; the message says where.
        SettingsError: The file cannot be read.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as e:
        raise SettingsError(f"cannot read {path}: {e.strerror}", hint="is its name right?") from e
    except UnicodeDecodeError as e:
        raise NotYaml(f"{path} is not YAML: it is not UTF-8") from e


def parse_yaml(text: str, name: str) -> Yaml:
    """Return the document in a text.

    Args:
        name: Of its file, for messages.

    Raises:
        NotYaml: It is not YAML; the message says where.

    >>> document = parse_yaml("on: {ping: 10.0}", "plan.yaml")
    >>> document.value, document.position(("on", "ping"), of_key=True), str(document.error(("on",), "unknown event"))
    ({'on': {'ping': 10.0}}, Position(line=1, column=6), 'plan.yaml:1:5: unknown event')
    """
    try:
        _check_depth(text, name)
        node = YAML(typ="safe", pure=True).compose(text)
    except ReaderError as e:
        line, column = text.count("\n", 0, e.position) + 1, e.position - text.rfind("\n", 0, e.position)
        raise NotYaml(f"{name}:{line}:{column}: not YAML: the character {text[e.position]!r}") from e
    except MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        problem = str(e.problem or e.context)
        hint = next((hint for begin, hint in _HINTS.items() if problem.startswith(begin)), "")
        raise NotYaml(f"{name}{_where(mark)}: not YAML: {problem}", hint=hint) from e
    except (YAMLError, ValueError) as e:
        raise NotYaml(f"{name}: not YAML: {str(e).splitlines()[0] if str(e) else type(e).__name__}") from e
    reading = _Reading(name)
    value = None if node is None else reading.value(node, ())
    return Yaml(name=name, value=value, keys=reading.keys, values=reading.values)


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise NotYaml(f"{name}{_where(event.start_mark)}: nested too deep: at most {DEEPEST} levels")


def _where(mark: StreamMark | None) -> str:
    return "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"


class _Reading:
    """Makes values of nodes, and notes where they are."""

    def __init__(self, name: str) -> None:
        self.keys: dict[Steps, Position] = {}
        self.values: dict[Steps, Position] = {}
        self._name = name
        self._open: set[int] = set()

    def value(self, node: Node, path: Steps) -> Any:
        self.values[path] = _position(node)
        if len(self.values) > MOST_VALUES:
            raise self._problem(node, f"the file has more than {MOST_VALUES:,} values")
        if len(path) > DEEPEST:  # by aliases; else the parser would have found it
            raise self._problem(node, f"nested too deep: at most {DEEPEST} levels")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._problem(node, "this value contains itself")
        self._open.add(id(node))
        made = self._mapping(node, path) if isinstance(node, MappingNode) else self._list(node, path)
        self._open.remove(id(node))
        return made

    def _mapping(self, node: MappingNode, path: Steps) -> dict[str, Any]:
        self._check_tag(node, "tag:yaml.org,2002:map")
        made: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise self._problem(key, "a key is a text")
            if key.value == "<<" and key.style is None:
                raise self._problem(key, "merge keys are not supported")
            if key.value in made:
                hint = "leave out one of them, or put together what they say"
                raise self._problem(key, f"{key.value} is here for the second time", hint)
            self.keys[*path, key.value] = _position(key)
            made[key.value] = self.value(value, (*path, key.value))
            if made[key.value] is None:  # it may stand nowhere
                self.values[*path, key.value] = _position(key)
        return made

    def _list(self, node: Node, path: Steps) -> list[Any]:
        self._check_tag(node, "tag:yaml.org,2002:seq")
        return [self.value(each, (*path, index)) for index, each in enumerate(node.value)]

    def _scalar(self, node: ScalarNode) -> Any:
        tag, text = str(node.tag).removeprefix("tag:yaml.org,2002:"), str(node.value)
        try:
            match tag:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    base = 0 if text.lstrip("+-")[:2].lower() in ("0x", "0o") else 10
                    whole = int(text.replace("_", ""), base)
                    if abs(whole) <= sys.float_info.max:
                        return whole
                case "float":
                    number = float(text.replace("_", ""))
                    if math.isfinite(number):
                        return number
                case "str" | "timestamp":
                    return text
                case _:
                    raise self._problem(node, f"the tag {node.tag} is not supported")
        except ValueError:
            pass
        told = text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"
        raise self._problem(node, f"{told} is not a number that can be used here; quote it if it is a text")

    def _check_tag(self, node: Node, usual: str) -> None:
        if str(node.tag) != usual:
            raise self._problem(node, f"the tag {node.tag} is not supported")

    def _problem(self, node: Node, problem: str, hint: str = "") -> NotYaml:
        at = _position(node)
        return NotYaml(f"{self._name}:{at.line}:{at.column}: {problem}", hint=hint)


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
