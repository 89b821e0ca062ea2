"""``sessiontape sessions``: the list."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import filter_options
from proxy_addon.cli.options import config_option, json_option, store_option
from proxy_addon.core.sessions import FindingCounts, Session, SessionState
from proxy_addon.reporting.documents import print_json, session_document

if TYPE_CHECKING:
    from rich.table import Table

    from storage.sessions import Filters

STATE_STYLES = {
    SessionState.OPEN: "cyan",
    SessionState.COMPLETED: "green",
    SessionState.ENDED: "green",
    SessionState.EXPIRED: "yellow",
    SessionState.FAILED: "red",
    SessionState.PARTIAL: "yellow",
}
_ID_SHOWN = 12


@click.command()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N alone.")
@filter_options
@config_option
@json_option
@store_option
def sessions(*, limit: int | None, filters: Filters, config: Path | None, as_json: bool, store_url: str) -> None:
    """List recorded sessions, newest first."""
    # Not at the top: --help does without the database.
    from proxy_addon.core.judging.sessions import unclosed_counts  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415
    from storage import sessions as stored  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    unclosed = unclosed_counts(settings.load(config))
    now = datetime.now(UTC)
    with reading(store_url) as db:
        found = list(stored.newest(db, filters, now=now, limit=limit))
    if as_json:
        print_json([session_document(session, now, unclosed) for session in found])
    elif found:
        console().print(_table(found, now, unclosed))
    else:
        click.echo("no sessions" if filters != type(filters)() else "no sessions yet", err=True)


def finding_counts(counts: FindingCounts) -> str:
    """Return counts of findings as a word or three; empty where there are none."""
    named = ((counts.error, "E"), (counts.warning, "W"), (counts.info, "I"))
    return " ".join(f"{number}{letter}" for number, letter in named if number)


def _table(found: list[Session], now: datetime, unclosed: FindingCounts) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from proxy_addon.reporting.terminal import printable  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("started (UTC)", no_wrap=True)
    table.add_column("lasted", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("events", justify="right")
    table.add_column("findings", no_wrap=True)
    table.add_column("player", overflow="ellipsis", no_wrap=True)
    table.add_column("media", overflow="ellipsis", no_wrap=True)
    table.add_column("session ID", no_wrap=True)
    table.add_column("recording", overflow="ellipsis", no_wrap=True)
    for session in found:
        state = session.state(now)
        table.add_row(
            session.id,
            f"{session.started_at:%Y-%m-%d %H:%M:%S}",
            duration((session.last_event_at - session.started_at).total_seconds()),
            Text(state.value + (" (retry)" if session.retry_of else ""), style=STATE_STYLES[state]),
            str(session.events),
            finding_counts(session.finding_counts(now, unclosed)),
            printable(session.player_name, "-"),
            printable(session.media_name or session.media_id, "-"),
            printable(_short(session.session_id), "-"),
            printable(session.recording, "-"),
        )
    return table


def duration(seconds: float) -> str:
    """Return a time span as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(session_id: str | None) -> str | None:
    return f"{session_id[:_ID_SHOWN]}…" if session_id is not None and len(session_id) > _ID_SHOWN + 1 else session_id
