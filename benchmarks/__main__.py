"""``python -m benchmarks [NAME]... [--size EXCHANGES]``: run the benchmarks, or some of them."""

from __future__ import annotations

import argparse
import importlib

NAMES = ("checking", "recording", "stored", "auditing", "replaying", "pages")


def main() -> None:
    """Run them and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; by default all of them")
    parser.add_argument("--size", type=int, help="for auditing: how many exchanges are the many")
    asked = parser.parse_args()
    for name in asked.names or NAMES:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")
        print(f"── {name}")
        how = {"size": asked.size} if asked.size and name == "auditing" else {}
        for line in importlib.import_module(f"benchmarks.{name}").run(**how):
            print(line, flush=True)


main()
