"""``sessiontape demo``: the whole loop with real processes."""

from __future__ import annotations

import click


@click.command()
def demo() -> None:
    """See the whole loop with real processes: record, list, show, check, replay.

    Takes a quarter of a minute, uses free ports of this machine alone and a store of its own, and leaves nothing behind.
    """
    # Not at the top: --help does without what the demo needs.
    from proxy_addon.demo import tour  # noqa: PLC0415

    tour.run(click.echo)
