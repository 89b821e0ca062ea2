"""What a recorder counts for whoever watches it: plain numbers, cheap enough for every exchange.

`Meter` counts in one process; nothing in it is locked, because all of it happens in the event loop. Processes that share a
port send theirs as JSON, and `merged` adds them up. `Standing` is what else is told when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from proxy_addon.core.routes import Operation, parse_route
from proxy_addon.journal.exchanges import origin_form

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the histogram of what recording adds to an answer, in seconds."""


class Meter:
    """Counts the exchanges of one process.

    Attributes:
        ended: How many exchanges ended, by operation and outcome.
        held: How many answers recording held back for how long: a number for each of `BOUNDS_S`, and one for longer.
        held_s: For how long in all, in seconds.
    """

    __slots__ = ("ended", "held", "held_s")

    def __init__(self) -> None:
        self.ended: dict[tuple[str, str], int] = {}
        self.held = [0] * (len(BOUNDS_S) + 1)
        self.held_s = 0.0

    def count(self, operation: str, outcome: str) -> None:
        """Count an exchange that ended."""
        key = (operation, outcome)
        self.ended[key] = self.ended.get(key, 0) + 1  # a Counter takes twice as long

    def hold(self, seconds: float) -> None:
        """Count an answer that was complete, and was then held back for so long until its exchange was journaled."""
        self.held[bisect_left(BOUNDS_S, seconds)] += 1
        self.held_s += seconds

    def document(self) -> dict[str, Any]:
        """Return the counts as JSON, for `merged`."""
        return {"ended": [[*key, number] for key, number in self.ended.items()], "held": self.held, "s": self.held_s}


def merged(meters: Iterable[Mapping[str, Any]]) -> Meter:
    """Return the counts of several processes together.

    Args:
        meters: What `Meter.document` returned in each.
    """
    all_of_them = Meter()
    for each in meters:
        for operation, outcome, number in each["ended"]:
            key = (operation, outcome)
            all_of_them.ended[key] = all_of_them.ended.get(key, 0) + number
        all_of_them.held = [one + other for one, other in zip(all_of_them.held, each["held"], strict=True)]
        all_of_them.held_s += each["s"]
    return all_of_them


@lru_cache(maxsize=4096)
def _operation(line: bytes) -> str:
    method, _, rest = line.decode("latin-1").partition(" ")
    route = parse_route(method, origin_form(rest.partition(" ")[0]))
    return (Operation.OTHER if route is None else route.operation).value


def operation_of(head: bytes) -> str:
    r"""Return the operation of a request by its head; those of one session have the same first line.

    >>> operation_of(b"POST /api/v1/sessions/4a0f/events HTTP/1.1\r\nHost: x\r\n\r\n"), operation_of(b"\0")
    ('events', 'other')
    """
    return _operation(head[: head.find(b"\r\n")])


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a recorder stands when somebody looks.

    Attributes:
        seen: Exchanges that came in, as of `proxy_addon.core.books.Books`, and so are the next four.
        findings: How many findings there were, by severity.
        exchanges: How many exchanges the journal holds that are not stored, or about.
        bytes: How large the journal is.
        oldest_s: How long the oldest exchange waits, in seconds; 0 if none does.
        free: How many bytes are free on the journal's disk; None if nobody knows.
        is_store_up: Whether the store took what it was given last.
        is_ingest_up: Whether a process files what is in the journal.
        troubles: What is wrong, a sentence each; none if all is well.
    """

    workers: int = 1
    seen: int = 0
    journaled: int = 0
    filed: int = 0
    refused: int = 0
    dropped: int = 0
    findings: Mapping[str, int] = field(default_factory=dict)
    exchanges: int = 0
    bytes: int = 0
    oldest_s: float = 0.0
    free: int | None = None
    is_store_up: bool = True
    is_ingest_up: bool = True
    troubles: tuple[str, ...] = ()
