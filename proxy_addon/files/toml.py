"""The one reader of TOML files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from proxy_addon.errors import SettingsError


class NotToml(SettingsError):
    """A file is there and can be read, but is not TOML."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the top-level table of a file.

    Raises:
        NotToml: The file is not TOML.
        SettingsError: The file cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise SettingsError(f"cannot read {path}: {e.strerror}", hint="is its name right?") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise NotToml(f"{path} is not TOML: {e}") from e


def line_of(path: Path, table: str, number: int, key: str = "") -> int | None:
    """Return the line of a table or key in a file that `read_toml` has read, for messages.

    Args:
        table: The name of an array of tables, ``[[table]]``.
        number: Which of its tables, from 1.
        key: A key of that table; empty for the table itself.

    Returns:
        The number of the line, from 1; that of the table if the key has no line of its own; None if the tables are not
        written as ``[[table]]``.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    heads = _lines_like(lines, rf"\s*\[\[\s*{_spelled(table)}\s*\]\]")
    if number > len(heads):
        return None
    begin, end = heads[number - 1], heads[number] if number < len(heads) else len(lines)
    keys = _lines_like(lines, rf"\s*{_spelled(key)}\s*=", begin + 1, end) if key else []
    return (keys or [begin])[0] + 1


def _spelled(name: str) -> str:
    escaped = re.escape(name)
    return f"""(?:{escaped}|"{escaped}"|'{escaped}')"""


def _lines_like(lines: list[str], pattern: str, begin: int = 0, end: int | None = None) -> list[int]:
    """Return the indexes of matching lines that are not inside a multi-line value: all before them is valid TOML."""
    places = range(begin, len(lines) if end is None else end)
    return [n for n in places if re.match(pattern, lines[n]) and _is_toml("\n".join(lines[:n]))]


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
