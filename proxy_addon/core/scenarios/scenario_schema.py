"""Prints the JSON Schema of scenarios, for editors."""

from __future__ import annotations

from proxy_addon.core.fixtures.pretty import pretty
from proxy_addon.core.scenarios.scenario import SCHEMA

if __name__ == "__main__":
    print(pretty(SCHEMA), end="")  # noqa: T201  # for 'make docs'
