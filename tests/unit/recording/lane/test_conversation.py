"""What passes between a device and upstream, what is recorded of it, and how it ends."""

from __future__ import annotations

import hashlib
import json

import pytest

from proxy_addon.recording.lane.actions import Connect
from proxy_addon.recording.lane.conversation import Conversation, own_answer
from tests.conversations import SERVER, Lane, settings

PATH = b"/api/v1/sessions/ab/events"
PING = b"POST " + PATH + b" HTTP/1.1\r\nHost: device:1\r\nContent-Length: 4\r\n\r\nping"
SENT = PING.replace(b"device:1", b"upstream")
PLAIN = b"GET /player.js HTTP/1.1\r\nHost: device:1\r\n\r\n"
NOTHING = b"HTTP/1.1 204 No Content\r\nX-Id: 7\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n"
UPLOAD = PING.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked").replace(b"ping", CHUNKS)
LONG = PING.replace(b"Content-Length: 4", b"Content-Length: 9")


def answered(answer: bytes = NOTHING, request: bytes = PING, **changes) -> Lane:
    return Lane(settings(**changes)).sends(request).answers(answer)


def message(lane: Lane) -> str:
    return str(json.loads(lane.device.rpartition(b"\r\n\r\n")[2])["message"])


# The ordinary way


def test_an_exchange_is_recorded_as_it_was_and_committed_before_the_device_has_its_answer():
    lane = Lane(commits=False).sends(PING).answers(NOTHING)
    assert (lane.upstream, lane.device) == (SENT, b"")
    (entry,) = lane.recorded
    assert (entry.request + entry.request_body, entry.response, entry.response_body) == (PING, NOTHING, b"")
    assert (entry.outcome, entry.is_complete, entry.client, entry.server) == ("answered", True, "192.0.2.9", SERVER)
    assert (entry.received_us, entry.duration_us, entry.reason) == (1_001_000, 2000, None)
    assert (lane.conversation.deadline_us, lane.conversation.is_idle) == (None, False)
    lane.commit()
    assert (lane.device, lane.conversation.is_idle) == (NOTHING, True)
    lane.sends(PING).answers(OK).commit().end()
    assert len(lane.upstreams) == 1
    assert lane.outcomes == ["answered", "answered"]


def test_an_answer_that_nobody_waits_for_goes_out_at_once():
    assert Lane(settings(waits=False), commits=False).sends(PING).answers(OK).device == OK


@pytest.mark.parametrize("request_", [PING, UPLOAD, b"\r\n\r\n" + PING])
@pytest.mark.parametrize("answer", [NOTHING, OK, b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK, NOTHING[:17] + CHUNKS])
def test_bytes_are_the_same_in_however_many_pieces_they_come(request_, answer):
    if answer.endswith(CHUNKS):
        answer = b"HTTP/1.1 201 Created\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
    lane = Lane()
    for _ in range(2):
        lane.sends(request_, range(len(request_))).answers(answer, range(len(answer)))
    assert lane.upstream == request_.replace(b"device:1", b"upstream").lstrip() * 2
    assert lane.device == answer * 2
    assert lane.recorded[0].request_body == (b"abcdefg" if request_ is UPLOAD else b"ping")
    assert lane.recorded[0].response_body == (
        b"abcdefg" if answer.endswith(CHUNKS) else answer[-2:] if b"ok" in answer else b""
    )
    assert len(lane.end().upstreams) == 1


def test_a_request_that_is_not_recorded_passes_by():
    lane = Lane(commits=False).sends(PLAIN).answers(OK[:-1])
    assert lane.device == OK[:-1]
    lane.answers(b"k")
    assert (lane.device, lane.recorded, lane.told[0].kind, lane.told[0].text) == (OK, [], "passes-by", "GET /player.js")


def test_pipelined_requests_are_answered_in_order():
    lane = Lane().sends(PING + PLAIN + LONG)
    assert lane.upstream == SENT
    lane.answers(OK)
    assert lane.upstream == SENT + PLAIN.replace(b"device:1", b"upstream")
    lane.answers(OK).answers(b"HTTP/1.1 100 Continue\r\n\r\n")
    lane.sends(b"56789").answers(NOTHING)
    assert lane.device == OK + OK + b"HTTP/1.1 100 Continue\r\n\r\n" + NOTHING
    assert [entry.request_body for entry in lane.recorded] == [b"ping", b"ping56789"]


