"""``sessiontape diff``: two sessions side by side."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy_addon.cli.options import config_option, json_option, local_option, store_option
from proxy_addon.errors import NotFound


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", required=False)
@click.option("--run", "run_name", metavar="RUN", help="In place of B: what became of A in this replay run.")
@config_option
@json_option
@local_option
@store_option
def diff(
    *,
    a: str,
    b: str | None,
    run_name: str | None,
    config: Path | None,
    as_json: bool,
    local: bool,
    store_url: str,
) -> None:
    """Lay two sessions side by side, aligned by event, or a session and its replay.

    A and B are ids, back-end session IDs, unique prefixes of either, or last; the replayed session may have been recorded
    too. Exit code 1: something differs.
    """
    # Not at the top: --help does without the database.
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.core.replays.aligning import Kind, align, entries, replayed  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.documents import pair_document, session_document  # noqa: PLC0415
    from proxy_addon.reporting.tables import print_pairs  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json, printable, session_heading  # noqa: PLC0415
    from storage import runs, sessions  # noqa: PLC0415
    from storage.exchanges import of_session  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    if (b is None) == (run_name is None):
        raise click.UsageError("name two sessions, or one and --run RUN")
    at = as_of(datetime.now(UTC), settings.load(config))
    with reading(store_url) as db:
        one = sessions.find(db, a)
        left = entries(of_session(db, one.id))
        if b is not None:
            other = sessions.find(db, b)
            pairs = align(left, entries(of_session(db, other.id)))
            beside = session_heading(other, other.state(at), local=local)
        else:
            other = None
            run = runs.find(db, run_name or "")
            found = next((each for each in runs.sessions(db, run.id) if each.source == one.id), None)
            if found is None:
                raise NotFound(f"session {one.id} is not in run {run.id}", hint=f"see: sessiontape runs {run.id}")
            pairs = list(replayed(left, found))
            beside = printable(f"run {run.id} to {run.target}")
    counts = Counter(pair.kind for pair in pairs)
    if as_json:
        print_json(
            {
                "a": session_document(one, at),
                "b": None if other is None else session_document(other, at),
                "pairs": [pair_document(pair) for pair in pairs],
                "counts": {kind.value: counts[kind] for kind in Kind},
            }
        )
    else:
        print_pairs(console(), pairs, session_heading(one, one.state(at), local=local), beside)
        click.echo(", ".join(f"{counts[kind]} {kind.value}" for kind in Kind))
    sys.exit(0 if counts.total() == counts[Kind.SAME] else 1)
