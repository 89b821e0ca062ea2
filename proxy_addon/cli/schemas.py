"""``sessiontape schemas``: what upstreams say an event may contain."""

from __future__ import annotations

import difflib
import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import SERVER_URL, json_option, local_option, store_option
from proxy_addon.cli.output import while_read
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound, TargetUnreachable

if TYPE_CHECKING:
    from proxy_addon.core.schemas import StoredSchema

_SHOWN = 12


@click.group()
def schemas() -> None:
    """List, show, compare and fetch the schemas of upstreams.

    A schema says what an event may contain. The store keeps every version of each schema that an upstream sent in answer
    to GET /api/v1/schemas/{eventType}. Requests to that upstream are checked against its schema instead of the
    built-in table.
    """


@schemas.command(short_help="Fetch schemas from a server and store them.")
@click.option("--upstream", type=SERVER_URL, metavar="URL", required=True, help="The server to fetch from.")
@click.option("--insecure", is_flag=True, allow_from_autoenv=False, help="Do not check the server's certificate.")
@click.argument("event_types", metavar="[EVENT]...", nargs=-1)
@store_option
def pull(*, upstream: ServerUrl, insecure: bool, event_types: tuple[str, ...], store_url: str) -> None:
    """Fetch the schemas of all event types, or of the named ones, and store them.

    Exit code: 0 if the server gave all of them, 1 if some are missing, 2 if it gave none.
    """
    # Imported here because --help must not wait for the HTTP library and the database.
    from proxy_addon.core import protocol  # noqa: PLC0415
    from proxy_addon.core.schemas import read_schema  # noqa: PLC0415
    from proxy_addon.errors import ProtocolError  # noqa: PLC0415
    from proxy_addon.replay.fetching import fetch_all  # noqa: PLC0415
    from storage import migrate  # noqa: PLC0415
    from storage import schemas as stored  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415

    wanted = event_types or protocol.EVENT_TYPES
    unknown = [name for name in wanted if name not in protocol.EVENTS]
    if unknown:
        raise click.UsageError(f"unknown event type {unknown[0]!r}")
    urls = {name: f"{upstream}/api/v1/schemas/{name}" for name in wanted}
    answers = fetch_all(urls, insecure=insecure)
    reasons = {answer if isinstance(answer, str) else None for answer in answers.values()}
    if len(reasons) == 1 and (reason := reasons.pop()) is not None:
        raise TargetUnreachable(f"{upstream} gave no schema: {reason}", hint="is it running, and is --upstream right?")
    now = datetime.now(UTC)
    missing = 0
    with closing(Store(store_url)) as store:
        migrate.upgrade(store)
        for name, answer in answers.items():
            problem = answer if isinstance(answer, str) else None
            if not isinstance(answer, str):
                try:
                    read_schema(answer, name, "")
                except ProtocolError as e:
                    problem = str(e)
            if problem is not None or isinstance(answer, str):
                missing += 1
                click.echo(f"{name}: {visible(str(problem))}", err=True)
                continue
            with store.write() as db:
                new = stored.keep(db, str(upstream), name, answer, now)
            click.echo(f"{name}: {'new' if new else 'unchanged'}")
    sys.exit(2 if missing == len(answers) else 1 if missing else 0)


@schemas.command("list")
@json_option
@local_option
@store_option
def list_(*, as_json: bool, local: bool, store_url: str) -> None:
    """List every version of every schema."""
    from proxy_addon.reporting.documents import schema_document  # noqa: PLC0415  # as above
    from proxy_addon.reporting.tables import schemas_table  # noqa: PLC0415
    from proxy_addon.reporting.terminal import console, print_json  # noqa: PLC0415

    found = _versions(store_url)
    if as_json:
        print_json([schema_document(schema) for schema in found])
    elif found:
        console().print_table(schemas_table(found, local=local))
    else:
        click.echo("no schemas yet; 'sessiontape schemas pull --upstream URL' fetches them", err=True)


@schemas.command()
@click.argument("event_type", metavar="EVENT")
@click.option("--upstream", metavar="URL", help="The upstream of the schema; needed if several have one.")
@click.option(
    "--version", metavar="VERSION", help="The version to show, or a unique prefix of it; by default the one seen last."
)
@store_option
def show(*, event_type: str, upstream: str | None, version: str | None, store_url: str) -> None:
    """Print a schema as the upstream sent it."""
    click.echo(_one(_versions(store_url), event_type, upstream, version).body)


@schemas.command(short_help="Show what changed between two versions of a schema.")
@click.argument("event_type", metavar="EVENT")
@click.argument("before", metavar="[BEFORE]", required=False)
@click.argument("after", metavar="[AFTER]", required=False)
@click.option("--upstream", metavar="URL", help="The upstream of the schema; needed if several have one.")
@store_option
def diff(*, event_type: str, before: str | None, after: str | None, upstream: str | None, store_url: str) -> None:
    """Show what changed between two versions of a schema, by default the two seen last.

    Exit code: 1 if something changed, else 0.
    """
    found = _versions(store_url)
    new = _one(found, event_type, upstream, after)
    if before is None:
        others = [s for s in found if s.event_type == event_type and s.upstream == new.upstream and s != new]
        if not others:
            raise NotFound(
                f"the store has only one version of {event_type} from {new.upstream}",
                hint="there is nothing to compare it with",
            )
        old = others[0]
    else:
        old = _one(found, event_type, upstream, before)
    names = [f"{schema.event_type} {schema.sha256[:_SHOWN]}" for schema in (old, new)]
    lines = list(difflib.unified_diff(_lines(old), _lines(new), names[0], names[1], lineterm=""))
    with while_read():  # the exit code counts even if nobody reads the rest
        for line in lines:
            click.echo(line)
    sys.exit(1 if lines else 0)


def _versions(store_url: str) -> list[StoredSchema]:
    from storage import schemas as stored  # noqa: PLC0415

    with reading(store_url) as db:
        return stored.versions(db)


def _one(found: list[StoredSchema], event_type: str, upstream: str | None, version: str | None) -> StoredSchema:
    mine = [
        schema
        for schema in found
        if schema.event_type == event_type
        and (upstream is None or schema.upstream == upstream.rstrip("/"))
        and schema.sha256.startswith(version or "")
    ]
    if not mine:
        raise NotFound(f"no such schema of {event_type!r}", hint="'sessiontape schemas list' lists all schemas")
    upstreams = sorted({schema.upstream for schema in mine})
    if len(upstreams) > 1:
        raise NotFound(
            f"several upstreams have a schema of {event_type}", hint=f"name one with --upstream: {', '.join(upstreams)}"
        )
    if version is not None and len(mine) > 1:
        raise NotFound(
            f"several versions begin with {version!r}",
            hint=f"they are {', '.join(schema.sha256 for schema in mine)}",
        )
    return mine[0]


def _lines(schema: StoredSchema) -> list[str]:
    try:
        return json.dumps(json.loads(schema.body), indent=2, sort_keys=True).splitlines()
    except ValueError:
        return schema.body.decode("utf-8", "backslashreplace").splitlines()
