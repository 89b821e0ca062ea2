"""What judging costs: that it is linear in a session's events, and does not grow with the number of sessions."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

from benchmarks.parts import bodies
from proxy_addon.core.events import read_body
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.session_view import session_event

SIZES = (10_000, 100_000)


def run() -> list[str]:
    """Measure, and return lines to print."""
    lines = []
    took_s = {size: min(_judge(size, shuffled=False) for _ in range(3)) for size in SIZES}
    late_s = {size: min(_judge(size, shuffled=True) for _ in range(3)) for size in SIZES}
    small, large = SIZES
    lines.append(
        f"a session of {large} events / one of {small}: {took_s[large] / took_s[small]:.1f}   (goal: at most 12)"
    )
    lines.append(f"the same with events that arrive out of order: {late_s[large] / late_s[small]:.1f}")
    lines.append(
        f"  per event: {took_s[large] / large * 1e6:.1f} us, out of order {late_s[large] / large * 1e6:.1f} us"
    )
    sent = bodies(1_700_000_000_000)
    began_s = time.perf_counter()
    rounds = 200
    for _ in range(rounds):
        for number, body in enumerate(sent):
            judge_body(body, Operation.EVENTS if number else Operation.SESSIONS)
    per_body_s = (time.perf_counter() - began_s) / rounds / len(sent)
    lines.append(f"body rules, decoding included: {per_body_s * 1e6:.1f} us per body")
    lines.append(f"memory after 50 and 500 sessions: {_peak(50)} and {_peak(500)} KiB")
    return lines


def _judge(size: int, *, shuffled: bool) -> float:
    (event,) = read_body(b'{"eventType":"ping","playerTime":{"playhead":1.5,"ts":1700000000000}}').events
    events = [
        session_event(
            replace(event, ts_ms=1_700_000_000_000 + n * 10_000, playhead_s=n * 10.0), seq=n + 1, arrived_s=n * 10.0
        )
        for n in range(size)
    ]
    if shuffled:
        for n in range(0, size - 1, 50):
            events[n], events[n + 1] = events[n + 1], events[n]
    judge = SessionJudge(SessionFacts(start_missing=True, has_clock=False))
    began_s = time.perf_counter()
    for each in events:
        judge.add(each)
    judge.findings(is_over=True)
    return time.perf_counter() - began_s


def _peak(sessions: int) -> int:
    sent = [read_body(body).events[0] for body in bodies(1_700_000_000_000)]
    tracemalloc.start()
    for _ in range(sessions):
        judge = SessionJudge(SessionFacts(has_clock=False))
        for number, event in enumerate(sent, 1):
            judge.add(session_event(event, seq=number, arrived_s=float(number)))
        judge.findings(is_over=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak // 1024
