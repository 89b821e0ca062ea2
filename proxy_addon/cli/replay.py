"""``sessiontape replay``: send recorded sessions to another server."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy_addon.cli.documents import print_json
from proxy_addon.cli.filters import filter_options, require_selection
from proxy_addon.cli.options import SERVER_URL, json_option, store_option
from proxy_addon.core.planning import repeated_starts
from proxy_addon.core.runs import ReplayRun, Step, count
from proxy_addon.core.sessions import Session
from proxy_addon.core.targets import Allowed, parse_allowed
from proxy_addon.core.urls import ServerUrl
from proxy_addon.errors import SettingsError, StorageError
from proxy_addon.replay.pacing import Speed, Timestamps

if TYPE_CHECKING:
    from storage.sessions import Filters


class _Parsed[T](click.ParamType[T]):
    """A value with a parser of its own, which raises a `SettingsError`."""

    def __init__(self, name: str, parse: Callable[[str], T], kind: type[T]) -> None:
        self.name = name
        self._parse = parse
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        if isinstance(value, self._kind):
            return value
        try:
            return self._parse(value)
        except SettingsError as e:
            self.fail(f"{e}; {e.hint}", param, ctx)


class _Seconds(click.ParamType[float]):
    """A finite time above zero."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not (seconds > 0 and math.isfinite(seconds)):
            self.fail(f"{value!r} is no number of seconds above 0", param, ctx)
        return seconds


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All sessions that the filters leave, oldest first.")
@click.option(
    "--target",
    type=SERVER_URL,
    metavar="URL",
    required=True,
    allow_from_autoenv=False,
    help="Where to: http[s]://host[:port][/path]; a path is put in front of the recorded ones.",
)
@click.option(
    "--allow-host",
    "allowed",
    type=_Parsed("HOST", parse_allowed, Allowed),
    metavar="NAME|ADDRESS[:PORT]",
    multiple=True,
    allow_from_autoenv=False,
    help="Allow a target that is not on this machine, or that is a recorded upstream. May be repeated.",
)
@click.option(
    "--speed",
    type=_Parsed("SPEED", Speed.parse, Speed),
    metavar="N|max",
    default="1",
    show_default=True,
    help="A multiple of the recorded pace, or as fast as the target answers.",
)
@click.option(
    "--timestamps",
    type=_Parsed("TIMESTAMPS", Timestamps.parse, Timestamps),
    metavar="now|keep|shift:SECONDS",
    default="now",
    show_default=True,
    help="now: each session's start gets its time of sending, its other times move along.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    default=8,
    show_default=True,
    help="Sessions that run side by side at most.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=_Seconds(),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="How long each answer may take, connecting included.",
)
@click.option("--insecure", is_flag=True, allow_from_autoenv=False, help="Do not check the target's certificate.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the authorities in this PEM file in place of the system's.",
)
@filter_options
@json_option
@store_option
def replay(
    *,
    names: tuple[str, ...],
    everything: bool,
    target: ServerUrl,
    allowed: tuple[Allowed, ...],
    speed: Speed,
    timestamps: Timestamps,
    concurrency: int,
    timeout_s: float,
    insecure: bool,
    ca: Path | None,
    filters: Filters,
    as_json: bool,
    store_url: str,
) -> None:
    """Send recorded sessions to another server and compare its answers with the recorded ones.

    Only loopback addresses may be replayed to unless --allow-host says so, and no recorded upstream is, wherever it
    runs. SESSION is an id, a back-end session ID, or the begin of either. Exit code 1: an answer differs or is missing.
    """
    # Not at the top: --help does without the HTTP library and the database.
    from proxy_addon.cli.output import console  # noqa: PLC0415
    from proxy_addon.cli.replay_run import carry_out  # noqa: PLC0415
    from proxy_addon.cli.run_documents import print_run, run_document  # noqa: PLC0415
    from proxy_addon.replay.engine import Settings  # noqa: PLC0415
    from proxy_addon.replay.resolving import check_target  # noqa: PLC0415
    from proxy_addon.replay.transport import HttpTransport, tls_context  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415
    from storage.saving import new_id  # noqa: PLC0415

    require_selection(names, filters, everything=everything, verb="replayed")
    tls = tls_context(insecure=insecure, ca=ca)
    chosen, upstreams, servers = _read(store_url, names, filters)
    checked = check_target(target, upstreams=upstreams, servers=servers, allowed=allowed)
    if not chosen:
        click.echo("the filters leave no session: nothing is sent", err=True)
    run = ReplayRun(
        id=new_id(),
        target=str(target),
        started_at=datetime.now(UTC),
        finished_at=None,
        speed=str(speed),
        timestamps=str(timestamps),
    )
    with closing(Store(store_url)) as store, _progress(chosen) as on_step:
        ended = carry_out(
            run,
            chosen,
            skip=repeated_starts(chosen),
            store=store,
            settings=Settings(target=run.target, speed=speed, timestamps=timestamps, concurrency=concurrency),
            transport=HttpTransport(checked, timeout_s=timeout_s, tls=tls),
            on_step=on_step,
        )
    if ended.error is not None and not isinstance(ended.error, StorageError):
        raise ended.error
    if as_json:
        print_json(run_document(ended.run))
    else:
        print_run(console(), ended.run)
    if ended.error is not None:
        raise ended.error
    if ended.signal is not None:
        click.echo("sessiontape: interrupted", err=True)
        sys.exit(128 + ended.signal)
    totals = count(ended.run.steps())
    sys.exit(1 if totals.different or totals.failed else 0)


def _read(
    store_url: str, names: Sequence[str], filters: Filters
) -> tuple[list[Session], list[str], list[tuple[str, str, int]]]:
    """Return the sessions to replay, each once, and the upstreams and servers of all there are."""
    from proxy_addon.cli.stores import reading  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415

    with reading(store_url) as db:
        if names:
            found = {session.id: session for session in (sessions.find(db, name) for name in names)}
        else:
            every = sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True)
            found = {session.id: session for session in every}
        return list(found.values()), sessions.upstreams(db), sessions.servers(db)


@contextmanager
def _progress(sessions: Sequence[Session]) -> Iterator[Callable[[Step], None]]:
    """Show how far it has got, on a terminal alone."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from proxy_addon.cli.output import notes  # noqa: PLC0415

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("replaying", total=sum(session.exchanges for session in sessions))
        yield lambda _: bar.advance(task)
