"""The page of evidence: one verdict on each session, that of its part of the checklist."""

from __future__ import annotations

from datetime import UTC, datetime

from proxy_addon.core.scenarios.judging import Evidence, Failure, Line
from proxy_addon.files.scenarios import scenarios
from proxy_addon.reporting.pages.evidence import evidence_file
from tests.pictured import picture
from tests.reports import parts_of
from tests.staged import Staged, sessions_of

PASSING = Staged().start().play(10).end()
WARNED = Staged().start().play(10).say("sessionEnd").wait(1).end("play")


def line(that: str, session: int | None = 1, *, ok: bool = False) -> Line:
    return Line(that=that, session=session, kind="never", failures=() if ok else (Failure(message="it came"),))


FINE, OTHERS = line("Fine.", ok=True), [line("All fail.", None), line("So does the second.", 2)]
VERDICTS = [
    (PASSING, [FINE, FINE], "pass", "All 2 lines of the checklist hold."),
    (WARNED, [FINE, FINE], "warn", "All 2 lines of the checklist hold. Play after sessionEnd; it is dropped."),
    (WARNED, [FINE, line("One")], "fail", "1 of 2 lines of the checklist fails: One."),
    (
        WARNED,
        [line("Is it?"), line("One"), line("Two!"), FINE, line("Three."), line("Four.")],
        "fail",
        "5 of 6 lines of the checklist fail: Is it? One. Two! And 2 more.",
    ),
    (PASSING, [line("A"), line("B"), line("C")], "fail", "3 of 3 lines of the checklist fail: A. B. C."),
    (PASSING, [], "fail", "The scenario does not have this session."),
]


def test_a_session_has_the_verdict_of_its_lines():
    scenario = scenarios()["seek"]
    found = [
        Evidence(
            scenario=scenario,
            pictures=[picture(held) for held in sessions_of([cues, WARNED])],
            lines=[*OTHERS, *lines],
        )
        for cues, lines, _, _ in VERDICTS
    ]
    parts = parts_of("".join(evidence_file(found, made_at=datetime(2026, 6, 1, tzinfo=UTC), pseudonymised=True)))
    for place, (_, _, level, headline) in enumerate(VERDICTS):
        verdict, second = (parts[f"session-{2 * place + nth}"]["verdict"] for nth in (0, 1))
        assert (verdict["level"], verdict["headline"]) == (level, headline)
        assert second["headline"] == "1 of 1 line of the checklist fails: So does the second."
        rows = parts["value"]["scenarios"][place]["sessions"]
        assert [(row["name"], row["verdict"], row["part"]) for row in rows] == [
            ("The playback", level, 2 * place),
            (None, "fail", 2 * place + 1),
        ]
