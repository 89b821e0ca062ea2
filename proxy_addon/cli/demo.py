"""``sessiontape demo``: record, check and replay with real processes."""

from __future__ import annotations

import click


@click.command()
def demo() -> None:
    """Watch a short tour with real processes: record, list, show, check and replay a session.

    The demo takes about 15 seconds. It uses free loopback ports and a temporary store, and leaves nothing behind.
    """
    # Imported here because --help must not wait for the demo's modules.
    from proxy_addon.demo import tour  # noqa: PLC0415

    tour.run(click.echo)
