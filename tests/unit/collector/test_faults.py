from __future__ import annotations

import pytest

from proxy_addon.collector.faults import PLACES, Fault, Faults, with_a_body
from proxy_addon.core.exchange import Response
from proxy_addon.core.routes import Operation
from proxy_addon.errors import SettingsError


def due(*specs: str, requests: int = 10, operation: Operation = Operation.EVENTS) -> list[int]:
    """Return the numbers of the requests something goes wrong with."""
    faults = Faults(Fault.parse(spec) for spec in specs)
    return [number for number in range(1, requests + 1) if faults.next(operation) is not None]


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("events:drop", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("events:drop:every=3", [3, 6, 9]),
        ("events:drop:nth=5", [5]),
        ("events:drop:after=8", [9, 10]),
        ("events:drop:after=0", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("events:drop:first=2", [1, 2]),
        ("any:drop:nth=1", [1]),
        ("sessions:drop", []),
    ],
)
def test_when_says_which_of_the_matching_requests_go_wrong(spec, numbers):
    assert due(spec) == numbers


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("action", ["status=500", "delay=0", "delay=2.5", "drop", "cut", "hang"])
def test_every_action_can_be_had_everywhere(place, action):
    assert Fault.parse(f"{place}:{action}").text == f"{place}:{action}"


def test_only_requests_that_match_are_counted():
    faults = Faults([Fault.parse("events:drop:nth=2")])

    assert faults.next(Operation.EVENTS) is None
    assert faults.next(Operation.SESSIONS) is None
    assert faults.next(Operation.OTHER) is None
    assert faults.next(Operation.EVENTS) is not None


def test_events_of_a_type_are_counted_by_themselves():
    faults = Faults([Fault.parse("ping:drop:nth=2"), Fault.parse("sessionStart:drop")])
    sent = [*((Operation.EVENTS, type) for type in ("ping", "play", "ping")), (Operation.SESSIONS, "sessionStart")]

    happened = [faults.next(*each) for each in [*sent, (Operation.DOWNLOADED, None)]]

    assert [fault is not None for fault in happened] == [False, False, True, True, False]


def test_any_matches_unknown_paths_too():
    assert due("any:status=503", operation=Operation.OTHER, requests=2) == [1, 2]


def test_of_several_due_faults_the_first_given_happens_and_all_count():
    faults = Faults([Fault.parse("events:drop:nth=2"), Fault.parse("any:hang:every=2")])

    happened = [faults.next(Operation.EVENTS) for _ in range(4)]

    assert [fault and fault.text for fault in happened] == [None, "events:drop:nth=2", None, "any:hang:every=2"]


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("", "unknown place ''"),
        ("event:drop", "unknown place 'event'"),
        ("adstart:drop", "unknown place 'adstart'"),
        ("any:gone", "any has no session to be gone"),
        ("sessionStart:gone", "sessionStart has no session to be gone"),
        ("events:gone=1", "gone takes no number"),
        ("other:drop", "unknown place 'other'"),
        ("events", "unknown action ''"),
        ("events:", "unknown action ''"),
        ("events:explode", "unknown action 'explode'"),
        ("events:status", "'' is not a status"),
        ("events:status=abc", "'abc' is not a status"),
        ("events:status=100", "'100' is not a status"),
        ("events:status=600", "'600' is not a status"),
        ("events:delay=-1", "'-1' is not a delay"),
        ("events:delay=inf", "'inf' is not a delay"),
        ("events:delay=86401", "'86401' is not a delay"),
        ("events:delay=٣", "'٣' is not a delay"),
        ("events:drop=1", "drop takes no number"),
        ("events:drop:", "'' does not say when"),
        ("events:drop:sometimes", "'sometimes' does not say when"),
        ("events:drop:=3", "'=3' does not say when"),
        ("events:drop:every=x", "'every=x' does not say when"),
        ("events:drop:every=0", "'every=0' never happens"),
        ("events:drop:nth=1:first=2", "'nth=1:first=2' does not say when"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_would_be_accepted(spec, what):
    with pytest.raises(SettingsError) as refused:
        Fault.parse(spec)

    assert str(refused.value) == f"fault {spec!r}: {what}"
    assert "WHERE:ACTION[:WHEN]" in refused.value.hint


def test_a_status_fault_has_a_message_where_it_is_an_error():
    assert Fault.parse("any:status=503").response() == Fault.parse("any:status=503").response()
    failed, odd = Fault.parse("any:status=503").response(), Fault.parse("any:status=200").response()

    assert failed is not None
    assert (failed.status, failed.body) == (503, b'{"message": "fault any:status=503"}')
    assert odd is not None
    assert (odd.status, odd.body) == (200, b"")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_can_have_no_body_becomes_one_that_can(status):
    given = with_a_body(Response(status=status))

    assert given.status == 200
    assert len(given.body) >= 2


def test_an_answer_keeps_the_body_it_has():
    assert with_a_body(Response(status=404, body=b"no such")) == Response(status=404, body=b"no such")
