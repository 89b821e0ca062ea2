"""How far a replay has got: a line on a terminal's stderr, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from proxy_addon.core.replays.runs import SessionRun, Step, StepOutcome, percentiles
from proxy_addon.reporting.terminal import notes

_LATEST = 1000
"""Steps whose drift is looked at, and whose rate is told."""


class RunProgress:
    """Sessions, requests per second, drift and differences so far; a context manager."""

    def __init__(self, sessions: int) -> None:
        """Prepare.

        Args:
            sessions: How many there are to be sent.
        """
        self._is_on = sys.stderr.isatty()
        self._drifts_ms: deque[float] = deque(maxlen=_LATEST)
        self._times_s: deque[float] = deque(maxlen=_LATEST)
        self._odd = 0
        self._bar = Progress(
            TextColumn("replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("sessions"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=notes(),
            transient=True,
            disable=not self._is_on,
        )
        self._task = self._bar.add_task("", total=sessions)
        self._told_s = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, step: Step) -> None:
        """Take a step into account."""
        if not self._is_on or step.outcome is StepOutcome.SKIPPED:
            return
        now_s = time.monotonic()
        self._times_s.append(now_s)
        if step.drift_ms is not None:
            self._drifts_ms.append(step.drift_ms)
        self._odd += step.outcome is not StepOutcome.SAME
        if now_s - self._told_s >= 0.1:
            self._told_s = now_s
            self._bar.update(self._task, description=self._description(now_s))

    def session_ended(self, session: SessionRun) -> None:
        """Take the end of a session into account."""
        del session
        self._bar.advance(self._task)

    def _description(self, now_s: float) -> str:
        passed_s = now_s - self._times_s[0]
        rate = f"{len(self._times_s) / passed_s:,.0f} requests/s" if passed_s > 0 else ""
        drift = percentiles(self._drifts_ms).p95
        parts = [rate, "" if drift is None else f"drift p95 {drift:.1f} ms", f"{self._odd} not the same"]
        return ", ".join(filter(None, parts))
