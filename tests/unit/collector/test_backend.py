from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from proxy_addon.collector.backend import Backend, Decision
from proxy_addon.collector.faults import Fault, Faults
from proxy_addon.collector.recorded import RecordedAnswers
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.routes import Operation
from tests.builders import SESSION_ID, batch, body, event, event_dict, preflight, request, response, start

START = body(event_dict("sessionStart"))


class Asked:
    """A back end that gives the IDs id1, id2, id3 and so on."""

    def __init__(self, *faults: str, recorded: Iterable[Exchange] = ()) -> None:
        self.warnings: list[str] = []
        ids = (f"id{number}" for number in itertools.count(1))
        self._backend = Backend(
            lambda: next(ids),
            faults=Faults(Fault.parse(fault) for fault in faults),
            recorded=RecordedAnswers(recorded),
            warn=self.warnings.append,
        )

    def start(self) -> Decision:
        return self._backend.decide(request(body=START))

    def event(self, event_type: str = "ping", session_id: str = SESSION_ID) -> Decision:
        sent = body(event_dict(event_type))
        return self._backend.decide(request(path=f"/api/v1/sessions/{session_id}/events", body=sent))

    def preflight(self) -> Decision:
        return self._backend.decide(request("OPTIONS", f"/api/v1/sessions/{SESSION_ID}/events"))


def status(decision: Decision) -> int | None:
    return None if decision.response is None else decision.response.status


def test_a_decision_says_what_the_request_was():
    decision = Asked().start()

    assert (decision.operation, decision.event_type, decision.session_id) == (Operation.SESSIONS, "sessionStart", "id1")
    assert decision.fault is None


@pytest.mark.parametrize("action", ["status=500", "drop", "hang"])
def test_a_fault_without_the_real_answer_opens_and_closes_nothing(action):
    asked = Asked(f"sessions:{action}:first=1", f"events:{action}:first=1")

    failed = asked.start()
    assert (status(failed), failed.session_id) == (500 if action == "status=500" else None, None)
    assert asked.start().session_id == "id1"
    assert status(asked.event("sessionEnd", "id1")) == status(failed)
    assert status(asked.event("ping", "id1")) == 204


@pytest.mark.parametrize("action", ["delay=1", "cut"])
def test_a_fault_with_the_real_answer_counts_as_one(action):
    asked = Asked(f"any:{action}:first=1")

    assert asked.start().session_id == "id1"
    assert status(asked.event("ping", "id1")) == 204


def test_a_cut_answer_has_a_body_to_be_cut():
    decision = Asked("sessions:cut").start()

    assert decision.response is not None
    assert decision.response.status == 201
    assert len(decision.response.body) > 2


def test_recorded_answers_are_given_in_order_for_each_operation():
    recorded = [
        start(),
        event("play", after_s=1, response=response(204)),
        preflight(after_s=2),
        event("ping", after_s=3, response=response(500, body=b"oh")),
    ]
    asked = Asked(recorded=recorded)

    assert status(asked.preflight()) == 200
    assert (status(asked.event()), asked.start().session_id) == (204, SESSION_ID)
    second = asked.event()
    assert second.response is not None
    assert (second.response.status, second.response.body) == (500, b"oh")


def test_after_the_recorded_answers_it_answers_by_itself():
    asked = Asked(recorded=[start(), event("play")])
    asked.start()
    asked.event("play")

    assert status(asked.event("ping")) == 204
    assert asked.start().session_id == "id1"
    assert status(asked.event("sessionEnd")) == 204
    assert status(asked.event("ping")) == 410


def test_a_recorded_end_closes_the_session():
    asked = Asked(recorded=[start(), event("sessionEnd")])
    asked.start()
    asked.event("sessionEnd")

    assert status(asked.event("ping")) == 410


def test_a_recorded_refusal_opens_no_session():
    refused = start(response=response(500, location=f"/api/v1/sessions/{SESSION_ID}"))
    asked = Asked(recorded=[refused])

    assert (status(asked.start()), status(asked.event())) == (500, 404)


def test_a_session_recorded_without_its_start_is_known_from_its_events():
    asked = Asked(recorded=[event("play")])

    assert [status(asked.event()) for _ in range(2)] == [204, 204]


def test_a_recorded_location_is_given_as_it_was():
    location = f"https://upstream.example/tv/api/v1/sessions/{SESSION_ID}"
    asked = Asked(recorded=[start(response=response(201, location=location))])
    decision = asked.start()

    assert decision.response is not None
    assert ("Location", location) in decision.response.headers
    assert status(asked.event()) == 204


def test_an_exchange_without_an_answer_keeps_its_place_and_is_answered_live():
    recorded = [
        start(),
        event("play", response=None, outcome=Outcome.UPSTREAM_TIMEOUT),
        event("ping", response=response(400)),
    ]
    asked = Asked(recorded=recorded)
    asked.start()

    assert [status(asked.event()) for _ in range(3)] == [204, 400, 204]


def test_headers_about_the_recorded_connection_are_left_out():
    headers = (("Transfer-Encoding", "chunked"), ("CONTENT-LENGTH", "9"), ("X-Kept", "1"), ("Connection", "close"))
    asked = Asked(recorded=[event("play", response=response(200, headers=headers))])
    decision = asked.event()

    assert decision.response is not None
    assert decision.response.headers == (("X-Kept", "1"),)


def test_a_recorded_batch_answer_is_given():
    recorded = [batch([event_dict("sessionStart")], status=400)]
    decision = Backend(str, recorded=RecordedAnswers(recorded)).decide(
        request(path="/api/v1/downloaded", body=body([event_dict("sessionStart")]))
    )

    assert (status(decision), decision.event_type) == (400, None)


def test_a_fault_uses_up_no_recorded_answer():
    asked = Asked("sessions:status=503:first=1", recorded=[start()])

    assert status(asked.start()) == 503
    assert asked.start().session_id == SESSION_ID


def test_an_event_that_is_not_the_recorded_one_is_told_once_for_each_session():
    recorded = [start(), *(event("play", id=f"p{n}") for n in range(2)), event("ping", response=None, id="p3")]
    asked = Asked(recorded=[*recorded, *(event("ping", id=f"q{n}") for n in range(2))])

    asked.start()
    asked.event("play")
    assert asked.warnings == []
    for session_id in (SESSION_ID, "other", "other", SESSION_ID, "late"):
        asked.event("pauseStart", session_id)
    assert [line.partition(":")[2].partition(",")[0] for line in asked.warnings] == [
        " request 2 to events is pauseStart",
        " request 3 to events is pauseStart",
    ]
    assert asked.warnings[1].startswith("session other: ")
