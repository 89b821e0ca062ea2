"""Work on pieces on the workers of a Dask cluster. This is the only module that knows Dask."""

from __future__ import annotations

import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from itertools import count, islice

import distributed
from distributed.client import FutureCancelledError

from proxy_addon.engines.here import processors
from proxy_addon.errors import SettingsError

_AHEAD = 2
"""How many pieces of work wait for each thread of a worker, so that none is idle and few results are kept."""
_FEWEST = 2
"""How many workers a cluster on this machine has at least."""
_ANSWER_S = 10
"""How long a scheduler may take to answer, and its first worker to come."""
_PACKAGE = "sessiontape"
_IGNORES_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What workers on this machine begin with. A terminal sends Ctrl-C to them, too, but it is for us to end them."""


def on_workers[Piece, Part](
    work: Callable[[Piece], Part], pieces: Iterable[Piece], scheduler: str | None = None
) -> Iterator[Part]:
    """Yield what becomes of each piece, in their order. A piece whose worker dies is worked on by another one.

    Args:
        work: Is sent to the workers, like the pieces; what becomes of them is sent back. It may be done twice.
        scheduler: The address of a scheduler, such as ``tcp://host:8786``; None to start workers on this machine, which
            end with the last piece.

    Raises:
        SettingsError: The scheduler cannot be reached, or its workers cannot do this work.
    """
    with _connected(scheduler) as client:
        run = uuid.uuid4().hex  # Dask would take equal work for work that is done
        numbers = count()
        remaining = iter(pieces)

        def submitted(number: int) -> Iterator[distributed.Future[Part]]:
            for piece in islice(remaining, number):
                yield client.submit(work, piece, key=f"{_PACKAGE}-{run}-{next(numbers)}", pure=False)

        running = deque(submitted(max(_FEWEST, sum(client.nthreads().values())) * _AHEAD))
        while running:
            try:
                part: Part = running.popleft().result()
            except distributed.KilledWorker as e:
                raise SettingsError(
                    "a piece of work was given up, because several workers died of it",
                    hint="their logs say why; most often, they have too little memory",
                ) from e
            except FutureCancelledError as e:
                raise SettingsError("the connection to the Dask scheduler was lost", hint="its log may say why") from e
            yield part
            running.extend(submitted(1))


@contextmanager
def _connected(scheduler: str | None) -> Iterator[distributed.Client]:
    if scheduler is None:
        # Encrypted, with certificates made for this run: whoever else may log in here cannot give work to the workers.
        with (
            tempfile.TemporaryDirectory(prefix="sessiontape-") as folder,
            distributed.LocalCluster(
                n_workers=max(_FEWEST, processors()),
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,
                dashboard_address=None,
                silence_logs="CRITICAL",
                local_directory=folder,
                # Without an address, the scheduler would serve pages at the port of the dashboard.
                scheduler_kwargs={"local_directory": folder, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
                preload=[_IGNORES_CTRL_C],
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=_ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as e:
        raise SettingsError(
            f"there is no Dask scheduler at {scheduler}: {e}", hint="start one with 'dask scheduler', or name another"
        ) from e
    with client:
        _check_workers(client, scheduler)
        yield client


def _check_workers(client: distributed.Client, scheduler: str) -> None:
    """Check that the scheduler has workers, and that these have the same version of our package."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_ANSWER_S)
    if not client.nthreads():
        raise SettingsError(
            f"the Dask scheduler at {scheduler} has no workers", hint=f"start some with 'dask worker {scheduler}'"
        )
    ours = metadata.version(_PACKAGE)
    for worker, theirs in client.run(metadata.version, _PACKAGE, on_error="return").items():
        if theirs != ours:
            found = theirs if isinstance(theirs, str) else "no"
            raise SettingsError(
                f"the Dask worker at {worker} has {found} {_PACKAGE}, and this is {ours}",
                hint=f"install the same version there: pip install '{_PACKAGE}[scale]=={ours}'",
            )
