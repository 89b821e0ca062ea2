"""``sessiontape runs``: all replay runs, or one of them."""

from __future__ import annotations

import click

from proxy_addon.cli.options import json_option, local_option, store_option


@click.command()
@click.argument("name", metavar="[RUN]", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List only the newest N.")
@json_option
@local_option
@store_option
def runs(*, name: str | None, limit: int | None, as_json: bool, local: bool, store_url: str) -> None:
    """List replay runs, newest first, or show one of them.

    RUN is the id of a run, a unique prefix of it, or 'last' for the newest.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.reporting.documents import run_text, summary_document  # noqa: PLC0415
    from proxy_addon.reporting.runs import print_run, print_runs  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json, print_pieces  # noqa: PLC0415
    from storage import runs as stored  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    with reading(store_url) as db:
        if name is not None:
            run = stored.find(db, name)
            summary, sessions = stored.summary(db, run), stored.sessions(db, run.id)
            if as_json:
                print_pieces(run_text(summary, sessions))
            else:
                print_run(console(), summary, sessions, with_changed=True)
            return
        summaries = list(stored.newest(db, limit=limit))
    if as_json:
        print_json([summary_document(each) for each in summaries])
    elif summaries:
        print_runs(console(), summaries, local=local)
    else:
        click.echo("no replay runs yet; 'sessiontape replay' starts one", err=True)
