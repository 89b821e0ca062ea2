"""The command line: one module for each command, named like it, which parses, wires, prints and picks the exit code.

Exit codes: 0 success; 1 findings, differences or failed steps; 2 the work could not be done; 128 + N signal N.
"""

from __future__ import annotations

import difflib
import importlib
import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from proxy_addon import __version__
from proxy_addon.cli.output import drop_output
from proxy_addon.core.wording import visible
from proxy_addon.errors import SessiontapeError
from proxy_addon.process import signals

COMMANDS = {
    "record": "Run a proxy that records what players send.",
    "addon-path": "Print the path of the addon file for 'mitmdump -s'.",
    "collector": "Run a stand-in for the real server.",
    "run": "Run a test command, record what its player reports, and judge it.",
    "certify": "Play a scenario with a player, and get the evidence of what it reports.",
    "ui": "Show sessions in a browser, live.",
    "sessions": "List recorded sessions, newest first.",
    "exchanges": "List exchanges that belong to no session.",
    "show": "Show one session as a timeline.",
    "check": "Check sessions or a file against the rules of the protocol.",
    "report": "Write sessions as one HTML file that you can mail and keep.",
    "audit": "Say what devices really send, over many sessions.",
    "rules": "List the rules, or show the page of one rule.",
    "schemas": "List, show, compare and fetch the schemas of upstreams.",
    "export": "Write sessions to files: fixtures, HAR, NDJSON, CSV, Parquet, mitmproxy flows.",
    "import": "Store what files hold: fixtures, HAR, mitmproxy flows and more.",
    "delete": "Delete sessions with everything recorded in them.",
    "replay": "Send recorded sessions to another server.",
    "runs": "List replay runs, or show one of them.",
    "expect": "Write a session to a file with which tests compare.",
    "diff": "Compare two sessions, or a session with its replay.",
    "ledger": "List recorder runs, and what became of every exchange that they saw.",
    "db": "Create, upgrade and check the store, file what waits for it, and delete what is old.",
    "demo": "Watch a short tour: record, check and replay a session.",
}
"""Commands with their texts in ``--help``, in the order of use."""

_MODULES = {"import": "import_"}
"""Modules that cannot be called like their command."""


class _Commands(click.Group):
    """Imports a command's module only when it is needed, so that ``--help`` does not wait for a database driver."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        command = getattr(importlib.import_module(f"proxy_addon.cli.{name}"), name)
        assert isinstance(command, click.Command)
        _name_variables(command, f"SESSIONTAPE_{name.strip('_').upper()}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            suggestion = f"; did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"unknown command {args[0]!r}{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as e:
            raise _OutputClosed from e  # click would exit with 1

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _name_variables(command: click.Command, prefix: str) -> None:
    """Name each option's environment variable like the option; click would name it like the function's argument."""
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None and option.allow_from_autoenv:
            option.envvar = f"{prefix}_{max(option.opts, key=len).strip('-').replace('-', '_').upper()}"
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            _name_variables(subcommand, f"{prefix}_{name.upper()}")


_EPILOG = """\
Every option can also be set by an environment variable SESSIONTAPE_<COMMAND>_<OPTION>, for example
SESSIONTAPE_RECORD_LISTEN; --store is set by SESSIONTAPE_STORE. Options that name a target or remove a protection
must be typed: --target, --allow-host, --proxy, --insecure, --raw, --safe and --yes.

\b
Exit codes:
  0        Success. record and collector also end with 0 when stopped.
  1        The command found something: findings, differences, failed steps.
  2        The command could not do its work; stderr says why.
  128 + N  Signal N interrupted the command: 130 for Ctrl-C.
"""
"""The end of ``--help``. Click does not rewrap a paragraph that begins with a backspace."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__, prog_name="sessiontape")
def cli() -> None:
    """Record, check and replay what video players report to Adobe's Media Collection API."""


def main() -> None:
    """Run the command line. A user's mistake leads to a message and exit code 2, never to a traceback."""
    _open_what_is_closed()
    signals.raise_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # so that an ASCII terminal does not make us fail
    code: Any = 0
    try:
        code = _run()
        sys.stdout.flush()
    except (_OutputClosed, BrokenPipeError):
        # The reader of our output (head, less) has closed it. Commands that come to a verdict end with it all the same.
        drop_output()
    except OSError as e:
        drop_output()
        _say(f"sessiontape: cannot write output: {e.strerror or e}")
        code = 2
    signals.end_at_once()
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Open closed standard streams on the null device, or the next file opened would get their descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # open until the end


def _run() -> Any:
    try:
        return cli.main(standalone_mode=False)
    except SystemExit as e:
        return e.code
    except SessiontapeError as e:
        _say(f"sessiontape: {e}")
        if e.hint:
            _say(f"  {e.hint}")
        return 2
    except click.ClickException as e:
        _name_variable(e)
        with suppress(OSError):
            e.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        _say("sessiontape: interrupted")
        return 130
    except signals.Ended as e:
        if e.number == signal.SIGINT:
            _say("sessiontape: interrupted")
        return 128 + e.number


def _name_variable(error: click.ClickException) -> None:
    """Make an error about an option name its environment variable, if its value comes from there."""
    if isinstance(error, click.BadParameter) and error.ctx is not None and error.param is not None:
        if error.ctx.get_parameter_source(error.param.name or "") is ParameterSource.ENVIRONMENT:
            error.param_hint = f"'{error.param.envvar}'"


def _say(message: str) -> None:
    """Print a message on stderr, if possible, with control characters made visible."""
    with suppress(OSError):
        click.echo("\n".join(visible(line) for line in message.split("\n")), err=True)


class _OutputClosed(BaseException):
    """The reader of our output has closed it."""
