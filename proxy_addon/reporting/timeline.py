"""A session as a timeline for people.

Beside each event are the time since the previous event and the distance that the playhead moved. So a playhead that
runs away from the clock, or late pings, can be seen by reading down two columns. Rows have the numbers by which
findings name places.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rich.text import Text

from proxy_addon.core.audits.metrics import Metrics
from proxy_addon.core.books import Loss
from proxy_addon.core.events import Event
from proxy_addon.core.exchange import BodyState, Exchange, Whole
from proxy_addon.core.findings import Finding, Holes, Judgement, Verdict, element_of
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.sessions import AsOf, FindingCounts, Session
from proxy_addon.core.wording import counted, visible
from proxy_addon.reporting.columns import Column, Table
from proxy_addon.reporting.findings import print_findings
from proxy_addon.reporting.judged import Moment, moment_of, place_in
from proxy_addon.reporting.metrics import metrics_facts
from proxy_addon.reporting.terminal import STATE_STYLES, Screen, answer, printable
from proxy_addon.reporting.words import NOT_JUDGED, clock, duration, finding_counts, moment, not_applied, took_ms, zone

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
_LARGE_S = 1e9
"""From this many seconds on, a movement of the playhead is nonsense and shown with few digits."""
_PLACES_SHOWN = 5
"""How many exchanges are named for which the same was said."""
BODY_SHOWN = 20_000
"""How many characters of a body are shown at most; the JSON has all."""


@dataclass(slots=True)
class _Row:
    """A row of the timeline: an exchange, or an element of its batch."""

    cells: tuple[Text | str, ...]
    counts: FindingCounts = field(default_factory=FindingCounts)
    bodies: Exchange | None = None
    is_judged: bool = True
    why_lost: str | None = None


class Timeline:
    """Prints one session: its facts, its timeline, what was said of its exchanges, and its findings."""

    def __init__(self, screen: Screen, session: Session, as_of: AsOf, *, local: bool = False) -> None:
        self._screen = screen
        self._session = session
        self._as_of = as_of
        self._local = local

    def print(
        self,
        exchanges: Iterable[Exchange],
        verdicts: Mapping[str, Verdict],
        of_session: Callable[[], Judgement],
        metrics: Callable[[], Metrics],
        *,
        bodies: bool = False,
        gaps: Sequence[Loss] = (),
    ) -> None:
        """Print the facts, the timeline, notes, and all findings by place.

        Args:
            exchanges: The exchanges of the session, by time of arrival.
            verdicts: The findings of exchanges, by exchange id.
            of_session: Returns the judgement of the session, whose findings of exchanges do not count; called after all
                exchanges were consumed.
            metrics: Returns what reports will count; called like ``of_session``.
            bodies: Whether bodies are shown too.
            gaps: What was lost of it, by time of arrival.
        """
        rows: dict[tuple[int, int | None], _Row] = {}
        moments: dict[int, Moment] = {}
        found: list[Finding] = []
        notes: dict[str, list[int]] = defaultdict(list)
        before = _Before()
        losses = deque(enumerate(gaps, 1))
        for seq, exchange in enumerate(exchanges, 1):
            while losses and losses[0][1].received_at < exchange.received_at:
                number, loss = losses.popleft()
                rows[-number, None] = self._gap(loss)
            at_s = (exchange.received_at - self._session.started_at).total_seconds()
            moments[seq] = moment_of(exchange, self._session.started_at)
            rows |= {(seq, element): row for element, row in _rows(seq, exchange, at_s, before)}
            for note in filter(None, (exchange.reason, exchange.note)):
                notes[note].append(seq)
            if bodies:
                rows[seq, None].bodies = exchange
            verdict = verdicts.get(exchange.id, ())
            rows[seq, None].is_judged = verdict is not None
            found += [replace(finding, seq=seq) for finding in verdict or ()]
        rows |= {(-number, None): self._gap(loss) for number, loss in losses}
        judgement = of_session()
        found += judgement.of_session
        _mark(rows, found)
        self._print_facts(metrics(), judgement.holes)
        self._screen.print_table(_table(rows.values()))
        self._print_notes(notes)
        if found:
            self._screen.print()
            self._screen.print(Text("Findings", style="bold"))
            print_findings(self._screen, found, lambda finding: place_in(finding, moments), otherwise="session")

    def _gap(self, loss: Loss) -> _Row:
        """Return the row of an exchange that was lost."""
        at = clock((loss.received_at - self._session.started_at).total_seconds())
        what = Text.assemble(("lost: ", "bold red"), printable(loss.method))
        return _Row(("-", at, what, "", "", "", Text("-"), ""), why_lost=loss.reason)

    def _print_notes(self, notes: Mapping[str, Sequence[int]]) -> None:
        """Print what was said of exchanges, each sentence once: why there was no answer, and what a file lacks."""
        if notes:
            self._screen.print()
            self._screen.print(Text("Notes", style="bold"))
        for note, numbers in notes.items():
            places = ", ".join(f"#{seq}" for seq in numbers[:_PLACES_SHOWN])
            more = ", …" if len(numbers) > _PLACES_SHOWN else ""
            self._screen.print_wrapped(Text.assemble((f"  {places}{more}  ", "dim"), printable(note)), hanging=4)

    def _print_facts(self, metrics: Metrics, holes: Holes | None) -> None:
        session, state = self._session, self._session.state(self._as_of)
        lasted = duration((session.last_event_at - session.started_at).total_seconds())
        started = f"{moment(session.started_at, local=self._local)} {zone([session.started_at], local=self._local)}"
        facts: list[tuple[str, Text | str | None]] = [
            ("session", Text.assemble(session.id, "  ", (state.value, STATE_STYLES[state]))),
            ("session ID", session.session_id or Text("none was given", style="dim")),
            ("retry of", session.retry_of),
            ("started", f"{started}, lasted {lasted}"),
            ("upstream", session.upstream or Text("unknown", style="dim")),
            ("recording", session.recording),
            ("personal", "pseudonymised: tokens stand for personal values" if session.pseudonymised else None),
            ("player", session.player_name),
            ("media", _joined(session.media_name, session.media_id, session.content_type)),
            ("versions", _joined(session.app_version, session.library_version)),
            ("device", _joined(session.client_address, session.user_agent)),
            ("exchanges", f"{session.exchanges}, with {counted(session.events, 'event')}"),
            ("findings", finding_counts(session.finding_counts(self._as_of)) or None),
            ("lost", f"{counted(session.lost, 'exchange')}, which could not be stored" if session.lost else None),
            ("not applied", None if holes is None else not_applied(holes)),
            *metrics_facts(metrics),
        ]
        for name, fact in facts:
            if fact is not None:
                shown = fact if isinstance(fact, Text) else printable(fact)
                line = Text.assemble((f"{name:<{_FACT_INDENT}}", "dim"), shown)
                self._screen.print_wrapped(line, hanging=_FACT_INDENT)
        self._screen.print()


_FACT_INDENT = 12


def _joined(*parts: str | None) -> str | None:
    return " · ".join(filter(None, parts)) or None


def _mark(rows: Mapping[tuple[int, int | None], _Row], found: Iterable[Finding]) -> None:
    """Set the counts of findings of each row."""
    by_row: dict[tuple[int, int | None], list[Finding]] = defaultdict(list)
    for finding in found:
        if finding.seq is not None:
            place = finding.seq, element_of(finding.pointer)
            by_row[place if place in rows else (finding.seq, None)].append(finding)
    for place, mine in by_row.items():
        if place in rows:
            rows[place].counts = FindingCounts().plus(mine)


def _table(rows: Iterable[_Row]) -> Table:
    table = Table(
        Column("#", is_right=True),
        Column("time", is_right=True, dropped=5),
        Column("event", least=15),
        Column("playhead s", is_right=True, dropped=4),
        Column("Δ time", is_right=True, dropped=2),
        Column("Δ playhead", is_right=True, dropped=3),
        Column("answer"),
        Column("ms", is_right=True, dropped=1),
        Column("found"),
    )
    for row in rows:
        said = finding_counts(row.counts) if row.is_judged else NOT_JUDGED
        table.add(*row.cells, said, below=_bodies(row.bodies) if row.why_lost is None else [printable(row.why_lost)])
    return table


@dataclass(slots=True)
class _Before:
    """The time of arrival and the playhead of the previous event."""

    at: datetime | None = None
    playhead_s: float = 0.0

    def distance(self, at: datetime, event: Event) -> tuple[str, str]:
        """Return the distance in time and in playhead from the previous event, and remember this one."""
        if event.type is None or event.playhead_s is None:
            return "", ""
        before_at, before_s = self.at, self.playhead_s
        self.at, self.playhead_s = at, float(event.playhead_s)
        if before_at is None:
            return "", ""
        moved_s = self.playhead_s - before_s
        moved = f"{moved_s:+.3f}" if abs(moved_s) < _LARGE_S else f"{moved_s:+.3g}"
        return f"{(at - before_at).total_seconds():.3f}", moved


def _rows(seq: int, exchange: Exchange, at_s: float, before: _Before) -> Iterator[tuple[int | None, _Row]]:
    """Yield the rows of an exchange: its own under None, and one for each element of a batch under its number."""
    body = exchange.request.reading
    tracking = exchange.route.operation in TRACKING
    event = body.events[0] if tracking and body.events and not body.is_batch else Event()
    what = _event(event) if event.type is not None else Text(_what(exchange, batch=body.is_batch), style="dim")
    distance = before.distance(exchange.received_at, event)
    playhead = _number(event.playhead_s)
    yield None, _Row((str(seq), clock(at_s), what, playhead, *distance, answer(exchange), took_ms(exchange)))
    if tracking and body.is_batch:
        for element, each in enumerate(body.events, 1):
            cells = (f"{seq}/{element}", "", _event(each), _number(each.playhead_s), "", "", "", "")
            yield element, _Row(cells)


def _bodies(exchange: Exchange | None) -> Iterator[Text]:
    if exchange is None:
        return
    request = exchange.request
    if request.body_state is BodyState.MISSING:
        yield Text("request  not in the file", style="dim")
    is_exact = request.body_state is BodyState.EXACT
    told = f"request, {request.body_state}"
    bodies = [("request" if is_exact else told + _cut(request.whole), request.body)]
    if exchange.response is not None:
        bodies.append((f"answer{_cut(exchange.response.whole, ', truncated')}", exchange.response.body))
    for name, body in bodies:
        if body:
            yield from Text.assemble((f"{name}  ", "dim"), _readable(body)).split("\n")


def _cut(whole: Whole | None, said: str = "") -> str:
    """Return what is said of a body of which only the beginning is stored; nothing of all others."""
    return "" if whole is None else f"{said}, the beginning of {whole.length} bytes"


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
    if exchange.request.body_state is BodyState.MISSING:
        return f"{exchange.request.method}, body not in the file"
    return f"{exchange.request.method}, no event"


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 3):.12g}"


def _readable(body: bytes) -> Text:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Text(f"{len(body)} bytes, no UTF-8 text: {body[:40].hex(' ')}{' …' if len(body) > 40 else ''}")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode()
    shown = Text("\n").join(Text(visible(line)) for line in text[:BODY_SHOWN].split("\n"))
    if len(text) > BODY_SHOWN:
        shown.append(f"\n… {len(text) - BODY_SHOWN} characters more; --json has them")
    return shown
