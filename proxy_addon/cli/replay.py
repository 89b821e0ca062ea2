"""``sessiontape replay``: send recorded sessions to another server."""

from __future__ import annotations

import functools
import secrets
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.options import SECONDS, SERVER_URL, config_option, json_option, store_option
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.runs import ReplayRun, RunOptions, RunSummary, SessionRun, StepOutcome
from proxy_addon.core.replays.targets import Allowed, parse_allowed
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from proxy_addon.core.replays.changing import Change, Changer
    from proxy_addon.core.replays.plans import SessionPlan
    from proxy_addon.core.replays.sending import SendingOptions
    from proxy_addon.replay.connecting import ProxyUrl
    from proxy_addon.replay.transport import HttpTransport
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


class _Text(click.ParamType[str]):
    """A text that a parser takes; it is parsed again where it is used."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            self._check(text)
        except SettingsError as e:
            self.fail(f"{e}; {e.hint}", param, ctx)
        return text


def _change(parser: str) -> Callable[[str], object]:
    def check(text: str) -> object:
        from proxy_addon.core.replays import changing  # noqa: PLC0415  # brings the JSONPath library

        return getattr(changing, parser)(text)

    return check


def _ignored(text: str) -> object:
    from proxy_addon.core.replays.comparing import Noise  # noqa: PLC0415  # only where it is asked for

    return Noise.parse([text])


def _proxy_text(text: str) -> object:
    from proxy_addon.replay.connecting import FROM_ENVIRONMENT, parse_proxy  # noqa: PLC0415  # as above

    return text if text == FROM_ENVIRONMENT else parse_proxy(text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a replay is to be done, as typed.

    Attributes:
        safe: None where nothing was said about it.
    """

    target: ServerUrl | None
    allowed: tuple[Allowed, ...]
    speed: Speed
    timestamps: Timestamps
    spread_equal_ts: bool
    sets: tuple[str, ...]
    drops: tuple[str, ...]
    header_sets: tuple[str, ...]
    header_drops: tuple[str, ...]
    change_files: tuple[Path, ...]
    safe: bool | None
    ignored: tuple[str, ...]
    concurrency: int
    spread_s: float
    timeout_s: float
    insecure: bool
    ca: Path | None
    proxy: str | None


