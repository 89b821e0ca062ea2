"""However often a body breaks a rule, judging costs little more than reading it: what nobody sees is not computed."""

from __future__ import annotations

import difflib
import tracemalloc
from typing import Any

import pytest

from proxy_addon.core import wording
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.rule import TOLD
from tests.builders import BEGIN_MS, body, event_dict

LONG = "k" * 100_000


@pytest.mark.parametrize(
    "value",
    [[[]] * 50_000, [{"a": 1}] * 20_000],
    ids=["containers below a long name", "objects below a long name"],
)
def test_memory_is_that_of_the_body_and_not_of_its_pointers(value):
    sent = body({LONG: value})
    tracemalloc.start()
    judge_body(sent, Operation.EVENTS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(sent), "pointers to all of them would take gigabytes"


def test_very_many_repeated_members_below_a_long_name_are_counted_and_a_few_are_told():
    sent = b'{"%s":[%s]}' % (LONG.encode(), b",".join([b'{"a":1,"a":1}'] * 5_000))
    tracemalloc.start()
    found = [f for f in judge_body(sent, Operation.EVENTS) if f.rule == "json-duplicate-key"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(found), sum(finding.count for finding in found)) == (TOLD, 5_000)
    assert peak < 400 * len(sent)


@pytest.mark.parametrize(
    "sent",
    [
        event_dict("play", params={f"param{n}": 1 for n in range(2_000)}),
        event_dict("play") | {f"member{n}": 1 for n in range(2_000)},
        event_dict("play", qoeData={f"key{n}": 1 for n in range(2_000)}),
        event_dict("play", playerTime={"playhead": 0, "ts": BEGIN_MS, **{f"time{n}": 1 for n in range(2_000)}}),
        [event_dict(f"event{n}") for n in range(2_000)],
    ],
    ids=["params", "members", "quality", "times", "event types"],
)
def test_what_was_meant_is_looked_for_where_it_is_told_alone(monkeypatch, sent):
    asked = []

    def counted(*args: Any, **rest: Any) -> list[str]:
        asked.append(args)
        return difflib.get_close_matches(*args, **rest)

    monkeypatch.setattr(wording, "get_close_matches", counted)
    judge_body(body(sent), Operation.DOWNLOADED if isinstance(sent, list) else Operation.EVENTS)
    assert len(asked) <= 2 * TOLD
