"""Sessions as one HTML file, for each command that writes one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.output import while_read
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.sessions import Session
from proxy_addon.core.wording import visible

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.core.timelines.reported import Reported

STDOUT = "-"
SUFFIXES = (".html", ".htm")
Source = Session | HeldSession
"""A session in the store, or one that a file holds."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How sessions are read for a report.

    Attributes:
        policy: How strictly they are judged.
        now: The time by which unfinished sessions may have run into a timeout.
        change: Replaces personal values; None to keep them.
        closed: Whether unfinished sessions are judged as if they were over.
        judged: Whether the sessions have counts of findings by this policy already.
    """

    policy: Policy
    now: datetime
    change: Pseudonymiser | None = None
    closed: bool = False
    judged: bool = False


def pseudonymiser(sources: Sequence[Source], key_file: Path | None, config: Path | None) -> Pseudonymiser:
    """Return what replaces personal values in these sessions, with the key in a file or, by default, with one of their own."""
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415  # --help does without
    from proxy_addon.files import keys, settings  # noqa: PLC0415

    key = keys.of_output(map(id_of, sources)) if key_file is None else keys.key_of(key_file)
    return Pseudonymiser(key, settings.load_personal(config))


def check_name(output: str) -> None:
    """Check that a report can have this name.

    Raises:
        click.UsageError: It is the name of a folder, or does not end in ``.html``.
    """
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        raise click.UsageError(f"{visible(output)} is a folder, but a report is one file: name a file with --output")
    is_pipe = output == STDOUT or (path.exists() and not path.is_file())
    if not is_pipe and path.suffix.lower() not in SUFFIXES:  # a slip of the hand must not replace the store
        raise click.UsageError(f"a report is an HTML page: end the name {visible(output)} with .html")


def id_of(source: Source) -> str:
    """Return our id of a session."""
    return source.id if isinstance(source, Session) else source.session.id


def write(output: str, sources: Sequence[Source], db: Connection | None, how: Reading) -> None:
    """Write sessions as one HTML file, whole or not at all, and say on stderr what was written.

    Args:
        output: A path, or ``-`` for stdout.
        db: The store of the sessions that are in one.

    Raises:
        SettingsError: The file cannot be written.
    """
    from proxy_addon.files import whole  # noqa: PLC0415  # as above
    from proxy_addon.reporting.pages import report  # noqa: PLC0415

    replaces = output != STDOUT and Path(output).is_file()
    found = [*reported(sources, db, how)]
    pieces = report.report(found, made_at=how.now, pseudonymised=how.change is not None, are_over=how.closed)
    data = (piece.encode("utf-8", "replace") for piece in pieces)
    with closing(data):  # before the store is closed, even if nobody reads on
        if output == STDOUT:
            with while_read():
                sys.stdout.buffer.writelines(data)
            return
        size = whole.write(Path(output), data, is_private=how.change is None)
    told = report.told(len(found), visible(output), size)
    click.echo(f"{told}; it replaces an older file" if replaces else told, err=True)


def reported(sources: Sequence[Source], db: Connection | None, how: Reading) -> Iterator[Reported]:
    """Yield sessions as reports draw them, each once.

    Args:
        db: The store of those that are in one; it must stay open until they are drawn.
    """
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415  # as above
    from proxy_addon.core.timelines.reported import of_held  # noqa: PLC0415
    from storage.pictures import Pictures  # noqa: PLC0415

    pictures = None if db is None else Pictures(db, how.policy, how.now, how.change, closed=how.closed)
    at = as_of(how.now, how.policy)
    for source in {id_of(each): each for each in sources}.values():
        if isinstance(source, HeldSession):
            yield of_held(source, at, how.policy, how.change, is_judged=how.judged)
        else:
            assert pictures is not None
            yield pictures.reported(source, is_judged=how.judged)
