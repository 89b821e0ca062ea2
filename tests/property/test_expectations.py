"""Whatever two sessions hold, comparing them ends, says the same both ways, and finds a session the same as itself."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from proxy_addon.core.expectations.compare import Compare
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.protocol import EVENT_TYPES
from proxy_addon.core.wording import visible
from proxy_addon.reporting import tracking
from tests import builders
from tests.property.strategies import JSON_TEXTS

_TYPES = st.sampled_from([*EVENT_TYPES, "ping", "ping", "play", "play", "stop", None])
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 1.5, "a", "", None, True, [], {"b": 1}, "\x1b[31m", "\u202e", "é" * 90, "漢字" * 30, 10**30]
)
_MEMBERS = st.dictionaries(
    st.sampled_from(["media.ad.id", "media.id", "visitor.x", "a/b~c", "\ud800", "ip"]), _VALUES, max_size=3
)


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = {"playerTime": draw(st.sampled_from([{}, None, [], 1]) | st.fixed_dictionaries({}, optional={
        "ts": st.integers(0, 120_000).map(lambda ms: builders.BEGIN_MS + ms) | st.sampled_from([0, -1, 2**63, "1", 1e308]),
        "playhead": st.integers(0, 120) | st.floats(0, 90_000) | st.sampled_from([-1, None, "1", 10**400, True]),
    }))}  # fmt: skip
    event |= {name: draw(_MEMBERS) for name in ("params", "customMetadata", "qoeData") if draw(st.booleans())}
    if (event_type := draw(_TYPES)) is not None:
        event["eventType"] = event_type
    return event


@st.composite
def _sessions(draw: st.DrawFn) -> HeldSession:
    live = draw(st.sampled_from(["vod", "live", None]))
    start = builders.start(params={"media.contentType": live, "media.id": "m"})
    texts = draw(
        st.lists(
            _events().map(lambda value: json.dumps(value).encode())
            | JSON_TEXTS.map(str.encode)
            | st.binary(max_size=5),
            max_size=25,
        )
    )
    times = sorted(draw(st.lists(st.integers(0, 120), min_size=len(texts), max_size=len(texts))))
    rest = [
        builders.event(id=f"e{n}", body=text, after_s=at_s)
        for n, (text, at_s) in enumerate(zip(texts, times, strict=True))
    ]
    if draw(st.integers(0, 5)) == 0:
        return fold([builders.batch([draw(_events()) for _ in range(draw(st.integers(0, 5)))])])[0]
    return fold([start, *rest])[0]


@given(_sessions())
def test_a_session_is_tracked_as_itself(session: HeldSession):
    assert compare_tracking(session, session).differences == ()


@given(_sessions(), _sessions(), st.sampled_from([None, {"ignore": ["params", "ping:*"]}, {"playhead_tolerance_s": 0}]))
def test_any_two_sessions_can_be_compared_and_printed(one: HeldSession, other: HeldSession, options: Any):
    compare = Compare.parsed(options, "f.json")
    there, back = compare_tracking(other, one, compare), compare_tracking(one, other, compare)
    for comparison in (there, back):
        text = tracking.text(comparison, expected="\x1b[2Jexpected.json", actual="last")
        assert [line for line in text.split("\n") if visible(line) != line or cell_len(line) > tracking.WIDTH] == []
        names = {"expected": "a", "actual": "b"}
        document = json.loads(json.dumps(tracking.document(comparison, **names)))
        assert document["same"] == comparison.is_same == (not document["differences"])
        assert tracking.suite(comparison, **names).count("<failure") == len(comparison.differences)
        lines = tracking.annotation_lines(comparison, **names).splitlines()
        assert len(lines) == len(comparison.differences)
        assert all(line.startswith("::error ") for line in lines)
        for each in comparison.differences:
            assert visible(each.message) == each.message
            assert 0 <= each.row < len(comparison.rows)
    seen = [sum(row.expected is not None for row in each.rows) for each in (there, back)]
    assert seen == [sum(row.actual is not None for row in each.rows) for each in (back, there)]


@given(_sessions(), _sessions())
def test_whether_the_tracking_is_the_same_does_not_depend_on_which_is_expected(one: HeldSession, other: HeldSession):
    if one.session.content_type == other.session.content_type:
        assert compare_tracking(one, other).is_same == compare_tracking(other, one).is_same
