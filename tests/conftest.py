"""Fixtures for all tests. Each test has an environment, a store and, where it asks for one, a database of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest

from storage.engine import Store
from tests import postgres as postgresql

# Deadlines measure the machine: a busy one is no bug.
hypothesis.settings.register_profile("sessiontape", deadline=None, max_examples=25)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile("sessiontape")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-version",
        action="store_true",
        help="only what runs on every Python and with the lowest versions: unit tests but those marked, and others marked",
    )
    parser.addoption("--all-rounds", action="store_true", help="tests/faults: as many rounds as 'make faults'")
    parser.addoption("--fault-seed", type=int, help="tests/faults: the seed that a failed test has printed")


def pytest_configure() -> None:
    """Let the processes that tests start hear Ctrl-C: what was started in the background, as by `make test &`, ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_UNIT = Path(__file__).parent / "unit"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import a file without any test that is wanted."""
    if (
        not config.getoption("--every-version")
        or collection_path.suffix != ".py"
        or collection_path.is_relative_to(_UNIT)
    ):
        return None
    return True if "mark.every_version" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--every-version"):
        return
    others = [item for item in items if not _is_for_every_version(item)]
    items[:] = [item for item in items if item not in set(others)]
    config.hook.pytest_deselected(items=others)


def _is_for_every_version(item: pytest.Item) -> bool:
    if item.path.is_relative_to(_UNIT):
        return item.get_closest_marker("one_version") is None
    return item.get_closest_marker("every_version") is not None


@pytest.fixture(scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what programs remember of a user."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, state_folder: Path) -> None:
    """Remove environment variables that would change what the product or libpq does; leave the user's secret alone."""
    for name in os.environ:
        if name.startswith(("SESSIONTAPE_", "PG", "PYTHON")) or name.lower().endswith("_proxy") or name in _COLOUR:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(state_folder))


_COLOUR = {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.Server]:
    """A PostgreSQL of this test process, started when it is first needed."""
    with postgresql.running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: postgresql.Server) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'tape.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A store without a schema, on each engine in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


def _migrate(url: str) -> None:
    from storage import migrate  # takes a second

    with closing(Store(url)) as store:
        migrate.upgrade(store)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "tape.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store with the newest schema, on each engine in turn."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        shutil.copy(request.getfixturevalue("migrated_file"), url.removeprefix("sqlite:///"))
        with closing(Store(url)) as store:
            yield store
        return
    server: postgresql.Server = request.getfixturevalue("postgres")
    with server.database(_migrate) as url, closing(Store(url)) as store:
        yield store
