"""``sessiontape ui``: the live pages."""

from __future__ import annotations

import logging
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.options import LISTEN, LISTEN_HELP, UI_LISTEN, config_option, store_option
from proxy_addon.process import logs
from proxy_addon.process.lines import Lines

if TYPE_CHECKING:
    from proxy_addon.ui.server import Opened

logger = logs.logger(__name__)


@click.command()
@click.option("--listen", type=LISTEN, default=UI_LISTEN, show_default=True, help=LISTEN_HELP)
@click.option("--open", "opens", is_flag=True, help="Also open the pages in your browser.")
@config_option
@store_option
def ui(*, listen: tuple[str, int], opens: bool, config: Path | None, store_url: str) -> None:
    """Show sessions in a browser, live.

    Open the printed address. The pages show what is in the store and are updated while players are recorded; they change
    nothing. The store must exist; 'sessiontape record' creates it.

    By default, only this machine can read the pages. If --listen lets other machines in, a reader needs the token at the
    end of the printed address; the connection is not encrypted. Stop the server with Ctrl-C.
    """
    # Imported here because --help must not wait for the server and the database.
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.ui.server import Options, run  # noqa: PLC0415

    def ready(opened: Opened) -> None:
        with suppress(BrokenPipeError):  # the reader of our output has gone, but browsers may still come
            click.echo(f"listening on {opened.url}")
        if opened.is_public:
            logger.warning(PUBLIC)
        if opens:
            # In a thread, because a browser in the terminal would keep the server waiting.
            threading.Thread(target=webbrowser.open, args=(opened.url,), daemon=True).start()

    options = Options(store_url=store_url, listen=listen, policy=settings.load(config))
    log = Lines(sys.stderr, logs.missed_text)
    try:
        with logs.to_lines(log, as_json=False, level=logging.WARNING):
            run(options, ready)
    finally:
        log.close(_LAST_WORDS_S)


PUBLIC = (
    "anyone who can reach the pages and has their whole address, token included, can read what is stored; an address such "
    "as 127.0.0.1:8090 restricts them to this machine"
)
_LAST_WORDS_S = 0.5
"""How long writing the last lines of the log may take."""
