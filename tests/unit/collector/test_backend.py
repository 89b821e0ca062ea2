from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from proxy_addon.collector.backend import Backend, Decision
from proxy_addon.collector.faults import Fault, Faults
from proxy_addon.collector.players import Players
from proxy_addon.collector.recorded import Ending
from proxy_addon.core.exchange import Exchange, Headers, Outcome
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.routes import Operation
from tests.builders import (
    BEGIN_MS,
    JSON_HEADERS,
    OTHER_SESSION_ID,
    SESSION_ID,
    START_PARAMS,
    batch,
    body,
    event,
    event_dict,
    preflight,
    request,
    response,
    start,
)


class Asked:
    """A back end that gives the IDs id1, id2, id3 and so on."""

    def __init__(self, *faults: str, recorded: Iterable[Iterable[Exchange]] = (), speed: str = "1") -> None:
        self.said: list[str] = []
        ids = (f"id{number}" for number in itertools.count(1))
        self._backend = Backend(
            lambda: next(ids),
            faults=Faults(Fault.parse(fault) for fault in faults),
            players=Players(recorded, new_id=lambda: next(ids), say=self.said.append),
            speed=Speed.parse(speed),
        )

    def start(self, **members: Any) -> Decision:
        return self.send("/api/v1/sessions", event_dict("sessionStart", **members))

    def event(self, event_type: str = "ping", session_id: str = "id1") -> Decision:
        return self.send(f"/api/v1/sessions/{session_id}/events", event_dict(event_type))

    def preflight(self, session_id: str = "id1") -> Decision:
        return self._backend.decide(request("OPTIONS", f"/api/v1/sessions/{session_id}/events"))

    def send(self, path: str, value: Any, *, headers: Headers = JSON_HEADERS) -> Decision:
        return self._backend.decide(request(path=path, body=body(value), headers=headers))

    def statuses(self, *events: str, session_id: str = "id1") -> list[int | None]:
        return [status(self.event(each, session_id)) for each in events]


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


@pytest.mark.parametrize("text", ["events:gone:nth=3", "ping:gone:nth=2"])
def test_a_session_that_a_fault_ends_stays_gone_and_others_go_on(text):
    recorded = [start(), *(event(type, id=f"x{n}") for n, type in enumerate(["ping"] * 4 + ["sessionEnd"]))]
    for asked in (Asked(text), Asked(text, recorded=[recorded])):
        asked.start()
        asked.start()

        assert asked.statuses("play", "ping", "ping", "ping", "sessionEnd") == [204, 204, 410, 410, 410]
        assert asked.statuses("ping", "sessionEnd", session_id="id2") == [204, 204]


def recorded_session(*events: tuple[str, int], **answer: Any) -> list[Exchange]:
    """A recorded session with these events and the statuses of their answers."""
    exchanges = [
        event(type, id=f"e{n}", after_s=n, response=response(code, **answer))
        for n, (type, code) in enumerate(events, 1)
    ]
    return [start(), *exchanges]


def test_an_event_gets_the_answer_to_the_recorded_one_of_its_type_and_position():
    asked = Asked(
        recorded=[recorded_session(("play", 204), ("ping", 204), ("ping", 500), ("adStart", 404), ("ping", 410))]
    )
    asked.start()

    assert asked.statuses("play", "adStart", "ping", "ping", "ping") == [204, 404, 204, 500, 410]
    assert asked.said == []


@pytest.mark.parametrize("missing", range(3))
@pytest.mark.parametrize("more", range(3))
def test_a_ping_more_or_less_moves_no_other_answer(missing, more):
    """Each break has another refusal; a player whose pings fall elsewhere gets them at the same events all the same."""
    breaks = [[("ping", 204)] * 2 + [("adStart", 400 + n), ("adComplete", 410 + n)] for n in range(3)]
    asked = Asked(recorded=[recorded_session(*(each for one in breaks for each in one))])
    asked.start()
    played = [each for n, one in enumerate(breaks) for each in one[n == missing :] + [("ping", 204)] * (n == more)]

    expected = [(type, code) for type, code in played if type != "ping"]
    given = [(type, status(asked.event(type))) for type, _ in played]
    assert [each for each in given if each[0] != "ping"] == expected


