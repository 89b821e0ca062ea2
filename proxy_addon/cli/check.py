"""``sessiontape check``: judge stored sessions, or a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.options import config_option, given, local_option, store_option

if TYPE_CHECKING:
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.reporting.judged import Subject
    from storage.sessions import Filters

FORMATS = ("text", "json", "junit", "sarif", "github")
FAIL_ON = ("error", "warning", "info", "never")
_KINDS = ("sessions", "events", "downloaded", "session")


@click.command()
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@all_options
@click.option("--closed", is_flag=True, help="Judge sessions that nobody has closed as if they were over.")
@click.option("--file", "file", metavar="FILE|-", help="Judge a file in place of stored sessions; - reads stdin.")
@click.option(
    "--as", "kind", type=click.Choice(_KINDS), help="What the file is: a body for an endpoint, or a whole session."
)
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="Exit with 1 where a finding is as bad as this, or worse.",
)
@click.option("--select", multiple=True, metavar="RULE", help="Only findings of this rule count. May be repeated.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Findings of this rule do not count. May be repeated.")
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
    fail_on: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    config: Path | None,
    filters: Filters,
    local: bool,
    store_url: str,
) -> None:
    """Judge stored sessions, or a file, by the rules of the protocol.

    Exit code 0: nothing as bad as --fail-on; 1: something is. 'sessiontape rules RULE' explains a rule.
    """
    # Not at the top: --help does without the rules.
    from proxy_addon.core.findings import Severity  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415
    from proxy_addon.reporting import checks  # noqa: PLC0415

    policy = replace(
        settings.load(config),
        select=settings.check_selection(select, given("select")),
        ignore=settings.check_selection(ignore, given("ignore")),
    )
    if file is None:
        if kind is not None:
            raise click.UsageError(f"{given('kind')} says what a --file is")
        require_selection(names, filters, everything=everything, verb="judged")
        subjects = _stored(store_url, names, filters, policy, allow_empty=allow_empty, closed=closed)
    else:
        if names or everything or filters.asked:
            raise click.UsageError(f"judge a file ({given('file')}) or stored sessions, not both")
        if kind is None:
            raise click.UsageError(f"say what the file is: --as {', '.join(_KINDS)}")
        subjects = iter([_from_file(file, kind, policy)])
    threshold = None if fail_on == "never" else Severity(fail_on).weight
    report = checks.report("json" if as_json else format_name, sys.stdout.write, threshold, local=local)
    failed = False
    first = next(subjects, None)  # what stands in the way of judging is said before anything is written
    report.begin()
    for subject in () if first is None else chain([first], subjects):
        report.add(subject)
        failed = failed or (
            threshold is not None and any(f.severity.weight >= threshold for f in subject.judgement.findings)
        )
    report.end(ok=not failed)
    sys.exit(1 if failed else 0)


def _stored(
    store_url: str, names: tuple[str, ...], filters: Filters, policy: Policy, *, allow_empty: bool, closed: bool
) -> Iterator[Subject]:
    """Yield stored sessions one by one, judged: memory grows with the largest one and not with their number."""
    from proxy_addon.core.judging.recorded import SessionWatch  # noqa: PLC0415
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.core.rules.body_views import Vocabulary  # noqa: PLC0415
    from proxy_addon.reporting.judged import Subject, moment_of  # noqa: PLC0415
    from storage import exchanges, schemas, sessions  # noqa: PLC0415
    from storage.opening import reading  # noqa: PLC0415

    now = datetime.now(UTC)
    vocabularies: dict[str, Vocabulary] = {}
    with reading(store_url) as db:
        if names:
            found = iter({session.id: session for session in (sessions.find(db, name) for name in names)}.values())
        else:
            if not allow_empty:
                require_any(db, filters)
            found = sessions.newest(db, filters, now=now)
        for session in found:
            if session.upstream not in vocabularies:
                vocabularies[session.upstream] = schemas.vocabulary(db, session.upstream, policy.params)
            watch = SessionWatch(
                session,
                now,
                policy,
                vocabularies[session.upstream],
                closed=closed,
                opened_beside=sessions.opened_beside(db, session),
            )
            judged = watch.judging(exchanges.of_session(db, session.id))
            moments = {seq: moment_of(exchange, session.started_at) for seq, exchange in enumerate(judged, 1)}
            yield Subject(
                judgement=watch.judgement(), session=session, state=session.state(as_of(now, policy)), moments=moments
            )


def _from_file(name: str, kind: str, policy: Policy) -> Subject:
    from proxy_addon.core.judging.files import FileKind, judge_file  # noqa: PLC0415
    from proxy_addon.errors import SettingsError  # noqa: PLC0415
    from proxy_addon.reporting.judged import Subject  # noqa: PLC0415

    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise SettingsError(f"cannot read {name}: {e.strerror}", hint="name a file, or - for stdin") from e
    return Subject(judgement=judge_file(raw, FileKind(kind), policy), file=None if name == "-" else name)
