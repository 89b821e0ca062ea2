"""What is drawn of a session is what reports count of it, and is whole, whatever its events are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.audits.metrics import metrics_of
from proxy_addon.core.audits.ordering import ordered
from proxy_addon.core.audits.walking import walked
from proxy_addon.core.timelines.spans import Fate, place_of, spans_of
from tests.property.test_metrics import sessions


@given(sessions(back_ms=90_000), st.booleans())
def test_the_lengths_of_spans_are_the_times_that_reports_count(session, is_batch):
    order = ordered(session, is_batch=is_batch)
    spans, walk = spans_of(order, {}), walked(order.taken)
    values = metrics_of(session, is_batch=is_batch).values
    drawn: Counter[str] = Counter()
    for span in spans.playback:
        assert span.begin_ms < span.end_ms
        drawn[span.name] += span.end_ms - span.begin_ms
    counted = {
        "content": values["content_time_spent_s"],
        "stalled": values["stall_time_s"],
        "ad": values["ad_time_spent_s"],
        "paused": values["pause_time_s"],
        "buffering": values["buffer_time_s"],
        "starting": walk.starting_ms / 1000,
        "over": walk.after_content_ms / 1000,
    }
    assert {name: ms / 1000 for name, ms in drawn.items()} == {name: s for name, s in counted.items() if s}


@given(sessions(), st.booleans())
def test_what_begins_is_drawn_once_and_ends_where_it_is_told(session, is_batch):
    order = ordered(session, is_batch=is_batch)
    spans, walk = spans_of(order, {}), walked(order.taken)
    counted = [span for span in spans.ads if span.fate is not Fate.IGNORED]
    assert len(counted) == len(walk.ads)
    assert [span.fate is Fate.COMPLETED for span in counted] == [ad.is_completed for ad in walk.ads]
    assert len(spans.chapters) == len(walk.chapters)
    assert len(spans.states) == sum(state.periods for state in walk.states.values())
    for span in (*spans.breaks, *spans.ads, *spans.chapters, *spans.states):
        assert span.begin_ms <= span.end_ms
        assert span.began is not None
    assert spans.rank == {place_of(each.event): rank for rank, each in enumerate(order.taken)}
    assert spans.after.keys() == spans.rank.keys()
