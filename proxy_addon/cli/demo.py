"""``sessiontape demo``: record, check and replay with real processes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--keep",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the store, the logs and the page in this folder; by default, only the page is kept, in a new temporary folder.",
)
def demo(*, folder: Path | None) -> None:
    """Watch a short tour with real processes: record, list, show, check and replay a session.

    The demo takes about 15 seconds, and uses free loopback ports and a store of its own. It ends with session.html, the
    session as a page, and says where it is.
    """
    # Imported here because --help must not wait for the demo's modules.
    from proxy_addon.demo import tour  # noqa: PLC0415

    tour.run(click.echo, folder)
