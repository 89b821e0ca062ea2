"""The connection between those who want to know what is filed, and the ingest process that files it.

Ingest listens on a port of this machine and writes into the journal's folder how to reach it. Messages are JSON with four
bytes of length in front; each has a ``type``, and members that the other end does not know are passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from proxy_addon.journal.reading import Waiting


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    pass


class Hello(_Message, frozen=True, kw_only=True):
    """The first message of a client.

    Attributes:
        run: Id of the recorder run; None if the client is no recorder.
        wants: What the client wants to be told besides: ``news``, ``marks``.
    """

    secret: str
    run: str | None = None
    wants: frozenset[str] = frozenset()


class Flush(_Message, frozen=True, kw_only=True):
    """A client wants to know when all that is in the journal now is filed."""


class Bye(_Message, frozen=True, kw_only=True):
    """A client goes: what it wants filed has been asked for."""


class Flushed(_Message, frozen=True, kw_only=True):
    """All that was in the journal when the flush was asked for is filed."""


class Away(_Message, frozen=True, kw_only=True):
    """The store cannot be reached, so what waits in the journal stays there.

    Attributes:
        reason: As the store's error says it.
        waiting: How many entries.
    """

    reason: str
    waiting: int


class Log(_Message, frozen=True, kw_only=True):
    """A line for the log of a recorder; its ``level`` as of `logging`."""

    level: str
    text: str


class News(_Message, frozen=True, kw_only=True):
    """What happened, for the lines on the terminal; `proxy_addon.core.news` as a document. Only for who wants it."""

    news: dict[str, Any]


class Marks(_Message, frozen=True, kw_only=True):
    """Findings of an exchange, for a flow inside mitmproxy. Only for who wants it."""

    exchange: str
    marks: list[dict[str, Any]]


class Filed(_Message, frozen=True, kw_only=True):
    """So many exchanges of a run have been filed since the last such message."""

    count: int
    run: str


class Counts(_Message, frozen=True, kw_only=True):
    """The books of ingest so far.

    Attributes:
        filed: Exchanges of all runs since ingest began.
        findings: Number of findings by severity.
        store_state: ``ok``, or why the store is away.
        refused: Exchanges that the store would not take.
        failures: How often judging failed.
    """

    filed: int
    findings: dict[str, int]
    store_state: str = "ok"
    refused: int = 0
    failures: int = 0


class Schemas(_Message, frozen=True, kw_only=True):
    """A schema of an upstream was stored."""

    upstream: str


FromClient = Hello | Flush | Bye
FromIngest = Flushed | Away | Log | News | Marks | Filed | Counts | Schemas


class Asked:
    """A flush that a client asked for; answer it once."""

    def answer(self, message: Flushed | Away) -> None:
        """Send the answer; do nothing if the client is gone."""
        raise NotImplementedError


class Server:
    """Ingest's end: a thread that never waits for a client. One that does not read is dropped.

    Attributes:
        woken: Set when a flush was asked for or a client came or went; cleared by who waits for it.
    """

    woken: threading.Event

    def __init__(self, folder: Path) -> None:
        """Listen, write into the folder how to be reached, and start the thread."""
        raise NotImplementedError

    def recorders(self) -> list[str]:
        """Return the ids of the runs that are connected, one for each connection."""
        raise NotImplementedError

    def clients(self) -> int:
        """Return how many clients are connected, recorders included."""
        raise NotImplementedError

    def asked(self) -> list[Asked]:
        """Return the flushes that were asked for since the last call."""
        raise NotImplementedError

    def wants(self, what: str) -> bool:
        """Whether any client wants to be told of something."""
        raise NotImplementedError

    def tell(self, message: FromIngest, run: str | None = None) -> None:
        """Send a message to all recorders, or to those of a run; `News` and `Marks` to all that want them."""
        raise NotImplementedError

    def close(self) -> None:
        """Send what is waiting, for a moment at most, stop, and take the note out of the folder."""
        raise NotImplementedError


class Client:
    """The other end: a thread that calls back."""

    def __init__(
        self,
        folder: Path,
        *,
        on: Callable[[FromIngest], object],
        on_closed: Callable[[], object] | None = None,
        run: str | None = None,
        wants: Collection[str] = (),
        timeout_s: float = 2.0,
    ) -> None:
        """Connect to the ingest process of a folder.

        Args:
            on: Called in the client's thread with each message but the answers of `flush`.
            on_closed: Called in the client's thread if ingest has gone without `close` being called.

        Raises:
            ConnectionError: No ingest process can be reached.
        """
        raise NotImplementedError

    def flush(self, timeout_s: float) -> Flushed | Away | None:
        """Have all filed that is in the journal now, and return the answer; None if none came in time."""
        raise NotImplementedError

    def close(self) -> None:
        """Say goodbye and end the thread."""
        raise NotImplementedError


def await_filed(folder: Path, timeout_s: float = 2.0) -> Waiting | None:
    """Wait briefly until what is in a folder's journal is filed, so that a store is read with it.

    Returns:
        What still waits after that; None if nothing does, at once if nothing did.
    """
    raise NotImplementedError
