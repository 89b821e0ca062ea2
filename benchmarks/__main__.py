"""``python -m benchmarks [NAME]``: run the benchmarks, or one of them."""

from __future__ import annotations

import importlib
import sys

NAMES = ("checking", "recording", "stored", "replaying", "pages")


def main() -> None:
    """Run them and print what was measured."""
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.exit(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")
        print(f"── {name}")
        for line in importlib.import_module(f"benchmarks.{name}").run():
            print(line, flush=True)


main()
