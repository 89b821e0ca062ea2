"""Options that several commands take, and the values they parse to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from proxy_addon.core.durations import parse_seconds
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.core.wording import visible
from proxy_addon.errors import SettingsError
from storage import DEFAULT_STORE

if TYPE_CHECKING:
    from proxy_addon.core.judging.policy import Policy

_LISTEN = re.compile(r"(?:(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\s\[\]/]*)):)?(?P<port>[0-9]{1,5})\Z")


class _Listen(click.ParamType[tuple[str, int]]):
    """An address to listen on.

    ``8080`` is a port on 127.0.0.1, ``:8080`` a port on all IPv4 addresses, ``[::1]:8080`` is IPv6, and port 0 takes a
    free one.
    """

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        match = _LISTEN.match(value)
        if match is None or int(match["port"]) > 65535:
            self.fail(
                f"{value!r} is not an address to listen on: write HOST:PORT like 127.0.0.1:8080 or [::1]:8080, PORT for "
                "this machine alone, or :PORT for all addresses; the highest port is 65535",
                param,
                ctx,
            )
        every = "0.0.0.0"  # noqa: S104  # the user asked for it by ':8080'
        host = match["v6"] or match["host"] or ("127.0.0.1" if ":" not in value else every)
        return host, int(match["port"])


class _ServerUrl(click.ParamType[ServerUrl]):
    """The URL of an upstream or target."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ServerUrl:
        if isinstance(value, ServerUrl):
            return value
        try:
            return parse_server_url(value)
        except SettingsError as e:
            self.fail(f"{e}; {e.hint}", param, ctx)


class _Seconds(click.ParamType[float]):
    """A number of seconds above zero, at most a day."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_seconds(str(value))
        except SettingsError as e:
            self.fail(str(e), param, ctx)


class Parsed[T](click.ParamType[T]):
    """A value with its own parser, which raises `SettingsError`."""

    def __init__(self, name: str, parse: Callable[[str], T], kind: type[T]) -> None:
        self.name = name
        self._parse = parse
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Return a value that is already parsed as it is, and parse a text."""
        if isinstance(value, self._kind):
            return value
        try:
            return self._parse(value)
        except SettingsError as e:
            self.fail(f"{e}; {e.hint}", param, ctx)


LISTEN = _Listen()
LISTEN_HELP = (
    "Where to listen: HOST:PORT, PORT for this machine alone, or :PORT for all addresses. Port 0 takes a free one."
)
UI_LISTEN = "127.0.0.1:8090"
"""Where the live pages are by default."""
SECONDS = _Seconds()
SPEED = Parsed("SPEED", Speed.parse, Speed)
SERVER_URL = _ServerUrl()


def given(name: str) -> str:
    """Return how an option of the running command was given: its environment variable, or the option as it is typed.

    Args:
        name: The name of the function's argument.
    """
    context = click.get_current_context()
    option = next(each for each in context.command.params if each.name == name)
    if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
        return str(option.envvar)
    return max(option.opts, key=len)


def store_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--store`` to a command, which gets ``store_url``."""
    return click.option(
        "--store",
        "store_url",
        metavar="URL",
        default=DEFAULT_STORE,
        show_default=True,
        envvar="SESSIONTAPE_STORE",
        show_envvar=True,
        help="The database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DB.",
    )(command)


def config_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--config`` to a command, which gets ``config``, a path or None."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Settings file for the rules; by default sessiontape.toml or pyproject.toml in the current folder.",
    )(command)


def plan_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--plan`` to a command, which gets ``plan``, a path or None."""
    return click.option(
        "--plan",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="PLAN.yaml",
        help="Hold sessions against this tracking plan, too: which keys and values the players should send, which "
        "events a session should have, and how often they should ping.",
    )(command)


def selection_options[F: Callable[..., Any]](command: F) -> F:
    """Add ``--select`` and ``--ignore`` to a command, which gets ``select`` and ``ignore``, for `policy_of`."""
    command = click.option(
        "--ignore", multiple=True, metavar="RULE", help="Leave out findings of this rule. May be repeated."
    )(command)
    return click.option(
        "--select", multiple=True, metavar="RULE", help="Report only findings of this rule. May be repeated."
    )(command)


def policy_of(
    plan: Path | None, config: Path | None, *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> Policy:
    """Return the policy of a command with ``--plan`` and ``--config``, and say on stderr what is odd about the plan.

    Args:
        select: The rules of ``--select``, if the command has it.
        ignore: Those of ``--ignore``.

    Raises:
        SettingsError: One of the files cannot be read, or is not what it should be; or there is no such rule.
    """
    from proxy_addon.files import plans, settings  # noqa: PLC0415  # --help does without the rules

    policy = plans.applied(plan, settings.load(config))
    for note in () if policy.plan is None else policy.plan.notes:
        click.echo(visible(f"sessiontape: {note}"), err=True)
    return replace(
        policy,
        select=settings.check_selection(select, given("select")) if select else policy.select,
        ignore=settings.check_selection(ignore, given("ignore")) if ignore else policy.ignore,
    )


def fail_on_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--fail-on`` to a command, which gets ``fail_on``: a severity, or ``never``."""
    return click.option(
        "--fail-on",
        type=click.Choice(("error", "warning", "info", "never")),
        default="error",
        show_default=True,
        help="Exit with 1 if a finding has this severity or a higher one.",
    )(command)


def json_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--json`` to a command, which gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(command)


def local_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--local`` to a command, which gets ``local``."""
    return click.option("--local", is_flag=True, help="Show local times instead of UTC; JSON is always in UTC.")(
        command
    )


def token_options[F: Callable[..., Any]](command: F) -> F:
    """Add ``--raw`` and ``--key-file`` to a command, which gets ``raw`` and ``key_file``, a path or None; never both."""

    @functools.wraps(command)
    def checked(*args: Any, raw: bool, key_file: Path | None, **kwargs: Any) -> Any:
        if raw and key_file is not None:
            raise click.UsageError("--raw writes no tokens, so --key-file has no effect: leave out one of them")
        return command(*args, raw=raw, key_file=key_file, **kwargs)

    decorated: Any = checked
    decorated = click.option(
        "--key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="File with the key of the tokens: with the same key, a value gets the same token in all files. Created if it "
        "does not exist.",
    )(decorated)
    return click.option(  # type: ignore[no-any-return]  # click sees a different signature
        "--raw",
        is_flag=True,
        allow_from_autoenv=False,
        help="Write personal values as they are. By default, tokens replace them.",
    )(decorated)
