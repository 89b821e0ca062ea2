"""Sessions for tests of rules, written as what was played: `film` has a whole one, `judged` says what is found in it.

>>> judged(film(*pings(10, 20)))
[]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from proxy_addon.core.events import read_event
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.rules.session_view import SessionEvent, session_event
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, event_dict

BEGIN_S = BEGIN.timestamp()

Played = tuple[Any, ...]
"""An event: ``(type, t_s, playhead_s)``, then ``params``, then ``qoeData`` and ``arrival_s``.

``t_s`` and ``arrival_s`` count from `BEGIN`; without the latter an event arrives when it happens. A ``sessionStart``
has `START_PARAMS` beside its own.
"""


def events_of(events: Iterable[Played]) -> list[SessionEvent]:
    """Return events as the rules over sessions see them, numbered from 1."""
    return [_event(event, seq) for seq, event in enumerate(events, start=1)]


def _event(event: Played, seq: int) -> SessionEvent:
    event_type, t_s, playhead_s, *rest = event
    params, quality, arrival_s = rest + [None] * (3 - len(rest))
    if event_type == "sessionStart":
        params = {**START_PARAMS, **(params or {})}
    members: Mapping[str, Any] = {"qoeData": quality} if quality is not None else {}
    ts = None if t_s is None else BEGIN_MS + round(t_s * 1000)
    value = event_dict(event_type, playhead=playhead_s, ts=ts, params=params, **members)
    arrived_s = t_s if arrival_s is None else arrival_s
    return session_event(read_event(value), seq=seq, arrived_s=None if arrived_s is None else BEGIN_S + arrived_s)


def judge(events: Iterable[SessionEvent], policy: Policy = DEFAULT, **facts: Any) -> SessionJudge:
    """Return a judge that was given events, in the order of their arrival."""
    made = SessionJudge(SessionFacts(**facts), policy)
    for event in events:
        made.add(event)
    return made


def judged(events: Iterable[Played], *, is_over: bool = True, policy: Policy = DEFAULT, **facts: Any) -> list[Finding]:
    """Return what is found in a session.

    Args:
        **facts: As of `SessionFacts`.
    """
    return judge(events_of(events), policy, **facts).findings(is_over=is_over)


def film(*middle: Played, end_s: float = 30, start: Mapping[str, Any] | None = None) -> list[Played]:
    """Return a session from its start to its ``sessionComplete``, in which content plays from the first second on."""
    return [("sessionStart", 0, 0, start or {}), ("play", 0.5, 0), *middle, ("sessionComplete", end_s, end_s)]


def pings(first_s: float, last_s: float, playhead_s: float | None = None, *, every_s: float = 10) -> Iterator[Played]:
    """Yield pings at a steady pace; the playhead is the time unless it stands."""
    for number in range(round((last_s - first_s) / every_s) + 1):
        t_s = first_s + number * every_s
        yield "ping", t_s, t_s if playhead_s is None else playhead_s


def the_only(findings: Sequence[Finding]) -> Finding:
    """Return the finding where there is no other."""
    assert len(findings) == 1, [f"{finding.rule}: {finding.message}" for finding in findings]
    return findings[0]


def says(finding: Finding) -> tuple[str, Severity, int, int | None]:
    """Return rule, severity, count and place of a finding."""
    return (finding.rule, finding.severity, finding.count, finding.seq)


def rules_in(findings: Iterable[Finding]) -> set[str]:
    """Return the rules of findings."""
    return {finding.rule for finding in findings}


def breaks[F: Callable[..., None]](rule: str) -> Callable[[F], F]:
    """Mark a test whose session breaks this rule and no other."""
    return _noted("breaks", rule)


def keeps[F: Callable[..., None]](rule: str) -> Callable[[F], F]:
    """Mark a test whose session nearly breaks this rule."""
    return _noted("keeps", rule)


def _noted[F: Callable[..., None]](what: str, rule: str) -> Callable[[F], F]:
    def note(test: F) -> F:
        rules: frozenset[str] = getattr(test, what, frozenset())
        setattr(test, what, rules | {rule})
        return test

    return note
