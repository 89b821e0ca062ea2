"""``sessiontape replay``: send recorded sessions to another server."""

from __future__ import annotations

import functools
import secrets
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from proxy_addon.cli import replay_sources
from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.options import config_option, json_option, store_option
from proxy_addon.cli.output import while_read
from proxy_addon.cli.replay_options import Options, new_run, replay_options, run_options
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.runs import PROFILE, ReplayRun, RunChange, RunSummary, SessionRun, StepOutcome, Unsent
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import ReplayError, StorageError
from proxy_addon.reporting.words import change_line

if TYPE_CHECKING:
    from proxy_addon.core.replays.plans import SessionPlan
    from proxy_addon.core.replays.sending import SendingOptions
    from proxy_addon.replay.connecting import ProxyUrl
    from proxy_addon.replay.planner import Planning
    from proxy_addon.replay.run import Ended
    from proxy_addon.replay.transport import HttpTransport
    from storage.engine import Store
    from storage.filters import Filters


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@all_options
@replay_options
@click.option("--dry-run", is_flag=True, help="Print what would be sent, but send nothing.")
@click.option(
    "--learn-noise",
    is_flag=True,
    help="Send each session twice and print --ignore options for what differs between the two answers.",
)
@click.option(
    "--resume",
    metavar="RUN",
    help="Continue a run that was interrupted or killed: send the sessions of which nothing was sent.",
)
@click.option(
    "--report",
    "reports",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.{html,json,xml}",
    multiple=True,
    help="Write a report: an HTML page, the JSON document, or JUnit XML. May be repeated.",
)
@config_option
@filter_options
@json_option
@store_option
def replay(
    *,
    names: tuple[str, ...],
    everything: bool,
    allow_empty: bool,
    config: Path | None,
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

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last' for the newest, or a file (see
    'sessiontape show --help'). The run of a file is kept nowhere: use --report. A replay goes only to loopback addresses,
    and never to a recorded upstream, unless --allow-host names the host.

    Exit code: 1 if an answer differs or is missing, else 0.
    """
    # Imported here because --help must not wait for the HTTP library and the database.
    from proxy_addon.core.replays.changing import host_of  # noqa: PLC0415
    from proxy_addon.core.replays.comparing import Noise  # noqa: PLC0415
    from proxy_addon.core.replays.sending import SendingOptions  # noqa: PLC0415
    from proxy_addon.replay import preparing  # noqa: PLC0415
    from proxy_addon.replay.transport import HttpTransport, tls_context  # noqa: PLC0415
    from proxy_addon.reporting.run_files import check_path  # noqa: PLC0415
    from storage import runs  # noqa: PLC0415

    for path in reports:
        check_path(path)
    _check_usage(names, filters, options, everything=everything, resume=resume, twice=learn_noise, dry=dry_run)
    tls = tls_context(insecure=options.insecure, ca=options.ca)
    with replay_sources.opened(names, store_url) as source:
        store = source.store
        chosen = preparing.Chosen(names=source.names, filters=filters)
        with store.read() as db:
            if everything and not allow_empty:
                require_any(db, filters)
            run = new_run(options) if resume is None else runs.find(db, resume)
            kept = run_options(options, config) if resume is None else runs.options(db, run.id)
        kept = replace(kept, key=kept.key or secrets.token_hex(32))
        url = parse_server_url(run.target)
        through = _proxy(url, options.proxy)
        refused: ReplayError | None = None
        try:
            target, proxy = preparing.checked(
                [store, *source.beside], url, options.allowed, through, host_of(kept.changes)
            )
        except ReplayError as e:
            if not dry_run:
                raise
            refused, target, proxy = e, preparing.unchecked(url), None
        planning = preparing.planning_of(kept, is_safe=target.needed_leave)
        sending = SendingOptions(
            target=run.target,
            speed=Speed.parse(run.speed),
            timestamps=Timestamps.parse(run.timestamps),
            concurrency=options.concurrency,
            noise=Noise.parse(kept.ignore),
            spread_s=options.spread_s,
        )
        transport = HttpTransport(target, timeout_s=options.timeout_s, tls=tls, proxy=proxy)
        changes = preparing.changes_of(kept, planning)
        if dry_run:
            _print_plans(preparing.plans_of(store, chosen, planning), sending, transport, changes, as_json=as_json)
            if refused is not None:
                raise type(refused)(f"without --dry-run this replay would be refused: {refused}", hint=refused.hint)
        elif learn_noise:
            _print_noise(preparing.plans_of(store, chosen, planning), sending, transport, as_json=as_json)
        else:
            with store.alone(f"run-{run.id}", f"run {run.id}"):
                begun = preparing.take_up if resume else functools.partial(preparing.begin, options=kept, chosen=chosen)
                number = begun(store, run, changes=changes)
                code = _send(
                    run,
                    number,
                    store=store,
                    sending=sending,
                    planning=planning,
                    transport=transport,
                    reports=reports,
                    resumed=resume is not None,
                    lasts=source.lasts,
                    as_json=as_json,
                )
            sys.exit(code)


def _send(
    run: ReplayRun,
    number: int,
    *,
    store: Store,
    sending: SendingOptions,
    planning: Planning,
    transport: HttpTransport,
    reports: tuple[Path, ...],
    resumed: bool,
    lasts: bool,
    as_json: bool,
) -> int:
    """Send the waiting sessions of a run, print the result, and return the exit code.

    Args:
        number: How many sessions wait.
        lasts: Whether the store is there when the command has ended, so that the run can be resumed.
    """
    from proxy_addon.files import whole  # noqa: PLC0415  # as above
    from proxy_addon.replay import loops  # noqa: PLC0415
    from proxy_addon.replay.connecting import make_room  # noqa: PLC0415
    from proxy_addon.replay.run import carry_out  # noqa: PLC0415
    from proxy_addon.reporting.progress import RunProgress  # noqa: PLC0415
    from proxy_addon.reporting.run_files import pieces  # noqa: PLC0415
    from storage import runs  # noqa: PLC0415

    make_room(sending.concurrency)
    with store.read() as db:
        steps = runs.recorded(db, run.id)
    with RunProgress(steps) as progress:
        sends = carry_out(
            run.id, store=store, options=sending, planning=planning, transport=transport, watching=progress
        )
        ended = loops.run(sends)
    with store.read() as db:
        code = _exit_code(ended, runs.summary(db, run))
    if resumed and not number and run.exit_code is not None:
        code = run.exit_code  # nothing was sent, so the result is still the same
    with suppress(StorageError) if ended.error is not None else nullcontext(), store.write() as db:
        runs.keep_exit_code(db, run.id, code)
    if ended.error is not None and not isinstance(ended.error, StorageError):
        raise ended.error
    with store.read() as db:
        summary = runs.summary(db, runs.find(db, run.id))
        with while_read():  # reports and the exit code count even if nobody reads this
            _print(summary, runs.sessions(db, run.id), as_json=as_json)
        for path in reports:
            whole.write(path, pieces(path, summary, lambda: runs.sessions(db, run.id)))
        _warn_of_unused(summary.changes if summary.totals.sent else ())
        if ended.error is not None:
            raise ended.error
        if ended.signal is not None:
            _tell_what_is_left(run.id, runs.left(db, run.id), list(runs.unsent(db, run.id)), lasts=lasts)
        elif not number:
            _tell_why_nothing(run.id, list(runs.never_sent(db, run.id)), resumed=resumed)
    return code


def _exit_code(ended: Ended, summary: RunSummary) -> int:
    if ended.error is not None:
        return 2
    if ended.signal is not None:
        return 128 + ended.signal
    return 1 if summary.verdict in (StepOutcome.DIFFERENT, StepOutcome.FAILED) else 0


def _tell_what_is_left(run_id: str, left: int, unsent: Sequence[Unsent], *, lasts: bool) -> None:
    """Say after an interruption what can still be sent, and what never will be sent."""
    told = []
    if left and not lasts:
        told.append(f"nothing was sent of {counted(left, 'session')}; a replay of a file cannot be resumed")
    elif left:
        told.append(
            f"'sessiontape replay --resume {run_id}' sends the {counted(left, 'session')} of which nothing was sent"
        )
    if unsent:
        begun = counted(len(unsent), "session") + (" that had begun" if left else "")
        told.append(f"the rest of {begun} will not be sent: a session cannot be continued in the middle")
    if not left:
        told.append("nothing is left for --resume")
    click.echo(f"sessiontape: interrupted; {'; '.join(told)}", err=True)


def _tell_why_nothing(run_id: str, unsent: Sequence[Unsent], *, resumed: bool) -> None:
    if not resumed:
        click.echo("no session matches the filters; nothing was sent", err=True)
        return
    if not unsent:
        click.echo(f"sessiontape: nothing left to send: run {run_id} has sent all its steps", err=True)
        return
    steps = counted(sum(each.number for each in unsent), "step")
    sessions = counted(len({each.source for each in unsent}), "session")
    click.echo(
        f"sessiontape: nothing left to send; run {run_id} did not send {steps} of {sessions}, and never will:", err=True
    )
    for each in unsent[:_LISTED]:
        places = f" #{each.first}" + (f" to #{each.last}" if each.last != each.first else "") if each.first else ""
        click.echo(visible(f"  {each.source}{places}: {counted(each.number, 'step')}: {each.reason}"), err=True)
    if len(unsent) > _LISTED:
        click.echo(f"  and {len(unsent) - _LISTED} more; 'sessiontape runs {run_id}' lists them", err=True)


_LISTED = 20


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
        require_selection(names, filters, everything=everything, verb="replayed", of_files=True)
        if options.target is None:
            raise click.UsageError("name the server to send to with --target URL")
        if twice and dry:
            raise click.UsageError("--learn-noise sends sessions and --dry-run sends nothing: leave one of them out")
        if options.only_present and not options.sets:
            raise click.UsageError("--only-present applies to --set: add --set, or leave it out")
        return
    context = click.get_current_context()
    for parameter in context.command.params:
        is_typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if is_typed and parameter.name not in _WITH_RESUME:
            named = "/".join([*parameter.opts, *parameter.secondary_opts])
            named = named if isinstance(parameter, click.Option) else "SESSION"
            raise click.UsageError(f"--resume continues a run with the options that it began with: leave out {named}")


_WITH_RESUME = frozenset(
    {"resume", "reports", "allowed", "concurrency", "spread_s", "timeout_s", "insecure", "ca", "proxy"}
    | {"as_json", "store_url"}
)
"""Options that are not stored with a run: how fast sessions start, how the target is reached, and what is printed."""


def _warn_of_unused(changes: Iterable[RunChange]) -> None:
    from proxy_addon.core.replays.changing import quoting_hint  # noqa: PLC0415  # as above

    for change in changes:
        if change.places == 0 and change.number != PROFILE:
            hint = quoting_hint(change.change.get("path", ""))
            said = f"{change_line(change)} found nothing to change{hint and f'; {hint}'}"
            click.echo(f"sessiontape: {visible(said)}", err=True)


def _proxy(target: ServerUrl, asked: str | None) -> ProxyUrl | None:
    from proxy_addon.replay import connecting  # noqa: PLC0415  # as above

    if asked != connecting.FROM_ENVIRONMENT:
        return None if asked is None else connecting.parse_proxy(asked)
    proxy = connecting.proxy_of_environment(target)
    click.echo(
        f"using the proxy {proxy.url}"
        if proxy
        else "the environment names no proxy for this target; connecting directly",
        err=True,
    )
    return proxy


def _print_plans(
    plans: Iterator[SessionPlan],
    options: SendingOptions,
    transport: HttpTransport,
    changes: Sequence[RunChange],
    *,
    as_json: bool,
) -> None:
    from proxy_addon.reporting.plans import Counting, plan_text, print_plan, print_planned  # noqa: PLC0415  # as above
    from proxy_addon.reporting.terminal import console, print_pieces  # noqa: PLC0415

    counting = Counting()
    if as_json:
        print_pieces(plan_text(counting.of(plans), options, transport.framed))
    else:
        for plan in counting.of(plans):
            print_plan(console(), plan, options, transport.framed)
        print_planned(console(), options, counting, changes)
    _warn_of_unused(counting.found(changes) if counting.requests else ())


def _print_noise(
    plans: Iterator[SessionPlan], options: SendingOptions, transport: HttpTransport, *, as_json: bool
) -> None:
    from proxy_addon.replay.noise import learn_noise  # noqa: PLC0415  # as above
    from proxy_addon.reporting.terminal import print_json  # noqa: PLC0415

    found = learn_noise(plans, options, transport)
    if as_json:
        print_json({"ignore": list(found)})
    elif found:
        for where in found:
            click.echo(f"--ignore {shlex.quote(visible(where))}")  # quoted, because the target chooses the names
    else:
        click.echo("both replays got the same answers: there is nothing to ignore", err=True)


def _print(summary: RunSummary, sessions: Iterable[SessionRun], *, as_json: bool) -> None:
    from proxy_addon.reporting.documents import run_text  # noqa: PLC0415  # as above
    from proxy_addon.reporting.runs import print_run  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_pieces  # noqa: PLC0415

    if as_json:
        print_pieces(run_text(summary, sessions))
    else:
        print_run(console(), summary, sessions)
