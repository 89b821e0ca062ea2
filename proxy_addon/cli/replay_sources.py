"""Where the sessions of a replay are: in the store, or in files, which are put into a store for this one command."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.opening import filed
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.fixtures.listed import UNKNOWN_ID
from proxy_addon.core.sessions import Session

if TYPE_CHECKING:
    from storage.engine import Store


@dataclass(frozen=True, kw_only=True)
class ReplaySource:
    """What a replay reads from and writes to.

    Attributes:
        store: The store with the sessions, which gets the run; its schema is the one that we need.
        names: Names of the sessions in it; empty for all that pass the filters.
        beside: Other stores whose upstreams a replay may not go to.
        lasts: Whether the store is there when the command has ended.
    """

    store: Store
    names: Sequence[str]
    beside: Sequence[Store] = ()
    lasts: bool = True


@contextmanager
def opened(names: Sequence[str], store_url: str) -> Iterator[ReplaySource]:
    """Open what the names of sessions on the command line mean.

    If they mean files, a store in a temporary folder has what the files hold. The upstreams of the user's own store count
    too, if there is one.

    Raises:
        SettingsError: A file cannot be read.
        NotFound: A file has no session, or several, with the name after ``#``.
        StorageError: The store cannot be read.
    """
    from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415  # --help does without the database
    from storage import revision  # noqa: PLC0415
    from storage.engine import Store  # noqa: PLC0415
    from storage.temporary import holding  # noqa: PLC0415

    of_files = [name for name in dict.fromkeys(names) if is_file_name(name)]
    if of_files and len(of_files) < len(dict.fromkeys(names)):
        stored = next(name for name in names if name not in of_files)
        raise click.UsageError(
            f"{of_files[0]} is a file and {stored} is not: replay files and stored sessions in separate commands"
        )
    found, chosen = _in_files(of_files)
    with ExitStack() as stack:
        own = stack.enter_context(closing(Store(store_url)))
        is_there = not of_files or own.path is None or own.path.exists()
        if is_there:
            filed(store_url)
            with own.read() as db:
                revision.require(db, own)
        if not of_files:
            yield ReplaySource(store=own, names=names)
            return
        store = stack.enter_context(holding(map(_to_send, found)))
        yield ReplaySource(store=store, names=chosen, beside=[own] if is_there else [], lasts=False)


def _in_files(names: Sequence[str]) -> tuple[list[HeldSession], list[str]]:
    """Return all sessions in files, and the ids of those that are named. No two have the same id."""
    from proxy_addon.cli import sources  # noqa: PLC0415  # as above
    from proxy_addon.files.sessions import named, path_in  # noqa: PLC0415

    found: dict[str, HeldSession] = {}
    chosen: list[str] = []
    of_file: dict[str, Sequence[tuple[HeldSession, str]]] = {}
    for name in names:
        path = path_in(name)
        if path not in of_file:
            of_file[path] = [(held, _add(held, found)) for held in sources.sessions_of(path)]
        meant = named([held for held, _ in of_file[path]], name)
        chosen += [id for held, id in of_file[path] if any(held is each for each in meant)]
    return list(found.values()), chosen


def _add(held: HeldSession, found: dict[str, HeldSession]) -> str:
    """Add a session under its id, or under another one if it comes from two files; return which."""
    id = held.session.id
    while id in found:
        id = hashlib.sha256(id.encode()).hexdigest()[:16]
    found[id] = replace(held, session=replace(held.session, id=id))
    return id


def _to_send(held: HeldSession) -> tuple[Session, Sequence[Exchange]]:
    """Return a session as a replay needs it: to a list of bodies belongs an ID, and answers that nobody waits for."""
    if held.has_answers:
        return held.session, held.exchanges
    session = replace(held.session, session_id=UNKNOWN_ID)
    return session, [replace(exchange, outcome=Outcome.CLIENT_GONE) for exchange in held.exchanges]
