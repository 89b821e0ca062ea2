"""An audit of what real clients sent says nothing that is not so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.results import UNNAMED_SHOWN, UNSEEN_SHOWN, Audit
from proxy_addon.core.exchange import BodyState, Exchange, Outcome
from proxy_addon.core.fixtures import listed
from proxy_addon.core.fixtures.held import fold
from tests import pictured, sdk_traffic
from tests.audited import audited
from tests.builders import BEGIN, event, event_dict, exchange, response, start


def sdk_exchanges() -> list[Exchange]:
    """Return what the SDK sent, at the times of its own clock."""
    sent = sdk_traffic.load()
    first = next(request for request in sent if request.opens)
    began_ms = exchange(body=first.body).request.reading.events[0].ts_ms
    assert began_ms is not None
    to_clock_s = (datetime.fromtimestamp(began_ms / 1000, BEGIN.tzinfo) - BEGIN) / timedelta(seconds=1) - first.at_s
    given = {request.playback: request.session_id for request in sent if request.session_id is not None}
    return [
        exchange(
            request.method,
            request.path,
            id=f"x{number}",
            after_s=to_clock_s + request.at_s,
            headers=request.headers,
            body=request.body,
            response=response(
                request.status, location=f"/api/v1/sessions/{given[request.playback]}" if request.opens else None
            ),
        )
        for number, request in enumerate(sent)
    ]


def test_what_is_not_in_a_recording_is_not_said_to_have_happened():
    params = {"media.playerName": "HTML5"}
    refused = start(id="refused", params=params, response=response(400))
    unanswered = start(id="unanswered", params=params, after_s=300, outcome=Outcome.UPSTREAM_CLOSED)
    nameless = start(id="nameless", after_s=600, session_id="4a0f", params={"media.length": 60})
    missing = start(id="missing", after_s=900, session_id="4a10", body=b"")
    missing = replace(missing, request=replace(missing.request, body_state=BodyState.MISSING))
    late = event("ping", id="late", session_id="4a11", after_s=1200)
    audit = audited(fold([refused, unanswered, nameless, missing, late]))
    losses = {loss.loss: loss.times for loss in audit.all.losses if loss.sessions}
    assert (losses["not-opened"], losses["start-unanswered"]) == (1, 1)
    assert {group.name: group.sessions for group in audit.groups} == {"HTML5": 2, None: 1, UNSEEN_SHOWN: 2}
    assert [group.name for group in audited(fold([late]), By.RECORDING).groups] == [UNNAMED_SHOWN]
    silences = {each.metric: each for each in audit.all.metrics}["seconds_since_last_call_s"]
    assert (silences.total, silences.sessions, silences.left_out) == (
        2 * 600,
        2,
        2,
    )  # not of what nobody opened, or knows


def test_events_in_a_list_were_neither_refused_nor_left_without_an_answer():
    bodies = [event_dict("sessionStart"), event_dict("play", ts=1)]
    audit = audited([listed.session_in(bodies, json.dumps(bodies).encode())])
    assert {loss.loss: loss.times for loss in audit.all.losses if loss.loss in ("refused", "unanswered")} == {
        "refused": 0,
        "unanswered": 0,
    }
    assert (audit.all.funnel.sent, audit.all.funnel.answered, audit.all.funnel.counted) == (2, 0, 2)
    assert "have no answer" not in audit.all.verdict.text


@pytest.fixture(scope="module")
def sdk() -> Audit:
    return audited(fold(sdk_exchanges()))


def test_the_sdk_does_nothing_but_send_equal_times(sdk):
    assert [(rule.rule, rule.severity, rule.sessions) for rule in sdk.all.findings] == [("ts-equal", "info", 1)]
    assert [loss.loss for loss in sdk.all.losses if loss.sessions] == []
    funnel = sdk.all.funnel
    assert (funnel.sent, funnel.answered, funnel.accepted, funnel.counted) == (28, 28, 28, 28)
    assert all(key.is_known for key in sdk.all.keys)
    assert [absent for absent in sdk.all.absent if absent.is_required] == []
    assert sdk.all.unknown_types == ()


def test_the_rhythm_of_the_sdk_is_that_of_the_protocol(sdk):
    rhythm = sdk.all.rhythm
    assert rhythm.ping_gaps_ms["content"].p50 == 10_000
    assert rhythm.playhead_speed.p50 == pytest.approx(1_000, abs=20)
    assert rhythm.clock_skew_ms.p50 is not None
    assert abs(rhythm.clock_skew_ms.p50) < 1_000
    assert rhythm.answers_over_5_s == 0


@pytest.mark.parametrize("number", [1, 2])
def test_the_timelines_of_the_documentation_lose_nothing(number):
    audit = audited([pictured.timeline(number)])
    assert [loss.loss for loss in audit.all.losses if loss.sessions] == []
    assert audit.all.funnel.sent == audit.all.funnel.counted
