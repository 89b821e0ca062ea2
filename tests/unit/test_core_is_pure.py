"""The core loads without any library, so that it can be used, and tested, without them."""

from __future__ import annotations

import json
import subprocess
import sys

LIBRARIES = {"aiohttp", "alembic", "click", "mitmproxy", "psycopg", "rich", "sqlalchemy"}
EDGES = {"asyncio", "socket", "sqlite3", "storage"}

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
before = set(sys.modules)  # of the interpreter, or of a tool that watches it
import proxy_addon.core
names = [module.name for module in pkgutil.walk_packages(proxy_addon.core.__path__, "proxy_addon.core.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "loaded": sorted({name.partition(".")[0] for name in set(sys.modules) - before})}))
"""


def test_importing_all_of_the_core_loads_no_library_and_no_edge():
    output = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], check=True, capture_output=True, timeout=60
    ).stdout
    seen = json.loads(output)
    assert "proxy_addon.core.sessions" in seen["imported"]
    assert (LIBRARIES | EDGES) & set(seen["loaded"]) == set()
