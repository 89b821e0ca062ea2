"""How far a replay has got, on a terminal."""

from __future__ import annotations

import sys

import pytest

from proxy_addon.core.replays.runs import INTERRUPTED, Step, StepOutcome
from proxy_addon.reporting.progress import RunProgress


def test_after_an_interruption_the_bar_stays_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("proxy_addon.reporting.progress._TOLD_EVERY_S", 0.0)
    progress = RunProgress(4)
    (bar,) = progress._progress.tasks
    progress.step(Step(seq=1, event_type="sessionStart", outcome=StepOutcome.SAME))
    progress.step(Step(seq=2, event_type="play", outcome=StepOutcome.SKIPPED, reason="its body is not JSON"))
    assert bar.completed == 2
    for seq in (3, 4):
        progress.step(Step(seq=seq, event_type="ping", outcome=StepOutcome.SKIPPED, reason=INTERRUPTED))
    assert bar.completed == 2
    assert bar.description.startswith("2/4 steps")
