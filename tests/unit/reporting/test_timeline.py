"""The timeline shows what is not there: exchanges that were lost, and bodies of which only the beginning is stored."""

from __future__ import annotations

import io
from dataclasses import replace

from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import BodyState, Exchange, Whole
from proxy_addon.core.findings import Judgement
from proxy_addon.core.sessions import AsOf
from proxy_addon.reporting.terminal import Screen
from proxy_addon.reporting.timeline import Timeline
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, at, event, response, session, start

PATH = f"/api/v1/sessions/{SESSION_ID}/events"


def shown(*exchanges: Exchange, gaps: tuple[Loss, ...] = ()) -> list[str]:
    output = io.StringIO()
    counting = MetricsWatch()
    timeline = Timeline(Screen(None, file=output), session(lost=len(gaps)), AsOf(now=BEGIN))
    watched = counting.watching(exchanges)
    timeline.print(watched, {}, Judgement, lambda: counting.metrics(is_over=False), bodies=True, gaps=gaps)
    return output.getvalue().splitlines()


def lost(after_s: float, reason: str) -> Loss:
    return Loss(
        id=str(after_s), recorder="r", upstream=UPSTREAM, received_at=at(after_s), method="POST", path=PATH, is_refused=False,
        reason=reason,
    )  # fmt: skip


def test_a_loss_stands_where_it_happened():
    gaps = (lost(1, "no space left"), lost(2, "evil \x1b[31m"), lost(9, "the last one"))
    lines = shown(start(), event("play", after_s=1.5), event("sessionEnd", after_s=5), gaps=gaps)
    assert "lost        3 exchanges, which could not be stored" in lines
    rows = [line.split() for line in lines[next(n for n, line in enumerate(lines) if line.startswith("#")) + 1 :]]
    begun = [row[:3] for row in rows if row and row[0] in ("1", "2", "3", "-")]
    assert begun == [
        ["1", "+0:00.000", "sessionStart"],
        ["-", "+0:01.000", "lost:"],
        ["2", "+0:01.500", "play"],
        ["-", "+0:02.000", "lost:"],
        ["3", "+0:05.000", "sessionEnd"],
        ["-", "+0:09.000", "lost:"],
    ]
    assert any("no space left" in line for line in lines)
    assert any(r"evil \x1b[31m" in line for line in lines)


def test_a_body_that_is_not_whole_says_so():
    cut = event("play", body=b'{"eventType": "pl', response=response(200, body=b"beginning"))
    whole = Whole(20_971_520, "0" * 64)
    assert cut.response is not None
    cut = replace(
        cut,
        request=replace(cut.request, body_state=BodyState.TRUNCATED, whole=whole),
        response=replace(cut.response, whole=whole),
    )
    text = "\n".join(shown(start(), cut))
    assert "request, truncated, the beginning of 20971520 bytes  " in text
    assert "answer, truncated, the beginning of 20971520 bytes  " in text
