"""A little of each fault is tried in every run of all tests, all of it with ``--all-rounds``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.load import Theatre
from tests.faults.stage import ALL, SOME, Scale, Stage


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An upstream, players, and how much to try; the seed of what is random is printed when the test fails."""
    # Databases are used again, and the journal of one that was emptied must not be found.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    seed = request.config.getoption("--fault-seed") or random.SystemRandom().randrange(1, 1_000_000)
    print(f"--fault-seed {seed}")
    with Theatre() as theatre:
        yield Stage(theatre, tmp_path, scale_of(request.config), random.Random(seed))


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[servers.Cluster]:
    """A PostgreSQL that only the tests of a module use, because they take it away."""
    with servers.cluster() as found:
        yield found


@pytest.fixture
def own_postgres_url(own_postgres: servers.Cluster) -> Iterator[str]:
    """An empty database in it."""
    with own_postgres.server.database() as url:
        yield url


def scale_of(config: pytest.Config) -> Scale:
    return ALL if config.getoption("--all-rounds") else SOME


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "all_rounds: runs only with --all-rounds, because it takes long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-rounds"):
        return
    long = [item for item in items if item.get_closest_marker("all_rounds")]
    items[:] = [item for item in items if item not in set(long)]
    config.hook.pytest_deselected(items=long)
