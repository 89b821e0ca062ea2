"""``sessiontape replay``: send recorded sessions to another server."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy_addon.cli.documents import print_pieces
from proxy_addon.cli.filters import filter_options, require_selection
from proxy_addon.cli.options import SERVER_URL, json_option, store_option
from proxy_addon.core.runs import ReplayRun, RunSummary, SessionRun
from proxy_addon.core.sessions import Session
from proxy_addon.core.targets import Allowed, parse_allowed
from proxy_addon.core.timestamps import Timestamps
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SettingsError, StorageError
from proxy_addon.replay.pacing import Speed

if TYPE_CHECKING:
    from proxy_addon.cli.replay_run import Watching
    from proxy_addon.replay.resolving import CheckedTarget
    from storage.engine import Store
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
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted or killed; nothing is sent twice.")
@filter_options
@json_option
@store_option
def replay(
    *,
    names: tuple[str, ...],
    everything: bool,
    target: ServerUrl | None,
    allowed: tuple[Allowed, ...],
    speed: Speed,
    timestamps: Timestamps,
    concurrency: int,
    timeout_s: float,
    insecure: bool,
    ca: Path | None,
    resume: str | None,
    filters: Filters,
    as_json: bool,
    store_url: str,
) -> None:
    """Send recorded sessions to another server and compare its answers with the recorded ones.

    Only loopback addresses may be replayed to unless --allow-host says so, and no recorded upstream is, wherever it
    runs. SESSION is an id, a back-end session ID, or the begin of either. Exit code 1: an answer differs or is missing.
    """
    # Not at the top: --help does without the HTTP library and the database.
    from proxy_addon.cli.replay_run import Planning, carry_out, close_cut_short  # noqa: PLC0415
    from proxy_addon.replay.engine import Settings  # noqa: PLC0415
    from proxy_addon.replay.transport import HttpTransport, tls_context  # noqa: PLC0415
    from storage import runs  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    tls = tls_context(insecure=insecure, ca=ca)
    if resume is None:
        require_selection(names, filters, everything=everything, verb="replayed")
        if target is None:
            raise click.UsageError("say where to: --target URL")
    elif names or everything or target is not None or filters != type(filters)():
        raise click.UsageError("--resume goes on with a run as it was begun: no sessions, filters or --target with it")
    with closing(Store(store_url)) as store:
        run, is_new = _run(store, resume, target, speed, timestamps)
        checked = _checked(store, parse_server_url(run.target), allowed)
        if is_new:
            chosen = _begin(store, run, names, filters, settings={"concurrency": concurrency})
        else:
            close_cut_short(store, run.id)
            chosen = _take_up(store, run)
        if not chosen:
            click.echo(
                "no session is left to be sent" if resume else "the filters leave no session: nothing is sent", err=True
            )
        with _progress(chosen) as watching:
            ended = carry_out(
                run.id,
                store=store,
                settings=Settings(
                    target=run.target,
                    speed=Speed.parse(run.speed),
                    timestamps=Timestamps.parse(run.timestamps),
                    concurrency=concurrency,
                ),
                planning=Planning(),
                transport=HttpTransport(checked, timeout_s=timeout_s, tls=tls),
                watching=watching,
            )
        if ended.error is not None and not isinstance(ended.error, StorageError):
            raise ended.error
        with store.read() as db:
            summary = runs.summary(db, runs.find(db, run.id))
            _print(summary, runs.sessions(db, run.id), as_json=as_json)
    if ended.error is not None:
        raise ended.error
    if ended.signal is not None:
        click.echo(f"sessiontape: interrupted; 'sessiontape replay --resume {run.id}' sends what is left", err=True)
        sys.exit(128 + ended.signal)
    sys.exit(1 if summary.totals.different or summary.totals.failed else 0)


def _run(
    store: Store, resume: str | None, target: ServerUrl | None, speed: Speed, timestamps: Timestamps
) -> tuple[ReplayRun, bool]:
    """Return the run to carry out, and whether it is a new one."""
    from storage import revision, runs  # noqa: PLC0415
    from storage.saving import new_id  # noqa: PLC0415

    with store.read() as db:
        revision.require(db, store)
        if resume is not None:
            return runs.find(db, resume), False
    run = ReplayRun(
        id=new_id(),
        target=str(target),
        started_at=datetime.now(UTC),
        finished_at=None,
        speed=str(speed),
        timestamps=str(timestamps),
    )
    return run, True


def _checked(store: Store, target: ServerUrl, allowed: Sequence[Allowed]) -> CheckedTarget:
    from proxy_addon.replay.resolving import check_target  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415

    with store.read() as db:
        upstreams, servers = sessions.upstreams(db), sessions.servers(db)
    return check_target(target, upstreams=upstreams, servers=servers, allowed=allowed)


def _begin(store: Store, run: ReplayRun, names: Sequence[str], filters: Filters, *, settings: Mapping[str, Any]) -> int:
    """Write a run with the sessions it is about, each once; return how many."""
    from storage import runs, sessions  # noqa: PLC0415

    with store.read() as db:
        named = {session.id: session for session in (sessions.find(db, name) for name in names)}
        found: Iterable[Session] = named.values()
        if not names:
            found = sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True)
        with store.write() as writing:
            runs.begin(writing, run, settings)
            return runs.choose(writing, run.id, ((session.id, session.session_id) for session in found))


def _take_up(store: Store, run: ReplayRun) -> int:
    """Let wait again what an interruption has kept from being sent; return how many sessions are waiting."""
    from storage import runs  # noqa: PLC0415

    with store.write() as db:
        runs.wait_again(db, run.id)
        runs.finish(db, run.id, None)
        return runs.size(db, run.id, waiting=True)


def _print(summary: RunSummary, sessions: Iterable[SessionRun], *, as_json: bool) -> None:
    from proxy_addon.cli.output import console  # noqa: PLC0415
    from proxy_addon.cli.run_documents import print_run, run_text  # noqa: PLC0415

    if as_json:
        print_pieces(run_text(summary, sessions))
    else:
        print_run(console(), summary, sessions)


@contextmanager
def _progress(sessions: int) -> Iterator[Watching]:
    """Show how far it has got, on a terminal alone."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from proxy_addon.cli.output import notes  # noqa: PLC0415
    from proxy_addon.cli.replay_run import Watching  # noqa: PLC0415

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("sessions"), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("replaying", total=sessions)
        yield Watching(on_session=lambda _: bar.advance(task))
