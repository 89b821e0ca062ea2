"""``sessiontape show``: one session as a timeline."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from proxy_addon.cli.documents import exchange_documents, print_json, session_document
from proxy_addon.cli.options import json_option, store_option


@click.command()
@click.argument("name", metavar="SESSION")
@click.option("--bodies", is_flag=True, help="Show the bodies too; --json always has them.")
@json_option
@store_option
def show(*, name: str, bodies: bool, as_json: bool, store_url: str) -> None:
    """Show one session as a timeline.

    SESSION is its id, its back-end session ID, or the begin of either if no other begins so.
    """
    # Not at the top: --help does without the database.
    from proxy_addon.cli.output import console  # noqa: PLC0415
    from proxy_addon.cli.stores import reading  # noqa: PLC0415
    from proxy_addon.cli.timeline import print_session, print_session_with_bodies  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415
    from storage.exchanges import of_session  # noqa: PLC0415

    now = datetime.now(UTC)
    with reading(store_url) as db:
        session = sessions.find(db, name)
        exchanges = of_session(db, session.id)
        if as_json:
            print_json(
                {
                    "session": session_document(session, now),
                    "exchanges": list(exchange_documents(exchanges)),
                    "findings": [],
                }
            )
        elif bodies:
            print_session_with_bodies(console(), session, exchanges, now)
        else:
            print_session(console(), session, exchanges, now)
