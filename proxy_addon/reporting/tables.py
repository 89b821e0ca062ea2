"""Lists as tables for people: sessions, exchanges, rules, schemas, and two sessions side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rich.text import Text

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Place, Verdict
from proxy_addon.core.folding import place_of
from proxy_addon.core.replays.aligning import Entry, Kind, Pair
from proxy_addon.core.rules import Rule
from proxy_addon.core.schemas import StoredSchema
from proxy_addon.core.sessions import AsOf, FindingCounts, Session
from proxy_addon.reporting.columns import Column, Table
from proxy_addon.reporting.findings import print_findings
from proxy_addon.reporting.terminal import SEVERITY_STYLES, STATE_STYLES, Screen, answer, printable
from proxy_addon.reporting.words import (
    NOT_JUDGED,
    difference_line,
    duration,
    finding_counts,
    moment,
    precise_moment,
    took_ms,
    zone,
)

_KIND_STYLES = {
    Kind.SAME: "dim",
    Kind.CHANGED: "yellow",
    Kind.MOVED: "cyan",
    Kind.ONLY_A: "red",
    Kind.ONLY_B: "green",
}


def sessions_table(found: Sequence[Session], as_of: AsOf, *, local: bool = False) -> Table:
    """Return a table with a row for each session.

    Args:
        as_of: Determines which open sessions have expired.
        local: Whether times are local rather than UTC.
    """
    has_tokens = any(session.pseudonymised for session in found)
    has_gaps = any(session.lost for session in found)
    table = Table(
        Column("id", is_id=True),
        Column(f"started ({zone((session.started_at for session in found), local=local)})", dropped=6),
        Column("lasted", is_right=True, dropped=5),
        Column("state"),
        Column("events", is_right=True),
        *([Column("lost", is_right=True)] if has_gaps else []),
        Column("findings"),
        Column("player", least=12, dropped=4),
        Column("media", least=12, dropped=3),
        Column("session ID", is_id=True, dropped=2),
        Column("recording", least=12, dropped=1),
        *([Column("pseudonymised")] if has_tokens else []),
    )
    for session in found:
        state = session.state(as_of)
        table.add(
            session.id,
            moment(session.started_at, local=local),
            duration((session.last_event_at - session.started_at).total_seconds()),
            Text(state.value + (" (retry)" if session.retry_of else ""), style=STATE_STYLES[state]),
            str(session.events),
            *([str(session.lost or "-")] if has_gaps else []),
            finding_counts(session.finding_counts(as_of)),
            printable(session.player_name, "-"),
            printable(session.media_name or session.media_id, "-"),
            printable(session.session_id, "-"),
            printable(session.recording, "-"),
            *(["yes" if session.pseudonymised else "no"] if has_tokens else []),
        )
    return table


def print_exchanges(
    screen: Screen, found: Sequence[Exchange], verdicts: Mapping[str, Verdict], *, local: bool = False
) -> None:
    """Print exchanges, a row each, and below them all that was found, by row.

    Args:
        verdicts: The findings of exchanges, by exchange id.
        local: Whether times are local rather than UTC.
    """
    table = Table(
        Column("#", is_right=True),
        Column(f"received ({zone((exchange.received_at for exchange in found), local=local)})", dropped=3),
        Column("operation", dropped=2),
        Column("answer"),
        Column("ms", is_right=True, dropped=1),
        Column("findings"),
        Column("request", least=24),
    )
    findings: list[Finding] = []
    for number, exchange in enumerate(found, 1):
        verdict = verdicts.get(exchange.id, ())
        findings += [replace(finding, seq=number) for finding in verdict or ()]
        table.add(
            str(number),
            precise_moment(exchange.received_at, local=local),
            exchange.route.operation.value,
            answer(exchange),
            took_ms(exchange),
            _said_of(verdict),
            printable(f"{exchange.request.method} {exchange.request.path}"),
        )
    screen.print_table(table)
    if findings:
        screen.print()
        screen.print(Text("Findings", style="bold"))
        print_findings(screen, findings, place_of)


def _said_of(verdict: Verdict) -> str:
    return NOT_JUDGED if verdict is None else finding_counts(FindingCounts().plus(verdict))


def rules_table(found: Iterable[Rule]) -> Table:
    """Return a table with a row for each rule; its summary wraps between words."""
    table = Table(Column("rule"), Column("severity"), Column("what is wrong", is_prose=True, least=24))
    for rule in found:
        table.add(rule.id, Text(rule.severity.value, style=SEVERITY_STYLES[rule.severity]), rule.summary)
    return table


def schemas_table(found: Sequence[StoredSchema], *, local: bool = False) -> Table:
    """Return a table with a row for each version of a schema.

    Args:
        local: Whether times are local rather than UTC.
    """
    zones = zone((at for schema in found for at in (schema.first_seen_at, schema.last_seen_at)), local=local)
    table = Table(
        Column("event type"),
        Column("version", is_id=True),
        Column("bytes", is_right=True, dropped=2),
        Column(f"first seen ({zones})", dropped=1),
        Column(f"last seen ({zones})", dropped=3),
        Column("upstream", least=16),
    )
    for schema in found:
        table.add(
            printable(schema.event_type),
            schema.sha256,
            str(len(schema.body)),
            moment(schema.first_seen_at, local=local),
            moment(schema.last_seen_at, local=local),
            printable(schema.upstream),
        )
    return table


def print_pairs(screen: Screen, pairs: Iterable[Pair], a: Text, b: Text) -> None:
    """Print two sessions side by side: a row for each event of either, with the differences below it.

    Args:
        a: A line that describes the first session.
        b: A line that describes the second session.
    """
    for name, what in (("A", a), ("B", b)):
        screen.print_line(Text(f"{name}  ", style="bold").append_text(what))
    screen.print()
    table = Table(
        Column("# A", is_right=True),
        Column("time A", is_right=True, dropped=2),
        Column("event", least=15),
        Column("# B", is_right=True),
        Column("time B", is_right=True, dropped=1),
        Column(""),
    )
    for pair in pairs:
        either = pair.a or pair.b
        table.add(
            *_place(pair.a),
            printable(either.event_type if either is not None else None, "(no event type)"),
            *_place(pair.b),
            Text(pair.kind.value, style=_KIND_STYLES[pair.kind]),
            below=[printable(difference_line(each)) for each in pair.differences],
        )
    screen.print_table(table)


def _place(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "-", "-"
    place = str(Place(entry.seq, entry.pointer)).removeprefix("#")
    return place, "-" if entry.at_s is None else f"{entry.at_s:.3f}"
