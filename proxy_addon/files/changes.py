"""The file of ``replay --changes``: changes for repeated use, carried out in their order.

Each is a table that says what to do::

    [[change]]
    do = "set"                                # set, drop, pseudonym: in bodies, by JSONPath (RFC 9535)
    path = "$.params['media.channel']"
    value = "Replayed"                        # any value
    only = "present"                          # where it is there; left out, it is added to its object too

    [[change]]
    do = "pseudonym"                          # same value, same token, within a run
    path = "$.customMetadata.userName"

    [[change]]
    do = "drop-header"                        # set-header (name, value), drop-header, pseudonym-header
    name = "Referer"
"""

from __future__ import annotations

from pathlib import Path

from proxy_addon.core.replays.changing import Change, ChangeError, checked
from proxy_addon.errors import SettingsError
from proxy_addon.files.toml import line_of, read_toml


def load(path: Path) -> list[Change]:
    """Return the changes in a file.

    Raises:
        SettingsError: It cannot be read, or does not make sense: which change, in which line, and what would be accepted.
    """
    document = read_toml(path)
    changes = document.pop("change", [])
    if document:
        raise SettingsError(f"{path}: {next(iter(document))!r} is unknown", hint="changes are tables [[change]]")
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise SettingsError(f"{path}: change is no list of tables", hint="write [[change]] above each")
    found = []
    for number, change in enumerate(changes, 1):
        try:
            found.append(checked(change))
        except ChangeError as e:
            line = line_of(path, "change", number, e.key)
            place = str(path) if line is None else f"{path}:{line}"
            raise SettingsError(f"{place}: change {number}: {e}", hint=e.hint) from e
    return found
