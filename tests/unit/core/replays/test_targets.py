from __future__ import annotations

from ipaddress import ip_address

import pytest

from proxy_addon.core.replays.targets import Allowed, Server, canonical_host, parse_allowed, refusal
from proxy_addon.errors import SettingsError


def server(host: str, port: int = 9000, *addresses: str) -> Server:
    return Server(
        label=f"http://{host}:{port}",
        host=host,
        port=port,
        addresses=frozenset(ip_address(address) for address in addresses),
    )


LOOPBACK = server("localhost", 9000, "127.0.0.1", "::1")
FOREIGN = server("staging.example", 9000, "192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("h", Allowed("h")),
        ("Staging.Example.", Allowed("staging.example")),
        ("Staging.Example.:80", Allowed("staging.example", 80)),
        ("192.0.2.1", Allowed("192.0.2.1")),
        ("192.0.2.1:65535", Allowed("192.0.2.1", 65535)),
        ("::1", Allowed("::1")),
        ("2001:DB8:0::1", Allowed("2001:db8::1")),
        ("[2001:DB8::1]", Allowed("2001:db8::1")),
        ("[::1]:1", Allowed("::1", 1)),
        ("::ffff:192.0.2.1", Allowed("192.0.2.1")),
        ("[::ffff:192.0.2.1]:80", Allowed("192.0.2.1", 80)),
    ],
)
def test_a_name_or_address_with_or_without_port_is_allowed(text, allowed):
    assert parse_allowed(text) == allowed


@pytest.mark.parametrize(
    "text",
    ["", " ", "http://h", "h/x", "h:", "h:0", "h:65536", "h:x", "a b", "[::1", "::1]:80", "[]", "h\n", "u@h:1:2"],
)
def test_what_is_neither_name_nor_address_is_refused(text):
    with pytest.raises(SettingsError, match="not a host name or address") as caught:
        parse_allowed(text)
    assert "--allow-host" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "canonical"),
    [("A.B.", "a.b"), ("::FFFF:7f00:1", "127.0.0.1"), ("0:0:0:0:0:0:0:1", "::1"), ("127.1", "127.1")],
)
def test_a_host_has_one_spelling(host, canonical):
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    "target",
    [
        LOOPBACK,
        server("127.0.0.1", 80, "127.0.0.1"),
        server("127.8.8.8", 80, "127.8.8.8"),
        server("::1", 80, "::1"),
        server("::ffff:127.0.0.1", 80, "::ffff:127.0.0.1"),
        server("dev.example", 80, "127.0.0.1"),
    ],
)
def test_loopback_is_allowed_under_any_name(target):
    assert refusal(target, upstreams=[], allowed=[], local=[]) is None


@pytest.mark.parametrize(
    ("target", "reason", "allow"),
    [
        (FOREIGN, "192.0.2.1 is not a loopback address", "staging.example:9000"),
        (server("h", 1, "127.0.0.1", "192.0.2.1"), "192.0.2.1 is not a loopback address", "h:1"),
        (server("0.0.0.0", 80, "0.0.0.0"), "0.0.0.0 is not a loopback address", "0.0.0.0:80"),
        (server("2001:db8::1", 80, "2001:db8::1"), "2001:db8::1 is not a loopback address", "[2001:db8::1]:80"),
        (server("gone.example"), "could not be resolved", "gone.example:9000"),
        (server("omtrdc.net", 443, "127.0.0.1"), "production", "omtrdc.net:443"),
        (server("A.HB-API.OMTRDC.NET.", 443, "127.0.0.1"), "production", "A.HB-API.OMTRDC.NET.:443"),
        (server("edge.adobedc.net", 443, "127.0.0.1"), "production", "edge.adobedc.net:443"),
    ],
)
def test_any_other_target_is_refused_with_what_would_allow_it(target, reason, allow):
    refused = refusal(target, upstreams=[], allowed=[], local=[])
    assert refused is not None
    assert reason in refused.reason
    assert refused.allow == allow
    assert refusal(target, upstreams=[], allowed=[parse_allowed(allow)], local=[]) is None


def test_a_name_that_only_ends_like_a_production_domain_is_none():
    assert refusal(server("notomtrdc.net", 80, "127.0.0.1"), upstreams=[], allowed=[], local=[]) is None


@pytest.mark.parametrize(
    ("target", "upstream"),
    [
        (LOOPBACK, server("localhost", 9000, "127.0.0.1")),
        (server("dev.example", 9000, "127.0.0.1"), server("127.0.0.1", 9000, "127.0.0.1")),
        (server("::1", 9000, "::1"), server("127.0.0.1", 9000, "127.0.0.1")),
        (server("127.0.0.1", 9000, "127.0.0.1"), server("0.0.0.0", 9000, "0.0.0.0")),
        (server("127.0.0.1", 9000, "127.0.0.1"), server("lan.example", 9000, "198.51.100.9")),
        (server("Localhost.", 9000, "127.0.0.1"), server("localhost", 9000)),
        (server("other.example", 9000, "192.0.2.1"), FOREIGN),
        (server("mapped.example", 9000, "::ffff:192.0.2.1"), FOREIGN),
    ],
    ids=[
        "by name",
        "by address",
        "by loopback",
        "unspecified",
        "own address",
        "unresolved",
        "by any address",
        "mapped",
    ],
)
def test_the_upstream_of_a_recorded_session_is_refused_even_on_loopback(target, upstream):
    local = [ip_address("198.51.100.9")]
    refused = refusal(target, upstreams=[server("h", 1), upstream], allowed=[], local=local)
    assert refused is not None
    assert upstream.label in refused.reason
    assert refusal(target, upstreams=[upstream], allowed=[parse_allowed(refused.allow)], local=local) is None


def test_another_port_of_an_upstreams_host_is_another_server():
    assert refusal(LOOPBACK, upstreams=[server("localhost", 9001, "127.0.0.1")], allowed=[], local=[]) is None


@pytest.mark.parametrize(
    ("allowed", "is_allowed"),
    [
        (["staging.example"], True),
        (["STAGING.example.:9000"], True),
        (["staging.example:80"], False),
        (["example"], False),
        (["192.0.2.1"], False),
        (["192.0.2.1", "2001:db8::1"], True),
        (["192.0.2.1:9000", "[2001:db8::1]:80"], False),
        (["*"], False),
    ],
)
def test_a_target_is_allowed_by_name_or_by_all_its_addresses_on_its_port(allowed, is_allowed):
    refused = refusal(FOREIGN, upstreams=[FOREIGN], allowed=[parse_allowed(text) for text in allowed], local=[])
    assert (refused is None) is is_allowed


@pytest.mark.parametrize("host", ["x.omtrdc。net", "x.\N{FULLWIDTH LATIN SMALL LETTER O}mtrdc.net", "X.OMTRDC.NET."])
def test_a_production_name_in_other_letters_is_the_same_name(host):
    target = Server(label=host, host=host, port=443, addresses=frozenset({ip_address("127.0.0.1")}))
    refused = refusal(target, upstreams=[], allowed=[], local=[])
    assert refused is not None
    assert "production" in refused.reason
