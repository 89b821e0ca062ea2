"""Print replay runs for people: their sessions, what went wrong, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.text import Text

from proxy_addon.core.replays.comparing import untold
from proxy_addon.core.replays.runs import Difference, RunSummary, SessionRun, Step, StepOutcome, Totals, count
from proxy_addon.core.wording import counted
from proxy_addon.reporting.columns import Column, Table
from proxy_addon.reporting.terminal import OUTCOME_STYLES, Screen, coloured, printable
from proxy_addon.reporting.words import change_line, change_name, difference_line, milliseconds, moment, places, zone

LISTED = 50
"""How many sessions, and how many different or failed steps, are listed at most."""


_CHANGED_LISTED = 10
"""How many changes of requests are listed at most."""


def print_run(console: Screen, of: RunSummary, sessions: Iterable[SessionRun], *, with_changed: bool = False) -> None:
    """Print a run: its sessions, what went wrong, and the totals.

    Args:
        with_changed: Whether to print what was changed in the first requests, too.
    """
    shown = _Shown()
    for session in sessions:
        shown.add(session)
    if shown.sessions:
        console.print_table(_sessions_table(shown.sessions))
        if shown.others:
            console.print(f"… and {counted(shown.others, 'session')} more; --json has them all", markup=False)
        console.print()
    if with_changed:
        _print_changed(console, shown, of)
    _print_trouble(console, shown)
    _print_summary(console, of)
    for remark, number in shown.remarks.most_common(LISTED):
        console.print_wrapped(Text.assemble(f"  {counted(number, 'step')} ", printable(remark)))


def print_runs(console: Screen, summaries: Sequence[RunSummary], *, local: bool = False) -> None:
    """Print runs as a table.

    Args:
        local: Whether times are local rather than UTC.
    """
    table = Table(
        Column("run", is_id=True),
        Column(f"started ({zone((each.run.started_at for each in summaries), local=local)})", dropped=5),
        Column("target", least=24),
        Column("steps"),
        Column("speed", is_right=True, dropped=2),
        Column("timestamps", dropped=1),
        Column("drift p95", is_right=True, dropped=3),
        Column("changes", least=16, dropped=4),
    )
    for each in summaries:
        run = each.run
        table.add(
            run.id,
            moment(run.started_at, local=local),
            printable(run.target),
            _steps(each.totals),
            run.speed,
            run.timestamps,
            milliseconds(each.drift_ms.p95) or "-",
            printable(", ".join(dict.fromkeys(map(change_name, each.changes))) or None, "-"),
        )
    console.print_table(table)


_WORST_FIRST = (StepOutcome.FAILED, StepOutcome.DIFFERENT, StepOutcome.SAME, StepOutcome.SKIPPED)


def _steps(totals: Totals) -> Text:
    """Return the number of steps by outcome; the first outcome named is the verdict on these steps."""
    numbers = [(outcome, getattr(totals, outcome.value)) for outcome in _WORST_FIRST]
    words = [Text(f"{number} {outcome.value}", style=OUTCOME_STYLES[outcome]) for outcome, number in numbers if number]
    return Text(", ").join(words) if words else Text("-")


def _sessions_table(sessions: Iterable[SessionRun]) -> Table:
    table = Table(
        Column("session", is_id=True),
        Column("new ID", is_id=True, dropped=1),
        Column("verdict"),
        Column("steps"),
    )
    for session in sessions:
        table.add(
            session.source,
            printable(session.new_session_id, "-"),
            coloured(session.verdict),
            _steps(count(session.steps)),
            below=[printable(session.reason)] if session.reason else [],
        )
    return table


class _Shown:
    """What is listed of a run: a limited number of sessions and steps, first those that did not go as recorded."""

    def __init__(self) -> None:
        self.others = 0
        self.trouble: list[tuple[SessionRun, Step]] = []
        self.more_trouble = 0
        self.changed: list[tuple[SessionRun, Step, Difference]] = []
        self.more_changed = 0
        self.remarks: Counter[str] = Counter()  # only of steps that are the same; others are listed with theirs
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
            for difference in () if step.sent is None else step.sent.differences:
                if len(self.changed) < _CHANGED_LISTED:
                    self.changed.append((session, step, difference))
                else:
                    self.more_changed += 1
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


def _print_changed(console: Screen, shown: _Shown, of: RunSummary) -> None:
    if not shown.changed:
        return
    console.print(Text("Changed in the requests", style="bold"))
    for session, step, difference in shown.changed:
        named = f"{session.source} " if of.sessions > 1 else ""
        line = f"{named}#{step.seq} {step.event_type or '(no event type)'} {difference_line(difference)}"
        console.print_wrapped(Text("  ").append_text(printable(line)), hanging=4)
    if shown.more_changed:
        console.print(f"  … and {shown.more_changed} more; --json has them all", markup=False)
    console.print()


def _print_trouble(console: Screen, shown: _Shown) -> None:
    for session, step in shown.trouble:
        line = Text.assemble(session.source, f" #{step.seq} ", printable(step.event_type, "(no event type)"), " ")
        line.append_text(coloured(step.outcome))
        said = [difference_line(each) for each in step.differences]
        reason = untold(step.reason, step.differences)
        if len(said) > 1:
            console.print_wrapped(line)
            for each in (*said, reason) if reason else said:
                console.print_wrapped(Text("    ").append_text(printable(each)), hanging=6)
            continue
        for each in said:
            line.append(" ").append_text(printable(each))
        if reason:
            line.append(": ").append_text(printable(reason))
        console.print_wrapped(line)
    if shown.more_trouble:
        console.print(f"… and {shown.more_trouble} more; --json has them all", markup=False)
    if shown.trouble:
        console.print()


def _print_summary(console: Screen, of: RunSummary) -> None:
    run, totals = of.run, of.totals
    console.print_wrapped(
        Text.assemble(
            f"run {run.id} to ",
            printable(run.target),  # no markup: it may have the brackets of an IPv6 address
            ": ",
            coloured(of.verdict),
            f"; {counted(of.sessions, 'session')}, {counted(totals.recorded, 'step')} recorded",
        )
    )
    console.print_wrapped(
        f"  {totals.sent} sent ({totals.same} same, {totals.different} different, {totals.failed} failed),"
        f" {totals.skipped} skipped"
    )
    for made in of.changes:
        console.print_wrapped(Text("  ").append_text(printable(f"changed {places(made.places)}: {change_line(made)}")))
    for name, values in (("drift", of.drift_ms), ("latency", of.latency_ms)):
        if values.max is not None:
            of_all = (milliseconds(each) for each in (values.p50, values.p95, values.max))
            console.print_wrapped("  {} p50 {}, p95 {}, max {}".format(name, *of_all))
