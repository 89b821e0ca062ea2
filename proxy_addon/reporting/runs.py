"""Replay runs as JSON documents and as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy_addon.core.replays.runs import Percentiles, RunSummary, SessionRun, Step, StepOutcome, Totals, count
from proxy_addon.reporting.documents import Document, iso, json_list
from proxy_addon.reporting.terminal import printable

LISTED = 50
"""How many sessions, and steps that differ or failed, are listed one by one."""
_STYLES = {
    StepOutcome.SAME: "green",
    StepOutcome.DIFFERENT: "yellow",
    StepOutcome.FAILED: "red",
    StepOutcome.SKIPPED: "dim",
}
_ID_SHOWN = 12


def run_text(of: RunSummary, sessions: Iterable[SessionRun]) -> Iterator[str]:
    """Return a run as printed by ``replay --json`` and ``runs RUN --json``, piece by piece: it may be large."""
    head, totals, drift_ms, latency_ms = _parts(of)
    return json_list(head, "sessions", map(_session, sessions), {**totals, **drift_ms, **latency_ms})


def summary_document(of: RunSummary) -> Document:
    """Return a run as listed by ``runs --json``: the document of a run without its sessions."""
    head, *rest = _parts(of)
    for part in rest:
        head |= part
    return head


def print_run(console: Console, of: RunSummary, sessions: Iterable[SessionRun]) -> None:
    """Print a run: its sessions, what went wrong, and what it came to."""
    shown = _Shown()
    for session in sessions:
        shown.add(session)
    if shown.sessions:
        console.print(_sessions_table(shown.sessions))
        if shown.others:
            console.print(f"… and {_counted(shown.others, 'session')} more; --json has them all", markup=False)
        console.print()
    _print_trouble(console, shown)
    _print_summary(console, of)
    for remark, number in shown.remarks.most_common(LISTED):
        console.print(Text.assemble(f"  {_counted(number, 'step')} ", printable(remark)), soft_wrap=True)


def print_runs(console: Console, summaries: Iterable[RunSummary]) -> None:
    """Print runs as a table."""
    table = _table("run", "started (UTC)", "target", "speed", "timestamps", "verdict")
    for name in ("sent", *_COUNTED):
        table.add_column(name, justify="right")
    table.add_column("drift p95", justify="right")
    for each in summaries:
        run, totals = each.run, each.totals
        table.add_row(
            run.id,
            f"{run.started_at:%Y-%m-%d %H:%M:%S}",
            printable(run.target),
            run.speed,
            run.timestamps,
            _coloured(totals.verdict),
            str(totals.sent),
            *_numbers(totals),
            _ms(each.drift_ms.p95),
        )
    console.print(table)


_COUNTED = tuple(outcome.value for outcome in StepOutcome)


def _parts(of: RunSummary) -> tuple[Document, Document, Document, Document]:
    run = of.run
    head = {
        "id": run.id,
        "target": run.target,
        "started_at": iso(run.started_at),
        "finished_at": None if run.finished_at is None else iso(run.finished_at),
        "speed": _speed(run.speed),
        "timestamps": run.timestamps,
        "verdict": of.totals.verdict.value,
    }
    return (
        head,
        {"totals": asdict(of.totals)},
        {"drift_ms": _percentiles(of.drift_ms)},
        {"latency_ms": _percentiles(of.latency_ms)},
    )


def _speed(speed: str) -> str | int | float:
    if speed == "max":
        return speed
    return int(speed) if speed.isdigit() else float(speed)


def _percentiles(values: Percentiles) -> Document:
    return {name: _rounded(value) for name, value in asdict(values).items()}


def _session(session: SessionRun) -> Document:
    return {
        "source": session.source,
        "session_id": session.session_id,
        "new_session_id": session.new_session_id,
        "verdict": session.verdict.value,
        "reason": session.reason,
        "steps": [_step(step) for step in session.steps],
    }


def _step(step: Step) -> Document:
    return {
        "seq": step.seq,
        "event_type": step.event_type,
        "outcome": step.outcome.value,
        "reason": step.reason,
        "recorded_status": step.recorded_status,
        "status": step.status,
        "sent_at": None if step.sent_at is None else iso(step.sent_at),
        "drift_ms": _rounded(step.drift_ms),
        "latency_ms": _rounded(step.latency_ms),
        "differences": [asdict(difference) for difference in step.differences],
    }


def _rounded(value_ms: float | None) -> float | None:
    """Return milliseconds with microseconds behind the point; more is noise."""
    return None if value_ms is None else round(value_ms, 3)


def _sessions_table(sessions: Iterable[SessionRun]) -> Table:
    table = _table("session", "new ID", "verdict")
    table.add_column("steps", justify="right")
    for name in _COUNTED:
        table.add_column(name, justify="right")
    table.add_column("remark", overflow="fold")
    for session in sessions:
        totals = count(session.steps)
        table.add_row(
            session.source,
            printable(session.new_session_id and _short(session.new_session_id), "-"),
            _coloured(session.verdict),
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
        line.append_text(_coloured(step.outcome))
        for difference in step.differences:
            line.append(f" {difference.where}: {_value(difference.recorded)} -> {_value(difference.replayed)}")
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
            _coloured(totals.verdict),
            f"; {_counted(of.sessions, 'session')}, {_counted(totals.recorded, 'step')} recorded",
        ),
        soft_wrap=True,
    )
    console.print(
        f"  {totals.sent} sent ({totals.same} same, {totals.different} different, {totals.failed} failed),"
        f" {totals.skipped} skipped"
    )
    for name, values in (("drift", of.drift_ms), ("latency", of.latency_ms)):
        if values.max is not None:
            console.print(f"  {name} p50 {_ms(values.p50)}, p95 {_ms(values.p95)}, max {_ms(values.max)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name != "target")
    return table


def _numbers(totals: Totals) -> list[str]:
    return [str(getattr(totals, name)) for name in _COUNTED]


def _coloured(outcome: StepOutcome) -> Text:
    return Text(outcome.value, style=_STYLES[outcome])


def _value(value: str | int | None) -> str:
    return "nothing" if value is None else printable(str(value)).plain


def _short(id: str) -> str:
    return id if len(id) <= _ID_SHOWN else f"{id[:_ID_SHOWN]}…"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
