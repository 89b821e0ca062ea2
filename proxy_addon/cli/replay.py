"""``sessiontape replay``: send recorded sessions to another server."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from proxy_addon.cli.filters import filter_options, require_selection
from proxy_addon.cli.options import json_option, store_option
from proxy_addon.cli.replay_options import Options, replay_options
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.runs import ReplayRun, RunSummary, SessionRun, StepOutcome
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.core.urls import parse_server_url
from proxy_addon.errors import StorageError
from proxy_addon.reporting.documents import print_json, print_pieces

if TYPE_CHECKING:
    from proxy_addon.core.replays.changing import Change, Changer
    from proxy_addon.core.replays.plans import SessionPlan
    from proxy_addon.core.sessions import Session
    from proxy_addon.replay.connecting import Proxy
    from proxy_addon.replay.engine import Settings
    from proxy_addon.replay.planner import Planning
    from proxy_addon.replay.resolving import CheckedTarget
    from proxy_addon.replay.transport import HttpTransport
    from storage.engine import Store
    from storage.sessions import Filters


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All sessions that the filters leave, oldest first.")
@replay_options
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option(
    "--learn-noise",
    is_flag=True,
    help="Send each session twice, and print what differs between the answers as --ignore options.",
)
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted or killed; nothing is sent twice.")
@click.option(
    "--report",
    "reports",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.{html,json,xml}",
    multiple=True,
    help="Write a report: a page, the JSON document, or JUnit XML. May be repeated.",
)
@filter_options
@json_option
@store_option
def replay(
    *,
    names: tuple[str, ...],
    everything: bool,
    options: Options,
    dry_run: bool,
    learn_noise: bool,
    resume: str | None,
    reports: tuple[Path, ...],
    filters: Filters,
    as_json: bool,
    store_url: str,
) -> None:
    """Send recorded sessions to another server and compare its answers with the recorded ones.

    Only loopback addresses may be replayed to unless --allow-host says so, and no recorded upstream is, wherever it
    runs. SESSION is an id, a back-end session ID, or the begin of either. Exit code 1: an answer differs or is missing.
    """
    # Not at the top: --help does without the HTTP library and the database.
    from proxy_addon.core.replays.comparing import Noise  # noqa: PLC0415
    from proxy_addon.replay.connecting import make_room  # noqa: PLC0415
    from proxy_addon.replay.engine import Settings  # noqa: PLC0415
    from proxy_addon.replay.run import carry_out, plans_of  # noqa: PLC0415
    from proxy_addon.replay.transport import HttpTransport, tls_context  # noqa: PLC0415
    from proxy_addon.reporting.progress import RunProgress  # noqa: PLC0415
    from proxy_addon.reporting.run_files import check_path, write  # noqa: PLC0415
    from storage import revision, runs  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    for path in reports:
        check_path(path)
    _check_usage(names, filters, options, everything=everything, resume=resume, twice=learn_noise, dry=dry_run)
    tls = tls_context(insecure=options.insecure, ca=options.ca)
    with closing(Store(store_url)) as store:
        with store.read() as db:
            revision.require(db, store)
            run = _new_run(options) if resume is None else runs.find(db, resume)
            stored = None if resume is None else runs.settings(db, run.id)
        checked, proxy = _checked(store, run.target, options)
        # A run of before there were settings to keep has none.
        known = _settings(options) if stored is None else {**_NOTHING_SAID, "key": secrets.token_hex(32), **stored}
        said = known.get("safe")
        changer = _changer(known, is_safe=checked.needed_leave if said is None else said)
        settings = Settings(
            target=run.target,
            speed=Speed.parse(run.speed),
            timestamps=Timestamps.parse(run.timestamps),
            concurrency=options.concurrency,
            noise=Noise.parse(known["ignore"]),
            spread_s=options.spread_s,
        )
        planning = _planning(changer, known)
        transport = HttpTransport(checked, timeout_s=options.timeout_s, tls=tls, proxy=proxy)
        if dry_run or learn_noise:
            with store.read() as db:
                chosen = list(_chosen(db, names, filters))
            if dry_run:
                _print_plans(plans_of(store, chosen, planning), settings, transport, as_json=as_json)
            else:
                _print_noise(plans_of(store, chosen, planning), settings, transport, as_json=as_json)
            return
        make_room(options.concurrency)
        with store.alone(f"run-{run.id}", f"run {run.id}"):
            number = _take_up(store, run) if resume is not None else _begin(store, run, names, filters, known)
            if not number:
                left = "no session is left to be sent" if resume else "the filters leave no session: nothing is sent"
                click.echo(left, err=True)
            with RunProgress(number) as progress:
                ended = carry_out(
                    run.id,
                    store=store,
                    settings=settings,
                    planning=planning,
                    transport=transport,
                    watching=progress,
                )
        if ended.error is not None and not isinstance(ended.error, StorageError):
            raise ended.error
        with store.read() as db:
            summary = runs.summary(db, runs.find(db, run.id))
            _print(summary, runs.sessions(db, run.id), as_json=as_json)
            for path in reports:
                write(path, summary, lambda: runs.sessions(db, run.id))
    _warn_of_unused(changer)
    if ended.error is not None:
        raise ended.error
    if ended.signal is not None:
        click.echo(f"sessiontape: interrupted; 'sessiontape replay --resume {run.id}' sends what is left", err=True)
        sys.exit(128 + ended.signal)
    sys.exit(1 if summary.totals.verdict in (StepOutcome.DIFFERENT, StepOutcome.FAILED) else 0)


def _check_usage(
    names: tuple[str, ...],
    filters: Filters,
    options: Options,
    *,
    everything: bool,
    resume: str | None,
    twice: bool,
    dry: bool,
) -> None:
    if resume is None:
        require_selection(names, filters, everything=everything, verb="replayed")
        if options.target is None:
            raise click.UsageError("say where to: --target URL")
        if twice and dry:
            raise click.UsageError("--learn-noise sends, and --dry-run does not")
        return
    context = click.get_current_context()
    for parameter in context.command.params:
        is_typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if is_typed and parameter.name not in _WITH_RESUME:
            named = "/".join([*parameter.opts, *parameter.secondary_opts])
            named = named if isinstance(parameter, click.Option) else "SESSION"
            raise click.UsageError(f"--resume goes on with a run as it was begun: no {named} with it")


_WITH_RESUME = frozenset(
    {"resume", "reports", "allowed", "concurrency", "spread_s", "timeout_s", "insecure", "ca", "proxy"}
    | {"as_json", "store_url"}
)
"""What does not belong to a run: how fast sessions are begun, how the target is reached, and what is told."""


def _new_run(options: Options) -> ReplayRun:
    from storage.saving import new_id  # noqa: PLC0415

    return ReplayRun(
        id=new_id(),
        target=str(options.target),
        started_at=datetime.now(UTC),
        finished_at=None,
        speed=str(options.speed),
        timestamps=str(options.timestamps),
    )


_NOTHING_SAID: Mapping[str, Any] = MappingProxyType(
    {"spread_equal_ts": False, "ignore": (), "safe": None, "changes": ()}
)


def _settings(options: Options) -> dict[str, Any]:
    """Return what is kept with a run, to go on with it."""
    return {
        "spread_equal_ts": options.spread_equal_ts,
        "ignore": list(options.ignored),
        "safe": options.safe,
        "changes": [dict(change) for change in _changes(options)],
        "key": secrets.token_hex(32),
    }


def _changes(options: Options) -> list[Change]:
    from proxy_addon.core.replays import changing as changes  # noqa: PLC0415
    from proxy_addon.files import changes as changes_file  # noqa: PLC0415

    return [
        *(change for path in options.change_files for change in changes_file.load(path)),
        *map(changes.set_value, options.sets),
        *map(changes.drop_value, options.drops),
        *map(changes.set_header, options.header_sets),
        *map(changes.drop_header, options.header_drops),
    ]


def _changer(known: dict[str, Any], *, is_safe: bool) -> Changer:
    """Return what changes requests; the safe profile comes first, so that what was typed has the last word."""
    from proxy_addon.core.replays.changing import SAFE, Changer  # noqa: PLC0415

    safe = SAFE if is_safe else ()
    return Changer([*safe, *known["changes"]], key=bytes.fromhex(known["key"]), profile=len(safe))


def _planning(changer: Changer, known: dict[str, Any]) -> Planning:
    from proxy_addon.replay.planner import Planning  # noqa: PLC0415

    return Planning(changer=changer, spreads_equal_ts=bool(known["spread_equal_ts"]))


def _warn_of_unused(changer: Changer) -> None:
    for change in changer.unused():
        what = change.get("path") or change.get("name")
        click.echo(f"sessiontape: {change['do']} {what} found nothing to change", err=True)


def _checked(store: Store, target: str, options: Options) -> tuple[CheckedTarget, Proxy | None]:
    from proxy_addon.replay import connecting  # noqa: PLC0415
    from proxy_addon.replay.resolving import check_target  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415

    url = parse_server_url(target)
    proxy = None
    if options.proxy == connecting.FROM_ENVIRONMENT:
        proxy = connecting.proxy_of_environment(url)
        click.echo(f"through {proxy.url}" if proxy else "the environment names no proxy for this target", err=True)
    elif options.proxy is not None:
        proxy = connecting.parse_proxy(options.proxy)
    with store.read() as db:
        upstreams, servers = sessions.upstreams(db), sessions.servers(db)
    checked = check_target(url, upstreams=upstreams, servers=servers, allowed=options.allowed)
    if proxy is None:
        return checked, None
    return checked, connecting.check_proxy(
        proxy, checked, upstreams=upstreams, servers=servers, allowed=options.allowed
    )


def _chosen(db: Any, names: Sequence[str], filters: Filters) -> Iterable[Session]:
    """Return the sessions that were asked for, each once."""
    from storage import sessions  # noqa: PLC0415

    if not names:
        return sessions.newest(db, filters, now=datetime.now(UTC), oldest_first=True)
    return {session.id: session for session in (sessions.find(db, name) for name in names)}.values()


def _begin(store: Store, run: ReplayRun, names: Sequence[str], filters: Filters, known: dict[str, Any]) -> int:
    """Write a run with the sessions it is about; return how many."""
    from storage import runs  # noqa: PLC0415

    with store.read() as db:
        chosen = _chosen(db, names, filters)
        with store.write() as writing:
            runs.begin(writing, run, known)
            return runs.choose(writing, run.id, ((session.id, session.session_id) for session in chosen))


def _take_up(store: Store, run: ReplayRun) -> int:
    """Settle what was cut short, and let wait again what was kept from being sent; return how many sessions wait."""
    from proxy_addon.replay.run import close_cut_short  # noqa: PLC0415
    from storage import runs  # noqa: PLC0415

    close_cut_short(store, run.id)
    with store.write() as db:
        runs.wait_again(db, run.id)
        number = runs.size(db, run.id, waiting=True)
        if number:
            runs.finish(db, run.id, None)
        return number


def _print_plans(plans: Iterator[SessionPlan], settings: Settings, transport: HttpTransport, *, as_json: bool) -> None:
    from proxy_addon.reporting.plans import plan_text, print_plan  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415

    if as_json:
        print_pieces(plan_text(plans, settings, transport.framed))
    else:
        for plan in plans:
            print_plan(console(), plan, settings, transport.framed)


def _print_noise(plans: Iterator[SessionPlan], settings: Settings, transport: HttpTransport, *, as_json: bool) -> None:
    from proxy_addon.replay.run import learn_noise  # noqa: PLC0415

    found = learn_noise(plans, settings, transport)
    if as_json:
        print_json({"ignore": list(found)})
    elif found:
        for where in found:
            click.echo(f"--ignore {shlex.quote(where)}")  # the target chooses names: nothing to paste unquoted
    else:
        click.echo("the answers were the same both times: nothing has to be ignored", err=True)


def _print(summary: RunSummary, sessions: Iterable[SessionRun], *, as_json: bool) -> None:
    from proxy_addon.reporting.runs import print_run, run_text  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415

    if as_json:
        print_pieces(run_text(summary, sessions))
    else:
        print_run(console(), summary, sessions)
