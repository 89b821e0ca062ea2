"""The one reader of TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from proxy_addon.errors import SettingsError


class NotToml(SettingsError):
    """A file is there and can be read, but is not TOML."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a file says.

    Raises:
        NotToml: It is not TOML.
        SettingsError: It cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise SettingsError(f"cannot read {path}: {e.strerror}", hint="is its name right?") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise NotToml(f"{path} is no TOML: {e}") from e
