"""The progress of a replay or of an audit: a line on stderr if that is a terminal, and otherwise nothing."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from proxy_addon.core.replays.runs import SessionRun, Step, StepOutcome, is_cut, percentiles
from proxy_addon.reporting.terminal import notes

_LATEST = 1000
"""How many of the latest steps count for the drift and the rate."""
_TOLD_EVERY_S = 0.1
_TAKEN = len("replaying ━  00:00:00")
_WIDEST_BAR, _NARROWEST_BAR = 40, 8


class ReadingProgress:
    """How many exchanges, or files, have been read; a context manager."""

    def __init__(self, number: int, what: str = "exchanges") -> None:
        """Prepare the line without printing it.

        Args:
            number: How many there are in all.
            what: What is counted.
        """
        self._progress = Progress(
            TextColumn("reading"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what),
            TimeElapsedColumn(),
            console=notes(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=number)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, number: int) -> None:
        """Count what has been read."""
        self._progress.advance(self._task, number)


class RunProgress:
    """Steps, requests per second, drift and differences so far; a context manager."""

    def __init__(self, steps: int) -> None:
        """Prepare the line without printing it.

        Args:
            steps: The number of all steps, including those that will be skipped.
        """
        self._is_on = sys.stderr.isatty()
        self._steps = steps
        self._done = 0
        self._odd = 0
        self._drifts_ms: deque[float] = deque(maxlen=_LATEST)
        self._times_s: deque[float] = deque(maxlen=_LATEST)
        self._bar = BarColumn()
        self._progress = Progress(
            TextColumn("replaying"),
            self._bar,
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=notes(),
            transient=True,
            disable=not self._is_on,
        )
        self._task = self._progress.add_task("", total=steps)
        self._told_s = 0.0
        self._tell(self._told_s)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, step: Step) -> None:
        """Count a step, and update the line; a step that an interruption left unsent is not counted."""
        is_skipped = step.outcome is StepOutcome.SKIPPED
        if not self._is_on or (is_skipped and is_cut(step.reason)):
            return
        now_s = time.monotonic()
        self._done += 1
        if not is_skipped:
            self._times_s.append(now_s)
            if step.drift_ms is not None:
                self._drifts_ms.append(step.drift_ms)
            self._odd += step.outcome is not StepOutcome.SAME
        if now_s - self._told_s >= _TOLD_EVERY_S or self._done == self._steps:
            self._told_s = now_s
            self._tell(now_s)

    def session_ended(self, session: SessionRun) -> None:
        """Do nothing, because its steps have been counted."""

    def _tell(self, now_s: float) -> None:
        passed_s = now_s - self._times_s[0] if self._times_s else 0.0
        drift = percentiles(self._drifts_ms).p95
        said = [
            f"{self._done:,}/{self._steps:,} steps",
            f"{self._odd:,} not the same",
            f"{len(self._times_s) / passed_s:,.0f} requests/s" if passed_s > 0 else "",
            "" if drift is None else f"drift p95 {drift:.1f} ms",
        ]
        description, self._bar.bar_width = fitted(said, self._progress.console.width - _TAKEN)
        self._progress.update(self._task, completed=self._done, description=description)


def fitted(parts: list[str], width: int) -> tuple[str, int]:
    """Return the text for which there is room, and how wide the bar beside it may be.

    Args:
        parts: Parts of the text, the most important first; the first is always included.
        width: How many cells the text may take beside a bar of one cell.

    >>> fitted(["7/9 steps", "", "0 not the same"], 80)
    ('7/9 steps, 0 not the same', 40)
    >>> fitted(["7/9 steps", "", "0 not the same"], 30)
    ('7/9 steps', 22)
    >>> fitted(["7/9 steps"], 12)
    ('7/9 steps', 1)
    """
    said = ""
    for part in filter(None, parts):
        longer = f"{said}, {part}" if said else part
        if said and len(longer) + _NARROWEST_BAR > width:
            break
        said = longer
    bar = width - len(said) + 1
    return said, min(bar, _WIDEST_BAR) if bar >= _NARROWEST_BAR else 1
