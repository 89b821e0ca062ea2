"""Recorder runs and what became of all that they saw, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from proxy_addon.core.books import Balance, Books, Loss, Stand
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.wording import counted
from proxy_addon.reporting.columns import Column, Table
from proxy_addon.reporting.documents import Document
from proxy_addon.reporting.terminal import Screen, printable
from proxy_addon.reporting.words import moment, precise_moment, zone

_STYLES = {Stand.RUNNING: "cyan", Stand.ENDED: "green", Stand.KILLED: "yellow"}
_COUNTS = ("seen", "journaled", "filed", "late", "refused", "dropped")
LISTED = 100
"""How many losses are listed at most; the JSON has all."""


def balance_document(balance: Balance, processes: int) -> Document:
    """Return a recorder run as listed by ``ledger --json``."""
    books = balance.books
    return {
        "id": books.id,
        "name": books.name,
        "state": balance.stand.value,
        "started_at": iso(books.started_at),
        "last_seen_at": iso(books.seen_at),
        "ended_at": None if books.ended_at is None else iso(books.ended_at),
        "version": books.version,
        "engine": books.engine,
        "upstream": books.upstream,
        "workers": processes,
        **{name: getattr(books, name) for name in _COUNTS},
        "in_flight": balance.in_flight,
        "waiting": balance.waiting,
        "missing": balance.missing,
        "balanced": balance.is_balanced,
    }


def run_document(balance: Balance, processes: Sequence[Books], losses: Sequence[Loss]) -> Document:
    """Return a recorder run as printed by ``ledger RUN --json``: with its processes, and all that it lost."""
    return {
        **balance_document(balance, len(processes)),
        "processes": [
            {
                "worker": each.worker,
                "last_seen_at": iso(each.seen_at),
                "ended_at": None if each.ended_at is None else iso(each.ended_at),
                **{name: getattr(each, name) for name in _COUNTS},
            }
            for each in processes
        ],
        "losses": [
            {
                "received_at": iso(loss.received_at),
                "method": loss.method,
                "path": loss.path,
                "upstream": loss.upstream,
                "kind": "refused" if loss.is_refused else "dropped",
                "reason": loss.reason,
            }
            for loss in losses
        ],
        "unnamed_losses": unnamed(balance.books, len(losses)),
    }


def unnamed(books: Books, named: int) -> int:
    """Return how many losses of a run have no name, because too many happened at once to remember them all."""
    return max(0, books.dropped + books.refused - named)


def print_ledger(screen: Screen, balances: Sequence[Balance], *, local: bool = False) -> None:
    """Print recorder runs as a table.

    Args:
        local: Whether times are local rather than UTC.
    """
    has_in_flight = any(balance.in_flight for balance in balances)
    table = Table(
        Column("run", is_id=True),
        Column(f"started ({zone((each.books.started_at for each in balances), local=local)})", dropped=6),
        Column("state"),
        Column("until", dropped=5),
        Column("recording", least=12, dropped=2),
        Column("engine", dropped=1),
        Column("seen", is_right=True),
        Column("filed", is_right=True),
        Column("late", is_right=True, dropped=3),
        Column("refused", is_right=True, dropped=4),
        Column("dropped", is_right=True),
        Column("waiting", is_right=True),
        *([Column("in flight", is_right=True)] if has_in_flight else []),
        Column("books"),
    )
    for balance in balances:
        books = balance.books
        table.add(
            books.id,
            moment(books.started_at, local=local),
            Text(balance.stand.value, style=_STYLES[balance.stand]),
            moment(books.ended_at or books.seen_at, local=local),
            printable(books.name, "-"),
            books.engine,
            *(str(number) for number in (books.seen, books.filed, books.late, books.refused, books.dropped)),
            str(balance.waiting),
            *([str(balance.in_flight)] if has_in_flight else []),
            _verdict(balance),
        )
    screen.print_table(table)


def print_run(
    screen: Screen, balance: Balance, processes: Sequence[Books], losses: Sequence[Loss], *, local: bool = False
) -> None:
    """Print one recorder run: its books, those of its processes if it has several, and what it lost.

    Args:
        local: Whether times are local rather than UTC.
    """
    books = balance.books
    zones = zone([books.started_at, books.seen_at], local=local)
    until = books.ended_at or books.seen_at
    ended = {
        Stand.RUNNING: "running; last sign of life ",
        Stand.ENDED: "",
        Stand.KILLED: "no end is known; last sign of life ",
    }
    facts: list[tuple[str, Text | str | None]] = [
        ("run", Text.assemble(books.id, "  ", (balance.stand.value, _STYLES[balance.stand]))),
        ("recording", books.name),
        ("upstream", books.upstream or "each request has its own"),
        ("started", f"{moment(books.started_at, local=local)} {zones}"),
        ("ended", f"{ended[balance.stand]}{moment(until, local=local)} {zones}"),
        ("version", f"{books.version}, engine {books.engine}"),
        ("seen", counted(books.seen, "exchange")),
        ("  filed", f"{books.filed}" + (f", {books.late} of them after it ended" if books.late else "")),
        ("  refused", f"{books.refused}, set aside beside the journal" if books.refused else None),
        ("  dropped", f"{books.dropped}, because the journal could not be written" if books.dropped else None),
        ("  waiting", f"{balance.waiting} in the journal" if balance.waiting else None),
        ("  in flight", _in_flight(balance) if balance.in_flight else None),
        ("  missing", f"{balance.missing}, and nobody knows what became of them" if balance.missing else None),
        ("books", _verdict(balance)),
    ]
    for name, fact in facts:
        if fact is not None:
            shown = fact if isinstance(fact, Text) else printable(fact)
            screen.print_wrapped(Text.assemble((f"{name:<13}", "dim"), shown), hanging=13)
    if len(processes) > 1:
        screen.print()
        screen.print_table(_processes(processes))
    if not books.dropped and not books.refused:
        return
    screen.print()
    screen.print(Text("Losses", style="bold"))
    table = Table(
        Column(f"received ({zone((loss.received_at for loss in losses), local=local)})"),
        Column("kind"),
        Column("request", least=24),
    )
    for loss in losses[:LISTED]:
        table.add(
            precise_moment(loss.received_at, local=local),
            "refused" if loss.is_refused else "dropped",
            printable(f"{loss.method} {loss.path}"),
            below=[printable(loss.reason)],
        )
    if losses:
        screen.print_table(table)
    if len(losses) > LISTED:
        screen.print(f"… and {len(losses) - LISTED} more; --json has them all", markup=False)
    if without := unnamed(books, len(losses)):
        screen.print(f"{counted(without, 'loss', 'losses')} without a name", markup=False)


def _in_flight(balance: Balance) -> str:
    if balance.stand is Stand.KILLED:
        return f"{balance.in_flight} when it was killed, not answered if answers waited for the journal"
    return f"{balance.in_flight}"


def _verdict(balance: Balance) -> Text:
    if balance.is_balanced:
        return Text("balance", style="green")
    return Text(f"{balance.missing} missing", style="bold red")


def _processes(processes: Sequence[Books]) -> Table:
    table = Table(
        Column("worker", is_right=True),
        Column("ended"),
        *(Column(name, is_right=True) for name in _COUNTS),
    )
    for each in processes:
        table.add(
            str(each.worker),
            "-" if each.ended_at is None else precise_moment(each.ended_at),
            *(str(getattr(each, name)) for name in _COUNTS),
        )
    return table
