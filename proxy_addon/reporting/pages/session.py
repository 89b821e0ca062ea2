"""The page of one session: `SessionPage` is all that it draws; `traffic` is read only when an event is opened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from proxy_addon.core.audits.metrics import MARKERS
from proxy_addon.core.devices import device_of
from proxy_addon.core.exchange import Exchange, Headers
from proxy_addon.core.findings import Finding, Severity, element_of, member_of
from proxy_addon.core.jsonforms import body_document, iso
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.sessions import SessionState
from proxy_addon.core.timelines.marks import LONGEST_NAME, Mark
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.timelines.spans import Fate, Place, Span
from proxy_addon.core.timelines.verdicts import expires_at
from proxy_addon.reporting.documents import lasted_s, session_document
from proxy_addon.reporting.pages.counted import rows_of
from proxy_addon.reporting.words import moment

FORM = 1
"""The version of the document; scripts draw no other version."""
_NOT_COUNTED = "not counted"
_DROPPED = {
    "timeout_idle": "dropped: after 10 minutes of silence",
    "timeout_playhead": "dropped: after 30 minutes without playhead movement",
    "after_session_end": "dropped: after sessionEnd",
}
_LONGEST_S = 366 * 86_400.0
"""The longest media whose length is drawn; for live streams, players send a day."""
_SHOWN_META = 40
"""How many members of custom metadata the head shows; the body of the start has all."""


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """What the page of a session draws. Seconds are counted from the ``ts`` of its first event, by the device's clock.

    Attributes:
        form: The version of this document.
        session: As in ``sessions --json``.
        verdict: ``level`` (fail, warn, pass), ``headline``, ``ended``, ``expires_at`` (None unless it is open and the page goes on), ``findings``
            by severity, ``counts`` (name, number, tone).
        identity: What is known of media, player, device and recording: label, value, kind (``mono``, ``long``, ``meta``).
        t0_ms: The ``ts`` of the first event, in Unix milliseconds.
        lasted_s: How long it lasted by the recorder's clock, from its first to its last event, as in lists.
        end_s: Where the axis ends.
        now_s: When the page was made, on the axis; None if the session is over, or if the page is kept in a file.
        live: Whether the content is live.
        batch: Whether it is downloaded playback, sent in one request.
        media_length_s: None if it is not known.
        skew0_ms: How far quick arrivals are behind the device's clock. All arrivals are drawn shifted by it.
        skew_median_ms: How far the median arrival is behind it.
        kinds: The types of its events.
        events: Columns of equal length: ``n`` number, ``q`` position of the exchange, ``e`` element in a batch or 0, ``t``
            device's time, ``w`` how far its ``ts`` is from that if it is wrong (the event is drawn where it arrived) or
            None, ``a`` arrival, ``d`` milliseconds to the answer or None, ``k`` index into ``kinds``, ``p`` playhead or
            None, ``s`` status or 0, ``o`` outcome, ``f`` indices of findings, ``st`` state of playback after it, ``r`` rank
            as the back end takes them or -1, ``x`` what tells it from others of its type.
        spans: ``playback`` (``a``, ``b``, ``k``), ``breaks``, ``ads``, ``chapters``, ``states`` (``a``, ``b``, ``name``,
            ``n``, ``how``, ``completed``, ``open``, ``ignored``).
        totals: Seconds of each state of playback.
        silences: ``a``, ``b``, ``s`` seconds by the recorder's clock, ``due`` when pings were due, ``n`` the event that ends it.
        findings: Rule, severity, message, pointer, ``places`` (numbers of events), ``pointers`` (for each place, relative to
            its event, or None), ``count``, ``until``, ``lowered_by``, ``summary``, ``why``, ``fix``, ``below`` (index of the
            finding it follows from).
        metrics: What reports will count, row by row.
        progress: Whether each marker was passed, by percentage; None if that is not known.
        played: The parts of the content that were played, as metrics count them: from and to, in seconds of the content.
        player_states: As of docs/metrics.md.
        closed_by: What closed it; None while it is open, and if no event was taken.
        late: Numbers of the events that were taken late.
        dropped: Numbers of the events that were dropped, each with the reason.
        uncounted: Numbers of the events that reports do not count as they were sent, each with a sentence.
        gaps: Exchanges that the recorder lost: ``at``, ``what`` and ``why``.
        not_applied: Ids of the rules that were not applied, because not all of the session is known.
        links: What the page links to: kind (``next``, ``previous``, ``retry_of``, ``retried_by``, or ``run``, a replay run) and
            id.
        made_at: When this was made.
    """

    form: int = FORM
    session: Mapping[str, Any]
    verdict: Mapping[str, Any]
    identity: list[tuple[str, str, str]]
    t0_ms: int
    lasted_s: float
    end_s: float
    now_s: float | None
    live: bool
    batch: bool
    media_length_s: float | None
    skew0_ms: int
    skew_median_ms: int
    kinds: list[str]
    events: Mapping[str, list[Any]]
    spans: Mapping[str, list[dict[str, Any]]]
    totals: Mapping[str, float]
    silences: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    progress: Mapping[str, int | None]
    played: list[tuple[float, float]]
    player_states: Mapping[str, Any]
    closed_by: str | None
    late: list[int]
    dropped: list[tuple[int, str]]
    uncounted: list[tuple[int, str]]
    gaps: list[dict[str, str]]
    not_applied: list[str]
    links: list[tuple[str, str]]
    made_at: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def session_page(picture: Picture, links: Iterable[tuple[str, str]] = (), *, if_open: str | None = None) -> SessionPage:
    """Return what the page of a session draws.

    Args:
        links: As of `SessionPage.links`.
        if_open: What a page that is kept in a file says of a session that is open: time does not go on there. None for a
            page on which it does.
    """
    return _Drawing(picture).page(links, if_open)


class _Drawing:
    """Puts a picture on the axis of its page."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._begin_ms = picture.begin_ms
        self._numbers = picture.numbers
        self._first_of: dict[int, int] = {}
        for (seq, _), number in self._numbers.items():
            self._first_of.setdefault(seq, number)

    def page(self, links: Iterable[tuple[str, str]], if_open: str | None) -> SessionPage:
        picture = self._picture
        session, as_of, metrics = picture.session, picture.as_of, picture.metrics
        is_open = session.state(as_of) is SessionState.OPEN
        severities = Counter(told.finding.severity for told in picture.findings)
        goes_on = is_open and if_open is None
        expires = expires_at(session, as_of) if goes_on else None
        start = _start_of(picture)
        params = _object(start.get("params"))
        findings = self._findings()
        events, kinds = self._columns(findings)
        at_ends = [*events["t"], *events["a"], 0.0]
        return SessionPage(
            session=session_document(session, as_of),
            verdict={
                "level": picture.glance.level.value,
                "headline": picture.glance.headline,
                "ended": if_open if is_open and if_open is not None else picture.glance.ended,
                "expires_at": None if expires is None else iso(expires),
                "findings": {severity.value: severities[severity] for severity in Severity},
                "counts": [*picture.glance.counts],
            },
            identity=[*_identity(picture, params, _object(start.get("customMetadata")))],
            t0_ms=self._begin_ms,
            lasted_s=lasted_s(session),
            end_s=max(at_ends),
            now_s=self._at(_millis(as_of.now) - picture.skew.quickest) if goes_on else None,
            live=picture.order.taken[0].event.start.is_live
            if picture.order.taken and picture.order.taken[0].event.start is not None
            else False,
            batch=picture.is_batch,
            media_length_s=_length(params),
            skew0_ms=round(picture.skew.quickest),
            skew_median_ms=round(picture.skew.median),
            kinds=kinds,
            events=events,
            spans=self._spans(),
            totals=self._totals(),
            silences=[
                {
                    "a": self._at(silence.begin_ms),
                    "b": self._at(silence.end_ms),
                    "s": round(silence.lasted_ms / 1000, 1),
                    "due": [self._at(due) for due in silence.due_ms],
                    "n": self._numbers[silence.ended],
                }
                for silence in picture.silences
            ],
            findings=findings,
            metrics=[{field.name: getattr(row, field.name) for field in fields(row)} for row in rows_of(metrics)],
            progress={str(percent): metrics.values.get(f"progress_{percent}") for percent in MARKERS},
            played=[(round(a, 3), round(b, 3)) for a, b in metrics.viewed if b > a],
            player_states=metrics.values.get("player_states") or {},
            closed_by=None if metrics.closed_by is None else metrics.closed_by.value,
            late=[number for event in metrics.late if (number := self._number(event.seq, event.pointer))],
            dropped=[
                (number, _DROPPED[why.value])
                for event, why in metrics.dropped
                if (number := self._number(event.seq, event.pointer))
            ],
            uncounted=[(self._numbers[place], why) for place, why in picture.uncounted.items()],
            gaps=[
                {"at": iso(loss.received_at), "what": f"{loss.method} {loss.path}", "why": loss.reason}
                for loss in picture.gaps
            ],
            not_applied=[*picture.judgement.holes.rules] if picture.judgement.holes else [],
            links=[*links],
            made_at=iso(as_of.now),
        )

    def _at(self, ms: float) -> float:
        """Return a time on the axis, in seconds."""
        return round((ms - self._begin_ms) / 1000, 3)

    def _number(self, seq: int, pointer: str = "") -> int | None:
        return self._numbers.get((seq, pointer)) or self._first_of.get(seq)

    def _columns(self, findings: list[dict[str, Any]]) -> tuple[dict[str, list[Any]], list[str]]:
        picture = self._picture
        found: dict[int, list[int]] = {}
        for index, finding in enumerate(findings):
            for number in finding["places"]:
                found.setdefault(number, []).append(index)
        dropped = {(event.seq, event.pointer): _DROPPED[why.value] for event, why in picture.metrics.dropped}
        kinds: dict[str, int] = {}
        columns: dict[str, list[Any]] = {name: [] for name in ("n", "q", "e", "t", "w", "a", "d", "k", "p", "s", "o", "f", "st", "r", "x")}  # fmt: skip
        for mark in picture.marks:
            number = self._numbers[mark.place]
            row = (
                number,
                mark.seq,
                int(mark.pointer[1:]) + 1 if mark.pointer else 0,
                self._at(mark.device_ms),
                mark.off_ms / 1000 or None,
                self._at(mark.arrived_ms - picture.skew.quickest),
                None if mark.took_ms is None else round(mark.took_ms, 1),
                kinds.setdefault(mark.type, len(kinds)),
                mark.playhead_s,
                mark.status or 0,
                mark.outcome,
                found.get(number, []),
                self._after(mark, dropped),
                picture.spans.rank.get(mark.place, -1),
                mark.name,
            )
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        return columns, [*kinds]

    def _after(self, mark: Mark, dropped: Mapping[Place, str]) -> str:
        state = self._picture.spans.after.get(mark.place)
        if state is None:
            return dropped.get(mark.place, _NOT_COUNTED)
        if mark.place in self._picture.spans.idle:
            return f"{state} · {_NOT_COUNTED}"
        return f"{state} · break" if mark.place in self._picture.spans.in_break else state

    def _spans(self) -> dict[str, list[dict[str, Any]]]:
        spans = self._picture.spans
        return {
            "playback": [{"a": self._at(s.begin_ms), "b": self._at(s.end_ms), "k": s.name} for s in spans.playback],
            "breaks": [self._span(span) for span in spans.breaks],
            "ads": [self._span(span) for span in spans.ads],
            "chapters": [self._span(span) for span in spans.chapters],
            "states": [self._span(span) for span in spans.states],
        }

    def _span(self, span: Span) -> dict[str, Any]:
        return {
            "a": self._at(span.begin_ms),
            "b": self._at(span.end_ms),
            "name": span.name[:LONGEST_NAME],
            "n": None if span.began is None else self._number(*span.began),
            "how": span.fate.value,
            "completed": span.fate is Fate.COMPLETED,
            "open": span.fate is Fate.OPEN,
            "ignored": span.fate is Fate.IGNORED,
        }

    def _totals(self) -> dict[str, float]:
        return {name: ms / 1000 for name, ms in self._picture.spans.counted_ms.items()}

    def _findings(self) -> list[dict[str, Any]]:
        return [
            {
                "rule": finding.rule,
                "severity": finding.severity.value,
                "message": finding.message,
                "pointer": finding.pointer,
                "places": [number for number, _ in self._places(finding)],
                "pointers": [pointer for _, pointer in self._places(finding)],
                "count": finding.count,
                "until": None if finding.until_seq is None else self._number(finding.until_seq),
                "lowered_by": finding.lowered_by,
                "summary": KNOWN[finding.rule].summary if finding.rule in KNOWN else "",
                "why": KNOWN[finding.rule].page.get("Why it matters", "") if finding.rule in KNOWN else "",
                "fix": KNOWN[finding.rule].page.get("How to fix", "") if finding.rule in KNOWN else "",
                "below": told.below,
            }
            for told in self._picture.findings
            for finding in (told.finding,)
        ]

    def _places(self, finding: Finding) -> Iterator[tuple[int, str | None]]:
        for place in finding.places:
            element = element_of(place.pointer)
            number = self._number(place.seq, "" if element is None else f"/{element - 1}")
            if number is not None:
                yield number, member_of(place.pointer)


