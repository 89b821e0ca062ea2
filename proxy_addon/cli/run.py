"""``sessiontape run``: a test command with collector and recorder around it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli import sources
from proxy_addon.cli.check import FAIL_ON
from proxy_addon.cli.options import SERVER_URL, config_option
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import visible
from proxy_addon.process import children
from proxy_addon.reporting.words import counted
from storage import DEFAULT_STORE

if TYPE_CHECKING:
    from proxy_addon.core.fixtures.held import HeldSession
    from proxy_addon.testing.verdicts import Judged


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--upstream",
    type=SERVER_URL,
    metavar="URL",
    help="Record what the command's player sends to this server; by default a collector answers.",
)
@click.option(
    "--from",
    "session",
    metavar="SESSION",
    help="Let the collector give the answers recorded in this session, of the store or of a file.",
)
@click.option("--fault", "faults", multiple=True, metavar="WHERE:ACTION[:WHEN]", help="As for 'collector --fault'.")
@click.option("--check/--no-check", default=True, show_default=True, help="Check what was recorded against the rules.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="Exit with 1 if a finding has this severity or a higher one.",
)
@config_option
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar="SESSIONTAPE_STORE",
    show_envvar=True,
    help="Keep the recording in this store; by default it is dropped at the end. --from looks here, too.",
)
def run(
    *,
    command: tuple[str, ...],
    upstream: ServerUrl | None,
    session: str | None,
    faults: tuple[str, ...],
    check: bool,
    fail_on: str,
    config: Path | None,
    store_url: str | None,
) -> None:
    """Run a test command, record what its player reports, and judge it.

    The command finds in its environment where the player has to report to: SESSIONTAPE_URL, and SESSIONTAPE_HOST, the
    same without http://. SESSIONTAPE_CONTROL is the address of an HTTP API by which a test waits for sessions and orders
    faults. Input, output and terminal are the command's own; what this command says goes to stderr.

    Exit code: that of COMMAND if it failed, and 128 + N if signal N ended it; else 1 for findings, 2 if nothing was
    recorded, else 0.
    """
    # Imported here because --help must not wait for the HTTP library, the database and the rules.
    from proxy_addon.core.findings import Severity  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.testing.stages import Stage  # noqa: PLC0415

    if upstream is not None and (session is not None or faults):
        raise click.UsageError(
            "--from and --fault are for the collector, which --upstream replaces: leave out one of them"
        )
    program = children.find(command[0])
    threshold = None if fail_on == "never" else Severity(fail_on).weight
    stage = Stage(
        upstream=upstream,
        recorded=None if session is None else _held(store_url or DEFAULT_STORE, session),
        faults=faults,
        store_url=store_url,
        policy=settings.load(config),
        threshold=threshold,
    )
    with stage:
        ending = children.run([program, *command[1:]], {**os.environ, **stage.variables})
        stage.stop()
        if ending.interrupted_by is not None:
            sys.exit(ending.code or 128 + ending.interrupted_by)
        for line in stage.warnings:
            _say(line)
        recorded = stage.sessions()
    fails = check and _tell_findings(recorded, threshold)
    if not recorded:
        _say("nothing was recorded: let the player report to the address in SESSIONTAPE_URL")
    elif store_url is not None:
        _say(f"{counted(len(recorded), 'session')} kept: 'sessiontape sessions --name {stage.name}' lists them")
    if ending.code:
        sys.exit(ending.code)
    if not recorded or not stage.is_complete:
        sys.exit(2)
    sys.exit(1 if fails else 0)


def _tell_findings(recorded: list[Judged], threshold: int | None) -> bool:
    """Print the findings on stderr; return whether one of them fails the run."""
    from proxy_addon.reporting.checks import TextReport  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415

    report = TextReport(console(stderr=True))
    findings = [finding for each in recorded for finding in each.judgement.findings]
    fails = threshold is not None and any(finding.severity.weight >= threshold for finding in findings)
    report.begin()
    for each in recorded:
        report.add(each.subject)
    report.end(ok=not fails)
    return fails


def _held(store_url: str, name: str) -> HeldSession:
    """Return a session in the store or in a file."""
    from proxy_addon.core.fixtures.held import HeldSession  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
    from storage import exchanges, sessions  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    if is_file_name(name):
        return sources.held(name)
    with reading(store_url) as db:
        found = sessions.find(db, name)
        return HeldSession(session=found, exchanges=tuple(exchanges.of_session(db, found.id)))


def _say(line: str) -> None:
    click.echo(f"sessiontape: {visible(line)}", err=True)
