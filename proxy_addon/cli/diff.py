"""``sessiontape diff``: two sessions side by side."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli import sources
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, given, json_option, local_option, store_option
from proxy_addon.cli.output import while_read
from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.cli.comparisons import Compared, Report
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.core.pseudonyms.personal import Personal
    from proxy_addon.core.timelines.pictures import Picture


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option("--run", "run_name", metavar="RUN", help="Instead of B: compare A with its replay in this run.")
@click.option(
    "--as-test", is_flag=True, help="Compare only what was tracked, as a test does: A is the expectation, B is tested."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["text", "json", "junit", "github"]),
    help="With --as-test: how to print the result; 'github' is for annotations in GitHub workflows.  [default: text]",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="[EVENT:]PLACE",
    help="With --as-test: accept differences in this place, such as params/media.ad.id, adStart:playhead, or ping:*. "
    "With '!' before it, the place counts again. May be repeated.",
)
@click.option(
    "--playhead-tolerance",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --as-test: how far playheads may be apart.  [default: that of A, or 1]",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Also write the comparison as one HTML file, with tokens in place of personal values.",
)
@click.option("--raw", is_flag=True, allow_from_autoenv=False, help="With --report: write personal values as they are.")
@config_option
@json_option
@local_option
@store_option
def diff(
    *,
    a: str,
    b: str | None,
    run_name: str | None,
    as_test: bool,
    format_name: str | None,
    ignore: tuple[str, ...],
    playhead_tolerance: float | None,
    report_path: Path | None,
    raw: bool,
    config: Path | None,
    as_json: bool,
    local: bool,
    store_url: str,
) -> None:
    """Compare two sessions event by event, or a session with its replay.

    A and B are ids, back-end session IDs, unique prefixes of either, 'last' for the newest session, or files (see
    'sessiontape show --help'). With --run RUN, A is compared with what the replay run sent and got.

    With --as-test, events are compared by what they mean: IDs, versions and times differ each time and do not count, and
    pings are compared as a rhythm. A is the expectation, usually a file that 'sessiontape expect' wrote.

    Exit code: 1 if something differs, else 0. What a run was told to change in requests is shown, but is no difference.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.cli.comparisons import Report, check_path  # noqa: PLC0415
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.core.replays.aligning import Kind, align, entries, replayed  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
    from proxy_addon.reporting.documents import listed_document, pair_document  # noqa: PLC0415
    from proxy_addon.reporting.tables import print_pairs  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json, printable, session_heading  # noqa: PLC0415
    from storage import runs  # noqa: PLC0415

    if (b is None) == (run_name is None):
        raise click.UsageError("name two sessions, or one session and --run RUN")
    if report_path is None and raw:
        raise click.UsageError("--raw works only with --report: add --report FILE.html, or leave out --raw")
    personal = settings.load_personal(config)
    report = None
    if report_path is not None:
        check_path(report_path)
        report = Report(path=report_path, raw=raw, personal=personal)
    if as_test:
        if b is None:
            raise click.UsageError("--as-test compares two sessions: name B instead of --run")
        format_name = "json" if as_json else format_name or "text"
        asked = _Asked(
            ignore=ignore,
            playhead_tolerance_s=playhead_tolerance,
            personal=personal,
            report=report,
            policy=settings.load(config),
        )
        sys.exit(_tested(a, b, store_url, format_name, asked))
    for name, value in (
        ("format_name", format_name),
        ("ignore", ignore or None),
        ("playhead_tolerance", playhead_tolerance),
    ):
        if value is not None:
            raise click.UsageError(f"{given(name)} is for --as-test: add --as-test, or leave it out")
    policy = settings.load(config)
    at = as_of(datetime.now(UTC), policy)
    if run_name is not None and is_file_name(a):
        raise click.UsageError(
            "--run compares a session of the store, and A is a file: name the session that A was saved from"
        )
    with ExitStack() as stack:
        db = None if b is not None and is_file_name(a) and is_file_name(b) else stack.enter_context(reading(store_url))
        one = _side(db, a, at, policy)
        if b is not None:
            other = _side(db, b, at, policy)
            answers = one.held.has_answers and other.held.has_answers
            pairs = align(entries(one.exchanges, answers=answers), entries(other.exchanges, answers=answers))
            if report is not None:
                report.of_sessions(one.compared, other.compared)
            beside = session_heading(other.session, other.session.state(at), other.name, local=local)
        else:
            assert db is not None
            other = None
            run = runs.find(db, run_name or "")
            found = next((each for each in runs.sessions(db, run.id) if each.source == one.session.id), None)
            if found is None:
                raise NotFound(
                    f"run {run.id} did not replay session {one.session.id}",
                    hint=f"'sessiontape runs {run.id}' lists the sessions that it did replay",
                )
            pairs = list(replayed(entries(one.exchanges), found))
            if report is not None:
                report.of_replay(one.compared, found, run_id=run.id)
            beside = printable(f"run {run.id} to {run.target}")
    counts = Counter(pair.kind for pair in pairs)
    with while_read():  # the exit code counts even if nobody reads the rest
        if as_json:
            print_json(
                {
                    "a": listed_document(one.session, at, one.gaps),
                    "b": None if other is None else listed_document(other.session, at, other.gaps),
                    "pairs": [pair_document(pair) for pair in pairs],
                    "counts": {kind.value: counts[kind] for kind in Kind},
                }
            )
        else:
            print_pairs(
                console(), pairs, session_heading(one.session, one.session.state(at), one.name, local=local), beside
            )
            click.echo(", ".join(f"{counts[kind]} {kind.value}" for kind in Kind))
    sys.exit(0 if all(pair.kind is Kind.SAME or pair.is_wanted for pair in pairs) else 1)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the command line says about comparing as a test."""

    ignore: tuple[str, ...]
    playhead_tolerance_s: float | None
    personal: Personal
    policy: Policy
    report: Report | None = None


def _tested(a: str, b: str, store_url: str, format_name: str, asked: _Asked) -> int:
    """Print whether B is tracked as A; return the exit code."""
    from proxy_addon.core.expectations.compare import Compare  # noqa: PLC0415  # as above
    from proxy_addon.core.expectations.tracking import compare_tracking  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name, path_in  # noqa: PLC0415
    from proxy_addon.reporting import tracking  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415

    expected, actual = (sources.held_anywhere(name, store_url) for name in (a, b))
    compare = Compare.parsed(expected.compare, a, asked.personal).with_rules(asked.ignore, "--ignore")
    if asked.playhead_tolerance_s is not None:
        compare = replace(compare, playhead_tolerance_s=asked.playhead_tolerance_s)
    comparison = compare_tracking(actual, expected, compare)
    if asked.report is not None:
        one, other = (
            name if is_file_name(name) else held.session.id for name, held in ((a, expected), (b, actual))
        )  # 'last' and prefixes mean nothing to whoever reads the page
        asked.report.of_test(comparison, expected=one, actual=other, now=datetime.now(UTC), policy=asked.policy)
    with while_read():
        if format_name == "json":
            print_json(tracking.document(comparison, expected=a, actual=b))
        elif format_name == "junit":
            sys.stdout.write(tracking.suite(comparison, expected=a, actual=b))
        elif format_name == "github":
            sys.stdout.write(tracking.annotation_lines(comparison, expected=path_in(a), actual=b))
        else:
            is_wrapped = console().room is not None
            click.echo(tracking.text(comparison, expected=a, actual=b, is_wrapped=is_wrapped))
    return 0 if comparison.is_same else 1


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One of the two sessions.

    Attributes:
        name: The name to show; None for the session's id.
        gaps: What was lost of it, by time of arrival.
        picture: As of `Compared`.
    """

    held: HeldSession
    picture: Callable[[Pseudonymiser | None], Picture]
    name: str | None = None
    gaps: Sequence[Loss] = ()

    @property
    def session(self) -> Session:
        return self.held.session

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return self.held.exchanges

    @property
    def compared(self) -> Compared:
        """The session as a report takes it."""
        from proxy_addon.cli.comparisons import Compared  # noqa: PLC0415  # as above

        return Compared(held=self.held, name=self.name or self.session.id, picture=self.picture)


def _side(db: Connection | None, name: str, at: AsOf, policy: Policy) -> _Side:
    from proxy_addon.cli import sources  # noqa: PLC0415
    from proxy_addon.core.timelines.reported import of_held  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
    from storage import exchanges, losses, sessions  # noqa: PLC0415
    from storage.pictures import Pictures  # noqa: PLC0415

    if db is None or is_file_name(name):
        held = sources.held(name)
        return _Side(held=held, name=name, picture=lambda tokens: of_held(held, at, policy, tokens).picture())
    session = sessions.find(db, name)
    return _Side(
        held=HeldSession(session=session, exchanges=tuple(exchanges.of_session(db, session.id))),
        gaps=losses.of_session(db, session.id) if session.lost else (),
        picture=lambda tokens: Pictures(db, policy, at.now, tokens).reported(session).picture(),
    )
