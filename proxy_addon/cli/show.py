"""``sessiontape show``: one session as a timeline."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy_addon.cli.options import config_option, json_option, local_option, store_option
from proxy_addon.files import settings


@click.command()
@click.argument("name", metavar="SESSION")
@click.option("--bodies", is_flag=True, help="Show the bodies too; --json always has them.")
@config_option
@json_option
@local_option
@store_option
def show(*, name: str, bodies: bool, config: Path | None, as_json: bool, local: bool, store_url: str) -> None:
    """Show one session as a timeline, with what was found.

    Findings of single exchanges are those of the moment of recording; those of the session as a whole are worked out
    now. 'sessiontape check' judges all of it anew. SESSION is its id, its back-end session ID, a unique prefix of
    either, or last for the newest.
    """
    # Not at the top: --help does without the database.
    from proxy_addon.core.judging.recorded import SessionWatch  # noqa: PLC0415
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.reporting.documents import exchange_documents, finding_document, session_document  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415
    from proxy_addon.reporting.timeline import Timeline  # noqa: PLC0415
    from storage import findings, sessions  # noqa: PLC0415
    from storage.exchanges import of_session  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    now = datetime.now(UTC)
    policy = settings.load(config)
    at = as_of(now, policy)
    # Closed in good order also where a pipe breaks in the middle.
    with reading(store_url) as db, ExitStack() as stack:
        session = sessions.find(db, name)
        found = findings.of_exchanges(db, session.id)
        watch = SessionWatch(session, now, policy, opened_beside=sessions.opened_beside(db, session))
        recorded = stack.enter_context(closing(of_session(db, session.id)))
        exchanges = stack.enter_context(closing(watch.judging(recorded, bodies=False)))
        if as_json:
            shown = list(exchange_documents(exchanges, found))
            whole = watch.judgement().of_session
            print_json(
                {
                    "session": session_document(session, at),
                    "exchanges": shown,
                    "findings": [finding_document(finding) for finding in whole],
                }
            )
        else:
            timeline = Timeline(console(), session, at, local=local)
            timeline.print(exchanges, found, lambda: watch.judgement().of_session, bodies=bodies)