def test_players_at_once_have_sessions_of_their_own():
    asked = Asked(recorded=[recorded_session(("ping", 204), ("ping", 500))])
    first, second = asked.start(), asked.start()
    located = [dict(each.response.headers)["Location"] for each in (first, second) if each.response]

    assert located == ["/api/v1/sessions/id1", "/api/v1/sessions/id2"]
    assert asked.statuses("ping", "ping") == [204, 500]
    assert asked.statuses("ping", "ping", session_id="id2") == [204, 500]


def test_the_recorded_id_is_replaced_wherever_it_stands_and_nothing_else():
    text = f'{{"message": "session {SESSION_ID} is gone, {SESSION_ID}0 is not"}}'.encode()
    headers = (("X-Session", SESSION_ID), ("Transfer-Encoding", "chunked"), ("CONTENT-LENGTH", "9"), ("X-Kept", "1"))
    asked = Asked(recorded=[recorded_session(("ping", 410), headers=headers, body=text)])
    asked.start()
    gone = asked.event().response

    assert gone is not None
    assert gone.headers == (("X-Session", "id1"), ("X-Kept", "1"))
    assert gone.body == text.replace(SESSION_ID.encode() + b" ", b"id1 ")


def test_nobody_is_sent_to_production():
    location = f"https://upstream.example/tv/api/v1/sessions/{SESSION_ID}"
    asked = Asked(recorded=[[start(response=response(201, location=location))]])
    to_us = asked.send("/api/v1/sessions", event_dict("sessionStart"), headers=(("Host", "127.0.0.1:8081"),))

    assert to_us.response is not None
    assert ("Location", "http://127.0.0.1:8081/tv/api/v1/sessions/id1") in to_us.response.headers


def test_a_page_is_allowed_to_read_what_its_recorded_page_was_allowed_to():
    allowed = (("Access-Control-Allow-Origin", "https://tv.example"),)
    recorded = start(headers=(("Origin", "https://tv.example"),), response=response(201, headers=allowed))
    asked = Asked(recorded=[[recorded]])
    decision = asked.send(
        "/api/v1/sessions", event_dict("sessionStart"), headers=(("Origin", "http://localhost:3000"),)
    )

    assert decision.response is not None
    assert decision.response.headers == (("Access-Control-Allow-Origin", "http://localhost:3000"),)


@pytest.mark.parametrize(("speed", "due_s"), [("1", 2.5), ("5", 0.5), ("max", 0)])
def test_an_answer_takes_as_long_as_the_recorded_one_at_its_speed(speed, due_s):
    asked = Asked("play:delay=7", recorded=[[start(), event("play", duration_us=2_500_000)]], speed=speed)
    asked.start()
    slow = asked.event("play")

    assert (slow.duration_s, slow.delay_s) == (due_s, 7)


def test_what_got_no_answer_in_production_gets_none_again():
    outcomes = [Outcome.UPSTREAM_TIMEOUT, Outcome.UPSTREAM_CLOSED, Outcome.UPSTREAM_UNREACHABLE, Outcome.CLIENT_GONE]
    recorded = [event("ping", id=each.value, response=None, outcome=each) for each in outcomes]
    asked = Asked(recorded=[[start(), *recorded]])
    asked.start()

    given = [asked.event() for _ in outcomes]
    assert [(each.ending, status(each)) for each in given] == [
        (Ending.HANG, None),
        (Ending.CLOSE, None),
        (Ending.CLOSE, None),
        (Ending.ANSWER, 204),
    ]
    assert asked.said == ["ping 4 has no answer in the recording (client-gone): answered by the protocol"]


def test_what_is_not_in_the_recording_is_answered_by_the_protocol_and_said_once():
    asked = Asked(recorded=[recorded_session(("ping", 500), ("sessionEnd", 204))])
    asked.start()

    assert asked.statuses("ping", "ping", "play", "play", "sessionEnd", "ping") == [500, 204, 204, 204, 204, 410]
    assert asked.statuses("ping", session_id="nobody") == [404]
    assert asked.said == [
        "ping 2 is not in the recording, which has 1: answered by the protocol",
        "play is not in the recording: answered by the protocol",
        "an event of a session that was not opened here is not in the recording: answered by the protocol",
    ]


