"""``sessiontape collector``: a stand-in for the back end."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from proxy_addon.cli.options import LISTEN, LISTEN_HELP, SPEED, config_option, store_option
from proxy_addon.cli.playbacks import attempts
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.wording import counted, visible
from proxy_addon.process.lines import Lines


@click.command()
@click.option("--listen", type=LISTEN, default="127.0.0.1:8081", show_default=True, help=LISTEN_HELP)
@click.option(
    "--from",
    "session",
    metavar="SESSION",
    help="Answer each player as production answered this recorded session: the same statuses, bodies, headers and delays "
    "at the same events, with new session IDs. SESSION is an id, a back-end session ID, a unique prefix of either, 'last', "
    "or a file with one session (see 'sessiontape show --help').",
)
@click.option(
    "--speed",
    type=SPEED,
    metavar="N|max",
    default="1",
    show_default=True,
    help="With --from: delay each answer by the recorded time divided by N; max does not delay them.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="WHERE:ACTION[:WHEN]",
    help="Make some requests fail. WHERE: sessions, events, downloaded, schemas, preflight, any, or an event type such as "
    "ping. ACTION: status=CODE, delay=SECONDS, drop, cut, hang, gone. WHEN: every=N, nth=N, after=N, first=N; by default "
    "always. May be repeated.",
)
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append each request to this file as a line of JSON.",
)
@click.option(
    "--cert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Serve https with the certificate and private key in this PEM file; by default the collector serves http.",
)
@config_option
@store_option
def collector(
    *,
    listen: tuple[str, int],
    session: str | None,
    speed: Speed,
    faults: tuple[str, ...],
    log_path: Path | None,
    cert: Path | None,
    config: Path | None,
    store_url: str,
) -> None:
    """Run a stand-in for the real server, to develop and test against.

    The collector opens sessions, accepts their events and refuses what the protocol does not allow. It keeps nothing
    after it ends. Stop it with Ctrl-C.
    """
    # Imported here because --help must not wait for the HTTP library and the database.
    from proxy_addon.collector.backend import Backend  # noqa: PLC0415
    from proxy_addon.collector.faults import Fault, Faults  # noqa: PLC0415
    from proxy_addon.collector.journal import Journal  # noqa: PLC0415
    from proxy_addon.collector.players import Players  # noqa: PLC0415
    from proxy_addon.collector.server import Address, Collector, serve  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415

    with ExitStack() as files:
        notes = Lines(sys.stderr, lambda number: f"sessiontape: {counted(number, 'line')} left out")
        files.callback(notes.close, _LAST_LINES_S)
        recorded = attempts(store_url, session) if session is not None else ()
        backend = Backend(
            _new_id,
            faults=Faults(Fault.parse(fault) for fault in faults),
            players=Players(
                (each.exchanges for each in recorded),
                new_id=_new_id,
                scheme="http" if cert is None else "https",
                say=lambda line: notes.put(f"sessiontape: {visible(line)}"),
            ),
            speed=speed,
            policy=settings.load(config),
        )
        host, port = listen
        journal = files.enter_context(Journal(log_path)) if log_path is not None else None
        serve(
            lambda: Collector(backend.decide, journal),
            Address(host=host, port=port, certificate=cert),
            ready=_say,
        )


_LAST_LINES_S = 1.0


def _new_id() -> str:
    return secrets.token_hex(32)


def _say(url: str) -> None:
    with suppress(BrokenPipeError):  # the reader of our output has gone, but clients may still come
        click.echo(f"listening on {url}")
