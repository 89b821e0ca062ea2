"""``sessiontape import``: store what files of other tools and fixtures hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon import __version__
from proxy_addon.cli.options import config_option, json_option, store_option
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures.captures import Capture, Tally
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import SessiontapeError, SettingsError

if TYPE_CHECKING:
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.files.unpacking import Unpacked
    from storage.engine import Store
    from storage.importing import Imported
    from storage.saving import RecordingRun


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the recording. By default, it is taken from the file, or is the file's name.",
)
@config_option
@json_option
@store_option
def import_(*, files: tuple[str, ...], name: str | None, config: Path | None, as_json: bool, store_url: str) -> None:
    """Import sessions from files, as if they had been recorded.

    FILE is a fixture or NDJSON file of 'sessiontape export', a HAR file of a browser or a proxy, a mitmproxy flow file, a
    Charles session (.chlsj), a Proxyman log, or any other file with answers that 'sessiontape show' reads.
    sessiontape recognises it by its content. Requests to other servers than the Media Collection API are skipped and counted.

    Importing a file again stores nothing twice.

    Exit code: 2 if nothing was imported, else 0, even if parts of a file cannot be read: the command lists them.
    """
    # Imported here because --help must not wait for the database and the rules.
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting.terminal import print_json  # noqa: PLC0415

    policy = settings.load(config)
    done: list[_File] = []
    for path in dict.fromkeys(files):
        file = _File(path)
        done.append(file)
        try:
            _import(file, name, policy, store_url)
        except SessiontapeError as e:
            if len(files) == 1:
                raise
            file.error = f"{e}"
            click.echo(f"sessiontape: {visible(str(e))}", err=True)
            if e.hint:
                click.echo(f"  {visible(e.hint)}", err=True)
        if not as_json:
            for line in file.lines():
                click.echo(visible(line))
    if as_json:
        print_json({"files": [file.document() for file in done]})
    if not any(file.exchanges for file in done):
        if len(done) == 1:
            raise SettingsError(
                f"nothing was imported from {done[0].path}: it has no request to the Media Collection API",
                hint="requests to the API have /api/v1/ in their path",
            )
        click.echo("sessiontape: nothing was imported", err=True)
        sys.exit(2)


@dataclass(slots=True)
class _File:
    """What became of a file.

    Attributes:
        form: What the file is; empty if that is unknown.
        error: Why it could not be read at all; None if it could.
    """

    path: str
    form: str = ""
    tally: Tally = field(default_factory=Tally)
    sessions: int = 0
    events: int = 0
    exchanges: int = 0
    error: str | None = None

    def document(self) -> dict[str, object]:
        """Return the element of ``import --json``."""
        return {
            "file": self.path,
            "sessions": self.sessions,
            "events": self.events,
            "exchanges": self.exchanges,
            "skipped": self.tally.skipped.total(),
            "broken": self.tally.broken_count,
            "incomplete": self.tally.incomplete,
            "remarks": [*([] if self.error is None else [self.error]), *self.tally.remarks, *self._broken()],
        }

    def lines(self) -> Iterator[str]:
        """Yield what the command says of the file."""
        if self.error is not None:
            return
        told = [counted(self.sessions, "session"), counted(self.events, "event"), counted(self.exchanges, "exchange")]
        yield f"{self.path}: {self.form}: {', '.join(told)}"
        if self.tally.skipped:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.tally.skipped.items()))
            yield f"  skipped {counted(self.tally.skipped.total(), 'entry', 'entries')}: {kinds}"
        if self.tally.incomplete:
            yield f"  {counted(self.tally.incomplete, 'exchange')} whose request body is not in the file"
        for remark in self.tally.remarks:
            yield f"  {remark}"
        for broken in self._broken():
            yield f"  broken: {broken}"

    def _broken(self) -> list[str]:
        more = self.tally.broken_count - len(self.tally.broken)
        return [*self.tally.broken, *([f"{counted(more, 'more entry', 'more entries')}"] if more else [])]


def _import(file: _File, name: str | None, policy: Policy, store_url: str) -> None:
    """Import a file; what it holds is in the store when this returns, or as far as it got if it raises.

    Raises:
        SettingsError: The file cannot be read, or is of no form that we know.
        StorageUnavailable: The store cannot be reached or written.
    """
    from proxy_addon.cli import sources  # noqa: PLC0415  # as above
    from storage.opening import writing  # noqa: PLC0415

    opened, capture = sources.opened(file.path)
    file.form, file.tally = capture.form, capture.tally
    found = iter(capture.exchanges)
    first = next(found, None)
    if first is None:
        return  # and no store was made for it
    with writing(store_url) as store:
        run = _run_of(store, opened, name, capture)
        for done in _stored(store, run, chain([first], found), file.tally, policy):
            file.sessions, file.events = done.sessions, done.events
            file.exchanges = done.exchanges
        if done.elsewhere:
            file.tally.remark(
                f"{counted(done.elsewhere, 'session')} of it {'is' if done.elsewhere == 1 else 'are'} in the store once "
                "more, recorded or from another file"
            )


def _run_of(store: Store, file: Unpacked, name: str | None, capture: Capture) -> RecordingRun:
    """Return the recording that a file becomes: that of the earlier import if the same file was imported before."""
    from storage.importing import earlier  # noqa: PLC0415  # as above
    from storage.saving import RecordingRun  # noqa: PLC0415

    sha256 = file.sha256()
    with store.read() as db:
        before = earlier(db, sha256)
    if before is not None:
        called = "" if before.name is None else f", as recording {before.name!r}"
        capture.tally.remark(f"a file with the same content was imported before{called}: nothing is stored twice")
        return replace(before, has_holes=capture.lacks_failures)
    return RecordingRun(
        id=sha256[:16],
        name=name or capture.recording or (None if capture.is_ours else Path(file.name).name),
        started_at=datetime.now(UTC),
        version=__version__,
        pseudonymised=capture.pseudonymised,
        imported_from=Path(file.name).name,
        file_sha256=sha256,
        has_holes=capture.lacks_failures,
    )


def _stored(
    store: Store, run: RecordingRun, found: Iterable[Exchange], tally: Tally, policy: Policy
) -> Iterator[Imported]:
    from proxy_addon.core.findings import Finding  # noqa: PLC0415  # as above
    from proxy_addon.core.judging.exchanges import judge_exchange  # noqa: PLC0415
    from proxy_addon.core.judging.recorded import SessionWatch  # noqa: PLC0415
    from proxy_addon.core.rules.body_views import Vocabulary  # noqa: PLC0415
    from proxy_addon.core.sessions import Session  # noqa: PLC0415
    from storage.importing import store_file  # noqa: PLC0415

    vocabulary = Vocabulary(policy.params)

    def of_exchange(exchange: Exchange) -> Sequence[Finding]:
        return judge_exchange(exchange, policy, vocabulary)

    def of_session(session: Session, beside: str | None, exchanges: Iterable[Exchange]) -> Sequence[Finding]:
        # By the time of its last event: whether it ran out is told when it is read, as of a recorded session.
        watch = SessionWatch(session, session.last_event_at, policy, None, opened_beside=beside)
        for _ in watch.judging(exchanges):
            pass
        return watch.judgement().of_session

    return store_file(store, run, found, of_exchange, of_session, is_cut_off=lambda: tally.is_cut_off)
