"""Stores with the newest schema, in a tenth of the time that its migrations take."""

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from storage.engine import Store


def upgrade(store: Store) -> None:
    """Give a store the newest schema. A SQLite file that is not there yet becomes a copy of one that has it."""
    from storage import migrate  # takes a second

    if store.path is None or store.path.exists():
        migrate.upgrade(store)
    else:
        store.path.write_bytes(_upgraded_file())
        store.path.chmod(0o600)


@cache
def _upgraded_file() -> bytes:
    from storage import migrate

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tape.db"
        with closing(Store(f"sqlite:///{path}")) as store:
            migrate.upgrade(store)
        return path.read_bytes()
