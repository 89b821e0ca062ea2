"""Audits, checks and exports that are spread over processes or over the workers of a Dask cluster: the result stays the same."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.cli.engines import Engine, worked
from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.results import RAW, audit_of
from proxy_addon.core.audits.totals import merged
from proxy_addon.core.judging.policy import DEFAULT
from storage import auditing
from storage.engine import Store
from storage.filters import Filters
from storage.opening import reading
from tests.many import fill

distributed = pytest.importorskip(
    "distributed", reason="the extra 'scale' is installed with Python 3.13 and newer alone"
)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
SIZE = 2_000


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "_EXCHANGES_IN_A_PIECE", 300)


@pytest.fixture
def filled(store: Store) -> str:
    fill(store.url, SIZE)
    return store.url


@pytest.mark.usefixtures("small_pieces")
def test_an_audit_is_the_same_from_one_process_four_and_two_workers(filled, scheduler):
    """To the last byte, on both databases."""
    filters = Filters()
    with reading(filled) as db:
        grouping = auditing.grouping(db, By.PLAYER, filters, NOW)
        to_do = list(auditing.pieces(db, filters, NOW))
    work = auditing.StoreAudit(store_url=filled, filters=filters, policy=DEFAULT, now=NOW, grouping=grouping)

    def written(**where: Any) -> str:
        with closing(worked(work, to_do, **where)) as parts:
            groups = merged(parts)
        audit = audit_of(groups, by=By.PLAYER, now=NOW, source="s", filters=(), plan=None, hide=RAW)
        return json.dumps(audit.document())

    alone = written(jobs=1)
    assert len(to_do) > 5
    assert json.loads(alone)["all"]["exchanges"] >= SIZE
    assert written(jobs=4) == alone
    assert written(engine=Engine(scheduler=scheduler)) == alone


def _dies_once(mark: str) -> int:
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path, scheduler):
    marks = [str(tmp_path / str(number)) for number in range(2)]

    assert list(worked(_dies_once, marks, engine=Engine(scheduler=scheduler))) == [7, 7]
