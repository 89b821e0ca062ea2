"""Work on pieces on the workers of a Dask cluster. This is the only module that knows Dask."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import count, islice

import distributed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.utils import LoopRunner
from distributed.versions import VersionMismatchWarning

from proxy_addon.engines.here import deaf, processors
from proxy_addon.errors import SessiontapeError, SettingsError, StorageUnavailable

_AHEAD = 2
"""How many pieces of work wait for each thread of a worker, so that none is idle and few results are kept."""
_FEWEST = 2
"""How many workers a cluster on this machine has at least."""
_ANSWER_S = 10
"""How long a scheduler may take to answer, and a worker to come when it has none."""
_LOOK_S = 10
"""How long to wait for a piece of work before looking whether there are workers left."""
_ITSELF = "workers reach the store themselves, so its URL has to work on their machines"
_PACKAGE = "sessiontape"


def on_workers[Piece, Part](
    work: Callable[[Piece], Part], pieces: Iterable[Piece], scheduler: str | None = None
) -> Iterator[Part]:
    """Yield what becomes of each piece, in their order. A piece whose worker dies is worked on by another one.

    Args:
        work: Is sent to the workers, like the pieces; what becomes of them is sent back. It may be done twice.
        scheduler: The address of a scheduler, such as ``tcp://host:8786``; None to start workers on this machine, which
            end with the last piece.

    Raises:
        SettingsError: The scheduler cannot be reached, or its workers cannot do this work, or are gone.
        SessiontapeError: As the work raises it.
    """
    with _connected(scheduler) as client:
        run = uuid.uuid4().hex  # Dask would take equal work for work that is done
        numbers = count()
        remaining = iter(pieces)
        there = work if scheduler is None else _Elsewhere(work)

        def submitted(number: int) -> Iterator[distributed.Future[Part]]:
            for piece in islice(remaining, number):
                yield client.submit(there, piece, key=f"{_PACKAGE}-{run}-{next(numbers)}", pure=False)

        running = deque(submitted(max(_FEWEST, sum(client.nthreads().values())) * _AHEAD))
        while running:
            yield _result(client, running.popleft(), scheduler)
            running.extend(submitted(1))


@dataclass(frozen=True)
class _Elsewhere[Piece, Part]:
    """Work on another machine; its errors say on which."""

    work: Callable[[Piece], Part]

    def __call__(self, piece: Piece) -> Part:
        try:
            return self.work(piece)
        except SessiontapeError as e:
            hint = _ITSELF if isinstance(e, StorageUnavailable) else e.hint
            raise type(e)(f"the Dask worker at {distributed.get_worker().address}: {e}", hint=hint) from e


def _result[Part](client: distributed.Client, work: distributed.Future[Part], scheduler: str | None) -> Part:
    # Fetched once, and not begun again with each look: to send it may take longer.
    assert client.loop is not None
    loop = client.loop.asyncio_loop  # type: ignore[attr-defined]  # as loops have that run in a thread
    fetched: Future[Part] = asyncio.run_coroutine_threadsafe(client.gather(work, asynchronous=True), loop)
    try:
        while not wait([fetched], timeout=_LOOK_S).done:
            _require_workers(client, scheduler)
        return fetched.result()
    except distributed.KilledWorker as e:
        raise SettingsError(
            "a piece of work was given up, because several workers died of it",
            hint="their logs say why; most often, they have too little memory",
        ) from e
    except (FutureCancelledError, CommClosedError) as e:
        raise SettingsError("the connection to the Dask scheduler was lost", hint="its log may say why") from e


@contextmanager
def _connected(scheduler: str | None) -> Iterator[distributed.Client]:
    if scheduler is None:
        # Encrypted, with certificates made for this run: whoever else may log in here cannot give work to the workers.
        with (
            tempfile.TemporaryDirectory(prefix="sessiontape-") as folder,
            _thread() as thread,
            distributed.LocalCluster(
                n_workers=max(_FEWEST, processors()),
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,
                dashboard_address=None,
                silence_logs="CRITICAL",
                local_directory=folder,
                loop=thread.loop,
                # Without an address, the scheduler would serve pages at the port of the dashboard.
                scheduler_kwargs={"local_directory": folder, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    _require_scheduler(scheduler)
    for name in ("distributed", "distributed.client"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters, we say ourselves
    with warnings.catch_warnings():
        # Other versions of Dask are worth a warning, but not those of what it would use as well.
        warnings.filterwarnings("ignore", r"(?s)(?!.*\b(?:dask|distributed)\b)", VersionMismatchWarning)
        client = distributed.Client(scheduler, timeout=_ANSWER_S, set_as_default=False)
    with client:
        _require_workers(client, scheduler)
        _require_our_version(client)
        yield client


@contextmanager
def _thread() -> Iterator[LoopRunner]:
    """Give the thread in which a cluster runs, and which starts its workers."""
    runner = LoopRunner()
    with deaf():
        runner.start()
    try:
        yield runner
    finally:
        runner.stop()


def _require_scheduler(scheduler: str) -> None:
    """Check that a scheduler answers; a `distributed.Client` would wait for ever for what is none."""
    try:
        kind = asyncio.run(_kind_of(scheduler))
    except TimeoutError:
        why = f"nothing has answered in {_ANSWER_S} s"
    except (CommClosedError, TypeError, LookupError, MemoryError):  # what becomes of reading what is not Dask
        why = "it is something else that answers"
    except (OSError, ValueError) as e:
        why = str(e)
    else:
        if kind == "Scheduler":
            return
        why = f"it is a Dask {kind.lower()} that answers"
    raise SettingsError(
        f"there is no Dask scheduler at {scheduler}: {why}", hint="start one with 'dask scheduler', or name another"
    )


async def _kind_of(address: str) -> str:
    """Return what answers, in Dask's words, such as ``Scheduler`` or ``Worker``."""
    arguments = distributed.Security().get_connection_args("client")
    if address.startswith("tls:") and arguments.get("ssl_context") is None:
        raise ValueError("the settings of Dask name no certificates (distributed.comm.tls)")
    async with asyncio.timeout(_ANSWER_S), distributed.rpc(address, connection_args=arguments) as server:
        return str((await server.identity())["type"])


def _require_workers(client: distributed.Client, scheduler: str | None) -> None:
    """Check that there are workers, or that one comes soon."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_ANSWER_S)
    if client.nthreads():
        return
    if scheduler is None:
        raise SettingsError("no worker is left on this machine", hint="most often, they have too little memory")
    raise SettingsError(
        f"the Dask scheduler at {scheduler} has no workers", hint=f"start some with 'dask worker {scheduler}'"
    )


def _require_our_version(client: distributed.Client) -> None:
    """Check that all workers have the same version of our package."""
    ours = metadata.version(_PACKAGE)
    for worker, theirs in client.run(metadata.version, _PACKAGE, on_error="return").items():
        if theirs != ours:
            found = theirs if isinstance(theirs, str) else "no"
            raise SettingsError(
                f"the Dask worker at {worker} has {found} {_PACKAGE}, and this is {ours}",
                hint=f"install the same version there: pip install '{_PACKAGE}[scale]=={ours}'",
            )
