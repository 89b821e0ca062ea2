"""Two sessions side by side: every event once, what moved shown as moved, and fast for long sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.replays.aligning import Entry, Kind, align, entries, replayed
from proxy_addon.core.replays.runs import Difference, Sent, SessionRun, Step, StepOutcome
from tests import builders


def entry(seq: int, event_type: str | None = "ping", playhead_s: float | None = None, **content: str) -> Entry:
    return Entry(seq=seq, event_type=event_type, at_s=float(seq), playhead_s=playhead_s, status=204, content=content)


def kinds(a: list[Entry], b: list[Entry]) -> list[tuple[int | None, int | None, str]]:
    return [
        (None if pair.a is None else pair.a.seq, None if pair.b is None else pair.b.seq, pair.kind.value)
        for pair in align(a, b)
    ]


FILM = [
    entry(1, "sessionStart"),
    entry(2, "play"),
    *(entry(n, "ping", n * 10.0) for n in range(3, 7)),
    entry(7, "sessionEnd"),
]


def test_a_session_is_the_same_as_itself():
    assert kinds(FILM, FILM) == [(n, n, "same") for n in range(1, 8)]


def test_what_one_has_and_the_other_has_not_is_shown_where_it_stands():
    without = [each for each in FILM if each.seq != 4]
    assert (4, None, "only-a") in kinds(FILM, without)
    assert kinds(without, FILM)[3] == (None, 4, "only-b")
    assert len(kinds(without, FILM)) == 7
    assert kinds([], FILM) == [(None, n, "only-b") for n in range(1, 8)]
    assert kinds(FILM, []) == [(n, None, "only-a") for n in range(1, 8)]


def test_of_equal_events_the_one_that_is_missing_is_shown_where_it_is_missing():
    pings = [replace(entry(n), at_s=1.05 * n) for n in range(1, 4)]
    for missing in pings:
        assert (missing.seq, None, "only-a") in kinds(pings, [each for each in pings if each is not missing])
    untimed = [replace(each, at_s=None) for each in pings]
    assert kinds(untimed, untimed[1:])[-1] == (3, None, "only-a")


def test_what_stands_elsewhere_has_moved():
    moved = [*FILM[:1], *FILM[2:5], FILM[1], *FILM[5:]]
    found = kinds(FILM, moved)
    assert (2, 2, "moved") in found
    assert [kind for *_, kind in found].count("same") == 6


def test_what_says_something_else_has_changed():
    other = [*FILM[:2], replace(FILM[2], playhead_s=33.0, content={"/params/x": "1"}, status=400), *FILM[3:]]
    pair = align(FILM, other)[2]
    assert pair.kind is Kind.CHANGED
    assert [(each.where, each.a, each.b) for each in pair.differences] == [
        ("status", "204", "400"), ("playhead", "30", "33"), ("/params/x", None, "1"),
    ]  # fmt: skip


def test_times_count_from_the_first_of_each_session_and_less_than_a_second_is_nothing():
    first = entries([builders.start(ts=5000), builders.event("play", ts=6000, playhead=1)])
    shifted = entries([builders.start(ts=905_000), builders.event("play", ts=906_400, playhead=1.5)])
    assert [pair.kind for pair in align(first, shifted)] == [Kind.SAME, Kind.SAME]
    late = entries([builders.start(ts=5000), builders.event("play", ts=7200, playhead=1)])
    assert [each.where for each in align(first, late)[1].differences] == ["ts"]


def test_elements_of_a_batch_are_events():
    batch = builders.batch([builders.event_dict("sessionStart"), builders.event_dict("play"), 7])  # type: ignore[list-item]
    assert [(each.seq, each.pointer, each.event_type) for each in entries([builders.preflight(), batch])] == [
        (2, "/0", "sessionStart"), (2, "/1", "play"), (2, "/2", None),
    ]  # fmt: skip


def test_what_was_changed_stands_beside_the_event_it_was_changed_in():
    batch = builders.batch(
        [builders.event_dict("sessionStart"), builders.event_dict("play"), builders.event_dict("ping")]
    )
    told = [
        Difference(where=where, a="1", b="2") for where in ("request.header.X", "/0/params/a", "/1/a", "/10/a", "…")
    ]
    sent = Sent(body_sha256="0f", differences=tuple(told))
    step = Step(seq=1, event_type=None, outcome=StepOutcome.SAME, status=201, sent=sent)
    run = SessionRun(source="s", session_id=None, new_session_id=None, steps=(step,))
    pairs = list(replayed(entries([batch]), run))
    assert [(pair.kind.value, [each.where for each in pair.differences]) for pair in pairs] == [
        ("changed", ["request.header.X", "/params/a", "…"]), ("changed", ["/a"]), ("same", []),
    ]  # fmt: skip


ENTRIES = st.lists(
    st.tuples(st.sampled_from(["play", "ping", None]), st.sampled_from([None, 0.0, 5.0])), max_size=12
).map(lambda many: [entry(n, kind, playhead_s) for n, (kind, playhead_s) in enumerate(many, 1)])


@given(ENTRIES, ENTRIES)
def test_every_event_is_there_once(a, b):
    pairs = align(a, b)
    assert sorted(pair.a.seq for pair in pairs if pair.a) == [each.seq for each in a]
    assert sorted(pair.b.seq for pair in pairs if pair.b) == [each.seq for each in b]
    assert [pair.a.seq for pair in pairs if pair.a] == [each.seq for each in a]
    for pair in pairs:
        assert (pair.kind is Kind.ONLY_A) == (pair.b is None)
        assert (pair.kind is Kind.ONLY_B) == (pair.a is None)


@pytest.mark.one_version
@pytest.mark.parametrize("playhead_s", [None, 1.0])
def test_long_sessions_of_equal_events_are_aligned(playhead_s):
    a = [entry(n, "ping", playhead_s) for n in range(20_000)]
    pairs = align(a, a[500:])
    assert [pair.kind for pair in pairs].count(Kind.ONLY_A) == 500


@pytest.mark.parametrize("sent", [b"", b"{", b"7", b"[]", b"[1]"])
def test_a_body_that_is_no_event_is_laid_out_too(sent):
    odd = entries([builders.exchange(body=sent)])
    pairs = align(odd, entries([builders.start()]))
    assert sum(pair.a is not None for pair in pairs) == len(odd)
    assert all(found.event_type is None for found in odd)
    assert len(odd) == 1


BODIES = [
    b"", b"garbage", b"\xff\xfe\x00", b"5", b"null", b"true", b'"text"', b"{}", b"[]", b"[[1]]", b'[5, null, {}, [], "x"]',
    b'{"eventType": 5, "playerTime": 7, "params": [], "qoeData": null}', b"[" * 2000 + b"]" * 2000,
    b'{"playerTime": {"playhead": "1", "ts": 1e400}}', b'{"playerTime": {"playhead": 1e308, "ts": 9223372036854775807}}',
    b'{"params": {"a": "\\ud800", "\\ud800": 1, "": {"x": [1e999]}, "l": ' + b"9" * 5000 + b"}}",
    b'{"params": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", b'{"unknown": 1}', b"\x1f\x8b\x08garbage",
    builders.body([builders.event_dict("sessionStart"), 5]), builders.body(builders.event_dict("play")),
]  # fmt: skip
"""Bodies of which most are no event."""


@pytest.mark.parametrize("a", range(len(BODIES)))
def test_bodies_that_are_no_event_are_compared_like_others(a):
    def told(body: bytes) -> list[Entry]:
        return entries([builders.start(id="x1", body=body), builders.event(id="x2", after_s=1, body=body)])

    for b, body in enumerate(BODIES):
        pairs = align(told(BODIES[a]), told(body))
        assert all(pair.kind is Kind.SAME for pair in pairs) == (a == b), (BODIES[a][:50], body[:50])


def test_what_differs_in_a_body_that_is_no_event_is_shown():
    (pair,) = align(*(entries([builders.event(body=body)]) for body in (b"garbage", b"null")))
    assert [(each.where, each.a, each.b) for each in pair.differences] == [("body", "garbage", "null")]
