"""A replay run as one HTML page, which needs no other file or host and can be read without its script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from proxy_addon.core.replays.runs import RunSummary, SessionRun, Step, StepOutcome, count
from proxy_addon.reporting.pages import scatter
from proxy_addon.reporting.pages.rendering import document
from proxy_addon.reporting.pages.scatter import Chart, Scatter

ROWS = 2000
"""How many steps are listed at most; steps that are the same are left out first."""

_LEVELS = {"same": "pass", "different": "fail", "failed": "fail", "skipped": "warn"}
_ICONS = {"same": "pass", "different": "error", "failed": "error", "skipped": "warning"}


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What the page of a run shows.

    Attributes:
        summary: The run with its totals.
        sessions: Returns an iterable of its sessions; may be called several times.
        latency: Latencies over the time of sending; None if none was measured.
        drift: Drifts over the time of sending; None if none was measured.
        shows_same: Whether steps that are the same are listed too.
        is_whole: Whether all steps are listed.
    """

    summary: RunSummary
    sessions: Callable[[], Iterable[SessionRun]]
    latency: Chart | None
    drift: Chart | None
    shows_same: bool
    is_whole: bool

    def listed(self) -> Iterator[tuple[SessionRun, list[Step]]]:
        """Yield the sessions with steps to list, and these steps."""
        left = ROWS
        for session in self.sessions():
            shown = _shown(session, shows_same=self.shows_same)[:left]
            if shown:
                yield session, shown
            left -= len(shown)
            if left <= 0:
                return


def page(
    of: RunSummary,
    sessions: Callable[[], Iterable[SessionRun]],
    *,
    runs: str | None = None,
    comparison: Callable[[SessionRun], str | None] = lambda session: None,
) -> Iterator[str]:
    """Yield the page of a run in pieces.

    Args:
        sessions: Returns an iterable of the sessions of the run; may be called several times.
        runs: The address of the list of runs; None if there is none to link to.
        comparison: Returns the address of the comparison of a session with its replay; None if there is none.
    """
    return document(
        "run.html",
        title=f"Replay {of.run.id}: {of.verdict.value}",
        entry="document_page.js",
        steps=[*([] if runs is None else [("Sessions", "/")]), ("Runs", runs), (of.run.id, None)],
        is_served=runs is not None,
        page=run_page(of, sessions),
        comparison=comparison,
        count=count,
        outcomes=list(StepOutcome),
        levels=_LEVELS,
        icons=_ICONS,
        chart=scatter,
        most=ROWS,
    )


def run_page(of: RunSummary, sessions: Callable[[], Iterable[SessionRun]]) -> RunPage:
    """Return what the page of a run shows; iterates over its sessions once."""
    latencies, drifts = Scatter(), Scatter()
    shows_same = of.totals.recorded <= ROWS
    steps = listed = 0
    for session in sessions():
        steps += len(session.steps)
        listed += len(_shown(session, shows_same=shows_same))
        for step in session.steps:
            if step.sent_at is not None:
                at_s = (step.sent_at - of.run.started_at).total_seconds()
                if step.latency_ms is not None and step.status is not None:
                    latencies.add(at_s, step.latency_ms, f"s{step.status // 100}")
                if step.drift_ms is not None:
                    drifts.add(at_s, step.drift_ms, "drift")
    return RunPage(
        summary=of,
        sessions=sessions,
        latency=latencies.chart("Latency in ms over the time of sending, coloured by status: 2xx, 3xx and 4xx, 5xx"),
        drift=drifts.chart("Drift in ms: how late a step was sent, over the time of sending"),
        shows_same=shows_same,
        is_whole=steps == listed <= ROWS,
    )


def _shown(session: SessionRun, *, shows_same: bool) -> list[Step]:
    return [step for step in session.steps if shows_same or step.outcome is not StepOutcome.SAME]
