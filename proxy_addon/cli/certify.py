"""``sessiontape certify``: play a scenario, and get the evidence of what the player reported."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, override

import click

from proxy_addon.cli.check import FAIL_ON
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import LISTEN, SERVER_URL, config_option, json_option, token_options
from proxy_addon.cli.output import while_read
from proxy_addon.core.sessions import Session
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import SettingsError
from proxy_addon.process import children
from proxy_addon.process.signals import Ended
from storage import DEFAULT_STORE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.cli.reports import Source
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.core.scenarios.judging import Evidence
    from proxy_addon.core.scenarios.scenario import Scenario
    from proxy_addon.testing.stands import Stand

_NO_EVIDENCE = 2
"""The exit code if there is none that can be relied on."""
_BY_HAND = ("127.0.0.1", 8080)
_BY_COMMAND = ("127.0.0.1", 0)
_AFTER_DASHES = "sessiontape.certify.command"


class _WithCommand(click.Command):
    """A command whose arguments after ``--`` are another command."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, dashes, after = args, [], []
        if "--" in args:
            place = args.index("--")
            before, dashes, after = args[:place], args[place:], args[place + 1 :]
        if dashes and not after:
            raise click.UsageError("the command is missing: it stands after --, with its arguments", ctx)
        ctx.meta[_AFTER_DASHES] = tuple(after)
        return super().parse_args(ctx, before)

    @override
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=_WithCommand)
@click.argument("names", metavar="[SCENARIO...]", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the scenarios; with SCENARIO, all that is in it.")
@click.option("--all", "every", is_flag=True, help="Play all scenarios, in the order of the list.")
@click.option(
    "--scenarios",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Take the scenarios in this folder, too: YAML files, each called like its scenario.",
)
@click.option(
    "--upstream",
    type=SERVER_URL,
    metavar="URL",
    help="Record what the player sends to this server; by default a collector answers.",
)
@click.option(
    "--listen",
    type=LISTEN,
    metavar="HOST:PORT",
    help="Where the player sends its requests: HOST:PORT, PORT for this machine alone, or :PORT for all addresses.  "
    "[default: 127.0.0.1:8080; with COMMAND, a free port]",
)
@click.option(
    "--session",
    "chosen",
    multiple=True,
    metavar="SESSION",
    help="Judge this session from the store or a file, and play nothing. May be repeated.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write the evidence as an HTML page: the checklist, and the timeline of each session.",
)
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="Fail a scenario if a finding has this severity or a higher one.",
)
@click.option("--no-input", is_flag=True, help="Do not wait for Enter: a scenario ends by itself, or by Ctrl-C.")
@token_options
@json_option
@config_option
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar="SESSIONTAPE_STORE",
    show_envvar=True,
    help="Keep the recording in this store; by default it is dropped at the end. --session finds its SESSION here.",
)
@click.pass_context
def certify(
    ctx: click.Context,
    *,
    names: tuple[str, ...],
    listing: bool,
    every: bool,
    folder: Path | None,
    upstream: ServerUrl | None,
    listen: tuple[str, int] | None,
    chosen: tuple[str, ...],
    page: Path | None,
    fail_on: str,
    no_input: bool,
    raw: bool,
    key_file: Path | None,
    as_json: bool,
    config: Path | None,
    store_url: str | None,
) -> None:
    """Play a scenario with a player, and judge what it reports.

    A recorder listens in front of the collector, or of --upstream. Let the player report to it, do what is printed, and
    press Enter. A scenario also ends five seconds after the player has closed its last session. Several scenarios are
    played one after the other.

    With -- COMMAND, the command plays the scenario: it finds the address in SESSIONTAPE_URL and the name of the scenario in
    SESSIONTAPE_SCENARIO. With --session, sessions that were recorded before are judged.

    Exit code: 0 if all scenarios passed; 1 if not; that of COMMAND if it failed; 2 if nothing was recorded.
    """
    command: tuple[str, ...] = ctx.meta[_AFTER_DASHES]
    _check(names, command, listing=listing, every=every, chosen=chosen, upstream=upstream, page=page)
    # Imported here because --help must not wait for the rules.
    from proxy_addon.files import scenarios as files  # noqa: PLC0415
    from proxy_addon.reporting import evidence as told  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415

    known = files.scenarios(folder)
    if listing:
        found = files.named(known, names) if names else [*known.values()]
        if as_json:
            print_json(told.scenarios_document(found))
        elif names:
            for scenario in found:
                told.print_scenario(console(), scenario)
        else:
            told.print_scenarios(console(), found)
        return
    wanted = [*known.values()] if every else files.named(known, names)
    judging = _Judging(fail_on, config, key_file, raw=raw, with_page=page is not None)
    if chosen:
        judging.of_recorded(wanted[0], chosen, store_url or DEFAULT_STORE)
        code = None
    else:
        playing = _Playing(judging, command, reads_input=not no_input, as_json=as_json, is_kept=store_url is not None)
        where = listen or (_BY_COMMAND if command else _BY_HAND)
        code = playing.play(wanted, upstream, where, store_url)
    if chosen or judging.has_sessions:
        with while_read():
            if as_json:
                print_json(told.evidence_document(judging.found))
            else:
                judging.print()
                if len(wanted) > 1:
                    click.echo(told.summary(judging.found, len(wanted)))
        if page is not None:
            judging.write(page)
    if code is None:
        code = int(not all(each.is_passed for each in judging.found))
    sys.exit(code)


