"""``sessiontape audit``: what devices really send, over many sessions."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.engines import Engine, engine_option, worked
from proxy_addon.cli.filters import filter_options, require_any, written
from proxy_addon.cli.held_files import HeldFiles
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
    token_options,
)
from proxy_addon.cli.output import while_read
from proxy_addon.core.audits.auditing import By
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from proxy_addon.core.audits.hiding import Hide
    from proxy_addon.core.audits.results import Audit
    from proxy_addon.core.audits.totals import ByGroup, GroupName
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.reporting.progress import ReadingProgress
    from storage.auditing import Piece
    from storage.filters import Filters

FORMATS = ("text", "html", "json", "csv", "junit")
_OF_NAMES = {".html": "html", ".htm": "html", ".json": "json", ".csv": "csv", ".xml": "junit"}
"""Formats by the endings of names."""
_READ_AGAIN = frozenset({"text", "html"})
"""Formats that show sessions to look at."""
_STDOUT = "-"


@click.command()
@click.argument("files", metavar="[FILE|FOLDER]...", nargs=-1)
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    help="Put sessions into groups that have this in common; app-version is media.sdkVersion.",
)
@click.option(
    "--baseline",
    metavar="FILTER|RECORDING|PATH",
    help="Say what changed since other sessions: those of the recording with this name; those that pass filters such as "
    "player=HTML5,until=7d; or, with files, those in another file or folder.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Format of the output. html: a page that any browser opens offline; csv: one fact per line, for spreadsheets. By "
    "default, that of --output, if its name ends in .html, .json, .csv or .xml, else text.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", metavar="PATH", default=_STDOUT, help="Where to write the result: a file, or - for stdout."
)
@fail_on_option
@click.option(
    "--fail-on-change",
    is_flag=True,
    help="Exit with 1 if anything changed since the baseline, or differs with too few sessions to say. Only with --baseline.",
)
@selection_options
@click.option("--closed", is_flag=True, help="Take sessions that are not finished as over.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes read a store; by default, as many as there are processors.",
)
@engine_option
@click.option("--allow-empty", is_flag=True, help="Exit with 0 even if no session matches the filters.")
@plan_option
@click.option(
    "--make-plan",
    is_flag=True,
    help="Write a tracking plan of what these sessions send, with comments on what was seen, instead of an audit. With --by, "
    "the plan has a part for each group.",
)
@click.option("--force", is_flag=True, help="With --make-plan: replace a plan that says something else.")
@token_options
@config_option
@filter_options
@local_option
@store_option
def audit(
    *,
    files: tuple[str, ...],
    by: str | None,
    baseline: str | None,
    format_name: str | None,
    as_json: bool,
    output: str,
    fail_on: str,
    fail_on_change: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    closed: bool,
    jobs: int | None,
    engine: Engine | None,
    allow_empty: bool,
    plan: Path | None,
    make_plan: bool,
    force: bool,
    raw: bool,
    key_file: Path | None,
    config: Path | None,
    filters: Filters,
    local: bool,
    store_url: str,
) -> None:
    """Say what devices really send: which keys on which events, how regularly, what is wrong with it, and what gets lost.

    It reads all sessions of the store that match the filters, or those in files: fixtures, HAR files and all that
    'sessiontape import' takes. Of a folder, it reads the files in it and in the folders below.

    Values that say who a viewer is are replaced by tokens; --raw keeps them.

    With --baseline, it also says what changed: what appeared, vanished, or became more or less frequent, if there are enough
    sessions to tell that from chance. The filters of the command do not apply to the baseline, which has its own: name,
    since, until, state, player, media, user-agent.

    Exit code: 1 if a finding is at least as severe as --fail-on, or with --fail-on-change, if anything changed since the
    baseline, or if something differs and there are too few sessions to say whether that is chance; else 0. With both
    --fail-on never and --fail-on-change, nothing fails that was the same before.
    """
    from proxy_addon.core.audits.concluding import audit_of  # noqa: PLC0415  # --help does without the rules
    from proxy_addon.core.audits.results import FileNote  # noqa: PLC0415
    from proxy_addon.reporting.audits.folders import without_folder  # noqa: PLC0415
    from storage.engine import hide_password  # noqa: PLC0415

    if files and filters.asked:
        raise click.UsageError(
            f"{given(filters.asked[0])} is a filter for the store: leave it out, or put the files into a store with "
            "'sessiontape import', and leave out the files"
        )
    if make_plan and (plan is not None or baseline is not None or as_json or format_name not in (None, "text")):
        raise click.UsageError("--make-plan writes a plan as YAML: leave out --plan, --baseline, --format and --json")
    if force and not make_plan:
        raise click.UsageError(f"{given('force')} is for --make-plan: leave it out, or add --make-plan")
    if files and (jobs is not None or engine is not None):
        option = given("jobs" if jobs is not None else "engine")
        raise click.UsageError(f"{option} is for a store: leave it out for files")
    if engine is not None and jobs is not None:
        raise click.UsageError(
            "--jobs is for processes on this machine, and --engine for workers: leave out one of them"
        )
    if fail_on_change and baseline is None:
        raise click.UsageError("--fail-on-change needs --baseline, which says what changed")
    how = _How(
        policy=policy_of(plan, config, select=select, ignore=ignore),
        now=datetime.now(UTC),
        by=None if by is None else By(by),
        closed=closed,
        allow_empty=allow_empty,
    )
    format_name = "json" if as_json else format_name or _OF_NAMES.get(Path(output).suffix.lower(), "text")
    if format_name in _READ_AGAIN:
        from proxy_addon.cli import audit_page  # noqa: PLC0415  # as above

    if format_name == "html":
        audit_page.check_name(output)
    change = None if raw else _change(store_url if not files else " ".join(files), key_file, config)
    hide = _hide(change)
    old: ByGroup | None = None
    held_before, of_both = HeldFiles(()), 0
    if baseline is not None:
        with _naming(baseline, of_files=bool(files)):
            if files:
                held_before = HeldFiles([baseline])
                old = _of_files(held_before, how, "it")
            else:
                before = written(baseline, config)
                old = _of_store(store_url, before, how, jobs, engine, is_written=True)
                of_both = _number_of_both(store_url, filters, before, how.now)
    held, source = HeldFiles(files), ", ".join(map(visible, files)) if files else hide_password(store_url)
    groups = _of_files(held, how, source) if files else _of_store(store_url, filters, how, jobs, engine)
    notes = [*held.notes, *(replace(note, text=f"baseline: {note.text}") for note in held_before.notes)]
    if of_both := of_both or held.shared(held_before):
        notes.append(
            FileNote(
                text=f"{counted(of_both, 'session')} both in the audit and in its baseline, and nothing changes in these"
            )
        )
        click.echo(f"sessiontape: {notes[-1].text}", err=True)
    if make_plan:
        _write_plan(groups, how.by, hide, output, force=force, is_private=raw)
        return
    result = audit_of(
        groups,
        by=how.by,
        now=how.now,
        source=source,
        filters=(*_told(filters), *(("select", rule) for rule in select), *(("ignore", rule) for rule in ignore)),
        plan=None if plan is None else plan.name,
        plan_groups=() if how.policy.plan is None else tuple(map(str, how.policy.plan.groups)),
        baseline=None if baseline is None or old is None else (visible(baseline), old),
        hide=hide,
        notes=tuple(notes),
    )
    examples: dict[str, str] = {}
    if format_name in _READ_AGAIN:
        look = audit_page.Looking(policy=how.policy, now=how.now, change=change)
    if format_name == "text" and result.all.findings:
        if files:
            examples = look.examples_in_files(result, held)
        else:
            examples = look.examples_in_store(result, store_url, closed=closed)
    if format_name == "html":
        pieces = look.in_files(result, held, held_before) if files else look.in_store(result, store_url, closed=closed)
        audit_page.write(result, output, pieces, is_private=raw)
    else:
        _write(
            without_folder(result) if files and format_name == "text" else result,
            format_name,
            output,
            fail_on,
            examples=examples,
            changes_fail=fail_on_change,
            local=local,
            is_private=raw,
        )
    has_changed = fail_on_change and _has_changed(result)
    sys.exit(1 if has_changed or _failed(result, fail_on) else 0)


@dataclass(frozen=True, kw_only=True)
class _How:
    policy: Policy
    now: datetime
    by: By | None
    closed: bool
    allow_empty: bool


@contextmanager
def _naming(baseline: str, *, of_files: bool) -> Iterator[None]:
    """Let errors about the baseline name it, and say so if files and a store cannot be compared.

    Args:
        of_files: Whether files are audited.
    """
    said = f"--baseline {visible(baseline)}"
    try:
        yield
    except click.UsageError:
        raise SettingsError(
            f"{said} is no file or folder, and files can only be compared with files",
            hint="to compare with sessions of a store, import the files",
        ) from None
    except NotFound as e:
        is_there = not of_files and os.path.lexists(baseline)
        why = "files can only be compared with files: name those of the audit, too"
        raise NotFound(
            f"{said}: {e}", hint=f"{visible(baseline)} is there as a path, but {why}" if is_there else e.hint
        ) from e
    except SettingsError as e:
        raise SettingsError(f"{said}: {e}", hint=e.hint) from e


def _change(of: str, key_file: Path | None, config: Path | None) -> Pseudonymiser:
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415  # as above
    from proxy_addon.files import keys, settings  # noqa: PLC0415

    key = keys.of_output([of]) if key_file is None else keys.key_of(key_file)
    return Pseudonymiser(key, settings.load_personal(config))


def _hide(change: Pseudonymiser | None) -> Hide:
    from proxy_addon.core.audits.hiding import RAW, Hiding  # noqa: PLC0415  # as above

    return RAW if change is None else Hiding(change)


def _told(filters: Filters) -> Iterator[tuple[str, str]]:
    for name in filters.asked:
        value = getattr(filters, name)
        for each in sorted(value) if isinstance(value, frozenset) else [value]:
            yield name, iso(each) if isinstance(each, datetime) else str(each)


def _of_store(
    store_url: str, filters: Filters, how: _How, jobs: int | None, engine: Engine | None, *, is_written: bool = False
) -> ByGroup:
    """Audit the sessions of a store, in several processes if it has many.

    Args:
        is_written: Whether the filters were written in one text.
    """
    from proxy_addon.core.audits.totals import merged  # noqa: PLC0415  # as above
    from proxy_addon.reporting.progress import ReadingProgress  # noqa: PLC0415
    from storage.auditing import StoreAudit, grouping, pieces  # noqa: PLC0415

    with reading(store_url) as db:
        if not how.allow_empty:
            require_any(db, filters, is_written=is_written)
        work = StoreAudit(
            store_url=store_url if engine is None else engine.store_url(store_url),
            filters=filters,
            policy=how.policy,
            now=how.now,
            grouping=grouping(db, how.by, filters, how.now),
            closed=how.closed,
        )
        to_do = list(pieces(db, filters, how.now))
    total = sum(piece.exchanges for piece in to_do)
    with closing(worked(work, to_do, engine=engine, jobs=jobs)) as parts, ReadingProgress(total) as progress:
        return merged(_advancing(parts, to_do, progress))


def _number_of_both(store_url: str, filters: Filters, before: Filters, now: datetime) -> int:
    from storage.filters import number_of_both  # noqa: PLC0415  # as above

    with reading(store_url) as db:
        return number_of_both(db, filters, before, now=now)


def _advancing(parts: Iterable[ByGroup], pieces: Iterable[Piece], progress: ReadingProgress) -> Iterator[ByGroup]:
    for part, piece in zip(parts, pieces, strict=True):
        yield part
        progress.advance(piece.exchanges)


def _of_files(files: HeldFiles, how: _How, called: str) -> ByGroup:
    """Audit the sessions in files, each of which counts as over.

    Args:
        called: What the files are called in the message that they hold no sessions.
    """
    from proxy_addon.core.audits.auditing import MOST_GROUPS, Auditor, Grouping, largest  # noqa: PLC0415  # as above
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415

    grouping, at = Grouping(by=how.by), as_of(how.now, how.policy)
    auditor = Auditor(grouping, at)
    sizes: Counter[GroupName] = Counter()
    for held in files:
        sizes[grouping.name(held.session)] += 1
        if len(sizes) <= MOST_GROUPS:
            auditor.add_held(held, how.policy)
    if not sizes and not how.allow_empty:
        raise NotFound(f"there are no sessions in {called}", hint="add --allow-empty to exit with 0 nevertheless")
    if (
        len(sizes) > MOST_GROUPS or files.is_to_be_read_again
    ):  # only now is it known which are told apart, and which count
        names = largest(sizes) if len(sizes) > MOST_GROUPS else None
        auditor = Auditor(replace(grouping, names=names), at)
        for held in files:
            auditor.add_held(held, how.policy)
    return auditor.groups


def _write_plan(groups: ByGroup, by: By | None, hide: Hide, output: str, *, force: bool, is_private: bool) -> None:
    from proxy_addon.core.audits.planning import plan_of  # noqa: PLC0415  # as above
    from proxy_addon.files import whole  # noqa: PLC0415

    text = plan_of(groups, by, hide)
    if output == _STDOUT:
        with while_read():
            sys.stdout.write(text)
        return
    path = Path(output)
    if path.is_file() and not force and path.read_bytes() != text.encode():
        raise SettingsError(
            f"{visible(output)} exists and says something else",
            hint="--force replaces it; or name another file, and compare the two",
        )
    whole.write(path, [text.encode()], is_private=is_private)
    number = sum(totals.sessions for totals in groups.values())
    click.echo(f"plan of {counted(number, 'session')} written to {visible(output)}: read it line by line", err=True)


def _failed(result: Audit, fail_on: str) -> bool:
    from proxy_addon.core.findings import Severity  # noqa: PLC0415  # as above

    worst = result.worst()
    return fail_on != "never" and worst is not None and worst.weight >= Severity(fail_on).weight


def _has_changed(result: Audit) -> bool:
    """Return whether something changed since the baseline; or differs, and there are too few sessions to say, which is told."""
    from proxy_addon.reporting.audits.facts import undecided_words  # noqa: PLC0415  # as above

    baseline = result.baseline
    if baseline is None or baseline.named():
        return baseline is not None
    if baseline.all.is_undecided:
        click.echo(f"sessiontape: {undecided_words(baseline.all)}", err=True)
    return baseline.all.is_undecided


def _write(
    result: Audit,
    format_name: str,
    output: str,
    fail_on: str,
    *,
    examples: Mapping[str, str],
    changes_fail: bool,
    local: bool,
    is_private: bool,
) -> None:
    from proxy_addon.files import whole  # noqa: PLC0415  # as above
    from proxy_addon.reporting.audits import facts, tables  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console  # noqa: PLC0415

    if format_name == "text" and output == _STDOUT:
        with while_read():
            tables.print_audit(result, console(), examples=examples, changes_fail=changes_fail, local=local)
        return
    pieces: Iterable[str]
    match format_name:
        case "json":
            pieces = [json.dumps(result.document(), indent=1), "\n"]
        case "csv":
            pieces = facts.lines(result)
        case "junit":
            pieces = facts.suite(result, fail_on, changes_fail=changes_fail)
        case _:
            pieces = tables.as_text(result, examples=examples, changes_fail=changes_fail, local=local)
    if output == _STDOUT:
        with while_read():
            for piece in pieces:
                sys.stdout.write(piece)
        return
    size = whole.write(Path(output), (piece.encode("utf-8", "replace") for piece in pieces), is_private=is_private)
    click.echo(
        f"audit of {counted(result.all.sessions, 'session')} written to {visible(output)}, {size:,} bytes", err=True
    )
