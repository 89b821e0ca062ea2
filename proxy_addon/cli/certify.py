"""``sessiontape certify``: play a scenario, and get the evidence of what the player reported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, override

import click

from proxy_addon.cli.evidence import Gathered
from proxy_addon.cli.options import LISTEN, config_option, fail_on_option, json_option, token_options
from proxy_addon.cli.output import say, while_heard, while_read
from proxy_addon.cli.rig_options import keeping_option, listing_of, upstream_option
from proxy_addon.core.devices import device_of
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import visible
from proxy_addon.errors import SettingsError
from proxy_addon.process import children
from proxy_addon.process.signals import noting_signals
from storage import DEFAULT_STORE

if TYPE_CHECKING:
    from proxy_addon.core.scenarios.scenario import Scenario
    from proxy_addon.core.sessions import Session
    from proxy_addon.testing.rigs import Rig
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
@upstream_option
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
@fail_on_option
@click.option("--no-input", is_flag=True, help="Do not wait for Enter: a scenario ends by itself, or by Ctrl-C.")
@token_options
@json_option
@config_option
@keeping_option
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

    Exit code: that of the first COMMAND that failed, and 128 + N if signal N came before all scenarios were played; else 2 if
    nothing was recorded or not all could be stored, 1 if a scenario failed, else 0.
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
    gathered = Gathered(fail_on, config, key_file, raw=raw, with_page=page is not None)
    if chosen:
        gathered.of_recorded(wanted[0], chosen, store_url or DEFAULT_STORE)
        code = None
    else:
        playing = _Playing(gathered, command, reads_input=not no_input, as_json=as_json)
        where = listen or (_BY_COMMAND if command else _BY_HAND)
        code = playing.play(wanted, upstream, where, store_url)
    if code is None:
        code = int(not all(each.is_passed for each in gathered.found))
    if gathered.found:
        with while_read():
            if as_json:
                print_json(told.evidence_document(gathered.found, ok=code == 0))
            else:
                gathered.print()
                if len(wanted) > 1:
                    click.echo(told.summary(gathered.found, len(wanted)))
    if page is not None and gathered.has_sessions:  # else it would take the place of one from another day
        gathered.write(page)
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


class _Playing:
    """Has scenarios played, one after the other."""

    def __init__(self, gathered: Gathered, command: Sequence[str], *, reads_input: bool, as_json: bool) -> None:
        self._gathered = gathered
        self._command = command
        self._reads_input = reads_input
        self._as_json = as_json
        self._code: int | None = None

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

        with (
            Stand(upstream=upstream, listen=listen, store_url=store_url, policy=self._gathered.policy) as stand,
            noting_signals(stand.end) as received,
        ):
            if not self._command:
                say(f"listening on {stand.rig.url} -> {upstream or 'a collector'}: let the player report there")
            news = _News(stand.rig)
            for scenario in wanted:
                interrupted = self._one(stand, scenario, news, received)
                left = [each.id for each in wanted[len(self._gathered.found) :]]
                if interrupted is not None and left:
                    say(f"interrupted; not played: {', '.join(left)}")
                    self._code = self._code or 128 + interrupted
                    break
            stand.rig.stop()
            news.tell()
        if not self._gathered.found:
            return self._code
        if not self._gathered.has_sessions:
            where = "the address in SESSIONTAPE_URL" if self._command else stand.rig.url
            say(f"nothing was recorded: let the player report to {where}")
            return self._code or _NO_EVIDENCE
        if not stand.rig.is_complete:
            say("not everything was recorded, so the evidence cannot be relied on")
            return self._code or _NO_EVIDENCE
        if store_url is not None:
            say(f"kept; to list: {listing_of(stand.rig.name, store_url)}")
        return self._code

    def _one(self, stand: Stand, scenario: Scenario, news: _News, received: Sequence[int]) -> int | None:
        """Have a scenario played and judge it; return the signal that ended that, perhaps before anything was played.

        Args:
            received: Gets the number of a signal.
        """
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
            if code:
                say(f"the command that plays {scenario.id} ended with exit code {code}")
                self._code = self._code or code
        else:
            self._ask(scenario)
            news.begin(scenario)
            stand.wait(since, len(scenario.sessions), news.tell, reads_input=self._reads_input)
        with stand.recorded(since) as (db, sessions):
            interrupted = interrupted or next(iter(received), None)
            if sessions or interrupted is None:
                self._gathered.judge(scenario, sessions, db, code)
        if not self._as_json:
            with while_read():
                self._gathered.print()
        return interrupted

    def _ask(self, scenario: Scenario) -> None:
        from proxy_addon.reporting import evidence  # noqa: PLC0415  # as above
        from proxy_addon.reporting.terminal import console  # noqa: PLC0415
        from proxy_addon.testing.stands import drop_typed  # noqa: PLC0415

        drop_typed()
        by_itself = "five seconds after the player has closed its last session."
        how = (
            f"Press Enter when you are done. It also ends {by_itself}" if self._reads_input else f"It ends {by_itself}"
        )
        with while_heard():
            evidence.print_steps(console(stderr=True), scenario)
            click.echo(how, err=True)


class _News:
    """Says on stderr, each thing once, which devices reach a recorder, and what it remarks."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._remarks: list[str] = []
        self._wanted = self._told = 0

    def begin(self, scenario: Scenario) -> None:
        """Begin with a scenario."""
        self._wanted, self._told = len(scenario.sessions), 0

    def tell(self, found: Sequence[Session] = ()) -> None:
        """Say what is new.

        Args:
            found: The sessions of the scenario, the oldest first.
        """
        for line in self._rig.remarks:
            if line not in self._remarks:
                self._remarks.append(line)
                say(line)
        begun = 0
        for place, session in enumerate(found):
            begun += not session.failed
            if place >= self._told:
                say(self._of(session, begun))
        self._told = max(self._told, len(found))

    def _of(self, session: Session, number: int) -> str:
        device = device_of(session.user_agent) or "a device without User-Agent"
        if session.failed:
            return f"the start of a session was not accepted: {device}"
        if session.start_sha256 is None:
            return f"a playback goes on that began before: {device}; stop it, and begin the scenario again"
        if number > self._wanted:
            return f"session {number} has begun, but the scenario has only {self._wanted}: {device}"
        return f"session {number} of {self._wanted} has begun: {device}"
