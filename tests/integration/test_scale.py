"""Audits, checks and exports that are spread over processes or over the workers of a Dask cluster: the result stays the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from proxy_addon.cli import cli
from proxy_addon.cli.engines import Engine, worked
from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.hiding import RAW
from proxy_addon.core.audits.totals import merged
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.errors import SettingsError, StorageUnavailable
from storage import auditing
from storage.engine import Store
from storage.filters import Filters
from storage.opening import reading
from tests.lanes import free_port
from tests.many import fill

_WHY = "the extra 'scale' is installed with Python 3.13 and newer alone"
distributed = pytest.importorskip("distributed", reason=_WHY)
dask = pytest.importorskip("proxy_addon.engines.dask", reason=_WHY)
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 4, 1, tzinfo=UTC)
SIZE = 2_000
QUIET: dict[str, Any] = {
    "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    "silence_logs": "CRITICAL",
}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than people would."""
    monkeypatch.setattr(dask, "_ANSWER_S", 1)
    monkeypatch.setattr(dask, "_LOOK_S", 0.1)


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


@pytest.mark.usefixtures("small_pieces")
def test_checks_comparisons_and_exports_are_the_same_with_an_engine(sqlite_url, migrated_file, scheduler, tmp_path):
    """Sessions come in the same order, and files have the same bytes; the scheduler is on this machine, so SQLite will do."""
    shutil.copy(migrated_file, sqlite_url.removeprefix("sqlite:///"))
    fill(sqlite_url, SIZE)
    run = CliRunner(env={"SESSIONTAPE_STORE": sqlite_url})
    spread = ("--engine", f"dask={scheduler}")

    alone = run.invoke(cli, ["check", "--all", "--json"])
    assert alone.exit_code == 0
    assert len(json.loads(alone.stdout)["sessions"]) > 20
    assert run.invoke(cli, ["check", "--all", "--json", *spread]).stdout == alone.stdout

    compare = [
        "audit",
        "--player",
        "TV Player",
        "--baseline",
        "player=Web Player",
        "--by",
        "content-type",
        "--raw",
        "--json",
    ]
    before, after = (run.invoke(cli, [*compare, *more]) for more in ((), spread))
    assert (before.exit_code, after.exit_code) == (0, 0), after.output
    one, other = (json.loads(each.stdout) for each in (before, after))
    assert one["baseline"]["all"]["compared"] > 20
    assert {**other, "made_at": one["made_at"]} == one

    for folder, more in (("one", ()), ("spread", spread)):
        done = run.invoke(cli, ["export", "--all", "--format", "parquet", "-o", str(tmp_path / folder), *more])
        assert done.exit_code == 0, done.output
    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.parquet")}
    assert len(files) > 5
    assert {path: (tmp_path / "spread" / path).read_bytes() for path in files} == files


def _dies_once(mark: str) -> int:
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path, scheduler):
    marks = [str(tmp_path / str(number)) for number in range(2)]

    assert list(worked(_dies_once, marks, engine=Engine(scheduler=scheduler))) == [7, 7]


def _version(_: str) -> str:
    return "1.0" if multiprocessing.parent_process() is None else "0.9"


def _fails(url: str) -> None:
    raise StorageUnavailable(f"there is no store at {url}", hint="create one")


def test_a_worker_that_cannot_do_the_work_is_named(monkeypatch, scheduler):
    spread = Engine(scheduler=scheduler)
    with pytest.raises(
        StorageUnavailable, match=r"the Dask worker at tcp://127.0.0.1:\d+: there is no store at x"
    ) as e:
        list(worked(_fails, ["x"], engine=spread))
    assert "on their machines" in e.value.hint

    monkeypatch.setattr(dask.metadata, "version", _version)
    with pytest.raises(SettingsError, match=r"worker at tcp://127.0.0.1:\d+ has 0.9 sessiontape, and this is 1.0"):
        list(worked(_fails, ["x"], engine=spread))


@pytest.mark.usefixtures("hurried")
def test_work_ends_when_the_last_worker_is_gone():
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **QUIET) as cluster:

        def pieces() -> Iterator[int]:
            yield from range(9)
            cluster.scale(0)
            yield from range(9)

        work = dask.on_workers(abs, pieces(), cluster.scheduler_address)
        with pytest.raises(SettingsError, match="has no workers"):
            list(work)


def _greet(mail: socket.socket) -> None:
    with mail.accept()[0] as caller:
        caller.sendall(b"220 mail.example ESMTP ready\r\n")


