"""Where the work on a store is done: in this process, in several on this machine, or on the workers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import click

from proxy_addon.cli.options import Parsed
from proxy_addon.errors import SettingsError

_SCHEDULER = re.compile(r"(?:tcp|tls)://(?:\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+):(?P<port>[0-9]{1,5})\Z")
_OF_THE_EXTRA = frozenset({"dask", "distributed", "duckdb"})


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Dask cluster.

    Attributes:
        scheduler: The address of its scheduler; None for a cluster on this machine, which is started and ended.
    """

    scheduler: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``--engine`` names.

        >>> Engine.parse("dask=tcp://10.0.0.7:8786")
        Engine(scheduler='tcp://10.0.0.7:8786')

        Raises:
            SettingsError: It is no engine.
        """
        name, equals, scheduler = text.partition("=")
        place = _SCHEDULER.match(scheduler)
        if name != "dask" or (equals and (place is None or not 0 < int(place["port"]) < 2**16)):
            raise SettingsError(
                f"{text!r} is not an engine",
                hint="write dask to start workers on this machine, or dask=tcp://HOST:PORT for those of a scheduler",
            )
        return cls(scheduler=scheduler or None)

    def store_url(self, store_url: str) -> str:
        """Return the URL by which workers reach a store.

        Raises:
            SettingsError: They are on other machines, and the store is a file on this one.
        """
        from storage.engine import sqlite_path  # noqa: PLC0415  # --help does without the database

        path = sqlite_path(store_url)
        if path is None or self.scheduler is None:
            return store_url
        if not _is_here(urlsplit(self.scheduler).hostname or ""):
            raise SettingsError(
                f"the workers of {self.scheduler} cannot read {path}, an SQLite file on this machine",
                hint="keep the recordings in PostgreSQL (--store postgresql://…), or use --engine dask, which works here",
            )
        return f"sqlite:///{Path.cwd() / path}"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def engine_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--engine`` to a command, which gets ``engine``, an `Engine` or None."""
    return click.option(
        "--engine",
        type=Parsed("dask[=SCHEDULER]", Engine.parse, Engine),
        help="Spread the work on a store over the workers of a Dask cluster: those of the scheduler at tcp://HOST:PORT, or new "
        "ones on this machine. Needs the extra 'scale'.",
    )(command)


def worked[Piece, Part](
    work: Callable[[Piece], Part], pieces: Sequence[Piece], *, engine: Engine | None = None, jobs: int | None = None
) -> Generator[Part]:
    """Yield what becomes of each piece, in their order.

    Args:
        engine: Where to work; None for processes on this machine.
        jobs: How many processes; None for as many as there are processors.
    """
    from proxy_addon.engines import here  # noqa: PLC0415

    if not pieces:
        return
    if engine is not None:
        with extra("--engine dask"):
            from proxy_addon.engines import dask  # noqa: PLC0415
        yield from dask.on_workers(work, pieces, engine.scheduler)
        return
    number = min(jobs or here.processors(), len(pieces))
    yield from here.in_processes(work, pieces, number) if number > 1 else here.one_by_one(work, pieces)


@contextmanager
def extra(what: str) -> Iterator[None]:
    """Import what only an optional part of the package brings.

    Raises:
        SettingsError: It is not installed; the message says how to.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        raise SettingsError(
            f"{what} needs packages that are not installed: in a checkout, pip install '.[scale]'"
        ) from e