def test_the_upstreams_path_is_put_before():
    assert answered(prefix=b"/eu").upstream == SENT.replace(b" /api", b" /eu/api")


def test_what_is_sent_ahead_is_forwarded_in_order_however_much_it_is():
    bodies = [b"x" * length for length in (4, 0, 300_000, 70_000, *range(1, 400))]
    requests = [
        PING.replace(b"Content-Length: 4", b"Content-Length: %d" % len(body)).removesuffix(b"ping") + body
        for body in bodies
    ]
    lane = Lane(settings()).sends(b"\r\n".join(requests))
    for _ in bodies:
        lane.answers(NOTHING)
    assert [entry.request_body for entry in lane.recorded] == bodies
    assert lane.upstream == b"".join(requests).replace(b"device:1", b"upstream")
    assert lane.device == NOTHING * len(bodies)


def test_an_expectation_is_left_to_upstream():
    expecting = LONG.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")[:-4]
    lane = Lane().sends(expecting)
    assert lane.upstream.endswith(b"Expect: 100-continue\r\n\r\n")
    lane.answers(b"HTTP/1.1 100 Continue\r\n\r\n").sends(b"123456789").answers(NOTHING)
    assert lane.device == b"HTTP/1.1 100 Continue\r\n\r\n" + NOTHING
    refused = Lane().sends(expecting).answers(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    assert refused.statuses == [417], "a device that gets no 100 does not send its body"
    assert refused.is_half_closed
    assert refused.recorded[0].is_complete is False
    refused.end()


def test_interim_answers_never_reach_a_device_that_cannot_know_them():
    lane = answered(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK, PING.replace(b"TTP/1.1", b"TTP/1.0")
    )
    assert lane.device == OK
    assert lane.is_closed


# Answers without a body, and with one until the end


def test_head_has_no_body_whatever_its_answer_says():
    head = b"HEAD /api/v1/x HTTP/1.1\r\nHost: a\r\n\r\n"
    lane = answered(OK[:-2], head + PING).answers(NOTHING)
    assert lane.device == OK[:-2] + NOTHING
    assert lane.outcomes == ["answered"] * 2


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n", b"0\r\n|\r\n", b"|0\r|\n\r\n", b"|0\r\n\r\n"])
def test_a_coding_of_an_answer_204_means_nothing(end):
    answer = NOTHING.replace(b"X-Id: 7", b"Transfer-Encoding: chunked")
    lane = Lane()
    for _ in range(2):
        lane.sends(PING)
        for piece in (answer + end).split(b"|"):
            lane.answers(piece)
    assert lane.device == b"HTTP/1.1 204 No Content\r\n\r\n" * 2
    assert lane.recorded[1].response == answer
    assert (len(lane.upstreams), lane.told) == (1, [])
    late = Lane().sends(PING).answers(answer).sends(PING).answers(end.replace(b"|", b"") + OK)
    assert late.device.endswith(OK)


def test_an_answer_that_the_end_of_the_connection_ends():
    lane = answered(b"HTTP/1.1 200 OK\r\n\r\nab").answers(b"cd")
    assert lane.recorded == []
    lane.hangs_up()
    assert lane.device == b"HTTP/1.1 200 OK\r\n\r\nabcd"
    assert lane.recorded[0].response_body == b"abcd"
    assert lane.is_closed


@pytest.mark.parametrize(
    ("request_", "answer", "ends"),
    [
        (PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK, True),
        (PING, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
        (PING.replace(b"TTP/1.1", b"TTP/1.0"), OK, True),
        (PING, OK.replace(b"TTP/1.1", b"TTP/1.0"), True),
        (
            PING.replace(b"TTP/1.1", b"TTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
            OK.replace(b"TTP/1.1", b"TTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
            False,
        ),
        (
            PING.replace(b"TTP/1.1", b"TTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
            True,  # the device cannot know where it ends otherwise
        ),
    ],
)
def test_a_connection_ends_when_one_side_says_so(request_, answer, ends):
    lane = answered(answer, request_)
    assert lane.device == answer
    assert (lane.is_closed, lane.upstreams[0].is_open) == (ends, not ends)


# Bodies that are long


def test_a_long_body_is_passed_on_and_its_beginning_recorded():
    body = bytes(range(256)) * 8
    request = b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for cuts in ((), range(0, 5000, 100)):
        lane = Lane(settings(max_body=1000)).sends(request, cuts).answers(answer, cuts)
        (entry,) = lane.recorded
        assert (lane.upstream[-2048:], lane.device) == (body, answer)
        assert (entry.request_body, entry.response_body) == (body[:1000], body[:1000])
        assert entry.request_length == entry.response_length == 2048
        assert entry.request_sha256 == entry.response_sha256 == hashlib.sha256(body).hexdigest()


def test_the_last_piece_of_a_long_answer_waits_for_the_commit():
    body = bytes(300_000)
    lane = Lane(commits=False).sends(PING).answers(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
    lane.answers(body[:200_000])
    assert lane.device == b""
    lane.answers(body[200_000:299_000])
    assert lane.device.endswith(body[:200_000])
    lane.answers(body[299_000:])
    assert len(lane.recorded) == 1
    assert not lane.device.endswith(body)
    assert lane.commit().device.endswith(body)
    at_once = Lane(commits=False).sends(PING).answers(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body)
    assert (at_once.device, at_once.commit().device[-300_000:]) == (b"", body)


# What is refused


@pytest.mark.parametrize(
    ("request_", "status", "kind", "recorded"),
    [
        (
            PING.replace(b"Content-Length: 4", b"Content-Length: 4\r\nTransfer-Encoding: chunked"),
            400,
            "malformed",
            True,
        ),
        (PING.replace(b"4\r", b"4\rX: y\r"), 400, "malformed", True),
        (PING.replace(b"device:1", b"a\r\n b"), 400, "malformed", True),
        (PLAIN.replace(b"device:1", b"a\x00"), 400, "malformed", False),
        (PLAIN.replace(b"Host", b"Host "), 400, "malformed", False),
        (PLAIN.replace(b"1.1", b"3.0"), 505, "malformed", False),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "connect", False),
        (PLAIN[:-2] + b"X: " + bytes(100) + b"\r\n\r\n", 400, "malformed", False),
        (PLAIN[:-2] + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 431, "too-long", False),
        (b"\r\n" * 9 + PLAIN, 400, "malformed", False),
        (b"\x16\x03\x01\x02\x00\x01", 400, "malformed", False),
    ],
)
def test_a_head_that_could_be_read_in_two_ways_never_reaches_upstream(request_, status, kind, recorded):
    for cuts in ((), range(0, len(request_), 1 if len(request_) < 1000 else 997)):
        lane = Lane().sends(request_, cuts).sends(PING)
        assert (lane.upstreams, lane.statuses, [each.kind for each in lane.told]) == ([], [status], [kind])
        assert b"Access-Control-Allow-Origin: *\r\n" in lane.device
        assert b"Connection: close" in lane.device
        head = request_[:-4].replace(b"Content-Length: 4\rX: y\r\n", b"")  # without the line that has a bare CR
        assert [(entry.outcome, entry.request) for entry in lane.recorded] == ([("rejected", head)] if recorded else [])
        assert lane.is_half_closed, "closing while the device still sends would take the answer back"
        lane.end()


def test_a_body_that_could_be_read_in_two_ways_breaks_off():
    broken = UPLOAD.replace(b"4\r\n", b"4 \r\n")
    for cuts in ((), range(len(broken))):
        lane = Lane().sends(broken, cuts)
        assert (lane.statuses, lane.outcomes) == ([400], ["rejected"])
        assert message(lane) == "sessiontape: space behind a chunk size"
        assert (lane.recorded[0].request_body, lane.recorded[0].reason) == (b"abc", "space behind a chunk size")
        assert not lane.upstream or not lane.upstreams[0].is_open
        assert b"4 " not in lane.upstream
        lane.end()


def test_what_comes_behind_a_refusal_is_not_read():
    broken = UPLOAD.replace(b"4\r\n", b"4 \r\n")
    lane = Lane(commits=False).sends(broken).sends(PING).leaves()
    assert (lane.device, lane.outcomes) == (b"", ["rejected"])
    assert lane.commit().statuses == [400]
    assert lane.end().outcomes == ["rejected"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-x\r\n\r\n", "upstream's answer is broken: no status line of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "upstream's answer is broken: more than one Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "upstream's answer is broken: bare CR"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", "upstream's answer is broken: chunk that is not as long as its size says"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "upstream's answer is broken: 101 although nobody asked for another protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "upstream's answer is broken: head of more than 64 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab|", "upstream closed the connection in the middle of its answer"),
        (b"HTTP/1.1 20|", "upstream closed the connection in the middle of its answer"),
        (b"|", "upstream closed the connection without an answer"),
    ],
)  # fmt: skip
def test_what_is_no_answer_becomes_502_and_is_told(answer, reason):
    lane = Lane().sends(PING)
    if answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 9"):
        lane.answers(b"HTTP/1.1 103 Hints\r\n\r\n")
    lane.answers(answer.rstrip(b"|"))
    if answer.endswith(b"|"):
        lane.hangs_up()
    assert (lane.statuses[-1], lane.outcomes, message(lane)) == (502, ["upstream-closed"], f"sessiontape: {reason}")
    assert (lane.recorded[0].reason, lane.recorded[0].response) == (reason, None)
    told = [] if "without" in reason else [(reason, f"POST {PATH.decode()}")]
    assert [(each.text, each.request) for each in lane.told] == told
    assert not lane.upstreams[0].is_open
    lane.sends(PING).answers(NOTHING)
    assert lane.statuses[-1] == 204, "the device's connection goes on"


def test_an_answer_that_breaks_off_on_its_way_to_the_device_ends_the_connection():
    lane = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", PLAIN).hangs_up()
    assert lane.statuses == [200]
    assert lane.is_closed


def test_bytes_that_answer_nothing_end_the_connection_to_upstream():
    lane = answered(NOTHING + b"HTTP/1.1 200 OK")
    assert (lane.device, lane.upstreams[0].is_open) == (NOTHING, False)
    assert (lane.told[0].text, lane.told[0].request) == (
        "upstream sent 15 bytes that answer no request",
        f"POST {PATH.decode()}",
    )
    lane.sends(PING).answers(OK)
    assert lane.device == NOTHING + OK
    assert (
        lane.answers(b"HTTP/1.1 408 Late\r\n\r\n").hangs_up().told[1].text
        == "upstream sent 21 bytes that answer no request"
    )
    assert not lane.is_closed


@pytest.mark.parametrize("protocols", [b"h2c", b"H2C, h2c-14"])
def test_an_offer_to_go_on_with_http2_is_recorded_but_not_passed_on(protocols):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocols + b"\r\nHTTP2-Settings: AAMAAABk\r\n"
    lane = Lane().sends(PING.replace(b"Content-Length", offer + b"Content-Length"))
    assert lane.upstream == SENT.replace(b"Content-Length", b"Connection: Upgrade, HTTP2-Settings\r\nContent-Length")
    assert offer in lane.answers(OK).recorded[0].request
    assert lane.sends(PING).answers(NOTHING).end().outcomes == ["answered", "answered"]


def test_a_request_that_is_ahead_of_an_answer_arrived_when_it_came():
    lane = Lane().sends(PING).waits(20).sends(PING)
    came_us = lane.now_us
    lane.answers(OK).answers(OK)
    assert [entry.received_us for entry in lane.recorded] == [1_001_000, came_us]
    assert lane.recorded[1].duration_us == 3000
    lane = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", PLAIN).waits(300).sends(PING[:20])
    came_us = lane.now_us
    lane.answers(b"long")
    assert lane.conversation.deadline_us == came_us + 60_000_000, (
        "a long answer takes nothing from the next head's time"
    )
    assert lane.sends(PING[20:]).answers(OK).end().outcomes == ["answered"]


@pytest.mark.parametrize("cut", [LONG, UPLOAD[:-9], PLAIN.replace(b"Host", b"Content-Length: 9\r\nHost")])
def test_a_request_ahead_of_an_answer_that_is_cut_off_by_the_device_is_not_forwarded(cut):
    lane = Lane().sends(PING + cut).leaves().answers(OK)
    assert (lane.upstream, lane.device, lane.is_closed) == (SENT, OK, True)
    if cut.startswith(b"POST"):
        entry = lane.recorded[1]
        assert (entry.outcome, entry.is_complete) == ("client-gone", False)
        assert entry.reason == "the device closed the connection in the middle of its request"
    assert lane.end().arrived == len(lane.recorded)


def test_a_device_cannot_send_ever_more_ahead_of_its_answers():
    lane = Lane(settings(max_body=1000)).sends(PING)
    for _ in range(300):
        lane.sends(PLAIN * 500)
    lane.answers(OK)
    assert lane.device == OK
    assert lane.is_half_closed
    lane.end()


# Upstream cannot be reached, is slow, or leaves


def test_a_device_that_waits_to_go_on_is_not_blamed_for_an_upstream_that_does_not_connect():
    head = LONG.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length").removesuffix(b"ping")
    lane = Lane(connects=False).sends(head).waits()
    assert (lane.statuses, lane.outcomes) == ([504], ["upstream-timeout"])
    assert [each.kind for each in lane.told] == ["upstream"]
    assert message(lane) == "sessiontape: no connection to upstream within 60 s"
    assert Lane().sends(head).waits().outcomes == ["rejected"], (
        "an upstream that is connected could have told it to go on"
    )


def test_a_long_answer_may_take_its_time_as_long_as_it_goes_on():
    head, piece = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", bytes(300_000)
    lane = answered(head + piece).answers(piece)
    for _ in range(15):
        lane.waits(29).answers(piece)
    assert lane.recorded == []
    stuck = lane.waits()
    assert stuck.recorded[0].reason == "no more of the answer came for 30 s"
    assert (stuck.outcomes, stuck.is_closed) == (["upstream-timeout"], True)
    endless = answered(head.replace(b"9000000", b"90000000") + piece)
    while not endless.is_closed:
        endless.answers(piece).waits(29)
    assert endless.recorded[0].reason == "the answer was not complete within 600 s"


def test_an_upstream_that_cannot_be_reached_becomes_502():
    lane = Lane(connects=False).sends(PING).unconnected("connection refused")
    assert (lane.statuses, lane.outcomes, message(lane)) == (
        [502],
        ["upstream-unreachable"],
        "sessiontape: connection refused",
    )
    assert lane.recorded[0].server is None
    lane.sends(PLAIN).connect().answers(OK)
    assert lane.statuses == [502, 200]


def test_a_connection_that_upstream_closes_while_unused_is_opened_again():
    lane = answered().hangs_up().sends(PING).answers(OK)
    assert (lane.device, len(lane.upstreams)) == (NOTHING + OK, 2)


@pytest.mark.parametrize(
    ("keep_alive", "seconds", "upstreams"),
    [(b"timeout=5", 3, 1), (b"timeout=5, max=9", 4.5, 2), (b"", 49, 1), (b"", 51, 2)],
)
def test_a_connection_that_upstream_may_be_about_to_close_is_not_used(keep_alive, seconds, upstreams):
    lane = answered(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: " + keep_alive + b"\r\n\r\n"))
    lane.waits(seconds).sends(PING)
    assert len(lane.upstreams) == upstreams
    assert [upstream.is_open for upstream in lane.upstreams] == [False, True][-upstreams:]


def test_a_request_is_never_sent_again():
    lane = answered().sends(PING).hangs_up()
    assert lane.upstream == SENT * 2
    assert lane.statuses == [204, 502]


def test_an_answer_that_does_not_come_in_time_becomes_504():
    for connects in (True, False):
        lane = Lane(settings(upstream_timeout_us=2_000_000), connects=connects).sends(PING).waits(1.9)
        assert lane.device == b""
        lane.waits(0.1)
        assert (lane.statuses, lane.outcomes) == ([504], ["upstream-timeout"])
        assert message(lane) == "sessiontape: upstream gave no complete answer within 2 s"
        assert [(each.kind, each.text) for each in lane.told] == [
            ("upstream", "upstream gave no complete answer within 2 s")
        ]
        assert not lane.is_connecting
    slow = Lane(settings(upstream_timeout_us=2_000_000)).sends(PING)
    slow.answers(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(3):
        slow.waits(0.7).answers(b"endless")
    assert slow.statuses == [504], "an answer that is recorded has to end, not only to go on"
    download = Lane().sends(PLAIN).answers(b"HTTP/1.1 200 OK\r\n\r\nx").waits(500)
    assert not download.is_closed
    assert download.waits(101).is_closed


# The device is slow, or leaves


def test_a_device_that_sends_nothing_is_disconnected_and_one_that_is_slow_told():
    assert Lane().waits(75).device == b""
    slow = Lane().sends(b"POST ").waits(30).sends(b"/").waits(31)
    assert (slow.statuses, slow.told[0].text) == ([408], "no complete head within 60 s")
    silent = Lane().sends(LONG).waits(61)
    assert (silent.statuses, silent.outcomes) == ([408], ["rejected"])
    assert silent.recorded[0].reason == "the request was not complete after 60 s of silence"
    endless = Lane().sends(LONG.replace(b": 9", b": 999999"))
    for _ in range(20):
        endless.waits(31).sends(b"x")
    assert endless.recorded[0].reason == "the request was not complete within 600 s"
    for each in (slow, silent, endless):
        assert each.waits().is_closed


def test_a_request_that_was_complete_when_the_device_left_is_forwarded_and_its_answer_recorded():
    lane = Lane(connects=False).sends(PING + PLAIN + b"POST").leaves()
    assert lane.is_connecting
    lane.connect()
    assert lane.upstream == SENT
    lane.answers(OK)
    assert (lane.outcomes, lane.recorded[0].response) == (["client-gone"], OK[:-2])
    assert lane.device == OK, "it may only have closed its own half"
    lane.answers(NOTHING)
    assert lane.is_closed
    assert lane.device == OK + NOTHING


def test_a_device_that_leaves_in_the_middle_of_its_request():
    lane = Lane().sends(LONG).leaves()
    assert lane.is_closed
    (entry,) = lane.recorded
    assert (entry.outcome, entry.request_body, entry.is_complete, entry.response) == (
        "client-gone",
        b"ping",
        False,
        None,
    )
    assert Lane().sends(b"POST /api/v1/sessions HT").leaves().end().recorded == []
    assert Lane().sends(LONG.replace(PATH, b"/")).leaves().end().recorded == []


def test_a_device_that_leaves_after_its_answer_was_complete_is_not_gone():
    lane = Lane(commits=False).sends(PING).answers(OK).leaves()
    assert lane.commit().outcomes == ["answered"]
    assert lane.is_closed


def test_an_upstream_that_fails_when_the_device_has_left():
    lane = Lane().sends(PING).leaves().hangs_up()
    assert (lane.outcomes, lane.recorded[0].reason) == (
        ["client-gone"],
        "upstream closed the connection without an answer",
    )
    assert lane.is_closed


# Answers that are early


def test_an_answer_that_is_early_waits_for_the_rest_of_the_request():
    lane = Lane().sends(LONG).answers(OK)
    assert (lane.device, lane.recorded) == (b"", [])
    lane.sends(b"56789")
    assert lane.upstream.endswith(b"ping56789")
    assert (lane.device, lane.recorded[0].is_complete, lane.upstreams[0].is_open) == (OK, True, True)
    gone = Lane().sends(LONG).answers(OK).hangs_up().sends(b"56789" + PING)
    assert gone.recorded[0].request_body == b"ping56789"
    assert gone.answers(NOTHING).device == OK + NOTHING
    late = Lane().sends(LONG).answers(OK).waits()
    assert (late.device, late.recorded[0].is_complete, late.is_half_closed) == (OK, False, True)
    left = Lane().sends(LONG).answers(OK).leaves()
    assert (left.device, left.outcomes) == (OK, ["answered"])
    for each in (lane, gone, late, left):
        each.end()


# Judging


def test_a_request_is_judged_before_upstream_sees_it():
    for request in (PING, UPLOAD):
        lane = Lane(settings(judges=True), commits=False).sends(request, range(len(request)))
        assert lane.upstreams == []
        lane.judge()
        assert lane.upstream == request.replace(b"device:1", b"upstream")
        assert lane.answers(OK).commit().device == OK
    refused = Lane(settings(judges=True))
    refused.refusal = "no event"
    refused.sends(PING)
    assert (refused.upstreams, refused.statuses, message(refused)) == ([], [400], "sessiontape: no event")
    assert (refused.outcomes, refused.recorded[0].reason) == (["rejected"], "no event")
    refused.sends(PLAIN).answers(OK)
    assert refused.statuses == [400, 200]


def test_whoever_judges_answers_expectations_itself():
    expecting = LONG.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")[:-4]
    lane = Lane(settings(judges=True)).sends(expecting)
    assert lane.device == b"HTTP/1.1 100 Continue\r\n\r\n"
    lane.sends(b"123456789").answers(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert lane.device == b"HTTP/1.1 100 Continue\r\n\r\n" + OK


def test_a_body_too_long_to_keep_is_not_judged():
    lane = Lane(settings(judges=True, max_body=3), commits=False).sends(LONG)
    assert lane.upstream.endswith(b"ping")
    assert lane.sends(b"56789").answers(OK).commit().device == OK


# Loops, upgrades, the end


def test_a_request_that_comes_back_is_refused():
    lane = Lane(settings(mark=b"me"), connects=False).sends(
        PING.replace(b"\r\n\r\n", b"\r\nSessiontape-Recorder: other\r\n\r\n")
    )
    lane.connect(is_recorder=True)
    marked = SENT.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nSessiontape-Recorder: other\r\nSessiontape-Recorder: me\r\n")
    assert lane.upstream == marked
    assert lane.recorded == []
    lane.answers(OK)
    assert lane.recorded[0].request + b"ping" == PING
    back = Lane(settings(mark=b"me")).sends(marked)
    assert (back.upstreams, back.statuses, back.outcomes, back.told[0].kind) == ([], [508], ["rejected"], "loop")
    assert back.end().recorded[0].request + b"ping" == SENT


def test_another_protocol_passes_by_once_both_sides_want_it():
    request = PLAIN.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").replace(
        b"/player.js", PATH
    )
    answer = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"
    lane = Lane(commits=False).sends(request + b"frame").answers(answer + b"frames")
    assert lane.is_blind
    assert (lane.device, lane.upstream) == (answer + b"frames", request.replace(b"device:1", b"upstream") + b"frame")
    assert (lane.recorded[0].response, lane.told[0].kind) == (answer, "upgrade")
    refused = Lane().sends(request + PLAIN).answers(OK).answers(NOTHING)
    assert refused.device == OK + NOTHING


def test_draining_ends_after_the_answer():
    assert Lane().drain().is_closed
    assert answered().drain().is_closed
    lane = Lane(commits=False).sends(PING).drain().answers(OK)
    assert not lane.is_closed
    assert lane.commit().is_closed
    assert lane.device == OK


def test_stopping_interrupts_what_is_in_flight():
    lane = Lane(commits=False).sends(PING).stop()
    assert (lane.statuses, lane.outcomes, lane.is_closed) == ([503], ["interrupted"], True)
    assert message(lane) == "sessiontape: the recorder was stopped"
    waiting = Lane(commits=False).sends(PING).answers(OK).stop()
    assert (waiting.device, waiting.is_closed) == (b"", False)
    assert waiting.commit().device == OK
    assert waiting.end().outcomes == ["answered"]
    assert Lane().stop().is_closed
    early = Lane(commits=False).sends(LONG).answers(OK).stop().commit()
    assert (early.device, early.outcomes) == (OK, ["answered"])
    for each in (lane, early):
        each.end()


def test_an_exchange_costs_few_actions():
    conversation = Conversation(settings(), None, 0)
    assert [type(action) for action in conversation.device_sent(PING, 1)] == [Connect]
    assert len(conversation.connected(SERVER, 2)) == len(conversation.upstream_sent(NOTHING, 3)) == 1
    assert len(conversation.committed(1, 4)) == 1


def test_our_own_answer_to_head_has_no_body():
    assert own_answer(502, "x", closes=False, to_head=True).endswith(b"\r\n\r\n")
    assert b"Content-Length: 29" in own_answer(502, "x", closes=False, to_head=True)
