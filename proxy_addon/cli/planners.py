"""Make the plans of a replay from the store: in a thread, or for long runs in a process beside the one that sends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection

from proxy_addon.core.changes import Changer
from proxy_addon.core.planning import SessionPlan, plan_session
from storage import exchanges, sessions
from storage.engine import Store

Made = tuple[SessionPlan | None, frozenset[int]]
"""A plan, None where the session is no longer in the store; and which changes have found something so far."""


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How sessions become plans.

    Attributes:
        changer: What is changed in requests.
        spreads_equal_ts: Whether events of one time are moved apart.
    """

    changer: Changer
    spreads_equal_ts: bool = False


class Planner:
    """Makes the plans of sessions, one after the other; can be handed to another process before it has begun."""

    def __init__(self, store_url: str, planning: Planning, skip: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            skip: Reasons not to send a session, by its id.
        """
        self._store_url = store_url
        self._planning = planning
        self._skip = dict(skip)
        self._store: Store | None = None

    def plan(self, source: str) -> Made:
        """Return the plan of a session.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        if self._store is None:
            self._store = Store(self._store_url)
        changer = self._planning.changer
        with self._store.read() as db:
            found = sessions.get(db, [source])
            if not found:
                return None, changer.used
            plan = plan_session(
                found[0],
                exchanges.of_session(db, source),
                skip=self._skip.get(source),
                change=changer,
                spreads_equal_ts=self._planning.spreads_equal_ts,
            )
        return plan, changer.used

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()


@contextmanager
def making(planner: Planner, *, in_process: bool) -> Iterator[Callable[[str], Future[Made]]]:
    """Give a function that has the plan of a session made, in the order it is called.

    Args:
        in_process: In a process of its own, which takes a second to start.
    """
    executor: Executor
    if in_process:
        spawn = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(1, spawn, initializer=_begin_there, initargs=(planner,))
        plan = _plan_there
    else:
        executor = ThreadPoolExecutor(1)
        plan = planner.plan
    try:
        yield lambda source: executor.submit(plan, source)
    finally:
        executor.shutdown(cancel_futures=True)
        planner.close()


_there: list[Planner] = []
"""The planner of a process that makes plans; empty elsewhere."""


def _begin_there(planner: Planner) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the process that sends knows what to do
    _there.append(planner)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _plan_there(source: str) -> Made:
    return _there[0].plan(source)
