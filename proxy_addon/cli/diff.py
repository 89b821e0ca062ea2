"""``sessiontape diff``: two sessions side by side."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.options import json_option, store_option
from proxy_addon.core.replays.runs import SessionRun, StepOutcome
from proxy_addon.errors import NotFound
from proxy_addon.reporting.documents import Document, print_json, session_document

if TYPE_CHECKING:
    from proxy_addon.core.replays.aligning import Entry, Pair

_STYLES = {"same": "dim", "changed": "yellow", "moved": "cyan", "only-a": "red", "only-b": "green"}


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", required=False)
@click.option("--run", "run_name", metavar="RUN", help="In place of B: what became of A in this replay run.")
@json_option
@store_option
def diff(*, a: str, b: str | None, run_name: str | None, as_json: bool, store_url: str) -> None:
    """Lay two sessions side by side, aligned by event, or a session and its replay.

    A and B are ids, back-end session IDs, or the begin of either; the replayed session may have been recorded too.
    Exit code 1: something differs.
    """
    # Not at the top: --help does without the database.
    from proxy_addon.core.judging.policy import DEFAULT  # noqa: PLC0415
    from proxy_addon.core.judging.sessions import unclosed_counts  # noqa: PLC0415
    from proxy_addon.core.replays.aligning import Kind, align, entries  # noqa: PLC0415
    from storage import runs, sessions  # noqa: PLC0415
    from storage.exchanges import of_session  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    if (b is None) == (run_name is None):
        raise click.UsageError("name two sessions, or one and --run RUN")
    with reading(store_url) as db:
        one = sessions.find(db, a)
        left = entries(of_session(db, one.id))
        if b is not None:
            other = sessions.find(db, b)
            pairs = align(left, entries(of_session(db, other.id)))
        else:
            other = None
            run = runs.find(db, run_name or "")
            found = next((each for each in runs.sessions(db, run.id) if each.source == one.id), None)
            if found is None:
                raise NotFound(f"session {one.id} is not in run {run.id}", hint=f"see: sessiontape runs {run.id}")
            pairs = list(_replayed(left, found))
    counts = Counter(pair.kind for pair in pairs)
    if as_json:
        now, unclosed = datetime.now(UTC), unclosed_counts(DEFAULT)
        print_json(
            {
                "a": session_document(one, now, unclosed),
                "b": None if other is None else session_document(other, now, unclosed),
                "pairs": [_document(pair) for pair in pairs],
                "counts": {kind.value: counts[kind] for kind in Kind},
            }
        )
    else:
        _print(pairs)
        click.echo(", ".join(f"{counts[kind]} {kind.value}" for kind in Kind))
    sys.exit(0 if counts.total() == counts[Kind.SAME] else 1)


def _replayed(left: Sequence[Entry], found: SessionRun) -> Iterator[Pair]:
    """Yield a session's events beside what became of them in a run."""
    from proxy_addon.core.replays.aligning import Difference, Kind, Pair  # noqa: PLC0415  # as above

    steps = {step.seq: step for step in found.steps}
    for entry in left:
        step = steps.get(entry.seq)
        if step is None or step.outcome is StepOutcome.SKIPPED:
            reason = found.reason if step is None else step.reason
            gone = Difference(where="skipped", a=None, b=reason)
            yield Pair(a=entry, b=None, kind=Kind.ONLY_A, differences=(gone,))
            continue
        differs = [
            Difference(where=each.where, a=_text(each.recorded), b=_text(each.replayed)) for each in step.differences
        ]
        if step.outcome is StepOutcome.FAILED:
            differs.append(Difference(where="answer", a=_text(step.recorded_status), b=step.reason))
        kind = Kind.CHANGED if differs else Kind.SAME
        yield Pair(a=entry, b=replace(entry, status=step.status), kind=kind, differences=tuple(differs))


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _document(pair: Pair) -> Document:
    either = pair.a or pair.b
    return {
        "a": None if pair.a is None else pair.a.seq,
        "b": None if pair.b is None else pair.b.seq,
        "pointer_a": None if pair.a is None else pair.a.pointer,
        "pointer_b": None if pair.b is None else pair.b.pointer,
        "kind": pair.kind.value,
        "event_type": None if either is None else either.event_type,
        "differences": [{"where": each.where, "a": each.a, "b": each.b} for each in pair.differences],
    }


def _print(pairs: Sequence[Pair]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from proxy_addon.reporting.terminal import console, printable  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("# A", "time A", "event", "# B", "time B", "", "what differs"):
        table.add_column(name, justify="right" if name[:1] in ("#", "t") else "left", no_wrap=name != "what differs")
    for pair in pairs:
        either = pair.a or pair.b
        told = "; ".join(f"{each.where}: {_shown(each.a)} -> {_shown(each.b)}" for each in pair.differences)
        table.add_row(
            *_place(pair.a),
            printable(either.event_type if either is not None else None, "(no event type)"),
            *_place(pair.b),
            Text(pair.kind.value, style=_STYLES[pair.kind.value]),
            printable(told),
        )
    console().print(table)


def _place(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "-", "-"
    return f"{entry.seq}{entry.pointer}", "-" if entry.at_s is None else f"{entry.at_s:.3f}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value