def test_what_is_no_scheduler_is_told(scheduler):
    with distributed.Client(scheduler, set_as_default=False) as client:
        worker = next(iter(client.nthreads()))
    with socket.create_server(("127.0.0.1", 0)) as mail:
        threading.Thread(target=_greet, args=(mail,)).start()
        others = {
            worker: "it is a Dask worker that answers",
            f"tcp://127.0.0.1:{mail.getsockname()[1]}": "it is something else that answers",
            "tls://127.0.0.1:8786": "the settings of Dask name no certificates",
        }
        for address, why in others.items():
            with pytest.raises(SettingsError, match=f"there is no Dask scheduler at {address}: {why}"):
                list(worked(_fails, ["x"], engine=Engine(scheduler=address)))


_SLOW = """
import os, sys
from proxy_addon.engines import dask
from proxy_addon.process import signals
from tests.integration.test_scale import told_when_it_begins

if __name__ == "__main__":
    signals.raise_on_signals()
    try:
        list(dask.on_workers(told_when_it_begins, [sys.argv[1]] * 9))
    except signals.Ended as e:
        sys.exit(f"ended by {e.number}")
"""


def told_when_it_begins(pipe: str) -> None:
    Path(pipe).write_bytes(b".")
    time.sleep(1)


def test_workers_on_this_machine_end_with_the_command(tmp_path):
    """A terminal sends Ctrl-C to the workers, too; nothing is printed, and no process is left."""
    script, pipe = tmp_path / "slow.py", tmp_path / "pipe"
    script.write_text(_SLOW, encoding="utf-8")
    os.mkfifo(pipe)
    command = [sys.executable, str(script), str(pipe)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment) as run:
        with pipe.open("rb") as begun:
            assert begun.read(1) == b"."
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=60)  # all of them have this pipe, so it ends with the last one

    assert errors == "ended by 2\n"


@pytest.mark.usefixtures("hurried")
def test_what_cannot_work_is_said_before(monkeypatch, sqlite_url, migrated_file, tmp_path):
    shutil.copy(migrated_file, sqlite_url.removeprefix("sqlite:///"))
    fill(sqlite_url, 100)
    run = CliRunner(env={"SESSIONTAPE_STORE": sqlite_url})

    def refused(error: type[Exception], *arguments: str) -> str:
        result = run.invoke(cli, arguments, standalone_mode=False)
        assert isinstance(result.exception, error), result.output
        return str(result.exception)

    no_scheduler = f"dask=tcp://127.0.0.1:{free_port()}"
    assert "an SQLite file" in refused(SettingsError, "audit", "--engine", "dask=tcp://scheduler.example:8786")
    assert "no Dask scheduler" in refused(SettingsError, "audit", "--engine", no_scheduler)
    for bad in ("spark", "dask=tcp://127.0.0.1:99999"):
        assert "not an engine" in refused(click.UsageError, "audit", "--engine", bad)
    assert "leave out" in refused(click.UsageError, "audit", "--engine", "dask", "--jobs", "2")
    assert "is for --all" in refused(click.UsageError, "check", "last", "--engine", "dask")
    export = ("export", "--all", "-o", str(tmp_path / "made"), "--format")
    assert "leave it out" in refused(click.UsageError, *export, "csv", "--engine", "dask")

    monkeypatch.delitem(sys.modules, "proxy_addon.engines.dask")
    monkeypatch.delattr("proxy_addon.engines.dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "proxy_addon.files.parquet", raising=False)
    monkeypatch.delattr("proxy_addon.files.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    hint = "needs packages that are not installed: in a checkout, pip install '.[scale]'"
    assert refused(SettingsError, "audit", "--engine", "dask") == f"--engine dask {hint}"
    assert refused(SettingsError, *export, "parquet") == f"--format parquet {hint}"
    assert not (tmp_path / "made").exists()


def test_without_an_engine_nothing_of_the_extra_is_imported(sqlite_url, migrated_file, tmp_path):
    shutil.copy(migrated_file, sqlite_url.removeprefix("sqlite:///"))
    fill(sqlite_url, 100)
    script = f"""
import sys
import time
from click.testing import CliRunner
from proxy_addon.cli import cli
for words in ("audit --jobs 1", "check --all", "export --all --format csv -o {tmp_path}/events.csv"):
    assert CliRunner().invoke(cli, words.split()).exit_code == 0
print(sorted({{"dask", "distributed", "duckdb"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"SESSIONTAPE_STORE": sqlite_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"
