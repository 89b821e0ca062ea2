"""A real PgBouncer in front of the tests' PostgreSQL: no root, no port. Tests that need one are skipped without it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests import postgres

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
"""None where it is not installed; Debian has it as ``pgbouncer``."""


@contextmanager
def before(server: postgres.Server, **settings: object) -> Iterator[Path]:
    """Run a PgBouncer in front of a server; give the folder of its socket, on the port 6432.

    Args:
        settings: Settings of its configuration beside the address, such as ``pool_mode``.
    """
    assert PROGRAM is not None
    # Not the system's temporary folder, which may be deep: a socket's path has about 100 bytes.
    work = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))
    user = postgres.NOBODY if os.geteuid() == 0 else None
    lines = {"auth_type": "any", "listen_addr": "", "listen_port": 6432, "unix_socket_dir": work} | settings
    try:
        (work / "users.txt").write_text('"postgres" ""\n', encoding="utf-8")
        (work / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.folder} user=postgres\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items()),
            encoding="utf-8",
        )
        postgres.hand_over(work, user)
        with postgres.serving([PROGRAM, work / "pgbouncer.ini"], work, user):
            _await(work)
            yield work
    finally:
        shutil.rmtree(work)


def url(direct: str, folder: Path) -> str:
    """Return the URL of a database by way of a PgBouncer; ``direct`` is the one without."""
    return f"{direct.partition('?')[0]}?host={folder}&port=6432"


def _await(work: Path) -> None:
    deadline = time.monotonic() + postgres.START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(f"postgresql://postgres@/postgres?host={work}&port=6432").close()
            return
        except psycopg.OperationalError as e:
            if time.monotonic() > deadline:
                log = (work / "log").read_text(errors="replace")
                raise RuntimeError(f"PgBouncer does not answer: {e}\n{log}") from e
            time.sleep(0.02)