_OPTIONS = (
    click.option(
        "--target",
        type=SERVER_URL,
        metavar="URL",
        allow_from_autoenv=False,
        help="Where to: http[s]://host[:port][/path]; a path is put in front of the recorded ones.",
    ),
    click.option(
        "--allow-host",
        "allowed",
        type=_Parsed("HOST", parse_allowed, Allowed),
        metavar="NAME|ADDRESS[:PORT]",
        multiple=True,
        allow_from_autoenv=False,
        help="Allow a target that is not on this machine, or that is a recorded upstream. May be repeated.",
    ),
    click.option(
        "--speed",
        type=_Parsed("SPEED", Speed.parse, Speed),
        metavar="N|max",
        default="1",
        show_default=True,
        help="A multiple of the recorded pace, or as fast as the target answers.",
    ),
    click.option(
        "--timestamps",
        type=_Parsed("TIMESTAMPS", Timestamps.parse, Timestamps),
        metavar="now|keep|shift:SECONDS",
        default="now",
        show_default=True,
        help="now: each session's start gets its time of sending, its other times move along.",
    ),
    click.option(
        "--spread-equal-ts",
        is_flag=True,
        help="Move events of one ts a millisecond apart, in the order that SDKs mean.",
    ),
    click.option(
        "--set",
        "sets",
        type=_Text("SET", _change("set_value")),
        metavar="JSONPATH=VALUE",
        multiple=True,
        help="Set a value in bodies; VALUE is JSON, or a text. May be repeated.",
    ),
    click.option(
        "--drop",
        "drops",
        type=_Text("DROP", _change("drop_value")),
        metavar="JSONPATH",
        multiple=True,
        help="Take values out of bodies. May be repeated.",
    ),
    click.option(
        "--set-header",
        "header_sets",
        type=_Text("HEADER", _change("set_header")),
        metavar="NAME=VALUE",
        multiple=True,
        help="Set a header. May be repeated.",
    ),
    click.option(
        "--drop-header",
        "header_drops",
        type=_Text("HEADER", _change("drop_header")),
        metavar="NAME",
        multiple=True,
        help="Take a header out. May be repeated.",
    ),
    click.option(
        "--changes",
        "change_files",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.toml",
        multiple=True,
        help="Changes for repeated use, pseudonyms too; those typed come after them. May be repeated.",
    ),
    click.option(
        "--safe/--no-safe",
        default=None,
        allow_from_autoenv=False,
        help="Replace report suite, org ID and tracking server, and put pseudonyms in the place of visitor IDs. "
        "On where the target needs --allow-host.",
    ),
    click.option(
        "--ignore",
        "ignored",
        type=_Text("WHERE", _ignored),
        metavar="WHERE",
        multiple=True,
        help="What may differ: status, header.NAME, body, body/a/*. May be repeated.",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(min=1),
        metavar="N",
        default=8,
        show_default=True,
        help="Sessions that run side by side at most.",
    ),
    click.option(
        "--spread-starts",
        "spread_s",
        type=click.FloatRange(min=0, max=86_400),
        metavar="SECONDS",
        default=0.0,
        show_default=True,
        help="Let the first sessions, as many as run side by side, begin over such a time and not at once.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=SECONDS,
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        help="How long each answer may take, connecting included.",
    ),
    click.option("--insecure", is_flag=True, allow_from_autoenv=False, help="Do not check the target's certificate."),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Trust the authorities in this PEM file in place of the system's.",
    ),
    click.option(
        "--proxy",
        type=_Text("PROXY", _proxy_text),
        metavar="URL|env",
        allow_from_autoenv=False,
        help="Go through an HTTP proxy, or that of the environment; else none is used. It may need --allow-host too.",
    ),
)


