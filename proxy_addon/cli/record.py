"""``sessiontape record``: the recording proxy."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.options import LISTEN, LISTEN_HELP, SECONDS, SERVER_URL, UI_LISTEN, config_option, store_option
from proxy_addon.cli.ui import PUBLIC
from proxy_addon.core.urls import ServerUrl
from proxy_addon.process import logs
from proxy_addon.process.lines import Lines
from proxy_addon.recording.options import (
    DURABILITIES,
    DURABILITY_HELP,
    ENGINE_HELP,
    ENGINES,
    JOURNAL_HELP,
    KEY_FILE_HELP,
    LOSS,
    LOSS_HELP,
    MAX_BODY,
    MAX_BODY_HELP,
    PSEUDONYMISE_HELP,
    REJECT_HELP,
    TIMEOUT_HELP,
    UPSTREAM_TIMEOUT_S,
    WORKERS_HELP,
)

if TYPE_CHECKING:
    from proxy_addon.core.news import News
    from proxy_addon.recording.proxy import Listening

logger = logs.logger(__name__)


@click.command()
@click.option(
    "--upstream",
    type=SERVER_URL,
    metavar="URL",
    help="The real server to forward to: http[s]://HOST[:PORT][/PATH]. Required unless --mode is given.",
)
@click.option("--listen", type=LISTEN, default="127.0.0.1:8080", show_default=True, help=LISTEN_HELP)
@click.option("--name", metavar="NAME", help="Name of the recording; the filter --name of other commands finds it.")
@click.option(
    "--cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Serve https with the certificate and private key in this PEM file instead of one from mitmproxy's own CA.",
)
@click.option(
    "--upstream-timeout",
    type=SECONDS,
    default=UPSTREAM_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help=TIMEOUT_HELP,
)
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default=DURABILITIES[0],
    show_default=True,
    help=DURABILITY_HELP,
)
@click.option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True, help=ENGINE_HELP)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=MAX_BODY,
    show_default=True,
    metavar="BYTES",
    help=MAX_BODY_HELP,
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help=WORKERS_HELP)
@click.option("--journal", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help=JOURNAL_HELP)
@click.option("--on-loss", type=click.Choice(LOSS), default=LOSS[0], show_default=True, help=LOSS_HELP)
@click.option("--reject-invalid", is_flag=True, help=REJECT_HELP)
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Check requests against the rules while recording, or only record them.",
)
@click.option("--pseudonymise", is_flag=True, help=PSEUDONYMISE_HELP)
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=KEY_FILE_HELP)
@config_option
@click.option(
    "--mode",
    "modes",
    multiple=True,
    metavar="SPEC",
    help="Also record in another mode of mitmproxy, such as local:chromium or wireguard. May be repeated.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="OPT=VAL",
    help="Set an option of mitmproxy ('mitmproxy --options' lists them). May be repeated.",
)
@click.option(
    "--live",
    type=click.Choice(("text", "json")),
    help="Print a line on stdout for each start or end of a session and for each finding. On a terminal, text is the "
    "default.",
)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="text",
    show_default=True,
    help="Format of the log on stderr.",
)
@click.option(
    "--metrics",
    type=LISTEN,
    help="Address of two pages: /metrics has counts for Prometheus, and /healthz says whether all is well. HOST:PORT, or "
    "PORT for this machine alone.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=1, max=36_500),
    metavar="N",
    help="Once an hour, delete what was recorded more than N days ago. By default, everything is kept.",
)
@click.option(
    "--ui",
    type=LISTEN,
    is_flag=False,
    flag_value=UI_LISTEN,
    metavar="[HOST:PORT]",
    help=f"Also serve the pages of 'sessiontape ui', by default at {UI_LISTEN}.",
)
@click.option("--quiet", is_flag=True, help="Log only errors, and print live lines only with --live.")
@store_option
def record(
    *,
    upstream: ServerUrl | None,
    listen: tuple[str, int],
    name: str | None,
    cert: Path | None,
    upstream_timeout: float,
    durability: str,
    engine: str,
    max_body: int,
    workers: int,
    journal: Path | None,
    on_loss: str,
    reject_invalid: bool,
    check: bool,
    pseudonymise: bool,
    key_file: Path | None,
    config: Path | None,
    modes: tuple[str, ...],
    options: tuple[str, ...],
    live: str | None,
    log_format: str,
    metrics: tuple[str, int] | None,
    keep_days: int | None,
    ui: tuple[str, int] | None,
    quiet: bool,
    store_url: str,
) -> None:
    """Run a proxy that forwards what players send to the real server, and records it.

    Point the player at the printed address instead of the real server's; http and https share the port.

    Stop the proxy with Ctrl-C. It takes no more requests, waits up to four seconds for answers to those in flight,
    answers the rest with 503, and stores everything.

    Exit code: 2 if the proxy could not start, an exchange was lost, or some still wait in the journal; 'db drain' or
    the next 'record' stores these.
    """
    # Imported here because --help must not wait for mitmproxy and the database.
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.files.keys import key_of  # noqa: PLC0415
    from proxy_addon.recording.options import RecordOptions  # noqa: PLC0415
    from proxy_addon.recording.serving import serve  # noqa: PLC0415
    from proxy_addon.ui.process import Beside, require_free  # noqa: PLC0415
    from storage.engine import hide_password  # noqa: PLC0415

    if upstream is None and not modes:
        raise click.UsageError("name the real server with --upstream URL")
    if reject_invalid and not check:
        raise click.UsageError("--reject-invalid needs the rules: leave out --no-check")
    if workers > 1:
        _check_workers(upstream=upstream, modes=modes, pseudonymise=pseudonymise)
    if key_file is not None and not pseudonymise:
        raise click.UsageError("--key-file is the key of tokens: add --pseudonymise")
    recording = RecordOptions(
        upstream=upstream,
        listen=listen,
        modes=modes,
        store_url=store_url,
        name=name,
        durability=durability,
        engine=engine,
        max_body=max_body,
        workers=workers,
        journal=journal,
        stops_on_loss=on_loss == "stop",
        reject_invalid=reject_invalid,
        check=check,
        policy=settings.load(config),
        upstream_timeout_s=upstream_timeout,
        certificate=cert,
        mitmproxy=options,
        metrics=metrics,
        keep_days=keep_days,
        pseudonymiser=Pseudonymiser(key_of(key_file), settings.load_personal(config)) if pseudonymise else None,
    )
    pages = None
    if ui is not None:
        require_free(ui)
        pages = Beside(store_url, ui, config)
    if live is None and not quiet and sys.stdout.isatty():
        live = "text"
    with _printing(quiet=quiet, live_as_json=live == "json", log_as_json=log_format == "json") as output:

        def shown(url: str, is_public: bool) -> None:
            output.put(f"pages are at {url}")
            if is_public:
                logger.warning(PUBLIC)

        def ready(listening: list[Listening]) -> None:
            for address in listening:
                output.put(f"listening on {address.url} -> {address.upstream}, store {hide_password(store_url)}")
            public: dict[str, list[str]] = {}
            for address in listening:
                if address.is_public:
                    public.setdefault(address.restriction, []).append(address.url)
            for restriction, urls in public.items():
                logger.warning(
                    f"anyone who can reach {' or '.join(urls)} can use the proxy; {restriction} restricts it to this machine"
                )
            if pseudonymise:
                same = f"those of every recording with the key in {key_file}" if key_file else "of this recording alone"
                logger.info(f"tokens stand for personal values in what is stored: {same}")
            if pages is not None:
                pages.start(shown)

        try:
            is_complete = serve(recording, ready, _watching(live, output))
        finally:
            if pages is not None:
                pages.end()
    sys.exit(0 if is_complete else 2)  # the log says what is missing


def _check_workers(*, upstream: ServerUrl | None, modes: tuple[str, ...], pseudonymise: bool) -> None:
    """Refuse what several processes cannot do together."""
    if upstream is None or modes:
        raise click.UsageError("--workers is for the reverse proxy alone: leave out --mode")
    if pseudonymise:
        raise click.UsageError(
            "--workers and --pseudonymise do not go together: one process has to know all values of a session"
        )
    if not hasattr(socket, "SO_REUSEPORT"):
        raise click.UsageError("--workers needs a system on which processes can share a port, such as Linux or macOS")


def _watching(live: str | None, output: Lines) -> Callable[[News], None] | None:
    """Return a function that prints news; None if no live lines are wanted."""
    from proxy_addon.reporting.news import TextNews, json_line  # noqa: PLC0415  # not needed for --help

    if live == "json":
        return lambda news: output.put(json_line(news))
    if live is None:
        return None
    text = TextNews()

    def put(news: News) -> None:
        line = text.line(news)
        if line is not None:
            output.put(line)

    return put


@contextmanager
def _printing(*, quiet: bool, live_as_json: bool, log_as_json: bool) -> Iterator[Lines]:
    """Log to stderr, and yield the queue for stdout. Neither blocks the traffic if nobody reads it."""
    output = Lines(sys.stdout, logs.missed_json if live_as_json else logs.missed_text)
    log = Lines(sys.stderr, logs.missed_json if log_as_json else logs.missed_text)
    # Only warnings and worse: mitmproxy logs each connection at level INFO.
    for name in ("mitmproxy", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with logs.to_lines(log, as_json=log_as_json, level=logging.ERROR if quiet else logging.INFO):
            yield output
    finally:
        for lines in (output, log):
            lines.close(_LAST_WORDS_S)


_LAST_WORDS_S = 0.5
"""How long writing the last lines may take."""
