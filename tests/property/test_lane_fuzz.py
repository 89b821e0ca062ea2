"""Whatever devices and upstreams send, in whatever pieces: no crash, no hang, nothing that another parser reads otherwise.

``make fuzz`` makes a long run of it, over a million streams.
"""

from __future__ import annotations

import random
import secrets
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_addon.recording.lane.framing import Malformed, Target, answer_head, request_head
from tests.conversations import Lane
from tests.fuzz_lane import REQUESTS, Maker, check_answers, check_requests, fuzz, interleave

CHANCES = st.randoms(use_true_random=False)

KEPT = [
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n",  # was recorded, although it is not of the API
    b"GET /api/v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\r\n\r\n\n\r\n",  # told by how it was cut
    b"GET /api/v1/x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /api/v1/x HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\n",
    b"POST /api/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}\nGET /api/v1/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /api/v1/x HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n....",
]
"""Streams that once broke a promise, or break that of other proxies."""


@given(CHANCES)
def test_requests_are_framed_as_others_frame_them(chance):
    maker = Maker(chance)
    stream = maker.requests()
    check_requests(stream, maker.cuts(len(stream)), judges=chance.random() < 0.1)


@pytest.mark.parametrize("stream", KEPT)
def test_streams_that_once_broke_a_promise(stream):
    for cuts in (range(len(stream)), [len(stream) // 2]):
        check_requests(stream, list(cuts))


@given(CHANCES)
def test_answers_are_framed_as_others_frame_them(chance):
    maker = Maker(chance)
    stream = maker.answers()
    check_answers(maker.some(REQUESTS), stream, maker.cuts(len(stream)))


@given(CHANCES)
def test_any_order_of_events_keeps_what_is_promised(chance):
    interleave(chance)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
@example(b"\r\n\r\n\r\n", [])
def test_any_bytes_are_survived(data, cuts):
    assert Lane().sends(data, cuts).end().upstreams == []
    for status in (b"200", b"204"):
        lane = Lane().sends(REQUESTS[0]).answers(b"HTTP/1.1 " + status + data, cuts)
        if lane.upstreams[0].is_open:
            lane.hangs_up()
        assert lane.end().outcomes in (["answered"], ["upstream-closed"])
    with pytest.raises(Malformed):
        request_head(data + b"\r\n\r\n", Target(b"a"))
    with pytest.raises(Malformed):
        answer_head(data + b"\r\n\r\n", to_head=False)


def test_a_short_run_breaks_no_promise():
    has_nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    counts = fuzz(1_500, secrets.randbits(32), nginx_every=10)
    assert counts["forwarded"] > 300
    assert counts["refused"] > 300
    if not has_nginx:
        pytest.skip("h11 alone has read what was forwarded, because nginx is not installed")
    assert counts["by nginx"] > 30


def test_the_same_seed_makes_the_same_streams():
    first, again, other = ([maker.requests() for _ in range(9)] for maker in map(Maker, map(random.Random, (7, 7, 8))))
    assert first == again != other