def _replay_options[F: Callable[..., Any]](command: F) -> F:
    """Add the options; the command gets them as ``options``."""

    @functools.wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        mine = {name: kwargs.pop(name) for name in Options.__dataclass_fields__}
        return command(*args, options=Options(**mine), **kwargs)

    decorated: Any = collected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # the signature click sees is another one


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@all_options
@_replay_options
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
@config_option
@filter_options
@json_option
@store_option
def replay(
    *,
    names: tuple[str, ...],
    everything: bool,
    allow_empty: bool,
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

    Only loopback addresses may be replayed to, and never a recorded upstream, unless --allow-host names them. SESSION
    is an id, a back-end session ID, a unique prefix of either, or last. Exit code 1: an answer differs or is missing.
    """
    # Not at the top: --help does without the HTTP library and the database.
    from proxy_addon.core.replays.comparing import Noise  # noqa: PLC0415
    from proxy_addon.core.replays.sending import SendingOptions  # noqa: PLC0415
    from proxy_addon.replay import loops, preparing  # noqa: PLC0415
    from proxy_addon.replay.connecting import make_room  # noqa: PLC0415
    from proxy_addon.replay.run import carry_out  # noqa: PLC0415
    from proxy_addon.replay.transport import HttpTransport, tls_context  # noqa: PLC0415
    from proxy_addon.reporting.progress import RunProgress  # noqa: PLC0415
    from proxy_addon.reporting.run_files import check_path, write  # noqa: PLC0415
    from storage import revision, runs  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    for path in reports:
        check_path(path)
    _check_usage(names, filters, options, everything=everything, resume=resume, twice=learn_noise, dry=dry_run)
    tls = tls_context(insecure=options.insecure, ca=options.ca)
    chosen = preparing.Chosen(names=names, filters=filters)
    with closing(Store(store_url)) as store:
        with store.read() as db:
            revision.require(db, store)
            if everything and not allow_empty:
                require_any(db, filters)
            run = _new_run(options) if resume is None else runs.find(db, resume)
            kept = _run_options(options) if resume is None else runs.options(db, run.id)
        kept = replace(kept, key=kept.key or secrets.token_hex(32))
        url = parse_server_url(run.target)
        target, proxy = preparing.checked(store, url, options.allowed, _proxy(url, options.proxy))
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
        if dry_run or learn_noise:
            plans = preparing.plans_of(store, chosen, planning)
            (_print_plans if dry_run else _print_noise)(plans, sending, transport, as_json=as_json)
            return
        make_room(options.concurrency)
        with store.alone(f"run-{run.id}", f"run {run.id}"):
            number = preparing.take_up(store, run) if resume else preparing.begin(store, run, kept, chosen)
            if not number:
                left = "no session is left to be sent" if resume else "the filters leave no session: nothing is sent"
                click.echo(left, err=True)
            with store.read() as db:
                steps = runs.recorded(db, run.id)
            with RunProgress(steps) as progress:
                sends = carry_out(
                    run.id, store=store, options=sending, planning=planning, transport=transport, watching=progress
                )
                ended = loops.run(sends)
        if ended.error is not None and not isinstance(ended.error, StorageError):
            raise ended.error
        with store.read() as db:
            summary = runs.summary(db, runs.find(db, run.id))
            _print(summary, runs.sessions(db, run.id), as_json=as_json)
            for path in reports:
                write(path, summary, lambda: runs.sessions(db, run.id))
    _warn_of_unused(planning.changer)
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


def _run_options(options: Options) -> RunOptions:
    """Return what is kept with a run, to go on with it."""
    return RunOptions(
        spread_equal_ts=options.spread_equal_ts,
        ignore=options.ignored,
        safe=options.safe,
        changes=tuple(_changes(options)),
        key=secrets.token_hex(32),
    )


def _changes(options: Options) -> list[Change]:
    from proxy_addon.core.replays import changing  # noqa: PLC0415
    from proxy_addon.files import changes  # noqa: PLC0415

    return [
        *(change for path in options.change_files for change in changes.load(path)),
        *map(changing.set_value, options.sets),
        *map(changing.drop_value, options.drops),
        *map(changing.set_header, options.header_sets),
        *map(changing.drop_header, options.header_drops),
    ]


def _warn_of_unused(changer: Changer) -> None:
    for change in changer.unused():
        what = change.get("path") or change.get("name")
        click.echo(f"sessiontape: {change['do']} {what} found nothing to change", err=True)


def _proxy(target: ServerUrl, asked: str | None) -> ProxyUrl | None:
    from proxy_addon.replay import connecting  # noqa: PLC0415  # as above

    if asked != connecting.FROM_ENVIRONMENT:
        return None if asked is None else connecting.parse_proxy(asked)
    proxy = connecting.proxy_of_environment(target)
    click.echo(f"through {proxy.url}" if proxy else "the environment names no proxy for this target", err=True)
    return proxy


def _print_plans(
    plans: Iterator[SessionPlan], options: SendingOptions, transport: HttpTransport, *, as_json: bool
) -> None:
    from proxy_addon.reporting.plans import plan_text, print_plan  # noqa: PLC0415  # as above
    from proxy_addon.reporting.terminal import console, print_pieces  # noqa: PLC0415

    if as_json:
        print_pieces(plan_text(plans, options, transport.framed))
    else:
        for plan in plans:
            print_plan(console(), plan, options, transport.framed)


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
            click.echo(f"--ignore {shlex.quote(where)}")  # the target chooses names: nothing to paste unquoted
    else:
        click.echo("the answers were the same both times: nothing has to be ignored", err=True)


def _print(summary: RunSummary, sessions: Iterable[SessionRun], *, as_json: bool) -> None:
    from proxy_addon.reporting.documents import run_text  # noqa: PLC0415  # as above
    from proxy_addon.reporting.runs import print_run  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_pieces  # noqa: PLC0415

    if as_json:
        print_pieces(run_text(summary, sessions))
    else:
        print_run(console(), summary, sessions)
