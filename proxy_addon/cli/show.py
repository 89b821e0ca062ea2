"""``sessiontape show``: one session as a timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, json_option, local_option, store_option
from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement, Verdict
from proxy_addon.core.sessions import AsOf, FindingCounts, Session
from proxy_addon.files import settings

if TYPE_CHECKING:
    from proxy_addon.core.audits.metrics import Metrics
    from proxy_addon.core.judging.policy import Policy


@click.command()
@click.argument("name", metavar="SESSION")
@click.option("--bodies", is_flag=True, help="Show the bodies too; --json always includes them.")
@config_option
@json_option
@local_option
@store_option
def show(*, name: str, bodies: bool, config: Path | None, as_json: bool, local: bool, store_url: str) -> None:
    """Show one session as a timeline with its findings.

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last' for the newest, or a file: an export of
    sessiontape, a HAR, a mitmproxy flow file, a Charles session (.chlsj), a Proxyman log, the output of 'show --json',
    a log of 'collector --log', or a list of bodies. FILE#SESSION names one of several sessions in a file.

    Findings of stored exchanges are those from the time of recording; findings of the whole session, and all findings
    in a file, are determined now. 'sessiontape check' checks everything again. What reports will count is an estimate.
    """
    # Imported here because --help must not wait for the database.
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
    from proxy_addon.reporting.documents import (  # noqa: PLC0415
        exchange_documents,
        finding_document,
        holes_document,
        listed_document,
    )
    from proxy_addon.reporting.metrics import metrics_document  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415
    from proxy_addon.reporting.timeline import Timeline  # noqa: PLC0415

    policy = settings.load(config)
    at = as_of(datetime.now(UTC), policy)
    # Closes everything properly even if the output pipe breaks.
    with ExitStack() as stack:
        if is_file_name(name):
            shown = _of_file(name, policy)
            at = replace(at, unclosed=FindingCounts())  # already among the session's findings
        else:
            shown = _of_store(stack, store_url, name, at, policy)
        if as_json:
            exchanges = list(exchange_documents(shown.exchanges, shown.findings))
            judgement = shown.judgement()
            print_json(
                {
                    "session": listed_document(shown.session, at, shown.gaps),
                    "exchanges": exchanges,
                    "findings": [finding_document(finding) for finding in judgement.of_session],
                    "holes": holes_document(judgement.holes),
                    "metrics": metrics_document(shown.metrics()),
                }
            )
        else:
            timeline = Timeline(console(), shown.session, at, local=local)
            timeline.print(
                shown.exchanges, shown.findings, shown.judgement, shown.metrics, bodies=bodies, gaps=shown.gaps
            )


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A session to show.

    Attributes:
        exchanges: Must be consumed, once, before `judgement` and `metrics` are called.
        findings: The findings of exchanges, by exchange id.
        judgement: Returns the judgement of the session as a whole.
        metrics: Returns what reports will count.
        gaps: What was lost of it, by time of arrival.
    """

    session: Session
    exchanges: Iterable[Exchange]
    findings: Mapping[str, Verdict]
    judgement: Callable[[], Judgement]
    metrics: Callable[[], Metrics]
    gaps: Sequence[Loss] = ()


def _of_store(stack: ExitStack, store_url: str, name: str, at: AsOf, policy: Policy) -> _Shown:
    from proxy_addon.core.audits.watching import MetricsWatch  # noqa: PLC0415
    from storage import findings, losses, sessions  # noqa: PLC0415
    from storage.exchanges import of_session  # noqa: PLC0415
    from storage.judging import Judging  # noqa: PLC0415

    db = stack.enter_context(reading(store_url))
    session = sessions.find(db, name)
    watch = Judging(db, policy, at.now).watch(session, bodies=False)
    counting = MetricsWatch()
    recorded = stack.enter_context(closing(of_session(db, session.id)))
    counted = stack.enter_context(closing(counting.watching(recorded)))
    return _Shown(
        session=session,
        exchanges=stack.enter_context(closing(watch.judging(counted))),
        findings=findings.of_exchanges(db, session.id),
        judgement=watch.judgement,
        metrics=lambda: counting.metrics(is_over=session.is_over(at)),
        gaps=losses.of_session(db, session.id) if session.lost else (),
    )


def _of_file(name: str, policy: Policy) -> _Shown:
    from proxy_addon.cli import sources  # noqa: PLC0415
    from proxy_addon.core.audits.watching import MetricsWatch  # noqa: PLC0415
    from proxy_addon.core.judging.files import judge_held  # noqa: PLC0415

    held = sources.held(name)
    judgement = judge_held(held, policy)
    found: dict[str, list[Finding]] = {}
    whole = list(judgement.of_session)
    for finding in judgement.of_exchanges:
        if finding.seq is None:
            whole.append(finding)
        else:
            found.setdefault(held.exchanges[finding.seq - 1].id, []).append(finding)
    counting = MetricsWatch()
    return _Shown(
        session=replace(held.session, findings=FindingCounts().plus(judgement.findings)),
        exchanges=counting.watching(held.exchanges),
        findings=found,
        judgement=lambda: replace(judgement, of_session=tuple(whole)),
        metrics=lambda: counting.metrics(is_over=True),
    )
