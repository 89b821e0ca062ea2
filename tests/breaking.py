"""Make rules fail, in this process or in a process of the command: ``python -m tests.breaking RULE,RULE check …``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy_addon.core.rules import RULES

ROOT = Path(__file__).parents[1]


@contextmanager
def failing(*ids: str) -> Iterator[None]:
    """Have rules raise ``ZeroDivisionError``; they are frozen, and known by identity in many places."""
    checks = {id: RULES[id].check for id in ids}
    for id in ids:
        object.__setattr__(RULES[id], "check", _fail)
    try:
        yield
    finally:
        for id, check in checks.items():
            object.__setattr__(RULES[id], "check", check)


def command(*ids: str) -> tuple[list[str], dict[str, str]]:
    """Return the beginning of a command line under which these rules fail, and its environment."""
    return [sys.executable, "-m", "tests.breaking", ",".join(ids)], {**os.environ, "PYTHONPATH": str(ROOT)}


def _fail(*_: object) -> None:
    raise ZeroDivisionError("on purpose")


if __name__ == "__main__":
    from proxy_addon.cli import main
    from proxy_addon.recording import ingesting
    from proxy_addon.testing.ahead import Spare

    broken = sys.argv.pop(1).split(",")
    with failing(*broken):
        ingesting.spawn = Spare().spawn  # it has them broken, too
        main()
