"""``sessiontape addon-path``: the file that ``mitmdump -s`` loads."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
def addon_path() -> None:
    """Print the path of the addon file, for 'mitmdump -s', 'mitmproxy -s' and 'mitmweb -s'."""
    click.echo(Path(__file__).resolve().parents[1] / "addon.py")
