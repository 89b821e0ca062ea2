"""The file of ``replay --changes``: changes for repeated use, applied in order.

Each change is a table::

    [[change]]
    do = "set"                                # set, drop, pseudonym: in bodies, by JSONPath (RFC 9535)
    path = "$.params['media.channel']"
    value = "Replayed"                        # any value
    only = "present"                          # only where it exists; left out, it is also added where it is missing

    [[change]]
    do = "pseudonym"                          # the same value gets the same token within a run
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
        SettingsError: The file cannot be read, or a change is invalid; the message gives its line and what is valid.
    """
    document = read_toml(path)
    changes = document.pop("change", [])
    if document:
        raise SettingsError(f"{path}: {next(iter(document))!r} is unknown", hint="changes are tables [[change]]")
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise SettingsError(f"{path}: change is not a list of tables", hint="write [[change]] above each")
    found = []
    for number, change in enumerate(changes, 1):
        try:
            found.append(checked(change))
        except ChangeError as e:
            line = line_of(path, "change", number, e.key)
            place = str(path) if line is None else f"{path}:{line}"
            raise SettingsError(f"{place}: change {number}: {e}", hint=e.hint) from e
    return found