def test_what_the_recording_lacks_agrees_with_what_it_has():
    lost = Asked(recorded=[recorded_session(("ping", 404))])
    gone = Asked(recorded=[recorded_session(("ping", 410), ("play", 204))])
    lost.start()
    gone.start()

    assert lost.statuses("ping", "ping", "sessionEnd") == [404, 404, 404]
    assert gone.statuses("ping", "ping", "sessionEnd", "play", "ping") == [410, 410, 410, 204, 204]


def test_a_refused_start_is_followed_by_the_next_attempt():
    refused = start(id="x0", response=response(500, body=b"oh"))
    asked = Asked(recorded=[[refused], recorded_session(("ping", 410))])

    assert [status(asked.start()), status(asked.start())] == [500, 201]
    # Another playback, tried again with another time: as an SDK that builds its body anew.
    assert [status(asked.start(ts=BEGIN_MS + n)) for n in range(2)] == [500, 201]
    assert asked.statuses("ping") == [410]
    assert asked.said == []


def test_a_start_that_is_tried_more_often_than_recorded_is_answered_by_the_protocol():
    asked = Asked(recorded=[[start(response=response(503))]])

    assert [status(asked.start()) for _ in range(3)] == [503, 201, 503]
    assert [status(asked.start(ts=BEGIN_MS + n)) for n in range(1, 3)] == [503, 503]
    assert asked.said == ["sessionStart 2 is not in the recording, which has 1: answered by the protocol"]


def test_a_start_that_was_accepted_too_late_leads_to_the_events_of_the_retry():
    late = start(id="x0", response=response(201, location=f"/api/v1/sessions/{OTHER_SESSION_ID}"))
    patient, hasty = (Asked(recorded=[[late], recorded_session(("ping", 410))]) for _ in range(2))
    patient.start()
    hasty.start()
    hasty.start()

    assert patient.statuses("ping") == [410]
    assert hasty.statuses("ping", session_id="id2") == [410]


def test_an_attempt_whose_answer_nobody_knows_is_left_out():
    left = start(id="x0", response=None, outcome=Outcome.CLIENT_GONE)
    asked = Asked(recorded=[[left], [start()]])

    assert status(asked.start()) == 201
    assert asked.said == ["an attempt to start has no answer in the recording (client-gone): it is left out"]


def test_a_resumed_start_is_no_start_of_the_recording():
    asked = Asked(recorded=[recorded_session(("ping", 410))])

    assert status(asked.start(params={**START_PARAMS, "media.resume": True})) == 201
    assert asked.statuses("ping", "ping") == [204, 204]
    assert asked.said == ["a resumed start (media.resume is true) is not in the recording: answered by the protocol"]


@pytest.mark.parametrize("session_id", ["id1", "any"])
def test_a_recording_without_its_start_is_given_to_any_session(session_id):
    asked = Asked(recorded=[[event("play"), event("ping", response=response(500))]])
    if session_id == "id1":
        assert status(asked.start()) == 201

    assert asked.statuses("ping", "play", "ping", session_id=session_id) == [500, 204, 204]


def test_preflights_are_answered_as_recorded_however_many_there_are():
    asked = Asked(recorded=[[start(), preflight(after_s=2)]])
    asked.start()

    assert [status(asked.preflight()) for _ in range(3)] == [200, 200, 200]
    assert asked.said == []


def test_batches_are_recorded_starts_too():
    sent = [event_dict("sessionStart")]
    asked = Asked(recorded=[[batch(sent, status=503)], [batch(sent, status=201)]])

    assert [status(asked.send("/api/v1/downloaded", sent)) for _ in range(2)] == [503, 201]
    assert status(asked.start()) == 201
    assert asked.said == ["sessionStart at sessions is not in the recording: answered by the protocol"]


def test_a_fault_comes_before_the_recording_and_moves_no_answer():
    asked = Asked(
        "sessions:status=503:first=1",
        "ping:status=502:nth=2",
        recorded=[recorded_session(("ping", 204), ("ping", 404), ("ping", 500))],
    )

    assert [status(asked.start()), status(asked.start())] == [503, 201]
    assert asked.statuses("ping", "ping", "ping") == [204, 502, 500]
