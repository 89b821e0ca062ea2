"""Lists as tables for people: sessions, exchanges, rules, schemas, and two sessions side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.replays.aligning import Entry, Kind, Pair
from proxy_addon.core.rules import Rule
from proxy_addon.core.schemas import StoredSchema
from proxy_addon.core.sessions import AsOf, FindingCounts, Session
from proxy_addon.reporting.terminal import SEVERITY_STYLES, STATE_STYLES, answer, plain_table, printable
from proxy_addon.reporting.words import ID_SHOWN, duration, finding_counts, moment, short, took_ms, value

_KIND_STYLES = {
    Kind.SAME: "dim",
    Kind.CHANGED: "yellow",
    Kind.MOVED: "cyan",
    Kind.ONLY_A: "red",
    Kind.ONLY_B: "green",
}


def sessions_table(found: Iterable[Session], as_of: AsOf) -> Table:
    """Return sessions, a row each."""
    table = plain_table("id", "started (UTC)")
    table.add_column("lasted", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("events", justify="right")
    table.add_column("findings", no_wrap=True)
    table.add_column("player", overflow="ellipsis", no_wrap=True)
    table.add_column("media", overflow="ellipsis", no_wrap=True)
    table.add_column("session ID", no_wrap=True)
    table.add_column("recording", overflow="ellipsis", no_wrap=True)
    for session in found:
        state = session.state(as_of)
        table.add_row(
            session.id,
            moment(session.started_at),
            duration((session.last_event_at - session.started_at).total_seconds()),
            Text(state.value + (" (retry)" if session.retry_of else ""), style=STATE_STYLES[state]),
            str(session.events),
            finding_counts(session.finding_counts(as_of)),
            printable(session.player_name, "-"),
            printable(session.media_name or session.media_id, "-"),
            printable(short(session.session_id), "-"),
            printable(session.recording, "-"),
        )
    return table


def exchanges_table(found: Iterable[Exchange], findings: Mapping[str, Sequence[Finding]]) -> Table:
    """Return exchanges, a row each.

    Args:
        findings: Those of each exchange, by its id.
    """
    table = plain_table("received (UTC)", "operation")
    table.add_column("request", overflow="fold")
    table.add_column("answer", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("findings", no_wrap=True)
    for exchange in found:
        table.add_row(
            f"{exchange.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            exchange.route.operation.value,
            printable(f"{exchange.request.method} {exchange.request.path}"),
            answer(exchange),
            took_ms(exchange),
            finding_counts(FindingCounts().plus(findings.get(exchange.id, ()))),
        )
    return table


def rules_table(found: Iterable[Rule]) -> Table:
    """Return rules, a row each."""
    table = plain_table("rule", "severity")
    table.add_column("what is wrong")
    for rule in found:
        table.add_row(rule.id, Text(rule.severity.value, style=SEVERITY_STYLES[rule.severity]), Text(rule.summary))
    return table


def schemas_table(found: Iterable[StoredSchema]) -> Table:
    """Return versions of schemas, a row each."""
    table = plain_table("upstream", "event type", "version", "bytes", "first seen (UTC)", "last seen (UTC)")
    for schema in found:
        seen = (moment(at) for at in (schema.first_seen_at, schema.last_seen_at))
        names = (printable(schema.upstream), printable(schema.event_type))
        table.add_row(*names, schema.sha256[:ID_SHOWN], str(len(schema.body)), *seen)
    return table


def pairs_table(pairs: Iterable[Pair]) -> Table:
    """Return two sessions side by side, a row for each event of either."""
    table = plain_table()
    for name in ("# A", "time A", "event", "# B", "time B", "", "what differs"):
        table.add_column(name, justify="right" if name[:1] in ("#", "t") else "left", no_wrap=name != "what differs")
    for pair in pairs:
        either = pair.a or pair.b
        differences = "; ".join(f"{each.where}: {value(each.a)} -> {value(each.b)}" for each in pair.differences)
        table.add_row(
            *_place(pair.a),
            printable(either.event_type if either is not None else None, "(no event type)"),
            *_place(pair.b),
            Text(pair.kind.value, style=_KIND_STYLES[pair.kind]),
            printable(differences),
        )
    return table


def _place(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "-", "-"
    return f"{entry.seq}{entry.pointer}", "-" if entry.at_s is None else f"{entry.at_s:.3f}"
