"""A replay run as one HTML page: no other file, no other host, readable without its few lines of script.

Charts are SVG drawn here. What they need is gathered while the sessions pass by: a scatter of at most `POINTS` points,
with the extremes kept, however long the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from html import escape

from proxy_addon.core.replays.runs import RunSummary, SessionRun, Step, StepOutcome, count
from proxy_addon.reporting.checks import legal_text

POINTS = 3000
"""Most points of a chart."""
ROWS = 2000
"""Steps that are listed at most; those that went as recorded are left out first."""
WIDTH, HEIGHT = 900, 240
_LEFT, _BOTTOM, _TOP, _RIGHT = 60, 30, 10, 10

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --paper: #fff; --line: #d0d7de; --good: #1a7f37;
  --odd: #9a6700; --bad: #cf222e; --none: #6e7781; --mark: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9198a1; --paper: #0d1117; --line: #30363d;
  --good: #3fb950; --odd: #d29922; --bad: #f85149; --none: #8b949e; --mark: #58a6ff; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--dim); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
code { font: 13px ui-monospace, monospace; }
.same { color: var(--good); } .different { color: var(--odd); } .failed { color: var(--bad); }
.skipped { color: var(--none); }
details { border-bottom: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; }
svg { width: 100%; height: auto; } svg text { fill: var(--dim); font-size: 12px; } svg .axis { stroke: var(--line); }
.s2 { fill: var(--good); } .s3, .s4 { fill: var(--odd); } .s5 { fill: var(--bad); } .drift { fill: var(--mark); }
.filter { display: none; gap: 1rem; align-items: center; } .js .filter { display: flex; }
@media print { .filter { display: none !important; } details { break-inside: avoid; } }
"""
_SCRIPT = """
document.documentElement.classList.add("js");
const text = document.getElementById("find"), verdict = document.getElementById("verdict");
const rows = [...document.querySelectorAll("[data-verdict]")];
function show() {
  const wanted = text.value.toLowerCase();
  for (const row of rows)
    row.hidden = (verdict.value && row.dataset.verdict !== verdict.value) ||
      (wanted && !row.textContent.toLowerCase().includes(wanted));
}
text.addEventListener("input", show);
verdict.addEventListener("change", show);
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(of: RunSummary, sessions: Callable[[], Iterable[SessionRun]]) -> Iterator[str]:
    """Yield the page, piece by piece.

    Args:
        sessions: Yields the sessions of the run, each time it is asked.
    """
    latencies, drifts = _Scatter(), _Scatter()
    for session in sessions():
        for step in session.steps:
            if step.sent_at is not None:
                at_s = (step.sent_at - of.run.started_at).total_seconds()
                if step.latency_ms is not None and step.status is not None:
                    latencies.add(at_s, step.latency_ms, f"s{step.status // 100}")
                if step.drift_ms is not None:
                    drifts.add(at_s, step.drift_ms, "drift")
    run, totals = of.run, of.totals
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>Replay {_text(run.id)}: {totals.verdict}</title>'
        f"<style>{_STYLE}</style></head><body>\n"
        f'<h1>Replay {_text(run.id)}: <span class="{totals.verdict}">{totals.verdict}</span></h1>\n'
    )
    yield _facts(of)
    yield (
        f"<p><strong>{totals.recorded} recorded = {totals.sent} sent + {totals.skipped} skipped</strong>; "
        f'{totals.sent} sent = <span class="same">{totals.same} same</span> + '
        f'<span class="different">{totals.different} different</span> + '
        f'<span class="failed">{totals.failed} failed</span>.</p>\n'
    )
    yield "<h2>Latency</h2>\n"
    yield latencies.svg("Latency in ms over the time of sending, by status: 2xx, 3xx and 4xx, 5xx")
    yield "<h2>Drift</h2>\n"
    yield drifts.svg("Drift in ms: how much later than due a step was sent, over the time of sending")
    yield "<h2>Sessions</h2>\n" + _FILTER
    yield (
        "<table><caption>Each session and what it came to</caption><thead><tr><th>session</th><th>new ID</th>"
        '<th>verdict</th><th class="n">steps</th><th class="n">same</th><th class="n">different</th>'
        '<th class="n">failed</th><th class="n">skipped</th><th>remark</th></tr></thead><tbody>\n'
    )
    for session in sessions():
        yield _session_row(session)
    yield "</tbody></table>\n<h2>Steps</h2>\n"
    yield from _steps(sessions(), show_same=totals.recorded <= ROWS)
    yield f"<script>{_SCRIPT}</script></body></html>\n"


_FILTER = (
    '<p class="filter"><label>Find <input id="find" type="search"></label><label>Verdict <select id="verdict">'
    + "".join(f'<option value="{value}">{value or "all"}</option>' for value in ("", *StepOutcome))
    + "</select></label></p>\n"
)


def _facts(of: RunSummary) -> str:
    run = of.run
    rows = [
        ("target", run.target),
        ("began", _when(run.started_at)),
        ("ended", _when(run.finished_at)),
        ("speed", run.speed),
        ("timestamps", run.timestamps),
    ]
    for name, values in (("drift", of.drift_ms), ("latency", of.latency_ms)):
        told = f"p50 {_ms(values.p50)}, p95 {_ms(values.p95)}, max {_ms(values.max)}"
        rows.append((name, "not measured" if values.max is None else told))
    cells = "".join(f'<tr><th scope="row">{name}</th><td>{_text(value)}</td></tr>' for name, value in rows)
    return f"<table><caption>The run</caption><tbody>{cells}</tbody></table>\n"


def _session_row(session: SessionRun) -> str:
    totals = count(session.steps)
    numbers = (totals.recorded, totals.same, totals.different, totals.failed, totals.skipped)
    return (
        f'<tr data-verdict="{session.verdict}"><td><code>{_text(session.source)}</code></td>'
        f"<td><code>{_text(_short(session.new_session_id))}</code></td>"
        f'<td class="{session.verdict}">{session.verdict}</td>'
        + "".join(f'<td class="n">{number}</td>' for number in numbers)
        + f"<td>{_text(session.reason or '')}</td></tr>\n"
    )


def _steps(sessions: Iterable[SessionRun], *, show_same: bool) -> Iterator[str]:
    left = ROWS
    is_whole = True
    for session in sessions:
        shown = [step for step in session.steps if show_same or step.outcome is not StepOutcome.SAME]
        is_whole = is_whole and len(shown) == len(session.steps)
        if not shown:
            continue
        if left <= 0:
            is_whole = False
            break
        is_odd = session.verdict is not StepOutcome.SAME
        yield (
            f'<details data-verdict="{session.verdict}"{" open" if is_odd else ""}><summary><code>'
            f'{_text(session.source)}</code> <span class="{session.verdict}">{session.verdict}</span></summary>'
            '<table><thead><tr><th class="n">#</th><th>event</th><th>outcome</th><th class="n">recorded</th>'
            '<th class="n">status</th><th class="n">drift</th><th class="n">latency</th><th>what differs</th></tr>'
            "</thead><tbody>\n"
        )
        for step in shown[:left]:
            yield _step_row(step)
        yield "</tbody></table></details>\n"
        is_whole = is_whole and len(shown) <= left
        left -= len(shown)
    if not is_whole:
        yield f"<p>Not all steps are listed: at most {ROWS}, and of long runs only those that did not go as recorded. "
        yield "The JSON document has them all.</p>\n"


def _step_row(step: Step) -> str:
    differences = "<br>".join(
        f"<code>{_text(each.where)}</code>: {_value(each.recorded)} → {_value(each.replayed)}"
        for each in step.differences
    )
    told = "<br>".join(filter(None, (differences, _text(step.reason or ""))))
    return (
        f'<tr><td class="n">{step.seq}</td><td>{_text(step.event_type or "")}</td>'
        f'<td class="{step.outcome}">{step.outcome}</td><td class="n">{_number(step.recorded_status)}</td>'
        f'<td class="n">{_number(step.status)}</td><td class="n">{_ms(step.drift_ms)}</td>'
        f'<td class="n">{_ms(step.latency_ms)}</td><td>{told}</td></tr>\n'
    )


@dataclass
class _Scatter:
    """Points over time; of too many every second one is let go, the highest never."""

    points: list[tuple[float, float, str]] = field(default_factory=list)
    highest: tuple[float, float, str] | None = None
    until_s: float = 0.0
    _every: int = 1
    _seen: int = 0

    def add(self, at_s: float, value_ms: float, kind: str) -> None:
        point = (at_s, value_ms, kind)
        self.until_s = max(self.until_s, at_s)
        if self.highest is None or value_ms > self.highest[1]:
            self.highest = point
        self._seen += 1
        if self._seen % self._every == 0:
            self.points.append(point)
            if len(self.points) > POINTS:
                self.points = self.points[::2]
                self._every *= 2

    def svg(self, caption: str) -> str:
        """Return the chart as a figure, or a sentence where there is nothing to draw."""
        if self.highest is None:
            return "<p>Nothing was measured.</p>\n"
        top, right = max(self.highest[1], 1e-3), max(self.until_s, 1e-3)

        def place(at_s: float, value: float) -> tuple[float, float]:
            x = _LEFT + at_s / right * (WIDTH - _LEFT - _RIGHT)
            y = HEIGHT - _BOTTOM - max(0.0, value) / top * (HEIGHT - _BOTTOM - _TOP)
            return round(x, 1), round(y, 1)

        dots = []
        for at_s, value, kind in dict.fromkeys([*self.points, self.highest]):
            x, y = place(max(0.0, at_s), value)
            dots.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="2"/>')
        labels = "".join(
            f'<text x="{_LEFT - 6}" y="{place(0, top * share)[1] + 4}" text-anchor="end">{top * share:.4g}</text>'
            f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{place(0, top * share)[1]}" '
            f'y2="{place(0, top * share)[1]}"/>'
            for share in (0, 0.5, 1)
        )
        return (
            f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(caption)}">{labels}'
            f'<text x="{_LEFT}" y="{HEIGHT - 8}">0 s</text>'
            f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{right:.4g} s</text>{"".join(dots)}</svg>'
            f"<figcaption>{_text(caption)}. {self._seen} measured, {len(dots)} drawn.</figcaption></figure>\n"
        )


def _text(text: str) -> str:
    return escape(legal_text(text))


def _when(time: datetime | None) -> str:
    return "it has not ended" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _value(value: str | int | None) -> str:
    return "<em>nothing</em>" if value is None else _text(str(value))


def _short(id: str | None) -> str:
    return "" if id is None else id if len(id) <= 16 else f"{id[:16]}…"