def _check(
    names: Sequence[str],
    command: Sequence[str],
    *,
    listing: bool,
    every: bool,
    chosen: Sequence[str],
    upstream: ServerUrl | None,
    page: Path | None,
) -> None:
    if listing:
        return
    if every == bool(names):
        raise click.UsageError("name scenarios, which --list lists, or give --all")
    if len(set(names)) < len(names):
        raise click.UsageError("a scenario is named twice")
    if chosen and (command or upstream is not None):
        raise click.UsageError(
            "--session judges what was recorded, so nothing is played: leave out --upstream and COMMAND"
        )
    if chosen and len(names) != 1:
        raise click.UsageError("--session judges by one scenario: name one")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"the evidence is an HTML page: end the name {visible(str(page))} with .html")
    if page is not None and not (page.parent.is_dir() and os.access(page.parent, os.W_OK)):
        # It would be a pity to find out when all has been played.
        is_there = "you may not write in" if page.parent.is_dir() else "there is no folder"
        raise SettingsError(f"cannot write {page}: {is_there} {page.parent}", hint="make it, or name another")
    if command:
        children.find(command[0])


class _Judging:
    """Judges sessions by scenarios.

    Attributes:
        found: The evidence so far, with values as they were sent.
        shown: The same as the page shows it; empty if there is none.
    """

    def __init__(self, fail_on: str, config: Path | None, key_file: Path | None, *, raw: bool, with_page: bool) -> None:
        from proxy_addon.core.findings import Severity  # noqa: PLC0415  # --help does without
        from proxy_addon.files import settings  # noqa: PLC0415

        self.found: list[Evidence] = []
        self.shown: list[Evidence] = []
        self.policy: Policy = settings.load(config)
        self._fail_on = None if fail_on == "never" else Severity(fail_on)
        self._config = config
        self._key_file = key_file
        self._raw = raw
        self._with_page = with_page
        self._change: Pseudonymiser | None = None
        self._printed = 0

    @property
    def has_sessions(self) -> bool:
        """Whether a session was recorded at all."""
        return any(each.pictures for each in self.found)

    def of_recorded(self, scenario: Scenario, names: Sequence[str], store_url: str) -> None:
        """Judge sessions of a store, or of files.

        Raises:
            SessiontapeError: There is no such session, or it cannot be read.
        """
        from proxy_addon.cli import sources  # noqa: PLC0415  # as above
        from proxy_addon.core.fixtures.held import content_of  # noqa: PLC0415
        from proxy_addon.files.sessions import in_file, is_file_name, path_in  # noqa: PLC0415
        from storage import sessions  # noqa: PLC0415

        with ExitStack() as stack:
            db = None if all(map(is_file_name, names)) else stack.enter_context(reading(store_url))
            found: list[Source] = []
            known: dict[bytes, str] = {}
            for name in names:
                if is_file_name(name):
                    for held in sources.sessions_of(name):
                        told = in_file(held, path_in(name))
                        before = known.setdefault(content_of(held), told.session.id)
                        if before == told.session.id:
                            found.append(told)
                        else:
                            _say(f"{told.session.id} counts once: it is the same as {before}")
                else:
                    assert db is not None
                    found.append(sessions.find(db, name))
            self.judge(scenario, sorted(found, key=_began), db)

    def judge(
        self,
        scenario: Scenario,
        sessions: Sequence[Source],
        db: Connection | None,
        exit_code: int | None = None,
    ) -> None:
        """Judge sessions, the oldest first.

        Args:
            exit_code: Of the command that played the scenario; None if no command did.
        """
        from proxy_addon.cli import reports  # noqa: PLC0415  # as above
        from proxy_addon.core.scenarios.judging import judge, told_with  # noqa: PLC0415

        def judged(change: Pseudonymiser | None) -> Evidence:
            how = reports.Reading(policy=self.policy, now=datetime.now(UTC), change=change, closed=True)
            pictures = (each.picture() for each in reports.reported(sessions, db, how))
            return judge(scenario, pictures, self._fail_on, exit_code=exit_code)

        evidence = judged(None)
        self.found.append(evidence)
        if self._with_page:
            if self._raw:
                self.shown.append(evidence)
            else:
                if self._change is None:  # one for all, so that a value has the same token in the whole file
                    self._change = reports.pseudonymiser(sessions, self._key_file, self._config)
                self.shown.append(told_with(evidence, judged(self._change)))

    def print(self) -> None:
        """Print the evidence that was not printed before."""
        from proxy_addon.reporting import evidence  # noqa: PLC0415  # as above
        from proxy_addon.reporting.terminal import console  # noqa: PLC0415

        new, self._printed = self.found[self._printed :], len(self.found)
        for each in new:
            evidence.print_evidence(console(), each)

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            SettingsError: The file cannot be written.
        """
        from proxy_addon.files import whole  # noqa: PLC0415  # as above
        from proxy_addon.reporting.pages.evidence import evidence_file  # noqa: PLC0415

        pieces = evidence_file(self.shown, made_at=datetime.now(UTC), pseudonymised=not self._raw)
        size = whole.write(path, (piece.encode("utf-8", "replace") for piece in pieces), is_private=self._raw)
        _say(f"evidence written to {path}, {size / 1000:.0f} kB")


class _Playing:
    """Has scenarios played, one after the other."""

    def __init__(
        self, judging: _Judging, command: Sequence[str], *, reads_input: bool, as_json: bool, is_kept: bool
    ) -> None:
        self._judging = judging
        self._command = command
        self._reads_input = reads_input
        self._as_json = as_json
        self._is_kept = is_kept

    def play(
        self, wanted: Sequence[Scenario], upstream: ServerUrl | None, listen: tuple[str, int], store_url: str | None
    ) -> int | None:
        """Have scenarios played, and judge each; return the exit code, or None if it is up to the evidence.

        Raises:
            SessiontapeError: There is no recorder, or its store cannot be read.
        """
        from proxy_addon.testing import recorders  # noqa: PLC0415  # as above

        recorders.prepare()  # what takes longest comes first, because it happens in another process
        from proxy_addon.testing.stands import Stand  # noqa: PLC0415

        code = None
        with Stand(upstream=upstream, listen=listen, store_url=store_url, policy=self._judging.policy) as stand:
            if not self._command:
                _say(f"listening on {stand.rig.url} -> {upstream or 'a collector'}: let the player report there")
            for number, scenario in enumerate(wanted, 1):
                code, interrupted = self._one(stand, scenario)
                if code:
                    _say(f"the command ended with exit code {code}")
                left = len(wanted) - number
                if left and (code or interrupted):
                    _say(f"{'interrupted; ' if interrupted else ''}{counted(left, 'scenario')} not played")
                    code = code or 128 + (interrupted or 0)
                    break
            stand.rig.stop()
            for line in stand.rig.remarks:
                _say(line)
        if not self._judging.has_sessions:
            _say("nothing was recorded: let the player report to the address that is printed, or in SESSIONTAPE_URL")
            return code or _NO_EVIDENCE
        if not stand.rig.is_complete:
            _say("not everything was recorded, so the evidence cannot be relied on")
            return code or _NO_EVIDENCE
        if self._is_kept:
            _say(f"kept; to list: sessiontape sessions --name {shlex.quote(stand.rig.name)}")
        return code or None

    def _one(self, stand: Stand, scenario: Scenario) -> tuple[int | None, int | None]:
        """Have a scenario played and judge it; return the exit code of the command, and the signal that ended it."""
        since = datetime.now(UTC)
        code = interrupted = None
        if self._command:
            env = {
                **os.environ,
                "SESSIONTAPE_URL": stand.rig.url,
                "SESSIONTAPE_HOST": stand.rig.host,
                "SESSIONTAPE_SCENARIO": scenario.id,
            }
            program = children.find(self._command[0])
            ending = children.run([program, *self._command[1:]], env, to_stderr=self._as_json)
            code, interrupted = ending.code, ending.interrupted_by
        else:
            try:
                self._ask(scenario)
                many = len(scenario.sessions)
                stand.wait(since, many, partial(_say_begun, many), reads_input=self._reads_input)
            except Ended as e:
                interrupted = e.number
        with stand.recorded(since) as (db, sessions):
            self._judging.judge(scenario, sessions, db, code)
        if self._judging.has_sessions and not self._as_json:
            with while_read():
                self._judging.print()
        return code, interrupted

    def _ask(self, scenario: Scenario) -> None:
        from proxy_addon.reporting import evidence  # noqa: PLC0415  # as above
        from proxy_addon.reporting.terminal import console  # noqa: PLC0415

        with suppress(BrokenPipeError):
            evidence.print_steps(console(stderr=True), scenario)
        by_itself = "five seconds after the player has closed its last session."
        how = (
            f"Press Enter when you are done. It also ends {by_itself}" if self._reads_input else f"It ends {by_itself}"
        )
        click.echo(how, err=True)


def _began(source: Source) -> datetime:
    return source.started_at if isinstance(source, Session) else source.session.started_at


def _say_begun(wanted: int, number: int) -> None:
    more = f"of {wanted} has begun" if number <= wanted else f"has begun, but the scenario has only {wanted}"
    _say(f"session {number} {more}")


def _say(line: str) -> None:
    with suppress(BrokenPipeError):
        click.echo(f"sessiontape: {visible(line)}", err=True)
