"""A replay run told to people: its sessions, what went wrong, and what it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy_addon.core.replays.runs import RunSummary, SessionRun, Step, StepOutcome, Totals, count
from proxy_addon.reporting.terminal import coloured, plain_table, printable
from proxy_addon.reporting.words import counted, milliseconds, moment, short, value

LISTED = 50
"""How many sessions, and steps that differ or failed, are listed one by one."""


def print_run(console: Console, of: RunSummary, sessions: Iterable[SessionRun]) -> None:
    """Print a run: its sessions, what went wrong, and what it came to."""
    shown = _Shown()
    for session in sessions:
        shown.add(session)
    if shown.sessions:
        console.print(_sessions_table(shown.sessions))
        if shown.others:
            console.print(f"… and {counted(shown.others, 'session')} more; --json has them all", markup=False)
        console.print()
    _print_trouble(console, shown)
    _print_summary(console, of)
    for remark, number in shown.remarks.most_common(LISTED):
        console.print(Text.assemble(f"  {counted(number, 'step')} ", printable(remark)), soft_wrap=True)


def print_runs(console: Console, summaries: Iterable[RunSummary]) -> None:
    """Print runs as a table."""
    table = plain_table("run", "started (UTC)")
    table.add_column("target")
    for name in ("speed", "timestamps", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("sent", *_COUNTED):
        table.add_column(name, justify="right")
    table.add_column("drift p95", justify="right")
    for each in summaries:
        run, totals = each.run, each.totals
        table.add_row(
            run.id,
            moment(run.started_at),
            printable(run.target),
            run.speed,
            run.timestamps,
            coloured(totals.verdict),
            str(totals.sent),
            *_numbers(totals),
            milliseconds(each.drift_ms.p95) or "-",
        )
    console.print(table)


_COUNTED = tuple(outcome.value for outcome in StepOutcome)


def _sessions_table(sessions: Iterable[SessionRun]) -> Table:
    table = plain_table("session", "new ID", "verdict")
    table.add_column("steps", justify="right")
    for name in _COUNTED:
        table.add_column(name, justify="right")
    table.add_column("remark", overflow="fold")
    for session in sessions:
        totals = count(session.steps)
        table.add_row(
            session.source,
            printable(short(session.new_session_id), "-"),
            coloured(session.verdict),
            str(totals.recorded),
            *_numbers(totals),
            printable(session.reason),
        )
    return table


class _Shown:
    """What is told one by one of a run: a screen's worth, those first that did not go as recorded."""

    def __init__(self) -> None:
        self.others = 0
        self.trouble: list[tuple[SessionRun, Step]] = []
        self.more_trouble = 0
        self.remarks: Counter[str] = Counter()  # of steps that went well; those that did not are listed with theirs
        self._odd: list[SessionRun] = []
        self._even: list[SessionRun] = []

    def add(self, session: SessionRun) -> None:
        fine = session.verdict is StepOutcome.SAME
        kept = self._even if fine else self._odd
        if len(kept) < LISTED:
            kept.append(session)
        else:
            self.others += 1
        for step in session.steps:
            if step.outcome in (StepOutcome.DIFFERENT, StepOutcome.FAILED):
                if len(self.trouble) < LISTED:
                    self.trouble.append((session, step))
                else:
                    self.more_trouble += 1
            elif step.outcome is StepOutcome.SAME and step.reason and len(self.remarks) < _REMARKS:
                self.remarks[step.reason] += 1

    @property
    def sessions(self) -> list[SessionRun]:
        return [*self._odd, *self._even]


_REMARKS = 1000


def _print_trouble(console: Console, shown: _Shown) -> None:
    for session, step in shown.trouble:
        line = Text.assemble(session.source, f" #{step.seq} ", printable(step.event_type, "(no event type)"), " ")
        line.append_text(coloured(step.outcome))
        for difference in step.differences:
            line.append(f" {difference.where}: {_side(difference.a)} -> {_side(difference.b)}")
        if step.reason:
            line.append(": ").append_text(printable(step.reason))
        console.print(line, soft_wrap=True)
    if shown.more_trouble:
        console.print(f"… and {shown.more_trouble} more; --json has them all", markup=False)
    if shown.trouble:
        console.print()


def _print_summary(console: Console, of: RunSummary) -> None:
    run, totals = of.run, of.totals
    console.print(
        Text.assemble(
            f"run {run.id} to ",
            printable(run.target),  # no markup: it may have the brackets of an IPv6 address
            ": ",
            coloured(totals.verdict),
            f"; {counted(of.sessions, 'session')}, {counted(totals.recorded, 'step')} recorded",
        ),
        soft_wrap=True,
    )
    console.print(
        f"  {totals.sent} sent ({totals.same} same, {totals.different} different, {totals.failed} failed),"
        f" {totals.skipped} skipped"
    )
    for name, values in (("drift", of.drift_ms), ("latency", of.latency_ms)):
        if values.max is not None:
            console.print(
                f"  {name} p50 {milliseconds(values.p50)}, p95 {milliseconds(values.p95)}, max {milliseconds(values.max)}"
            )


def _numbers(totals: Totals) -> list[str]:
    return [str(getattr(totals, name)) for name in _COUNTED]


def _side(side: str | int | None) -> str:
    return printable(value(side)).plain