def traffic(exchanges: Iterable[Exchange], numbers: Iterable[int] | None = None) -> dict[str, Any]:
    """Return requests and answers in full; headers that repeat are listed once.

    Args:
        numbers: Positions of exchanges in the session, from 1; None for 1 and so on.

    Returns:
        ``headers``, a list of lists of names and values, and ``rows``: by position, method, path, version, headers (an index
        into that list, and those that vary), body, arrival, why it failed, and the answer (status, version, headers, body).
    """
    sets: dict[str, int] = {}
    rows: dict[str, Any] = {}
    every = enumerate(exchanges, 1) if numbers is None else zip(numbers, exchanges, strict=True)
    for seq, exchange in every:
        if exchange.route.operation not in TRACKING:
            continue
        request, response = exchange.request, exchange.response
        rows[str(seq)] = [
            request.method,
            request.path,
            request.http_version,
            _headers(request.headers, sets),
            body_document(request.body, request.whole),
            iso(exchange.received_at),
            exchange.reason,
            None
            if response is None
            else [
                response.status,
                response.http_version,
                _headers(response.headers, sets),
                body_document(response.body, response.whole),
            ],
        ]
    return {"headers": [json.loads(text) for text in sets], "rows": rows}


_VARYING = frozenset({"content-length", "date", "location"})


