"""``sessiontape check``: judge stored sessions or files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.check_reports import Reports
from proxy_addon.cli.engines import Engine, engine_option, worked
from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import (
    config_option,
    fail_on_option,
    given,
    local_option,
    plan_option,
    policy_of,
    selection_options,
    store_option,
)
from proxy_addon.cli.output import while_read
from proxy_addon.cli.reports import Reading
from proxy_addon.core.wording import counted, visible

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.core.exchange import Exchange
    from proxy_addon.core.findings import Judgement
    from proxy_addon.core.fixtures.held import HeldSession
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.sessions import Session
    from proxy_addon.reporting.judged import Moment, Subject
    from storage.auditing import Piece
    from storage.filters import Filters

FORMATS = ("text", "json", "junit", "sarif", "github")
_KINDS = ("sessions", "events", "downloaded", "session")


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@all_options
@click.option("--closed", is_flag=True, help="Judge unfinished sessions as if they were over.")
@click.option("--file", "file", metavar="FILE|-", help="Check a file instead of stored sessions; - reads stdin.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(_KINDS),
    help="What --file holds: one request body for the endpoint sessions, events or downloaded, or (session) whole "
    "sessions. By default it is guessed; stderr names the guess.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Format of the output.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--report",
    "reports",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.{html,json,xml,sarif}",
    multiple=True,
    help="Write a report as well: the sessions as an HTML page, as 'sessiontape report' does, or the findings as JSON, JUnit "
    "XML or SARIF. May be repeated.",
)
@fail_on_option
@selection_options
@engine_option
@plan_option
@config_option
@filter_options
@local_option
@store_option
def check(
    *,
    names: tuple[str, ...],
    everything: bool,
    allow_empty: bool,
    closed: bool,
    file: str | None,
    kind: str | None,
    format_name: str,
    as_json: bool,
    reports: tuple[Path, ...],
    fail_on: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    engine: Engine | None,
    plan: Path | None,
    config: Path | None,
    filters: Filters,
    local: bool,
    store_url: str,
) -> None:
    """Check sessions or a file against the rules of the protocol.

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last' for the newest, or a file (see
    'sessiontape show --help'). 'sessiontape rules RULE' explains a rule. With --all, stderr says whether exchanges outside
    of sessions have findings. An HTML report has no personal values.

    Exit code: 1 if a finding is at least as severe as --fail-on, else 0.
    """
    # Imported here because --help must not wait for the rules.
    from proxy_addon.core.findings import Severity  # noqa: PLC0415
    from proxy_addon.reporting import checks  # noqa: PLC0415

    policy = policy_of(plan, config, select=select, ignore=ignore)
    if engine is not None and not everything:
        raise click.UsageError(f"{given('engine')} is for --all: leave it out, or add --all")
    how = Reading(policy=policy, now=datetime.now(UTC), closed=closed, judged=True)
    if file is None:
        if kind is not None:
            raise click.UsageError(f"{given('kind')} describes the file of --file: add --file FILE, or leave it out")
        require_selection(names, filters, everything=everything, verb="checked", of_files=True)
        if names:
            subjects = _named(store_url, names, how)
        elif engine is not None:
            subjects = _spread(store_url, filters, how, engine, allow_empty=allow_empty)
        else:
            subjects = _filtered(store_url, filters, how, allow_empty=allow_empty)
    else:
        if names or everything or filters.asked:
            raise click.UsageError(f"{given('file')} checks a file: leave out SESSION, --all and the filters")
        subjects = _of_file(file, kind, how)
    threshold = None if fail_on == "never" else Severity(fail_on).weight
    report = checks.report("json" if as_json else format_name, sys.stdout.write, threshold, local=local)
    with Reports(reports, threshold, how, config=config, store_url=store_url) as written:
        first = list(islice(subjects, 1))  # errors that prevent judging are raised before anything is written
        judged = written.noting(chain(first, subjects))
        with while_read():
            report.begin()
            for subject in judged:
                report.add(subject)
            report.end(ok=not written.failed)
        for _ in judged:
            pass  # those that nobody reads count too
        written.write()
    _tell_of_unused_groups(policy, written)
    if everything:
        _tell_of_those_outside(store_url, filters, policy)
    sys.exit(1 if written.failed else 0)


def _stored(db: Connection, sessions: Iterable[Session], how: Reading) -> Iterator[Subject]:
    """Judge sessions of a store one by one, so that memory grows with the largest and not with their number."""
    from storage.judging import Judging  # noqa: PLC0415

    for session, watch, exchanges in Judging(db, how.policy, how.now, closed=how.closed).each(sessions):
        moments = _moments(session, exchanges)
        yield _subject(session, watch.judgement(), moments, how)


def _subject(
    session: Session, judgement: Judgement, moments: Mapping[int, Moment], how: Reading, file: str | None = None
) -> Subject:
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.reporting.judged import Subject  # noqa: PLC0415

    state = session.state(as_of(how.now, how.policy))
    return Subject(judgement=judgement, session=session, state=state, file=file, moments=moments)


def _moments(session: Session, exchanges: Iterable[Exchange]) -> dict[int, Moment]:
    from proxy_addon.reporting.judged import moment_of  # noqa: PLC0415

    return {seq: moment_of(exchange, session.started_at) for seq, exchange in enumerate(exchanges, 1)}


def _filtered(store_url: str, filters: Filters, how: Reading, *, allow_empty: bool) -> Iterator[Subject]:
    """Judge the sessions that pass the filters."""
    from storage import sessions  # noqa: PLC0415

    with reading(store_url) as db:
        if not allow_empty:
            require_any(db, filters)
        yield from _stored(db, sessions.newest(db, filters, now=how.now), how)


def _spread(store_url: str, filters: Filters, how: Reading, engine: Engine, *, allow_empty: bool) -> Iterator[Subject]:
    """Judge the sessions that pass the filters on the workers of an engine; they come in the same order as without."""
    from storage.auditing import pieces  # noqa: PLC0415

    with reading(store_url) as db:
        if not allow_empty:
            require_any(db, filters)
        newest_first = list(pieces(db, filters, how.now))[::-1]
    work = StoredCheck(store_url=engine.store_url(store_url), filters=filters, how=how)
    with closing(worked(work, newest_first, engine=engine)) as parts:
        for part in parts:
            yield from part


@dataclass(frozen=True, kw_only=True)
class StoredCheck:
    """How sessions of a store are judged on another machine."""

    store_url: str = field(repr=False)  # may have a password, and engines log what they work on
    filters: Filters
    how: Reading

    def __call__(self, piece: Piece) -> list[Subject]:
        """Judge a piece, and return its sessions, the newest first, with the moments that findings name."""
        from storage import opening, sessions  # noqa: PLC0415

        with opening.reading(self.store_url) as db:
            within = (piece.first, piece.last)
            found = sessions.newest(db, self.filters, now=self.how.now, within=within)
            return [_with_named_moments(subject) for subject in _stored(db, found, self.how)]


def _with_named_moments(subject: Subject) -> Subject:
    named = {place.seq for finding in subject.judgement.findings for place in finding.places}
    return replace(subject, moments={seq: moment for seq, moment in subject.moments.items() if seq in named})


def _tell_of_unused_groups(policy: Policy, written: Reports) -> None:
    """Name the groups of the plan that no session is in, unless that is so because only one was judged."""
    groups = () if policy.plan is None else policy.plan.groups
    unused = dict.fromkeys(str(group) for place, group in enumerate(groups) if place not in written.plan_groups)
    if unused and (written.sessions > 1 or (written.sessions and not written.plan_groups)):
        which = "this group" if len(unused) == 1 else "these groups"
        click.echo(visible(f"sessiontape: no session is in {which} of the plan: {'; '.join(unused)}"), err=True)


def _tell_of_those_outside(store_url: str, filters: Filters, policy: Policy) -> None:
    """Say how many exchanges that belong to no session have findings which the policy asks for."""
    from proxy_addon.core.findings import CHECKER_FAILED  # noqa: PLC0415
    from proxy_addon.core.rules import RULES  # noqa: PLC0415
    from storage import exchanges  # noqa: PLC0415

    asked = [rule.id for rule in RULES.values() if policy.severity(rule) is not None and policy.asks_for(rule)]
    asked += {CHECKER_FAILED} - policy.ignore
    with reading(store_url) as db:
        number = exchanges.number_found_outside(db, filters, asked)
    if number:
        have, them = ("has", "it") if number == 1 else ("have", "them")
        click.echo(
            f"{counted(number, 'exchange')} outside of sessions {have} findings: 'sessiontape exchanges' lists {them}",
            err=True,
        )


def _named(store_url: str, names: Sequence[str], how: Reading) -> Iterator[Subject]:
    """Judge named sessions, those in files first; open the store only if a name means a stored session."""
    from proxy_addon.cli import sources  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name, path_in  # noqa: PLC0415
    from storage import sessions  # noqa: PLC0415

    of_files = [name for name in dict.fromkeys(names) if is_file_name(name)]
    of_store = [name for name in names if name not in of_files]
    with reading(store_url) if of_store else nullcontext() as db:
        found = {} if db is None else {each.id: each for each in (sessions.find(db, name) for name in of_store)}
        for name in of_files:
            yield from _held(sources.sessions_of(name), path_in(name), how)
        if db is not None:
            yield from _stored(db, found.values(), how)


def _of_file(path: str, kind: str | None, how: Reading) -> Iterator[Subject]:
    """Judge what a file or stdin contains."""
    from proxy_addon.cli import sources  # noqa: PLC0415
    from proxy_addon.core.judging.files import FileKind, guess, judge_file  # noqa: PLC0415
    from proxy_addon.files.captures import Form  # noqa: PLC0415
    from proxy_addon.files.sessions import in_file  # noqa: PLC0415
    from proxy_addon.files.unpacking import read  # noqa: PLC0415
    from proxy_addon.recording.captures import recognised  # noqa: PLC0415
    from proxy_addon.reporting.judged import Subject  # noqa: PLC0415

    raw: bytes | None = None
    if kind in (None, FileKind.SESSION):
        file, form = recognised(path)
        if form is None or form is Form.LISTED:
            raw = file.all()
        why = f"it is {form}"
        if kind is None:
            kind = FileKind.SESSION
            if raw is not None:
                kind, why = guess(raw, is_list=form is Form.LISTED)
            click.echo(f"sessiontape: checking {file.name} with --as {kind}: {why}", err=True)
        if form is not None and raw is None:
            yield from _held(sources.sessions_in_file(file, form), None if path == "-" else path, how)
            return
    raw = read(path) if raw is None else raw
    held = _listed(raw) if kind == FileKind.SESSION else None
    told = held if held is None or path == "-" else in_file(held, path)
    judgement = judge_file(raw, FileKind(kind), how.policy, held=told)
    yield Subject(judgement=judgement, file=None if path == "-" else path, held=held)


def _listed(raw: bytes) -> HeldSession | None:
    """Return the session in a list of bodies; None if there is none in it."""
    from proxy_addon.core import jsontext  # noqa: PLC0415  # as above
    from proxy_addon.core.fixtures import listed  # noqa: PLC0415
    from proxy_addon.errors import ProtocolError  # noqa: PLC0415

    try:
        value = jsontext.loads(raw)
        return listed.session_in(value, raw) if listed.is_listed(value) else None
    except ProtocolError:
        return None


def _held(found: Iterable[HeldSession], path: str | None, how: Reading) -> Iterator[Subject]:
    """Judge sessions of a file, or of stdin; each counts as over. The pointers into a list of bodies are into all of it."""
    from proxy_addon.core.judging.files import FileKind, judge_file, judge_held  # noqa: PLC0415
    from proxy_addon.files.sessions import in_file  # noqa: PLC0415
    from proxy_addon.reporting.judged import Subject  # noqa: PLC0415

    for held in found:
        told = held if path is None else in_file(held, path)
        if held.written is not None:
            judgement = judge_file(held.written, FileKind.SESSION, how.policy, held=told)
            yield Subject(judgement=judgement, file=path, held=held)
        else:
            moments = _moments(told.session, told.exchanges)
            yield replace(_subject(told.session, judge_held(told, how.policy), moments, how, path), held=held)
