from __future__ import annotations

import pytest

from proxy_addon.core.replays.runs import (
    Percentiles,
    SessionRun,
    Step,
    StepOutcome,
    Totals,
    count,
    is_cut,
    percentiles,
)

SAME, DIFFERENT, FAILED, SKIPPED = StepOutcome


def steps(*outcomes: StepOutcome) -> tuple[Step, ...]:
    return tuple(Step(seq=seq, event_type=None, outcome=outcome) for seq, outcome in enumerate(outcomes, 1))


def session_run(*outcomes: StepOutcome) -> SessionRun:
    return SessionRun(source="s1", session_id=None, new_session_id=None, steps=steps(*outcomes))


def test_a_run_that_ended_early_is_known_by_its_reasons_also_in_the_words_of_earlier_versions():
    assert is_cut("not begun")
    assert is_cut("the run broke off: disk full")
    assert is_cut("the run was killed before this was sent, and a session cannot be entered twice")
    assert not is_cut("upstream never saw it")
    assert not is_cut(None)


def test_outcomes_have_the_names_of_the_contract():
    assert set(StepOutcome) == {"same", "different", "failed", "skipped"}


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((), SKIPPED),
        ((SKIPPED, SKIPPED), SKIPPED),
        ((SKIPPED, SAME), SAME),
        ((SAME, DIFFERENT, SKIPPED), DIFFERENT),
        ((FAILED, SAME, DIFFERENT), FAILED),
    ],
)
def test_the_verdict_is_the_worst_of_the_steps_and_skipped_only_where_nothing_was_sent(outcomes, verdict):
    assert session_run(*outcomes).verdict is verdict


def test_a_failed_step_counts_as_sent_and_a_skipped_one_does_not():
    assert count(steps(SAME, SAME, DIFFERENT, FAILED, SKIPPED, SKIPPED, SKIPPED)) == Totals(
        recorded=7, sent=4, same=2, different=1, failed=1, skipped=3
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Percentiles()),
        ([None, None], Percentiles()),
        ([3.5, None], Percentiles(p50=3.5, p95=3.5, max=3.5)),
        ([2, 1], Percentiles(p50=1, p95=2, max=2)),
        (range(1, 21), Percentiles(p50=10, p95=19, max=20)),
        (range(1, 22), Percentiles(p50=11, p95=20, max=21)),
        (range(100, 0, -1), Percentiles(p50=50, p95=95, max=100)),
        ([-5.0, 0.0, 1.0], Percentiles(p50=0.0, p95=1.0, max=1.0)),
    ],
)
def test_percentiles_are_values_that_were_measured(values, expected):
    assert percentiles(values) == expected