def _headers(headers: Headers, sets: dict[str, int]) -> list[Any]:
    same = json.dumps([pair for pair in headers if pair[0].lower() not in _VARYING])
    return [sets.setdefault(same, len(sets)), [[*pair] for pair in headers if pair[0].lower() in _VARYING]]


def _start_of(picture: Picture) -> dict[str, Any]:
    """Return the body of what opened the session, as it was sent; empty if it is not known."""
    for exchange in picture.exchanges:
        if exchange.route.operation in TRACKING and exchange.request.reading.events:
            try:
                value = json.loads(exchange.request.body)
            except (ValueError, RecursionError):
                return {}
            return _object(value[0] if isinstance(value, list) and value else value)
    return {}


def _length(params: Mapping[str, Any]) -> float | None:
    """Return the length of the media, if it is one that can be drawn."""
    length = params.get("media.length")
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length <= _LONGEST_S:
        return None
    return length


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _identity(
    picture: Picture, params: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    session = picture.session

    rows = (
        ("Started", f"{moment(session.started_at)} UTC", ""),
        ("Media", session.media_id, "mono"),
        ("Type", _said(params, "media.contentType", "media.streamType"), ""),
        ("Player", " ".join(filter(None, (session.player_name, session.app_version))), ""),
        ("Library", session.library_version, ""),
        ("Device", device_of(session.user_agent), ""),
        ("Address", session.client_address, "mono"),
        ("Channel", _said(params, "media.channel"), ""),
        ("Report suite", _said(params, "analytics.reportSuite"), "mono"),
        ("Upstream", session.upstream, "mono"),
        ("Recording", session.recording, ""),
        ("Session ID", session.session_id, "mono long"),
    )
    for label, value, kind in rows:
        if value:
            yield label, value, kind
    for name, value in [*metadata.items()][:_SHOWN_META]:
        yield str(name)[:LONGEST_NAME], _text(value), "meta"


def _said(params: Mapping[str, Any], *keys: str) -> str:
    return " · ".join(_text(params[key]) for key in keys if params.get(key) is not None and params[key] != "")


def _text(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_NAME]


def _millis(at: datetime) -> float:
    return at.timestamp() * 1000
