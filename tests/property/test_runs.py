from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.replays.runs import SessionRun, Step, StepOutcome, count, percentiles

OUTCOMES = st.lists(st.sampled_from(StepOutcome), max_size=6)


def session_run(outcomes: list[StepOutcome]) -> SessionRun:
    steps = tuple(Step(seq=seq, event_type=None, outcome=outcome) for seq, outcome in enumerate(outcomes, 1))
    return SessionRun(source="s1", session_id=None, new_session_id=None, steps=steps)


@given(st.lists(OUTCOMES, max_size=4))
def test_totals_always_add_up(sessions: list[list[StepOutcome]]):
    runs = [session_run(outcomes) for outcomes in sessions]
    totals = count(step for session in runs for step in session.steps)
    assert totals.recorded == sum(len(outcomes) for outcomes in sessions)
    assert totals.recorded == totals.sent + totals.skipped
    assert totals.sent == totals.same + totals.different + totals.failed
    for session in runs:
        assert (session.verdict is StepOutcome.SKIPPED) == (count(session.steps).sent == 0)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=200))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[int]):
    result = percentiles(values)
    for share, percentile in ((50, result.p50), (95, result.p95), (100, result.max)):
        assert percentile == min(v for v in values if 100 * sum(w <= v for w in values) >= share * len(values))
