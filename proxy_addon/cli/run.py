"""``sessiontape run``: a test command with collector and recorder around it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli import sources
from proxy_addon.cli.options import config_option, fail_on_option, plan_option, policy_of
from proxy_addon.cli.output import say, while_heard
from proxy_addon.cli.playbacks import attempts
from proxy_addon.cli.rig_options import keeping_option, listing_of, upstream_option
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import counted
from proxy_addon.errors import SettingsError
from proxy_addon.process import children
from storage import DEFAULT_STORE

if TYPE_CHECKING:
    from proxy_addon.core.fixtures.held import HeldSession
    from proxy_addon.testing.pairing import Recorded


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@upstream_option
@click.option(
    "--from",
    "session",
    metavar="SESSION",
    help="Let the collector answer as production answered this session, from the store or a file.",
)
@click.option(
    "--expect",
    multiple=True,
    metavar="FIXTURE",
    help="Compare what is recorded with the session in this file, as 'diff --as-test' does. May be repeated.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="Check what is recorded against the rules.")
@fail_on_option
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="WHERE:ACTION[:WHEN]",
    help="Make the collector fail, as with 'collector --fault'. May be repeated.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.{html,json,xml}",
    help="Write the result to this file, as JSON or as JUnit XML, or the recorded sessions as an HTML page without personal "
    "values. May be repeated.",
)
@click.option(
    "--update",
    is_flag=True,
    allow_from_autoenv=False,
    help="Write what is recorded to the files of --expect instead of comparing it. Refused if the environment variable "
    "CI is set.",
)
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --update: file with the key of the tokens that replace personal values, so that tokens stay the same from one "
    "update to the next. Created if it does not exist.",
)
@plan_option
@config_option
@keeping_option
def run(
    *,
    command: tuple[str, ...],
    upstream: ServerUrl | None,
    session: str | None,
    expect: tuple[str, ...],
    check: bool,
    fail_on: str,
    faults: tuple[str, ...],
    reports: tuple[Path, ...],
    update: bool,
    key_file: Path | None,
    plan: Path | None,
    config: Path | None,
    store_url: str | None,
) -> None:
    """Run a test command, record what its player reports, and judge it.

    Let the player report to the address in the environment variable SESSIONTAPE_URL; SESSIONTAPE_HOST is the same without
    http://. SESSIONTAPE_CONTROL is the address of an HTTP API with which a test can wait for sessions and order faults.
    COMMAND has the terminal to itself; sessiontape prints its result on stderr.

    Exit code: that of COMMAND if it failed, and 128 + N if signal N ended it; else 2 if nothing was recorded or not all
    could be stored, 1 for findings or differences, else 0.
    """
    if upstream is not None and (session is not None or faults):
        raise click.UsageError(
            "--from and --fault are for the collector, which --upstream replaces: leave out one of them"
        )
    _check_update(expect, key_file, update=update)
    program = children.find(command[0])
    # Imported here because --help must not wait for the HTTP library, the database and the rules.
    gc.disable()  # nothing becomes garbage during imports
    from proxy_addon.testing import recorders  # noqa: PLC0415

    recorders.prepare()  # what takes longest comes first, because it happens in another process
    from proxy_addon.core.findings import Severity  # noqa: PLC0415
    from proxy_addon.files import settings, whole  # noqa: PLC0415
    from proxy_addon.reporting import trials  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415
    from proxy_addon.testing.pairing import Recorded, paired  # noqa: PLC0415
    from proxy_addon.testing.reports import Compared  # noqa: PLC0415
    from proxy_addon.testing.stages import Stage  # noqa: PLC0415

    gc.freeze()  # nor later: to look for it at the end would take a tenth of a second
    gc.enable()
    for path in reports:
        trials.check_path(path)
    expected = _expected(expect, update=update)
    threshold = None if fail_on == "never" else Severity(fail_on).weight
    stage = Stage(
        upstream=upstream,
        recorded=() if session is None else attempts(store_url or DEFAULT_STORE, session),
        faults=faults,
        store_url=store_url,
        policy=policy_of(plan, config),
        threshold=threshold,
    )
    with stage:
        env = {**os.environ, **stage.variables}
        ending = children.run([program, *command[1:]], env)
        stage.stop()
        if ending.interrupted_by is not None:
            say("interrupted, so there is no verdict")
            sys.exit(ending.code or 128 + ending.interrupted_by)
        for line in stage.rig.remarks:
            say(line)
        judged = stage.sessions()
        recorded = [Recorded(held=each.held, case=stage.case_of(each)) for each in judged]
        problem: SettingsError | None = None
        updated = update and not ending.code and bool(recorded)
        if updated:
            try:
                _update(expect, expected, recorded, key_file, config)
                expected = {}
            except SettingsError as e:
                problem = e  # raised when all that is known about the recording has been told
        pairing = paired(expected, recorded, settings.load_personal(config))
        compared = [
            Compared(comparison=made, expected=name) for name, made in pairing.compared.items() if made is not None
        ]
        trial = trials.Trial(
            command=command,
            code=ending.code,
            checked=[each.subject for each in judged] if check else None,
            threshold=threshold,
            recorded=len(judged),
            compared=pairing.compared,
            unexpected=[each.session for each in pairing.unexpected],
            is_complete=stage.rig.is_complete,
            problem=None if problem is None else str(problem),
        )
        for path in filter(trials.is_page, reports):  # while what was recorded is still there
            say(stage.report(path, judged, settings.load_personal(config), compared, trial.verdict))
    with while_heard():  # the exit code counts even if nobody reads the rest
        trials.print_trial(console(stderr=True), trial)
    if not judged:
        say("nothing was recorded: let the player report to the address in SESSIONTAPE_URL")
    elif store_url is not None:
        say(f"{counted(len(judged), 'session')} kept; to list: {listing_of(stage.rig.name, store_url)}")
    if expected and pairing.aside:
        say(
            f"{counted(len(pairing.aside), 'session')} of other cases not compared: --expect names no file for these cases"
        )
    if update and not updated:
        say("nothing was updated, because the command failed" if ending.code else "nothing was updated")
    for path in reports:
        if not trials.is_page(path):
            whole.write(path, trials.pieces(path, trial))
    if problem is not None:
        raise problem
    sys.exit(trial.exit_code)


def _check_update(expect: Sequence[str], key_file: Path | None, *, update: bool) -> None:
    if not update:
        if key_file is not None:
            raise click.UsageError("--key-file needs --update, which writes the files with tokens")
        return
    if not expect:
        raise click.UsageError("--update needs the file to write: --expect FIXTURE")
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise SettingsError(
            "--update is refused, because CI is set: a build that writes its own expectations cannot fail",
            hint="update on your machine, and commit the file; or unset CI for this command",
        )


def _expected(names: Sequence[str], *, update: bool) -> Mapping[str, HeldSession]:
    """Return the expectations by the names of their files; without those that --update will make.

    Raises:
        SettingsError: A file cannot be read, it says how to compare in a way that makes no sense, or --update would write
            over what is no fixture.
    """
    from proxy_addon.core.expectations.compare import Compare  # noqa: PLC0415
    from proxy_addon.files.sessions import path_in  # noqa: PLC0415
    from proxy_addon.files.unpacking import read  # noqa: PLC0415
    from proxy_addon.testing.expectations import is_fixture  # noqa: PLC0415

    found: dict[str, HeldSession] = {}
    for name in names:
        path = path_in(name)
        if name == path != "-" and not Path(path).exists():
            if update:
                continue
            raise SettingsError(
                f"there is no {name}", hint="is its name right? To write what is recorded to it, add --update"
            )
        found[name] = sources.held(name)
        Compare.parsed(found[name].compare, name)  # so that a mistake is told before the command runs
        if update and (name != path or not is_fixture(read(path))):
            raise SettingsError(
                f"--update does not write {name}, because it is not a fixture with one session",
                hint=f"'sessiontape export {name} --format fixture -o FILE.json' makes one of it",
            )
    return found


def _update(
    names: Sequence[str],
    expected: Mapping[str, HeldSession],
    recorded: Sequence[Recorded],
    key_file: Path | None,
    config: Path | None,
) -> None:
    """Write recorded sessions to the files of expectations: first to those that are there, then to new ones in order.

    Raises:
        SettingsError: There are not as many sessions as files; nothing was written. Or a file cannot be written.
    """
    from proxy_addon.files import settings, whole  # noqa: PLC0415
    from proxy_addon.testing.expectations import as_fixture  # noqa: PLC0415
    from proxy_addon.testing.pairing import paired  # noqa: PLC0415

    pairing = paired(expected, recorded, settings.load_personal(config))
    found = {name: each.actual for name, each in pairing.compared.items() if each is not None}
    new = [name for name in names if name not in expected]
    left = [*pairing.unexpected, *(pairing.aside if new else ())]
    if len(found) < len(expected) or len(left) != len(new):
        raise SettingsError(
            f"nothing was updated: {counted(len(recorded), 'session')} recorded, but --expect names "
            f"{counted(len(names), 'file')}",
            hint="give --expect once for each session",
        )
    found |= dict(zip(new, left, strict=True))
    for name, held in found.items():
        whole.write(Path(name), [as_fixture(held, expected.get(name), key_file=key_file, config=config).encode()])
        say(f"{name} written")
