"""A session as a timeline for people.

Beside each event stand its distance in time to the one before and how far the playhead moved: a player whose playhead
runs away from the clock, or pings that come too late, can be seen by reading down two columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.reporting.terminal import STATE_STYLES, answer, finding_text, plain_table, printable
from proxy_addon.reporting.words import clock, counted, duration, finding_counts, moment, took_ms

_STYLES = (
    (("session",), "bold cyan"),
    (("play",), "green"),
    (("pause", "buffer"), "yellow"),
    (("ping",), "dim"),
    (("ad",), "magenta"),
    (("chapter",), "blue"),
    (("error",), "bold red"),
    (("state", "bitrate"), "blue"),
)
BODY_SHOWN = 20_000
"""Characters of a body that are shown; the JSON has all."""


class Timeline:
    """Prints one session: its facts, its timeline, what was found."""

    def __init__(self, console: Console, session: Session, as_of: AsOf) -> None:
        self._console = console
        self._session = session
        self._as_of = as_of

    def print(
        self, exchanges: Iterable[Exchange], findings: Mapping[str, Sequence[Finding]], *, bodies: bool = False
    ) -> None:
        """Print the facts and the timeline, what was found of an exchange below its row.

        Args:
            findings: Those of each exchange, by its id.
            bodies: Whether bodies are shown too.
        """
        _print_facts(self._console, self._session, self._as_of)
        rows = _Rows(self._session.started_at)
        table = _table()
        for seq, exchange in enumerate(exchanges, 1):
            for row in rows.of(seq, exchange):
                table.add_row(*row)
            below = [finding_text(finding) for finding in findings.get(exchange.id, ())]
            shown = _bodies(exchange) if bodies else []
            if below or shown:  # these are wider than any column
                self._console.print(table)
                for line in (*below, *shown):
                    self._console.print(Padding(line, (0, 0, 0, 6)))
                table = _table(show_header=False)
        if table.row_count or not rows.count:
            self._console.print(table)

    def print_findings(self, findings: Sequence[Finding]) -> None:
        """Print what was found of the session as a whole."""
        if findings:
            self._console.print()
            self._console.print(Text("Of the session as a whole:", style="bold"))
            for finding in findings:
                self._console.print(
                    Padding(finding_text(finding, "" if finding.seq is None else f"#{finding.seq}"), (0, 0, 0, 2))
                )


def _bodies(exchange: Exchange) -> list[Text]:
    bodies = [("request", exchange.request.body)]
    if exchange.response is not None:
        bodies.append(("answer", exchange.response.body))
    return [Text.assemble((f"{name}  ", "dim"), _readable(body)) for name, body in bodies if body]


class _Rows:
    """The rows of a timeline, each with its distance to the one before."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self.count = 0
        self._before: tuple[datetime, float] | None = None

    def of(self, seq: int, exchange: Exchange) -> Iterable[tuple[Text | str, ...]]:
        self.count = seq
        body = exchange.request.reading
        at_s = (exchange.received_at - self._started_at).total_seconds()
        tracking = exchange.route.operation in TRACKING
        event = body.events[0] if tracking and body.events and not body.is_batch else Event()
        what = _event(event) if event.type is not None else Text(_what(exchange, batch=body.is_batch), style="dim")
        after, moved = self._distance(exchange.received_at, event)
        yield (
            str(seq),
            clock(at_s),
            what,
            _number(event.playhead_s),
            after,
            moved,
            answer(exchange),
            took_ms(exchange),
        )
        if tracking and body.is_batch:
            for element in body.events:
                yield ("", "", Text("  ").append_text(_event(element)), _number(element.playhead_s), "", "", "", "")

    def _distance(self, at: datetime, event: Event) -> tuple[str, str]:
        if event.type is None or event.playhead_s is None:
            return "", ""
        before, self._before = self._before, (at, float(event.playhead_s))
        if before is None:
            return "", ""
        return f"{(at - before[0]).total_seconds():.3f}", f"{float(event.playhead_s) - before[1]:+.3f}"


def _print_facts(console: Console, session: Session, as_of: AsOf) -> None:
    state = session.state(as_of)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    lasted = duration((session.last_event_at - session.started_at).total_seconds())
    facts.add_row("session", Text.assemble(session.id, "  ", (state.value, STATE_STYLES[state])))
    facts.add_row("session ID", printable(session.session_id, "none was given"))
    if session.retry_of:
        facts.add_row("retry of", session.retry_of)
    facts.add_row("started", f"{moment(session.started_at)} UTC, lasted {lasted}")
    facts.add_row("upstream", printable(session.upstream))
    for name, value in (
        ("recording", session.recording),
        ("player", session.player_name),
        ("media", " · ".join(filter(None, (session.media_name, session.media_id, session.content_type))) or None),
        ("versions", " · ".join(filter(None, (session.app_version, session.library_version))) or None),
        ("device", " · ".join(filter(None, (session.client_address, session.user_agent))) or None),
    ):
        if value is not None:
            facts.add_row(name, printable(value))
    facts.add_row("exchanges", f"{session.exchanges}, with {counted(session.events, 'event')}")
    if found := finding_counts(session.finding_counts(as_of)):
        facts.add_row("findings", found)
    console.print(facts)
    console.print()


def _table(*, show_header: bool = True) -> Table:
    table = plain_table(show_header=show_header)
    table.add_column("#", justify="right", no_wrap=True, min_width=3)
    table.add_column("time", justify="right", no_wrap=True, min_width=10)
    table.add_column("event", no_wrap=True, min_width=18)
    table.add_column("playhead s", justify="right", no_wrap=True, min_width=10)
    table.add_column("Δ time s", justify="right", no_wrap=True, min_width=9)
    table.add_column("Δ playhead s", justify="right", no_wrap=True, min_width=12)
    table.add_column("answer", no_wrap=True, min_width=6)
    table.add_column("ms", justify="right", no_wrap=True, min_width=7)
    return table


def _event(event: Event) -> Text:
    style = next((style for beginnings, style in _STYLES if (event.type or "").startswith(beginnings)), "")
    text = printable(event.type, "(no event type)")
    text.stylize(style)
    return text


def _what(exchange: Exchange, *, batch: bool) -> str:
    operation = exchange.route.operation
    if batch:
        return "batch"
    if operation is Operation.PREFLIGHT:
        return "preflight"
    return f"{exchange.request.method} {operation.value}, no event"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e6 else str(value)


def _readable(body: bytes) -> Text:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Text(f"{len(body)} bytes, no UTF-8 text: {body[:40].hex(' ')}{' …' if len(body) > 40 else ''}")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode()
    shown = Text("\n").join(printable(line) for line in text[:BODY_SHOWN].split("\n"))
    if len(text) > BODY_SHOWN:
        shown.append(f"\n… {len(text) - BODY_SHOWN} characters more; --json has them")
    return shown
