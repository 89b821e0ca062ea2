"""``sessiontape audit``: what devices really send, over many sessions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.filters import filter_options, require_any
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, store_option, token_options
from proxy_addon.core.audits.auditing import By

if TYPE_CHECKING:
    from storage.filters import Filters


@click.command()
@click.option(
    "--by", type=click.Choice([by.value for by in By]), help="Make a group of the sessions that have this in common."
)
@click.option("--jobs", type=click.IntRange(min=1), help="How many processes work on it; by default, one a processor.")
@token_options
@config_option
@filter_options
@store_option
def audit(
    *,
    by: str | None,
    jobs: int | None,
    raw: bool,
    key_file: Path | None,
    config: Path | None,
    filters: Filters,
    store_url: str,
) -> None:
    """Say what devices really send."""
    from proxy_addon.core.audits.hiding import Hiding  # noqa: PLC0415  # --help does without
    from proxy_addon.core.audits.results import RAW, audit_of  # noqa: PLC0415
    from proxy_addon.core.audits.totals import merged  # noqa: PLC0415
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415
    from proxy_addon.engines import here  # noqa: PLC0415
    from proxy_addon.files import keys, settings  # noqa: PLC0415
    from storage.auditing import StoreAudit, grouping, pieces  # noqa: PLC0415
    from storage.engine import hide_password  # noqa: PLC0415

    now = datetime.now(UTC)
    grouped = None if by is None else By(by)
    change = None
    if not raw:
        key = keys.of_output(()) if key_file is None else keys.key_of(key_file)
        change = Pseudonymiser(key, settings.load_personal(config))
    with reading(store_url) as db:
        require_any(db, filters)
        work = StoreAudit(
            store_url=store_url,
            filters=filters,
            policy=settings.load(config),
            now=now,
            grouping=grouping(db, grouped, filters, now),
        )
        to_do = list(pieces(db, filters, now))
    number = min(jobs or here.processors(), len(to_do))
    parts = here.in_processes(work, to_do, number) if number > 1 else here.one_by_one(work, to_do)
    groups = merged(parts)
    result = audit_of(
        groups, by=grouped, now=now, source=hide_password(store_url), hide=RAW if change is None else Hiding(change)
    )
    click.echo(json.dumps(result.document(), indent=1))
