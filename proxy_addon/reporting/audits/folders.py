"""Names of groups of an audit, for people to read: without the folder, or the beginning, that all of them have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.results import OURS, Audit, Group

_LEAST_SHARED = 12
"""A shorter beginning of names is not left out."""
_LAST_WORD = re.compile(r"[^\W_]*\Z")


def without_beginning(names: Sequence[str | None]) -> list[str | None]:
    """Return names of groups without the beginning that all of them have in common, which leaves room for what differs.

    >>> without_beginning(["living-room-11-03.har", "living-room-11-14.har", "(other groups)"])
    ['…03.har', '…14.har', '(other groups)']
    """
    theirs = {name for name in names if name is not None and name not in OURS}
    shared = os.path.commonprefix([*theirs])  # noqa: RUF071  # of any names
    beginning = _LAST_WORD.sub("", shared, count=1)
    if len(theirs) == 1 or len(beginning) < _LEAST_SHARED:
        return [*names]
    return [f"…{name[len(beginning) :]}" if name in theirs and name is not None else name for name in names]


def without_folder(audit: Audit) -> Audit:
    """Return an audit of files, which may be groups, without the folder that the names of all of these begin with."""
    compared = audit.baseline
    only = () if compared is None else (*compared.only_before, *compared.only_after)
    names = [name for name in (*(group.name for group in audit.groups), *only) if name is not None and name not in OURS]
    shared, _, _ = os.path.commonprefix(names).rpartition("/")  # noqa: RUF071  # cut after a folder
    if audit.by != By.RECORDING or not shared:
        return audit
    folder = f"{shared}/"

    def short(group: Group) -> Group:
        told = tuple(replace(each, text=each.text.replace(f"`{folder}", "`")) for each in group.verdict.sentences)
        return replace(group, name=_after(folder, group.name), verdict=replace(group.verdict, sentences=told))

    return replace(
        audit,
        all=short(audit.all),
        groups=tuple(map(short, audit.groups)),
        baseline=compared
        and replace(
            compared,
            groups=tuple(replace(each, name=_after(folder, each.name)) for each in compared.groups),
            only_before=tuple(_after(folder, name) for name in compared.only_before),
            only_after=tuple(_after(folder, name) for name in compared.only_after),
        ),
    )


def _after(folder: str, name: str | None) -> str | None:
    return None if name is None else name.removeprefix(folder)
