"""From mitmproxy's live objects to values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mitmproxy.http import Headers, HTTPFlow
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow, tutils

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.urls import parse_server_url
from proxy_addon.recording.arrivals import Arrivals
from proxy_addon.recording.flows import (
    Arrival,
    address_to_upstream,
    arrival_of,
    began_us,
    exchange_of,
    upstream_url,
)

EPOCH_S = 1_772_366_400.0
MICROSECOND = timedelta(microseconds=1)


def flow(mode: str = "reverse:https://up.example", at_s: float = EPOCH_S, **request: Any) -> HTTPFlow:
    values: dict[str, Any] = {"method": b"POST", "path": b"/api/v1/sessions", "content": b"{}", "authority": b""}
    made = tflow.tflow(req=tutils.treq(**values | request, timestamp_start=at_s, timestamp_end=at_s), resp=True)
    made.client_conn.proxy_mode = ProxyMode.parse(mode)
    return made


def taken_down(made: HTTPFlow, upstream: str = "u", arrivals: Arrivals | None = None) -> Arrival:
    return arrival_of(made, upstream, (arrivals or Arrivals()).arrive(began_us(made)))


def arrived(*times_s: float) -> list[datetime]:
    arrivals = Arrivals()
    return [taken_down(flow(at_s=at_s), arrivals=arrivals).received_at for at_s in times_s]


class TestTimes:
    def test_no_two_arrive_at_the_same_microsecond(self):
        first, second, third = arrived(EPOCH_S, EPOCH_S, EPOCH_S)
        assert (second - first, third - second) == (MICROSECOND, MICROSECOND)

    def test_one_that_seems_to_come_before_another_comes_right_behind_it(self):
        first, second = arrived(EPOCH_S, EPOCH_S - 0.5)
        assert second - first == MICROSECOND

    def test_a_later_one_keeps_its_time(self):
        first, second = arrived(EPOCH_S, EPOCH_S + 0.25)
        assert second - first == timedelta(seconds=0.25)

    @pytest.mark.parametrize("back_s", [1.0, 3600.0])
    def test_a_clock_that_was_set_back_is_believed(self, back_s):
        first, second = arrived(EPOCH_S, EPOCH_S - back_s)
        assert first - second == timedelta(seconds=back_s)

    def test_times_are_aware_and_the_first_is_its_own(self):
        assert arrived(EPOCH_S) == [datetime.fromtimestamp(EPOCH_S, UTC)]

    def test_ids_sort_by_time_and_are_never_the_same(self):
        arrivals = Arrivals()
        ids = [taken_down(flow(at_s=EPOCH_S), arrivals=arrivals).id for _ in range(100)]
        assert ids == sorted(ids)
        assert len(set(ids)) == 100
        assert {len(id) for id in ids} == {32}


class TestWhatTheDeviceSent:
    def test_it_is_taken_down_as_it_came(self):
        headers = Headers([(b"Host", b"a.example"), (b"x-A", b"1"), (b"X-a", b"caf\xe9")])
        arrival = taken_down(flow(path=b"/api/v1/sessions?\xff", headers=headers), "u")
        assert arrival.request.path == "/api/v1/sessions?\xff"
        assert arrival.request.headers == (("Host", "a.example"), ("x-A", "1"), ("X-a", "caf\xe9"))
        assert (arrival.request.method, arrival.request.http_version) == ("POST", "HTTP/1.1")
        assert arrival.upstream == "u"
        assert arrival.client_address == "127.0.0.1"

    def test_an_authority_stands_in_for_a_host_that_is_not_there(self):
        of_http2 = flow(authority=b"tv.example", headers=Headers(), http_version=b"HTTP/2.0")
        arrival = taken_down(of_http2, "u")
        assert arrival.request.headers == (("host", "tv.example"),)
        assert arrival.request.http_version == "HTTP/2"

    def test_a_host_that_is_there_stays(self):
        both = flow(authority=b"tv.example", headers=Headers([(b"HOST", b"other.example")]))
        assert taken_down(both, "u").request.headers == (("HOST", "other.example"),)

    def test_a_device_may_have_no_address(self):
        without = flow()
        without.client_conn.peername = None  # type: ignore[assignment]  # as where a connection is gone already
        assert taken_down(without, "u").client_address is None


class TestUpstream:
    NAMED = parse_server_url("https://up.example/in/front")

    @pytest.mark.parametrize(
        ("mode", "named", "expected"),
        [
            ("reverse:https://up.example", NAMED, "https://up.example/in/front"),
            ("reverse:https://other.example", NAMED, "https://other.example"),
            ("reverse:http://up.example:8080", None, "http://up.example:8080"),
        ],
    )
    def test_of_a_reverse_proxy_it_is_as_the_user_named_it(self, mode, named, expected):
        assert upstream_url(flow(mode), named) == expected

    def test_of_a_forward_proxy_it_is_what_the_device_asked_to_connect_to(self):
        asked = flow("regular", host="real.example", port=443, scheme=b"https", headers=Headers(host="said.example"))
        assert upstream_url(asked, None) == "https://real.example:443"

    def test_of_a_device_that_does_not_know_it_is_what_its_host_header_says(self):
        brought = flow("transparent", host="192.0.2.1", port=80, scheme=b"http", headers=Headers(host="said.example"))
        assert upstream_url(brought, None) == "http://said.example:80"

    def test_an_ipv6_address_has_brackets(self):
        assert (
            upstream_url(flow("regular", host="2001:db8::1", port=80, scheme=b"http"), None)
            == "http://[2001:db8::1]:80"
        )


class TestAddressing:
    def test_it_gets_upstreams_host_and_path_and_no_foreign_authority(self):
        sent = flow(authority=b"evil.example", headers=Headers(host="tv.example"))
        address_to_upstream(sent, parse_server_url("https://up.example/in/front"), keep_host=False)
        assert sent.request.path == "/in/front/api/v1/sessions"
        assert sent.request.headers["host"] == "up.example"
        assert sent.request.authority == ""

    def test_the_devices_host_is_kept_where_that_is_asked_for(self):
        sent = flow(headers=Headers(host="tv.example"))
        address_to_upstream(sent, None, keep_host=True)
        assert sent.request.headers["host"] == "tv.example"
        assert sent.request.path == "/api/v1/sessions"

    def test_http2_keeps_its_authority_for_it_has_no_other(self):
        sent = flow(authority=b"tv.example", http_version=b"HTTP/2.0", headers=Headers())
        address_to_upstream(sent, None, keep_host=True)
        assert sent.request.authority == "tv.example"

    def test_other_modes_leave_it_as_it_is(self):
        sent = flow("regular", authority=b"tv.example", headers=Headers(host="tv.example"))
        address_to_upstream(sent, parse_server_url("https://up.example/in/front"), keep_host=False)
        assert (sent.request.path, sent.request.authority) == ("/api/v1/sessions", "tv.example")


class TestExchanges:
    def of(self, made: HTTPFlow, outcome: Outcome = Outcome.ANSWERED) -> Any:
        return exchange_of(made, taken_down(made, "https://up.example"), outcome)

    def test_it_is_what_arrived_with_what_came_of_it(self):
        made = flow(headers=Headers([(b"Host", b"a.example")]), http_version=b"HTTP/1.0")
        assert made.response is not None
        made.response.headers = Headers([(b"X-a", b"1"), (b"x-A", b"caf\xe9")])
        made.response.data.http_version = b"HTTP/2.0"
        arrival = taken_down(made, "https://up.example")
        found = exchange_of(made, arrival, Outcome.ANSWERED)
        assert (found.id, found.upstream, found.received_at) == (arrival.id, "https://up.example", arrival.received_at)
        assert (found.client_address, found.outcome) == ("127.0.0.1", Outcome.ANSWERED)
        assert found.request == replace(arrival.request, body=b"{}")
        assert found.request.http_version == "HTTP/1.0"
        assert found.response is not None
        assert found.response.headers == (("X-a", "1"), ("x-A", "caf\xe9"))
        assert found.response.http_version == "HTTP/2"

    def test_an_answer_without_a_body_has_an_empty_one(self):
        made = flow()
        assert made.response is not None
        made.response.raw_content = None
        assert self.of(made).response.body == b""

    def test_an_answered_one_has_the_answer_and_how_long_it_took(self):
        made = flow()
        assert made.response is not None
        made.response.timestamp_end = EPOCH_S + 2.001_234
        found = self.of(made)
        assert found.duration_us == 2_001_234
        assert (found.response.status, found.response.body, found.response.reason) == (200, b"message", "OK")
        assert found.request.body == b"{}"
        assert found.request.complete

    def test_a_clock_that_goes_back_makes_no_negative_time(self):
        made = flow()
        assert made.response is not None
        made.response.timestamp_end = EPOCH_S - 5
        assert self.of(made).duration_us == 0

    def test_an_answer_without_an_end_has_no_duration(self):
        made = flow()
        assert made.response is not None
        made.response.timestamp_end = None
        assert self.of(made).duration_us is None

    @pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.ANSWERED])
    def test_what_the_proxy_answered_is_no_answer_of_upstream(self, outcome):
        found = self.of(flow(), outcome)
        assert (found.response, found.duration_us, found.outcome) == (None, None, outcome)

    def test_a_body_that_broke_off_is_incomplete(self):
        made = flow(content=None)
        made.request.timestamp_end = None
        assert (self.of(made).request.body, self.of(made).request.complete) == (b"", False)

    def test_it_knows_which_server_was_connected_to(self):
        made = flow()
        made.server_conn.peername = ("192.0.2.7", 443)
        assert self.of(made).server_address == ("192.0.2.7", 443)
        made.server_conn.peername = None
        assert self.of(made).server_address is None
